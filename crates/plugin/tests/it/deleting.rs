//! Asking for a deletion.

use foureyes_core::api::{Target, TargetKind};
use foureyes_core::domain::ready;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::reason::Code;
use serde_json::{Value, json};

use crate::server::{Ended, Server};

const CLAIM: &str = "/api/v1/namespaces/shop/persistentvolumeclaims/reports";
const NAMESPACE: &str = "/api/v1/namespaces/old-shop";
const REQUESTS: &str = "/apis/foureyes.dev/v1alpha1/deletionrequests";
const UID: &str = "d0e31405-bd0b-4814-a4d5-ff0ef3b16909";
const ASK: [&str; 5] = ["delete", "pvc/reports", "--reason", "moved to the warehouse", "--yes"];
const FULL_NAME: &str = "deletionrequest.foureyes.dev/pvc-reports-1";

fn target() -> Target {
    Target {
        api_version: "v1".into(),
        kind: TargetKind::PersistentVolumeClaim,
        namespace: Some("shop".into()),
        name: "reports".into(),
        uid: UID.into(),
    }
}

fn refusal() -> String {
    Refusal::new(Code::DeletionNotRequested, "PersistentVolumeClaim shop/reports was not deleted: it holds data")
        .detail("Would be lost: claim shop/reports (5Gi, volume pvc-1) (inventory 61a4bd4cfaa6)")
        .next("Somebody else can allow it with:", ready::annotate(&target(), "61a4bd4cfaa6"))
        .to_string()
}

/// The request as it was created; the controller has not seen it.
fn created() -> Value {
    json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest",
        "metadata": {"name": "pvc-reports-1", "uid": "00000000-0000-4000-8000-000000000001",
            "creationTimestamp": "2026-11-20T10:00:00Z"},
        "spec": {"target": target(), "reason": "moved to the warehouse",
            "requester": {"username": "alice", "at": "2026-11-20T10:00:00Z"}},
    })
}

/// The same as the controller has left it.
fn listed(phase: &str, waiting: &str) -> Value {
    let items = json!([
        {"kind": "PersistentVolumeClaim", "namespace": "shop", "name": "reports", "uid": UID, "size": "5Gi"},
        {"kind": "PersistentVolume", "name": "pvc-1", "uid": "v", "handle": "csi.example.org/vol-1"},
    ]);
    let mut request = created();
    request["status"] = json!({"phase": phase, "requestedBy": "alice", "waitingFor": waiting,
        "subjectDigest": "subject/v1:sha256:00", "signOffs": {"required": 1, "granted": 0, "text": "0/1"},
        "inventory": {"digest": "d", "total": 2, "summary": "1 claim, 1 volume", "items": items}});
    request
}

fn pending() -> Value {
    listed("Pending", "sign-off by 1 person")
}

fn asked_for(server: &Server, requests: &[Value]) {
    let list = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequestList", "metadata": {},
        "items": requests});
    server.on(&format!("GET {REQUESTS}"), 200, list);
}

fn object(kind: &str, name: &str, extra: &Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "uid": UID,
        "creationTimestamp": "2026-11-01T10:00:00Z"}});
    json_patch::merge(&mut object, extra);
    object
}

fn claim() -> Value {
    object("PersistentVolumeClaim", "reports", &json!({}))
}

/// A claim that nobody has asked about.
fn shop() -> Server {
    let server = Server::start("alice");
    server.on(&format!("GET {CLAIM}"), 200, claim());
    asked_for(&server, &[]);
    server.on(&format!("POST {REQUESTS}"), 201, created());
    server
}

fn requested(server: &Server) -> Vec<Value> {
    server.seen(&format!("POST {REQUESTS}")).into_iter().map(|(_, request)| request).collect()
}

/// Whatever else it does, it deletes nothing.
#[track_caller]
fn ran(server: &Server, args: &[&str]) -> Ended {
    let ended = server.run(args);
    for (question, body) in server.seen("DELETE") {
        assert_eq!(body["dryRun"], json!(["All"]), "{question}");
    }
    ended
}

