//! Owners whose claims would be collected after them: refused at the root, and never left armed.

use serde_json::{Value, json};

use super::{Of, admin, machine};
use crate::support::kinds::define;
use crate::support::objects::{claim_approved, claim_of, eventually, production_with, stateful_set};
use crate::support::requests::stays;
use crate::support::{denied, me, non_production, production, went};

const SET: Of = Of { api_version: "apps/v1", kind: "StatefulSet", word: "statefulsets.apps" };
const CLUSTER: Of = Of { api_version: "postgresql.cnpg.io/v1", kind: "Cluster", word: "clusters.postgresql.cnpg.io" };
const APPLICATION: Of = Of { api_version: "argoproj.io/v1", kind: "Application", word: "applications.argoproj.io" };
const MACHINE: Of = Of { api_version: "kubevirt.io/v1", kind: "VirtualMachine", word: "virtualmachines.kubevirt.io" };

/// A claim that names an object as its owner from birth.
fn owned(namespace: &str, name: &str, owner: Of, by: &str, controls: bool) {
    let mut claim = claim_of(namespace, name);
    let uid = owner.field(namespace, by, "{.metadata.uid}");
    claim["metadata"]["ownerReferences"] =
        json!([{"apiVersion": owner.api_version, "kind": owner.kind, "name": by, "uid": uid, "controller": controls}]);
    crate::support::objects::bound(&claim);
}

#[test]
fn a_stateful_set_keeps_its_claims() {
    let namespace = production("retention");
    let (keeps, takes) =
        (stateful_set(&namespace, 1, "standard", false), stateful_set(&namespace, 1, "standard", true));
    let refusal = denied("KeptForLess", &me("eve").create(&takes, &[]));
    assert!(refusal.contains("persistentVolumeClaimRetentionPolicy.whenDeleted"), "{refusal}");
    // Argo CD is told the same
    let argocd = machine("argocd", "application-controller");
    denied("KeptForLess", &argocd.create(&takes, &[]));
    admin().creates_with_four_eyes(&keeps);
    for when in ["whenDeleted", "whenScaled"] {
        let policy = json!({"spec": {"persistentVolumeClaimRetentionPolicy": {when: "Delete"}}});
        denied("KeptForLess", &SET.patch(&me("eve"), &namespace, "db", &policy, &[]));
        denied("KeptForLess", &SET.patch(&argocd, &namespace, "db", &policy, &["--dry-run=server"]));
    }
    went(&SET.patch(&me("eve"), &namespace, "db", &json!({"spec": {"replicas": 2}}), &[]));
    let playground = non_production("retention");
    went(&me("eve").create(&stateful_set(&playground, 1, "standard", true), &[]));
}

#[test]
fn a_database_goes_once_its_claims_may() {
    let namespace = production("database");
    define("postgresql.cnpg.io", "Cluster", "clusters", &namespace);
    for name in ["shop", "empty"] {
        me("eve").creates(&CLUSTER.object(&namespace, name, &json!({"instances": 2})));
    }
    owned(&namespace, "shop-1", CLUSTER, "shop", true);
    // not as its controller, and collected all the same
    owned(&namespace, "shop-2", CLUSTER, "shop", false);
    let refused = |who: &crate::support::Who| {
        let refusal = denied("ClaimsCollected", &CLUSTER.delete(who, &namespace, "shop", &[]));
        assert!(refusal.contains("DeletionRequest"), "{refusal}");
        refusal
    };
    eventually("the claims to be known", || {
        refused(&me("eve")).contains(&format!("pvc/{namespace}/shop-1, pvc/{namespace}/shop-2"))
    });
    refused(&machine("argocd", "application-controller"));
    denied("ClaimsCollected", &CLUSTER.delete(&me("eve"), &namespace, "--all", &["--dry-run=server"]));
    went(&CLUSTER.delete(&me("eve"), &namespace, "empty", &[]));
    claim_approved(&namespace, "shop-1");
    eventually("only the other to be left", || !refused(&me("eve")).contains("shop-1"));
    claim_approved(&namespace, "shop-2");
    eventually("its deletion to be allowed", || CLUSTER.delete(&me("eve"), &namespace, "shop", &[]).ok());
    for claim in ["shop-1", "shop-2"] {
        eventually("the collector to take the claims", || !crate::support::exists(&namespace, "pvc", claim));
    }
}

#[test]
fn an_application_that_cascades_takes_no_claims_along() {
    let namespace = production_with("cascading", &["data"]);
    define("argoproj.io", "Application", "applications", &namespace);
    let resources = json!([{"version": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": "data"}]);
    let application = |name: &str, finalizers: Value| {
        let mut object = APPLICATION.object(&namespace, name, &json!({"project": "default"}));
        object["metadata"]["finalizers"] = finalizers;
        object["status"] = json!({"resources": resources});
        object
    };
    me("eve").creates(&application("cascades", json!(["resources-finalizer.argocd.argoproj.io"])));
    me("eve").creates(&application("leaves", json!([])));
    let refusal = denied("ClaimsCollected", &APPLICATION.delete(&me("eve"), &namespace, "cascades", &[]));
    assert!(refusal.contains(&format!("pvc/{namespace}/data")), "{refusal}");
    went(&APPLICATION.delete(&me("eve"), &namespace, "leaves", &[]));
    assert_eq!(APPLICATION.field(&namespace, "cascades", "{.metadata.deletionTimestamp}"), "");
    stays(&namespace, "data");
}

#[test]
fn a_virtual_machine_takes_no_disks_along() {
    let namespace = production_with("machines", &["root-disk"]);
    define("kubevirt.io", "VirtualMachine", "virtualmachines", &namespace);
    let disk = json!({"dataVolumeTemplates": [{"metadata": {"name": "root-disk"}, "spec": {}}]});
    me("eve").creates(&MACHINE.object(&namespace, "vm", &disk));
    me("eve").creates(&MACHINE.object(&namespace, "diskless", &json!({})));
    denied("ClaimsCollected", &MACHINE.delete(&me("eve"), &namespace, "vm", &[]));
    went(&MACHINE.delete(&me("eve"), &namespace, "diskless", &[]));
    claim_approved(&namespace, "root-disk");
    eventually("its deletion to be allowed", || {
        MACHINE.delete(&me("eve"), &namespace, "vm", &["--dry-run=server"]).ok()
    });
}
