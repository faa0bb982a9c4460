//! The end of a process in two steps: a first signal lets it finish what clients still send, a second one hurries it.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether this process is to end; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    begun: CancellationToken,
    hurried: CancellationToken,
}

impl Shutdown {
    /// Begins on SIGTERM or SIGINT and hurries on a second one. Needs a tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let told = shutdown.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!(signal = name, "shutting down");
                told.begin();
            }
        });
        Ok(shutdown)
    }

    /// The first call begins the end, the second hurries it.
    pub fn begin(&self) {
        if self.begun.is_cancelled() {
            self.hurried.cancel();
        }
        self.begun.cancel();
    }

    /// Cancelled once the process is to end.
    pub fn token(&self) -> CancellationToken {
        self.begun.clone()
    }

    /// Cancelled once it is to end without further courtesies.
    pub fn hurried(&self) -> &CancellationToken {
        &self.hurried
    }
}
