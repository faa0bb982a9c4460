//! Volumes that are kept from their first binding on, and what holds them when their claims go without a request.

use std::collections::BTreeMap;

use foureyes_core::api::BackupRetention;
use foureyes_core::domain::inventory::Claim;
use foureyes_core::domain::kept_always::{BoundVolume, is_kept_always};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{at, labels, policies, uid};

const DAY: i64 = 24 * 3600;

/// A volume of the claim shop/data as the API server has it.
fn volume(phase: &str, policy: &str, noted: Option<&str>) -> BoundVolume {
    let note = noted.map(|uid| json!({"metadata": {"uid": uid}}).to_string());
    let volume = json!({
        "metadata": {"name": "pv-1", "uid": uid(1), "annotations": {"foureyes.dev/kept-claim": note}},
        "spec": {"persistentVolumeReclaimPolicy": policy,
                 "claimRef": {"namespace": "shop", "name": "data", "uid": uid(2)}},
        "status": {"phase": phase, "lastPhaseTransitionTime": at(0).to_string()},
    });
    let mut volume = volume;
    if note.is_none() {
        volume["metadata"].as_object_mut().unwrap().remove("annotations");
    }
    BoundVolume::of(&serde_json::from_value(volume).unwrap()).unwrap()
}

#[rstest]
#[case("Bound", "Delete", None, true, false)]
#[case("Bound", "Retain", None, true, false)]
#[case("Bound", "Retain", Some(2), false, false)]
#[case("Bound", "Retain", Some(3), true, false)]
#[case("Bound", "Delete", Some(2), true, false)]
#[case("Released", "Retain", Some(2), false, true)]
#[case("Released", "Retain", Some(3), false, false)]
#[case("Released", "Retain", None, false, false)]
#[case("Released", "Delete", Some(2), false, false)]
#[case("Available", "Retain", Some(2), false, false)]
fn all_that_is_known_stands_in_the_volume(
    #[case] phase: &str,
    #[case] policy: &str,
    #[case] noted: Option<u128>,
    #[case] unkept: bool,
    #[case] left: bool,
) {
    let noted = noted.map(uid);
    let volume = volume(phase, policy, noted.as_deref());
    assert_eq!((volume.is_unkept(), volume.is_left()), (unkept, left));
    assert_eq!(volume.was_kept(), unkept && noted == Some(uid(2)), "somebody changed it");
}

#[test]
fn a_volume_without_a_claim_is_nothing() {
    assert_eq!(
        BoundVolume::of(&serde_json::from_value(json!({"metadata": {"name": "pv"}, "spec": {}})).unwrap()),
        None
    );
}

#[rstest]
#[case(json!({"keepVolumes": "Always"}), &[], "standard", true)]
#[case(json!({"keepVolumes": "OnApproval"}), &[], "standard", false)]
#[case(json!({}), &[], "standard", false)]
#[case(json!({"keepVolumes": "Always"}), &[("foureyes.dev/environment", "non-production")], "standard", false)]
#[case(json!({"keepVolumes": "Always", "exempt": {"storageClasses": ["scratch"]}}), &[], "scratch", false)]
#[case(json!({"keepVolumes": "Always", "exempt": {"storageClasses": ["scratch"]}}), &[], "standard", true)]
fn what_is_kept_always(
    #[case] deletion: Value,
    #[case] namespace: &[(&str, &str)],
    #[case] class: &str,
    #[case] kept: bool,
) {
    let set = policies(&[("default", json!({"deletion": deletion}))]);
    let claim = Claim { storage_class: Some(class.into()), ..crate::support::claim(1) };
    assert_eq!(is_kept_always(&set, true, &labels(namespace), &claim), kept);
    assert!(!is_kept_always(&set, false, &labels(namespace), &claim), "before the first start");
    assert_eq!(set.keeps_always_somewhere(), deletion["keepVolumes"] == "Always");
}

#[test]
fn where_deletions_are_not_looked_at_nothing_is_changed() {
    let spec = json!({"enforcement": {"deletions": "Off"}, "deletion": {"keepVolumes": "Always"}});
    assert!(!is_kept_always(&policies(&[("default", spec)]), true, &BTreeMap::new(), &crate::support::claim(1)));
}

/// A retention of volume 1 that stands for the deletion of this target.
fn retention(target: &Value) -> BackupRetention {
    serde_json::from_value(json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "BackupRetention", "metadata": {"name": "r"},
        "spec": {"source": {"target": target, "deletedAt": at(0).to_string()}, "retainDays": 30,
                 "keepers": [{"kind": "PersistentVolume", "name": "pv-1", "uid": uid(1)}],
                 "mode": "Governance", "afterwards": "Keep"},
    }))
    .unwrap()
}

fn claim_target(number: u128) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "data", "uid": uid(number)})
}

fn place_target(number: u128) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "name": "shop", "uid": uid(number)})
}

#[rstest]
#[case::same_claim(claim_target(2), None, true)]
#[case::same_claim_in_its_namespace(claim_target(2), Some(9), true)]
#[case::an_earlier_claim_of_the_volume(claim_target(7), None, false)]
#[case::its_namespace(place_target(8), None, true)]
#[case::its_namespace_while_it_is_there(place_target(8), Some(8), true)]
#[case::an_earlier_namespace(place_target(8), Some(9), false)]
fn what_is_held_already(#[case] target: Value, #[case] place: Option<u128>, #[case] held: bool) {
    let place = place.map(uid);
    let left = volume("Released", "Retain", Some(&uid(2)));
    assert_eq!(left.is_held_by(&retention(&target), place.as_deref()), held);
    let mut another = retention(&target);
    another.spec.keepers[0].uid = uid(99);
    assert!(!left.is_held_by(&another, place.as_deref()));
}

#[test]
fn what_went_without_a_request_is_held_from_when_it_was_seen() {
    let left = volume("Released", "Retain", Some(&uid(2)));
    let held = left.retention(30, at(100));
    let source = held.source.unwrap();
    assert_eq!((source.request, source.uid, source.deleted_at.0), (None, None, at(100)));
    assert_eq!((source.target.text().as_str(), held.retain_days), ("pvc/shop/data", 30));
    assert!(!left.is_over(30, at(30 * DAY)) && left.is_over(30, at(30 * DAY + 1)));
    let names: Vec<String> = left.names().collect();
    assert!(names[0].starts_with("pvc-data-") && names[0] != names[1], "{names:?}");
    assert_eq!(names, volume("Bound", "Delete", None).names().collect::<Vec<_>>());
}
