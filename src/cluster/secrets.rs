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
            data: data
                .into_iter()
                .map(|(key, ByteString(value))| (key, value))
                .collect(),
            annotations: secret.metadata.annotations.unwrap_or_default(),
            resource_version: secret.metadata.resource_version.unwrap_or_default(),
        }
    }
}

impl Held {
    /// The value under `key`, unless it is empty.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        self.data
            .get(key)
            .map(Vec::as_slice)
            .filter(|value| !value.is_empty())
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
pub async fn update(
    client: &Client,
    namespace: &str,
    name: &str,
    held: &Held,
    set: &Data,
) -> Result<Held, CallError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let data: BTreeMap<&String, ByteString> = set
        .iter()
        .map(|(key, value)| (key, ByteString(value.clone())))
        .collect();
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

/// Reads a Secret every `interval` and reports when its content is another. While reads fail what was last seen stays.
/// The polling ends with its last receiver.
pub fn watch_secret(
    client: Client,
    namespace: String,
    name: &'static str,
    interval: Duration,
) -> watch::Receiver<Seen> {
    let (seen, receiver) = watch::channel(Seen::Unread(None));
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = seen.closed() => return,
            }
            let now = match get(&client, &namespace, name).await {
                Ok(Some(held)) => Seen::Present(Arc::new(held)),
                Ok(None) => Seen::Absent,
                Err(error) => {
                    tracing::warn!(secret = name, class = error.class(), %error, "a Secret can't be read");
                    if matches!(*seen.borrow(), Seen::Unread(_)) {
                        Seen::Unread(Some(error.class()))
                    } else {
                        continue;
                    }
                }
            };
            seen.send_if_modified(|before| {
                let changed = !same_content(before, &now);
                if changed {
                    *before = now;
                }
                changed
            });
        }
    });
    receiver
}

/// A new resourceVersion alone is no news.
fn same_content(a: &Seen, b: &Seen) -> bool {
    match (a, b) {
        (Seen::Present(a), Seen::Present(b)) => a.data == b.data && a.annotations == b.annotations,
        (a, b) => a == b,
    }
}
