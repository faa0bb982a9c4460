//! Snapshots of a namespace that is to go, where the snapshot API is installed, and where it is not.

use foureyes_core::api::Says;
use serde_json::json;

use super::*;

const CONTENT: &str = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents/content-1";
const SNAPSHOT: &str = "/apis/snapshot.storage.k8s.io/v1/namespaces/shop/volumesnapshots/daily";

/// The snapshot API comes, with a snapshot and what is behind it.
fn install(fake: &Fake) {
    let snapshot = json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
                          "metadata": {"namespace": "shop", "name": "daily", "uid": uid("daily")},
                          "status": {"boundVolumeSnapshotContentName": "content-1"}});
    fake.put(SNAPSHOT, snapshot);
    let spec = json!({"deletionPolicy": "Delete", "driver": "csi.example.org", "source": {"volumeHandle": "vol-1"},
                      "volumeSnapshotRef": {"namespace": "shop", "name": "daily", "uid": uid("daily")}});
    let content = json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
                         "metadata": {"name": "content-1", "uid": uid("content-1")}, "spec": spec,
                         "status": {"snapshotHandle": "snap-1"}});
    fake.put(CONTENT, content);
}

/// alice asks for the deletion of the namespace, in the request `one`.
fn alice_asks_for_the_namespace(fake: &Fake) {
    let target = json!({"apiVersion": "v1", "kind": "Namespace", "name": "shop", "uid": uid("shop")});
    let spec = serde_json::from_value(json!({"target": target, "reason": "r"})).unwrap();
    let request = fake.stamp().requested(DeletionRequest::new("one", spec), "alice");
    fake.put(&format!("{REQUESTS}/one"), serde_json::to_value(request).unwrap());
}

#[tokio::test]
async fn what_is_installed_later_is_noticed_and_kept_and_held() {
    let fake = cluster();
    let context = process(&fake);
    context.uses().born(uid("shop").into());
    alice_asks_for_the_namespace(&fake);
    reconcile(&context).await.unwrap();
    assert_eq!(phase_of(&fake, "/status/inventory/summary"), "1 claim, 1 volume");
    install(&fake);
    reconcile(&context).await.unwrap();
    assert_eq!(phase_of(&fake, "/status/inventory/summary"), "1 claim, 1 volume, 1 snapshot, 1 snapshot content");

    says(&fake, "bob", Says::Approve);
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executable");
    assert_eq!(text(&fake.get(CONTENT).unwrap(), "/spec/deletionPolicy"), "Retain");
    let protections = fake.get(&format!("{REQUESTS}/one")).unwrap()["status"]["protections"].clone();
    assert_eq!(protections.as_array().unwrap().len(), 2, "{protections}");

    for gone in [SNAPSHOT, CLAIM, "/api/v1/namespaces/shop"] {
        fake.state().objects.remove(gone);
    }
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executed");
    let held = fake.get(&format!("{RETENTIONS}/one")).unwrap()["spec"]["keepers"].clone();
    let kinds: Vec<&str> = held.as_array().unwrap().iter().filter_map(|keeper| keeper["kind"].as_str()).collect();
    assert_eq!(kinds, ["PersistentVolume", "VolumeSnapshotContent"]);
    assert_eq!(held[1]["handle"], "csi.example.org/snap-1");
}

#[tokio::test]
async fn a_content_that_refuses_is_told_about_and_what_was_changed_is_put_back() {
    let fake = cluster();
    let context = process(&fake);
    context.uses().born(uid("shop").into());
    install(&fake);
    alice_asks_for_the_namespace(&fake);
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    fake.state().faults.push((Method::PATCH, "volumesnapshotcontents", super::fake::Fault::Refuse(403)));
    assert!(reconcile(&context).await.is_err());
    assert!(fake.state().objects.values().any(|object| object["reason"] == "SnapshotNotKept"));
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executable");

    says(&fake, "alice", Says::Cancel);
    settle(&context).await;
    assert_eq!(text(&fake.get(CONTENT).unwrap(), "/spec/deletionPolicy"), "Retain");
    context.clock.set("2026-11-23T10:03:00Z".parse().unwrap());
    assert_eq!(settle(&context).await, Next::Wait);
    assert_eq!(text(&fake.get(CONTENT).unwrap(), "/spec/deletionPolicy"), "Delete");
    assert_eq!(text(&fake.get(VOLUME).unwrap(), "/spec/persistentVolumeReclaimPolicy"), "Delete");
}

/// Whether it is installed is not known while the API server refuses or hangs.
#[tokio::test]
async fn what_can_not_be_read_is_not_taken_for_missing() {
    let fake = cluster();
    let context = process(&fake);
    install(&fake);
    alice_asks_for_the_namespace(&fake);
    reconcile(&context).await.unwrap();
    for part in ["volumesnapshots", "volumesnapshotcontents"] {
        for code in [403, 500] {
            fake.state().faults.push((Method::GET, part, super::fake::Fault::Refuse(code)));
            assert!(reconcile(&context).await.is_err(), "{part} {code}");
        }
    }
    assert_eq!(phase_of(&fake, "/status/inventory/summary"), "1 claim, 1 volume, 1 snapshot, 1 snapshot content");
}
