//! Claims whose deletion needs nobody: exempt by the policy `default`, or delegated to an operator. And owners: what
//! the collector would take along stays (bypass 17), also for a StatefulSet that says so (bypass 18).

use std::sync::Once;

use foureyes_testbed::Output;
use serde_json::{Value, json};

use crate::support::exempt::{DISPOSABLE, LABEL, disposable_claim, disposable_volume};
use crate::support::floor::add_to_floor;
use crate::support::objects::{
    bound, claim_approved, claim_of, enter_production, eventually, names, pod, stateful_set,
};
use crate::support::requests::{delete_claim, stays};
use crate::support::spelling::{self, Spelling};
use crate::support::{
    Who, account, decisions, denied, denied_in_words, field, me, non_production, production, wait_gone, went,
};

const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";

#[test]
fn exempt_storage_goes_freely_and_other_storage_does_not() {
    let namespace = production("exempt");
    let scratch = disposable_claim(&namespace, "scratch");
    let mut labelled = claim_of(&namespace, "labelled");
    labelled["metadata"]["labels"] = json!({LABEL.0: LABEL.1});
    let mut otherwise = claim_of(&namespace, "otherwise");
    otherwise["metadata"]["labels"] = json!({LABEL.0: "precious", "data": "disposable"});
    for claim in [&scratch, &labelled, &otherwise] {
        bound(claim);
    }
    let collection = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims?fieldSelector=metadata.name%3D");
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "otherwise"));
    went(&delete_claim(&me("argocd"), &namespace, "scratch"));
    went(&me("eve").kubectl(&["delete", "--raw", &format!("{collection}labelled")]));
    wait_gone(&namespace, "pvc", "scratch");
    wait_gone(&namespace, "pvc", "labelled");
    // nobody makes it exempt later, nor plants a label that a later policy could make an exemption of
    me("eve").cannot("ExemptionAdded", &["-n", &namespace, "label", "pvc", "otherwise", "foureyes.dev/later=yes"]);
    let label = format!("{}={}", LABEL.0, LABEL.1);
    me("eve").cannot("ExemptionAdded", &["-n", &namespace, "label", "pvc", "otherwise", &label, "--overwrite"]);
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "otherwise"));
    stays(&namespace, "otherwise");
}

/// A claim that goes with its pod is no data, so whoever could make one look so, under the name that a StatefulSet's
/// claim will have, could delete the data in it alone (bypass 19).
#[test]
fn only_its_controller_makes_a_claim_that_goes_with_its_pod() {
    for namespace in [production("lookalike"), non_production("lookalike")] {
        let mut never = pod(&namespace, "data", &[]);
        never["spec"]["nodeSelector"] = json!({"nowhere": "yes"});
        let uid = me("eve").creates(&never)["metadata"]["uid"].clone();
        let owner = |name: &str, controller: bool| json!([{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid, "controller": controller}]);
        let born = |name: &str, owners: Value| {
            let mut claim = claim_of(&namespace, name);
            claim["metadata"]["ownerReferences"] = owners;
            claim
        };
        for who in ["eve", "admin", "argocd"] {
            let output = me(who).create(&born("data-pay-0", owner("data", true)), &[]);
            denied_in_words("foureyes-ephemeral-claims", &output);
            let mut generated = born("", owner("data", true));
            generated["metadata"] =
                json!({"namespace": namespace, "generateName": "data-", "ownerReferences": owner("data", true)});
            denied_in_words("foureyes-ephemeral-claims", &me(who).create(&generated, &[]));
        }
        // owned, but not as its controller: that is data like any other
        me("eve").creates(&born("data-pay-1", owner("data", false)));
        let object = spelling::claim(&namespace, "data-pay-1");
        let controlled = json!({"metadata": {"ownerReferences": owner("data", true)}});
        for spelling in [Spelling::Merge, Spelling::Json, Spelling::Put, Spelling::ServerApply] {
            let output = object.change(&me("eve"), spelling, &controlled, &[]);
            assert!(!output.ok(), "{spelling:?}: {}", output.text());
        }
        assert_eq!(field(&namespace, "pvc", "data-pay-1", "{.metadata.ownerReferences[0].controller}"), "false");
    }
}

