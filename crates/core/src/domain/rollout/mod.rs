//! Rolling out: nothing new runs without an approved change (design §6).

pub mod decide;
pub mod free;
pub mod known;
pub mod location;
pub mod object;
pub mod progress;
pub mod record;
pub mod release;
pub mod template;
