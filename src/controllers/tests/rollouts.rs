//! What becomes of changes and records when everything answers.

use axum::http::Method;
use foureyes_core::api::{ChangeRequest, ChangeRequestSpec, WorkloadIdentity};
use foureyes_core::domain::rollout::location::locate;
use foureyes_core::domain::rollout::template::Template;

use super::fake::Fault;
use super::*;
use crate::controllers::changes::{ChangeKey, Known};
use crate::controllers::context::Everywhere;
use crate::controllers::{change_requests, regimes, rollout_records, sign_offs};

pub const CHANGES: &str = "/apis/foureyes.dev/v1alpha1/namespaces/shop/changerequests";
pub const RECORDS: &str = "/apis/foureyes.dev/v1alpha1/rolloutrecords";
pub const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
pub const SHOP: &str = "/api/v1/namespaces/shop";
const STATE: &str = "/api/v1/namespaces/foureyes-system/configmaps/foureyes-state";

pub fn web() -> WorkloadIdentity {
    let [group, kind, namespace, name] = ["apps", "Deployment", "shop", "web"].map(str::to_owned);
    WorkloadIdentity { group, kind, namespace, name }
}

fn spec_of(version: u32) -> Value {
    let container = json!({"name": "web", "image": format!("web:{version}")});
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}});
    json!({"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template})
}

fn digest_of(version: u32) -> String {
    let location = locate("apps", "Deployment", &[]).unwrap();
    Template::of_value(&location, &spec_of(version)).unwrap().digest().unwrap()
}

/// Version `version` of the Deployment is rolled out, and comes up.
pub fn deploys(fake: &Fake, version: u32, generation: i64) {
    let status = json!({"observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
    let managed =
        json!([{"manager": "argocd", "time": "2026-11-23T10:00:00Z", "fieldsV1": {"f:spec": {"f:template": {}}}}]);
    let metadata = json!({"namespace": "shop", "name": "web", "uid": uid("web"), "generation": generation,
                          "managedFields": managed});
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
                        "spec": spec_of(version), "status": status});
    fake.put(DEPLOYMENT, object);
}

/// A namespace with a Deployment, after the first start and before anything was looked at.
pub fn installation() -> Fake {
    let fake = cluster();
    fake.put(STATE, json!({"metadata": {"name": "foureyes-state"}, "data": {"started": "2026-11-23T09:00:00Z"}}));
    deploys(&fake, 1, 1);
    fake
}

/// The same after the first look.
pub async fn installed() -> (Fake, Context) {
    let fake = installation();
    let context = process(&fake);
    looks_everywhere(&context).await.unwrap();
    (fake, context)
}

pub async fn looks_everywhere(context: &Context) -> Result<Next, ReconcileError> {
    regimes::reconcile(context.clone(), Everywhere).await
}

pub async fn looks(context: &Context) -> Result<Next, ReconcileError> {
    rollout_records::reconcile(context.clone(), web()).await
}

pub async fn decides(context: &Context, name: &str) -> Result<Next, ReconcileError> {
    change_requests::reconcile(context.clone(), ChangeKey { namespace: "shop".into(), name: name.into() }).await
}

/// alice asks for version `version`, in the change `change`; `target` says more.
pub fn asks(fake: &Fake, target: &Value) {
    let mut named = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "action": "Apply"});
    named.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
    let spec = json!({"type": "Normal", "title": "another version", "targets": [named]});
    let spec: ChangeRequestSpec = serde_json::from_value(spec).unwrap();
    let mut request = ChangeRequest::new("change", spec);
    request.metadata.namespace = Some("shop".to_owned());
    let request = fake.stamp().change_requested(request, "alice");
    fake.put(&format!("{CHANGES}/change"), serde_json::to_value(request).unwrap());
}

pub fn by_digest(version: u32) -> Value {
    let digest = digest_of(version);
    json!({"digest": {"encoding": "template/v1", "value": digest.strip_prefix("template/v1:").unwrap()}})
}