#[test]
fn a_claim_is_asked_for_by_its_uid_and_its_inventory_is_shown() {
    let server = shop();
    server.refuse(&format!("DELETE {CLAIM}"), &refusal());
    server.on(&format!("GET {REQUESTS}/pvc-reports-1"), 200, created());
    server.on(&format!("GET {REQUESTS}/pvc-reports-1"), 200, pending());
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "reports"}}]);
    let pod = object(
        "Pod",
        "reports-0",
        &json!({"spec": {"containers": [], "volumes": volumes}, "status": {"phase": "Running"}}),
    );
    let pods = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod]});
    server.on("GET /api/v1/namespaces/shop/pods", 200, pods);
    let ended = ran(&server, &[&ASK[..], &["--ticket", "SHOP-17"]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.starts_with(&format!("{FULL_NAME} created\n")), "{}", ended.out);
    for shown in ["Requested by:  alice", "Would be lost: 1 claim, 1 volume\n", "shop/reports", "csi.example.org/vol-1"]
    {
        assert!(ended.out.contains(shown), "{shown:?} in {}", ended.out);
    }
    for said in [
        "Would be lost: claim shop/reports (5Gi, volume pvc-1)",
        "Uses it:",
        "Pod shop/reports-0   pvc/shop/reports   runs",
        "Waiting until foureyes has listed what the deletion of pvc/shop/reports would lose",
        "\n  kubectl foureyes approve del/pvc-reports-1\n",
        "\n  kubectl -n shop delete pvc reports\n",
    ] {
        assert!(ended.err.contains(said), "{said:?} in {}", ended.err);
    }
    let (question, _) = server.seen(&format!("GET {REQUESTS}?")).remove(0);
    assert!(question.contains(&format!("spec.target.uid%3D{UID}")), "{question}");
    let expected = json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest", "metadata": {"generateName": "pvc-reports-"},
        "spec": {"target": target(), "reason": "moved to the warehouse", "ticket": "SHOP-17"},
    });
    assert_eq!(requested(&server), [expected]);
}

#[test]
fn a_namespace_is_asked_for_by_whoever_may_not_delete_it() {
    let server = Server::start("alice");
    server.on(&format!("GET {NAMESPACE}"), 200, object("Namespace", "old-shop", &json!({})));
    asked_for(&server, &[]);
    let forbidden = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 403,
        "reason": "Forbidden", "message": "namespaces \"old-shop\" is forbidden: User \"alice\" cannot delete"});
    server.on(&format!("DELETE {NAMESPACE}"), 403, forbidden);
    server.on(&format!("POST {REQUESTS}"), 201, created());
    server.on(&format!("GET {REQUESTS}/pvc-reports-1"), 200, pending());
    let ended = ran(&server, &["delete", "ns/old-shop", "-n", "shop", "--reason", "over", "--yes"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("you may not delete namespace/old-shop yourself"), "{}", ended.err);
    let target = json!({"apiVersion": "v1", "kind": "Namespace", "name": "old-shop", "uid": UID});
    let request = requested(&server).remove(0);
    assert_eq!(request["spec"]["target"], target);
    assert_eq!(request["metadata"]["generateName"], "ns-old-shop-");
}

#[test]
fn what_is_asked_for_already_is_shown_instead() {
    for (request, next) in [
        (pending(), "kubectl foureyes approve del/pvc-reports-1"),
        (listed("Executable", "deletion by anybody who may"), "It is signed off, and waits for deletion by anybody"),
    ] {
        let server = Server::start("carol");
        server.on(&format!("GET {CLAIM}"), 200, claim());
        asked_for(&server, std::slice::from_ref(&request));
        server.on(&format!("GET {REQUESTS}/pvc-reports-1"), 200, request);
        let ended = ran(&server, &ASK);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.out.contains("Would be lost: 1 claim, 1 volume") && !ended.out.contains("created"), "{ended:?}");
        assert!(ended.err.contains("is asked for already") && ended.err.contains(next), "{}", ended.err);
        assert!(requested(&server).is_empty() && server.seen("DELETE").is_empty());
    }
}

#[test]
fn a_controller_that_does_not_answer_is_named() {
    let server = shop();
    server.refuse(&format!("DELETE {CLAIM}"), &refusal());
    server.on(&format!("GET {REQUESTS}/pvc-reports-1"), 200, created());
    let ended = ran(&server, &[&ASK[..], &["--timeout", "1s", "-o", "name"]].concat());
    assert_eq!(ended.code, 2, "{ended:?}");
    // It is there all the same.
    assert_eq!(ended.out, format!("{FULL_NAME}\n"));
    for said in ["within 1s", "kubectl -n foureyes-system get pods", "kubectl foureyes describe del/pvc-reports-1"] {
        assert!(ended.err.contains(said), "{said:?} in {}", ended.err);
    }
    assert!(server.seen(&format!("GET {REQUESTS}/pvc-reports-1")).len() > 1, "it was looked at once");
}

#[test]
fn what_has_ended_while_it_was_waited_for_is_a_no() {
    let server = shop();
    server.refuse(&format!("DELETE {CLAIM}"), &refusal());
    server.on(&format!("GET {REQUESTS}/pvc-reports-1"), 200, listed("Cancelled", "nothing"));
    let ended = ran(&server, &ASK);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("del/pvc-reports-1 is Cancelled"), "{}", ended.err);
    // Taken back, and perhaps another one made under the same name.
    let mut another = pending();
    another["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000009");
    let gone = json!({"kind": "Status", "code": 404, "message": "gone", "reason": "NotFound"});
    for (status, answer) in [(404, gone), (200, another)] {
        let server = shop();
        server.refuse(&format!("DELETE {CLAIM}"), &refusal());
        server.on(&format!("GET {REQUESTS}/pvc-reports-1"), status, answer);
        let ended = ran(&server, &ASK);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.err.contains("del/pvc-reports-1 is gone"), "{}", ended.err);
    }
}

