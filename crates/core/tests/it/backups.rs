//! Backups that a request names: what counts, what does not and why, and what comes of it.

use std::collections::BTreeSet;

use foureyes_core::api::{BackupKind, NamedBackup, Phase, Target};
use foureyes_core::domain::backup::{Found, Wanted, keeper, seen};
use foureyes_core::domain::inventory::{Inventory, Reclaim, Volume};
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::domain::snapshot::Content;
use foureyes_core::reason::Code;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{DAY, Scene, at, claim, claim_target, named, namespace_target, uid, volume};

const BACKUP: u128 = 0xbac;

fn named_backup(kind: BackupKind, namespace: &str) -> NamedBackup {
    NamedBackup { kind, namespace: namespace.to_owned(), name: "nightly".to_owned(), uid: None }
}

/// A backup of Velero that took a snapshot of one volume and is kept for 31 days, with these changes (RFC 7386).
fn velero(changes: &Value) -> Value {
    let mut backup = json!({
        "metadata": {"namespace": "velero", "name": "nightly", "uid": uid(BACKUP)},
        "spec": {"includedNamespaces": ["shop"], "storageLocation": "default", "ttl": "744h0m0s"},
        "status": {"phase": "Completed", "startTimestamp": at(0).to_string(), "expiration": at(31 * DAY).to_string(),
                   "csiVolumeSnapshotsAttempted": 1, "csiVolumeSnapshotsCompleted": 1},
    });
    merge(&mut backup, changes);
    backup
}

fn merge(object: &mut Value, changes: &Value) {
    match changes {
        Value::Object(changes) => {
            for (key, value) in changes {
                merge(&mut object[key], value);
            }
        }
        other => *object = other.clone(),
    }
}

fn location(phase: &str) -> Value {
    json!({"metadata": {"namespace": "velero", "name": "default"}, "status": {"phase": phase}})
}

fn found(object: Value) -> Found {
    Found { object: Some(object), location: Some(location("Available")), ..Found::default() }
}

/// Why it does not count for the deletion of this target, which came into being a day before.
fn because(kind: BackupKind, namespace: &str, target: &Target, found: &Found) -> Option<String> {
    let claims = BTreeSet::from([claim(1).uid.to_string()]);
    let wanted = Wanted { target, born: Some(at(-DAY)), claims: &claims, days: 30, now: at(0) };
    let seen = seen(&named_backup(kind, namespace), found, &wanted);
    assert_eq!(seen.counts, seen.because.is_none());
    assert_eq!(keeper(&seen, found).is_some(), seen.counts);
    seen.because
}

#[rstest]
#[case::as_it_is(json!({}), None)]
#[case::everything(json!({"spec": {"includedNamespaces": null}}), None)]
#[case::by_star(json!({"spec": {"includedNamespaces": ["*"]}}), None)]
#[case::with_claims(json!({"spec": {"includedResources": ["pods", "pvc"]}}), None)]
#[case::native(json!({"status": {"csiVolumeSnapshotsAttempted": 0, "csiVolumeSnapshotsCompleted": 0, "volumeSnapshotsAttempted": 1, "volumeSnapshotsCompleted": 1}}), None)]
#[case::running(json!({"status": {"phase": "InProgress"}}), Some("it is InProgress, not Completed"))]
#[case::partial(json!({"status": {"phase": "PartiallyFailed"}}), Some("it is PartiallyFailed, not Completed"))]
#[case::new(json!({"status": null}), Some("it is New, not Completed"))]
#[case::expires(json!({"status": {"expiration": at(29 * DAY).to_string()}}), Some("it expires"))]
#[case::endless(json!({"status": {"expiration": null}}), Some("it does not say when it expires"))]
#[case::before(json!({"status": {"startTimestamp": at(-2 * DAY).to_string()}}), Some("it was taken before"))]
#[case::elsewhere(json!({"spec": {"includedNamespaces": ["other"]}}), Some("it does not include the namespace shop"))]
#[case::excluded(json!({"spec": {"includedNamespaces": null, "excludedNamespaces": ["shop"]}}), Some("it excludes the namespace shop"))]
#[case::without_claims(json!({"spec": {"includedResources": ["deployments"]}}), Some("it does not include claims"))]
#[case::without_claims_now(json!({"spec": {"includedNamespacedResources": ["pods"]}}), Some("it does not include claims"))]
#[case::claims_excluded(json!({"spec": {"excludedResources": ["persistentvolumeclaims"]}}), Some("it excludes claims or volumes"))]
#[case::volumes_excluded(json!({"spec": {"excludedClusterScopedResources": ["*"]}}), Some("it excludes claims or volumes"))]
#[case::no_cluster(json!({"spec": {"includeClusterResources": false}}), Some("it includes no volumes"))]
#[case::selected(json!({"spec": {"labelSelector": {"matchLabels": {"app": "web"}}}}), Some("it takes only what its labels select"))]
#[case::no_snapshot(json!({"spec": {"snapshotVolumes": false}, "status": {"csiVolumeSnapshotsAttempted": 0, "csiVolumeSnapshotsCompleted": 0}}), Some("of 1 claims it has the data of 0 at most"))]
#[case::failed_snapshot(json!({"status": {"csiVolumeSnapshotsAttempted": 2}}), Some("it took 1 of 2 snapshots of volumes"))]
#[case::nowhere(json!({"spec": {"storageLocation": ""}}), Some("it names no storage location"))]
#[case::going(json!({"metadata": {"deletionTimestamp": at(0).to_string()}}), Some("it is being deleted itself"))]
fn a_backup_of_velero(#[case] changes: Value, #[case] expected: Option<&str>) {
    for target in [claim_target(), namespace_target()] {
        let because = because(BackupKind::VeleroBackup, "velero", &target, &found(velero(&changes)));
        match expected {
            None => assert_eq!(because, None),
            Some(expected) => assert!(because.as_deref().unwrap_or_default().starts_with(expected), "{because:?}"),
        }
    }
}

