//! An API server small enough to misbehave on demand: it refuses, hangs, or lets the process end after any write.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::sealing::Stamp;

/// What can be listed; of other plurals nothing is known.
const LISTED: [&str; 12] = [
    "backupretentions",
    "changerequests",
    "cronjobs",
    "daemonsets",
    "deletionrequests",
    "deployments",
    "namespaces",
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "signoffs",
    "statefulsets",
];

/// What one call is answered with instead.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// An answer with this code; nothing is done.
    Refuse(u16),
    /// No answer, ever; nothing is done.
    Hang,
}

#[derive(Default)]
pub struct State {
    /// By path.
    pub objects: BTreeMap<String, Value>,
    /// Who may approve.
    pub approvers: Vec<&'static str>,
    /// Faults, by method and a part of the path; each happens once.
    pub faults: Vec<(Method, &'static str, Fault)>,
    /// Everything written, `METHOD path`.
    pub writes: Vec<String>,
    /// After so many writes nothing is answered any more: whoever asks has ended.
    pub ends_after: Option<usize>,
    version: u64,
}

/// Clones share their objects.
#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    stamp: Arc<Stamp>,
}

impl Fake {
    pub fn new(stamp: Stamp) -> Self {
        let fake = Self { state: Arc::default(), stamp: Arc::new(stamp) };
        fake.put("/api/v1/namespaces/foureyes-system/configmaps/foureyes-keys", fake.stamp.config_map());
        fake
    }

    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Puts an object there, as if somebody else had.
    pub fn put(&self, path: &str, object: Value) {
        let mut state = self.state();
        let version = state.next_version();
        let mut object = object;
        object["metadata"]["resourceVersion"] = version.into();
        state.objects.insert(path.to_owned(), object);
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    pub fn client(&self) -> Client {
        let fake = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let answer = self.judge(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default(), body);
        let Some((code, value)) = answer else {
            return std::future::pending().await;
        };
        Response::builder().status(code).body(Body::from(value.to_string().into_bytes())).unwrap()
    }

    /// Nothing: it hangs.
    fn judge(&self, method: &Method, path: &str, query: &str, body: Value) -> Option<(u16, Value)> {
        let mut state = self.state();
        let ended = state.ends_after.is_some_and(|most| state.writes.len() >= most);
        let fault = state.faults.iter().position(|(of, part, _)| of == method && path.contains(part));
        match fault.map(|at| state.faults.remove(at).2) {
            _ if ended => None,
            Some(Fault::Hang) => None,
            Some(Fault::Refuse(code)) => Some(status(code)),
            None if path.ends_with("/subjectaccessreviews") => Some((201, state.review(body))),
            None if method == Method::GET => Some(state.read(path, query)),
            None => {
                state.writes.push(format!("{method} {path}"));
                Some(state.write(method, path, body, &self.stamp))
            }
        }
    }
}

impl State {
    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    fn review(&self, mut review: Value) -> Value {
        let user = review["spec"]["user"].as_str().unwrap_or_default();
        review["status"] = json!({ "allowed": self.approvers.contains(&user) });
        review
    }

    fn read(&self, path: &str, query: &str) -> (u16, Value) {
        if let Some(object) = self.objects.get(path) {
            return (200, object.clone());
        }
        let (base, plural) = path.rsplit_once('/').unwrap_or_default();
        // Kinds of others are installed with their first object.
        let is_there = |path: &String| path.rsplit('/').nth(1) == Some(plural);
        if !LISTED.contains(&plural) && !self.objects.keys().any(is_there) {
            return status(404);
        }
        let uid = query.split_once(".uid%3D").map(|(_, rest)| rest.split('&').next().unwrap_or_default());
        let is_listed = |other: &str| {
            let Some((of, _)) = other.rsplit_once('/') else { return false };
            let everywhere = of.strip_prefix(base).and_then(|rest| rest.strip_prefix("/namespaces/"));
            of == path || everywhere.and_then(|rest| rest.split_once('/')).is_some_and(|(_, of)| of == plural)
        };
        let items = self.objects.iter().filter(|(path, _)| is_listed(path)).map(|(_, object)| object);
        let selected = items.filter(|object| {
            let subject = object.pointer("/spec/subject/uid").or_else(|| object.pointer("/spec/target/uid"));
            uid.is_none_or(|uid| subject.and_then(Value::as_str) == Some(uid))
        });
        (200, json!({ "metadata": {}, "items": selected.collect::<Vec<_>>() }))
    }

    fn write(&mut self, method: &Method, path: &str, body: Value, stamp: &Stamp) -> (u16, Value) {
        match *method {
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
                if self.objects.contains_key(&path) {
                    return status(409);
                }
                let mut object = stamp.stamped(body);
                object["metadata"]["resourceVersion"] = self.next_version().into();
                self.objects.insert(path, object.clone());
                (201, object)
            }
            Method::DELETE => self.objects.remove(path).map_or_else(|| status(404), |object| (200, object)),
            _ => {
                let version = self.next_version();
                let path = path.trim_end_matches("/status").trim_end_matches("/scale");
                let Some(object) = self.objects.get_mut(path) else { return status(404) };
                let read = &body["metadata"]["resourceVersion"];
                if !read.is_null() && *read != object["metadata"]["resourceVersion"] {
                    return status(409);
                }
                if let Some(operations) = body.as_array() {
                    for operation in operations {
                        let at = operation["path"].as_str().unwrap_or_default();
                        let Some(value) = object.pointer_mut(at) else { return status(422) };
                        match operation["op"].as_str() {
                            Some("test") if *value != operation["value"] => return status(422),
                            Some("test") => {}
                            _ => *value = operation["value"].clone(),
                        }
                    }
                }
                let uid = &body["metadata"]["uid"];
                if !uid.is_null() && *uid != object["metadata"]["uid"] {
                    return status(409);
                }
                for part in ["/spec", "/metadata/annotations"] {
                    let Some(changes) = body.pointer(part).and_then(Value::as_object) else { continue };
                    let at = part.rsplit_once('/').map_or("", |(at, _)| at);
                    let (Some(parent), key) = (object.pointer_mut(at), part.rsplit('/').next().unwrap_or_default())
                    else {
                        continue;
                    };
                    for (name, value) in changes {
                        parent[key][name] = value.clone();
                    }
                }
                if !body["status"].is_null() {
                    object["status"] = body["status"].clone();
                }
                for (key, value) in body["data"].as_object().into_iter().flatten() {
                    object["data"][key] = value.clone();
                }
                object["metadata"]["resourceVersion"] = version.into();
                (200, object.clone())
            }
        }
    }
}

fn status(code: u16) -> (u16, Value) {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        _ => "InternalError",
    };
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code}),
    )
}
