//! What waits for whom, and what enforcing would cost.

use serde_json::{Value, json};

use crate::server::Server;
use crate::signing::change;

fn lists(server: &Server, place: &str) {
    let list = |kind: &str, items: &[Value]| json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": format!("{kind}List"), "metadata": {}, "items": items});
    // One that nobody can read hides no other.
    let odd = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "ChangeRequest",
        "metadata": {"name": "odd", "namespace": "shop"}, "spec": {"type": "Someday"}});
    let changes = list("ChangeRequest", &[change(&json!({})), odd, change(&json!({"status": {"phase": "Succeeded"}}))]);
    server.on(&format!("GET /apis/foureyes.dev/v1alpha1{place}/changerequests"), 200, changes);
    server.on("GET /apis/foureyes.dev/v1alpha1/deletionrequests", 200, list("DeletionRequest", &[]));
}

#[test]
fn status_says_what_waits_for_whom() {
    for (me, waits) in [("bob", "you "), ("alice", "others ")] {
        let server = Server::start(me);
        lists(&server, "");
        let ended = server.run(&["status", "-A"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let lines: Vec<&str> = ended.out.lines().collect();
        assert_eq!(lines.len(), 2, "{}", ended.out);
        assert!(lines[0].starts_with("WAITS ") && lines[1].starts_with(waits), "{}", ended.out);
        assert!(ended.err.contains("odd can't be read"), "{}", ended.err);
        let (_, review) = server.seen("POST /apis/authorization.k8s.io").remove(0);
        let attributes = &review["spec"]["resourceAttributes"];
        assert_eq!(attributes["verb"], "approve");
        assert_eq!(attributes["resource"], "changerequests");
        assert_eq!(attributes["subresource"], "signoff");
        assert_eq!(attributes["namespace"], "shop");
    }
}

#[test]
fn status_keeps_to_a_namespace_and_pipes_as_data() {
    let server = Server::start("bob");
    lists(&server, "/namespaces/shop");
    let ended = server.run(&["status", "-o", "json"]);
    let data: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(data["items"][0]["waitsFor"], "you");
    assert_eq!(server.run(&["status", "-o", "name"]).out, "changerequest.foureyes.dev/web-1\n");
    lists(&server, "/namespaces/empty");
    let gone = server.run(&["status", "-n", "bank"]);
    assert_eq!(gone.code, 2, "the API server knows no such list: {gone:?}");
}

#[test]
fn a_report_counts_what_was_only_warned_about() {
    let server = Server::start("bob");
    let entry = json!({"template": "template/v1:sha256:00", "at": "2026-11-20T10:00:00Z", "how": "Unreviewed",
        "outcome": "Seen", "executor": "argocd", "wouldRefuse": true});
    let record = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "RolloutRecord", "metadata": {"name": "deployment-shop-web-0"},
        "spec": {"workload": {"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web"}},
        "status": {"runs": "web:2", "how": "Unreviewed", "entries": [entry]}});
    let list =
        json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "RolloutRecordList", "metadata": {}, "items": [record]});
    server.on("GET /apis/foureyes.dev/v1alpha1/rolloutrecords", 200, list);
    let ended = server.run(&["report"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("deployment/web") && ended.out.contains("argocd"), "{}", ended.out);
    assert!(ended.err.contains("1 of 1 rollout on record would have been refused"), "{}", ended.err);
}

#[test]
fn without_a_cluster_the_next_step_is_said() {
    let server = Server::start("bob");
    let ended = server.run(&["status", "--kubeconfig", "/nowhere"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("--kubeconfig or $KUBECONFIG"), "{}", ended.err);
}