static OPERATOR: Once = Once::new();

/// The kind of an operator, and the delegation to its ServiceAccount `operators/database`.
fn operator() -> Who {
    OPERATOR.call_once(|| {
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        for (plural, kind) in [("databases", "Database"), ("caches", "Cache")] {
            let crd = json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.operator.example.com")},
                "spec": {"group": "operator.example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
                         "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]},
            });
            me("admin").creates(&crd);
        }
        let crds = ["databases", "caches"].map(|plural| format!("crd/{plural}.operator.example.com"));
        me("admin").does(&["wait", &crds[0], &crds[1], "--for=condition=Established", "--timeout=60s"]);
        add_to_floor("/delegations", &json!({
            "serviceAccount": {"namespace": "operators", "name": "database"},
            "ownerKind": {"group": "operator.example.com", "kind": "Database"},
            "may": ["DeleteClaims"],
        }));
        let group = "--group=system:serviceaccounts:operators";
        me("admin").does(&["create", "clusterrolebinding", "operators", "--clusterrole=edit", group]);
    });
    account("operators", "database")
}

/// An object of the operator's API group; an owner reference to it.
fn custom(namespace: &str, kind: &str, name: &str, controller: bool) -> Value {
    let created = me("admin").creates(&json!({
        "apiVersion": "operator.example.com/v1", "kind": kind, "metadata": {"namespace": namespace, "name": name},
    }));
    owner(&created, controller)
}

fn owner(object: &Value, controller: bool) -> Value {
    json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"],
           "uid": object["metadata"]["uid"], "controller": controller})
}

fn owned(namespace: &str, name: &str, owner: &Value) {
    let mut claim = claim_of(namespace, name);
    claim["metadata"]["ownerReferences"] = json!([owner]);
    bound(&claim);
}

#[test]
fn an_operator_deletes_the_claims_of_its_own_kind_and_no_others() {
    let operator = operator();
    let namespace = production("operator");
    owned(&namespace, "own", &custom(&namespace, "Database", "pg", true));
    owned(&namespace, "used", &custom(&namespace, "Database", "user", false));
    owned(&namespace, "cache", &custom(&namespace, "Cache", "redis", true));
    bound(&claim_of(&namespace, "free"));
    let delete = |who: &Who, name: &str| -> Output { delete_claim(who, &namespace, name) };
    for other in [me("eve"), me("admin"), account("operators", "cache"), account("others", "database")] {
        let refused = delete(&other, "own");
        assert!(!refused.ok(), "{}", refused.text());
    }
    denied("DeletionNotRequested", &delete(&account("operators", "cache"), "own"));
    for name in ["used", "cache", "free"] {
        denied("DeletionNotRequested", &delete(&operator, name));
    }
    stays(&namespace, "own");
    eventually("the delegation to be known", || delete(&operator, "own").ok());
    wait_gone(&namespace, "pvc", "own");
    for name in ["used", "cache", "free"] {
        denied("DeletionNotRequested", &delete(&operator, name));
        stays(&namespace, name);
    }
}

/// The collector is asked nothing of by anybody: what it deletes because an owner is gone needs two people as well.
#[track_caller]
fn refused_to_the_collector(namespace: &str, claim: &str) {
    eventually("the collector to be refused", || {
        decisions::by(COLLECTOR, namespace, claim).iter().any(|line| line["verdict"] == "refused")
    });
    stays(namespace, claim);
}