pub fn by_images(version: u32) -> Value {
    json!({"images": {"web": format!("web:{version}")}})
}

/// `author` says something about a change as it stands.
pub fn says_of_change(fake: &Fake, author: &str, says: Says, name: &str) {
    let change = fake.get(&format!("{CHANGES}/{name}")).unwrap();
    let subject = Subject {
        kind: "ChangeRequest".to_owned(),
        namespace: Some("shop".to_owned()),
        name: name.to_owned(),
        uid: uid(name),
    };
    says_about(fake, author, says, subject, text(&change, "/status/requestDigest"));
}

/// The watch tells of the change.
pub fn learns(fake: &Fake, context: &Context) {
    let change: ChangeRequest = serde_json::from_value(fake.get(&format!("{CHANGES}/change")).unwrap()).unwrap();
    context.changes().learn(Known::of(&change, "foureyes-system"));
}

pub fn change(fake: &Fake, pointer: &str) -> String {
    text(&fake.get(&format!("{CHANGES}/change")).unwrap(), pointer)
}

/// How and outcome of each entry of the record, newest first.
pub fn entries(fake: &Fake) -> Vec<String> {
    let record = fake.get(&format!("{RECORDS}/{}", web().record_name())).unwrap_or_default();
    let entries = record["status"]["entries"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| format!("{} {}", text(entry, "/how"), text(entry, "/outcome"))).collect()
}

fn policy(context: &Context, spec: &Value) {
    let policy = json!({"metadata": {"name": "default"}, "spec": spec});
    let set = foureyes_core::index::policy_set([foureyes_core::index::policy_entry(&policy)]);
    context.policies.store(Arc::new(set));
}

#[tokio::test]
async fn a_change_goes_from_asked_to_rolled_out_and_the_record_says_by_whom() {
    let (fake, context) = installed().await;
    assert_eq!(entries(&fake), ["Baseline Seen"]);
    asks(&fake, &by_digest(2));
    decides(&context, "change").await.unwrap();
    assert_eq!(change(&fake, "/status/phase"), "Pending");
    assert_eq!(change(&fake, "/status/requestedBy"), "alice");

    let written = fake.state().writes.len();
    for _ in 0..3 {
        assert!(matches!(decides(&context, "change").await.unwrap(), Next::After(_)));
        looks(&context).await.unwrap();
        looks_everywhere(&context).await.unwrap();
    }
    assert_eq!(fake.state().writes.len(), written, "what is idle is left alone");

    says_of_change(&fake, "bob", Says::Approve, "change");
    decides(&context, "change").await.unwrap();
    assert_eq!(change(&fake, "/status/phase"), "Approved");
    assert_eq!(entries(&fake), ["Change NotSeen", "Baseline Seen"]);

    deploys(&fake, 2, 2);
    assert_eq!(decides(&context, "change").await.unwrap(), Next::Wait);
    assert_eq!(change(&fake, "/status/phase"), "Succeeded");
    assert_eq!(change(&fake, "/status/targets/0/previousDigest"), digest_of(1));
    assert_eq!(change(&fake, "/status/targets/0/appliedDigest"), digest_of(2));
    assert_eq!(change(&fake, "/status/targets/0/appliedBy"), "field manager argocd");
    assert_eq!(entries(&fake), ["Change Seen", "Baseline Seen"]);
    let record = fake.get(&format!("{RECORDS}/{}", web().record_name())).unwrap();
    assert_eq!(record["status"]["entries"][0]["people"], json!(["alice", "bob"]));
    assert_eq!(text(&record, "/status/change"), "shop/change");
    let events = names(&fake, "/apis/events.k8s.io/v1/namespaces/shop/events");
    assert_eq!(events.len(), 3, "{events:?}");

    let written = fake.state().writes.len();
    decides(&context, "change").await.unwrap();
    looks(&context).await.unwrap();
    assert_eq!(fake.state().writes.len(), written, "what has ended is left alone");
}

