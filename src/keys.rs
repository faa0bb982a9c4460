//! `foureyes keys`: the only maker and rotator of the sealing key.
//!
//! The Secret is the truth: it holds the private key and the list of every public key there ever was. The ConfigMap is
//! its public copy, and is always written first, so that no seal appears that nobody could check.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foureyes_core::seal::{KeyRing, PRIVATE_KEY, PublicKey, SealError, SigningKey};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::cluster::client::{CallError, with_deadline};
use crate::cluster::config_maps;
use crate::cluster::live::{KEYS, KEYS_CLUSTER_ID, KEYS_LIST, key_ring};
use crate::config::KeysArgs;
use crate::manifests::names::{SEALING_KEY_SECRET, labels};

/// Data key of the Secret with the list of public keys.
const PUBLIC_KEYS: &str = "keys.json";
/// Time for one call.
const CALL: Duration = Duration::from_secs(10);
/// How long a new public key is published before anything is sealed with it: two of the webhook's polls.
pub const PUBLISHED_BEFORE_USE: SignedDuration = SignedDuration::from_secs(20);
/// How long after that seals of the old key are taken, from replicas that have not read the new one yet.
pub const OVERLAP: SignedDuration = SignedDuration::from_mins(5);

/// Why the keys are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The API server.
    #[error("{what}: {source}")]
    Call {
        /// What was being done.
        what: &'static str,
        /// What it said.
        source: CallError,
    },
    /// The ConfigMap is installed empty; this command may not create it.
    #[error("the ConfigMap {KEYS} is missing; install it first (it is part of config/default)")]
    NoConfigMap,
    /// The namespace kube-system has no UID.
    #[error("the cluster can't be identified: kube-system has no UID")]
    NoClusterId,
    /// The Secret holds something else than what this command wrote.
    #[error("the Secret {SEALING_KEY_SECRET} can't be used ({0}); rotate with `foureyes keys --rotate`")]
    Unusable(String),
    /// Making a key.
    #[error("a key can't be made: {0}")]
    Make(#[from] SealError),
}

fn calling(what: &'static str) -> impl FnOnce(CallError) -> KeysError {
    move |source| KeysError::Call { what, source }
}

/// The private key in its Secret, with its history.
struct Kept {
    key: SigningKey,
    public: Vec<PublicKey>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    First,
    Rotate,
}

fn due(kept: Option<&Kept>, args: &KeysArgs, now: Timestamp) -> Due {
    let Some(kept) = kept else {
        return Due::First;
    };
    let made = kept.public.iter().find(|key| key.id == kept.key.id()).map(|key| key.not_before);
    let limit = args.rotate_after.and_then(|limit| SignedDuration::try_from(limit).ok());
    let old = limit.is_some_and(|limit| made.is_none_or(|made| now.duration_since(made) >= limit));
    if args.rotate || old { Due::Rotate } else { Due::Nothing }
}

/// `public` with `new`, and an end at `old_until` for every key that had none.
fn with_new(public: &[PublicKey], new: PublicKey, old_until: Timestamp) -> Vec<PublicKey> {
    let mut all = public.to_vec();
    for key in &mut all {
        key.not_after.get_or_insert(old_until);
    }
    all.push(new);
    all
}

