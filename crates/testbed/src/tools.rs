//! Programs that only tests run beside the cluster: what their users deploy with.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::definitions::{SNAPSHOTS, VELERO};
use crate::error::{Result, While};
use crate::go_build::{self, cache, go};
use crate::programs::Programs;

/// One such program.
pub struct Tool {
    name: &'static str,
    package: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    /// What a cold build costs on two cores.
    seconds: u32,
    /// A module, and the folder in it whose files the program needs in the cluster.
    files: Option<(&'static str, &'static str)>,
}

pub const HELM: Tool = Tool {
    name: "helm",
    package: "helm.sh/helm/v4/cmd/helm",
    go_mod: include_str!("../tools/helm/go.mod"),
    go_sum: include_str!("../tools/helm/go.sum"),
    seconds: 90,
    files: None,
};

pub const ARGO_ROLLOUTS: Tool = Tool {
    name: "rollouts-controller",
    package: "github.com/argoproj/argo-rollouts/cmd/rollouts-controller",
    go_mod: include_str!("../tools/argo-rollouts/go.mod"),
    go_sum: include_str!("../tools/argo-rollouts/go.sum"),
    seconds: 155,
    files: Some(("github.com/argoproj/argo-rollouts", "manifests/crds")),
};

/// Builds all that tests run, the programs of a cluster too, one after the other: beside tests each would take several
/// times as long, and so would they.
pub fn build_all(say: &dyn Fn(&str)) -> Result<()> {
    Programs::ensure(say)?;
    for tool in [HELM, ARGO_ROLLOUTS] {
        tool.ensure(say)?;
    }
    for definitions in [SNAPSHOTS, VELERO] {
        definitions.ensure(say)?;
    }
    Ok(())
}

impl Tool {
    /// Where it lies, built first if it is missing; `say` hears of what takes long.
    pub fn ensure(&self, say: &dyn Fn(&str)) -> Result<PathBuf> {
        let folder = self.folder()?;
        let program = folder.join(self.name);
        let missing = |_: &Path| !program.is_file() || (self.files.is_some() && !folder.join("files").is_dir());
        go_build::once(&folder, self.name, missing, say, |work| {
            go_build::module(work, self.go_mod, self.go_sum)?;
            go_build::program(work, &program, self.package, "-s -w", self.seconds, say)?;
            self.copy_files(work, &folder)
        })?;
        Ok(program)
    }

    /// The files that it needs in the cluster; none before [`Tool::ensure`].
    pub fn files(&self) -> Result<PathBuf> {
        Ok(self.folder()?.join("files"))
    }

    fn folder(&self) -> Result<PathBuf> {
        Ok(cache()?.join(format!("{}-{}", self.name, go_build::fingerprint(&[self.go_mod, self.go_sum]))))
    }

    fn copy_files(&self, work: &Path, folder: &Path) -> Result<()> {
        let Some((module, path)) = self.files else { return Ok(()) };
        let module = go(work, ["list", "-m", "-f", "{{.Dir}}", module].map(OsStr::new))?;
        let (from, to) = (Path::new(module.trim()).join(path), work.join("files"));
        fs::create_dir_all(&to).at("making", &to)?;
        for entry in fs::read_dir(&from).at("reading", &from)? {
            let file = entry.at("reading", &from)?;
            let content = fs::read(file.path()).at("reading", &file.path())?;
            let copied = to.join(file.file_name());
            fs::write(&copied, content).at("writing", &copied)?;
        }
        fs::rename(&to, folder.join("files")).at("moving", &to)
    }
}
