//! What uses a claim is scaled down and put back, whatever fails in between.

use foureyes_core::api::Says;
use serde_json::json;

use super::fake::Fault;
use super::faults::{Step, played};
use super::*;

const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const OTHER: &str = "/apis/apps/v1/namespaces/shop/deployments/other";
const REPORT: &str = "/apis/batch/v1/namespaces/shop/cronjobs/report";

fn pods(claim: &str) -> Value {
    json!({"spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}})
}

fn workloads(fake: &Fake) {
    let metadata = |name: &str| {
        json!({"namespace": "shop", "name": name, "uid": uid(name),
                                       "creationTimestamp": "2026-11-01T10:00:00Z"})
    };
    let deployment =
        |name: &str, claim: &str| json!({"metadata": metadata(name), "spec": {"replicas": 3, "template": pods(claim)}});
    fake.put(WEB, deployment("web", "reports"));
    fake.put(OTHER, deployment("other", "elsewhere"));
    let jobs = json!({"spec": {"template": pods("reports")}});
    fake.put(REPORT, json!({"metadata": metadata("report"), "spec": {"suspend": false, "jobTemplate": jobs}}));
}

/// alice, who may do it herself, asks for the claim to go and for what uses it to be scaled down.
fn alice_asks_to_scale(fake: &Fake) {
    workloads(fake);
    fake.state().approvers = vec!["bob", "alice"];
    alice_asks_for(fake, Some(Shutdown::Scale));
}

fn replicas(fake: &Fake, path: &str) -> i64 {
    fake.get(path).unwrap()["spec"]["replicas"].as_i64().unwrap()
}

fn suspended(fake: &Fake) -> bool {
    fake.get(REPORT).unwrap()["spec"]["suspend"].as_bool().unwrap()
}

fn scalings(fake: &Fake) -> Vec<String> {
    let is_one = |write: &&String| write.ends_with("/scale") || write.contains("/cronjobs/");
    let mut scalings: Vec<String> = fake.state().writes.iter().filter(is_one).cloned().collect();
    scalings.sort();
    scalings
}

async fn scaled_down() -> (Fake, Context) {
    let fake = cluster();
    let context = process(&fake);
    alice_asks_to_scale(&fake);
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    settle(&context).await;
    (fake, context)
}

#[tokio::test]
async fn what_uses_a_claim_is_scaled_down_and_nothing_else() {
    let (fake, context) = scaled_down().await;
    assert_eq!((replicas(&fake, WEB), replicas(&fake, OTHER), suspended(&fake)), (0, 3, true));
    let status = fake.get(&format!("{REQUESTS}/one")).unwrap()["status"].clone();
    let noted = |name: &str, field: &str, before: &str, after: &str| {
        let (api_version, kind) = if name == "web" { ("apps/v1", "Deployment") } else { ("batch/v1", "CronJob") };
        json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid(name), "field": field,
               "before": before, "after": after, "seen": true})
    };
    let expected = json!([noted("report", "spec.suspend", "false", "true"), noted("web", "spec.replicas", "3", "0")]);
    assert_eq!(status["scaledDown"], expected);
    let written = fake.state().writes.len();
    settle(&context).await;
    assert_eq!(fake.state().writes.len(), written, "what is down is left alone");
}

#[tokio::test]
async fn a_change_of_what_was_written_meanwhile_is_not_made() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks_to_scale(&fake);
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    fake.state().faults.push((Method::PATCH, "/web/scale", Fault::Refuse(409)));
    let error = reconcile(&context).await.unwrap_err();
    assert!(error.is_ordinary(), "{error}");
    assert_eq!((replicas(&fake, WEB), suspended(&fake)), (3, true), "the others are not held up");
    settle(&context).await;
    assert_eq!(replicas(&fake, WEB), 0);
}

#[tokio::test]
async fn one_that_refuses_is_told_about_and_the_volume_is_kept_all_the_same() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks_to_scale(&fake);
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    fake.state().faults.push((Method::PATCH, "/web/scale", Fault::Refuse(403)));
    assert!(reconcile(&context).await.is_err());
    assert!(fake.state().objects.values().any(|object| object["reason"] == "NotScaled"));
    assert_eq!(text(&fake.get(VOLUME).unwrap(), "/spec/persistentVolumeReclaimPolicy"), "Retain");
}

#[tokio::test]
async fn what_can_not_be_read_scales_nothing() {
    for read in ["/deployments", "/cronjobs", "/statefulsets"] {
        let fake = cluster();
        let context = process(&fake);
        alice_asks_to_scale(&fake);
        reconcile(&context).await.unwrap();
        says(&fake, "bob", Says::Approve);
        fake.state().faults.push((Method::GET, read, Fault::Refuse(500)));
        assert_eq!(reconcile(&context).await.unwrap_err().class(), "server", "{read}");
        assert!(scalings(&fake).is_empty());
    }
}

#[tokio::test]
async fn whoever_may_not_scale_has_nothing_scaled() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks_to_scale(&fake);
    fake.state().approvers = vec!["bob"];
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    settle(&context).await;
    assert!(scalings(&fake).is_empty());
    let conditions = fake.get(&format!("{REQUESTS}/one")).unwrap()["status"]["conditions"].clone();
    let said = "alice may not scale Deployment/web; alice may not suspend CronJob/report";
    assert!(conditions.as_array().unwrap().iter().any(|condition| condition["message"] == said), "{conditions}");
}

#[tokio::test]
async fn the_own_namespace_is_left_to_people() {
    let fake = cluster();
    let mut context = process(&fake);
    Arc::get_mut(&mut context).unwrap().namespace = "shop".to_owned();
    alice_asks_to_scale(&fake);
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    settle(&context).await;
    assert!(scalings(&fake).is_empty());
}

fn cancelled() -> Vec<Step> {
    vec![
        alice_asks_to_scale,
        |_| (),
        |fake| says(fake, "bob", Says::Approve),
        |fake| says(fake, "alice", Says::Cancel),
        |_| (),
    ]
}

/// Also twice for one workload it is never changed.
#[tokio::test(start_paused = true)]
async fn the_process_may_end_after_any_write() {
    let whole = played(cancelled(), None).await;
    let status = |fake: &Fake| fake.get(&format!("{REQUESTS}/one")).unwrap()["status"].clone();
    assert_eq!(scalings(&whole).len(), 4, "{:?}", whole.state().writes);
    assert!(status(&whole)["scaledDown"].as_array().unwrap().iter().all(|known| known["settled"] == true));
    let writes = whole.state().writes.len();
    for after in 0..=writes {
        let broken = played(cancelled(), Some(after)).await;
        assert_eq!((replicas(&broken, WEB), suspended(&broken)), (3, false), "ended after {after}");
        assert_eq!(status(&broken), status(&whole), "ended after {after}");
        assert_eq!(scalings(&broken), scalings(&whole), "ended after {after}");
    }
}
