//! What exempts a claim it is born with; what protects it is not taken off by people.

use serde_json::{Value, json};

use crate::support::exempt::{LABEL, disposable};
use crate::support::requests::{delete_claim, stays};
use crate::support::spelling::{self, OF_CLAIMS, OF_NAMESPACES, Spelling, namespace};
use crate::support::{PATIENCE, claim, denied, exists, field, me, non_production, production, wait_gone, went};

fn manifest(namespace: &str, name: &str, metadata: &Value) -> Value {
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    spelling::merge(&mut claim["metadata"], metadata);
    claim
}

fn bound(namespace: &str, name: &str) {
    foureyes_testbed::wait_until("the claim to be bound", PATIENCE, || {
        field(namespace, "pvc", name, "{.status.phase}") == "Bound"
    })
    .unwrap();
}

#[test]
fn a_label_that_exempts_is_there_from_birth_or_never() {
    disposable();
    let place = production("scratch");
    claim(&place, "data");
    let object = spelling::claim(&place, "data");
    let label = json!({"metadata": {"labels": {LABEL.0: LABEL.1}}});
    for spelling in OF_CLAIMS {
        denied("ExemptionAdded", &object.change(&me("admin"), *spelling, &label, &[]));
        assert_eq!(object.metadata().get("labels"), None, "{spelling:?}");
    }
    for person in ["alice", "eve", "argocd"] {
        denied("ExemptionAdded", &object.change(&me(person), Spelling::Merge, &label, &[]));
    }
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &place, "data"));
    stays(&place, "data");
    // other labels are free, as is leaving the exemption
    let other = json!({"metadata": {"labels": {"team": "a"}}});
    went(&object.change(&me("eve"), Spelling::Merge, &other, &[]));

    me("eve").creates(&manifest(&place, "born", &label["metadata"]));
    bound(&place, "born");
    went(&delete_claim(&me("eve"), &place, "born"));
    wait_gone(&place, "pvc", "born");
    me("eve").creates(&manifest(&place, "reformed", &label["metadata"]));
    bound(&place, "reformed");
    let reformed = spelling::claim(&place, "reformed");
    went(&reformed.change(&me("eve"), Spelling::Merge, &json!({"metadata": {"labels": {LABEL.0: null}}}), &[]));
    denied("ExemptionAdded", &reformed.change(&me("eve"), Spelling::Merge, &label, &[]));
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &place, "reformed"));
}

#[test]
fn people_take_no_finalizer_off_a_claim() {
    let place = production("finalizers");
    let keep = json!({"finalizers": ["kubernetes.io/pvc-protection", "example.com/keep"]});
    me("admin").creates(&manifest(&place, "data", &keep));
    bound(&place, "data");
    let object = spelling::claim(&place, "data");
    let off = json!({"metadata": {"finalizers": ["kubernetes.io/pvc-protection"]}});
    let listed = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/keep"]}});
    for (spelling, patch) in [
        (Spelling::Merge, &off),
        (Spelling::Json, &off),
        (Spelling::Strategic, &listed),
        (Spelling::Put, &off),
        (Spelling::StatusMerge, &off),
        (Spelling::StatusPut, &off),
    ] {
        denied("FinalizerRemoved", &object.change(&me("admin"), spelling, patch, &[]));
        assert_eq!(object.metadata()["finalizers"], keep["finalizers"], "{spelling:?}");
    }
    for person in ["alice", "eve"] {
        denied("FinalizerRemoved", &object.change(&me(person), Spelling::Merge, &off, &[]));
    }
    // protection while a pod uses it ends by itself and keeps no data; a controller takes off its own
    let protection = json!({"metadata": {"finalizers": ["example.com/keep"]}});
    went(&object.change(&me("eve"), Spelling::Merge, &protection, &["--dry-run=server"]));
    went(&object.change(&me("argocd"), Spelling::Merge, &off, &[]));
    assert_eq!(object.metadata()["finalizers"], off["metadata"]["finalizers"]);
    // more is free
    went(&object.change(&me("eve"), Spelling::Merge, &json!({"metadata": keep}), &[]));
}

#[test]
fn a_namespace_is_finalized_by_its_controller_alone() {
    let place = production("finalize");
    claim(&place, "data");
    let object = namespace(&place);
    let emptied = json!({"spec": {"finalizers": []}});
    for who in [me("admin"), crate::support::account("kube-system", "generic-garbage-collector")] {
        let output = object.change(&who, Spelling::FinalizePut, &emptied, &[]);
        if output.text().contains("cannot update") {
            continue;
        }
        denied("FinalizerRemoved", &output);
    }
    assert_eq!(object.live()["spec"]["finalizers"], json!(["kubernetes"]));
    stays(&place, "data");
    let free = non_production("finalize-free");
    went(&namespace(&free).change(&me("admin"), Spelling::FinalizePut, &emptied, &[]));
}

#[test]
fn people_give_a_namespace_no_owner() {
    let place = production("owned");
    let object = namespace(&place);
    for spelling in OF_NAMESPACES {
        let output = object.change(&me("admin"), *spelling, &spelling::owned_by("v1", "Node"), &[]);
        denied("OwnerAdded", &output);
        assert_eq!(object.metadata().get("ownerReferences"), None, "{spelling:?}");
    }
    assert!(exists("", "namespace", &place));
}
