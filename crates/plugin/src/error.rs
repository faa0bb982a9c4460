//! What can go wrong, with the exit code it ends in. Every message says the next step.

/// The answer is no: foureyes refused, or the person did.
pub const NEGATIVE: u8 = 1;
/// The command line or the cluster is the trouble.
pub const TROUBLE: u8 = 2;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The guard said no, in its own words; or what was asked makes no sense any more.
    #[error("{0}")]
    Refused(String),
    /// The command line asks for something that can't be.
    #[error("{0}")]
    Usage(String),
    /// The API server says no, or nothing.
    #[error("{what}: {why}")]
    Cluster { what: String, why: String },
    /// The caller has no right to it.
    #[error("{what}: {why}; {help}")]
    Forbidden { what: String, why: String, help: String },
    #[error(
        "no access to a cluster: {0}; name a kubeconfig with --kubeconfig or $KUBECONFIG, and see `kubectl config get-contexts`"
    )]
    Config(String),
    #[error("{what} can't be read: {why}")]
    Unreadable { what: String, why: String },
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// 1 for a no, 2 for trouble.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => NEGATIVE,
            Self::Usage(_)
            | Self::Cluster { .. }
            | Self::Forbidden { .. }
            | Self::Config(_)
            | Self::Unreadable { .. }
            | Self::Other(_) => TROUBLE,
        }
    }

    /// In the words of whoever said no, where nobody has to do anything about it.
    pub fn why(&self) -> String {
        match self {
            Self::Cluster { why, .. } | Self::Forbidden { why, .. } => why.clone(),
            other => other.to_string(),
        }
    }

    pub fn unreadable(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Unreadable { what: what.into(), why: why.to_string() }
    }
}

/// What commands return.
pub type Result<T> = std::result::Result<T, Error>;
