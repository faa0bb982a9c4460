//! Rolling out: nothing new runs without an approved change (design §6).

pub mod decide;
pub mod free;
pub mod keeping;
pub mod known;
pub mod location;
pub mod object;
pub mod progress;
pub mod record;
pub mod regime;
pub mod release;
pub mod spelling;
pub mod template;
