//! Status, written by server-side apply and only onto what was read.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::FIELD_MANAGER;
use super::client::{CallError, with_deadline};

/// Which version of which object a status is about.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    /// `metadata.uid`: never written onto a new object of the same name.
    pub uid: &'a str,
    /// `metadata.resourceVersion` as it was read.
    pub resource_version: &'a str,
}

/// Replaces the status, if the object is still as it was read; else the error [is a conflict](CallError::is_conflict).
pub async fn write<K, S>(api: &Api<K>, read: Read<'_>, status: &S, limit: Duration) -> Result<(), CallError>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
    K::DynamicType: Default,
    S: Serialize,
{
    let kind = K::DynamicType::default();
    let object = json!({
        "apiVersion": K::api_version(&kind),
        "kind": K::kind(&kind),
        "metadata": {"name": read.name, "uid": read.uid, "resourceVersion": read.resource_version},
        "status": status,
    });
    // Nobody else may write these fields, so there is nobody to ask for them.
    let params = PatchParams::apply(FIELD_MANAGER).force();
    with_deadline(limit, api.patch_status(read.name, &params, &Patch::Apply(object))).await?;
    Ok(())
}
