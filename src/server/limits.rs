//! What one request, and all of them together, may cost. Beyond it a request is turned away, never half read: under
//! `failurePolicy: Fail` that is a refusal.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::metrics::Metrics;

/// The largest body of a review: 7 MiB, because the API server takes 3 MiB and a review holds two objects
/// (the limit of controller-runtime).
pub const MAX_BODY: usize = 7 * 1024 * 1024;
/// Bodies up to this size only count as one request; larger ones also need one of [`LARGE_AT_ONCE`] places.
const SMALL_BODY: usize = 256 * 1024;
/// Large bodies in memory at once: 8 × 7 MiB.
const LARGE_AT_ONCE: usize = 8;
/// How long a request may take to arrive whole; below the 5 s after which the API server has given up.
const BODY_TIME: Duration = Duration::from_secs(4);

/// The bounds of one port; clones share them.
#[derive(Clone, Debug)]
pub struct Limits {
    in_flight: Arc<Semaphore>,
    large: Arc<Semaphore>,
    body_time: Duration,
    metrics: Metrics,
}

impl Limits {
    /// At most `in_flight` requests at a time, from their head to their answer.
    pub fn new(in_flight: usize, metrics: Metrics) -> Self {
        Self {
            in_flight: Arc::new(Semaphore::new(in_flight.min(Semaphore::MAX_PERMITS))),
            large: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
            body_time: BODY_TIME,
            metrics,
        }
    }

    /// Puts `router` behind these bounds. Its handlers find the whole body in memory, in one piece.
    pub fn around(self, router: Router) -> Router {
        // axum's own limit of 2 MB is for bodies that nobody has bounded yet.
        let router = router.layer(DefaultBodyLimit::disable());
        router.layer(from_fn_with_state(self, bounded))
    }
}

/// Why a request was turned away before anybody judged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turned {
    Overloaded,
    TooLarge,
    SlowBody,
    BrokenBody,
}

impl Turned {
    /// Status, metric label and text.
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "foureyes answers as many requests as it can; try again",
            ),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a review may have at most 7 MiB"),
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "slow_body", "the body did not arrive in time"),
            Self::BrokenBody => (StatusCode::BAD_REQUEST, "broken_body", "the body broke off"),
        }
    }
}

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        let (status, code, message) = self.parts();
        let body = json!({ "code": code, "message": message }).to_string();
        let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if self == Self::Overloaded {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Counts down also when the request's future is dropped.
struct InFlight<'a>(&'a Metrics);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight().dec();
    }
}

async fn bounded(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let turn = |why: Turned| {
        limits.metrics.shed(why.parts().1);
        why.into_response()
    };
    let (parts, body) = request.into_parts();
    let Ok(_place) = limits.in_flight.try_acquire() else {
        let _ = timeout(limits.body_time, read_on(body)).await;
        return turn(Turned::Overloaded);
    };
    limits.metrics.in_flight().inc();
    let _in_flight = InFlight(&limits.metrics);
    let mut large = None;
    let read = timeout(limits.body_time, read_body(body, &limits.large, &mut large));
    let body = match read.await {
        Ok(Ok(body)) => body,
        Ok(Err(why)) => return turn(why),
        Err(_) => return turn(Turned::SlowBody),
    };
    next.run(Request::from_parts(parts, Body::from(body))).await
}

/// Reads what a peer still writes, and keeps nothing of it: the peer would otherwise see a broken connection instead of
/// the answer, and come back over a new one.
async fn read_on(mut body: Body) {
    let mut seen = 0_usize;
    while let Some(Ok(frame)) = body.frame().await {
        seen = seen.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if seen > 2 * MAX_BODY {
            return;
        }
    }
}

/// The whole body in one piece. A body over the limit, or for which there is no place, is read on, unkept, up to twice
/// the limit.
async fn read_body(
    mut body: Body,
    large: &Arc<Semaphore>,
    place: &mut Option<OwnedSemaphorePermit>,
) -> Result<Bytes, Turned> {
    let announced = body.size_hint().exact();
    if announced.is_some_and(|bytes| bytes > 2 * MAX_BODY as u64) {
        return Err(Turned::TooLarge);
    }
    // One allocation for what is usual; an announced size alone does not get more than that.
    let expected = announced.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
    let mut first: Option<Bytes> = None;
    let mut whole = Vec::new();
    let mut seen = 0_usize;
    let mut no_place = false;
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| Turned::BrokenBody)?.into_data() else {
            continue;
        };
        seen = seen.saturating_add(piece.len());
        if seen > 2 * MAX_BODY {
            return Err(Turned::TooLarge);
        }
        if seen > SMALL_BODY && place.is_none() && !no_place {
            *place = Arc::clone(large).try_acquire_owned().ok();
            no_place = place.is_none();
        }
        if seen > MAX_BODY || no_place {
            (first, whole) = (None, Vec::new());
            continue;
        }
        match (first.take(), whole.is_empty()) {
            (None, true) => first = Some(piece),
            (earlier, _) => {
                if let Some(earlier) = earlier {
                    whole.reserve(expected.clamp(seen, SMALL_BODY.max(seen)));
                    whole.extend_from_slice(&earlier);
                }
                whole.extend_from_slice(&piece);
            }
        }
    }
    if seen > MAX_BODY {
        return Err(Turned::TooLarge);
    }
    if no_place {
        return Err(Turned::Overloaded);
    }
    Ok(first.unwrap_or_else(|| Bytes::from(whole)))
}
