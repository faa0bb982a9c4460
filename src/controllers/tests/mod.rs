//! The controllers against an API server that gives answers a real one would not give on demand.
#![allow(clippy::unwrap_used)]

mod clock;
mod fake;
mod faults;
mod flows;
mod kept_volumes;
mod rollout_faults;
mod rollouts;
mod sealing;
mod shutdown;
mod snapshots;
mod supervision;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Method;
use foureyes_core::api::{
    DeletionRequest, DeletionRequestSpec, Says, Shutdown, SignOffSpec, Subject, Target, TargetKind,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::context::{Context, ObjectKey, Queues, Shared};
use super::error::ReconcileError;
use super::queue::{Next, queue};
use super::{approvals, deletion_requests};
use crate::clock::Clock;
use crate::cluster::events::Events;
use crate::cluster::live::Live;
use crate::metrics::Metrics;
use fake::Fake;
use sealing::{Stamp, uid};

const REQUESTS: &str = "/apis/foureyes.dev/v1alpha1/deletionrequests";
const SIGN_OFFS: &str = "/apis/foureyes.dev/v1alpha1/signoffs";
const VOLUME: &str = "/api/v1/persistentvolumes/pv-1";
const RETENTIONS: &str = "/apis/foureyes.dev/v1alpha1/backupretentions";
const CLAIM: &str = "/api/v1/namespaces/shop/persistentvolumeclaims/reports";

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

/// A cluster with the claim shop/reports and its volume, in which bob may approve.
fn cluster() -> Fake {
    let fake = Fake::new(Stamp::new(now()));
    fake.put("/api/v1/namespaces/shop", json!({"metadata": {"name": "shop", "uid": uid("shop")}}));
    let claim = json!({"metadata": {"namespace": "shop", "name": "reports", "uid": uid("reports")},
                       "spec": {"volumeName": "pv-1"}});
    fake.put(CLAIM, claim);
    fake.put(
        VOLUME,
        json!({"metadata": {"name": "pv-1", "uid": uid("pv-1")},
                            "spec": {"persistentVolumeReclaimPolicy": "Delete"}}),
    );
    fake.state().approvers = vec!["bob"];
    fake
}

/// A process that has just started: it knows nothing.
fn process(fake: &Fake) -> Context {
    let context = process_before_the_first_start(fake);
    context.set_started();
    // It looks at pods, and the claim came after it began to.
    context.uses().replace(Vec::new(), Instant::now());
    context.uses().born(uid("reports").into());
    context
}

fn process_before_the_first_start(fake: &Fake) -> Context {
    let live = Live::new(fake.client(), "foureyes-system", Duration::from_secs(3), Metrics::new(None));
    let events = Events::new(fake.client());
    let queues = Queues {
        deletion_requests: queue().0,
        change_requests: queue().0,
        backup_retentions: queue().0,
        rollout_records: queue().0,
        releases: queue().0,
        regimes: queue().0,
        approvals: queue().0,
        leftovers: queue().0,
        kept_volumes: queue().0,
        sign_offs: queue().0,
        safety_policies: queue().0,
    };
    let clock = Clock::standing_at(now());
    let shared = Shared::new(live, events, clock, Metrics::new(None), "foureyes-system".to_owned(), queues);
    Arc::new(shared)
}

fn target() -> Target {
    Target {
        api_version: "v1".to_owned(),
        kind: TargetKind::PersistentVolumeClaim,
        namespace: Some("shop".to_owned()),
        name: "reports".to_owned(),
        uid: uid("reports"),
    }
}

/// alice asks for the deletion of the claim, in the request `one`.
fn alice_asks(fake: &Fake) {
    alice_asks_for(fake, None);
}

/// The same, and says who shuts down what uses it.
fn alice_asks_for(fake: &Fake, shutdown: Option<Shutdown>) {
    let spec = DeletionRequestSpec {
        target: target(),
        reason: "r".to_owned(),
        ticket: None,
        backups: Vec::new(),
        retention: None,
        shutdown,
        requester: None,
    };
    let request = fake.stamp().requested(DeletionRequest::new("one", spec), "alice");
    fake.put(&format!("{REQUESTS}/one"), serde_json::to_value(request).unwrap());
}

/// `author` says something about the request `one` as it stands.
fn says(fake: &Fake, author: &str, says: Says) {
    let digest = phase_of(fake, "/status/subjectDigest");
    let kind = "DeletionRequest".to_owned();
    says_about(fake, author, says, Subject { kind, namespace: None, name: "one".to_owned(), uid: uid("one") }, digest);
}

fn says_about(fake: &Fake, author: &str, says: Says, subject: Subject, digest: String) {
    let spec = SignOffSpec {
        subject,
        says,
        digest: Some(digest),
        verified: (says == Says::Supervised).then(|| "the shop answers".to_owned()),
        comment: None,
        reference: None,
        author: None,
        at: None,
        seal: None,
    };
    let sign_off = fake.stamp().signed_off(&format!("{author}-{}", says.as_str()), author, spec);
    let path = format!("{SIGN_OFFS}/{author}-{}", says.as_str());
    fake.put(&path, serde_json::to_value(sign_off).unwrap());
}

/// Text in the request `one`.
fn phase_of(fake: &Fake, pointer: &str) -> String {
    text(&fake.get(&format!("{REQUESTS}/one")).unwrap(), pointer)
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

async fn reconcile(context: &Context) -> Result<Next, ReconcileError> {
    deletion_requests::reconcile(context.clone(), "one".into()).await
}

async fn look_at_the_annotation(context: &Context) -> Result<Next, ReconcileError> {
    let key =
        ObjectKey { kind: TargetKind::PersistentVolumeClaim, namespace: Some("shop".into()), name: "reports".into() };
    approvals::reconcile(context.clone(), key).await
}

/// Until nothing is left to do at once.
async fn settle(context: &Context) -> Next {
    loop {
        let next = reconcile(context).await.unwrap();
        if next != Next::After(Duration::ZERO) {
            return next;
        }
    }
}

/// Names of objects under a path.
fn names(fake: &Fake, of: &str) -> Vec<String> {
    let state = fake.state();
    let paths = state.objects.keys().filter(|path| path.starts_with(of));
    paths.map(|path| path.rsplit('/').next().unwrap_or_default().to_owned()).collect()
}

fn writes(fake: &Fake, method: &Method) -> usize {
    fake.state().writes.iter().filter(|write| write.starts_with(method.as_str())).count()
}
