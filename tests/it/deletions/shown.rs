//! What people see of a request: columns, conditions, events, and a line that works when pasted.

use crate::support::objects::{claim_approved, eventually, production_with};
use crate::support::requests::{asks, deletes_claim};
use crate::support::{denied, field, me, paste, succeeds, went};

#[test]
fn columns_say_what_a_request_waits_for() {
    let namespace = production_with("columns", &["data"]);
    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    let asked = asks(&me("alice"), &namespace, "data", &uid);
    let row = || {
        let table = succeeds("dave", &["get", "del", &asked.name]);
        let lines: Vec<String> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[0], "NAME TARGET PHASE SIGNOFFS REQUESTER WAITING FOR AGE");
        lines[1].replacen(&asked.name, "NAME", 1)
    };
    let begins = |text: &str| format!("NAME pvc/{namespace}/data {text} ");
    assert!(row().starts_with(&begins("Pending 0/1 alice sign-off by 1 person")), "{}", row());
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    assert!(row().starts_with(&begins("Executable 1/1 alice deletion by anybody who may")), "{}", row());
    deletes_claim(&me("eve"), &namespace, "data");
    asked.wait_phase("Executed");
    assert!(row().starts_with(&begins("Executed 1/1 alice")), "{}", row());
    let all = succeeds("dave", &["get", "foureyes", "-o=name"]);
    assert!(all.contains(&format!("deletionrequest.foureyes.dev/{}", asked.name)), "{all}");
    assert!(all.contains("signoff.foureyes.dev/") && all.contains("safetypolicy.foureyes.dev/default"), "{all}");
    succeeds("dave", &["get", "so,spol"]);
}

#[test]
fn conditions_can_be_waited_for() {
    let namespace = production_with("conditions", &["data"]);
    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    let asked = asks(&me("alice"), &namespace, "data", &uid);
    let condition = |kind: &str, key: &str| asked.field(&format!("{{.status.conditions[?(@.type=='{kind}')].{key}}}"));
    assert_eq!(condition("Approved", "status"), "False");
    assert_eq!(condition("Approved", "reason"), "WaitingForSignOff");
    assert_eq!(condition("InventoryCurrent", "reason"), "NotFrozen");
    let since = condition("Approved", "lastTransitionTime");
    asked.said(&me("bob"), "Approve");
    succeeds("alice", &["wait", &format!("del/{}", asked.name), "--for=condition=Approved", "--timeout=60s"]);
    assert_eq!(condition("Approved", "reason"), "SignedOff");
    assert_eq!(condition("Approved", "observedGeneration"), "1");
    assert_eq!(condition("InventoryCurrent", "reason"), "Current");
    assert!(condition("Approved", "lastTransitionTime") >= since);
    let hold = asked.said(&me("carol"), "Hold");
    asked.wait_field("{.status.conditions[?(@.type=='Approved')].status}", "False");
    assert_eq!(condition("Approved", "reason"), "OnHold");
    assert_eq!(asked.field("{.status.waitingFor}"), "the question of carol (hold)");
    me("carol").does(&["delete", "signoff", &hold]);
    asked.wait_phase("Executable");
}

#[test]
fn the_line_in_status_works_for_whoever_may_and_for_nobody_else() {
    let namespace = production_with("line", &["data"]);
    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    let asked = asks(&me("alice"), &namespace, "data", &uid);
    let line = asked.field("{.status.signOffCommand}");
    assert!(line.starts_with("echo '{") && line.ends_with("}' | kubectl create -f -"), "{line}");
    denied("RightMissing", &paste("eve", &line));
    denied("SelfApproval", &paste("alice", &line));
    denied("NotAPerson", &paste("admin", &line));
    assert_eq!(asked.statements(), "");
    went(&paste("bob", &line));
    asked.wait_phase("Executable");
    deletes_claim(&me("eve"), &namespace, "data");
    asked.wait_phase("Executed");
}

/// Whoever watches events needs nothing else to sign off.
#[test]
fn events_tell_each_step_and_the_line_in_the_first_one_works() {
    let namespace = production_with("events", &["data"]);
    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    let asked = asks(&me("alice"), &namespace, "data", &uid);
    let about = format!("DeletionRequest.foureyes.dev/{}", asked.name);
    let events = || succeeds("bob", &["events", "-n", "default", "--for", &about]);
    let mut told = String::new();
    eventually("the event with the line", || {
        told = events();
        told.contains("Pending")
    });
    let (_, line) = told.lines().find_map(|line| line.split_once("can sign it off with: ")).unwrap();
    went(&paste("bob", line.trim()));
    asked.wait_phase("Executable");
    eventually("the event of the release", || events().contains("Executable"));
    deletes_claim(&me("eve"), &namespace, "data");
    eventually("the event of the end", || events().contains(&format!("pvc/{namespace}/data is gone as signed off")));
}

/// A refusal names the request that stands in the way, and the line to sign it off with.
#[test]
fn the_refusal_of_what_was_asked_for_shows_the_line_too() {
    let namespace = production_with("refusal", &["data"]);
    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    let asked = asks(&me("alice"), &namespace, "data", &uid);
    let refusal = denied("SignOffMissing", &me("eve").kubectl(&["-n", &namespace, "delete", "pvc", "data"]));
    let line = refusal.lines().map(str::trim).find(|line| line.starts_with("echo '")).unwrap();
    assert_eq!(line, asked.field("{.status.signOffCommand}"));
    assert!(refusal.contains("0 of 1 sign-offs") && refusal.contains(&asked.name), "{refusal}");
    let other = production_with("refusal", &["data"]);
    claim_approved(&other, "data");
    went(&paste("bob", line));
    asked.wait_phase("Executable");
}
