//! Between the sign-off and the deletion: what still runs is named and waited for, and the data is kept before it may go.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::objects::{
    bound, claim_approved, claim_of, enter_production, eventually, names, outlived, place_asked, pod, production_with,
    stateful_set, web, within,
};
use crate::support::requests::{asks, delete_claim, deletes_claim};
use crate::support::{denied, field, me, non_production, wait_gone};

/// The quiet period of these clusters.
const QUIET: Duration = Duration::from_secs(10);

fn policy_of(volume: &str) -> String {
    field("", "pv", volume, "{.spec.persistentVolumeReclaimPolicy}")
}

#[test]
fn a_claim_in_use_goes_when_it_has_been_out_of_use_for_a_while() {
    let namespace = production_with("in-use", &["data"]);
    me("admin").creates(&pod(&namespace, "user", &["data"]));
    eventually("the pod to run", || field(&namespace, "pod", "user", "{.status.phase}") == "Running");
    let volume = field(&namespace, "pvc", "data", "{.spec.volumeName}");
    assert_eq!(policy_of(&volume), "Delete");
    let asked = asks(&me("alice"), &namespace, "data", &field(&namespace, "pvc", "data", "{.metadata.uid}"));
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Quiescing");
    asked.wait_field("{.status.waitingFor}", "the end of pod user");
    asked.wait_field("{.status.conditions[?(@.type=='Quiet')].reason}", "InUse");
    // it is kept from the sign-off on, and what it was is on record
    asked.wait_field("{.status.conditions[?(@.type=='DataKept')].status}", "True");
    assert_eq!(policy_of(&volume), "Retain");
    assert_eq!(asked.field("{.status.protections[0].before}"), "Delete");
    let refusal = denied("NotYetExecutable", &delete_claim(&me("eve"), &namespace, "data"));
    assert!(refusal.contains("is signed off, but pod user still runs"), "{refusal}");

    me("alice").does(&["-n", &namespace, "delete", "pod", "user", "--wait=false"]);
    wait_gone(&namespace, "pod", "user");
    let ended = Instant::now();
    asked.wait_field("{.status.waitingFor}", "it to stay unused for 10s");
    let refusal = denied("NotYetExecutable", &delete_claim(&me("eve"), &namespace, "data"));
    assert!(refusal.contains("must stay unused for about") && refusal.contains("(of 10s)"), "{refusal}");
    asked.wait_phase("Executable");
    assert!(ended.elapsed() > QUIET.saturating_sub(Duration::from_secs(3)), "{:?}", ended.elapsed());

    // who starts again starts the wait again
    me("admin").creates(&pod(&namespace, "again", &["data"]));
    asked.wait_phase("Quiescing");
    denied("NotYetExecutable", &delete_claim(&me("eve"), &namespace, "data"));
    me("alice").does(&["-n", &namespace, "delete", "pod", "again", "--wait=false"]);
    asked.wait_phase("Executable");
    deletes_claim(&me("eve"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
    asked.wait_phase("Executed");
    outlived(&volume, &asked);
    let note = field("", "pv", &volume, r"{.metadata.annotations.foureyes\.dev/kept-claim}");
    assert!(note.contains(&format!(r#""namespace":"{namespace}","name":"data""#)), "{note}");
}

#[test]
fn a_namespace_goes_once_nothing_runs_in_it() {
    let namespace = non_production("shut-down");
    bound(&claim_of(&namespace, "reports"));
    me("admin").creates(&stateful_set(&namespace, 2, "standard", false));
    enter_production(&namespace);
    eventually("the pods to be there", || names(&namespace, "pods").len() == 2);
    let asked = place_asked(&namespace);
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Quiescing");
    asked.wait_field("{.status.quiet.runningTotal}", "2");
    let refusal = denied("NotYetExecutable", &me("eve").kubectl(&["delete", "namespace", &namespace, "--wait=false"]));
    assert!(refusal.contains("pods db-0, db-1 still run"), "{refusal}");
    me("alice").does(&["-n", &namespace, "scale", "statefulset/db", "--replicas=0"]);
    asked.wait_phase("Executable");
    assert!(names(&namespace, "pods").is_empty());
    assert_eq!(asked.field("{.status.quiet.running}"), "");
}

#[test]
fn what_was_never_used_and_what_has_long_been_idle_has_nothing_to_wait_for() {
    let namespace = production_with("idle", &["never", "idle"]);
    me("admin").creates(&pod(&namespace, "user", &["idle"]));
    eventually("the pod to run", || field(&namespace, "pod", "user", "{.status.phase}") == "Running");
    me("alice").does(&["-n", &namespace, "delete", "pod", "user"]);
    let request = |claim: &str| {
        let asked = asks(&me("alice"), &namespace, claim, &field(&namespace, "pvc", claim, "{.metadata.uid}"));
        asked.said(&me("bob"), "Approve");
        (asked, Instant::now())
    };
    let (never, since) = request("never");
    never.wait_phase("Executable");
    assert!(since.elapsed() < QUIET, "{:?}", since.elapsed());
    std::thread::sleep(QUIET + Duration::from_secs(2));
    let (idle, since) = request("idle");
    idle.wait_phase("Executable");
    assert!(since.elapsed() < QUIET, "{:?}", since.elapsed());
}

/// Fact 15.
#[test]
fn what_was_changed_for_a_deletion_that_did_not_come_is_put_back() {
    let namespace = production_with("put-back", &["data"]);
    let volume = field(&namespace, "pvc", "data", "{.spec.volumeName}");
    let asked = claim_approved(&namespace, "data");
    assert_eq!(policy_of(&volume), "Retain");
    asked.said(&me("alice"), "Cancel");
    asked.wait_phase("Cancelled");
    assert_eq!(policy_of(&volume), "Retain", "a deletion that was let pass may still come");
    within(Duration::from_secs(200), "the volume to be as it was", || policy_of(&volume) == "Delete");
    asked.wait_field("{.status.protections[0].settled}", "true");
}

/// Pods that no claim's request waits for, and a workload that nobody scales down, are left alone.
#[test]
fn what_uses_something_else_is_not_waited_for() {
    let namespace = non_production("elsewhere");
    bound(&claim_of(&namespace, "data"));
    me("admin").creates(&web(&namespace, 1));
    enter_production(&namespace);
    eventually("the pod to run", || !names(&namespace, "pods").is_empty());
    let asked = claim_approved(&namespace, "data");
    assert_eq!(asked.field("{.status.quiet.runningTotal}"), "");
    let patch = json!({"spec": {"deletion": {"quietPeriod": "1s"}}}).to_string();
    denied("PolicyLoosened", &me("admin").kubectl(&["patch", "safetypolicy", "default", "--type=merge", "-p", &patch]));
}
