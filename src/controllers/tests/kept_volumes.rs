//! Volumes that are kept from their first binding on, whoever deletes their claims.

use axum::http::Method;
use foureyes_core::index::{policy_entry, policy_set};
use serde_json::json;

use super::fake::Fault;
use super::*;
use crate::controllers::kept_volumes::{self, Volumes};

fn process_that_keeps(fake: &Fake, deletion: &Value) -> Context {
    let context = process(fake);
    let policy = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy",
                        "metadata": {"name": "default", "generation": 1}, "spec": {"deletion": deletion}});
    context.policies.store(Arc::new(policy_set([policy_entry(&policy)])));
    context
}

fn always() -> Value {
    json!({"keepVolumes": "Always"})
}

/// The volume of the claim in this phase.
fn volume(fake: &Fake, phase: &str, policy: &str, noted: bool) {
    let claim = json!({"namespace": "shop", "name": "reports", "uid": uid("reports")});
    let mut volume = json!({"metadata": {"name": "pv-1", "uid": uid("pv-1"), "annotations": {}},
                            "spec": {"persistentVolumeReclaimPolicy": policy, "claimRef": claim},
                            "status": {"phase": phase}});
    if noted {
        volume["metadata"]["annotations"]["foureyes.dev/kept-claim"] = json!({"metadata": claim}).to_string().into();
    }
    fake.put(VOLUME, volume);
}

async fn look(context: &Context) -> Result<Next, ReconcileError> {
    kept_volumes::reconcile(context.clone(), Volumes::One("pv-1".into())).await
}

#[tokio::test]
async fn a_volume_is_kept_as_soon_as_it_is_bound_and_then_left_alone() {
    let fake = cluster();
    let context = process_that_keeps(&fake, &always());
    volume(&fake, "Bound", "Delete", false);
    look(&context).await.unwrap();
    let kept = fake.get(VOLUME).unwrap();
    assert_eq!(text(&kept, "/spec/persistentVolumeReclaimPolicy"), "Retain");
    assert!(text(&kept["metadata"]["annotations"], "/foureyes.dev~1kept-claim").contains("\"name\":\"reports\""));
    let written = fake.state().writes.len();
    for volumes in [Volumes::One("pv-1".into()), Volumes::All] {
        assert_eq!(kept_volumes::reconcile(context.clone(), volumes).await.unwrap(), Next::Wait);
    }
    assert_eq!(fake.state().writes.len(), written);
}

#[tokio::test]
async fn nothing_is_changed_where_no_policy_says_so() {
    let production = json!({"metadata": {"name": "shop", "uid": uid("shop")}});
    let mut outside = production.clone();
    outside["metadata"]["labels"] = json!({"foureyes.dev/environment": "non-production"});
    for (deletion, namespace) in [(json!({}), production), (always(), outside)] {
        let fake = cluster();
        let context = process_that_keeps(&fake, &deletion);
        fake.put("/api/v1/namespaces/shop", namespace);
        volume(&fake, "Bound", "Delete", false);
        look(&context).await.unwrap();
        assert_eq!(writes(&fake, &Method::PATCH), 0, "{deletion}");
    }
}

#[tokio::test]
async fn a_volume_that_refuses_is_told_about_at_its_claim_and_tried_again() {
    let fake = cluster();
    let context = process_that_keeps(&fake, &always());
    volume(&fake, "Bound", "Delete", false);
    fake.state().faults.push((Method::PATCH, "persistentvolumes", Fault::Refuse(403)));
    assert!(look(&context).await.is_err());
    let told = |object: &Value| object["reason"] == "VolumeNotKept" && object["regarding"]["name"] == "reports";
    assert!(fake.state().objects.values().any(told));
    look(&context).await.unwrap();
    assert_eq!(text(&fake.get(VOLUME).unwrap(), "/spec/persistentVolumeReclaimPolicy"), "Retain");
}

#[tokio::test]
async fn what_went_without_a_request_is_held_once() {
    let fake = cluster();
    let context = process_that_keeps(&fake, &json!({"keepVolumes": "Always", "retainDays": 45}));
    volume(&fake, "Released", "Retain", true);
    fake.state().objects.remove(CLAIM);
    for volumes in [Volumes::One("pv-1".into()), Volumes::All, Volumes::One("pv-1".into())] {
        assert_eq!(kept_volumes::reconcile(context.clone(), volumes).await.unwrap(), Next::Wait);
    }
    let held = names(&fake, RETENTIONS);
    assert!(held.len() == 1 && held[0].starts_with("pvc-reports-"), "{held:?}");
    let retention = fake.get(&format!("{RETENTIONS}/{}", held[0])).unwrap();
    assert_eq!(text(&retention, "/spec/keepers/0/uid"), uid("pv-1"));
    assert_eq!(text(&retention, "/spec/source/target/uid"), uid("reports"));
    assert_eq!(text(&retention, "/spec/source/deletedAt"), "2026-11-23T10:00:00Z");
    assert_eq!(retention["spec"]["retainDays"], 45);
    assert_eq!(retention["spec"]["source"]["request"], Value::Null);
    assert_eq!(fake.state().writes.len(), 1);
}

/// A name can be guessed, and taken.
#[tokio::test]
async fn somebody_elses_retention_of_that_name_is_passed_over() {
    let fake = cluster();
    let context = process_that_keeps(&fake, &always());
    volume(&fake, "Released", "Retain", true);
    look(&context).await.unwrap();
    let first = names(&fake, RETENTIONS).remove(0);
    let path = format!("{RETENTIONS}/{first}");
    let mut other = fake.get(&path).unwrap();
    other["spec"]["source"] = Value::Null;
    fake.put(&path, other);
    look(&context).await.unwrap();
    assert_eq!(names(&fake, RETENTIONS).len(), 2);
}

#[tokio::test]
async fn what_a_request_may_yet_hold_is_left_to_it() {
    let fake = cluster();
    let context = process_that_keeps(&fake, &always());
    alice_asks(&fake);
    reconcile(&context).await.unwrap();
    let request = serde_json::from_value(fake.get(&format!("{REQUESTS}/one")).unwrap()).unwrap();
    context.requests().learn(crate::controllers::requests::Known::of(&request));
    volume(&fake, "Released", "Retain", true);
    fake.state().objects.remove(CLAIM);
    look(&context).await.unwrap();
    assert!(names(&fake, RETENTIONS).is_empty());
    settle(&context).await;
    context.requests().forget("one");
    for volumes in [Volumes::One("pv-1".into()), Volumes::All] {
        kept_volumes::reconcile(context.clone(), volumes).await.unwrap();
    }
    assert_eq!(names(&fake, RETENTIONS), ["one"]);
}
