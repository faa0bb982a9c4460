//! What the other tests rest on: the cluster behaves like one.

use crate::support::{claim, exists, field, kubectl, me, non_production, production, succeeds, wait_gone};

#[test]
fn a_claim_binds_and_its_volume_goes_with_it() {
    let namespace = non_production("binding");
    claim(&namespace, "data");
    let volume = field(&namespace, "pvc", "data", "{.spec.volumeName}");
    succeeds("admin", &["-n", &namespace, "delete", "pvc", "data"]);
    wait_gone(&namespace, "pv", &volume);
}

#[test]
fn a_deployment_becomes_available() {
    let namespace = production("workload");
    me("alice").does_with_four_eyes(&["-n", &namespace, "create", "deployment", "web", "--image=example/web:1"]);
    succeeds("alice", &["-n", &namespace, "wait", "deployment/web", "--for=condition=Available", "--timeout=60s"]);
    assert!(exists(&namespace, "deployment", "web"));
}

#[test]
fn people_are_who_they_say_with_the_rights_of_the_story() {
    let namespace = production("rights");
    for (person, verb, object, may) in [
        ("alice", "delete", "persistentvolumeclaims", true),
        ("alice", "delete", "namespaces", false),
        ("eve", "delete", "persistentvolumeclaims", true),
        ("eve", "delete", "namespaces", true),
        ("eve", "update", "safetypolicies.foureyes.dev", false),
        ("dave", "delete", "persistentvolumeclaims", false),
        ("argocd", "delete", "persistentvolumeclaims", true),
        ("alice", "approve", "deletionrequests.foureyes.dev/signoff", true),
        ("bob", "approve", "deletionrequests.foureyes.dev/signoff", true),
        ("carol", "request", "deletionrequests.foureyes.dev/signoff", true),
        ("carol", "approve", "deletionrequests.foureyes.dev/signoff", false),
        ("eve", "request", "deletionrequests.foureyes.dev/signoff", false),
        ("eve", "approve", "deletionrequests.foureyes.dev/signoff", false),
    ] {
        let (object, subresource) = object.split_once('/').unwrap_or((object, ""));
        let subresource = format!("--subresource={subresource}");
        let answer = kubectl(person, &["-n", &namespace, "auth", "can-i", verb, object, &subresource]);
        assert_eq!(answer.stdout.trim() == "yes", may, "{person} {verb} {object} {subresource}");
    }
    // what would make any of them a controller, or the keeper of the keys
    for person in ["alice", "bob", "carol", "dave", "eve", "argocd"] {
        for namespace in ["kube-system", "foureyes-system"] {
            for (verb, object) in
                [("impersonate", "serviceaccounts"), ("create", "serviceaccounts/token"), ("get", "secrets")]
            {
                let answer = kubectl(person, &["-n", namespace, "auth", "can-i", verb, object]);
                assert_eq!(answer.stdout.trim(), "no", "{person} {verb} {object} in {namespace}");
            }
        }
    }
}
