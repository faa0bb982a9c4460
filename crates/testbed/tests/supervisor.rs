//! Whatever ends the supervisor ends what it started.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use foureyes_testbed::supervisor::client::Supervisor;
use foureyes_testbed::supervisor::protocol::{Process, Request};
use foureyes_testbed::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const LIMIT: Duration = Duration::from_secs(20);

struct Bed {
    dir: PathBuf,
    child: Child,
    supervisor: Supervisor,
}

impl Bed {
    fn new(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_foureyes-testbed"))
            .arg("supervise")
            .arg(&dir)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let supervisor = Supervisor::of(&dir);
        wait_until("the supervisor", LIMIT, || supervisor.alive()).unwrap();
        Self { dir, child, supervisor }
    }

    fn run(&self, name: &str, script: &str) -> u32 {
        self.supervisor.run(shell(name, script)).unwrap();
        self.pid(name).unwrap()
    }

    fn pid(&self, name: &str) -> Option<u32> {
        let processes = self.supervisor.processes().unwrap();
        processes.into_iter().find(|p| p.name == name)?.pid
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn shell(name: &str, script: &str) -> Process {
    Process {
        name: name.into(),
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: BTreeMap::new(),
    }
}

/// Ended and reaped, or ended and waiting for an init that reaps nothing.
fn gone(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('Z')))
        .unwrap_or(true)
}

fn state(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1[..1].to_owned()
}

const STUBBORN: &str = "trap '' TERM; while :; do sleep 1; done";

#[test]
fn its_standard_input_closing_ends_everything() {
    let mut bed = Bed::new("stdin");
    let (polite, stubborn) = (bed.run("polite", "exec sleep 600"), bed.run("stubborn", STUBBORN));
    drop(bed.child.stdin.take());
    bed.child.wait().unwrap();
    assert!(gone(polite) && gone(stubborn));
    assert!(!bed.supervisor.alive());
}

#[test]
fn a_killed_supervisor_takes_its_programs_along() {
    let mut bed = Bed::new("killed");
    let (polite, stubborn) = (bed.run("polite", "exec sleep 600"), bed.run("stubborn", STUBBORN));
    bed.child.kill().unwrap();
    bed.child.wait().unwrap();
    wait_until("the programs to end", LIMIT, || gone(polite) && gone(stubborn)).unwrap();
}

#[test]
fn a_removed_folder_ends_it() {
    let mut bed = Bed::new("removed");
    let program = bed.run("program", "exec sleep 600");
    fs::remove_dir_all(&bed.dir).unwrap();
    bed.child.wait().unwrap();
    assert!(gone(program));
}

#[test]
fn a_program_is_paused_stopped_killed_and_started_again() {
    let bed = Bed::new("commands");
    let first = bed.run("program", "exec sleep 600");
    let named = || "program".to_owned();

    bed.supervisor.done(&Request::Pause(named())).unwrap();
    wait_until("the pause", LIMIT, || state(first) == "T").unwrap();
    bed.supervisor.done(&Request::Resume(named())).unwrap();
    wait_until("the end of the pause", LIMIT, || state(first) == "S").unwrap();

    bed.supervisor.done(&Request::Kill(named())).unwrap();
    assert!(gone(first));
    bed.supervisor.done(&Request::Start(named())).unwrap();
    let second = bed.pid("program").unwrap();
    assert_ne!(first, second);

    bed.supervisor.done(&Request::Pause(named())).unwrap();
    let stop = Request::Stop { name: named(), grace_ms: 10_000 };
    bed.supervisor.done(&stop).unwrap();
    assert!(gone(second), "SIGTERM reaches a paused program, too");
    assert!(bed.supervisor.done(&Request::Start("nobody".into())).is_err());
}

#[test]
fn run_again_replaces_only_what_changed() {
    let bed = Bed::new("again");
    let first = bed.run("program", "exec sleep 600");
    assert_eq!(first, bed.run("program", "exec sleep 600"));
    assert_ne!(first, bed.run("program", "exec sleep 601"));
    assert!(gone(first));
}

#[test]
fn who_ends_unasked_is_reported_with_the_end_of_its_log() {
    let bed = Bed::new("died");
    bed.supervisor.run(shell("program", "echo no such flag; exit 3")).unwrap();
    wait_until("its end", LIMIT, || bed.supervisor.check("program").is_err()).unwrap();
    let error = bed.supervisor.check("program").unwrap_err().to_string();
    assert!(error.contains("no such flag"), "{error}");
}

#[test]
fn a_signal_ends_it_as_well() {
    let mut bed = Bed::new("signal");
    let program = bed.run("program", "exec sleep 600");
    let pid = i32::try_from(bed.child.id()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    assert!(bed.child.wait().unwrap().success());
    assert!(gone(program));
}
