//! Finding this workspace's own programs.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result, While};

const TESTBED: &str = "foureyes-testbed";

/// The checkout that this was built from.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

#[derive(Clone, Debug)]
pub struct Binaries {
    pub foureyes: PathBuf,
    pub testbed: PathBuf,
}

impl Binaries {
    /// The command line finds its neighbours; a test builds them first, since cargo does not know that it needs them.
    /// `FOUREYES_BIN` names another foureyes.
    pub fn find() -> Result<Self> {
        let exe = env::current_exe().during("finding this program")?;
        let testbed = if exe.file_name().is_some_and(|name| name == TESTBED) { exe } else { build(&exe)? };
        let foureyes = env::var_os("FOUREYES_BIN").map_or_else(|| testbed.with_file_name("foureyes"), PathBuf::from);
        Ok(Self { foureyes, testbed })
    }
}

/// A test runs as `target/<profile>/deps/<name>-<hash>`.
fn build(test: &Path) -> Result<PathBuf> {
    let folder = test
        .parent()
        .filter(|dir| dir.ends_with("deps"))
        .and_then(Path::parent)
        .ok_or_else(|| Error::Other(format!("{} was not built by cargo", test.display())))?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--workspace", "--bins"]).current_dir(root());
    if folder.ends_with("release") {
        command.arg("--release");
    }
    // What cargo tells a test about its package, ring's build script takes for its own: it would be built anew, and all
    // that stands on it, now and again by whoever builds next.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(of_one_package) {
            command.env_remove(&name);
        }
    }
    let output = command.output().during("running cargo build")?;
    if !output.status.success() {
        return Err(Error::Command {
            command: "cargo build --workspace --bins".into(),
            status: output.status.to_string(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    Ok(folder.join(TESTBED))
}

fn of_one_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "OUT_DIR"
}
