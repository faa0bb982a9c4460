//! What both long-running parts begin with.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::shutdown::Shutdown;
use super::tls::TlsError;
use crate::cluster::client::ClientError;
use crate::controllers::certificates::CertificatesError;
use crate::metrics::Metrics;
use crate::telemetry::{self, Telemetry, TelemetryError};

/// Why a part could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// Logs.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// No access to the cluster.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A port, a file or a signal handler.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The client authority.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The names of the serving certificate.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
}

pub(super) fn at<T>(what: impl Into<String>, result: io::Result<T>) -> Result<T, PartError> {
    result.map_err(|source| PartError::Io { what: what.into(), source })
}

pub(super) async fn listen(what: &str, address: SocketAddr) -> Result<TcpListener, PartError> {
    at(format!("{what} {address}"), TcpListener::bind(address).await)
}

/// A process that logs, counts, and ends when it is told to. Dropping it writes out the last log lines.
#[derive(Debug)]
pub struct Process {
    /// What it counts.
    pub metrics: Metrics,
    /// When it ends.
    pub shutdown: Shutdown,
    _logs: Telemetry,
}

impl Process {
    /// Logs by `filter` to standard output and listens for SIGTERM and SIGINT. Needs a tokio runtime.
    pub fn begin(filter: &str) -> Result<Self, PartError> {
        let logs = telemetry::init(filter)?;
        Ok(Self {
            metrics: Metrics::new(Some(logs.dropped_lines())),
            shutdown: at("signals", Shutdown::on_signals())?,
            _logs: logs,
        })
    }
}