#[tokio::test]
async fn named_images_are_promised_in_what_runs() {
    let (fake, context) = installed().await;
    asks(&fake, &by_images(2));
    decides(&context, "change").await.unwrap();
    says_of_change(&fake, "bob", Says::Approve, "change");
    decides(&context, "change").await.unwrap();
    let record = fake.get(&format!("{RECORDS}/{}", web().record_name())).unwrap();
    assert_eq!(text(&record, "/status/entries/0/template"), digest_of(2));
    deploys(&fake, 2, 2);
    looks(&context).await.unwrap();
    assert_eq!(entries(&fake), ["Change Seen", "Baseline Seen"]);
}

#[tokio::test]
async fn what_runs_on_nobodys_word_opens_one_change_and_is_adopted_by_it() {
    let (fake, context) = installed().await;
    deploys(&fake, 2, 2);
    for _ in 0..3 {
        looks(&context).await.unwrap();
    }
    assert_eq!(entries(&fake), ["Unauthorised Seen", "Baseline Seen"]);
    let opened = names(&fake, CHANGES);
    assert!(opened.len() == 1 && opened[0].starts_with("unauthorised-web-"), "{opened:?}");
    let path = format!("{CHANGES}/{}", opened[0]);
    decides(&context, &opened[0]).await.unwrap();
    assert_eq!(text(&fake.get(&path).unwrap(), "/spec/type"), "Unauthorized");
    assert_eq!(text(&fake.get(&path).unwrap(), "/status/signOffs/text"), "0/2");

    fake.state().approvers.push("carol");
    says_of_change(&fake, "bob", Says::Approve, &opened[0]);
    says_of_change(&fake, "carol", Says::Approve, &opened[0]);
    decides(&context, &opened[0]).await.unwrap();
    assert_eq!(text(&fake.get(&path).unwrap(), "/status/phase"), "Succeeded");
    assert_eq!(entries(&fake)[0], "Change Seen");
    looks(&context).await.unwrap();
    assert_eq!(names(&fake, CHANGES).len(), 1);
}

#[tokio::test]
async fn one_that_expired_is_opened_anew_and_one_that_was_rejected_is_not() {
    for (phase, expected) in [("Expired", 2), ("Rejected", 1), ("Pending", 1)] {
        let (fake, context) = installed().await;
        deploys(&fake, 2, 2);
        looks(&context).await.unwrap();
        let path = format!("{CHANGES}/{}", names(&fake, CHANGES)[0]);
        let mut ended = fake.get(&path).unwrap();
        ended["status"] = json!({"phase": phase});
        fake.put(&path, ended);
        looks(&context).await.unwrap();
        looks(&context).await.unwrap();
        assert_eq!(names(&fake, CHANGES).len(), expected, "{phase}");
    }
}

/// The sign-off, the rollout and the look at it come in one moment.
#[tokio::test]
async fn a_change_that_the_watch_has_not_told_of_yet_is_no_drift() {
    let (fake, context) = installed().await;
    asks(&fake, &by_digest(2));
    decides(&context, "change").await.unwrap();
    says_of_change(&fake, "bob", Says::Approve, "change");
    deploys(&fake, 2, 2);
    looks(&context).await.unwrap();
    assert_eq!(entries(&fake), ["Change Seen", "Baseline Seen"]);
    assert_eq!(names(&fake, CHANGES), ["change"]);
}

/// Hundreds of wishes for one workload would else each read all the others.
#[tokio::test]
async fn a_change_that_waits_for_people_has_no_word_in_a_record() {
    let (fake, context) = installed().await;
    asks(&fake, &by_digest(2));
    fake.state().faults.push((Method::GET, "rolloutrecords", Fault::Refuse(500)));
    decides(&context, "change").await.unwrap();
    assert_eq!((change(&fake, "/status/phase"), fake.state().faults.len()), ("Pending".to_owned(), 1));
    says_of_change(&fake, "bob", Says::Approve, "change");
    assert!(decides(&context, "change").await.is_err());
    decides(&context, "change").await.unwrap();
    assert_eq!(entries(&fake)[0], "Change NotSeen");
}

