//! Owners of claims: a claim is collected with its owner, so nobody but its StatefulSet or a delegated operator gets to
//! be one (bypass 17; fact 17).

use foureyes_testbed::Output;
use serde_json::json;

use crate::support::floor::add_to_floor;
use crate::support::objects::within;
use crate::support::requests::{delete_claim, stays};
use crate::support::spelling::{self, OF_CLAIMS, Spelling, owned_by};
use crate::support::{PATIENCE, account, claim, denied, denied_in_words, field, me, production, went};

#[test]
fn nobody_gives_a_claim_an_owner_in_any_spelling() {
    let place = production("owner");
    claim(&place, "data");
    let object = spelling::claim(&place, "data");
    for owner in [owned_by("v1", "ConfigMap"), owned_by("apps/v1", "StatefulSet"), owned_by("v1", "Pod")] {
        for spelling in OF_CLAIMS {
            denied("OwnerAdded", &object.change(&me("admin"), *spelling, &owner, &[]));
            assert_eq!(object.metadata().get("ownerReferences"), None, "{spelling:?}");
        }
        for person in ["alice", "eve", "argocd"] {
            denied("OwnerAdded", &object.change(&me(person), Spelling::Merge, &owner, &[]));
            denied("OwnerAdded", &object.change(&me(person), Spelling::Json, &owner, &["--dry-run=server"]));
        }
    }
    // the StatefulSet controller gives its own, and no other
    let controller = account("kube-system", "statefulset-controller");
    denied("OwnerAdded", &object.change(&controller, Spelling::Put, &owned_by("v1", "ConfigMap"), &[]));
    denied("OwnerAdded", &object.change(&controller, Spelling::Put, &owned_by("batch/v1", "Job"), &[]));
    went(&object.change(&controller, Spelling::Put, &owned_by("apps/v1", "StatefulSet"), &["--dry-run=server"]));
    let job = account("kube-system", "job-controller");
    let output = object.change(&job, Spelling::Put, &owned_by("apps/v1", "StatefulSet"), &[]);
    assert!(!output.ok(), "{}", output.text());
    stays(&place, "data");
}

#[test]
fn an_owner_from_birth_becomes_no_other() {
    let place = production("owner-changed");
    me("admin").does(&["-n", &place, "create", "configmap", "owner"]);
    let uid = field(&place, "configmap", "owner", "{.metadata.uid}");
    let owner = |api_version: &str, kind: &str, name: &str, controller: bool| {
        json!({"metadata": {"ownerReferences": [{
            "apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": controller,
        }]}})
    };
    let mut born = owner("v1", "ConfigMap", "owner", false);
    born["metadata"]["name"] = json!("web-data");
    born["metadata"]["namespace"] = json!(place);
    born["apiVersion"] = json!("v1");
    born["kind"] = json!("PersistentVolumeClaim");
    born["spec"] = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    me("alice").creates(&born);
    // the volume controller writes annotations while it binds
    within(PATIENCE, "the claim to be bound", || field(&place, "pvc", "web-data", "{.status.phase}") == "Bound");
    let object = spelling::claim(&place, "web-data");
    let before = object.metadata();
    // an owner of that kind and name does not exist, so that the claim would be collected; or it would pass for the
    // volume of a pod, which goes with it freely
    for changed in [
        owner("v1", "ConfigMap", "another", false),
        owner("v1", "Secret", "owner", false),
        owner("v1", "Pod", "web", true),
        owner("v1", "ConfigMap", "owner", true),
        owner("apps/v1", "ConfigMap", "owner", false),
    ] {
        let refused = |output: &Output| {
            // a pod after which the claim is named is refused by the API server itself, before the guard is asked
            let of_pod = changed["metadata"]["ownerReferences"][0]["kind"] == "Pod";
            if of_pod { denied_in_words("foureyes-ephemeral-claims", output) } else { denied("OwnerAdded", output) }
        };
        for person in ["admin", "eve"] {
            for spelling in [Spelling::Merge, Spelling::Json, Spelling::Put] {
                refused(&object.change(&me(person), spelling, &changed, &[]));
            }
        }
        for spelling in [Spelling::StatusMerge, Spelling::StatusPut] {
            refused(&object.change(&me("admin"), spelling, &changed, &[]));
        }
    }
    assert_eq!(object.metadata(), before);
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &place, "web-data"));
    // taking it off saves the claim
    went(&object.change(&me("eve"), Spelling::Merge, &json!({"metadata": {"ownerReferences": null}}), &[]));
}

#[test]
fn an_operator_owns_the_claims_of_its_kind_by_delegation() {
    let place = production("delegated");
    claim(&place, "data");
    let object = spelling::claim(&place, "data");
    let edit = ["-n", &place, "create", "rolebinding", "operators", "--clusterrole=edit"];
    let accounts: Vec<String> = ["operator", "other"].map(|name| format!("--serviceaccount={place}:{name}")).to_vec();
    let accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
    me("admin").does(&[&edit[..], &accounts].concat());
    add_to_floor(
        "/delegations",
        &json!({"serviceAccount": {"namespace": place, "name": "operator"},
                "ownerKind": {"group": "example.com", "kind": "Database"}, "may": ["DeleteClaims"]}),
    );
    let operator = account(&place, "operator");
    let own = owned_by("example.com/v1", "Database");
    let dry = ["--dry-run=server"];
    let mut last = String::new();
    let waited = foureyes_testbed::wait_until("the delegation to be in force", PATIENCE, || {
        let output = object.change(&operator, Spelling::Merge, &own, &dry);
        last = output.text();
        output.ok()
    });
    assert!(waited.is_ok(), "{last}");
    for who in [account(&place, "other"), account("default", "operator"), me("admin"), me("eve")] {
        let output = object.change(&who, Spelling::Merge, &own, &dry);
        assert!(!output.ok(), "{}", output.text());
    }
    denied("OwnerAdded", &object.change(&operator, Spelling::Merge, &owned_by("example.com/v1", "Cache"), &dry));
    denied("OwnerAdded", &object.change(&operator, Spelling::Merge, &owned_by("v1", "Database"), &dry));
    assert_eq!(object.metadata().get("ownerReferences"), None);
    stays(&place, "data");
}
