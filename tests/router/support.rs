//! A router over an index that the test fills, and an API server that answers as the test says.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use foureyes::admission::{Shared, router};
use foureyes::clock::Clock;
use foureyes::cluster::live::Live;
use foureyes::metrics::Metrics;
use foureyes_core::index::{Change, Kind, NamespaceEntry, Snapshot};
use foureyes_core::seal::SigningKey;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub const SHOP: &str = "00000000-0000-0000-0000-000000000001";
pub const CLAIM: &str = "00000000-0000-0000-0000-000000000002";

pub fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// What the API server answers, and what it was asked.
#[derive(Clone, Default)]
pub struct Api {
    pub asked: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<Vec<(String, Answer)>>>,
}

#[derive(Clone)]
pub enum Answer {
    Json(Value),
    /// To a question about rights: held are these, each `user verb resource namespace`.
    Rights(Vec<String>),
    Status(u16),
    NotFound,
    Hang,
}

impl Api {
    /// Paths that contain `part` get this answer; the first that matches counts, everything else is 404.
    pub fn answers(self, part: &str, answer: Answer) -> Self {
        self.answers.lock().unwrap().push((part.to_owned(), answer));
        self
    }

    /// The answers of `first` come before its own.
    pub fn behind(self, first: Self) -> Self {
        let own = std::mem::take(&mut *self.answers.lock().unwrap());
        first.answers.lock().unwrap().extend(own);
        first
    }

    fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = api.clone();
            let asked = (request.method().to_string(), request.uri().to_string());
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(api.answer(&asked.0, &asked.1, &body).await)
            }
        });
        kube::Client::new(service, "default")
    }

    async fn answer(&self, method: &str, path: &str, body: &[u8]) -> Response<kube::client::Body> {
        self.asked.lock().unwrap().push(format!("{method} {path}"));
        let found = self.answers.lock().unwrap().iter().find(|(part, _)| path.contains(part)).cloned();
        let (status, value) = match found.map(|(_, answer)| answer) {
            Some(Answer::Hang) => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                (504, json!({}))
            }
            Some(Answer::Json(value)) => (200, value),
            Some(Answer::Rights(held)) => (201, answered(body, &held)),
            Some(Answer::Status(status)) => (status, json!({"kind": "Status", "status": "Failure", "code": status})),
            Some(Answer::NotFound) | None => {
                (404, json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}))
            }
        };
        let body = kube::client::Body::from(serde_json::to_vec(&value).unwrap());
        Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
    }
}

fn answered(question: &[u8], held: &[String]) -> Value {
    let mut review: Value = serde_json::from_slice(question).unwrap();
    let about = &review["spec"]["resourceAttributes"];
    assert_eq!((&about["group"], &about["subresource"]), (&json!("foureyes.dev"), &json!("signoff")));
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let asked = [&review["spec"]["user"], &about["verb"], &about["resource"], &about["namespace"]].map(word).join(" ");
    review["status"] = json!({"allowed": held.contains(&asked)});
    review
}

fn key_bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| SigningKey::generate().unwrap())
}

/// The sealing key of the installation.
pub fn key() -> SigningKey {
    SigningKey::from_pkcs8(key_bytes()).unwrap()
}

/// An index in which everything has been read: namespace `shop`, production, enforcement begun.
pub fn synced() -> Snapshot {
    let mut index = Snapshot::default();
    for kind in Kind::ALL {
        index.apply(Change::Reset(kind, Vec::new()));
    }
    index.apply(Change::Started);
    for (name, uid) in [("shop", SHOP), ("kube-system", "cluster-a")] {
        let entry = NamespaceEntry { name: name.into(), uid: uid.into(), ..NamespaceEntry::default() };
        index.apply(Change::Namespace(entry));
    }
    index
}

pub fn build(index: Snapshot, api: &Api) -> Router {
    let metrics = Metrics::new(None);
    router(Arc::new(Shared {
        index: ArcSwap::from_pointee(index),
        sealing_key: Arc::new(ArcSwapOption::from_pointee(key())),
        live: Live::new(api.client(), "foureyes-system", Duration::from_secs(3), metrics.clone()),
        own_namespace: "foureyes-system".to_owned(),
        clock: Clock::standing_at(now()),
        metrics,
    }))
}

/// Posts a body and returns status and what came back.
pub async fn post(router: &Router, path: &str, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
    let request = Request::post(path).header("content-type", "application/json").body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

/// Posts a review and returns the `response` of the answer, whose uid is checked.
pub async fn review(router: &Router, path: &str, review: &Value) -> Value {
    let (status, bytes) = post(router, path, serde_json::to_vec(review).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    answer["response"].clone()
}

/// Judges a review; `Ok` with the proof or `Err` with the code.
pub async fn judge(router: &Router, asked: &Value) -> Result<String, String> {
    let response = review(router, "/guard", asked).await;
    let decision = response["auditAnnotations"]["decision"].as_str().unwrap().to_owned();
    if response["allowed"] == true {
        return Ok(decision);
    }
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("[{decision}]")), "{message}");
    assert_eq!(response["status"]["code"], 403);
    assert_eq!(response["status"]["details"]["causes"][0]["reason"], decision.as_str());
    Err(decision)
}

/// What [`judge`] gives for a refusal with this code.
pub fn refused(code: &str) -> Result<String, String> {
    Err(code.to_owned())
}

/// What [`judge`] gives for an allow with this proof.
#[expect(clippy::unnecessary_wraps, reason = "compared with a verdict")]
pub fn allowed(proof: &str) -> Result<String, String> {
    Ok(proof.to_owned())
}

pub fn claim() -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "reports", "namespace": "shop", "uid": CLAIM, "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"example.org/unrelated": null},
            "finalizers": ["kubernetes.io/pvc-protection"],
        },
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "fast"},
        "status": {"phase": "Bound"},
    })
}

pub fn request(operation: &str, group: &str, resource: &str, namespace: Option<&str>) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": group, "version": "v1", "kind": "X"},
            "resource": {"group": group, "version": "v1", "resource": resource},
            "namespace": namespace, "operation": operation,
            "userInfo": {"username": "eve", "groups": ["dev", "system:authenticated"]},
            "object": null, "oldObject": null, "dryRun": false,
        },
    })
}

pub fn delete_claim(claim: &Value) -> Value {
    let mut review = request("DELETE", "", "persistentvolumeclaims", Some("shop"));
    review["request"]["name"] = claim["metadata"]["name"].clone();
    review["request"]["oldObject"] = claim.clone();
    review
}
