//! Who may ask, approve, reject, hold, cancel and withdraw, and what that does to the request and to the deletion.

mod annotation;
mod exported;
mod limits;
mod people;
mod typos;

use serde_json::json;

use crate::support::requests::{Asked, asks, delete_claim, deletes_claim, request, stays, target};
use crate::support::{
    claim, denied, denied_in_words, exists, field, me, paste, production, responder, succeeds, wait_gone, went,
};

/// A claim in a namespace of its own, for whose deletion alice asks.
fn asked_by_alice(prefix: &str) -> (String, Asked) {
    let namespace = production(prefix);
    let uid = claim(&namespace, "data");
    let asked = asks(&me("alice"), &namespace, "data", &uid);
    (namespace, asked)
}

#[test]
fn one_approval_by_another_person_lets_the_deletion_go() {
    let (namespace, asked) = asked_by_alice("approve");
    asked.wait_field("{.status.phase}", "Pending");
    denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
    stays(&namespace, "data");
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    assert_eq!(asked.field("{.status.signOffs.entries[0].author}"), "bob");
    deletes_claim(&me("eve"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
    asked.wait_phase("Executed");
}

#[test]
fn an_approval_names_what_its_author_looked_at() {
    let (namespace, asked) = asked_by_alice("digest");
    let mut without = asked.sign_off("Approve");
    without["spec"].as_object_mut().unwrap().remove("digest");
    denied_in_words("Approve needs spec.digest", &me("bob").create(&without, &[]));
    let mut stale = asked.sign_off("Approve");
    stale["spec"]["digest"] = json!(format!("subject/v1:sha256:{}", "0".repeat(64)));
    let refusal = me("bob").cannot_create("DigestStale", &stale);
    assert!(refusal.contains(&asked.digest), "the refusal shows no current digest:\n{refusal}");
    // the inventory's own digest is another encoding
    let mut inventory = asked.sign_off("Approve");
    inventory["spec"]["digest"] = json!(asked.field("{.status.inventory.digest}"));
    me("bob").cannot_create("DigestStale", &inventory);
    assert_eq!(asked.statements(), "");
    denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
}

#[test]
fn a_sign_off_is_about_one_request_by_its_uid() {
    let (_, asked) = asked_by_alice("subject");
    let (_, other) = asked_by_alice("subject");
    let mixed = Asked { uid: other.uid.clone(), ..asked.clone() };
    me("bob").cannot_create("SubjectUnknown", &mixed.sign_off("Approve"));
    let nothing = Asked { name: "nothing".to_owned(), ..asked.clone() };
    me("bob").cannot_create("SubjectUnknown", &nothing.sign_off("Hold"));
    // the digest of another request is not this one's
    let borrowed = Asked { digest: other.digest.clone(), ..asked.clone() };
    me("bob").cannot_create("DigestStale", &borrowed.sign_off("Approve"));
    let mut another_kind = asked.sign_off("Hold");
    another_kind["spec"]["subject"]["kind"] = json!("SafetyPolicy");
    denied_in_words("the subject of a sign-off is a DeletionRequest", &me("bob").create(&another_kind, &[]));
    assert_eq!(asked.statements(), "");
}

#[test]
fn a_request_is_about_one_object_by_its_uid() {
    let namespace = production("target");
    let uid = claim(&namespace, "data");
    let nobody = "11111111-1111-1111-1111-111111111111";
    let alice = me("alice");
    alice.cannot_create("SubjectUnknown", &request(&namespace, &target(&namespace, "data", nobody)));
    alice.cannot_create("SubjectUnknown", &request(&namespace, &target(&namespace, "other", &uid)));
    let place = json!({"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": uid});
    alice.cannot_create("SubjectUnknown", &request(&namespace, &place));
    let place_uid = field("", "namespace", &namespace, "{.metadata.uid}");
    let place = json!({"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": place_uid});
    let created = alice.creates(&request(&namespace, &place));
    assert_eq!(created["spec"]["target"]["uid"], place_uid);
}

#[test]
fn a_reject_ends_the_request_and_stays() {
    let (namespace, asked) = asked_by_alice("reject");
    asked.cannot_be(&me("eve"), "Reject", "RightMissing");
    asked.cannot_be(&me("carol"), "Reject", "RightMissing");
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    let reject = asked.said(&me("bob"), "Reject");
    // read live, so from this moment on, whatever the phase says
    let refused = delete_claim(&me("eve"), &namespace, "data");
    assert!(refused.text().contains("[RequestEnded]") || refused.text().contains("[DeletionNotRequested]"));
    asked.wait_phase("Rejected");
    asked.cannot_be(&me("bob"), "Approve", "RequestEnded");
    asked.cannot_be(&me("alice"), "Cancel", "RequestEnded");
    me("bob").cannot("RequestEnded", &["delete", "signoff", &reject]);
    // whoever asks next learns of it
    let refusal = denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "data"));
    let (_, shows) = refusal.split_once(&format!("bob rejected DeletionRequest {} about it: ", asked.name)).unwrap();
    assert!(went(&paste("alice", shows.lines().next().unwrap())).contains("phase: Rejected"));
    stays(&namespace, "data");
}

