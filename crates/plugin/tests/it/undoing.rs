//! Bringing back what was deleted.

use foureyes_core::domain::inventory::{Claim, DataItem, Inventory, Volume};
use serde_json::{Value, json};

use crate::server::{Ended, Server};

const VOLUMES: &str = "GET /api/v1/persistentvolumes";
const VOLUME: &str = "/api/v1/persistentvolumes/pvc-1";
const CLAIMS: &str = "/api/v1/namespaces/shop/persistentvolumeclaims";
const CLAIM: &str = "/api/v1/namespaces/shop/persistentvolumeclaims/reports";
const REQUESTS: &str = "GET /apis/foureyes.dev/v1alpha1/deletionrequests";
const UNDO: [&str; 2] = ["undo", "pvc/reports"];
const UID: &str = "00000000-0000-4000-8000-00000000000a";

/// The volume that was kept of shop/reports.
fn volume(extra: &Value) -> Value {
    let note = json!({"metadata": {"namespace": "shop", "name": "reports", "uid": "c-1", "labels": {"app": "reports"},
            "annotations": {"team": "warehouse", "pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}},
            "storageClassName": "fast", "volumeMode": "Filesystem", "volumeName": "pvc-1"}});
    let mut volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": "pvc-1", "uid": UID, "resourceVersion": "41",
            "annotations": {"foureyes.dev/kept-claim": note.to_string()}},
        "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": "csi.example.org", "volumeHandle": "vol-1"},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "reports",
                "uid": "c-1"}},
        "status": {"phase": "Released", "lastPhaseTransitionTime": "2026-11-20T10:00:00Z"},
    });
    json_patch::merge(&mut volume, extra);
    volume
}

fn claim(phase: &str, volume: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "reports", "namespace": "shop", "uid": "c-2"},
        "spec": {"volumeName": volume}, "status": {"phase": phase}})
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": "n-1"}})
}

fn list(kind: &str, items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {}, "items": items})
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": message})
}

fn forbidden(verb: &str, resource: &str) -> Value {
    let message = format!("{resource} is forbidden: User \"carol\" cannot {verb} resource \"{resource}\"");
    status(403, "Forbidden", &message)
}

/// A cluster with these volumes.
fn kept(volumes: &[Value]) -> Server {
    let server = Server::start("carol");
    server.on(VOLUMES, 200, list("PersistentVolumeList", volumes));
    server.on("GET /api/v1/namespaces/shop", 200, namespace("shop"));
    server.on(REQUESTS, 200, list("DeletionRequestList", &[]));
    server.on(&format!("PATCH {VOLUME}"), 200, volume(&json!({})));
    server
}

/// The claim is not there, and bound after it was created.
fn comes_back(server: &Server) {
    server.on(&format!("GET {CLAIM}"), 404, status(404, "NotFound", "not found"));
    server.on(&format!("GET {CLAIM}"), 200, claim("Pending", "pvc-1"));
    server.on(&format!("GET {CLAIM}"), 200, claim("Bound", "pvc-1"));
}

/// It deletes nothing, and changes nothing but that.
#[track_caller]
fn wrote(server: &Server) -> Vec<(String, Value)> {
    assert!(server.seen("DELETE").is_empty() && server.seen("PUT").is_empty());
    let created = server.seen("POST").into_iter().filter(|(question, _)| !question.contains(".k8s.io/"));
    server.seen("PATCH").into_iter().chain(created).collect()
}

#[track_caller]
fn wrote_nothing(server: &Server, ended: &Ended) {
    let written = wrote(server);
    assert!(written.iter().all(|(question, _)| question.contains("dryRun=All")), "{written:?} {ended:?}");
}

