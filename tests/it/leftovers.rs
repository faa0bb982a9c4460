//! Claims that land in a namespace between the review of its deletion and its commit (fact 12): they stay, and get a
//! request of their own, so that somebody looks at them and the namespace can end.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use foureyes_testbed::Output;
use serde_json::json;

use crate::support::objects::{LONG, claim_of, eventually, place_approved, production_with, within};
use crate::support::requests::{Asked, asked, delete_claim, stays};
use crate::support::{
    acting, decisions, denied, exists, field, me, production, storekeeper, succeeds, wait_gone, went,
};

const NAMESPACE_CONTROLLER: &str = "system:serviceaccount:kube-system:namespace-controller";

/// Another webhook for the deletion of one namespace, which accepts connections and never answers: the API server asks
/// it beside the guard, and waits.
pub struct SlowCommit {
    listener: TcpListener,
    name: String,
}

impl SlowCommit {
    pub fn of(namespace: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("slow-{namespace}");
        let url = format!("https://{}/", listener.local_addr().unwrap());
        me("admin").creates(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": "slow.example.com", "clientConfig": {"url": url}, "timeoutSeconds": 4,
                "failurePolicy": "Ignore", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "matchConditions": [{"name": "one", "expression": format!("oldObject.metadata.name == '{namespace}'")}],
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["namespaces"]}],
            }],
        }));
        Self { listener, name }
    }

    /// eve deletes the namespace, and `late` is created in between.
    #[track_caller]
    fn slip_in(&self, namespace: &str, late: &str) {
        self.meanwhile(namespace, || drop(me("admin").creates(&claim_of(namespace, late))));
    }

    /// eve deletes the namespace, and something is done after the guard has let it go and before it is going.
    #[track_caller]
    pub fn meanwhile(&self, namespace: &str, act: impl FnOnce()) {
        self.listener.set_nonblocking(true).unwrap();
        let mut held = None;
        let deletes = || {
            let namespace = namespace.to_owned();
            thread::spawn(move || me("eve").kubectl(&["delete", "namespace", &namespace, "--wait=false"]))
        };
        let mut deletion = deletes();
        eventually("the API server to wait for the slow one", || {
            held = held.take().or_else(|| self.listener.accept().ok());
            if held.is_none() && deletion.is_finished() {
                // the configuration has just been made, or the approval was not seen yet
                let early: Output = std::mem::replace(&mut deletion, deletes()).join().unwrap();
                assert!(!early.ok(), "the namespace went before the slow webhook was asked");
            }
            held.is_some()
        });
        eventually("the guard to have decided", || {
            let allowed = |line: &serde_json::Value| line["verdict"] == "allowed" && line["dry_run"] == false;
            decisions::by("eve", namespace, namespace).iter().any(allowed)
        });
        act();
        assert_eq!(field("", "namespace", namespace, "{.metadata.deletionTimestamp}"), "", "it went too early");
        went(&deletion.join().unwrap());
        assert_ne!(field("", "namespace", namespace, "{.metadata.deletionTimestamp}"), "");
    }
}

impl Drop for SlowCommit {
    fn drop(&mut self) {
        me("admin").kubectl(&["delete", "validatingwebhookconfiguration", &self.name]);
    }
}

/// The request that the controller opens for a claim.
#[track_caller]
fn opened_for(namespace: &str, claim: &str) -> Asked {
    let uid = field(namespace, "pvc", claim, "{.metadata.uid}");
    let selector = format!("--field-selector=spec.target.uid={uid}");
    let mut found = String::new();
    within(LONG, "a request for what was left", || {
        found = succeeds("admin", &["get", "del", &selector, "-o=jsonpath={.items[*].metadata.name}"]);
        !found.is_empty()
    });
    asked(&found)
}

