//! Decisions: pure functions over validated types. Whatever time it is, is passed in.

pub mod agreement;
pub mod catalogue;
pub mod change;
pub mod change_asked;
pub mod change_lifecycle;
pub mod deletion;
pub mod identity;
pub mod inventory;
pub mod judgement;
pub mod kept;
pub mod kept_always;
pub mod lifecycle;
pub mod opening;
pub mod policy;
mod preparing;
pub mod proof;
pub mod quiet;
pub mod ready;
pub mod refusal;
pub mod request;
pub mod rollout;
pub mod scope;
pub mod selector;
pub mod speaking;
pub mod statement;
pub mod telling;
pub mod volume;
