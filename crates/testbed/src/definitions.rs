//! Kinds of others that tests install: those of the snapshot API and of Velero as their projects ship them, and k8up's in
//! short.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cluster::Cluster;
use crate::error::{Result, While};
use crate::go_build::{self, cache, go};

const GO_MOD: &str = include_str!("../tools/definitions/go.mod");
const GO_SUM: &str = include_str!("../tools/definitions/go.sum");
const K8UP_KINDS: &str = include_str!("../assets/k8up.yaml");

/// The kinds of one project.
#[derive(Debug)]
pub struct Definitions {
    name: &'static str,
    /// API groups, whose kinds those may edit who may edit in a namespace.
    groups: &'static [&'static str],
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    /// A folder in a module.
    Module(&'static str, &'static str),
    Written(&'static str),
}

/// `VolumeSnapshot`, `VolumeSnapshotContent`, `VolumeSnapshotClass`, and those of groups.
pub const SNAPSHOTS: Definitions = Definitions {
    name: "snapshots",
    groups: &["snapshot.storage.k8s.io", "groupsnapshot.storage.k8s.io"],
    origin: Origin::Module("github.com/kubernetes-csi/external-snapshotter/client/v8", "config/crd"),
};

/// `Backup`, `Restore`, `DeleteBackupRequest` and all the others of `velero.io/v1`.
pub const VELERO: Definitions = Definitions {
    name: "velero",
    groups: &["velero.io"],
    origin: Origin::Module("github.com/vmware-tanzu/velero", "config/crd/v1/bases"),
};

/// `Snapshot`, `Prune`, `Schedule` and `Backup` of `k8up.io/v1`.
pub const K8UP: Definitions = Definitions { name: "k8up", groups: &["k8up.io"], origin: Origin::Written(K8UP_KINDS) };

impl Definitions {
    /// Fetches what comes from elsewhere, once; `say` hears of what takes long.
    pub fn ensure(&self, say: &dyn Fn(&str)) -> Result<()> {
        self.manifests(say).map(drop)
    }

    fn manifests(&self, say: &dyn Fn(&str)) -> Result<String> {
        let (module, path) = match self.origin {
            Origin::Written(manifests) => return Ok(manifests.to_owned()),
            Origin::Module(module, path) => (module, path),
        };
        let folder = cache()?.join(format!("definitions-{}", go_build::fingerprint(&[GO_MOD, GO_SUM])));
        let file = folder.join(format!("{}.yaml", self.name));
        go_build::once(&folder, self.name, |_| !file.is_file(), say, |work| fetch(work, module, path, &file))?;
        fs::read_to_string(&file).at("reading", &file)
    }
}

/// All definitions of a folder as one file.
fn fetch(work: &Path, module: &str, path: &str, file: &Path) -> Result<()> {
    go_build::module(work, GO_MOD, GO_SUM)?;
    go(work, ["mod", "download", module].map(OsStr::new))?;
    let source = go(work, ["list", "-m", "-f", "{{.Dir}}", module].map(OsStr::new))?;
    let from = Path::new(source.trim()).join(path);
    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    for entry in fs::read_dir(&from).at("reading", &from)? {
        files.insert(entry.at("reading", &from)?.path());
    }
    let mut manifests = String::new();
    for file in files {
        let text = fs::read_to_string(&file).at("reading", &file)?;
        if text.contains("kind: CustomResourceDefinition") {
            manifests.push_str("---\n");
            manifests.push_str(&text);
        }
    }
    let fresh = work.join("manifests.yaml");
    fs::write(&fresh, manifests).at("writing", &fresh)?;
    fs::rename(&fresh, file).at("moving", &fresh)
}

impl Cluster {
    /// Installs the kinds of a project, whether they are there or not. When this returns they are served; those who may
    /// edit in a namespace may edit theirs.
    pub fn define(&self, kinds: &Definitions) -> Result<()> {
        let run = |args: &[&str], stdin: Option<&str>| {
            self.kubectl_with("admin", args, stdin)?.success(&format!("kubectl {}", args.join(" ")))
        };
        let manifests = kinds.manifests(&|step| eprintln!("{step}"))?;
        // Too long for the annotation that a client-side apply leaves.
        run(&["apply", "--server-side", "--force-conflicts", "-f", "-"], Some(&manifests))?;
        let groups = kinds.groups.join(",");
        self.apply(&format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: edit-{}, labels: \
             {{rbac.authorization.k8s.io/aggregate-to-edit: 'true'}}}}, rules: [{{apiGroups: [{groups}], resources: \
             ['*'], verbs: [create, delete, deletecollection, get, list, patch, update, watch]}}]}}",
            kinds.name
        ))?;
        run(&["wait", "--for=condition=Established", "--timeout=120s", "-f", "-"], Some(&manifests)).map(drop)
    }
}
