//! kubectl-foureyes on the real control plane: from asking to the record, by people with nothing else.

use serde_json::json;

use crate::support::objects::{eventually, web};
use crate::support::requests::delete_claim;
use crate::support::{claim, denied, field, me, non_production, production, went};

/// The name in `… NAME created`.
#[track_caller]
fn created(text: &str) -> String {
    let line =
        text.lines().find(|line| line.ends_with(" created")).unwrap_or_else(|| panic!("nothing created:\n{text}"));
    line.split([' ', '/']).nth(1).unwrap().to_owned()
}

#[test]
fn a_change_is_asked_for_looked_at_and_signed_off() {
    let namespace = production("plugin");
    me("eve").creates_with_four_eyes(&web(&namespace, 1));
    let image = ["-n", &namespace, "set", "image", "deployment/web", "web=registry.example.org/web:2"];
    denied("RolloutNotRequested", &me("eve").kubectl(&image));
    let plugin =
        |who: &'static str, args: &[&str]| me(who).kubectl(&[&["foureyes"], args, &["-n", &namespace]].concat());
    let ask = ["request", "change", "deploy/web", "--image", "web=registry.example.org/web:2", "--title", "web 2"];
    let name = created(&went(&plugin("alice", &ask)));
    let approve = ["approve", name.as_str(), "--yes"];

    // Not by its author, nor by somebody without the right, nor unseen.
    for who in ["alice", "carol"] {
        assert_eq!(plugin(who, &approve).code, 1, "{who}");
    }
    assert_eq!(plugin("bob", &approve[..2]).code, 2);
    let waits = went(&plugin("bob", &["status"]));
    assert!(waits.lines().any(|line| line.starts_with("you ") && line.contains(&name)), "{waits}");

    let shown = went(&plugin("bob", &approve));
    for line in ["-  - image: registry.example.org/web:1", "+  - image: registry.example.org/web:2"] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    eventually("the approved rollout", || me("eve").kubectl(&image).ok());
    eventually("the change to end", || field(&namespace, "changerequest", &name, "{.status.phase}") == "Succeeded");
    let told = went(&plugin("carol", &["describe", &name]));
    assert!(told.contains("bob") && told.contains("approved") && told.contains("Succeeded"), "{told}");
    // What runs already needs no change.
    let again = plugin("alice", &["request", "change", "deploy/web", "--image", "web=registry.example.org/web:2"]);
    assert!(again.ok() && !again.text().contains(" created"), "{}", again.text());
}

#[test]
fn a_change_is_stopped_asked_about_and_taken_back() {
    let namespace = production("plugin-stops");
    me("eve").creates_with_four_eyes(&web(&namespace, 1));
    let plugin =
        |who: &'static str, args: &[&str]| me(who).kubectl(&[&["foureyes"], args, &["-n", &namespace]].concat());
    let ask = |image: &str| {
        let image = format!("web=registry.example.org/web:{image}");
        created(&went(&plugin("alice", &["request", "change", "deploy/web", "--image", &image])))
    };
    let phase = |name: &str, expected: &str| {
        eventually(expected, || field(&namespace, "changerequest", name, "{.status.phase}") == expected);
    };
    let (one, two) = (ask("2"), ask("3"));
    went(&plugin("bob", &["hold", &one, "--comment", "is the migration done?"]));
    eventually("the hold", || field(&namespace, "changerequest", &one, "{.status.waitingFor}").contains("bob"));
    went(&plugin("bob", &["withdraw", &one]));
    went(&plugin("bob", &["reject", &one, "--comment", "not this week"]));
    phase(&one, "Rejected");
    went(&plugin("alice", &["cancel", &two]));
    phase(&two, "Cancelled");
}

#[test]
fn a_deletion_is_approved_with_its_inventory_in_sight() {
    let namespace = production("plugin-deletes");
    let (eve, uid) = (me("eve"), claim(&namespace, "data"));
    denied("DeletionNotRequested", &delete_claim(&eve, &namespace, "data"));
    let request = json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest", "metadata": {"name": format!("{namespace}-data")},
        "spec": {"target": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": "data",
                            "uid": uid}, "reason": "no longer needed"},
    });
    me("alice").creates(&request);
    let name = format!("del/{namespace}-data");
    let approve = ["foureyes", "approve", name.as_str(), "--yes"];
    let mut shown = String::new();
    eventually("the request to say what is signed off", || {
        let output = me("bob").kubectl(&approve);
        shown = output.text();
        output.ok()
    });
    assert!(shown.contains("PersistentVolumeClaim") && shown.contains("PersistentVolume"), "{shown}");
    eventually("the deletion to be let go", || delete_claim(&eve, &namespace, "data").ok());
}

#[test]
fn a_deletion_is_asked_for_by_name() {
    let namespace = production("plugin-asks");
    let (eve, uid) = (me("eve"), claim(&namespace, "data"));
    let ask = |who: &'static str, object: &str, more: &[&str]| {
        let words = ["foureyes", "delete", object, "-n", &namespace, "--reason", "no longer needed", "--yes"];
        me(who).kubectl(&[&words[..], more].concat())
    };
    let about = |uid: &str| {
        let selector = format!("--field-selector=spec.target.uid={uid}");
        me("admin").does(&["get", "deletionrequests", "-o=name", &selector]).trim().to_owned()
    };
    // Who may delete may not ask for it, and nobody has asked by trying.
    let refused = ask("eve", "pvc/data", &[]);
    assert!(refused.code == 1 && refused.text().contains("[RightMissing]"), "{}", refused.text());
    assert!(ask("alice", "pvc/data", &["--dry-run=server"]).ok());
    assert_eq!(about(&uid), "");

    let shown = went(&ask("alice", "pvc/data", &[]));
    let name = created(&shown);
    for line in ["Requested by:  alice", "Would be lost: 1 claim, 1 volume", "PersistentVolumeClaim", "1Gi"] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    // Whoever asks again is shown the same one, and it deletes nothing.
    let again = went(&ask("carol", "pvc/data", &["-o=name"]));
    assert_eq!(again.trim(), format!("deletionrequest.foureyes.dev/{name}"));
    assert_eq!(about(&uid), again.trim());
    denied("SignOffMissing", &delete_claim(&eve, &namespace, "data"));

    // alice may not delete namespaces, and asks for one all the same.
    let whole = ask("alice", &format!("ns/{namespace}"), &[]);
    assert!(whole.ok() && whole.text().contains("may not delete"), "{}", whole.text());
    assert!(whole.stdout.contains(&format!("{namespace}/data")), "{}", whole.stdout);

    went(&me("bob").kubectl(&["foureyes", "approve", &format!("del/{name}"), "--yes"]));
    eventually("the deletion to be let go", || delete_claim(&eve, &namespace, "data").ok());
}

#[test]
fn what_needs_no_request_is_not_asked_for() {
    let namespace = non_production("plugin-free");
    let uid = claim(&namespace, "data");
    let asked =
        me("alice").kubectl(&["foureyes", "delete", "pvc/data", "-n", &namespace, "--reason", "tidying up", "--yes"]);
    assert!(asked.ok() && asked.stdout.is_empty(), "{}", asked.text());
    assert!(asked.stderr.contains("no request to delete"), "{}", asked.stderr);
    assert_eq!(field(&namespace, "pvc", "data", "{.metadata.uid}"), uid, "it is still there");
}
