//! Objects made and removed, each so that doing it twice does it once.

use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::FIELD_MANAGER;
use super::client::{CallError, with_deadline};

/// Creates an object under the name that it carries; `false` if there is one of that name already.
pub async fn create<K>(api: &Api<K>, object: &K, limit: Duration) -> Result<bool, CallError>
where
    K: Resource + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match with_deadline(limit, api.create(&params, object)).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Changes the named fields and nothing else.
pub async fn merge<K>(api: &Api<K>, name: &str, patch: &serde_json::Value, limit: Duration) -> Result<(), CallError>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    with_deadline(limit, api.patch(name, &params, &Patch::Merge(patch))).await.map(drop)
}

/// Applies a JSON patch; `false` if one of its tests fails, or there is no such object.
pub async fn json<K>(api: &Api<K>, name: &str, patch: Value, limit: Duration) -> Result<bool, CallError>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = serde_json::from_value(patch).map_err(|error| CallError::Api(kube::Error::SerdeError(error)))?;
    match with_deadline(limit, api.patch(name, &params, &Patch::Json::<()>(patch))).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() || error.class() == "invalid" => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes exactly this object, never another of its name; `false` if it is gone already.
pub async fn delete<K>(api: &Api<K>, name: &str, uid: &str, limit: Duration) -> Result<bool, CallError>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let only = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let params = DeleteParams::default().preconditions(only);
    match with_deadline(limit, api.delete(name, &params)).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}