#[test]
fn a_hold_blocks_until_its_author_withdraws_it() {
    let (namespace, asked) = asked_by_alice("hold");
    asked.cannot_be(&me("eve"), "Hold", "RightMissing");
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    // whoever may request may ask a question
    let hold = asked.said(&me("carol"), "Hold");
    denied("OnHold", &delete_claim(&me("eve"), &namespace, "data"));
    asked.wait_phase("Approved");
    for other in ["alice", "bob", "eve", "admin", "argocd"] {
        me(other).cannot("StatementNotYours", &["delete", "signoff", &hold]);
    }
    denied("OnHold", &delete_claim(&me("eve"), &namespace, "data"));
    stays(&namespace, "data");
    me("carol").does(&["delete", "signoff", &hold]);
    asked.wait_phase("Executable");
    deletes_claim(&me("eve"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
}

#[test]
fn only_its_requester_cancels_a_request() {
    let (namespace, asked) = asked_by_alice("cancel");
    for other in ["bob", "carol", "eve", "admin", "argocd"] {
        asked.cannot_be(&me(other), "Cancel", "StatementNotYours");
    }
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    let cancel = asked.said(&me("alice"), "Cancel");
    asked.wait_phase("Cancelled");
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "data"));
    me("alice").cannot("RequestEnded", &["delete", "signoff", &cancel]);
    stays(&namespace, "data");
}

#[test]
fn only_its_author_withdraws_an_approval_and_then_it_counts_no_more() {
    let (namespace, asked) = asked_by_alice("withdraw");
    let approval = asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    let one = format!("/apis/foureyes.dev/v1alpha1/signoffs/{approval}");
    let all = format!("/apis/foureyes.dev/v1alpha1/signoffs?fieldSelector=spec.subject.uid%3D{}", asked.uid);
    for other in ["alice", "carol", "eve", "admin"] {
        me(other).cannot("StatementNotYours", &["delete", "--raw", &one]);
        me(other).cannot("StatementNotYours", &["delete", "signoff", &approval, "--dry-run=server"]);
    }
    me("admin").cannot("StatementNotYours", &["delete", "--raw", &all]);
    responder().cannot("StatementNotYours", &["delete", "signoff", &approval]);
    assert!(exists("", "signoff", &approval));
    me("bob").does(&["delete", "signoff", &approval]);
    denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
    asked.wait_phase("Pending");
    stays(&namespace, "data");
    // the inventory stays frozen; the same person may look again
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
}

#[test]
fn a_withdrawal_counts_at_once_whatever_the_collector_still_has_to_do() {
    let (namespace, asked) = asked_by_alice("kept");
    let mut approval = asked.sign_off("Approve");
    approval["metadata"]["finalizers"] = json!(["example.com/keep"]);
    me("bob").cannot_create("Immutable", &approval);
    for cascade in ["--cascade=foreground", "--cascade=orphan"] {
        let approval = asked.said(&me("bob"), "Approve");
        asked.wait_phase("Executable");
        me("bob").does(&["delete", "signoff", &approval, cascade, "--wait=false"]);
        denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
        asked.wait_phase("Pending");
    }
    stays(&namespace, "data");
}

#[test]
fn a_request_is_taken_back_by_its_requester_and_cleared_by_whoever_has_a_right_there() {
    let (namespace, asked) = asked_by_alice("take-back");
    for other in ["bob", "carol", "eve", "admin"] {
        me(other).cannot("StatementNotYours", &["delete", "deletionrequest", &asked.name]);
    }
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    me("alice").does(&["delete", "deletionrequest", &asked.name]);
    assert!(!exists("", "deletionrequest", &asked.name));
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "data"));
    stays(&namespace, "data");

    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    let ended = asks(&me("alice"), &namespace, "data", &uid);
    ended.said(&me("alice"), "Cancel");
    ended.wait_phase("Cancelled");
    me("eve").cannot("RightMissing", &["delete", "deletionrequest", &ended.name]);
    assert!(exists("", "deletionrequest", &ended.name));
    me("carol").does(&["delete", "deletionrequest", &ended.name]);
    assert_eq!(succeeds("admin", &["get", "deletionrequest", &ended.name, "--ignore-not-found", "-o=name"]), "");
}

#[test]
fn a_request_that_was_taken_back_lets_nothing_go_whatever_the_collector_still_has_to_do() {
    let namespace = production("kept-request");
    let uid = claim(&namespace, "data");
    let mut wish = request(&namespace, &target(&namespace, "data", &uid));
    wish["metadata"]["finalizers"] = json!(["example.com/keep"]);
    me("alice").cannot_create("Immutable", &wish);
    for cascade in ["--cascade=foreground", "--cascade=orphan"] {
        let asked = asks(&me("alice"), &namespace, "data", &uid);
        asked.said(&me("bob"), "Approve");
        asked.wait_phase("Executable");
        me("alice").does(&["delete", "deletionrequest", &asked.name, cascade, "--wait=false"]);
        let refused = delete_claim(&me("eve"), &namespace, "data");
        assert!(!refused.ok(), "{}", refused.text());
    }
    stays(&namespace, "data");
}

/// Whoever signs off reads these words in a terminal.
#[test]
fn words_hide_and_move_nothing() {
    let (namespace, asked) = asked_by_alice("words");
    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    let mut objects = vec![(request(&namespace, &target(&namespace, "data", &uid)), "reason")];
    objects.push((objects[0].0.clone(), "ticket"));
    objects.extend(["comment", "verified"].map(|field| (asked.sign_off("Hold"), field)));
    for (mut object, field) in objects {
        for hiding in
            ['\u{1b}', '\u{85}', '\u{9b}', '\u{200b}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{202e}', '\u{feff}']
        {
            object["spec"][field] = json!(format!("keep{hiding}this"));
            let output = me("bob").create(&object, &["--dry-run=server"]);
            denied_in_words(&format!("spec.{field} in body should match"), &output);
        }
        object["spec"][field] = json!("Größe: 5 €\n\tデータ می\u{200c}خواهم 👩\u{200d}💻");
        went(&me("bob").create(&object, &["--dry-run=server"]));
    }
}
