//! What the controller makes of changes and of what runs, on the real control plane: by the workloads' own controllers,
//! with the shipped permissions and definitions.

use serde_json::Value;

use crate::support::changes::line;
use crate::support::objects::{enter_production, eventually, names, web};
use crate::support::{Who, field, me, non_production, paste, production, responder, succeeds, went};

/// What the record of the Deployment says, newest first: how, and the outcome.
fn entries(namespace: &str) -> String {
    let path = "-o=jsonpath={range .items[?(@.spec.workload.namespace==\"NAMESPACE\")].status.entries[*]}{.how} {.outcome};{end}";
    succeeds("admin", &["get", "rolloutrecords", &path.replace("NAMESPACE", namespace)])
}

#[track_caller]
fn becomes(namespace: &str, expected: &str) {
    let mut last = String::new();
    eventually(&format!("the record to say {expected}"), || {
        let now = entries(namespace);
        if now != last {
            println!("{namespace}: {now}");
            last = now;
        }
        last == expected
    });
}

#[track_caller]
fn phase(namespace: &str, change: &str, expected: &str) {
    eventually(&format!("{change} to be {expected}"), || {
        field(namespace, "changerequest", change, "{.status.phase}") == expected
    });
}

#[track_caller]
fn signs_off(person: &str, namespace: &str, change: &str) {
    let mut line = String::new();
    eventually("the ready line to sign it off", || {
        line = field(namespace, "changerequest", change, "{.status.signOffCommand}");
        !line.is_empty()
    });
    went(&paste(person, &line));
}

/// Somebody asks with the line of a refusal; the change's name.
#[track_caller]
fn asks(person: &str, namespace: &str, refusal: &str) -> String {
    let before = names(namespace, "changerequests");
    went(&paste(person, line(refusal).0));
    let mut now = names(namespace, "changerequests");
    now.retain(|name| !before.contains(name));
    assert_eq!(now.len(), 1, "{now:?}");
    now.remove(0)
}

#[track_caller]
fn refused(who: &Who, object: &Value) -> String {
    let output = who.kubectl_with(&["apply", "-f", "-"], Some(object));
    assert!(!output.ok(), "not refused:\n{}", output.text());
    output.text()
}

#[test]
fn from_a_refusal_to_a_record_of_who_let_it_run_and_back_again() {
    let namespace = production("recorded");
    let (eve, one, two) = (me("eve"), web(&namespace, 1), web(&namespace, 2));
    let mut changes = Vec::new();
    for version in [&one, &two] {
        let change = asks("alice", &namespace, &refused(&eve, version));
        phase(&namespace, &change, "Pending");
        signs_off("bob", &namespace, &change);
        phase(&namespace, &change, "Approved");
        went(&eve.kubectl_with(&["apply", "-f", "-"], Some(version)));
        phase(&namespace, &change, "Succeeded");
        changes.push(change);
    }
    becomes(&namespace, "Change Seen;Change Seen;");
    let applied = |path: &str| field(&namespace, "changerequest", &changes[1], path);
    assert_eq!(applied("{.status.targets[0].appliedBy}"), "field manager kubectl-client-side-apply");
    assert!(applied("{.status.targets[0].previousDigest}").starts_with("template/v1:sha256:"));
    // What ran before runs again on the word of then.
    eve.does(&["-n", &namespace, "rollout", "undo", "deployment/web"]);
    becomes(&namespace, "Rollback Seen;Change Seen;Change Seen;");
    eve.does(&["-n", &namespace, "rollout", "restart", "deployment/web"]);
    eve.does(&["-n", &namespace, "scale", "deployment/web", "--replicas=2"]);
    eventually("the second pod", || field(&namespace, "deployment", "web", "{.status.availableReplicas}") == "2");
    assert_eq!(entries(&namespace), "Rollback Seen;Change Seen;Change Seen;");
    assert_eq!(names(&namespace, "changerequests").len(), 2);
}

#[test]
fn break_glass_leaves_one_bill_and_two_people_adopt_what_runs() {
    let namespace = production("glass");
    went(&responder().kubectl_with(&["create", "-f", "-"], Some(&web(&namespace, 1))));
    becomes(&namespace, "Unauthorised Seen;");
    eventually("the bill", || !names(&namespace, "changerequests").is_empty());
    let bill = names(&namespace, "changerequests").remove(0);
    assert_eq!(field(&namespace, "changerequest", &bill, "{.spec.type}"), "Unauthorized");
    signs_off("bob", &namespace, &bill);
    signs_off("alice", &namespace, &bill);
    phase(&namespace, &bill, "Succeeded");
    becomes(&namespace, "Change Seen;Unauthorised Seen;");
    assert_eq!(names(&namespace, "changerequests"), [bill.as_str()]);
    let owed = field(&namespace, "changerequest", &bill, "{.status.conditions[?(@.type==\"ReviewOwed\")].status}");
    assert_eq!(owed, "True");
}

#[test]
fn what_ran_when_its_namespace_became_production_is_listed_and_opens_nothing() {
    let namespace = non_production("grown");
    me("admin").creates(&web(&namespace, 1));
    eventually("its pod", || field(&namespace, "deployment", "web", "{.status.availableReplicas}") == "1");
    assert_eq!(entries(&namespace), "");
    enter_production(&namespace);
    becomes(&namespace, "Unreviewed Seen;");
    me("eve").does(&["-n", &namespace, "rollout", "restart", "deployment/web"]);
    eventually("the restart", || {
        field(&namespace, "deployment", "web", "{.spec.template.metadata.annotations}").contains("restartedAt")
            && field(&namespace, "deployment", "web", "{.status.observedGeneration}") == "2"
    });
    assert_eq!(entries(&namespace), "Unreviewed Seen;");
    assert!(names(&namespace, "changerequests").is_empty());
}