#[test]
fn what_is_allowed_needs_no_request_unless_somebody_insists() {
    let server = shop();
    let gone = claim();
    server.on(&format!("DELETE {CLAIM}"), 200, gone.clone());
    let ended = ran(&server, &ASK);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.is_empty() && ended.err.contains("no request to delete pvc/shop/reports is needed"), "{ended:?}");
    assert!(ended.err.contains("\n  kubectl -n shop delete pvc reports\n"), "{}", ended.err);
    assert!(requested(&server).is_empty());

    let server = shop();
    let warning =
        "foureyes would refuse this: PersistentVolumeClaim shop/reports was not deleted [DeletionNotRequested]";
    server.warning(&format!("DELETE {CLAIM}"), gone, warning);
    server.on(&format!("GET {REQUESTS}/pvc-reports-1"), 200, pending());
    let ended = ran(&server, &ASK);
    assert!(ended.err.contains(warning) && ended.err.contains("--anyway"), "{}", ended.err);
    assert!(requested(&server).is_empty());
    let ended = ran(&server, &[&ASK[..], &["--anyway"]].concat());
    assert_eq!((ended.code, requested(&server).len()), (0, 1), "{ended:?}");
}

#[test]
fn nothing_is_asked_for_unseen() {
    let server = shop();
    server.refuse(&format!("DELETE {CLAIM}"), &refusal());
    let ended = ran(&server, &ASK[..4]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("Would be lost: claim shop/reports") && ended.err.contains("--yes"), "{}", ended.err);
    assert!(requested(&server).is_empty());
}

#[test]
fn a_dry_run_only_prints() {
    let server = shop();
    server.refuse(&format!("DELETE {CLAIM}"), &refusal());
    let ended = ran(&server, &[&ASK[..4], &["--dry-run", "-o", "json"]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    let request: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(request["spec"]["target"]["uid"], UID);
    assert!(ran(&server, &[&ASK[..4], &["--dry-run"]].concat()).out.contains("generateName: pvc-reports-\n"));
    assert!(requested(&server).is_empty());
    let ended = ran(&server, &[&ASK[..4], &["--dry-run=server", "-o", "name"]].concat());
    assert_eq!(ended.out, format!("{FULL_NAME}\n"));
    let (question, _) = server.seen(&format!("POST {REQUESTS}")).remove(0);
    assert!(question.contains("dryRun=All"), "{question}");
}

#[test]
fn data_is_the_request_with_its_inventory() {
    let server = shop();
    server.refuse(&format!("DELETE {CLAIM}"), &refusal());
    server.on(&format!("GET {REQUESTS}/pvc-reports-1"), 200, pending());
    let ended = ran(&server, &[&ASK[..], &["-o", "json"]].concat());
    let request: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(request["metadata"]["name"], "pvc-reports-1");
    assert_eq!(request["status"]["inventory"]["total"], 2);
}

#[test]
fn what_can_not_be_asked_for_says_what_can() {
    let server = shop();
    let ended = ran(&server, &["delete", "pvc/nothing", "--reason", "x", "--yes"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("no PersistentVolumeClaim nothing in namespace shop"), "{}", ended.err);
    let ended = ran(&server, &["delete", "ns/nothing", "--reason", "x", "--yes"]);
    assert!(ended.err.contains("kubectl get namespaces"), "{}", ended.err);
    let ended = ran(&server, &["delete", "deploy/web", "--reason", "x", "--yes"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("kubectl foureyes request change deploy/web --remove"), "{}", ended.err);

    let going = json!({"metadata": {"deletionTimestamp": "2026-11-20T10:00:00Z"}});
    server.on(&format!("GET {NAMESPACE}"), 200, object("Namespace", "old-shop", &going));
    let ended = ran(&server, &["delete", "ns/old-shop", "--reason", "x", "--yes", "--anyway"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("namespace/old-shop is being deleted already"), "{}", ended.err);
    assert!(requested(&server).is_empty());
}

#[test]
fn a_no_that_no_request_would_change_is_passed_on() {
    let text = Refusal::new(Code::OwnNamespaceProtected, "Namespace foureyes-system was not deleted").to_string();
    let server = shop();
    server.refuse(&format!("DELETE {CLAIM}"), &text);
    let ended = ran(&server, &ASK);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("[OwnNamespaceProtected]"), "{}", ended.err);
    let server = Server::start("eve");
    server.on(&format!("GET {CLAIM}"), 200, claim());
    asked_for(&server, &[]);
    server.refuse(&format!("DELETE {CLAIM}"), &refusal());
    server.refuse(
        &format!("POST {REQUESTS}"),
        "the request to delete pvc/shop/reports was not created: eve may not request deletions in shop [RightMissing]",
    );
    let ended = ran(&server, &ASK);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("error: the request to delete pvc/shop/reports was not created"), "{}", ended.err);
}
