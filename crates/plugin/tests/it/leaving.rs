//! Leaving: what asks foureyes is let go by two people, and nothing stays that refuses for ever (fact 26).

use serde_json::{Value, json};

use crate::server::Server;

const GUARD: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/foureyes-guard";
const STAMP: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/foureyes-stamp";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
const CHANGES: &str = "/apis/foureyes.dev/v1alpha1/namespaces/foureyes-system/changerequests";
const CHANGE: &str = "/apis/foureyes.dev/v1alpha1/namespaces/foureyes-system/changerequests/release-1";
const RETENTIONS: &str = "/apis/foureyes.dev/v1alpha1/backupretentions";

fn configuration(kind: &str, name: &str, policy: &str, released: bool) -> Value {
    let annotations = if released { json!({"foureyes.dev/released": name}) } else { json!({}) };
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "uid": name, "annotations": annotations},
        "webhooks": [{"name": "x.foureyes.dev", "failurePolicy": policy}]})
}

fn configured(server: &Server, policy: &str, released: bool) {
    server.on(
        &format!("GET {GUARD}"),
        200,
        configuration("ValidatingWebhookConfiguration", "foureyes-guard", policy, released),
    );
    server.on(
        &format!("GET {STAMP}"),
        200,
        configuration("MutatingWebhookConfiguration", "foureyes-stamp", policy, released),
    );
}

fn gone(server: &Server) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "not found",
        "reason": "NotFound", "code": 404});
    for path in [GUARD, STAMP] {
        server.on(&format!("GET {path}"), 404, status.clone());
    }
}

fn listed(server: &Server, path: &str, kind: &str, items: &[Value]) {
    let (group, _) = path.trim_start_matches("/apis/").split_once("/v1").unwrap();
    let version = if group == "foureyes.dev" { "foureyes.dev/v1alpha1" } else { "admissionregistration.k8s.io/v1" };
    server.on(
        &format!("GET {path}"),
        200,
        json!({"apiVersion": version, "kind": format!("{kind}List"), "metadata": {}, "items": items}),
    );
}

fn change(phase: &str) -> Value {
    let target = |kind: &str, name: &str| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "name": name, "action": "Remove"});
    json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "ChangeRequest",
        "metadata": {"name": "release-1", "namespace": "foureyes-system", "uid": "c"},
        "spec": {"type": "Normal", "title": "let the webhook configurations of foureyes go", "targets": [
            target("MutatingWebhookConfiguration", "foureyes-stamp"), target("ValidatingWebhookConfiguration", "foureyes-guard")]},
        "status": {"phase": phase}})
}

#[test]
fn it_is_asked_for_once_and_the_next_step_is_said() {
    let server = Server::start("alice");
    configured(&server, "Fail", false);
    configured(&server, "Fail", true);
    listed(&server, CHANGES, "ChangeRequest", &[]);
    server.on(&format!("POST {CHANGES}"), 201, change("Pending"));
    server.on(&format!("GET {CHANGE}"), 200, change("Pending"));
    let ended = server.run(&["release", "--yes"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let asked = server.seen(&format!("POST {CHANGES}"));
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].1["spec"]["targets"].as_array().unwrap().len(), 2);
    for words in [
        "kubectl foureyes approve -n foureyes-system chg/release-1",
        "kubectl delete mutatingwebhookconfiguration/foureyes-stamp validatingwebhookconfiguration/foureyes-guard",
        "kubectl delete validatingadmissionpolicybindings,validatingadmissionpolicies",
        "kubectl foureyes release --check",
    ] {
        assert!(ended.err.contains(words), "{words}: {ended:?}");
    }
}

#[test]
fn an_open_change_is_waited_for_and_no_other_is_made() {
    let server = Server::start("alice");
    configured(&server, "Fail", false);
    listed(&server, CHANGES, "ChangeRequest", &[change("Cancelled"), change("Pending")]);
    server.on(&format!("GET {CHANGE}"), 200, change("Pending"));
    let ended = server.run(&["release", "--timeout", "1s"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("nobody has signed chg/release-1 off"), "{ended:?}");
    assert!(server.seen("POST /apis/foureyes.dev").is_empty());
    // and one that was rejected meanwhile is not waited for
    server.on(&format!("GET {CHANGE}"), 200, change("Rejected"));
    let ended = server.run(&["release", "--timeout", "60s"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("has ended"), "{ended:?}");
}

#[test]
fn without_a_yes_nothing_is_asked_for() {
    let server = Server::start("alice");
    configured(&server, "Fail", false);
    listed(&server, CHANGES, "ChangeRequest", &[]);
    assert_ne!(server.run(&["release"]).code, 0);
    assert!(server.seen("POST /apis/foureyes.dev").is_empty());
}

#[test]
fn the_check_is_red_while_anything_would_be_refused_for_ever() {
    let binding = json!({"metadata": {"name": "foureyes-data"}, "spec": {}});
    for (policy, released, bindings, words) in [
        ("Fail", false, vec![], "kubectl foureyes release"),
        ("Fail", true, vec![], "kubectl delete validatingwebhookconfiguration/foureyes-guard"),
        ("Ignore", false, vec![binding], "1 admission policies of foureyes still refuse"),
    ] {
        let server = Server::start("alice");
        configured(&server, policy, released);
        listed(&server, BINDINGS, "ValidatingAdmissionPolicyBinding", &bindings);
        listed(&server, RETENTIONS, "BackupRetention", &[]);
        let ended = server.run(&["release", "--check"]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.err.contains(words) && ended.err.contains("Do not delete"), "{words}: {ended:?}");
    }
}

#[test]
fn the_check_names_what_nobody_holds_any_more() {
    let server = Server::start("alice");
    gone(&server);
    listed(&server, BINDINGS, "ValidatingAdmissionPolicyBinding", &[]);
    let retention = |name: &str, phase: &str| {
        json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "BackupRetention",
        "metadata": {"name": name}, "status": {"phase": phase, "retainUntil": "2026-12-20T10:00:00Z"},
        "spec": {"retainDays": 30, "mode": "Governance", "afterwards": "Keep",
            "keepers": [{"kind": "PersistentVolume", "name": "pvc-1", "uid": "u"}]}})
    };
    listed(&server, RETENTIONS, "BackupRetention", &[retention("reports-1", "Holding"), retention("old-1", "Purged")]);
    let resource = json!({"name": "backupretentions", "singularName": "", "namespaced": false, "kind": "BackupRetention",
        "verbs": ["list"]});
    let kinds = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "foureyes.dev/v1alpha1",
        "resources": [resource]});
    server.on("GET /apis/foureyes.dev/v1alpha1", 200, kinds);
    let ended = server.run(&["release", "--check"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("reports-1: PersistentVolume pvc-1") && !ended.out.contains("old-1"), "{ended:?}");
    assert!(ended.err.contains("may be deleted"), "{ended:?}");
}
