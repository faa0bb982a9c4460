//! Looking before asking: `inventory`.

use foureyes_core::domain::inventory::{Claim, Inventory, Volume};
use serde_json::{Value, json};

use crate::server::Server;

const CLAIM: &str = "/api/v1/namespaces/shop/persistentvolumeclaims/reports";
const LOOK: [&str; 2] = ["inventory", "pvc/reports"];
const UID: &str = "00000000-0000-4000-8000-00000000000c";
const VOLUME_UID: &str = "00000000-0000-4000-8000-00000000000a";

fn claim() -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "reports", "namespace": "shop", "uid": UID, "creationTimestamp": "2026-11-01T10:00:00Z"},
        "spec": {"volumeName": "pvc-1", "storageClassName": "fast"},
        "status": {"phase": "Bound", "capacity": {"storage": "5Gi"}}})
}

fn volume(name: &str, uid: &str, namespace: &str, claim: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name, "uid": uid},
        "spec": {"accessModes": ["ReadWriteMany"], "persistentVolumeReclaimPolicy": "Delete",
            "csi": {"driver": "csi.example.org", "volumeHandle": "vol-1"},
            "claimRef": {"namespace": namespace, "name": claim, "uid": "c"}},
        "status": {"phase": "Bound"}})
}

fn pod(namespace: &str, name: &str, claim: &str, phase: &str, owner: &str) -> Value {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "o", "controller": true}]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "ownerReferences": owner},
        "spec": {"containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]},
        "status": {"phase": phase}})
}

fn list(server: &Server, path: &str, items: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items});
    server.on(&format!("GET {path}"), 200, list);
}

/// What the API server serves of a group.
fn serve(server: &Server, group: &str, plurals: &[&str]) {
    let resources: Vec<Value> = plurals
        .iter()
        .map(
            |plural| json!({"name": plural, "singularName": "", "namespaced": true, "kind": plural, "verbs": ["list"]}),
        )
        .collect();
    let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": resources});
    server.on(&format!("GET /apis/{group}"), 200, list);
}

/// What every cluster has.
fn workloads(server: &Server) {
    serve(server, "apps/v1", &["deployments", "statefulsets", "daemonsets"]);
    serve(server, "batch/v1", &["cronjobs"]);
}

fn backup_tools(server: &Server) {
    serve(server, "snapshot.storage.k8s.io/v1", &["volumesnapshots"]);
    serve(server, "velero.io/v1", &["backups"]);
}

fn forbid(server: &Server, path: &str) {
    let message = format!("{path} is forbidden: User \"carol\" cannot list resource");
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 403,
        "reason": "Forbidden", "message": message});
    server.on(&format!("GET {path}"), 403, status);
}

const REQUESTS: &str = "/apis/foureyes.dev/v1alpha1/deletionrequests";
const RETENTIONS: &str = "/apis/foureyes.dev/v1alpha1/backupretentions";
const SNAPSHOTS: &str = "/apis/snapshot.storage.k8s.io/v1/namespaces/shop/volumesnapshots";
const BACKUPS: &str = "/apis/velero.io/v1/backups";
const VOLUMES: &str = "/api/v1/persistentvolumes";

/// One who may read all there is.
fn readable() -> Server {
    let server = Server::start("bob");
    workloads(&server);
    server.on(&format!("GET {CLAIM}"), 200, claim());
    let other = volume("pvc-2", "00000000-0000-4000-8000-00000000000b", "bank", "ledger");
    list(&server, VOLUMES, &[volume("pvc-1", VOLUME_UID, "shop", "reports"), other]);
    let running = pod("shop", "reports-7ff-x", "reports", "Running", "reports-7ff");
    let ended = pod("shop", "reports-7ff-y", "reports", "Succeeded", "reports-7ff");
    let stranger = pod("shop", "web-1", "cache", "Running", "web");
    list(&server, "/api/v1/namespaces/shop/pods", &[running, ended, stranger]);
    list(&server, "/api/v1/namespaces/bank/pods", &[pod("bank", "ledger-0", "ledger", "Running", "ledger")]);
    let owner =
        json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "reports", "uid": "d", "controller": true}]);
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "reports-7ff", "ownerReferences": owner}});
    server.on("GET /apis/apps/v1/namespaces/shop/replicasets/reports-7ff", 200, set);
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "reports"}}]);
    let nightly = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
        "spec": {"jobTemplate": {"spec": {"template": {"spec": {"volumes": volumes}}}}}});
    list(&server, "/apis/batch/v1/namespaces/shop/cronjobs", &[nightly]);
    for kind in ["deployments", "statefulsets", "daemonsets"] {
        list(&server, &format!("/apis/apps/v1/namespaces/shop/{kind}"), &[]);
    }
    list(&server, REQUESTS, &[]);
    server
}

fn kept(server: &Server) {
    backup_tools(server);
    let retention = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "BackupRetention", "metadata": {"name": "held"},
        "spec": {"keepers": [{"kind": "PersistentVolume", "name": "pvc-1", "uid": VOLUME_UID}], "retainDays": 30,
            "mode": "Governance", "afterwards": "Keep"}});
    list(server, RETENTIONS, &[retention]);
    let snapshot = |name: &str, of: &str| {
        json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": name},
            "spec": {"source": {"persistentVolumeClaimName": of}}, "status": {"readyToUse": true}})
    };
    list(server, SNAPSHOTS, &[snapshot("monday", "reports"), snapshot("other", "cache")]);
    let backup = |name: &str, namespaces: &[&str]| {
        json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": name, "namespace": "velero"},
            "spec": {"includedNamespaces": namespaces}, "status": {"phase": "Completed"}})
    };
    list(server, BACKUPS, &[backup("daily", &["shop"]), backup("bank", &["bank"])]);
}