#[tokio::test]
async fn what_was_withdrawn_or_taken_back_is_no_excuse() {
    let approved = async || {
        let (fake, context) = installed().await;
        asks(&fake, &by_digest(2));
        decides(&context, "change").await.unwrap();
        says_of_change(&fake, "bob", Says::Approve, "change");
        decides(&context, "change").await.unwrap();
        assert_eq!(entries(&fake)[0], "Change NotSeen");
        (fake, context)
    };
    let (fake, context) = approved().await;
    fake.state().objects.remove(&format!("{SIGN_OFFS}/bob-Approve"));
    deploys(&fake, 2, 2);
    looks(&context).await.unwrap();
    assert_eq!(entries(&fake), ["Unauthorised Seen", "Change Unused", "Baseline Seen"]);

    let (fake, context) = approved().await;
    fake.state().objects.remove(&format!("{CHANGES}/change"));
    looks(&context).await.unwrap();
    assert_eq!(entries(&fake), ["Change Unused", "Baseline Seen"]);
}

#[tokio::test]
async fn a_promise_outlives_a_workload_that_is_not_there_and_so_does_the_record() {
    let (fake, context) = installed().await;
    asks(&fake, &by_digest(2));
    learns(&fake, &context);
    decides(&context, "change").await.unwrap();
    says_of_change(&fake, "bob", Says::Approve, "change");
    fake.state().objects.remove(DEPLOYMENT);
    decides(&context, "change").await.unwrap();
    looks(&context).await.unwrap();
    assert_eq!(entries(&fake), ["Change NotSeen", "Baseline Seen"]);
    fake.state().objects.remove(SHOP);
    looks(&context).await.unwrap();
    assert_eq!(entries(&fake), ["Change NotSeen", "Baseline Seen"]);
}

#[tokio::test]
async fn warned_of_is_only_noted_and_becomes_the_baseline_with_deny() {
    let fake = installation();
    let context = process(&fake);
    policy(&context, &json!({"enforcement": {"rollouts": "Warn", "creations": "Warn"}}));
    looks_everywhere(&context).await.unwrap();
    deploys(&fake, 2, 2);
    looks(&context).await.unwrap();
    assert_eq!(entries(&fake), ["Unreviewed Seen", "Baseline Seen"]);
    let record = fake.get(&format!("{RECORDS}/{}", web().record_name())).unwrap();
    assert_eq!(record["status"]["entries"][0]["wouldRefuse"], json!(true));
    assert!(names(&fake, CHANGES).is_empty());

    policy(&context, &json!({}));
    looks_everywhere(&context).await.unwrap();
    assert_eq!(entries(&fake), ["Baseline Seen", "Baseline Seen"]);
    // It is taken as it is once, and not again.
    deploys(&fake, 3, 3);
    looks(&context).await.unwrap();
    looks_everywhere(&context).await.unwrap();
    assert_eq!(entries(&fake)[0], "Unauthorised Seen");
    assert_eq!(names(&fake, CHANGES).len(), 1);
}

