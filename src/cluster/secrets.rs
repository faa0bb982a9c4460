//! Secrets, each read and written by its own name: nobody here may list them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;

use super::client::{CallError, with_deadline};

/// Time for one read or write of a Secret.
const CALL: Duration = Duration::from_secs(5);
/// Between two looks at a Secret that is not filled yet: the start of a process waits for it.
const UNSETTLED: Duration = Duration::from_secs(1);

/// What a Secret holds, by key.
pub type Data = BTreeMap<String, Vec<u8>>;

/// A Secret as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    /// Its content.
    pub data: Data,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// For writing it back only if nobody else wrote since.
    pub resource_version: String,
}

/// Without the content: a Debug line must never show a secret.
impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("keys", &self.data.keys().collect::<Vec<_>>())
            .field("resource_version", &self.resource_version)
            .finish_non_exhaustive()
    }
}

impl From<Secret> for Held {
    fn from(secret: Secret) -> Self {
        let data = secret.data.unwrap_or_default();
        Self {
            data: data.into_iter().map(|(key, ByteString(value))| (key, value)).collect(),
            annotations: secret.metadata.annotations.unwrap_or_default(),
            resource_version: secret.metadata.resource_version.unwrap_or_default(),
        }
    }
}

impl Held {
    /// The value under `key`, unless it is empty.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        self.data.get(key).map(Vec::as_slice).filter(|value| !value.is_empty())
    }
}

/// The Secret of this name; `None` if there is none.
pub async fn get(client: &Client, namespace: &str, name: &str) -> Result<Option<Held>, CallError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = with_deadline(CALL, api.get_opt(name)).await?;
    Ok(secret.map(Held::from))
}

/// Sets the given keys, if the Secret is still as `held` was read; else the error [is a conflict](CallError::is_conflict).
/// Keys not named stay. Only the named part is sent, so fields that this program does not know are not lost.
pub async fn update(client: &Client, namespace: &str, name: &str, held: &Held, set: &Data) -> Result<Held, CallError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let data: BTreeMap<&String, ByteString> = set.iter().map(|(key, value)| (key, ByteString(value.clone()))).collect();
    let patch = json!({ "metadata": { "resourceVersion": held.resource_version }, "data": data });
    let params = PatchParams::default();
    let secret = with_deadline(CALL, api.patch(name, &params, &Patch::Merge(patch))).await?;
    Ok(secret.into())
}

/// What a poll last saw of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not read yet; the class of the error, if there was one.
    Unread(Option<&'static str>),
    /// There is no such Secret.
    Absent,
    /// Its content.
    Present(Arc<Held>),
}

/// Reads a Secret every `interval`, or every second until there is something in it, and reports when its content is
/// another. While reads fail what was last seen stays. The polling ends with its last receiver.
pub fn watch_secret(
    client: Client,
    namespace: String,
    name: &'static str,
    interval: Duration,
) -> watch::Receiver<Seen> {
    let (seen, receiver) = watch::channel(Seen::Unread(None));
    tokio::spawn(async move {
        loop {
            let before = seen.borrow().clone();
            if let Some(now) = look(&client, &namespace, name, &before).await {
                seen.send_if_modified(|before| {
                    let changed = !same_content(before, &now);
                    if changed {
                        *before = now;
                    }
                    changed
                });
            }
            let settled = matches!(&*seen.borrow(), Seen::Present(held) if !held.data.is_empty());
            let pause = if settled { interval } else { interval.min(UNSETTLED) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = seen.closed() => return,
            }
        }
    });
    receiver
}

/// What is there now; `None` if that can't be known and `before` is more than nothing.
async fn look(client: &Client, namespace: &str, name: &str, before: &Seen) -> Option<Seen> {
    match get(client, namespace, name).await {
        Ok(Some(held)) => Some(Seen::Present(Arc::new(held))),
        Ok(None) => Some(Seen::Absent),
        Err(error) => {
            tracing::warn!(secret = name, class = error.class(), %error, "a Secret can't be read");
            matches!(before, Seen::Unread(_)).then(|| Seen::Unread(Some(error.class())))
        }
    }
}

/// A new resourceVersion alone is no news.
fn same_content(a: &Seen, b: &Seen) -> bool {
    match (a, b) {
        (Seen::Present(a), Seen::Present(b)) => a.data == b.data && a.annotations == b.annotations,
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::http::{Request, Response};
    use kube::client::Body;
    use serde_json::Value;
    use std::convert::Infallible;
    use std::sync::Mutex;

    type Answer = (u16, Value);

    /// A client whose API server always gives the answer that is set.
    fn answering(first: Answer) -> (Client, Arc<Mutex<Answer>>) {
        let answer = Arc::new(Mutex::new(first));
        let given = Arc::clone(&answer);
        let service = tower::service_fn(move |_: Request<Body>| {
            let (code, body) = given.lock().unwrap().clone();
            let response = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            async move { Ok::<_, Infallible>(response.unwrap()) }
        });
        (Client::new(service, "default"), answer)
    }

    fn secret(version: &str, data: &Value) -> Answer {
        let metadata = json!({ "name": "s", "resourceVersion": version });
        (200, json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data }))
    }

    fn failure(code: u16) -> Answer {
        let reason = if code == 404 { "NotFound" } else { "Refused" };
        (code, json!({ "kind": "Status", "status": "Failure", "message": "no", "reason": reason, "code": code }))
    }

    #[tokio::test(start_paused = true)]
    async fn only_another_content_is_news_and_a_failing_read_is_none() {
        let (client, answer) = answering(failure(403));
        let every = Duration::from_secs(10);
        let mut seen = watch_secret(client, "ns".to_owned(), "s", every);
        seen.changed().await.unwrap();
        assert_eq!(*seen.borrow_and_update(), Seen::Unread(Some("forbidden")));
        *answer.lock().unwrap() = failure(404);
        tokio::time::timeout(Duration::from_secs(2), seen.changed()).await.unwrap().unwrap();
        assert_eq!(*seen.borrow_and_update(), Seen::Absent);
        *answer.lock().unwrap() = secret("1", &json!({ "k": "djE=" }));
        tokio::time::timeout(Duration::from_secs(2), seen.changed()).await.unwrap().unwrap();
        let Seen::Present(held) = seen.borrow_and_update().clone() else { unreachable!() };
        assert_eq!(held.value("k"), Some(b"v1".as_slice()));
        assert!(!format!("{held:?}").contains("v1"), "a Debug line shows the content");
        for quiet in [secret("2", &json!({ "k": "djE=" })), failure(500)] {
            *answer.lock().unwrap() = quiet;
            assert!(tokio::time::timeout(every * 3, seen.changed()).await.is_err());
        }
        *answer.lock().unwrap() = secret("3", &json!({ "k": "djI=" }));
        tokio::time::timeout(every * 2, seen.changed()).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn somebody_elses_write_in_between_is_a_conflict() {
        let (client, _) = answering(failure(409));
        let held = Held { data: Data::new(), annotations: BTreeMap::new(), resource_version: "1".to_owned() };
        let error = update(&client, "ns", "s", &held, &Data::new()).await.unwrap_err();
        assert!(error.is_conflict());
    }
}
