//! One running program.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::watch;
use tokio::time::timeout;

use super::protocol::Process;
use crate::error::{Error, Result, While};

pub struct Child {
    pid: Pid,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Child {
    pub fn spawn(process: &Process, logs: &Path) -> Result<Self> {
        let path = logs.join(format!("{}.log", process.name));
        let log = OpenOptions::new().create(true).append(true).open(&path).at("opening", &path)?;
        let mut command = tethered(process);
        command
            .env_clear()
            .envs(["PATH", "HOME"].into_iter().filter_map(|k| Some((k, std::env::var_os(k)?))))
            .envs(&process.env)
            .stdin(Stdio::null())
            .stdout(log.try_clone().at("opening", &path)?)
            .stderr(log)
            // A Ctrl-C in the terminal is for the test run, which then ends the supervisor.
            .process_group(0);
        let mut running = tokio::process::Command::from(command).spawn().at("starting", &process.program)?;
        let pid = running
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| Error::Other(format!("{} has no process id", process.name)))?;
        let (tell, exit) = watch::channel(None);
        tokio::task::spawn_local(async move {
            if let Ok(status) = running.wait().await {
                let _ = tell.send(Some(status));
            }
        });
        Ok(Self { pid: Pid::from_raw(pid), exit })
    }

    pub fn id(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    pub fn exit(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Nothing happens to a program that has ended: its number may already be another's.
    pub fn signal(&self, signal: Signal) {
        if self.exit().is_none() {
            let _ = kill(self.pid, signal);
        }
    }

    /// A future that does not borrow the child, so that others can be served meanwhile.
    pub fn gone(&self) -> impl Future<Output = ()> + use<> {
        let mut exit = self.exit.clone();
        async move {
            let _ = exit.wait_for(Option::is_some).await;
        }
    }

    /// SIGTERM, then SIGKILL to what is still there after `grace`.
    pub fn stop(&self, grace: Duration) -> impl Future<Output = ()> + use<> {
        self.signal(Signal::SIGTERM);
        self.signal(Signal::SIGCONT);
        let (pid, exit, gone, killed) = (self.pid, self.exit.clone(), self.gone(), self.gone());
        async move {
            if timeout(grace, gone).await.is_err() && exit.borrow().is_none() {
                let _ = kill(pid, Signal::SIGKILL);
                killed.await;
            }
        }
    }
}

/// On Linux the kernel can be asked to end a program with its parent; only the program itself can ask, so this binary
/// asks and then becomes the program. `/proc/self/exe` is this binary even when a build has replaced its file.
fn tethered(process: &Process) -> Command {
    if cfg!(target_os = "linux") {
        let mut command = Command::new("/proc/self/exe");
        command.arg("tether").arg(process::id().to_string()).arg(&process.program).args(&process.args);
        command
    } else {
        let mut command = Command::new(&process.program);
        command.args(&process.args);
        command
    }
}

/// Becomes `program`, to be ended by the kernel when `parent` ends. Returns only when that fails.
pub fn tether(parent: u32, program: &OsString, args: &[OsString]) -> Error {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL) {
        return Error::Other(format!("asking to end with the supervisor: {error}"));
    }
    if nix::unistd::getppid().as_raw().unsigned_abs() != parent {
        return Error::Other("the supervisor ended meanwhile".into());
    }
    Error::Io {
        what: format!("starting {}", Path::new(program).display()),
        source: Command::new(program).args(args).exec(),
    }
}
