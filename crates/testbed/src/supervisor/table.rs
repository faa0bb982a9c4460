//! Which programs a supervisor knows, in the order in which they were first started.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::child::Child;
use super::protocol::{Answer, Process, Request, Status};

/// What a program gets to end by itself when the cluster goes; its data goes, too, so it need not be long.
const LAST_GRACE: Duration = Duration::from_secs(3);
/// The same when only it is replaced.
const GRACE: Duration = Duration::from_secs(30);

struct Entry {
    process: Process,
    child: Option<Child>,
    /// It was asked to end, so its end is no news.
    asked: bool,
}

impl Entry {
    fn running(&self) -> Option<&Child> {
        self.child.as_ref().filter(|c| c.exit().is_none())
    }
}

pub struct Table {
    logs: PathBuf,
    entries: RefCell<Vec<Entry>>,
}

impl Table {
    pub fn new(logs: PathBuf) -> Self {
        Self { logs, entries: RefCell::new(Vec::new()) }
    }

    pub async fn serve(&self, request: Request) -> Answer {
        match request {
            Request::Run(process) => self.run(process).await,
            Request::Start(name) => self.start(&name),
            Request::Stop { name, grace_ms } => {
                let ended = self.with(&name, |entry| {
                    entry.asked = true;
                    entry.running().map(|child| child.stop(Duration::from_millis(grace_ms)))
                });
                Self::after(ended).await
            }
            Request::Kill(name) => {
                let ended = self.with(&name, |entry| {
                    entry.asked = true;
                    entry.running().map(|child| {
                        child.signal(Signal::SIGKILL);
                        child.gone()
                    })
                });
                Self::after(ended).await
            }
            Request::Pause(name) => self.signal(&name, Signal::SIGSTOP),
            Request::Resume(name) => self.signal(&name, Signal::SIGCONT),
            Request::List => Answer::Processes(self.entries.borrow().iter().map(status).collect()),
            Request::Shutdown => Answer::Done,
        }
    }

    async fn run(&self, process: Process) -> Answer {
        let known = self.with(&process.name, |entry| {
            if entry.process == process && entry.running().is_some() {
                return None;
            }
            entry.asked = true;
            Some(entry.running().map(|child| child.stop(GRACE)))
        });
        match known {
            Ok(None) => return Answer::Done,
            Ok(Some(ending)) => {
                if let Some(ending) = ending {
                    ending.await;
                }
                let _ = self.with(&process.name, |entry| entry.process = process.clone());
            }
            Err(_) => self.entries.borrow_mut().push(Entry { process: process.clone(), child: None, asked: false }),
        }
        self.start(&process.name)
    }

    fn start(&self, name: &str) -> Answer {
        let started = self.with(name, |entry| -> crate::error::Result<()> {
            if entry.running().is_none() {
                entry.child = Some(Child::spawn(&entry.process, &self.logs)?);
                entry.asked = false;
            }
            Ok(())
        });
        match started {
            Ok(Ok(())) => Answer::Done,
            Ok(Err(error)) => Answer::Refused(error.to_string()),
            Err(refused) => refused,
        }
    }

    fn signal(&self, name: &str, signal: Signal) -> Answer {
        match self.with(name, |entry| entry.running().map(|c| c.signal(signal))) {
            Ok(Some(())) => Answer::Done,
            Ok(None) => Answer::Refused(format!("{name} does not run")),
            Err(refused) => refused,
        }
    }

    async fn after(ended: Result<Option<impl Future<Output = ()>>, Answer>) -> Answer {
        match ended {
            Ok(ending) => {
                if let Some(ending) = ending {
                    ending.await;
                }
                Answer::Done
            }
            Err(refused) => refused,
        }
    }

    /// Never held across an await: requests are served side by side.
    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Entry) -> T) -> Result<T, Answer> {
        let mut entries = self.entries.borrow_mut();
        entries
            .iter_mut()
            .find(|entry| entry.process.name == name)
            .map(act)
            .ok_or_else(|| Answer::Refused(format!("there is no program {name}")))
    }

    pub async fn shut_down(&self) {
        let endings: Vec<_> = {
            let mut entries = self.entries.borrow_mut();
            entries.iter_mut().for_each(|entry| entry.asked = true);
            let running = entries.iter().rev().filter_map(Entry::running);
            running.map(|child| child.stop(LAST_GRACE)).collect()
        };
        let tasks: Vec<_> = endings.into_iter().map(tokio::task::spawn_local).collect();
        for task in tasks {
            let _ = task.await;
        }
    }
}

fn status(entry: &Entry) -> Status {
    let exit = entry.child.as_ref().and_then(Child::exit);
    Status {
        name: entry.process.name.clone(),
        pid: entry.running().map(Child::id),
        ended: exit.filter(|_| !entry.asked).map(|exit| exit.to_string()),
    }
}
