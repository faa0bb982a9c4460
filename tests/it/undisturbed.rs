//! What runs by itself goes on, and the guard is not even asked: each test counts what it decided about its namespace.

use serde_json::{Value, json};

use crate::support::objects::{bound, claim_of, eventually, names, pod, stateful_set, within};
use crate::support::requests::{delete_claim, stays};
use crate::support::spelling::{self, Spelling};
use crate::support::{decisions, denied, denied_in_words, exists, field, me, production, succeeds, wait_gone, went};

/// The guard decided nothing about this namespace until now. A deletion that it refuses comes last, to see that it
/// would have been logged.
#[track_caller]
fn asked_nothing(namespace: &str) {
    let asked = asked_of(namespace);
    assert!(asked.is_empty(), "the guard was asked: {asked:#?}");
}

#[track_caller]
fn asked_of(namespace: &str) -> Vec<Value> {
    if !exists(namespace, "pvc", "sentinel") {
        me("admin").creates(&claim_of(namespace, "sentinel"));
    }
    denied("DeletionNotRequested", &delete_claim(&me("eve"), namespace, "sentinel"));
    decisions::but_those_of("eve", namespace, 1)
}

#[test]
fn claims_are_provisioned_bound_labelled_and_used() {
    let namespace = production("use");
    bound(&claim_of(&namespace, "data"));
    me("alice").creates(&pod(&namespace, "user", &["data"]));
    eventually("the pod to run", || field(&namespace, "pod", "user", "{.status.phase}") == "Running");
    let object = spelling::claim(&namespace, "data");
    let tools = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"},
                                    "annotations": {"argocd.argoproj.io/tracking-id": "a"}}});
    for spelling in [Spelling::Merge, Spelling::Put, Spelling::Apply, Spelling::ServerApply] {
        went(&object.change(&me("argocd"), spelling, &tools, &[]));
    }
    let declared = serde_json::to_string(&claim_of(&namespace, "another")).unwrap();
    for _ in 0..2 {
        crate::support::succeeds_with("argocd", &["apply", "--server-side", "-f", "-"], &declared);
    }
    me("alice").does(&["-n", &namespace, "delete", "pod", "user"]);
    wait_gone(&namespace, "pod", "user");
    stays(&namespace, "data");
    asked_nothing(&namespace);
}

#[test]
fn a_stateful_set_is_scaled_restarted_and_deleted_and_keeps_its_claims() {
    let namespace = production("scaling");
    me("alice").creates_with_four_eyes(&stateful_set(&namespace, 1, "kwok-volume", false));
    let ready = |count: &str| {
        eventually("the replicas", || {
            let path = "{.status.readyReplicas}/{.status.updatedReplicas}/{.status.replicas}";
            field(&namespace, "statefulset", "db", path) == format!("{count}/{count}/{count}")
        });
    };
    ready("1");
    for count in ["3", "1"] {
        me("alice").does(&["-n", &namespace, "scale", "statefulset", "db", &format!("--replicas={count}")]);
        ready(count);
    }
    me("alice").does(&["-n", &namespace, "rollout", "restart", "statefulset", "db"]);
    me("alice").does(&["-n", &namespace, "rollout", "status", "statefulset", "db", "--timeout=60s"]);
    me("alice").does(&["-n", &namespace, "delete", "statefulset", "db", "--cascade=foreground", "--timeout=60s"]);
    assert_eq!(names(&namespace, "pvc"), ["data-db-0", "data-db-1", "data-db-2"]);
    asked_of_people_alone(&namespace, "statefulsets", &["CREATE Confirmed", "UPDATE Unchanged", "DELETE"]);
}

/// The guard was asked what people do with a workload that they may do, in this order, and about nothing that follows
/// from it.
#[track_caller]
fn asked_of_people_alone(namespace: &str, resource: &str, expected: &[&str]) {
    let mut asked = asked_of(namespace);
    asked.retain(|line| !["changerequests", "signoffs"].contains(&line["resource"].as_str().unwrap()));
    assert!(asked.iter().all(|line| line["resource"] == resource && line["user"] == "alice"), "{asked:#?}");
    asked.retain(|line| line["verdict"] == "allowed");
    asked.sort_by_key(|line| line["timestamp"].to_string());
    let mut did: Vec<String> = asked
        .iter()
        .map(|line| match line["operation"].as_str().unwrap() {
            // only warned about, unless a policy says otherwise
            "DELETE" => "DELETE".to_owned(),
            operation => format!("{operation} {}", line["code"].as_str().unwrap()),
        })
        .collect();
    // where a controller wrote in between, the API server asks again
    did.dedup();
    assert_eq!(did, expected, "{asked:#?}");
}

fn job(namespace: &str, name: &str, volume: &Value, ttl: Option<u32>) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"ttlSecondsAfterFinished": ttl, "template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "c", "image": "example/job:1",
                            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}],
            "volumes": [volume],
        }}},
    })
}