/// Brings the keys in order and says in a few lines what it did.
pub async fn run(client: &Client, namespace: &str, args: &KeysArgs, clock: &Clock) -> Result<String, KeysError> {
    let cluster_id = cluster_id(client).await?;
    let map = config_maps::get(client, namespace, KEYS).await;
    let map = map.map_err(calling("the ConfigMap can't be read"))?.ok_or(KeysError::NoConfigMap)?;
    let published = key_ring(&map).ok();
    let secret = read_secret(client, namespace).await?;
    let kept = match secret.as_ref().map(kept) {
        Some(Err(error)) if !args.rotate => return Err(error),
        Some(Ok(kept)) => kept,
        None | Some(Err(_)) => None,
    };
    let now = clock.now();
    let known = match &kept {
        Some(kept) => kept.public.clone(),
        None => published.as_ref().map(|ring| ring.keys.clone()).unwrap_or_default(),
    };
    let ring = |keys: Vec<PublicKey>| KeyRing { cluster_id: cluster_id.clone(), keys };
    let mut said = String::new();
    match due(kept.as_ref(), args, now) {
        Due::Nothing => {
            let wanted = ring(known);
            if published.as_ref() == Some(&wanted) {
                said.push_str("The sealing key is in place and its public half is published; nothing to do.\n");
            } else {
                publish(client, namespace, &map, &wanted).await?;
                said.push_str("The sealing key is in place; its public half was published again.\n");
            }
        }
        first_or_rotate => {
            let document = SigningKey::generate()?;
            let key = SigningKey::from_pkcs8(&document)?;
            let wait = if first_or_rotate == Due::First && known.is_empty() {
                SignedDuration::ZERO
            } else {
                PUBLISHED_BEFORE_USE
            };
            let end = now.saturating_add(wait + OVERLAP).unwrap_or(Timestamp::MAX);
            let wanted = ring(with_new(&known, key.public(now), end));
            publish(client, namespace, &map, &wanted).await?;
            tokio::time::sleep(wait.unsigned_abs()).await;
            write_secret(client, namespace, secret, &document, &wanted.keys).await?;
            // Writing to a String can't fail.
            let _ = writeln!(said, "Made the sealing key {} and published its public half.", key.id());
            if !known.is_empty() {
                let _ = writeln!(said, "Older keys seal until {end}; what they sealed stays valid.");
            }
        }
    }
    Ok(said)
}

async fn cluster_id(client: &Client) -> Result<String, KeysError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let system = with_deadline(CALL, api.get("kube-system")).await;
    let system = system.map_err(calling("the namespace kube-system can't be read"))?;
    system.metadata.uid.filter(|uid| !uid.is_empty()).ok_or(KeysError::NoClusterId)
}

/// Untyped, because it is sent back whole: a typed one would lose fields that this program does not know.
fn secrets(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<Secret>(&()))
}

async fn read_secret(client: &Client, namespace: &str) -> Result<Option<DynamicObject>, KeysError> {
    let read = with_deadline(CALL, secrets(client, namespace).get_opt(SEALING_KEY_SECRET)).await;
    read.map_err(calling("the Secret can't be read"))
}

/// `Ok(None)` for a Secret without content.
fn kept(secret: &DynamicObject) -> Result<Option<Kept>, KeysError> {
    let value = |key: &str| match secret.data["data"][key].as_str() {
        None | Some("") => Ok(None),
        Some(text) => STANDARD.decode(text).map(Some).map_err(|_| KeysError::Unusable(format!("{key} is no base64"))),
    };
    let (Some(document), Some(list)) = (value(PRIVATE_KEY)?, value(PUBLIC_KEYS)?) else {
        let empty = value(PRIVATE_KEY)?.is_none() && value(PUBLIC_KEYS)?.is_none();
        return if empty {
            Ok(None)
        } else {
            Err(KeysError::Unusable(format!("it needs both {PRIVATE_KEY} and {PUBLIC_KEYS}")))
        };
    };
    let key = SigningKey::from_pkcs8(&document).map_err(|error| KeysError::Unusable(error.to_string()))?;
    let public: Vec<PublicKey> =
        serde_json::from_slice(&list).map_err(|_| KeysError::Unusable(format!("{PUBLIC_KEYS} can't be read")))?;
    if !public.iter().any(|listed| listed.id == key.id() && listed.not_after.is_none()) {
        return Err(KeysError::Unusable(format!("its key is not the active one of {PUBLIC_KEYS}")));
    }
    Ok(Some(Kept { key, public }))
}

async fn publish(client: &Client, namespace: &str, map: &ConfigMap, ring: &KeyRing) -> Result<(), KeysError> {
    let data = BTreeMap::from([(KEYS_CLUSTER_ID, ring.cluster_id.clone()), (KEYS_LIST, json!(ring.keys).to_string())]);
    let written = config_maps::update(client, namespace, KEYS, map, &data).await;
    written.map_err(calling("the public keys can't be published"))?;
    Ok(())
}

