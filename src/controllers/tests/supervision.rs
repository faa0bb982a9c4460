//! What becomes of a request once its target is gone, and what keeps a namespace from going.

use foureyes_core::api::Says;
use serde_json::json;

use super::*;

const NAMESPACE: &str = "/api/v1/namespaces/shop";
const LATE: &str = "/api/v1/namespaces/shop/persistentvolumeclaims/late";
const LATE_VOLUME: &str = "/api/v1/persistentvolumes/pv-late";

/// The request `one`, approved by bob.
async fn approved(fake: &Fake, context: &Context) {
    context.uses().born(uid("shop").into());
    reconcile(context).await.unwrap();
    says(fake, "bob", Says::Approve);
    settle(context).await;
}

/// alice asks for the whole namespace.
fn alice_asks_for_the_namespace(fake: &Fake) {
    alice_asks(fake);
    let target =
        Target { kind: TargetKind::Namespace, namespace: None, name: "shop".to_owned(), uid: uid("shop"), ..target() };
    let spec = DeletionRequestSpec {
        target,
        reason: "r".to_owned(),
        ticket: None,
        shutdown: None,
        retention: None,
        backups: Vec::new(),
        requester: None,
    };
    let request = fake.stamp().requested(DeletionRequest::new("one", spec), "alice");
    fake.put(&format!("{REQUESTS}/one"), serde_json::to_value(request).unwrap());
}

fn going(fake: &Fake) {
    let meta = json!({"name": "shop", "uid": uid("shop"), "deletionTimestamp": "2026-11-23T10:00:00Z"});
    fake.put(NAMESPACE, json!({"metadata": meta}));
}

/// A claim with its volume, which comes late.
fn slips_in(fake: &Fake) {
    let claim = json!({"metadata": {"namespace": "shop", "name": "late", "uid": uid("late")},
                       "spec": {"volumeName": "pv-late"}});
    fake.put(LATE, claim);
    let volume = json!({"metadata": {"name": "pv-late", "uid": uid("pv-late")},
                        "spec": {"persistentVolumeReclaimPolicy": "Delete"}});
    fake.put(LATE_VOLUME, volume);
}

fn removed(fake: &Fake, paths: &[&str]) {
    for path in paths {
        assert!(fake.state().objects.remove(*path).is_some(), "{path}");
    }
}

fn told(fake: &Fake, reason: &str) -> usize {
    let state = fake.state();
    let events = state.objects.iter().filter(|(path, _)| path.contains("/events/"));
    events.filter(|(_, event)| event["reason"] == reason && event["regarding"]["name"] == "one").count()
}

#[tokio::test]
async fn it_is_closed_by_whoever_may_and_then_left_alone() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks(&fake);
    approved(&fake, &context).await;
    removed(&fake, &[CLAIM]);
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executed");
    let request = fake.get(&format!("{REQUESTS}/one")).unwrap();
    assert_eq!(request["status"]["deleted"], json!({"expected": 1, "checkedAt": "2026-11-23T10:00:00Z"}));
    for nobody in ["alice", "eve"] {
        says(&fake, nobody, Says::Supervised);
    }
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executed");
    says(&fake, "bob", Says::Supervised);
    assert_eq!(settle(&context).await, Next::Wait);
    assert_eq!(phase_of(&fake, "/status/phase"), "Closed");
    assert_eq!(phase_of(&fake, "/status/supervisedBy/0"), "bob");
    assert_eq!(told(&fake, "Closed"), 1);
    let written = fake.state().writes.len();
    assert_eq!(reconcile(&context).await.unwrap(), Next::Wait);
    assert_eq!(fake.state().writes.len(), written);
}

#[tokio::test]
async fn the_process_may_end_before_any_write_of_it() {
    for ends_after in 0..4 {
        let fake = cluster();
        let context = process(&fake);
        alice_asks(&fake);
        approved(&fake, &context).await;
        removed(&fake, &[CLAIM]);
        says(&fake, "bob", Says::Supervised);
        let written = fake.state().writes.len();
        fake.state().ends_after = Some(written + ends_after);
        drop(tokio::time::timeout(Duration::from_millis(300), async { settle(&process(&fake)).await }).await);
        fake.state().ends_after = None;
        for _ in 0..2 {
            settle(&process(&fake)).await;
        }
        assert_eq!(phase_of(&fake, "/status/phase"), "Closed", "after {ends_after} writes");
        let request = fake.get(&format!("{REQUESTS}/one")).unwrap();
        assert_eq!(request["status"]["deleted"]["expected"], 1);
        assert_eq!(phase_of(&fake, "/status/backupRetention"), "one");
    }
}

