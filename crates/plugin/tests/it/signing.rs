//! Approving, and the words that stop something.

use foureyes_core::api::ChangeRequest;
use foureyes_core::domain::statement::request_digest;
use serde_json::{Value, json};

use crate::requesting::{DEPLOYMENT, deployment, digest};
use crate::server::Server;

const CHANGE: &str = "GET /apis/foureyes.dev/v1alpha1/namespaces/shop/changerequests/web-1";
const SIGN_OFFS: &str = "/apis/foureyes.dev/v1alpha1/signoffs";

/// A change to web:2, as the controller has left it.
pub fn change(extra: &Value) -> Value {
    let value = digest("web:2").trim_start_matches("template/v1:").to_owned();
    let mut object = json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "ChangeRequest",
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "00000000-0000-4000-8000-000000000001",
            "creationTimestamp": "2026-11-20T10:00:00Z",
            "annotations": {"plugin.foureyes.dev/template-changes": json!([{"target": 0, "patch": [
                {"op": "replace", "path": "/spec/containers/0/image", "value": "web:2"}]}]).to_string()}},
        "spec": {"type": "Normal", "title": "web 2\u{1b}[2J", "requester": {"username": "alice", "at": "2026-11-20T10:00:00Z"},
            "targets": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "action": "Apply",
                "digest": {"encoding": "template/v1", "value": value}}]},
    });
    json_patch::merge(&mut object, extra);
    let read: ChangeRequest = serde_json::from_value(object.clone()).unwrap();
    let phase = object["status"]["phase"].as_str().unwrap_or("Pending").to_owned();
    object["status"] = json!({"phase": phase, "requestedBy": "alice", "requestDigest": request_digest(&read.spec).unwrap(),
        "waitingFor": "sign-off by 1 person", "signOffs": {"required": 1, "granted": 0, "text": "0/1"}});
    object
}

fn shop(me: &str) -> Server {
    let server = Server::start(me);
    server.on(&format!("GET {DEPLOYMENT}"), 200, deployment("web:1"));
    server
}

#[test]
fn what_was_shown_is_signed() {
    let server = shop("bob");
    server.on(CHANGE, 200, change(&json!({})));
    let ended = server.run(&["approve", "web-1", "--yes", "--verified", "ran in staging"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for shown in
        ["web web:1 → web:2", "-  - image: web:1", "+  - image: web:2", "web 2\\u{1b}[2J", "chg/web-1 approved"]
    {
        assert!(ended.out.contains(shown), "{shown:?} in {}", ended.out);
    }
    assert!(!ended.out.contains('\u{1b}'), "no colours in a pipe, and nothing raw");
    let (_, sign_off) = server.seen(&format!("POST {SIGN_OFFS}")).remove(0);
    assert_eq!(sign_off["spec"]["says"], "Approve");
    assert_eq!(sign_off["spec"]["digest"], change(&json!({}))["status"]["requestDigest"]);
    assert_eq!(sign_off["spec"]["verified"], "ran in staging");
    assert_eq!(sign_off["spec"]["subject"]["uid"], "00000000-0000-4000-8000-000000000001");
}

#[test]
fn nobody_signs_blindly() {
    let server = shop("bob");
    server.on(CHANGE, 200, change(&json!({})));
    let ended = server.run(&["approve", "chg/web-1"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.out.contains("+  - image: web:2") && ended.err.contains("--yes"), "{ended:?}");
    assert!(server.seen(&format!("POST {SIGN_OFFS}")).is_empty());
}

#[test]
fn what_has_changed_since_is_not_signed() {
    let server = shop("bob");
    server.on(CHANGE, 200, change(&json!({})));
    server.on(CHANGE, 200, change(&json!({"metadata": {"uid": "00000000-0000-4000-8000-000000000009"}})));
    let ended = server.run(&["approve", "chg/web-1", "--yes"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("it has changed since it was shown"), "{}", ended.err);
    assert!(server.seen(&format!("POST {SIGN_OFFS}")).is_empty());
}

#[test]
fn ones_own_and_ended_requests_are_refused_before_anything_is_asked() {
    let server = shop("alice");
    server.on(CHANGE, 200, change(&json!({})));
    let ended = server.run(&["approve", "chg/web-1", "--yes"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("your own request"), "{}", ended.err);
    let server = shop("bob");
    server.on(CHANGE, 200, change(&json!({"status": {"phase": "Rejected"}})));
    assert_eq!(server.run(&["approve", "chg/web-1", "--yes"]).code, 1);
    let other = format!("request/v1:sha256:{}", "0".repeat(64));
    let server = shop("bob");
    server.on(CHANGE, 200, change(&json!({})));
    assert_eq!(server.run(&["approve", "chg/web-1", "--yes", "--digest", &other]).code, 1);
}

#[test]
fn the_guards_no_is_a_no() {
    let server = shop("bob");
    server.on(CHANGE, 200, change(&json!({})));
    server.refuse(
        &format!("POST {SIGN_OFFS}"),
        "Approve on web-1 was not written: bob may not sign off in shop [RightMissing]",
    );
    let ended = server.run(&["approve", "chg/web-1", "--yes"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("error: Approve on web-1 was not written"), "{}", ended.err);
}

#[test]
fn a_question_stops_it_and_is_taken_back() {
    let server = shop("bob");
    server.on(CHANGE, 200, change(&json!({})));
    let ended = server.run(&["hold", "web-1", "--comment", "why?"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let (_, hold) = server.seen(&format!("POST {SIGN_OFFS}")).remove(0);
    assert_eq!(hold["spec"]["comment"], "why?");
    let said = |name: &str, author: &str| {
        json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOff",
            "metadata": {"name": name, "uid": format!("uid-{name}")},
            "spec": {"subject": hold["spec"]["subject"], "says": "Hold", "author": {"username": author},
                "at": "2026-11-20T10:00:00Z", "comment": "why?"}})
    };
    let list = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOffList", "metadata": {},
        "items": [said("mine", "bob"), said("hers", "carol")]});
    server.on(&format!("GET {SIGN_OFFS}"), 200, list);
    server.on(
        &format!("DELETE {SIGN_OFFS}/mine"),
        200,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
    );
    let ended = server.run(&["withdraw", "web-1"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.out, "signoff.foureyes.dev/mine withdrawn: Hold on chg/web-1\n");
    let deleted = server.seen("DELETE");
    assert_eq!(deleted.len(), 1);
    assert_eq!(deleted[0].1["preconditions"]["uid"], "uid-mine");
    assert!(server.seen(&format!("GET {SIGN_OFFS}"))[0].0.contains("spec.subject.uid"));
    assert_eq!(server.run(&["withdraw", "web-1", "--only", "approve"]).code, 1, "bob has approved nothing");
    let ended = server.run(&["describe", "web-1"]);
    assert!(ended.out.contains("put it on hold (not judged yet): why?"), "{}", ended.out);
}
