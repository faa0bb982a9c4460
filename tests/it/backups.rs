//! Backups that a request names, with the real kinds of Velero, of the snapshot API, and k8up's. What their tools would
//! write is written here.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::kinds::{with_k8up, with_snapshots, with_velero};
use crate::support::objects::{bound, claim_of, enter_production, place, place_asked, production_with};
use crate::support::requests::{Asked, asked, delete_claim, deletes_claim, request, target};
use crate::support::{Who, denied, field, me, non_production, production};

const VELERO: &str = "velero.io/v1";
const SNAPSHOTS: &str = "snapshot.storage.k8s.io/v1";

fn in_days(days: i64) -> String {
    Timestamp::from_second(Timestamp::now().as_second())
        .unwrap()
        .saturating_add(SignedDuration::from_hours(24 * days))
        .unwrap()
        .to_string()
}

#[track_caller]
fn status(object: &[&str], status: &Value) {
    let patch = json!({ "status": status }).to_string();
    me("admin").does(&[&["patch", "--subresource=status", "--type=merge", "-p", &patch], object].concat());
}

/// A namespace in which Velero runs, with a storage location.
fn velero(prefix: &str) -> String {
    with_velero();
    let namespace = production(prefix);
    me("admin").creates(&json!({
        "apiVersion": VELERO, "kind": "BackupStorageLocation", "metadata": {"namespace": namespace, "name": "default"},
        "spec": {"provider": "aws", "objectStorage": {"bucket": "backups"}}, "status": {"phase": "Available"},
    }));
    namespace
}