#[test]
fn a_backup_of_velero_rests_on_its_location() {
    let because = |location: Option<Value>| {
        let found = Found { location, ..found(velero(&json!({}))) };
        because(BackupKind::VeleroBackup, "velero", &claim_target(), &found).unwrap_or_default()
    };
    assert_eq!(because(None), "its storage location default is not there");
    assert_eq!(because(Some(location("Unavailable"))), "its storage location default is not Available");
    let mut going = location("Available");
    going["metadata"]["deletionTimestamp"] = json!(at(0).to_string());
    assert_eq!(because(Some(going)), "its storage location default is being deleted");
    assert_eq!(because(Some(location("Available"))), "");
}

#[test]
fn files_count_by_claim() {
    let none = json!({"status": {"csiVolumeSnapshotsAttempted": 0, "csiVolumeSnapshotsCompleted": 0}});
    let with = |of: &str| Found { files_of: BTreeSet::from([of.to_owned()]), ..found(velero(&none)) };
    let judged = |found: &Found| because(BackupKind::VeleroBackup, "velero", &claim_target(), found);
    assert_eq!(judged(&with(&claim(1).uid)), None);
    assert!(judged(&with(&claim(2).uid)).is_some(), "of another claim");
}

#[test]
fn what_dies_with_the_deletion_does_not_count() {
    let mut here = velero(&json!({}));
    here["metadata"]["namespace"] = json!("shop");
    let because = because(BackupKind::VeleroBackup, "shop", &namespace_target(), &found(here));
    assert_eq!(because.as_deref(), Some("it goes with the namespace"));
}

#[test]
fn another_backup_of_that_name_is_not_the_one() {
    let claims = BTreeSet::from([claim(1).uid.to_string()]);
    let target = claim_target();
    let wanted = Wanted { target: &target, born: Some(at(-DAY)), claims: &claims, days: 30, now: at(0) };
    let mut named = named_backup(BackupKind::VeleroBackup, "velero");
    named.uid = Some(uid(BACKUP));
    let found = found(velero(&json!({})));
    let counted = seen(&named, &found, &wanted);
    assert!(counted.counts);
    named.uid = Some(uid(BACKUP + 1));
    assert_eq!(seen(&named, &found, &wanted).because.as_deref(), Some("another object has its name now"));
    assert_eq!(seen(&named, &Found::default(), &wanted).because.as_deref(), Some("it is not there"));
    let held = keeper(&counted, &found).unwrap();
    assert_eq!((&*held.kind, &*held.uid, held.handle.as_deref()), ("Backup", &*uid(BACKUP), Some("default/nightly")));
    // what was made anew since is not held for it
    let mut anew = velero(&json!({}));
    anew["metadata"]["uid"] = json!(uid(BACKUP + 1));
    assert_eq!(keeper(&counted, &self::found(anew)), None);
}

#[rstest]
#[case(json!({}), "shop", None)]
#[case(json!({}), "elsewhere", Some("it lies in another namespace"))]
#[case(json!({"spec": {"paths": ["/data/other"]}}), "shop", Some("it has no /data/data-1"))]
#[case(json!({"spec": {"id": null}}), "shop", Some("it has no id in its repository"))]
#[case(json!({"spec": {"date": at(-2 * DAY).to_string()}}), "shop", Some("it was taken before what is to be deleted came into being"))]
#[case(json!({"spec": {"date": null}}), "shop", Some("it does not say when it was taken"))]
fn a_snapshot_of_k8up(#[case] changes: Value, #[case] namespace: &str, #[case] expected: Option<&str>) {
    let mut snapshot = json!({
        "metadata": {"namespace": "shop", "name": "nightly", "uid": uid(BACKUP)},
        "spec": {"id": "162e7a85", "date": at(0).to_string(), "paths": ["/data/data-1", "/data/logs"]},
    });
    merge(&mut snapshot, &changes);
    let found = Found { object: Some(snapshot), ..Found::default() };
    let of = |target: &Target| because(BackupKind::K8upSnapshot, namespace, target, &found);
    assert_eq!(of(&claim_target()).as_deref(), expected);
    assert!(of(&namespace_target()).is_some());
}

