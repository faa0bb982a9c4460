//! What becomes of requests and annotations when everything answers.

use axum::http::Method;
use foureyes_core::api::Says;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_request_goes_from_pending_to_executed_and_nothing_is_written_in_between() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks(&fake);
    reconcile(&context).await.unwrap();
    assert_eq!(phase_of(&fake, "/status/phase"), "Pending");
    assert_eq!(phase_of(&fake, "/status/requestedBy"), "alice");
    assert!(phase_of(&fake, "/status/signOffCommand").contains("kubectl create -f -"));

    let written = fake.state().writes.len();
    for _ in 0..3 {
        assert!(matches!(reconcile(&context).await.unwrap(), Next::After(_)));
    }
    assert_eq!(fake.state().writes.len(), written, "an idle request is left alone");

    says(&fake, "bob", Says::Approve);
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executable");
    assert_eq!(phase_of(&fake, "/status/signOffs/text"), "1/1");
    let kept = fake.get(VOLUME).unwrap();
    assert_eq!(text(&kept, "/spec/persistentVolumeReclaimPolicy"), "Retain");
    assert!(text(&kept["metadata"]["annotations"], "/foureyes.dev~1kept-claim").contains("\"name\":\"reports\""));
    assert_eq!(phase_of(&fake, "/status/protections/0/before"), "Delete");

    fake.state().objects.remove(CLAIM);
    assert!(matches!(reconcile(&context).await.unwrap(), Next::After(_)), "somebody has yet to look at what went");
    assert_eq!(phase_of(&fake, "/status/phase"), "Executed");
    assert_eq!(phase_of(&fake, "/status/backupRetention"), "one");
    let held = fake.get(&format!("{RETENTIONS}/one")).unwrap();
    assert_eq!(text(&held, "/spec/keepers/0/uid"), uid("pv-1"));
    assert_eq!(text(&held, "/spec/source/deletedAt"), "2026-11-23T10:00:00Z");
    let written = fake.state().writes.len();
    reconcile(&context).await.unwrap();
    assert_eq!(fake.state().writes.len(), written, "an executed request is left alone");
}

#[tokio::test]
async fn an_approval_without_the_right_or_by_the_requester_does_not_count() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks(&fake);
    reconcile(&context).await.unwrap();
    for nobody in ["alice", "eve"] {
        says(&fake, nobody, Says::Approve);
    }
    reconcile(&context).await.unwrap();
    assert_eq!(phase_of(&fake, "/status/phase"), "Pending");
    assert_eq!(phase_of(&fake, "/status/signOffs/text"), "0/1");
}

#[tokio::test]
async fn a_hold_blocks_and_its_withdrawal_releases() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks(&fake);
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    says(&fake, "carol", Says::Hold);
    reconcile(&context).await.unwrap();
    assert_eq!(phase_of(&fake, "/status/phase"), "Approved");
    fake.state().objects.remove(&format!("{SIGN_OFFS}/carol-Hold"));
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executable");
}

fn pod(fake: &Fake, phase: &str) {
    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "reports"}}]);
    let pod = json!({"metadata": {"namespace": "shop", "name": "db-0", "uid": uid("db-0")},
                     "spec": {"volumes": volumes}, "status": {"phase": phase}});
    fake.put("/api/v1/namespaces/shop/pods/db-0", pod);
}

#[tokio::test]
async fn what_still_runs_is_waited_for_and_named() {
    let fake = cluster();
    let context = process(&fake);
    pod(&fake, "Running");
    alice_asks(&fake);
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Quiescing");
    assert_eq!(phase_of(&fake, "/status/waitingFor"), "the end of pod db-0");
    let kept = text(&fake.get(VOLUME).unwrap(), "/spec/persistentVolumeReclaimPolicy");
    assert_eq!(kept, "Retain", "it is kept as soon as it was signed off");
    // The process that looks now has seen it run, and sees it end.
    let seen = |ended| crate::cluster::pods::PodUse {
        uid: uid("db-0").into(),
        namespace: "shop".into(),
        name: "db-0".into(),
        claims: vec!["reports".into()],
        ended,
    };
    context.uses().learn(seen(false), Instant::now());
    pod(&fake, "Succeeded");
    context.uses().learn(seen(true), Instant::now());
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Quiescing");
    assert_eq!(phase_of(&fake, "/status/waitingFor"), "it to stay unused for 24h");
    assert_eq!(phase_of(&fake, "/status/quiet/observed"), "0s");
}

