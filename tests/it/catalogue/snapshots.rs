//! The snapshot API: snapshots, their contents, and the classes that say what becomes of them.

use serde_json::{Value, json};

use super::{Of, admin, machine};
use crate::support::kinds::with_snapshots;
use crate::support::objects::{eventually, production_with};
use crate::support::spelling::{self, Spelling};
use crate::support::{denied, denied_in_words, me, non_production, went};

const SNAPSHOT: Of = Of {
    api_version: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshot",
    word: "volumesnapshots.snapshot.storage.k8s.io",
};
const CONTENT: Of = Of {
    api_version: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshotContent",
    word: "volumesnapshotcontents.snapshot.storage.k8s.io",
};
const CLASS: Of = Of {
    api_version: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshotClass",
    word: "volumesnapshotclasses.snapshot.storage.k8s.io",
};

fn snapshot(namespace: &str, name: &str) {
    let spec = json!({"source": {"persistentVolumeClaimName": "data"}});
    me("eve").creates(&SNAPSHOT.object(namespace, name, &spec));
}

fn content(namespace: &str, name: &str, policy: &str) -> Value {
    CONTENT.object(
        "",
        name,
        &json!({
            "deletionPolicy": policy, "driver": "csi.example.org", "source": {"snapshotHandle": format!("snap-{name}")},
            "volumeSnapshotRef": {"namespace": namespace, "name": name},
        }),
    )
}

#[test]
fn people_delete_a_snapshot_only_once_two_others_have_signed_it_off() {
    with_snapshots();
    let namespace = production_with("snapshots", &["data"]);
    snapshot(&namespace, "daily");
    snapshot(&namespace, "weekly");
    for flags in [&[][..], &["--dry-run=server"]] {
        for who in [me("eve"), admin()] {
            let refusal = denied("DeletionNotRequested", &SNAPSHOT.delete(&who, &namespace, "daily", flags));
            assert!(refusal.contains(&format!("VolumeSnapshot {namespace}/daily")), "{refusal}");
            assert!(refusal.contains("two other people") && refusal.contains("kubectl create -f -"), "{refusal}");
            denied("DeletionNotRequested", &SNAPSHOT.delete(&who, &namespace, "--all", flags));
        }
    }
    // nor with an owner that is nobody, with which the collector would take it
    let nobody = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "00000000-0000-4000-8000-000000000000"}]}});
    let daily = spelling::custom("snapshot.storage.k8s.io", "VolumeSnapshot", "volumesnapshots", &namespace, "daily");
    for spelling in spelling::OF_RECORDS {
        denied("OwnerAdded", &daily.change(&me("eve"), *spelling, &nobody, &[]));
    }
    went(&daily.change(&me("eve"), Spelling::Merge, &json!({"metadata": {"labels": {"team": "a"}}}), &[]));

    let asked = SNAPSHOT.approved(&namespace, "daily");
    assert_eq!(asked.field("{.status.inventory.summary}"), "1 VolumeSnapshot, which nothing can keep");
    assert_eq!(asked.field("{.status.conditions[?(@.type=='DataKept')].status}"), "False");
    denied("DeletionNotRequested", &SNAPSHOT.delete(&me("eve"), &namespace, "weekly", &[]));
    eventually("the deletion to be allowed", || SNAPSHOT.delete(&me("eve"), &namespace, "daily", &[]).ok());
    asked.wait_phase("Executed");
    assert!(!SNAPSHOT.exists(&namespace, "daily") && SNAPSHOT.exists(&namespace, "weekly"));
}

#[test]
fn what_makes_snapshots_rotates_them_and_outside_production_everybody_does() {
    with_snapshots();
    let namespace = production_with("rotated", &["data"]);
    snapshot(&namespace, "hourly");
    let tool = machine(&namespace, "snapscheduler");
    went(&SNAPSHOT.delete(&tool, &namespace, "hourly", &[]));
    let playground = non_production("snapshots");
    snapshot(&playground, "try");
    went(&SNAPSHOT.delete(&me("eve"), &playground, "try", &[]));
    // a namespace without claims takes its snapshots along
    let namespace = production_with("snapshots-gone", &[]);
    snapshot(&namespace, "last");
    went(&me("eve").kubectl(&["delete", "namespace", &namespace, "--wait=false"]));
    eventually("the snapshot to go with its namespace", || !SNAPSHOT.exists(&namespace, "last"));
}

#[test]
fn the_content_of_a_snapshot_stays_and_so_does_its_policy() {
    with_snapshots();
    let namespace = production_with("contents", &[]);
    let name = format!("kept-{namespace}");
    admin().creates(&content(&namespace, &name, "Retain"));
    denied("DeletionNotRequested", &CONTENT.delete(&admin(), "default", &name, &[]));
    let one = format!("--field-selector=metadata.name={name}");
    denied("DeletionNotRequested", &admin().kubectl(&["delete", CONTENT.word, &one, "--wait=false"]));
    let flip = json!({"spec": {"deletionPolicy": "Delete"}});
    let object =
        spelling::custom("snapshot.storage.k8s.io", "VolumeSnapshotContent", "volumesnapshotcontents", "", &name);
    for spelling in spelling::OF_RECORDS {
        let refusal = denied("KeptForLess", &object.change(&admin(), *spelling, &flip, &[]));
        assert!(refusal.contains("spec.deletionPolicy"), "{refusal}");
    }
    // the snapshot-controller does so as part of its work
    let tool = machine("kube-system", "snapshot-controller");
    went(&CONTENT.patch(&tool, "default", &name, &flip, &[]));
    went(&CONTENT.patch(&admin(), "default", &name, &json!({"spec": {"deletionPolicy": "Retain"}}), &[]));

    // a request names it without a namespace, and with none of another kind
    let mut wrong = CONTENT.target("", &name);
    wrong["namespace"] = json!(namespace);
    let request = crate::support::requests::request("wrong", &wrong);
    denied_in_words("have none", &me("alice").create(&request, &[]));
    let asked = CONTENT.approved("", &name);
    assert!(asked.field("{.status.inventory.items[0].handle}").ends_with(&format!("snap-{name}")));
    eventually("the deletion to be allowed", || CONTENT.delete(&admin(), "default", &name, &[]).ok());
    asked.wait_phase("Executed");
}

#[test]
fn a_class_goes_on_keeping_what_it_makes_unless_a_change_says_otherwise() {
    with_snapshots();
    let class = json!({"apiVersion": CLASS.api_version, "kind": CLASS.kind, "metadata": {"name": "keeps"},
                       "driver": "csi.example.org", "deletionPolicy": "Retain"});
    admin().creates(&class);
    let flip = json!({"deletionPolicy": "Delete"});
    let change =
        crate::support::changes::opened("KeptForLess", || CLASS.patch(&admin(), "default", "keeps", &flip, &[]));
    assert_eq!(CLASS.field("", "keeps", "{.deletionPolicy}"), "Delete");
    drop(change);
    went(&CLASS.patch(&admin(), "default", "keeps", &json!({"deletionPolicy": "Retain"}), &[]));
    // with a class no data goes
    went(&CLASS.delete(&admin(), "default", "keeps", &[]));
}
