//! Running the real kubectl, and pasted commands, as one of the people.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::error::{Error, Result, While};

/// What a command said and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    /// -1 when a signal ended it.
    pub code: i32,
}

impl Output {
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// Everything it said, as a terminal would show it.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The output of a command that must not fail.
    pub fn success(self, command: &str) -> Result<String> {
        if self.ok() {
            return Ok(self.stdout);
        }
        Err(Error::Command {
            command: command.to_owned(),
            status: format!("exit code {}", self.code),
            output: self.text(),
        })
    }
}

/// A command in the environment of one person: its kubeconfig, and the cluster's programs first in PATH.
pub fn command(program: &Path, cluster: &Path, kubeconfig: &Path) -> Command {
    let mut path = cluster.join("bin").into_os_string();
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    let mut command = Command::new(program);
    command
        .env("PATH", path)
        .env("KUBECONFIG", kubeconfig)
        // Discovery is cached by host and port, and another cluster may have had this port.
        .env("KUBECACHEDIR", cluster.join("kubectl-cache"));
    command
}

/// Runs `command` to its end with `stdin` as its input.
pub fn run(mut command: Command, stdin: Option<&str>) -> Result<Output> {
    let what = format!("running {}", Path::new(command.get_program()).display());
    let mut child = command
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .during(&what)?;
    // Beside the reading, or two full pipes would wait for each other.
    let writer = child.stdin.take().zip(stdin.map(str::to_owned)).map(|(mut pipe, text)| {
        // A program that ends without reading its input says why on its own.
        thread::spawn(move || drop(pipe.write_all(text.as_bytes())))
    });
    let output = child.wait_with_output().during(&what)?;
    if let Some(writer) = writer {
        let _ = writer.join();
    }
    Ok(Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code().unwrap_or(-1),
    })
}
