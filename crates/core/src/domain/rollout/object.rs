//! `object/v1`: any object as somebody wrote it, so that a change can name it: a looser SafetyPolicy, a namespace that
//! leaves production, a webhook configuration (design §2).

use serde_json::{Map, Value, json};

use crate::api::RELEASED;
use crate::digest::{DigestError, Encoding, digest};

/// Metadata that the API server sets.
pub const SERVER_SET: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// `object/v1:sha256:…` over everything but status and what the API server sets; of a Namespace only what scopes
/// protection, its labels; of a webhook configuration all but the certificates, which rotate by themselves, and what the
/// controller notes on it.
pub fn object_digest(object: &Value) -> Result<String, DigestError> {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if (version, kind) == ("v1", "Namespace") {
        return digest(Encoding::Object, &namespace(object));
    }
    let mut written = object.clone();
    if let Some(fields) = written.as_object_mut() {
        fields.remove("status");
    }
    let registration = version.starts_with("admissionregistration.k8s.io/");
    if let Some(metadata) = written.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| !registration || name != RELEASED);
        }
        metadata.retain(|name, _| !SERVER_SET.contains(&name.as_str()));
        metadata.retain(|_, value| !is_empty(value));
    }
    if registration {
        let webhooks = written.get_mut("webhooks").and_then(Value::as_array_mut);
        for config in webhooks.into_iter().flatten().filter_map(|webhook| webhook.get_mut("clientConfig")) {
            config.as_object_mut().map(|config| config.remove("caBundle"));
        }
    }
    digest(Encoding::Object, &written)
}

fn namespace(object: &Value) -> Value {
    let metadata = object.get("metadata");
    let labels = metadata.and_then(|metadata| metadata.get("labels")).filter(|labels| !is_empty(labels));
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": metadata.and_then(|metadata| metadata.get("name")), "labels": labels},
    })
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}
