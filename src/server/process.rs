//! What both long-running parts begin with.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;

use futures::FutureExt as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

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
    /// What runs as long as the process does has ended, by a mistake of ours.
    #[error("{0} is no longer kept up to date")]
    Ended(&'static str),
}

pub(super) fn at<T>(what: impl Into<String>, result: io::Result<T>) -> Result<T, PartError> {
    result.map_err(|source| PartError::Io { what: what.into(), source })
}

pub(super) async fn listen(what: &str, address: SocketAddr) -> Result<TcpListener, PartError> {
    at(format!("{what} {address}"), TcpListener::bind(address).await)
}

/// The runtime that every part runs on.
pub fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
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

/// Tasks that run beside the main one for as long as the process does. Dropping it ends them.
#[derive(Debug, Default)]
pub(super) struct Beside(JoinSet<&'static str>);

impl Beside {
    /// Starts one; `what` names it should it end.
    pub fn start<F>(&mut self, what: &'static str, task: F)
    where
        F: Future + Send + 'static,
    {
        self.0.spawn(async move {
            // A panic is only an end like any other: it was logged where it happened.
            let _ = AssertUnwindSafe(task).catch_unwind().await;
            what
        });
    }

    /// Runs `main` to its end. Should one of these end before, nothing can be trusted to be up to date any more: then
    /// `shutdown` begins, and after `main` has ended that is the error.
    pub async fn none_ends<T>(mut self, main: impl Future<Output = T>, shutdown: &Shutdown) -> Result<T, PartError> {
        let mut main = pin!(main);
        tokio::select! {
            result = &mut main => Ok(result),
            Some(ended) = self.0.join_next() => {
                let what = ended.unwrap_or("a task");
                tracing::error!(what, "ended by itself; shutting down");
                shutdown.begin();
                main.await;
                Err(PartError::Ended(what))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_begins_the_end() {
        let shutdown = Shutdown::default();
        let mut beside = Beside::default();
        beside.start("the rest", std::future::pending::<()>());
        beside.start("the certificate", async { panic!("on purpose") });
        let token = shutdown.token();
        let ended = beside.none_ends(token.cancelled(), &shutdown).await;
        assert!(matches!(ended, Err(PartError::Ended("the certificate"))));
    }

    #[tokio::test]
    async fn an_orderly_end_is_none_of_theirs() {
        let mut beside = Beside::default();
        beside.start("the rest", std::future::pending::<()>());
        assert!(matches!(beside.none_ends(async { 7 }, &Shutdown::default()).await, Ok(7)));
    }
}