#[test]
fn a_claim_that_slipped_in_stays_until_it_is_signed_off_too() {
    let namespace = production_with("slipped", &["data"]);
    let root = place_approved(&namespace);
    SlowCommit::of(&namespace).slip_in(&namespace, "late");
    root.wait_phase("Executing");
    // what was signed off goes, the other one not
    wait_gone(&namespace, "pvc", "data");
    within(LONG, "the namespace controller to be refused", || {
        decisions::by(NAMESPACE_CONTROLLER, &namespace, "late").iter().any(|line| line["verdict"] == "refused")
    });
    for who in [storekeeper(), me("admin")] {
        let output = delete_claim(&who, &namespace, "late");
        assert!(!output.ok(), "{}", output.text());
    }
    let left = opened_for(&namespace, "late");
    assert!(left.field("{.spec.reason}").contains(&root.name));
    assert_eq!(left.field("{.spec.requester.username}"), "system:serviceaccount:foureyes-system:foureyes-controller");
    left.wait_field("{.status.signOffs.text}", "0/2");
    let about = format!("regarding.name={},reason=Leftover", root.name);
    let events =
        ["get", "events.v1.events.k8s.io", "-n", "default", "--field-selector", &about, "-o=jsonpath={.items[*].note}"];
    eventually("the event", || succeeds("admin", &events).contains(&left.name));
    stays(&namespace, "late");

    // nobody asked for it, so one approval needs another person to delete
    left.said(&me("bob"), "Approve");
    left.wait_phase("Executable");
    denied("SecondPersonNeeded", &delete_claim(&me("admin"), &namespace, "late"));
    stays(&namespace, "late");
    went(&delete_claim(&storekeeper(), &namespace, "late"));
    within(LONG, "the namespace to end", || !exists("", "namespace", &namespace));
    left.wait_phase("Executed");
    root.wait_phase("Executed");
}

/// An empty namespace goes freely, what slips into it does not; with two sign-offs the namespace controller itself ends
/// what it began.
#[test]
fn what_slipped_into_an_empty_namespace_is_signed_off_by_two() {
    let namespace = production("slipped-empty");
    SlowCommit::of(&namespace).slip_in(&namespace, "late");
    let left = opened_for(&namespace, "late");
    assert!(left.field("{.spec.reason}").contains("without a request"));
    denied("SignOffMissing", &delete_claim(&storekeeper(), &namespace, "late"));
    stays(&namespace, "late");
    left.said(&me("bob"), "Approve");
    left.wait_field("{.status.signOffs.text}", "1/2");
    thread::sleep(Duration::from_secs(1));
    stays(&namespace, "late");
    left.said(&acting("frank", &["ops"]), "Approve");
    within(LONG, "the namespace to end", || !exists("", "namespace", &namespace));
    left.wait_phase("Executed");
}

/// I 4: a question that was asked before the namespace was going keeps its data, and the namespace does not wait for
/// ever: what stays is asked about anew.
#[test]
fn a_hold_between_the_review_and_the_commit_keeps_the_data() {
    let namespace = production_with("slipped-hold", &["data"]);
    let root = place_approved(&namespace);
    SlowCommit::of(&namespace).meanwhile(&namespace, || drop(root.said(&me("carol"), "Hold")));
    root.wait_phase("Cancelled");
    let left = opened_for(&namespace, "data");
    stays(&namespace, "data");
    let refused = decisions::by(NAMESPACE_CONTROLLER, &namespace, "data");
    assert!(!refused.is_empty() && refused.iter().all(|line| line["verdict"] == "refused"), "{refused:?}");
    left.said(&me("bob"), "Approve");
    left.said(&me("alice"), "Approve");
    within(LONG, "the namespace to end", || !exists("", "namespace", &namespace));
    left.wait_phase("Executed");
}

/// Whoever looks at it may also want it kept: the namespace waits, and the refusal is not asked about again and again.
#[test]
fn a_rejected_leftover_is_not_asked_about_again() {
    let namespace = production("slipped-rejected");
    SlowCommit::of(&namespace).slip_in(&namespace, "late");
    let left = opened_for(&namespace, "late");
    left.said(&me("bob"), "Reject");
    left.wait_phase("Rejected");
    // longer than the pause between two looks at a namespace that is going
    thread::sleep(Duration::from_secs(15));
    assert_eq!(opened_for(&namespace, "late").name, left.name);
    stays(&namespace, "late");
    // somebody may still ask for it
    let uid = field(&namespace, "pvc", "late", "{.metadata.uid}");
    let again = crate::support::requests::asks(&me("alice"), &namespace, "late", &uid);
    again.said(&me("bob"), "Approve");
    within(LONG, "the namespace to end", || !exists("", "namespace", &namespace));
    again.wait_phase("Executed");
}
