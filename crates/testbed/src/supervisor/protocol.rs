//! What is said on a supervisor's socket: one JSON line asks, one answers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The socket in a cluster's folder.
pub const SOCKET: &str = "control.sock";
/// The folder of the programs' logs in a cluster's folder.
pub const LOGS: &str = "logs";

/// How to start a program; its output goes to `logs/<name>.log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<String>,
    /// Added to PATH and HOME, which are all that is passed on.
    pub env: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Starts it, unless it runs with this very definition; a running one with another is replaced.
    Run(Process),
    /// Starts what was run before.
    Start(String),
    /// SIGTERM, after `grace_ms` SIGKILL; answers when it is gone.
    Stop {
        name: String,
        grace_ms: u64,
    },
    /// SIGKILL; answers when it is gone.
    Kill(String),
    /// SIGSTOP.
    Pause(String),
    /// SIGCONT.
    Resume(String),
    List,
    /// Ends everything, the last started first, and the supervisor itself.
    Shutdown,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    Done,
    Processes(Vec<Status>),
    Refused(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub name: String,
    /// None when it does not run.
    pub pid: Option<u32>,
    /// How it ended the last time, if nobody asked it to.
    pub ended: Option<String>,
}