fn ephemeral() -> Value {
    json!({"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }}}})
}

/// Bypass 19: generic ephemeral claims are meant to go with their pod, whatever takes the pod away.
#[test]
fn jobs_take_their_ephemeral_claims_along() {
    let namespace = production("jobs");
    for (name, ttl) in [("kept", None), ("ttl", Some(1))] {
        me("alice").creates(&job(&namespace, name, &ephemeral(), ttl));
    }
    wait_gone(&namespace, "job", "ttl");
    let done = ["-n", &namespace, "wait", "job/kept", "--for=condition=Complete", "--timeout=60s"];
    me("alice").does(&done);
    eventually("one claim to be left", || names(&namespace, "pvc").len() == 1);
    let claim = names(&namespace, "pvc")[0].clone();
    assert!(claim.starts_with("kept-") && claim.ends_with("-scratch"), "{claim}");
    me("alice").does(&["-n", &namespace, "delete", "job", "kept", "--cascade=foreground", "--timeout=60s"]);
    wait_gone(&namespace, "pvc", &claim);
    // a bare pod, and a person who deletes its claim
    let mut bare = pod(&namespace, "bare", &[]);
    bare["spec"]["volumes"] = json!([ephemeral()]);
    me("alice").creates(&bare);
    eventually("its claim to be bound", || {
        exists(&namespace, "pvc", "bare-scratch")
            && field(&namespace, "pvc", "bare-scratch", "{.status.phase}") == "Bound"
    });
    went(&delete_claim(&me("alice"), &namespace, "bare-scratch"));
    me("alice").does(&["-n", &namespace, "delete", "pod", "bare"]);
    wait_gone(&namespace, "pvc", "bare-scratch");
    asked_nothing(&namespace);
}

/// What looks like a pod's claim and is none: its name is not the pod's, or it was given the owner later.
#[test]
fn a_claim_that_a_pod_merely_owns_is_data() {
    let namespace = production("not-ephemeral");
    let created = me("admin").creates(&pod(&namespace, "web", &[]));
    let mut owned = claim_of(&namespace, "data-web");
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Pod", "name": "web", "controller": true,
                                                   "uid": created["metadata"]["uid"]}]);
    bound(&owned);
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "data-web"));
    bound(&claim_of(&namespace, "web-data"));
    let adopt = json!({"metadata": {"ownerReferences": owned["metadata"]["ownerReferences"]}});
    let object = spelling::claim(&namespace, "web-data");
    for who in ["eve", "argocd"] {
        denied_in_words("foureyes-ephemeral-claims", &object.change(&me(who), Spelling::Merge, &adopt, &[]));
    }
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "web-data"));
    stays(&namespace, "web-data");
    stays(&namespace, "data-web");
}

#[test]
fn deployments_are_restarted_scaled_and_deleted_in_the_foreground() {
    let namespace = production("rollout");
    let does = |args: &[&str]| me("alice").does(&[&["-n", &namespace], args].concat());
    let together = |args: &[&str]| me("alice").does_with_four_eyes(&[&["-n", &namespace], args].concat());
    together(&["create", "deployment", "web", "--image=example/web:1", "--replicas=2"]);
    does(&["rollout", "status", "deployment", "web", "--timeout=60s"]);
    does(&["rollout", "restart", "deployment", "web"]);
    does(&["rollout", "status", "deployment", "web", "--timeout=60s"]);
    together(&["set", "image", "deployment/web", "web=example/web:2"]);
    does(&["rollout", "undo", "deployment", "web"]);
    does(&["scale", "deployment", "web", "--replicas=1"]);
    does(&["delete", "deployment", "web", "--cascade=foreground", "--timeout=60s"]);
    assert_eq!(names(&namespace, "replicasets,pods"), [] as [String; 0]);
    let asked = ["CREATE Confirmed", "UPDATE Unchanged", "UPDATE Confirmed", "UPDATE Recorded", "DELETE"];
    asked_of_people_alone(&namespace, "deployments", &asked);
}

/// A finished CI run: everything in it goes with its namespace, and the guard is asked about the root alone.
#[test]
fn a_ci_namespace_without_data_comes_and_goes() {
    let namespace = production("ci");
    me("argocd").creates(&job(&namespace, "tests", &ephemeral(), None));
    me("argocd").does(&["-n", &namespace, "create", "configmap", "results", "--from-literal=a=b"]);
    me("argocd").does(&["-n", &namespace, "wait", "job/tests", "--for=condition=Complete", "--timeout=60s"]);
    assert_eq!(names(&namespace, "pvc").len(), 1);
    succeeds("eve", &["delete", "namespace", &namespace, "--wait=false"]);
    within(crate::support::objects::LONG, "the namespace to be gone", || !exists("", "namespace", &namespace));
    let decided = decisions::about(&namespace);
    assert_eq!(decided.len(), 1, "{decided:#?}");
    assert_eq!((&decided[0]["user"], &decided[0]["verdict"]), (&json!("eve"), &json!("allowed")));
}

/// Other labels and annotations of a namespace are everybody's; only labels that policies may select by are looked at.
#[test]
fn annotating_a_namespace_asks_nobody() {
    let namespace = production("noted");
    me("admin").does(&["annotate", "namespace", &namespace, "note=a"]);
    asked_nothing(&namespace);
    me("admin").does(&["label", "namespace", &namespace, "team=a"]);
    let asked = asked_of(&namespace);
    assert_eq!(asked.len(), 1, "{asked:#?}");
    assert_eq!(asked[0]["verdict"], "allowed");
}
