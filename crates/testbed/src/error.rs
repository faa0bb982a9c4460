//! What can go wrong while a cluster is built, started or used.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An error whose text is meant to be read by the person who typed `make up`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("`{command}` failed ({status}):\n{output}")]
    Command { command: String, status: String, output: String },
    #[error("{program} ended while it was starting; the end of {log}:\n{tail}", log = .log.display())]
    Died { program: String, log: PathBuf, tail: String },
    #[error("after {} s still waiting for {what}", .limit.as_secs())]
    Timeout { what: String, limit: Duration },
    #[error("the supervisor says: {0}")]
    Supervisor(String),
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("{what}: {source}")]
    Json { what: String, source: serde_json::Error },
    #[error("{what}: {source}")]
    Yaml { what: String, source: serde_yaml_ng::Error },
    #[error("{0}")]
    Other(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds what was being done to an I/O error, which by itself names no file.
pub(crate) trait While<T> {
    fn during(self, what: impl Into<String>) -> Result<T>;
    fn at(self, verb: &str, path: &Path) -> Result<T>;
}

impl<T> While<T> for io::Result<T> {
    fn during(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|source| Error::Io { what: what.into(), source })
    }

    fn at(self, verb: &str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { what: format!("{verb} {}", path.display()), source })
    }
}