#[tokio::test]
async fn what_was_counted_before_a_restart_goes_on() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks(&fake);
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    let mut request = fake.get(&format!("{REQUESTS}/one")).unwrap();
    request["status"]["quiet"] = json!({"required": "24h", "observed": "23h45m"});
    fake.put(&format!("{REQUESTS}/one"), request);
    let restarted = process_before_the_first_start(&fake);
    restarted.set_started();
    settle(&restarted).await;
    assert_eq!(phase_of(&fake, "/status/waitingFor"), "a look at what uses it");
    assert_eq!(phase_of(&fake, "/status/quiet/observed"), "23h45m");
    restarted.uses().replace(Vec::new(), Instant::now());
    settle(&restarted).await;
    assert_eq!(phase_of(&fake, "/status/waitingFor"), "it to stay unused for 24h");
    assert_eq!(phase_of(&fake, "/status/quiet/observed"), "23h45m");
}

#[tokio::test]
async fn what_was_changed_is_put_back_when_nothing_was_deleted() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks(&fake);
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    settle(&context).await;
    says(&fake, "alice", Says::Cancel);
    assert!(matches!(settle(&context).await, Next::After(_)));
    assert_eq!(phase_of(&fake, "/status/phase"), "Cancelled");
    let policy = || text(&fake.get(VOLUME).unwrap(), "/spec/persistentVolumeReclaimPolicy");
    assert_eq!(policy(), "Retain", "a deletion that was let pass may still come");
    context.clock.set("2026-11-23T10:03:00Z".parse().unwrap());
    assert_eq!(settle(&context).await, Next::Wait);
    assert_eq!(policy(), "Delete");
    assert_eq!(fake.get(&format!("{REQUESTS}/one")).unwrap()["status"]["protections"][0]["settled"], true);
}

#[tokio::test]
async fn a_volume_that_refuses_is_told_about_and_tried_again() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks(&fake);
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    fake.state().faults.push((Method::PATCH, "persistentvolumes", super::fake::Fault::Refuse(403)));
    assert!(reconcile(&context).await.is_err());
    assert_eq!(phase_of(&fake, "/status/phase"), "Approved");
    assert_eq!(phase_of(&fake, "/status/waitingFor"), "1 volume to be put on Retain");
    let told = fake.state().objects.values().any(|object| object["reason"] == "VolumeNotKept");
    assert!(told);
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executable");
}

fn annotate(fake: &Fake, digest: &str) {
    let record = fake.stamp().annotated("bob", &uid("reports"), digest);
    let mut claim = fake.get(CLAIM).unwrap();
    claim["metadata"]["annotations"] = json!({"foureyes.dev/approved-by-record": record});
    fake.put(CLAIM, claim);
}

#[tokio::test]
async fn an_approval_by_annotation_opens_one_request_and_is_used_once() {
    let fake = cluster();
    let context = process(&fake);
    let claim = Live::new(fake.client(), "foureyes-system", Duration::from_secs(3), Metrics::new(None));
    let claim = claim.claim("shop", "reports").await.unwrap().unwrap();
    let inventory = context.live.inventory_of_claim(&foureyes_core::domain::inventory::Claim::of(&claim)).await;
    annotate(&fake, foureyes_core::digest::short(&inventory.unwrap().digest().unwrap()));
    for _ in 0..3 {
        look_at_the_annotation(&context).await.unwrap();
    }
    let opened = names(&fake, REQUESTS);
    assert_eq!(opened.len(), 1);
    let path = format!("{REQUESTS}/{}", opened[0]);
    for _ in 0..2 {
        deletion_requests::reconcile(context.clone(), opened[0].as_str().into()).await.unwrap();
    }
    assert_eq!(text(&fake.get(&path).unwrap(), "/status/phase"), "Executable");
    assert_eq!(text(&fake.get(&path).unwrap(), "/status/signOffs/text"), "1/2");

    // The annotation goes with its object, and what it approved was approved all the same.
    let claim = fake.state().objects.remove(CLAIM).unwrap();
    deletion_requests::reconcile(context.clone(), opened[0].as_str().into()).await.unwrap();
    let ended = fake.get(&path).unwrap();
    assert_eq!(text(&ended, "/status/phase"), "Executed");
    assert_eq!(text(&ended, "/status/signOffs/entries/0/author"), "bob");

    fake.put(CLAIM, claim);
    look_at_the_annotation(&context).await.unwrap();
    assert_eq!(names(&fake, REQUESTS).len(), 1);
}