#[test]
fn a_claim_comes_back_with_all_that_it_was() {
    let server = kept(&[volume(&json!({}))]);
    comes_back(&server);
    let ended = server.run(&UNDO);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.out, "pvc/shop/reports is back, bound to pvc-1\n");
    assert!(ended.err.contains("stay on Retain"), "{}", ended.err);
    let reservation = json!([
        {"op": "test", "path": "/metadata/uid", "value": UID},
        {"op": "test", "path": "/metadata/resourceVersion", "value": "41"},
        {"op": "test", "path": "/spec/persistentVolumeReclaimPolicy", "value": "Retain"},
        {"op": "test", "path": "/spec/claimRef/uid", "value": "c-1"},
        {"op": "replace", "path": "/spec/claimRef", "value": {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "namespace": "shop", "name": "reports"}},
    ]);
    let created = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": "shop", "name": "reports", "labels": {"app": "reports"},
            "annotations": {"team": "warehouse"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}},
            "storageClassName": "fast", "volumeMode": "Filesystem", "volumeName": "pvc-1"},
    });
    let written: Vec<Value> = wrote(&server).into_iter().map(|(_, body)| body).collect();
    assert_eq!(written, [reservation, created], "first the volume, then the claim");
}

#[test]
fn data_and_names_are_for_pipes() {
    let server = kept(&[volume(&json!({}))]);
    comes_back(&server);
    let ended = server.run(&[&UNDO[..], &["-o", "name"]].concat());
    assert_eq!(ended.out, "persistentvolumeclaim/reports\n", "{ended:?}");
    let ended = server.run(&[&UNDO[..], &["-o", "json"]].concat());
    let rows: Value = serde_json::from_str(&ended.out).unwrap();
    let row = json!({"namespace": "shop", "name": "reports", "volume": "pvc-1", "outcome": "Back"});
    assert_eq!(rows, json!({"items": [row]}));
}

#[test]
fn a_dry_run_writes_nothing_and_lets_the_server_try() {
    let server = kept(&[volume(&json!({}))]);
    let ended = server.run(&[&UNDO[..], &["--dry-run"]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("would come back, bound to pvc-1"), "{}", ended.out);
    wrote_nothing(&server, &ended);
    assert_eq!(wrote(&server).len(), 2);
}

#[test]
fn whoever_has_no_right_is_told_which_role_has_it() {
    let server = Server::start("carol");
    server.on(VOLUMES, 403, forbidden("list", "persistentvolumes"));
    let ended = server.run(&UNDO);
    assert_eq!(ended.code, 2, "{ended:?}");
    let line =
        "\n  kubectl create clusterrolebinding foureyes-restorer-carol --clusterrole=foureyes-restorer --user=carol";
    assert!(ended.err.contains("cannot list") && ended.err.contains(line), "{}", ended.err);
    // … and nothing is created for a volume that could not be reserved.
    let server = Server::start("carol");
    server.on(VOLUMES, 200, list("PersistentVolumeList", &[volume(&json!({}))]));
    server.on("GET /api/v1/namespaces/shop", 200, namespace("shop"));
    server.on(&format!("PATCH {VOLUME}"), 403, forbidden("patch", "persistentvolumes"));
    let ended = server.run(&UNDO);
    assert!(ended.code == 2 && ended.err.contains("cannot patch") && ended.err.contains(line), "{ended:?}");
    assert_eq!(wrote(&server).len(), 1);
}

#[test]
fn a_claim_that_is_there_is_never_taken_over() {
    for other in [claim("Bound", "pvc-9"), claim("Pending", "")] {
        let server = kept(&[volume(&json!({}))]);
        server.on(&format!("GET {CLAIM}"), 200, other);
        let ended = server.run(&UNDO);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.err.contains("is there already") && ended.err.contains("nothing was changed"), "{}", ended.err);
        assert!(ended.err.contains("\n  kubectl foureyes delete pvc/reports -n shop --reason"), "{}", ended.err);
        assert!(wrote(&server).is_empty());
    }
}

