//! Talking to a supervisor, from the test process or from the command line.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{Answer, LOGS, Process, Request, SOCKET, Status};
use crate::error::{Error, Result, While};
use crate::wait::wait_until;

/// Longer than any grace that is given to a program.
const PATIENCE: Duration = Duration::from_secs(90);
const TAIL: u64 = 2_000;

/// The supervisor of the cluster in one folder.
#[derive(Clone, Debug)]
pub struct Supervisor {
    dir: PathBuf,
}

impl Supervisor {
    pub fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    pub fn alive(&self) -> bool {
        self.processes().is_ok()
    }

    pub fn run(&self, process: Process) -> Result<()> {
        self.done(&Request::Run(process))
    }

    pub fn done(&self, request: &Request) -> Result<()> {
        match self.ask(request)? {
            Answer::Refused(why) => Err(Error::Supervisor(why)),
            Answer::Done | Answer::Processes(_) => Ok(()),
        }
    }

    pub fn processes(&self) -> Result<Vec<Status>> {
        match self.ask(&Request::List)? {
            Answer::Processes(list) => Ok(list),
            Answer::Done => Ok(Vec::new()),
            Answer::Refused(why) => Err(Error::Supervisor(why)),
        }
    }

    /// Ends every program and the supervisor itself; returns when they are gone.
    pub fn shut_down(&self) -> Result<()> {
        self.done(&Request::Shutdown)?;
        let socket = self.dir.join(SOCKET);
        wait_until("the programs to end", PATIENCE, || !socket.exists())
    }

    /// An error with the end of its log when `program` has ended though nobody asked it to.
    pub fn check(&self, program: &str) -> Result<()> {
        let ended = self.processes()?.into_iter().any(|p| p.name == program && p.ended.is_some());
        if !ended {
            return Ok(());
        }
        Err(Error::Died { program: program.to_owned(), log: self.log(program), tail: self.tail(program) })
    }

    pub fn log(&self, program: &str) -> PathBuf {
        self.dir.join(LOGS).join(format!("{program}.log"))
    }

    fn tail(&self, program: &str) -> String {
        let read = || {
            let mut file = File::open(self.log(program))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            std::io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|error| error.to_string())
    }

    fn ask(&self, request: &Request) -> Result<Answer> {
        let path = self.dir.join(SOCKET);
        let json = |source| Error::Json { what: "talking to the supervisor".into(), source };
        let mut stream = UnixStream::connect(&path).at("asking the supervisor at", &path)?;
        stream.set_read_timeout(Some(PATIENCE)).at("asking the supervisor at", &path)?;
        let mut line = serde_json::to_string(request).map_err(json)?;
        line.push('\n');
        stream.write_all(line.as_bytes()).at("asking the supervisor at", &path)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).at("hearing the supervisor at", &path)?;
        serde_json::from_str(&answer).map_err(json)
    }
}
