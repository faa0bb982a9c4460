//! Many claims at a time (bypass 13, fact 13): each is judged for itself.

use serde_json::json;

use crate::support::objects::{bound, claim_approved, claim_of, eventually, production_with};
use crate::support::requests::stays;
use crate::support::{denied, exists, me, production, wait_gone, went};

#[test]
fn of_a_collection_what_was_signed_off_goes_and_the_rest_stays() {
    let namespace = production_with("collection", &["a", "b", "c", "d"]);
    for claim in ["a", "b", "d"] {
        claim_approved(&namespace, claim);
    }
    // one call of the API: it ends at the first refusal, and what went before is gone
    let all = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims");
    denied("DeletionNotRequested", &me("eve").kubectl(&["delete", "--raw", &all]));
    stays(&namespace, "c");
    wait_gone(&namespace, "pvc", "a");
    wait_gone(&namespace, "pvc", "b");
    // kubectl's own way: a call for each
    denied("DeletionNotRequested", &me("eve").kubectl(&["-n", &namespace, "delete", "pvc", "--all", "--wait=false"]));
    wait_gone(&namespace, "pvc", "d");
    stays(&namespace, "c");
}

/// Fact 20: a field selector names an object without naming it.
#[test]
fn a_selector_reaches_what_was_signed_off_alone() {
    let namespace = production("selector");
    for (name, set) in [("a", "old"), ("b", "old"), ("c", "new")] {
        let mut claim = claim_of(&namespace, name);
        claim["metadata"]["labels"] = json!({"set": set});
        bound(&claim);
    }
    let all = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims");
    let raw = |selector: &str| me("eve").kubectl(&["delete", "--raw", &format!("{all}?{selector}")]);
    claim_approved(&namespace, "a");
    denied("DeletionNotRequested", &raw("fieldSelector=metadata.name%3Dc"));
    denied("DeletionNotRequested", &raw("fieldSelector=metadata.name%3Dc&dryRun=All"));
    denied("DeletionNotRequested", &raw("labelSelector=set%3Dnew"));
    stays(&namespace, "c");
    eventually("the approved one to go", || raw("fieldSelector=metadata.name%3Da").ok());
    wait_gone(&namespace, "pvc", "a");
    let kubectl = |selector: &str| me("eve").kubectl(&["-n", &namespace, "delete", "pvc", "--wait=false", selector]);
    denied("DeletionNotRequested", &kubectl("-lset=old"));
    stays(&namespace, "b");
    claim_approved(&namespace, "b");
    eventually("the approved one to go", || kubectl("-lset=old").ok());
    wait_gone(&namespace, "pvc", "b");
    denied("DeletionNotRequested", &kubectl("--field-selector=metadata.namespace!=nowhere"));
    stays(&namespace, "c");
}

/// An empty collection deletes nothing, so nothing refuses it.
#[test]
fn a_collection_of_nothing_is_nothing() {
    let namespace = production_with("nothing", &["data"]);
    let none = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims?labelSelector=set%3Dnone");
    went(&me("eve").kubectl(&["delete", "--raw", &none]));
    assert!(exists(&namespace, "pvc", "data"));
}