#[tokio::test]
async fn what_should_be_gone_is_looked_for_again_until_it_is() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks(&fake);
    approved(&fake, &context).await;
    // Somebody took the volume off Retain, and something holds it.
    let mut volume = fake.get(VOLUME).unwrap();
    volume["spec"]["persistentVolumeReclaimPolicy"] = json!("Delete");
    fake.put(VOLUME, volume);
    removed(&fake, &[CLAIM]);
    settle(&context).await;
    assert_eq!(told(&fake, "Remaining"), 0, "it may go a moment later");
    context.clock.set("2026-11-23T10:00:21Z".parse().unwrap());
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/deleted/remaining/0/name"), "pv-1");
    assert_eq!(told(&fake, "Remaining"), 1);
    says(&fake, "bob", Says::Supervised);
    let next = settle(&context).await;
    assert!(matches!(next, Next::After(pause) if pause <= Duration::from_secs(32)), "{next:?}");
    assert_eq!(phase_of(&fake, "/status/phase"), "Executed");
    removed(&fake, &[VOLUME]);
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Closed");
}

#[tokio::test]
async fn a_claim_that_its_namespace_left_behind_is_found() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks_for_the_namespace(&fake);
    approved(&fake, &context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executable");
    going(&fake);
    settle(&context).await;
    // As when somebody takes the finalizer off the namespace.
    removed(&fake, &[NAMESPACE]);
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executed");
    assert_eq!(phase_of(&fake, "/status/deleted/remaining/0/name"), "reports");
    removed(&fake, &[CLAIM]);
    says(&fake, "bob", Says::Supervised);
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Closed");
}

/// A namespace that goes, with a claim that was not signed off.
async fn slipped_in(fake: &Fake, context: &Context) {
    alice_asks_for_the_namespace(fake);
    approved(fake, context).await;
    slips_in(fake);
    going(fake);
    settle(context).await;
    assert_eq!(phase_of(fake, "/status/inventory/added/1/name"), "late");
}

#[tokio::test]
async fn what_went_without_sign_off_is_shouted_about_and_stays_on_record() {
    let fake = cluster();
    let context = process(&fake);
    slipped_in(&fake, &context).await;
    removed(&fake, &[LATE, LATE_VOLUME]);
    settle(&context).await;
    removed(&fake, &[CLAIM, NAMESPACE]);
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executed");
    let unexpected = fake.get(&format!("{REQUESTS}/one")).unwrap()["status"]["deleted"]["unexpected"].clone();
    let names: Vec<&str> = unexpected.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["pv-late", "late"]);
    assert_eq!(told(&fake, "Unexpected"), 1);
    says(&fake, "bob", Says::Supervised);
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executed");
    fake.state().approvers.push("carol");
    says(&fake, "carol", Says::Supervised);
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Closed");
}

#[tokio::test]
async fn what_went_on_the_strength_of_a_request_of_its_own_was_expected() {
    for (phase, unexpected) in [("Executing", false), ("Pending", true)] {
        let fake = cluster();
        let context = process(&fake);
        slipped_in(&fake, &context).await;
        let late = context.live.claim("shop", "late").await.unwrap().unwrap();
        let late = foureyes_core::domain::inventory::Claim::of(&late);
        let items = context.live.inventory_of_claim(&late).await.unwrap();
        let target = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "late",
                            "uid": uid("late")});
        let own = json!({
            "apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest",
            "metadata": {"name": "own", "uid": uid("own")}, "spec": {"reason": "r", "target": target},
            "status": {"phase": phase, "inventory": {"digest": "d", "total": 2, "summary": "", "frozen": true,
                                                     "packedUIDs": items.packed().unwrap()}},
        });
        fake.put(&format!("{REQUESTS}/own"), own);
        removed(&fake, &[LATE, LATE_VOLUME]);
        settle(&context).await;
        removed(&fake, &[CLAIM, NAMESPACE]);
        settle(&context).await;
        assert_eq!(phase_of(&fake, "/status/phase"), "Executed");
        let found = !phase_of(&fake, "/status/deleted/unexpected/0/name").is_empty();
        assert_eq!(found, unexpected, "{phase}");
    }
}

#[tokio::test]
async fn a_review_that_is_owed_keeps_the_namespace() {
    let fake = cluster();
    let context = process(&fake);
    let path = "/apis/foureyes.dev/v1alpha1/namespaces/shop/changerequests/web-1";
    let bill = |granted: i32| {
        let owed = json!({"type": "ReviewOwed", "status": "True", "reason": "Expedited", "message": "",
                          "lastTransitionTime": "2026-11-23T10:00:00Z"});
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "action": "Apply",
                            "images": {"web": "web:2"}});
        json!({
            "apiVersion": "foureyes.dev/v1alpha1", "kind": "ChangeRequest",
            "metadata": {"namespace": "shop", "name": "web-1", "uid": uid("web-1")},
            "spec": {"type": "Emergency", "title": "t", "targets": [target]},
            "status": {"phase": "Succeeded", "conditions": [owed],
                       "signOffs": {"required": 1, "granted": granted, "text": ""}},
        })
    };
    fake.put(path, bill(0));
    alice_asks_for_the_namespace(&fake);
    approved(&fake, &context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Approved");
    assert_eq!(phase_of(&fake, "/status/waitingFor"), "the review of change web-1");
    fake.put(path, bill(1));
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executable");
}