#[test]
fn what_was_begun_is_finished() {
    // It ended between the two writes: the volume is reserved, the claim is not there.
    let reserved = volume(&json!({"spec": {"claimRef": {"uid": null}}, "status": {"phase": "Available"}}));
    let server = kept(std::slice::from_ref(&reserved));
    comes_back(&server);
    let ended = server.run(&UNDO);
    assert_eq!((ended.code, server.seen("PATCH").len()), (0, 0), "{ended:?}");
    assert_eq!(wrote(&server).len(), 1);
    // It ended before the two were bound.
    let server = kept(&[reserved]);
    server.on(&format!("GET {CLAIM}"), 200, claim("Pending", "pvc-1"));
    server.on(&format!("GET {CLAIM}"), 200, claim("Bound", "pvc-1"));
    let ended = server.run(&UNDO);
    assert_eq!((ended.code, wrote(&server).len()), (0, 0), "{ended:?}");
    // It was done.
    let server = kept(&[volume(&json!({"spec": {"claimRef": {"uid": "c-2"}}, "status": {"phase": "Bound"}}))]);
    server.on(&format!("GET {CLAIM}"), 200, claim("Bound", "pvc-1"));
    let ended = server.run(&UNDO);
    assert_eq!((ended.code, wrote(&server).len()), (0, 0), "{ended:?}");
    assert_eq!(ended.out, "pvc/shop/reports is there already, bound to pvc-1\n");
}

#[test]
fn a_volume_that_was_written_to_meanwhile_is_read_again() {
    let server = Server::start("carol");
    server.on(VOLUMES, 200, list("PersistentVolumeList", &[volume(&json!({}))]));
    server.on("GET /api/v1/namespaces/shop", 200, namespace("shop"));
    let failed = "the server rejected our request due to an error in our request";
    server.on(&format!("PATCH {VOLUME}"), 422, status(422, "Invalid", failed));
    server.on(&format!("PATCH {VOLUME}"), 200, volume(&json!({})));
    server.on(&format!("GET {VOLUME}"), 200, volume(&json!({"metadata": {"resourceVersion": "42"}})));
    comes_back(&server);
    let ended = server.run(&UNDO);
    assert_eq!(ended.code, 0, "{ended:?}");
    let versions: Vec<Value> = server.seen("PATCH").into_iter().map(|(_, body)| body[1]["value"].clone()).collect();
    assert_eq!(versions, ["41", "42"]);
    // Not if it is somebody else's now.
    let server = Server::start("carol");
    server.on(VOLUMES, 200, list("PersistentVolumeList", &[volume(&json!({}))]));
    server.on("GET /api/v1/namespaces/shop", 200, namespace("shop"));
    server.on(&format!("PATCH {VOLUME}"), 422, status(422, "Invalid", failed));
    server.on(&format!("GET {VOLUME}"), 200, volume(&json!({"spec": {"claimRef": {"name": "ledger"}}})));
    let ended = server.run(&UNDO);
    assert!(ended.code == 1 && ended.err.contains("is not kept for pvc/shop/reports any more"), "{ended:?}");
    assert!(server.seen(&format!("POST {CLAIMS}")).is_empty());
}

#[test]
fn a_volume_whose_storage_another_claim_uses_stays_away() {
    let twin =
        volume(&json!({"metadata": {"name": "pvc-2", "uid": "v-2", "annotations": null}, "status": {"phase": "Bound"},
        "spec": {"claimRef": {"namespace": "bank", "name": "ledger", "uid": "c-9"}}}));
    let server = kept(&[volume(&json!({})), twin]);
    let ended = server.run(&UNDO);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("volume pvc-2 has the same storage, and pvc/bank/ledger may be"), "{}", ended.err);
    assert!(wrote(&server).is_empty());
}