/// A backup of Velero that is done, with a snapshot of one volume of this namespace; its UID.
fn backed_up(velero: &str, name: &str, of: &str, expires: &str) -> String {
    let made = me("admin").creates(&json!({
        "apiVersion": VELERO, "kind": "Backup", "metadata": {"namespace": velero, "name": name},
        "spec": {"includedNamespaces": [of], "storageLocation": "default", "ttl": "1440h"},
        "status": {"phase": "Completed", "startTimestamp": in_days(0), "expiration": expires,
                   "csiVolumeSnapshotsAttempted": 1, "csiVolumeSnapshotsCompleted": 1},
    }));
    made["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn named(kind: &str, namespace: &str, name: &str) -> Value {
    json!({"kind": kind, "namespace": namespace, "name": name})
}

#[track_caller]
fn asks(who: &Who, namespace: &str, claim: &str, backups: &[Value]) -> Asked {
    let uid = field(namespace, "pvc", claim, "{.metadata.uid}");
    let mut object = request(namespace, &target(namespace, claim, &uid));
    object["spec"]["backups"] = json!(backups);
    let created = who.creates(&object);
    asked(created["metadata"]["name"].as_str().unwrap())
}

/// A volume that is being deleted is kept by nothing but a backup.
#[test]
fn what_only_a_backup_has_goes_once_that_is_there_and_the_backup_is_held() {
    let velero = velero("velero-keeps");
    let namespace = non_production("backed-up");
    bound(&claim_of(&namespace, "data"));
    me("admin").does(&["delete", "pv", &field(&namespace, "pvc", "data", "{.spec.volumeName}"), "--wait=false"]);
    enter_production(&namespace);
    let asked = asks(&me("carol"), &namespace, "data", &[named("VeleroBackup", &velero, "nightly")]);
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Approved");
    assert_eq!(asked.field("{.status.backups[0].because}"), "it is not there");
    denied("DataNotKept", &delete_claim(&me("eve"), &namespace, "data"));

    let uid = backed_up(&velero, "nightly", &namespace, &in_days(60));
    asked.said(&me("alice"), "Approve");
    asked.wait_field("{.status.backups[0].counts}", "true");
    asked.wait_phase("Executable");
    deletes_claim(&me("eve"), &namespace, "data");
    asked.wait_phase("Executed");
    let held = |path: &str| field("", "backupretention", &asked.name, path);
    assert_eq!(held("{.spec.keepers[*].kind}"), "Backup");
    assert_eq!((held("{.spec.keepers[0].uid}"), held("{.spec.keepers[0].namespace}")), (uid, velero));
}

#[test]
fn each_backup_that_a_request_names_counts_or_says_why_not() {
    with_snapshots();
    with_k8up();
    let velero = velero("velero-counts");
    let namespace = production_with("counted", &["data"]);
    backed_up(&velero, "short", &namespace, &in_days(7));
    backed_up(&velero, "elsewhere", "default", &in_days(60));
    let snapshot = me("admin").creates(&json!({
        "apiVersion": SNAPSHOTS, "kind": "VolumeSnapshot", "metadata": {"namespace": namespace, "name": "daily"},
        "spec": {"source": {"persistentVolumeClaimName": "data"}},
    }));
    let content = format!("{namespace}-daily");
    me("admin").creates(&json!({
        "apiVersion": SNAPSHOTS, "kind": "VolumeSnapshotContent", "metadata": {"name": content},
        "spec": {"deletionPolicy": "Retain", "driver": "csi.example.org", "source": {"volumeHandle": "vol-1"},
                 "volumeSnapshotRef": {"apiVersion": SNAPSHOTS, "kind": "VolumeSnapshot", "namespace": namespace,
                                       "name": "daily", "uid": snapshot["metadata"]["uid"]}},
    }));
    status(&["volumesnapshotcontent", &content], &json!({"snapshotHandle": "snap-1", "readyToUse": true}));
    let ready = json!({"boundVolumeSnapshotContentName": content, "readyToUse": true, "creationTime": in_days(0)});
    status(&["-n", &namespace, "volumesnapshot", "daily"], &ready);
    me("admin").creates(&json!({
        "apiVersion": "k8up.io/v1", "kind": "Snapshot", "metadata": {"namespace": namespace, "name": "162e7a85"},
        "spec": {"id": "162e7a85acbc", "date": in_days(0), "paths": ["/data/data"]},
    }));
    let backups = [
        named("VolumeSnapshot", &namespace, "daily"),
        named("K8upSnapshot", &namespace, "162e7a85"),
        named("VeleroBackup", &velero, "short"),
        named("VeleroBackup", &velero, "elsewhere"),
    ];
    let asked = asks(&me("alice"), &namespace, "data", &backups);
    asked.wait_field("{.status.backups[*].counts}", "true true false false");
    let because = asked.field("{range .status.backups[*]}{.because}|{end}");
    assert!(because.starts_with("||it expires ") && because.contains(", sooner than in 30 days|"), "{because}");
    assert!(because.ends_with(&format!("it does not include the namespace {namespace}|")), "{because}");

    // its volume is kept all the same, and all that keeps its data is held
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    let volume = field(&namespace, "pvc", "data", "{.spec.volumeName}");
    assert_eq!(field("", "pv", &volume, "{.spec.persistentVolumeReclaimPolicy}"), "Retain");
    deletes_claim(&me("eve"), &namespace, "data");
    asked.wait_phase("Executed");
    let held = field("", "backupretention", &asked.name, "{.spec.keepers[*].kind}");
    assert_eq!(held, "PersistentVolume VolumeSnapshotContent Snapshot");
}

#[test]
fn a_backup_that_would_die_with_the_namespace_does_not_count() {
    let namespace = velero("velero-dies");
    bound(&claim_of(&namespace, "data"));
    backed_up(&namespace, "nightly", &namespace, &in_days(60));
    let without = place_asked(&namespace);
    assert_eq!(without.field("{.status.backups}"), "");
    let mut object = request(&namespace, &place(&namespace));
    object["spec"]["backups"] = json!([named("VeleroBackup", &namespace, "nightly")]);
    let created = me("alice").creates(&object);
    let asked = asked(created["metadata"]["name"].as_str().unwrap());
    asked.wait_field("{.status.backups[0].because}", "it goes with the namespace");
    assert_eq!(asked.field("{.status.backups[0].counts}"), "false");
}
