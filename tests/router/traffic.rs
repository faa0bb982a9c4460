//! What backup tools do by themselves, in the shape in which they do it: all of it goes on, and people are told otherwise.

use foureyes_core::index::{Change, NamespaceEntry, Snapshot, policy_entry};
use rstest::rstest;
use serde_json::{Value, json};

use super::support::{Api, allowed, build, judge, refused, request, synced};

const VELERO: &str = "system:serviceaccount:velero:velero";
const VOLSYNC: &str = "system:serviceaccount:volsync-system:volsync";
const K8UP: &str = "system:serviceaccount:k8up-operator:k8up";
const SNAPSHOT_CONTROLLER: &str = "system:serviceaccount:kube-system:snapshot-controller";

/// With the delegations that `config/samples` has for these tools.
fn index() -> Snapshot {
    let mut index = synced();
    for name in ["velero", "volsync-system"] {
        index.apply(Change::Namespace(NamespaceEntry {
            name: name.into(),
            uid: name.into(),
            ..NamespaceEntry::default()
        }));
    }
    let sample = include_str!("../../config/samples/delegations.yaml");
    let policy: Value = serde_yaml_ng::from_str(sample).unwrap();
    index.apply(Change::Policy(Box::new(policy_entry(&policy))));
    index
}

/// A review by somebody, of an object as it was and as it would be.
fn by(who: &str, operation: &str, (group, resource, kind): (&str, &str, &str), was: &Value, is: &Value) -> Value {
    let object = if is.is_null() { was } else { is };
    let mut review = request(operation, group, resource, object["metadata"]["namespace"].as_str());
    review["request"]["kind"]["kind"] = kind.into();
    review["request"]["userInfo"] =
        json!({"username": who, "groups": ["system:serviceaccounts", "system:authenticated"]});
    review["request"]["oldObject"] = was.clone();
    review["request"]["object"] = is.clone();
    review
}

const SNAPSHOTS: &str = "snapshot.storage.k8s.io";
const SNAPSHOT: (&str, &str, &str) = (SNAPSHOTS, "volumesnapshots", "VolumeSnapshot");
const CONTENT: (&str, &str, &str) = (SNAPSHOTS, "volumesnapshotcontents", "VolumeSnapshotContent");
const CLAIM: (&str, &str, &str) = ("", "persistentvolumeclaims", "PersistentVolumeClaim");
const BACKUP: (&str, &str, &str) = ("velero.io", "backups", "Backup");
const DELETION: (&str, &str, &str) = ("velero.io", "deletebackuprequests", "DeleteBackupRequest");
const RESTORE: (&str, &str, &str) = ("velero.io", "restores", "Restore");
const K8UP_SNAPSHOT: (&str, &str, &str) = ("k8up.io", "snapshots", "Snapshot");
const PRUNE: (&str, &str, &str) = ("k8up.io", "prunes", "Prune");

const UID: &str = "11111111-2222-4333-8444-555555555555";

fn snapshot(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": {"namespace": namespace, "name": name, "uid": UID, "labels": {"velero.io/backup-name": "nightly"},
                     "finalizers": ["snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"]},
        "spec": {"source": {"persistentVolumeClaimName": "reports"}, "volumeSnapshotClassName": "csi"},
        "status": {"boundVolumeSnapshotContentName": "snapcontent-1", "readyToUse": true},
    })
}

fn content(policy: &str) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
        "metadata": {"name": "snapcontent-1", "uid": UID,
                     "finalizers": ["snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"]},
        "spec": {"deletionPolicy": policy, "driver": "csi.example.org", "source": {"volumeHandle": "vol-1"},
                 "volumeSnapshotRef": {"namespace": "shop", "name": "velero-reports-x7k2p"}},
        "status": {"snapshotHandle": "snap-1", "readyToUse": true},
    })
}

/// A claim that a tool made for its own work, controlled by its own object.
fn working_copy(namespace: &str, (api_version, kind): (&str, &str)) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": namespace, "name": "nightly-x7k2p", "uid": UID, "ownerReferences": [
            {"apiVersion": api_version, "kind": kind, "name": "nightly-x7k2p", "uid": UID, "controller": true}]},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "dataSource": {"kind": "VolumeSnapshot",
                 "apiGroup": "snapshot.storage.k8s.io", "name": "nightly-x7k2p"}},
    })
}

fn backup(expiration: Option<&str>) -> Value {
    json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {"namespace": "velero", "name": "nightly", "uid": UID},
        "spec": {"includedNamespaces": ["shop"], "ttl": "720h0m0s", "storageLocation": "default"},
        "status": {"phase": "Completed", "expiration": expiration},
    })
}

/// `pkg/backup.NewDeleteBackupRequest`, as Velero's garbage collection makes one for each backup that has expired.
fn deletion() -> Value {
    json!({
        "apiVersion": "velero.io/v1", "kind": "DeleteBackupRequest",
        "metadata": {"namespace": "velero", "generateName": "nightly-",
                     "labels": {"velero.io/backup-name": "nightly", "velero.io/backup-uid": UID}},
        "spec": {"backupName": "nightly"}, "status": {},
    })
}