#[tokio::test]
async fn what_ran_when_its_namespace_became_production_is_unreviewed_and_opens_nothing() {
    let fake = installation();
    let outside = json!({"name": "shop", "uid": uid("shop"), "labels": {"foureyes.dev/environment": "non-production"}});
    fake.put(SHOP, json!({"metadata": outside}));
    let context = process(&fake);
    looks_everywhere(&context).await.unwrap();
    looks(&context).await.unwrap();
    assert!(names(&fake, RECORDS).is_empty(), "nothing is kept of what is not governed");
    fake.put(SHOP, json!({"metadata": {"name": "shop", "uid": uid("shop")}}));
    // Whichever comes first.
    looks(&context).await.unwrap();
    looks_everywhere(&context).await.unwrap();
    looks(&context).await.unwrap();
    assert_eq!(entries(&fake), ["Unreviewed Seen"]);
    deploys(&fake, 2, 2);
    looks(&context).await.unwrap();
    assert_eq!(entries(&fake), ["Unauthorised Seen", "Unreviewed Seen"]);
    assert_eq!(names(&fake, CHANGES).len(), 1);
}

#[tokio::test]
async fn nothing_is_put_on_record_before_the_first_start() {
    let fake = installation();
    let context = process_before_the_first_start(&fake);
    assert!(matches!(looks(&context).await.unwrap(), Next::After(_)));
    assert!(matches!(looks_everywhere(&context).await.unwrap(), Next::After(_)));
    asks(&fake, &by_digest(2));
    decides(&context, "change").await.unwrap();
    assert!(names(&fake, RECORDS).is_empty());
}

#[tokio::test]
async fn which_digest_a_tag_turned_out_to_be_is_on_record() {
    let (fake, context) = installed().await;
    let pod = |id: &str| {
        let status = json!({"name": "web", "image": "web:1", "imageID": id, "ready": true, "restartCount": 0});
        json!({"metadata": {"namespace": "shop", "name": "web-1", "uid": uid("web-1")},
               "spec": {"containers": [{"name": "web", "image": "web:1"}]},
               "status": {"containerStatuses": [status]}})
    };
    for id in ["docker.io/web@sha256:aa", "docker.io/web@sha256:bb"] {
        fake.put("/api/v1/namespaces/shop/pods/web-1", pod(id));
        looks(&context).await.unwrap();
        looks(&context).await.unwrap();
    }
    let record = fake.get(&format!("{RECORDS}/{}", web().record_name())).unwrap();
    assert_eq!(record["status"]["entries"][0]["imageIDs"], json!({"web": ["sha256:aa", "sha256:bb"]}));
    assert_eq!(writes(&fake, &Method::PATCH), 4, "{:?}", fake.state().writes);
}

#[tokio::test]
async fn sign_offs_go_after_their_change_and_not_before() {
    let (fake, context) = installed().await;
    asks(&fake, &by_digest(2));
    decides(&context, "change").await.unwrap();
    says_of_change(&fake, "bob", Says::Approve, "change");
    let clear = || sign_offs::reconcile(context.clone(), uid("change").into());
    context.clock.set("2026-11-23T11:00:00Z".parse().unwrap());
    clear().await.unwrap();
    assert_eq!(names(&fake, SIGN_OFFS), ["bob-Approve"], "its change is there, seen or not");
    fake.state().objects.remove(&format!("{CHANGES}/change"));
    clear().await.unwrap();
    assert!(names(&fake, SIGN_OFFS).is_empty());
}

#[tokio::test]
async fn what_can_not_be_read_neither_came_nor_went() {
    let (fake, context) = installed().await;
    asks(&fake, &json!({"apiVersion": "example.org/v1", "kind": "Thing", "action": "Remove"}));
    fake.put(
        "/apis/example.org/v1",
        json!({"groupVersion": "example.org/v1", "resources": [
        {"name": "things", "kind": "Thing", "namespaced": true, "singularName": "", "verbs": []}]}),
    );
    decides(&context, "change").await.unwrap();
    says_of_change(&fake, "bob", Says::Approve, "change");
    fake.state().faults = vec![(Method::GET, "/things/web", Fault::Refuse(403))];
    decides(&context, "change").await.unwrap();
    assert_eq!(change(&fake, "/status/phase"), "Approved");
    decides(&context, "change").await.unwrap();
    assert_eq!(change(&fake, "/status/phase"), "Succeeded", "now it is gone");
}