#[test]
fn a_claim_stays_when_its_owner_is_deleted_and_goes_when_that_is_signed_off() {
    operator();
    let namespace = production("collected");
    let settings =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": "owner"}});
    let created = me("admin").creates(&settings);
    owned(&namespace, "data", &owner(&created, false));
    owned(&namespace, "pg-data", &custom(&namespace, "Database", "pg", true));
    me("alice").does(&["-n", &namespace, "delete", "configmap", "owner"]);
    me("admin").does(&["-n", &namespace, "delete", "databases.operator.example.com", "pg", "--cascade=background"]);
    refused_to_the_collector(&namespace, "data");
    refused_to_the_collector(&namespace, "pg-data");
    // signed off it may go, and the collector is still at it
    let asked = claim_approved(&namespace, "data");
    crate::support::objects::within(crate::support::objects::LONG, "the collector to try again", || {
        names(&namespace, "pvc") == ["pg-data"]
    });
    asked.wait_phase("Executed");
    stays(&namespace, "pg-data");
}

/// A foreground deletion waits for what blocks it, and takes no claim along.
#[test]
fn a_claim_that_blocks_the_deletion_of_its_owner_stays() {
    let namespace = production("blocking");
    let settings =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": "owner"}});
    let created = me("admin").creates(&settings);
    let mut blocking = owner(&created, true);
    blocking["blockOwnerDeletion"] = json!(true);
    owned(&namespace, "data", &blocking);
    me("alice").does(&["-n", &namespace, "delete", "configmap", "owner", "--cascade=foreground", "--wait=false"]);
    refused_to_the_collector(&namespace, "data");
    assert_eq!(names(&namespace, "pvc"), ["data"]);
}

fn ready(namespace: &str, replicas: &str) {
    eventually("the replicas", || {
        let count = field(namespace, "statefulset", "db", "{.status.readyReplicas}/{.status.replicas}");
        count == format!("{replicas}/{replicas}")
    });
}

/// Fact 17 and bypass 18: pods scale as they should, and the data stays where it is.
#[test]
fn a_stateful_set_that_deletes_its_claims_scales_and_they_stay() {
    let namespace = non_production("retention");
    me("admin").creates(&stateful_set(&namespace, 2, "kwok-volume", true));
    ready(&namespace, "2");
    enter_production(&namespace);
    let uid = field(&namespace, "pvc", "data-db-1", "{.metadata.uid}");
    me("alice").does(&["-n", &namespace, "scale", "statefulset", "db", "--replicas=1"]);
    ready(&namespace, "1");
    refused_to_the_collector(&namespace, "data-db-1");
    // its controller makes no pod for a claim that is to be collected: whoever wants the data back says so first
    let keep = r#"{"metadata":{"ownerReferences":null}}"#;
    me("alice").does(&["-n", &namespace, "patch", "pvc", "data-db-1", "--type=merge", "-p", keep]);
    me("alice").does(&["-n", &namespace, "scale", "statefulset", "db", "--replicas=2"]);
    ready(&namespace, "2");
    assert_eq!(field(&namespace, "pvc", "data-db-1", "{.metadata.uid}"), uid);
    // with it they would be collected, so that it stays, too
    me("alice").cannot("ClaimsCollected", &["-n", &namespace, "delete", "statefulset", "db"]);
    ready(&namespace, "2");
}

#[test]
fn on_exempt_storage_a_stateful_set_takes_its_claims_along() {
    let namespace = production("retention-exempt");
    for claim in ["data-db-0", "data-db-1"] {
        disposable_volume(&namespace, claim);
    }
    me("admin").creates_with_four_eyes(&stateful_set(&namespace, 2, DISPOSABLE, true));
    ready(&namespace, "2");
    me("alice").does(&["-n", &namespace, "scale", "statefulset", "db", "--replicas=1"]);
    wait_gone(&namespace, "pvc", "data-db-1");
    ready(&namespace, "1");
    stays(&namespace, "data-db-0");
    me("alice").does(&["-n", &namespace, "delete", "statefulset", "db"]);
    wait_gone(&namespace, "pvc", "data-db-0");
    let mut decided = decisions::about(&namespace);
    // what was asked for when it was created
    decided.retain(|line| line["operation"] != "CREATE");
    assert!(decided.iter().all(|line| line["verdict"] == "allowed"), "{decided:?}");
}
