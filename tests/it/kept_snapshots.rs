//! Snapshots that go with their namespace, with the real kinds of the snapshot API, which are installed while foureyes runs.
//! What their controller and a driver would write is written here.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::kinds::with_snapshots;
use crate::support::objects::{place_approved, place_asked, production_with, within};
use crate::support::{acting, denied, field, me, production, wait_gone};

const API: &str = "snapshot.storage.k8s.io/v1";

/// A snapshot of a claim as it is once it was taken; the name of what is behind it.
fn taken(namespace: &str, name: &str) -> String {
    let content = format!("{namespace}-{name}");
    let snapshot = me("admin").creates(&json!({
        "apiVersion": API, "kind": "VolumeSnapshot", "metadata": {"namespace": namespace, "name": name},
        "spec": {"source": {"persistentVolumeClaimName": "data"}},
    }));
    me("admin").creates(&json!({
        "apiVersion": API, "kind": "VolumeSnapshotContent", "metadata": {"name": content},
        "spec": {"deletionPolicy": "Delete", "driver": "csi.example.org", "source": {"volumeHandle": "vol-1"},
                 "volumeSnapshotRef": {"apiVersion": API, "kind": "VolumeSnapshot", "namespace": namespace,
                                       "name": name, "uid": snapshot["metadata"]["uid"]}},
    }));
    status(&["volumesnapshotcontent", &content], &json!({"snapshotHandle": content, "readyToUse": true}));
    let bound = json!({"boundVolumeSnapshotContentName": content, "readyToUse": true, "restoreSize": "1Gi"});
    status(&["-n", namespace, "volumesnapshot", name], &bound);
    content
}

fn status(object: &[&str], status: &Value) {
    let patch = json!({ "status": status }).to_string();
    me("admin").does(&[&["patch", "--subresource=status", "--type=merge", "-p", &patch], object].concat());
}

fn policy_of(content: &str) -> String {
    field("", "volumesnapshotcontent", content, "{.spec.deletionPolicy}")
}

#[test]
fn what_is_behind_the_snapshots_of_a_namespace_outlives_it() {
    with_snapshots();
    let namespace = production_with("snapshots", &["data"]);
    let content = taken(&namespace, "daily");
    let delete = || me("eve").kubectl(&["delete", "namespace", &namespace, "--wait=false"]);
    let refusal = denied("DeletionNotRequested", &delete());
    assert!(refusal.contains(&format!("snapshot {namespace}/daily (1Gi, content {content})")), "{refusal}");

    let asked = place_approved(&namespace);
    assert_eq!(policy_of(&content), "Retain");
    let protected = "{.status.protections[?(@.object.kind=='VolumeSnapshotContent')].before}";
    assert_eq!(asked.field(protected), "Delete");
    let handle = asked.field("{.status.inventory.items[?(@.kind=='VolumeSnapshotContent')].handle}");
    assert_eq!(handle, format!("csi.example.org/{content}"));
    // what comes later is not among what was signed off
    let later = production_with("snapshots-later", &["data"]);
    place_approved(&later);
    let uncovered = taken(&later, "late");
    denied("InventoryGrown", &me("eve").kubectl(&["delete", "namespace", &later, "--wait=false"]));
    assert_eq!(policy_of(&uncovered), "Delete", "nobody signed it off");

    me("eve").does(&["delete", "namespace", &namespace, "--wait=false"]);
    wait_gone("", "namespace", &namespace);
    asked.wait_phase("Executed");
    assert_eq!(policy_of(&content), "Retain");
    let held = |path: &str| field("", "backupretention", &asked.name, path);
    let uid = field("", "volumesnapshotcontent", &content, "{.metadata.uid}");
    assert_eq!(held("{.spec.keepers[?(@.kind=='VolumeSnapshotContent')].uid}"), uid);
    assert_eq!(held("{.spec.keepers[?(@.kind=='VolumeSnapshotContent')].handle}"), handle);
    assert_ne!(held("{.spec.keepers[?(@.kind=='PersistentVolume')].uid}"), "");

    // what is held goes by nobody's word alone, by machines neither, nor under another name
    within(Duration::from_secs(60), "it to be held", || held("{.status.phase}") == "Holding");
    let velero = acting("system:serviceaccount:velero:velero", &["system:serviceaccounts", "system:masters"]);
    let flip = r#"{"spec":{"deletionPolicy":"Delete"}}"#;
    let alias = json!({
        "apiVersion": API, "kind": "VolumeSnapshotContent", "metadata": {"name": format!("{content}-alias")},
        "spec": {"deletionPolicy": "Delete", "driver": "csi.example.org", "source": {"snapshotHandle": content},
                 "volumeSnapshotRef": {"apiVersion": API, "kind": "VolumeSnapshot", "namespace": later, "name": "alias"}},
    });
    for who in [me("admin"), velero] {
        denied("DataHeld", &who.kubectl(&["delete", "volumesnapshotcontent", &content, "--wait=false"]));
        denied("DataHeld", &who.kubectl(&["patch", "volumesnapshotcontent", &content, "--type=merge", "-p", flip]));
        denied("DataHeld", &who.create(&alias, &[]));
    }
    assert_eq!(held("{.status.keepers[*].survives}"), "true true");
}

#[test]
fn a_namespace_with_nothing_but_a_snapshot_is_not_empty() {
    with_snapshots();
    let namespace = production("snapshot-alone");
    let content = taken(&namespace, "last");
    denied("DeletionNotRequested", &me("eve").kubectl(&["delete", "namespace", &namespace, "--wait=false"]));
    let asked = place_asked(&namespace);
    asked.wait_field("{.status.inventory.summary}", "1 snapshot, 1 snapshot content");
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    assert_eq!(policy_of(&content), "Retain");
    // and when nothing comes of it, it is as it was
    asked.said(&me("alice"), "Cancel");
    asked.wait_phase("Cancelled");
    assert_eq!(policy_of(&content), "Retain", "a deletion that was let pass may still come");
    within(Duration::from_secs(200), "the content to be as it was", || policy_of(&content) == "Delete");
}
