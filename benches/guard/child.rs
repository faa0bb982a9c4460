//! This program again, in another role, in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::{env, thread};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::Result;
use crate::client::Endpoint;

/// Runs a role to its end and returns what it said on standard error; standard output is its log.
pub fn ask(role: &[&str]) -> Result<String> {
    let output = command(role)?.stdin(Stdio::null()).output()?;
    let said = String::from_utf8(output.stderr)?;
    if output.status.success() { Ok(said) } else { Err(format!("{}: {said}", role.join(" ")).into()) }
}

fn command(role: &[&str]) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args(role).stdout(Stdio::null()).stderr(Stdio::piped());
    Ok(command)
}

/// A server in a process of its own; it ends when this is dropped, or when this process does and its pipe closes.
pub struct Server {
    child: Child,
    _said: BufReader<ChildStderr>,
    pub endpoint: Endpoint,
}

impl Server {
    pub fn start(role: &[&str]) -> Result<Self> {
        let mut child = command(role)?.stdin(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(child.stderr.take().ok_or("no standard error")?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        let parsed: Value = serde_json::from_str(&line).map_err(|_| format!("{}: {line}", role.join(" ")))?;
        let port = parsed["port"].as_u64().ok_or("no port")?;
        let endpoint =
            Endpoint { port: u16::try_from(port)?, roots: parsed["pem"].as_str().ok_or("no certificate")?.to_owned() };
        Ok(Self { child, _said: said, endpoint })
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Said by the child once it listens.
pub fn announce(port: u16, pem: &str) {
    eprintln!("{}", json!({ "port": port, "pem": pem }));
}

/// Ends in the child when the parent is gone or wants no more.
pub async fn unwanted() {
    let (end, ended) = oneshot::channel::<()>();
    thread::spawn(move || {
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {}
        drop(end);
    });
    let _ = ended.await;
}
