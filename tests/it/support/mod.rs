//! The shared cluster, and short ways to say what a person did and what came of it.

pub mod changes;
pub mod decisions;
pub mod exempt;
pub mod floor;
pub mod injector;
pub mod kinds;
pub mod objects;
pub mod requests;
pub mod retentions;
pub mod spelling;
pub mod who;

use std::sync::LazyLock;
use std::time::Duration;

use foureyes_testbed::{Cluster, Environment, Output, wait_for};

pub use who::{Who, account, acting, denied, denied_in_words, me, responder, storage_operator, storekeeper, went};

/// How long a test waits for what the cluster does in its own time.
pub const PATIENCE: Duration = Duration::from_secs(60);

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| match Cluster::start("it") {
    Ok(cluster) => cluster,
    Err(error) => panic!("{error}"),
});

/// The cluster of this test binary, started by whoever asks first.
pub fn cluster() -> &'static Cluster {
    &CLUSTER
}

/// A new production namespace.
pub fn production(prefix: &str) -> String {
    cluster().namespace(prefix, Environment::Production).unwrap()
}

/// A new namespace that was born non-production.
pub fn non_production(prefix: &str) -> String {
    cluster().namespace(prefix, Environment::NonProduction).unwrap()
}

/// Runs kubectl as this person, whatever comes of it.
pub fn kubectl(person: &str, args: &[&str]) -> Output {
    cluster().kubectl(person, args).unwrap()
}

/// Runs kubectl, which must succeed; what it printed.
#[track_caller]
pub fn succeeds(person: &str, args: &[&str]) -> String {
    let output = kubectl(person, args);
    assert!(output.ok(), "{person}: kubectl {args:?} failed:\n{}", output.text());
    output.stdout
}

/// Runs kubectl with an object on its standard input, which must succeed; what it printed.
#[track_caller]
pub fn succeeds_with(person: &str, args: &[&str], stdin: &str) -> String {
    let output = cluster().kubectl_with(person, args, Some(stdin)).unwrap();
    assert!(output.ok(), "{person}: kubectl {args:?} failed:\n{}\nits input:\n{stdin}", output.text());
    output.stdout
}

/// Pastes a line into this person's shell.
pub fn paste(person: &str, line: &str) -> Output {
    cluster().shell(person, line).unwrap()
}

/// Creates a claim as the admin and waits until it is bound; its UID.
pub fn claim(namespace: &str, name: &str) -> String {
    let manifest = serde_json::json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Gi" } },
        },
    });
    succeeds_with("admin", &["create", "-f", "-"], &manifest.to_string());
    wait_for("the claim to be bound", PATIENCE, || {
        let phase = field(namespace, "pvc", name, "{.status.phase}");
        Ok((phase == "Bound").then_some(()))
    })
    .unwrap();
    field(namespace, "pvc", name, "{.metadata.uid}")
}

/// One field of an object by its JSONPath, empty when there is none.
pub fn field(namespace: &str, kind: &str, name: &str, path: &str) -> String {
    let output = format!("-o=jsonpath={path}");
    succeeds("admin", &["-n", namespace, "get", kind, name, &output])
}

pub fn exists(namespace: &str, kind: &str, name: &str) -> bool {
    let found = succeeds("admin", &["-n", namespace, "get", kind, name, "--ignore-not-found", "-o=name"]);
    !found.trim().is_empty()
}

/// Waits until the object is gone.
#[track_caller]
pub fn wait_gone(namespace: &str, kind: &str, name: &str) {
    foureyes_testbed::wait_until(&format!("{kind} {namespace}/{name} to be gone"), PATIENCE, || {
        !exists(namespace, kind, name)
    })
    .unwrap();
}
