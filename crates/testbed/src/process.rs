//! One program of a cluster, to be ended, paused and started again by a test.

use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::error::Result;
use crate::supervisor::protocol::Request;

/// Longer than foureyes may take to drain.
const GRACE: Duration = Duration::from_secs(30);

pub struct Process<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl<'a> Process<'a> {
    pub(crate) fn new(cluster: &'a Cluster, name: &str) -> Self {
        Self { cluster, name: name.to_owned() }
    }

    /// SIGTERM, and SIGKILL if it has not ended after 30 s; returns when it is gone.
    pub fn stop(&self) -> Result<()> {
        self.ask(&Request::Stop {
            name: self.name.clone(),
            grace_ms: u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&self) -> Result<()> {
        self.ask(&Request::Kill(self.name.clone()))
    }

    /// Starts it as it was started before; does nothing while it runs.
    pub fn start(&self) -> Result<()> {
        self.ask(&Request::Start(self.name.clone()))
    }

    /// Starts it and waits until it says that it is ready, if it is one of foureyes' own.
    pub fn start_ready(&self) -> Result<()> {
        self.start()?;
        let ports = self.cluster.ports();
        let admin = match self.name.as_str() {
            "webhook-a" => ports.webhooks[0].admin,
            "webhook-b" => ports.webhooks[1].admin,
            "controller" => ports.controller_admin,
            _ => return Ok(()),
        };
        self.cluster.wait_ready(&self.name, admin)
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub fn pause(&self) -> Result<()> {
        self.ask(&Request::Pause(self.name.clone()))
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.ask(&Request::Resume(self.name.clone()))
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Result<Option<u32>> {
        let processes = self.cluster.supervisor().processes()?;
        Ok(processes.into_iter().find(|p| p.name == self.name).and_then(|p| p.pid))
    }

    pub fn log(&self) -> PathBuf {
        self.cluster.supervisor().log(&self.name)
    }

    fn ask(&self, request: &Request) -> Result<()> {
        self.cluster.supervisor().done(request)
    }
}