fn traffic() -> Vec<(&'static str, Value, &'static str)> {
    let none = Value::Null;
    let update = |who, kind, was: &Value, is: &Value| by(who, "UPDATE", kind, was, is);
    let delete = |who, kind, was: &Value| by(who, "DELETE", kind, was, &Value::Null);
    let create = |who, kind, is: &Value| by(who, "CREATE", kind, &Value::Null, is);
    let upload = working_copy("velero", ("velero.io/v2alpha1", "DataUpload"));
    let clone = working_copy("volsync-system", ("volsync.backube/v1alpha1", "ReplicationSource"));
    let restore = json!({"metadata": {"namespace": "velero", "name": "r"},
                         "spec": {"backupName": "nightly", "existingResourcePolicy": "update"}});
    let k8up_snapshot = json!({"metadata": {"namespace": "shop", "name": "4bfe", "uid": UID}, "spec": {"id": "4bfe"}});
    let prune = json!({"metadata": {"namespace": "shop", "name": "prune-1"}, "spec": {"retention": {"keepLast": 5}}});
    vec![
        (
            "Velero retains the content that its data mover reads",
            update(VELERO, CONTENT, &content("Delete"), &content("Retain")),
            "ByMachine",
        ),
        (
            "then it deletes the snapshot",
            delete(VELERO, SNAPSHOT, &snapshot("shop", "velero-reports-x7k2p")),
            "ByMachine",
        ),
        ("and its content", delete(VELERO, CONTENT, &content("Retain")), "ByMachine"),
        (
            "the copies in its own namespace go when the upload is done",
            delete(VELERO, SNAPSHOT, &snapshot("velero", "nightly-x7k2p")),
            "ByMachine",
        ),
        ("with the claim that the data mover mounted", delete(VELERO, CLAIM, &upload), "Delegated"),
        (
            "and what it kept goes for good",
            update(VELERO, CONTENT, &content("Retain"), &content("Delete")),
            "ByMachine",
        ),
        (
            "Velero says when a backup expires",
            update(VELERO, BACKUP, &backup(None), &backup(Some("2026-02-01T00:00:00Z"))),
            "ByMachine",
        ),
        ("when it has, it asks for its deletion", create(VELERO, DELETION, &deletion()), "ByMachine"),
        ("and deletes it", delete(VELERO, BACKUP, &backup(Some("2025-12-01T00:00:00Z"))), "ByMachine"),
        ("a scheduled restore writes over a copy", create(VELERO, RESTORE, &restore), "ByMachine"),
        (
            "VolSync deletes the snapshot that it copied from",
            delete(VOLSYNC, SNAPSHOT, &snapshot("volsync-system", "volsync-src")),
            "ByMachine",
        ),
        ("and its clone", delete(VOLSYNC, CLAIM, &clone), "Delegated"),
        ("k8up removes what it has pruned", delete(K8UP, K8UP_SNAPSHOT, &k8up_snapshot), "ByMachine"),
        ("and prunes on schedule", create(K8UP, PRUNE, &prune), "ByMachine"),
        (
            "the snapshot-controller ends what was deleted",
            delete(SNAPSHOT_CONTROLLER, CONTENT, &content("Delete")),
            "ByMachine",
        ),
        (
            "nothing is said to its finalizers",
            update(SNAPSHOT_CONTROLLER, SNAPSHOT, &snapshot("shop", "a"), &{
                let mut is = snapshot("shop", "a");
                is["metadata"]["finalizers"] = none;
                is
            }),
            "ByMachine",
        ),
    ]
}

#[tokio::test]
async fn what_backup_tools_do_by_themselves_goes_on() {
    let router = build(index(), &Api::default());
    for (what, review, proof) in traffic() {
        assert_eq!(judge(&router, &review).await, allowed(proof), "{what}");
    }
}

/// None of it is so because of what is done; it is so because of who does it.
#[tokio::test]
async fn people_are_refused_what_tools_do() {
    let existing = Api::default().behind(Api::default());
    let router = build(index(), &existing);
    let mut refusals = 0;
    for (what, mut review, _) in traffic() {
        review["request"]["userInfo"] = json!({"username": "eve", "groups": ["dev", "system:authenticated"]});
        match judge(&router, &review).await {
            Ok(proof) => assert_eq!(proof, "Harmless", "{what}"),
            Err(_) => refusals += 1,
        }
    }
    // one keeps more, and one takes off finalizers of what stays
    assert_eq!(refusals, traffic().len() - 2);
}

#[rstest]
#[case(VELERO, "ClaimsCollected")]
#[case("eve", "ClaimsCollected")]
#[tokio::test]
async fn owners_of_claims_are_kept_from_machines_too(#[case] who: &str, #[case] code: &str) {
    let mut index = index();
    let claim = foureyes_core::domain::inventory::Claim {
        namespace: "shop".into(),
        name: "shop-1".into(),
        uid: UID.into(),
        owners: [UID.into()].into(),
        ..foureyes_core::domain::inventory::Claim::default()
    };
    index.apply(Change::Claim(Box::new(claim)));
    let api = Api::default().answers(
        "persistentvolumeclaims/shop-1",
        super::support::Answer::Json(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"namespace": "shop", "name": "shop-1", "uid": UID}, "spec": {}})),
    );
    let router = build(index, &api);
    let cluster = json!({"metadata": {"namespace": "shop", "name": "shop", "uid": UID}, "spec": {"instances": 1}});
    let kind = ("postgresql.cnpg.io", "clusters", "Cluster");
    assert_eq!(judge(&router, &by(who, "DELETE", kind, &cluster, &Value::Null)).await, refused(code));
}
