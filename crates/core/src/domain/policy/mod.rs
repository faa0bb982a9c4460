//! Policies: compiled when they change, merged per namespace, compared when somebody changes them.

mod compile;
mod loosening;
mod merge;

pub use compile::{CompiledPolicy, Exemption, Floor, PolicyError, SYSTEM_NAMESPACES, compile};
pub use loosening::{is_enforced_anywhere, loosened, scope_loosened};
pub use merge::{Effective, PolicySet, Undecodable};

/// The policy that is the floor for the whole cluster.
pub const DEFAULT: &str = "default";
