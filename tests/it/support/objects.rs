//! Objects that tests create, and what is read of them.

use std::time::Duration;

use foureyes_testbed::wait_for;
use serde_json::{Value, json};

use super::requests::{Asked, asked, asks, request};
use super::{PATIENCE, field, me, production};

/// Longer than the namespace controller takes between two tries at a namespace.
pub const LONG: Duration = Duration::from_secs(150);

/// A claim of 1Gi.
pub fn claim_of(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    })
}

/// Repository of the image that [`web`] runs.
pub const IMAGE: &str = "registry.example.org/web";

/// The Deployment `web` with one replica of this version.
pub fn web(namespace: &str, version: u32) -> Value {
    let container = json!({"name": "web", "image": format!("{IMAGE}:{version}")});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": namespace, "name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}},
    })
}

/// Creates a claim and waits until it is bound; its UID.
#[track_caller]
pub fn bound(claim: &Value) -> String {
    let created = me("admin").creates(claim);
    let text = |key: &str| created["metadata"][key].as_str().unwrap().to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    eventually("the claim to be bound", || field(&namespace, "pvc", &name, "{.status.phase}") == "Bound");
    text("uid")
}

/// A pod that runs, with claims by the names of its volumes.
pub fn pod(namespace: &str, name: &str, claims: &[&str]) -> Value {
    let volumes: Vec<Value> =
        claims.iter().map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}})).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"containers": [{"name": "c", "image": "example/c:1"}], "volumes": volumes},
    })
}

/// A StatefulSet `db` with one claim a replica, which are deleted with it and when it is scaled down if `deletes`.
pub fn stateful_set(namespace: &str, replicas: u32, class: &str, deletes: bool) -> Value {
    let when = if deletes { "Delete" } else { "Retain" };
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"namespace": namespace, "name": "db"},
        "spec": {
            "replicas": replicas, "serviceName": "db", "podManagementPolicy": "Parallel",
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when, "whenScaled": when},
            "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"containers": [{"name": "c", "image": "example/db:1",
                                         "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]},
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
                         "resources": {"requests": {"storage": "1Gi"}}},
            }],
        },
    })
}

/// A policy for one namespace, in force when this returns.
#[track_caller]
pub fn tighten(namespace: &str, spec: &Value) {
    let mut spec = spec.clone();
    spec["selector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    let policy = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy",
                        "metadata": {"name": namespace}, "spec": spec});
    me("admin").creates(&policy);
    eventually("the policy to be in force", || {
        field("", "safetypolicy", namespace, "{.status.conditions[?(@.type=='Compiled')].status}") == "True"
    });
}

/// A namespace as a target.
pub fn place(namespace: &str) -> Value {
    let uid = field("", "namespace", namespace, "{.metadata.uid}");
    json!({"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": uid})
}

/// alice asks for the deletion of a namespace.
#[track_caller]
pub fn place_asked(namespace: &str) -> Asked {
    let created = me("alice").creates(&request(namespace, &place(namespace)));
    asked(created["metadata"]["name"].as_str().unwrap())
}

/// alice asks for the deletion of a namespace and bob signs it off.
#[track_caller]
pub fn place_approved(namespace: &str) -> Asked {
    let asked = place_asked(namespace);
    approve(&asked);
    asked
}

/// alice asks for the deletion of a claim and bob signs it off.
#[track_caller]
pub fn claim_approved(namespace: &str, claim: &str) -> Asked {
    let uid = field(namespace, "pvc", claim, "{.metadata.uid}");
    let asked = asks(&me("alice"), namespace, claim, &uid);
    approve(&asked);
    asked
}

/// The data of a claim whose deletion was requested is there, and it is held.
#[track_caller]
pub fn outlived(volume: &str, asked: &Asked) {
    let of_volume = |path: &str| field("", "pv", volume, path);
    eventually("the volume to be released", || of_volume("{.status.phase}") == "Released");
    assert_eq!(of_volume("{.spec.persistentVolumeReclaimPolicy}"), "Retain");
    assert_eq!(asked.field("{.status.backupRetention}"), asked.name);
    let held = field("", "backupretention", &asked.name, "{.spec.keepers[*].uid}");
    assert!(held.contains(&of_volume("{.metadata.uid}")), "{volume} is not held: {held}");
}

/// A production namespace with claims in it.
pub fn production_with(prefix: &str, claims: &[&str]) -> String {
    let namespace = production(prefix);
    for claim in claims {
        bound(&claim_of(&namespace, claim));
    }
    namespace
}

#[track_caller]
fn approve(asked: &Asked) {
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
}

/// Takes the label off a namespace that was not production, once the controller has seen that it was not: what runs in
/// one that it sees for the first time as production came without a word.
#[track_caller]
pub fn enter_production(namespace: &str) {
    let uid = field("", "namespace", namespace, "{.metadata.uid}");
    let noted = || field("foureyes-system", "configmap", "foureyes-state", "{.data.rollouts}");
    eventually("the namespace to be known as non-production", || noted().contains(&uid));
    me("admin").does(&["label", "namespace", namespace, "foureyes.dev/environment-"]);
}

#[track_caller]
pub fn eventually(what: &str, probe: impl FnMut() -> bool) {
    within(PATIENCE, what, probe);
}

/// The same for what takes its time.
#[track_caller]
pub fn within(limit: Duration, what: &str, mut probe: impl FnMut() -> bool) {
    let waited = wait_for(what, limit, || Ok(probe().then_some(())));
    assert!(waited.is_ok(), "{}", waited.unwrap_err());
}

/// Names of all objects of a kind in a namespace.
pub fn names(namespace: &str, kind: &str) -> Vec<String> {
    let output = me("admin").does(&["-n", namespace, "get", kind, "-o=jsonpath={.items[*].metadata.name}"]);
    output.split_whitespace().map(str::to_owned).collect()
}
