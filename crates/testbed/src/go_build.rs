//! Builds programs from the Go module proxy, each once, into the user's cache folder.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result, While};

/// Where they are kept.
pub fn cache() -> Result<PathBuf> {
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|dir| dir.join("foureyes"))
        .ok_or_else(|| Error::Other("neither XDG_CACHE_HOME nor HOME names a folder".into()))
}

/// Of everything that a program depends on, so that a change is built anew and nothing else is.
pub fn fingerprint(parts: &[&str]) -> String {
    let hash = parts.iter().fold(Sha256::new(), Digest::chain_update).finalize();
    hash[..6].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Fills `folder` if something is `missing` from it. Of several runs one does it, in a folder of its own that is removed
/// at the end, and the others wait.
pub fn once(
    folder: &Path,
    what: &str,
    missing: impl Fn(&Path) -> bool,
    say: &dyn Fn(&str),
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    fs::create_dir_all(folder).at("making", folder)?;
    if !missing(folder) {
        return Ok(());
    }
    let path = folder.join("lock");
    let lock = File::create(&path).at("making", &path)?;
    if lock.try_lock().is_err() {
        say(&format!("another run is building {what}: waiting for it"));
        lock.lock().at("locking", &path)?;
    }
    if !missing(folder) {
        return Ok(());
    }
    let work = folder.join(format!("build-{}", process::id()));
    fs::create_dir_all(&work).at("making", &work)?;
    let outcome = build(&work);
    let removed = fs::remove_dir_all(&work);
    outcome?;
    removed.at("removing", &work)
}

/// Writes the module that programs are built from.
pub fn module(work: &Path, go_mod: &str, go_sum: &str) -> Result<()> {
    for (name, text) in [("go.mod", go_mod), ("go.sum", go_sum)] {
        let path = work.join(name);
        fs::write(&path, text).at("writing", &path)?;
    }
    Ok(())
}

/// Builds one program of the module in `work`, unless it is there. `seconds` is about what that takes on two cores.
pub fn program(
    work: &Path,
    target: &Path,
    package: &str,
    ldflags: &str,
    seconds: u32,
    say: &dyn Fn(&str),
) -> Result<()> {
    if target.is_file() {
        return Ok(());
    }
    let name = target.file_name().unwrap_or_default();
    say(&format!("building {} (about {seconds} s, once)", name.display()));
    let (began, fresh) = (Instant::now(), work.join(name));
    let args = ["build", "-mod=readonly", "-trimpath", "-ldflags", ldflags, "-o"];
    go(work, args.map(OsStr::new).into_iter().chain([fresh.as_os_str(), OsStr::new(package)]))?;
    fs::rename(&fresh, target).at("moving", &fresh)?;
    say(&format!("built {} in {} s", name.display(), began.elapsed().as_secs()));
    Ok(())
}

/// Runs `go` in a folder with a module; what it printed.
pub fn go<'a>(work: &Path, args: impl IntoIterator<Item = &'a OsStr>) -> Result<String> {
    let mut command = Command::new("go");
    command
        .args(args)
        .current_dir(work)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .stdin(Stdio::null());
    let output = command.output().map_err(|source| Error::Io {
        what: "the cluster is built with Go (1.26 or newer), and `go` could not be started".into(),
        source,
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command {
        command: format!("{command:?}"),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
