//! From a body to an answer: parse, judge within the deadline, count, log. Whatever goes wrong is a refusal.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Extension;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::index::Snapshot;
use foureyes_core::reason::Code;
use futures::FutureExt as _;
use serde::Deserialize;

use super::review::{self, Answer, Request};
use super::verdict::Allowed;
use super::{rules, stamp};
use crate::clock::Clock;
use crate::cluster::live::Live;
use crate::metrics::{Decision, Metrics};
use crate::server::material::SealingKey;
use crate::server::tls::CallerAuth;

/// The API server's own deadline when it states none.
const STATED_BY_DEFAULT: Duration = Duration::from_secs(5);
/// What is left of it for the way there and back (I 16).
const MARGIN: Duration = Duration::from_millis(500);

/// What all reviews share.
pub struct Shared {
    pub index: ArcSwap<Snapshot>,
    pub sealing_key: SealingKey,
    pub live: Live,
    /// Namespace of foureyes itself.
    pub own_namespace: String,
    pub clock: Clock,
    pub metrics: Metrics,
}

#[derive(Clone, Copy)]
enum Webhook {
    Guard,
    Stamp,
}

impl Webhook {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::Stamp => "stamp",
        }
    }
}

#[derive(Deserialize)]
struct Timeout {
    timeout: Option<String>,
}

impl Timeout {
    /// Time to decide: what the API server grants, less the way.
    fn budget(&self) -> Duration {
        let stated = self.timeout.as_deref().and_then(|text| crate::config::duration(text).ok());
        let granted = stated.unwrap_or(STATED_BY_DEFAULT).min(STATED_BY_DEFAULT);
        granted.saturating_sub(MARGIN).max(granted / 2)
    }
}

/// The routes of both webhooks.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/guard", post(guard)).route("/stamp", post(stamp)).with_state(shared)
}

async fn guard(
    State(shared): State<Arc<Shared>>,
    caller: Option<Extension<CallerAuth>>,
    Query(timeout): Query<Timeout>,
    body: Bytes,
) -> Response {
    answer(&shared, Webhook::Guard, caller.map(|caller| caller.0), &timeout, &body).await
}

async fn stamp(
    State(shared): State<Arc<Shared>>,
    caller: Option<Extension<CallerAuth>>,
    Query(timeout): Query<Timeout>,
    body: Bytes,
) -> Response {
    answer(&shared, Webhook::Stamp, caller.map(|caller| caller.0), &timeout, &body).await
}

async fn answer(
    shared: &Shared,
    webhook: Webhook,
    caller: Option<CallerAuth>,
    timeout: &Timeout,
    body: &[u8],
) -> Response {
    let began = Instant::now();
    let request = match review::read(body) {
        Ok(request) => request,
        Err(error) => return unreadable(shared, webhook, body, &error, began),
    };
    let decision = decide(shared, webhook, caller, &request, body);
    // A panic is a refusal too; the snapshot it may have held is nobody else's.
    let decision = AssertUnwindSafe(tokio::time::timeout(timeout.budget(), decision)).catch_unwind().await;
    let decided = decision
        .unwrap_or_else(|_| Ok(Err(Refusal::new(Code::InternalError, "nothing was decided: an internal error"))));
    let answer = decided
        .unwrap_or_else(|_| Err(Refusal::new(Code::DeadlineExceeded, "nothing was decided: it took too long")))
        .unwrap_or_else(|refusal| refused(&refusal));
    record(shared, webhook, &request, &answer, began.elapsed());
    respond(&answer, &request.uid)
}

/// What was read is not a review; it is refused with its uid, if that much can be read (F 27).
fn unreadable(shared: &Shared, webhook: Webhook, body: &[u8], error: &serde_json::Error, began: Instant) -> Response {
    let code = Code::ReviewUnreadable.as_str();
    shared.metrics.decided(Decision { webhook: webhook.as_str(), verdict: "refused", code }, began.elapsed());
    // The position only: serde's message may quote what it read (I 23).
    tracing::warn!(
        webhook = webhook.as_str(),
        code,
        line = error.line(),
        column = error.column(),
        bytes = body.len(),
        "unreadable review"
    );
    match review::uid(body) {
        Some(uid) => respond(&refused(&super::input::unreadable("it is not a complete AdmissionReview")), &uid),
        None => (StatusCode::BAD_REQUEST, "not an AdmissionReview\n").into_response(),
    }
}

async fn decide(
    shared: &Shared,
    webhook: Webhook,
    caller: Option<CallerAuth>,
    request: &Request<'_>,
    body: &[u8],
) -> Result<Answer, Refusal> {
    if caller == Some(CallerAuth::Unverified) {
        return Err(Refusal::new(Code::CallerUnverified, "nothing was decided: the caller is not the API server"));
    }
    let now = shared.clock.now();
    match webhook {
        Webhook::Stamp => {
            let (key, index) = (shared.sealing_key.load(), shared.index.load());
            let cluster = index.namespace("kube-system").map(|namespace| &*namespace.uid);
            let author = request.user_info.author();
            let scene = stamp::Scene { request, author: &author, key: key.as_deref(), cluster, now };
            let patch = stamp::patch(&scene)?;
            let reason = if patch.is_some() { "Stamped" } else { "Left" };
            Ok(Answer { allowed: true, reason, patch, ..Answer::default() })
        }
        Webhook::Guard => {
            let index = shared.index.load_full();
            if let Some(kind) = index.missing().next() {
                let sentence = format!("nothing was decided: {} have not been read yet", kind.as_str());
                return Err(Refusal::new(Code::NotReady, sentence));
            }
            let own_namespace = &shared.own_namespace;
            let author = OnceLock::new();
            let scene = rules::Scene { request, body, author, index: &index, live: &shared.live, own_namespace, now };
            rules::judge(&scene).await.map(allowed)
        }
    }
}

fn allowed(allowed: Allowed) -> Answer {
    Answer {
        allowed: true,
        reason: allowed.proof.as_str(),
        names: allowed.proof.names().map(str::to_owned),
        warnings: allowed.warnings,
        ..Answer::default()
    }
}

fn refused(refusal: &Refusal) -> Answer {
    let code = refusal.code.as_str();
    Answer { code: Some(code), message: Some(refusal.to_string()), reason: code, ..Answer::default() }
}

/// One line a decision, and one count.
fn record(shared: &Shared, webhook: Webhook, request: &Request<'_>, answer: &Answer, took: Duration) {
    let verdict = if answer.allowed { "allowed" } else { "refused" };
    shared.metrics.decided(Decision { webhook: webhook.as_str(), verdict, code: answer.reason }, took);
    if answer.code == Some(Code::CanaryKept.as_str()) {
        return;
    }
    let object = request.object.as_ref().or(request.old_object.as_ref());
    let named = object.and_then(|object| object.metadata.name.as_deref()).or(request.name.as_deref());
    tracing::info!(
        webhook = webhook.as_str(),
        uid = &*request.uid,
        user = &*request.user_info.username,
        operation = request.operation.as_str(),
        resource = &*request.resource.resource,
        subresource = request.sub_resource.as_deref(),
        namespace = request.namespace.as_deref(),
        name = named,
        dry_run = request.dry_run == Some(true),
        verdict,
        code = answer.reason,
        names = answer.names.as_deref(),
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "decision"
    );
}

fn respond(answer: &Answer, uid: &str) -> Response {
    match answer.bytes(uid) {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written\n").into_response(),
    }
}
