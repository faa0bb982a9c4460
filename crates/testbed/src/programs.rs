//! The programs of a cluster, built once from the Go module proxy and kept in the user's cache folder.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, While};
use crate::go_build::{self, cache, go};

const GO_MOD: &str = include_str!("../controlplane/go.mod");
const GO_SUM: &str = include_str!("../controlplane/go.sum");
const KWOK: &str = "sigs.k8s.io/kwok";
/// Calls a volume bound that is only reserved, and fights with the volume controller, which binds it when its claim comes.
const BINDS: &str = "pv-bind.yaml";

/// Program, package, and what a cold build costs in seconds on two cores.
const PROGRAMS: [(&str, &str, u32); 6] = [
    ("etcd", "go.etcd.io/etcd/server/v3", 15),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl", 30),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 200),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", 65),
    ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", 10),
    ("kwok", "sigs.k8s.io/kwok/cmd/kwok", 10),
];

/// What `KUBEBUILDER_ASSETS` brings, by the convention of envtest.
const ENVTEST: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];

/// Where each program of a cluster lies.
#[derive(Clone, Debug)]
pub struct Programs {
    built: PathBuf,
    assets: Option<PathBuf>,
}

impl Programs {
    /// Finds the programs, building first what is missing; `say` hears of every step that takes long.
    pub fn ensure(say: &dyn Fn(&str)) -> Result<Self> {
        let assets = env::var_os("KUBEBUILDER_ASSETS").filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(dir) = &assets
            && let Some(missing) = ENVTEST.iter().find(|p| !dir.join(p).is_file())
        {
            return Err(Error::Other(format!(
                "KUBEBUILDER_ASSETS is {}, but there is no {missing} in it; unset it to have one built",
                dir.display()
            )));
        }
        let wanted: Vec<_> =
            PROGRAMS.into_iter().filter(|(name, ..)| assets.is_none() || !ENVTEST.contains(name)).collect();

        let built = cache()?.join(format!("controlplane-{}", fingerprint()));
        let missing = |dir: &Path| wanted.iter().any(|(p, ..)| !dir.join(p).is_file()) || !dir.join("stages").is_dir();
        go_build::once(&built, "the control plane", missing, say, |work| build_in(work, &built, &wanted, say))?;
        Ok(Self { built, assets })
    }

    pub fn path(&self, program: &str) -> PathBuf {
        match &self.assets {
            Some(dir) if ENVTEST.contains(&program) => dir.join(program),
            _ => self.built.join(program),
        }
    }

    /// Every program with its place.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        PROGRAMS.map(|(name, ..)| (name, self.path(name))).into_iter()
    }

    /// kwok's own Stage files: how its nodes, pods and volumes behave.
    pub fn stages(&self) -> Result<Vec<PathBuf>> {
        let mut stages = files(&self.built.join("stages"))?;
        stages.retain(|stage| !stage.ends_with(BINDS));
        Ok(stages)
    }

    /// The roles that kwok ships for itself.
    pub fn kwok_roles(&self) -> Result<Vec<PathBuf>> {
        files(&self.built.join("roles"))
    }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).at("reading", dir)? {
        files.push(entry.at("reading", dir)?.path());
    }
    files.sort();
    Ok(files)
}

/// Everything the binaries depend on, so that a change is built anew and nothing else is.
fn fingerprint() -> String {
    go_build::fingerprint(&[GO_MOD, GO_SUM, &ldflags()])
}

/// Without these the API server calls itself v0.0.0, and kubectl warns of a version skew.
fn ldflags() -> String {
    let version = GO_MOD
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"))
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or("0.0.0");
    let mut parts = version.split('.');
    let (major, minor) = (parts.next().unwrap_or("0"), parts.next().unwrap_or("0"));
    let package = "k8s.io/component-base/version";
    format!("-s -w -X {package}.gitVersion=v{version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}")
}

fn build_in(work: &Path, built: &Path, wanted: &[(&str, &str, u32)], say: &dyn Fn(&str)) -> Result<()> {
    go_build::module(work, GO_MOD, GO_SUM)?;
    for (name, package, seconds) in wanted {
        go_build::program(work, &built.join(name), package, &ldflags(), *seconds, say)?;
    }
    copy_kwok_files(work, built)
}

/// kwok refuses to run without Stage files, and they are not in its binary.
fn copy_kwok_files(work: &Path, built: &Path) -> Result<()> {
    go(work, ["mod", "download", KWOK].map(OsStr::new))?;
    let module = go(work, ["list", "-m", "-f", "{{.Dir}}", KWOK].map(OsStr::new))?;
    let kustomize = Path::new(module.trim()).join("kustomize");

    let stages = work.join("stages");
    fs::create_dir_all(&stages).at("making", &stages)?;
    for (folder, prefix) in [("pod", "pod-"), ("node", "node-"), ("volume", "p")] {
        for file in files(&kustomize.join("stage").join(folder).join("fast"))? {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(prefix) {
                copy(&file, &stages.join(name))?;
            }
        }
    }
    let roles = work.join("roles");
    fs::create_dir_all(&roles).at("making", &roles)?;
    copy(&kustomize.join("rbac/role.yaml"), &roles.join("controller.yaml"))?;
    copy(&kustomize.join("stage/volume/rbac/role.yaml"), &roles.join("volume.yaml"))?;
    for folder in [roles, stages] {
        let target = built.join(folder.file_name().unwrap_or_default());
        if !target.is_dir() {
            fs::rename(&folder, &target).at("moving", &folder)?;
        }
    }
    Ok(())
}

/// By content, since files in the module cache are read-only and their copies would be, too.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from).at("reading", from)?;
    fs::write(to, content).at("writing", to)
}
