//! Rolling out: nothing new runs without an approved change (design §6).

pub mod free;
pub mod location;
pub mod object;
pub mod template;