fn content(deletion: Reclaim, going: bool) -> Content {
    Content {
        name: "content-1".into(),
        uid: uid(0xc0).into(),
        handle: Some("csi.example.org/snap-1".into()),
        deletion,
        snapshot: Some(uid(BACKUP).into()),
        going,
    }
}

#[rstest]
#[case(json!({}), Some(content(Reclaim::Retain, false)), None)]
#[case(json!({}), Some(content(Reclaim::Delete, false)), Some("what is behind it, content-1, is not on Retain"))]
#[case(json!({}), Some(content(Reclaim::Retain, true)), Some("what is behind it, content-1, is being deleted"))]
#[case(json!({}), None, Some("nothing is behind it"))]
#[case(json!({"status": {"readyToUse": false}}), Some(content(Reclaim::Retain, false)), Some("it is not ready to use"))]
#[case(json!({"spec": {"source": {"persistentVolumeClaimName": "other"}}}), Some(content(Reclaim::Retain, false)), Some("it is not of the claim data-1"))]
#[case(json!({"status": {"creationTime": at(-2 * DAY).to_string()}}), Some(content(Reclaim::Retain, false)), Some("it was taken before what is to be deleted came into being"))]
fn a_volume_snapshot(#[case] changes: Value, #[case] content: Option<Content>, #[case] expected: Option<&str>) {
    let mut snapshot = json!({
        "metadata": {"namespace": "shop", "name": "nightly", "uid": uid(BACKUP)},
        "spec": {"source": {"persistentVolumeClaimName": "data-1"}},
        "status": {"readyToUse": true, "creationTime": at(0).to_string(), "boundVolumeSnapshotContentName": "content-1"},
    });
    merge(&mut snapshot, &changes);
    let found = Found { object: Some(snapshot), content, ..Found::default() };
    assert_eq!(because(BackupKind::VolumeSnapshot, "shop", &claim_target(), &found).as_deref(), expected);
    let of_namespace = because(BackupKind::VolumeSnapshot, "shop", &namespace_target(), &found);
    assert_eq!(of_namespace.as_deref(), Some("it goes with the namespace"));
}

/// A claim whose volume is going, asked for with a backup that is found so.
fn asked(object: Value) -> Scene {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    let backup = named_backup(BackupKind::VeleroBackup, "velero");
    scene.request = crate::support::backed(&scene.request, vec![backup.clone()], &named("alice"));
    scene.backups = vec![(backup, found(object))];
    scene.live = Inventory::of([(&claim(1), Some(&Volume { going: true, ..volume(1) }))]);
    scene.reconciled(TargetState::Live, 1);
    scene.approves(&named("bob"), 10);
    scene
}

#[test]
fn what_a_backup_has_needs_no_exception_and_the_backup_is_held() {
    let mut scene = asked(velero(&json!({})));
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(plan.status.phase, Some(Phase::Executable));
    assert!(plan.status.backups[0].counts);
    assert!(scene.confirmed(&named("eve"), 21).is_ok());
    let plan = scene.reconciled(TargetState::Gone, 30);
    let held = plan.retention.unwrap().keepers;
    assert_eq!(held.iter().map(|keeper| &*keeper.kind).collect::<Vec<_>>(), ["Backup"]);
}

#[test]
fn a_backup_that_does_not_count_is_said_and_changes_nothing() {
    let mut scene = asked(velero(&json!({"status": {"phase": "Failed"}})));
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(plan.status.backups[0].because.as_deref(), Some("it is Failed, not Completed"));
    assert_eq!(plan.status.phase, Some(Phase::Approved));
    assert_eq!(scene.confirmed(&named("eve"), 21).unwrap_err().code, Code::DataNotKept);
    assert_eq!(scene.reconciled(TargetState::Gone, 30).retention, None);
    // while nothing changes nothing is written
    let again = asked(velero(&json!({"status": {"expiration": at(29 * DAY).to_string()}})));
    assert_eq!(
        again.decided(TargetState::Live, 20).status.backups,
        again.decided(TargetState::Live, 25).status.backups
    );
}

#[test]
fn what_can_be_kept_is_kept_all_the_same_and_waited_for_by_nobody() {
    let mut scene = asked(velero(&json!({})));
    let perishable = Volume { reclaim: Reclaim::Delete, kept_claim: None, ..volume(1) };
    scene.live = Inventory::of([(&claim(1), Some(&perishable))]);
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!((plan.status.phase, plan.keep.len()), (Some(Phase::Executable), 1));
    assert!(scene.confirmed(&named("eve"), 21).is_ok(), "a volume that refuses");
    // the backup goes: so does what rested on it
    scene.backups[0].1 = Found::default();
    let plan = scene.reconciled(TargetState::Live, 30);
    assert_eq!(plan.status.phase, Some(Phase::Approved));
    assert_eq!(scene.confirmed(&named("eve"), 31).unwrap_err().code, Code::NotYetExecutable);
}