#[test]
fn whoever_waits_in_vain_is_told_where_it_stands() {
    let server = kept(&[volume(&json!({}))]);
    server.on(&format!("GET {CLAIM}"), 404, status(404, "NotFound", "not found"));
    server.on(&format!("GET {CLAIM}"), 200, claim("Pending", "pvc-1"));
    let ended = server.run(&[&UNDO[..], &["--timeout", "1s"]].concat());
    assert_eq!(ended.code, 2, "{ended:?}");
    for said in ["volume pvc-1 is reserved for it", "describe pvc reports", "run this again"] {
        assert!(ended.err.contains(said), "{said:?} in {}", ended.err);
    }
}

/// The request by which the namespace went.
fn request() -> Value {
    let claim = Claim {
        namespace: "shop".into(),
        name: "reports".into(),
        uid: UID.replace('a', "c").into(),
        ..Claim::default()
    };
    let volume = Volume { name: "pvc-1".into(), uid: UID.into(), ..Volume::default() };
    let inventory = Inventory::of([(&claim, Some(&volume))]);
    let items: Vec<_> = inventory.items().iter().map(DataItem::listed).collect();
    json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest", "metadata": {"name": "ns-shop-1", "uid": "r-1"},
        "spec": {"reason": "moved", "target": {"apiVersion": "v1", "kind": "Namespace", "name": "shop",
            "uid": "00000000-0000-4000-8000-000000000001"}},
        "status": {"phase": "Executed", "executingSince": "2026-11-20T09:59:00Z", "endedAt": "2026-11-20T10:01:00Z",
            "namespaceLabels": {"team": "web"},
            "inventory": {"digest": inventory.digest().unwrap(), "itemsDigest": inventory.items_digest().unwrap(),
                "packedUIDs": inventory.packed().unwrap(), "total": 2, "summary": "", "items": items}},
    })
}

#[test]
fn a_namespace_comes_back_first_with_its_labels() {
    let old = volume(&json!({"metadata": {"name": "pvc-0", "uid": "v-0", "annotations": null},
        "spec": {"claimRef": {"name": "outdated"}, "csi": {"volumeHandle": "vol-0"}},
        "status": {"lastPhaseTransitionTime": "2026-10-01T10:00:00Z"}}));
    for object in ["ns/shop", "del/ns-shop-1"] {
        let server = Server::start("carol");
        server.on(VOLUMES, 200, list("PersistentVolumeList", &[volume(&json!({})), old.clone()]));
        server.on(REQUESTS, 200, list("DeletionRequestList", &[request()]));
        server.on(&format!("{REQUESTS}/ns-shop-1"), 200, request());
        server.on(&format!("PATCH {VOLUME}"), 200, volume(&json!({})));
        comes_back(&server);
        let ended = server.run(&["undo", object]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(ended.out, "pvc/shop/reports is back, bound to pvc-1\n");
        let created: Vec<Value> = server.seen("POST /api/v1/namespaces").into_iter().map(|(_, body)| body).collect();
        assert_eq!(created[0]["metadata"], json!({"name": "shop", "labels": {"team": "web"}}));
        assert_eq!(created.len(), 2, "what went at another time stays away: {created:?}");
        let told = ended.err.contains("kubectl foureyes undo pvc/outdated -n shop");
        assert_eq!(told, object == "ns/shop", "{}", ended.err);
    }
}

#[test]
fn without_its_namespace_a_claim_is_not_brought_back() {
    let server = Server::start("carol");
    server.on(VOLUMES, 200, list("PersistentVolumeList", &[volume(&json!({}))]));
    let ended = server.run(&UNDO);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("\n  kubectl foureyes undo ns/shop"), "{}", ended.err);
    assert!(wrote(&server).is_empty());
    // Whoever may not create it is told who may.
    server.on(REQUESTS, 200, list("DeletionRequestList", &[request()]));
    server.on("POST /api/v1/namespaces", 403, forbidden("create", "namespaces"));
    let ended = server.run(&["undo", "ns/shop"]);
    assert!(
        ended.code == 2 && ended.err.contains("cannot create") && ended.err.contains("foureyes-restorer"),
        "{ended:?}"
    );
    assert!(server.seen("PATCH").is_empty());
}
