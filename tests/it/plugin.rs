//! kubectl-foureyes on the real control plane: from asking to the record, by people with nothing else.

use serde_json::json;

use crate::support::objects::{eventually, web};
use crate::support::requests::delete_claim;
use crate::support::{claim, denied, field, me, production, went};

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
