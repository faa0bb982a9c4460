//! What a namespace's own policy asks for: shorter clocks, both terminal, and more people.

use foureyes_testbed::Output;
use serde_json::json;

use crate::support::objects::{claim_approved, production_with, tighten};
use crate::support::requests::{asks, delete_claim, deletes_claim, stays};
use crate::support::{acting, denied, field, me, succeeds, wait_gone};

/// The guard may still know the request that ended, or no longer.
#[track_caller]
fn ended(output: &Output) {
    let text = output.text();
    let said = text.contains("[RequestEnded]") || text.contains("[DeletionNotRequested]");
    assert!(!output.ok() && said, "{text}");
}

#[track_caller]
fn warned(name: &str, reason: &str) {
    let selector = format!("regarding.name={name},reason={reason}");
    let args = [
        "get",
        "events.v1.events.k8s.io",
        "-n",
        "default",
        "--field-selector",
        &selector,
        "-o=jsonpath={.items[*].type}",
    ];
    assert_eq!(succeeds("admin", &args), "Warning");
}

#[test]
fn what_is_not_used_in_time_is_never_used() {
    let namespace = production_with("unused", &["data"]);
    tighten(&namespace, &json!({"expiry": {"use": "8s"}}));
    let asked = claim_approved(&namespace, "data");
    assert!(asked.field("{.status.policies[*].name}").contains(&namespace));
    asked.wait_phase("Expired");
    ended(&delete_claim(&me("eve"), &namespace, "data"));
    asked.cannot_be(&me("bob"), "Approve", "RequestEnded");
    warned(&asked.name, "Expired");
    // another wish has clocks of its own
    let again = claim_approved(&namespace, "data");
    deletes_claim(&me("eve"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
    again.wait_phase("Executed");
    assert_eq!(asked.field("{.status.phase}"), "Expired");
}

#[test]
fn what_is_not_signed_off_in_time_is_never_signed_off() {
    let namespace = production_with("unsigned", &["data"]);
    tighten(&namespace, &json!({"expiry": {"approval": "4s"}}));
    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    let asked = asks(&me("alice"), &namespace, "data", &uid);
    asked.wait_phase("Expired");
    asked.cannot_be(&me("bob"), "Approve", "RequestEnded");
    ended(&delete_claim(&me("eve"), &namespace, "data"));
    assert_eq!(asked.field("{.status.signOffCommand}"), "");
    warned(&asked.name, "Expired");
    stays(&namespace, "data");
}

/// Shorter clocks reach requests that are open already; longer ones revive nothing.
#[test]
fn a_policy_that_comes_later_shortens_what_is_left() {
    let namespace = production_with("shortened", &["data"]);
    let asked = claim_approved(&namespace, "data");
    tighten(&namespace, &json!({"expiry": {"use": "1s"}}));
    asked.wait_phase("Expired");
    ended(&delete_claim(&me("eve"), &namespace, "data"));
    stays(&namespace, "data");
}

#[test]
fn where_two_people_must_sign_off_one_is_not_enough() {
    let namespace = production_with("two", &["data"]);
    tighten(&namespace, &json!({"approvals": {"min": 2}}));
    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    let asked = asks(&me("alice"), &namespace, "data", &uid);
    asked.wait_field("{.status.signOffs.text}", "0/2");
    asked.said(&me("bob"), "Approve");
    asked.wait_field("{.status.signOffs.text}", "1/2");
    asked.cannot_be(&me("bob"), "Approve", "AlreadySaid");
    for who in ["eve", "bob", "alice", "admin"] {
        denied("SignOffMissing", &delete_claim(&me(who), &namespace, "data"));
    }
    assert_eq!(asked.field("{.status.waitingFor}"), "sign-off by 1 person");
    stays(&namespace, "data");
    asked.said(&acting("frank", &["ops"]), "Approve");
    asked.wait_phase("Executable");
    assert_eq!(asked.field("{.status.signOffs.text}"), "2/2");
    deletes_claim(&me("eve"), &namespace, "data");
    asked.wait_phase("Executed");
}