#[tokio::test]
async fn no_request_is_opened_for_a_forged_record_or_outside_of_production() {
    let fake = cluster();
    let context = process(&fake);
    annotate(&fake, "0123456789ab");
    let mut claim = fake.get(CLAIM).unwrap();
    let record = &mut claim["metadata"]["annotations"]["foureyes.dev/approved-by-record"];
    *record = record.as_str().unwrap().replace("bob", "eve").into();
    fake.put(CLAIM, claim);
    look_at_the_annotation(&context).await.unwrap();
    annotate(&fake, "0123456789ab");
    let labels = json!({"foureyes.dev/environment": "non-production"});
    fake.put("/api/v1/namespaces/shop", json!({"metadata": {"name": "shop", "uid": uid("shop"), "labels": labels}}));
    look_at_the_annotation(&context).await.unwrap();
    assert_eq!(writes(&fake, &Method::POST), 0);
    fake.put("/api/v1/namespaces/shop", json!({"metadata": {"name": "shop", "uid": uid("shop")}}));
    look_at_the_annotation(&context).await.unwrap();
    assert_eq!(writes(&fake, &Method::POST), 1);
}

#[tokio::test]
async fn sign_offs_go_after_their_request_and_not_before() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks(&fake);
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    let clear = || super::super::sign_offs::reconcile(context.clone(), uid("one").into());
    context.clock.set("2026-11-23T11:00:00Z".parse().unwrap());
    assert_eq!(clear().await.unwrap(), Next::Wait);
    assert_eq!(names(&fake, SIGN_OFFS), ["bob-Approve"]);
    fake.state().objects.remove(&format!("{REQUESTS}/one"));
    context.clock.set(now());
    assert!(matches!(clear().await.unwrap(), Next::After(_)), "young ones stay for a while");
    context.clock.set("2026-11-23T11:00:00Z".parse().unwrap());
    clear().await.unwrap();
    assert!(names(&fake, SIGN_OFFS).is_empty());
}

#[tokio::test]
async fn a_claim_that_stays_behind_gets_one_request_and_its_namespaces_request_says_so() {
    let fake = cluster();
    let context = process(&fake);
    let going = json!({"name": "shop", "uid": uid("shop"), "deletionTimestamp": "2026-11-23T09:59:00Z"});
    fake.put("/api/v1/namespaces/shop", json!({"metadata": going}));
    let root = json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest",
        "metadata": {"name": "root", "uid": uid("root")},
        "spec": {"reason": "r", "target": {"apiVersion": "v1", "kind": "Namespace", "name": "shop", "uid": uid("shop")}},
        "status": {"phase": "Executing", "usableFrom": "2026-11-23T09:00:00Z", "validUntil": "2026-11-24T09:00:00Z",
                   "inventory": {"digest": "d", "total": 0, "summary": "", "packedUIDs": ""}},
    });
    fake.put(&format!("{REQUESTS}/root"), root);
    for _ in 0..3 {
        let next = super::super::leftovers::reconcile(context.clone(), "shop".into()).await.unwrap();
        assert_eq!(next, Next::After(Duration::from_secs(15)));
    }
    let opened = names(&fake, REQUESTS);
    assert!(opened.len() == 2 && opened[0].starts_with("pvc-reports-"), "{opened:?}");
    let events = names(&fake, "/apis/events.k8s.io/v1/namespaces/default/events");
    assert!(events.len() == 1 && events[0].starts_with("root."), "{events:?}");
    assert_eq!(fake.state().writes.len(), 2);
}
