//! Why a reconciliation failed, with the fixed vocabulary of classes that metrics and logs use.

use std::time::Duration;

use foureyes_core::digest::DigestError;
use foureyes_core::domain::inventory::InventoryError;
use foureyes_core::domain::lifecycle::LifecycleError;
use foureyes_core::domain::policy::Undecodable;

use crate::cluster::client::CallError;
use crate::cluster::live::ReadError;

/// Why a reconciliation failed. All of them are tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Something that the decision rests on could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A write was refused or never answered.
    #[error("{what}: {source}")]
    Write {
        /// What was being written.
        what: &'static str,
        /// What the API server said.
        source: CallError,
    },
    /// A policy that applies to the target can't be read, so nothing is decided under it.
    #[error("the SafetyPolicy {} applies and can't be read: {}", .0.name, .0.why)]
    Policy(Undecodable),
    /// The facts make no sense.
    #[error(transparent)]
    Decide(#[from] LifecycleError),
    /// What would be lost can't be established.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The operating system gave no random bytes.
    #[error("no random bytes for a name")]
    NoRandomness,
    /// What a change or a record is about has no digest.
    #[error(transparent)]
    Digest(DigestError),
    /// Somebody else was faster, or there was more to do than there was time: the next attempt goes on from there.
    #[error("{0} was overtaken")]
    Overtaken(&'static str),
    /// It took too long as a whole.
    #[error("not done within {0:?}")]
    Deadline(Duration),
    /// A mistake in this program.
    #[error("it panicked")]
    Panic,
}

impl ReconcileError {
    /// A failed write, with what was being written.
    pub fn write(what: &'static str) -> impl FnOnce(CallError) -> Self {
        move |source| Self::Write { what, source }
    }

    /// The class, from a fixed vocabulary.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Read(error) => error.class(),
            Self::Write { source, .. } => source.class(),
            Self::Policy(_) => "policy",
            Self::Decide(_) | Self::Inventory(_) | Self::Digest(_) => "undecidable",
            Self::Overtaken(_) => "conflict",
            Self::NoRandomness => "randomness",
            Self::Deadline(_) => "deadline",
            Self::Panic => "panic",
        }
    }

    /// Somebody else wrote first: nothing is wrong.
    pub fn is_ordinary(&self) -> bool {
        self.class() == "conflict"
    }

    /// Another attempt at the same object would come to the same.
    pub fn is_for_good(&self) -> bool {
        ["undecidable", "invalid", "malformed"].contains(&self.class())
    }
}