async fn write_secret(
    client: &Client,
    namespace: &str,
    read: Option<DynamicObject>,
    document: &[u8],
    public: &[PublicKey],
) -> Result<(), KeysError> {
    let api = secrets(client, namespace);
    let params = PostParams::default();
    let replaces = read.is_some();
    let mut secret = read.unwrap_or_else(|| {
        let mut new = DynamicObject::new(SEALING_KEY_SECRET, &ApiResource::erase::<Secret>(&()));
        new.metadata.labels = Some(labels());
        new.data = json!({ "type": "Opaque" });
        new
    });
    if !secret.data["data"].is_object() {
        secret.data["data"] = json!({});
    }
    secret.data["data"][PRIVATE_KEY] = Value::String(STANDARD.encode(document));
    secret.data["data"][PUBLIC_KEYS] = Value::String(STANDARD.encode(json!(public).to_string()));
    // A replacement carries the resourceVersion that was read, so a second rotation at the same time is a conflict.
    let written = if replaces {
        with_deadline(CALL, api.replace(SEALING_KEY_SECRET, &params, &secret)).await
    } else {
        with_deadline(CALL, api.create(&params, &secret)).await
    };
    written.map_err(calling("the Secret can't be written"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn secret_of(public: &[PublicKey], document: &[u8]) -> DynamicObject {
        let mut secret = DynamicObject::new(SEALING_KEY_SECRET, &ApiResource::erase::<Secret>(&()));
        secret.data = json!({ "data": {
            PRIVATE_KEY: STANDARD.encode(document),
            PUBLIC_KEYS: STANDARD.encode(json!(public).to_string()),
        }});
        secret
    }

    const KEEP: KeysArgs = KeysArgs { rotate: false, rotate_after: None };

    #[test]
    fn a_key_in_place_is_left_alone_until_it_is_old_enough_or_rotation_is_asked_for() {
        let document = SigningKey::generate().unwrap();
        let key = SigningKey::from_pkcs8(&document).unwrap();
        let made = at("2026-11-23T10:00:00Z");
        let kept = kept(&secret_of(&[key.public(made)], &document)).unwrap().unwrap();
        let later = at("2027-02-21T09:59:59Z");
        let days = |days: u64| KeysArgs { rotate: false, rotate_after: Some(Duration::from_secs(days * 86_400)) };
        assert_eq!(due(None, &KEEP, made), Due::First);
        assert_eq!(due(Some(&kept), &KEEP, later), Due::Nothing);
        assert_eq!(due(Some(&kept), &days(90), later), Due::Nothing);
        assert_eq!(due(Some(&kept), &days(90), at("2027-02-21T10:00:00Z")), Due::Rotate);
        let rotate = KeysArgs { rotate: true, ..KEEP };
        assert_eq!(due(Some(&kept), &rotate, made), Due::Rotate);
    }

    #[test]
    fn rotation_ends_what_was_open_and_nothing_else() {
        let public = |from: &str| {
            let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap();
            key.public(at(from))
        };
        let mut oldest = public("2026-01-01T00:00:00Z");
        oldest.not_after = Some(at("2026-04-01T00:05:00Z"));
        let (old, new) = (public("2026-04-01T00:00:00Z"), public("2026-07-01T00:00:00Z"));
        let all = with_new(&[oldest.clone(), old.clone()], new.clone(), at("2026-07-01T00:05:20Z"));
        assert_eq!(all[0], oldest);
        assert_eq!((&all[1].id, all[1].not_after), (&old.id, Some(at("2026-07-01T00:05:20Z"))));
        assert_eq!(all[2], new);
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn a_secret_that_this_command_did_not_write_is_not_used() {
        let (one, two) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let public = SigningKey::from_pkcs8(&one).unwrap().public(at("2026-01-01T00:00:00Z"));
        let listed = std::slice::from_ref(&public);
        assert!(kept(&secret_of(listed, &one)).unwrap().is_some());
        assert!(kept(&secret_of(listed, &two)).is_err());
        assert!(kept(&secret_of(&[], &one)).is_err());
        assert!(kept(&secret_of(listed, b"nonsense")).is_err());
        let mut ended = public;
        ended.not_after = Some(at("2026-01-02T00:00:00Z"));
        assert!(kept(&secret_of(&[ended], &one)).is_err());
        let mut empty = secret_of(&[], &one);
        empty.data = json!({});
        assert!(kept(&empty).unwrap().is_none());
        empty.data = json!({ "data": { PRIVATE_KEY: STANDARD.encode(&one) } });
        assert!(kept(&empty).is_err());
    }
}