fn digest() -> String {
    let claim = Claim { namespace: "shop".into(), name: "reports".into(), uid: UID.into(), ..Claim::default() };
    let handle = Some("csi.example.org/vol-1".into());
    let volume = Volume { name: "pvc-1".into(), uid: VOLUME_UID.into(), handle, ..Volume::default() };
    Inventory::of([(&claim, Some(&volume))]).digest().unwrap()
}

#[test]
fn all_that_is_known_is_shown_before_anybody_asks() {
    let server = readable();
    kept(&server);
    let ended = server.run(&LOOK);
    assert_eq!(ended.code, 0, "{ended:?}");
    for shown in [
        digest().as_str(),
        "Would be lost: 1 claim, 1 volume\n",
        "shop/reports",
        "5Gi",
        "fast",
        "csi.example.org/vol-1",
        "on Delete: goes with the claim",
        "BackupRetention held",
        "VolumeSnapshot shop/monday",
        "Velero Backup velero/daily",
        "CronJob shop/nightly",
        "runs no pod now",
        "Deployment shop/reports",
        "runs reports-7ff-x\n",
        "PersistentVolume pvc-2",
        "is for pvc/bank/ledger, which pod ledger-0 uses",
    ] {
        assert!(ended.out.contains(shown), "{shown:?} in {}", ended.out);
    }
    for hidden in ["shop/other", "velero/bank", "web-1", "reports-7ff-y"] {
        assert!(!ended.out.contains(hidden), "{hidden:?} in {}", ended.out);
    }
    let next = "\n  kubectl foureyes delete pvc/reports -n shop --reason 'no longer needed'\n";
    assert!(ended.err.contains(next) && !ended.err.contains("Not known"), "{}", ended.err);
    assert!(["PATCH", "PUT", "DELETE"].iter().all(|verb| server.seen(verb).is_empty()));

    let ended = server.run(&[&LOOK[..], &["-o", "json"]].concat());
    let data: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(data["digest"], json!(digest()));
    assert_eq!(data["lost"][0]["reclaimPolicy"], "Delete");
    assert_eq!((data["keptBy"].as_array().unwrap().len(), data["usedBy"].as_array().unwrap().len()), (4, 3));
    let ended = server.run(&[&LOOK[..], &["-o", "name"]].concat());
    assert_eq!(ended.out, "persistentvolumeclaim/reports\npersistentvolume/pvc-1\n");
}

/// Neither snapshots nor Velero are there: nothing is said of them.
#[test]
fn what_is_not_installed_is_not_missed() {
    let server = readable();
    list(&server, RETENTIONS, &[]);
    // RBAC says no before the API server looks what there is.
    forbid(&server, SNAPSHOTS);
    forbid(&server, BACKUPS);
    let ended = server.run(&LOOK);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!ended.err.contains("Not known") && !ended.out.contains("Velero"), "{ended:?}");
}

#[test]
fn what_somebody_may_not_read_is_said_and_the_guard_knows_the_digest() {
    let server = Server::start("carol");
    server.on(&format!("GET {CLAIM}"), 200, claim());
    workloads(&server);
    backup_tools(&server);
    for path in [VOLUMES, RETENTIONS, SNAPSHOTS, BACKUPS, REQUESTS, "/api/v1/namespaces/shop/pods"] {
        forbid(&server, path);
    }
    let refusal = "PersistentVolumeClaim shop/reports was not deleted: it holds data [DeletionNotRequested]\nWould be lost: claim shop/reports (inventory 61a4bd4cfaa6)";
    server.refuse(&format!("DELETE {CLAIM}"), refusal);
    let ended = server.run(&LOOK);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("61a4bd4cfaa6 (short)") && ended.out.contains("pvc-1"), "{}", ended.out);
    for unknown in
        ["reclaim policy", "what is held", "snapshots", "Velero's backups", "which pods use it", "asked already"]
    {
        assert!(
            ended.err.lines().any(|line| line.starts_with("Not known: ") && line.contains(unknown)),
            "{unknown}: {}",
            ended.err
        );
    }
    for (question, body) in server.seen("DELETE") {
        assert_eq!(body["dryRun"], json!(["All"]), "{question}");
    }
}

#[test]
fn what_is_missing_is_told_from_what_is_gone() {
    let server = Server::start("carol");
    let ended = server.run(&LOOK);
    assert!(ended.code == 2 && ended.err.contains("no PersistentVolumeClaim reports in namespace shop"), "{ended:?}");
    let target = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "reports", "uid": UID});
    let request = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest",
        "metadata": {"name": "one", "uid": "r"}, "spec": {"reason": "x", "target": target},
        "status": {"phase": "Executed", "inventory": {"digest": "d", "total": 2, "summary": "1 claim, 1 volume"}}});
    server.on(&format!("GET {REQUESTS}/one"), 200, request);
    let ended = server.run(&["inventory", "del/one", "-n", "elsewhere"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("Would be lost: 1 claim, 1 volume"), "{}", ended.out);
    assert!(ended.err.contains("\n  kubectl foureyes undo del/one\n"), "{}", ended.err);
}
