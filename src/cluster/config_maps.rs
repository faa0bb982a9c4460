//! ConfigMaps, each read and written by its own name.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::client::{CallError, with_deadline};

/// Time for one read or write.
const CALL: Duration = Duration::from_secs(5);

/// The ConfigMap of this name; `None` if there is none.
pub async fn get(client: &Client, namespace: &str, name: &str) -> Result<Option<ConfigMap>, CallError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    with_deadline(CALL, api.get_opt(name)).await
}

/// Sets the given keys, if the ConfigMap is still as `read`; else the error [is a conflict](CallError::is_conflict).
pub async fn update(
    client: &Client,
    namespace: &str,
    name: &str,
    read: &ConfigMap,
    set: &BTreeMap<&str, String>,
) -> Result<ConfigMap, CallError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let patch = json!({ "metadata": { "resourceVersion": read.metadata.resource_version }, "data": set });
    with_deadline(CALL, api.patch(name, &PatchParams::default(), &Patch::Merge(patch))).await
}
