//! The two webhook configurations: what each entry trusts, and nothing else of them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::cluster::client::{CallError, with_deadline};

/// Time for one read or write.
const CALL: Duration = Duration::from_secs(5);

/// One of the configurations as it was read.
#[derive(Clone, Debug)]
pub struct Configuration {
    name: &'static str,
    resource: ApiResource,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    bundle: Option<String>,
}

/// Reads both configurations; one that does not exist is left out.
pub async fn read(client: &Client) -> Result<Vec<Configuration>, CallError> {
    let mut found = Vec::new();
    for (name, resource) in [
        ("foureyes-stamp", ApiResource::erase::<MutatingWebhookConfiguration>(&())),
        ("foureyes-guard", ApiResource::erase::<ValidatingWebhookConfiguration>(&())),
    ] {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let Some(object) = with_deadline(CALL, api.get_opt(name)).await? else {
            tracing::warn!(configuration = name, "there is no such webhook configuration");
            continue;
        };
        found.push(Configuration { name, entries: entries(&object.data), resource });
    }
    Ok(found)
}

fn entries(data: &Value) -> Vec<Entry> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let webhooks = data["webhooks"].as_array();
    webhooks
        .into_iter()
        .flatten()
        .map(|entry| Entry {
            name: text(&entry["name"]).unwrap_or_default(),
            bundle: text(&entry["clientConfig"]["caBundle"]),
        })
        .collect()
}

impl Configuration {
    /// The PEM text that each entry trusts; empty where there is none, or none that can be decoded.
    pub fn bundles(&self) -> impl Iterator<Item = Vec<u8>> {
        let decoded = |bundle: &String| STANDARD.decode(bundle).ok();
        self.entries.iter().map(move |entry| entry.bundle.as_ref().and_then(decoded).unwrap_or_default())
    }

    /// Makes every entry trust `bundle`, a PEM text, if one does not yet; `true` if it wrote. An entry that was renamed
    /// or moved in between makes the whole patch fail, and the next pass reads again.
    pub async fn trust(&self, client: &Client, bundle: &str) -> Result<bool, CallError> {
        let patch = self.patch(&STANDARD.encode(bundle));
        if patch.is_empty() {
            return Ok(false);
        }
        let Ok(patch) = serde_json::from_value(Value::Array(patch)) else {
            return Ok(false);
        };
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &self.resource);
        let patch = Patch::Json::<()>(patch);
        with_deadline(CALL, api.patch(self.name, &PatchParams::default(), &patch)).await?;
        tracing::info!(configuration = self.name, "the webhook configuration trusts the authority");
        Ok(true)
    }

    fn patch(&self, bundle: &str) -> Vec<Value> {
        let differs = |entry: &&Entry| entry.bundle.as_deref() != Some(bundle);
        if self.entries.iter().find(differs).is_none() {
            return Vec::new();
        }
        let mut operations = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let at = format!("/webhooks/{index}");
            operations.push(json!({ "op": "test", "path": format!("{at}/name"), "value": entry.name }));
            if differs(&entry) {
                let path = format!("{at}/clientConfig/caBundle");
                operations.push(json!({ "op": "add", "path": path, "value": bundle }));
            }
        }
        operations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration() -> Configuration {
        let data = json!({ "webhooks": [
            { "name": "a.foureyes.dev", "clientConfig": { "caBundle": STANDARD.encode("new") }, "failurePolicy": "Fail" },
            { "name": "b.foureyes.dev", "clientConfig": { "service": { "name": "foureyes-webhook" } } },
        ]});
        Configuration {
            name: "foureyes-guard",
            resource: ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
            entries: entries(&data),
        }
    }

    #[test]
    fn only_the_bundles_that_differ_are_written_and_only_if_the_entries_are_the_same() {
        let path = "/webhooks/1/clientConfig/caBundle";
        assert_eq!(
            configuration().patch(&STANDARD.encode("new")),
            [
                json!({ "op": "test", "path": "/webhooks/0/name", "value": "a.foureyes.dev" }),
                json!({ "op": "test", "path": "/webhooks/1/name", "value": "b.foureyes.dev" }),
                json!({ "op": "add", "path": path, "value": STANDARD.encode("new") }),
            ]
        );
        let bundles: Vec<_> = configuration().bundles().collect();
        assert_eq!(bundles, [b"new".to_vec(), vec![]]);
    }

    #[test]
    fn nothing_is_written_when_all_trust_it_already() {
        let mut configuration = configuration();
        configuration.entries.truncate(1);
        assert!(configuration.patch(&STANDARD.encode("new")).is_empty());
    }
}
