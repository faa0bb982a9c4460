//! Volumes: what outlived a deletion, and the two changes that foureyes makes to them; and the canary among the claims.

use std::time::Duration;

use foureyes_core::api::{KEPT_CLAIM, Protection};
use foureyes_core::domain::inventory::{ApprovedItems, Reclaim, Volume};
use foureyes_core::domain::kept::Keep;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use super::apply;
use super::client::{CallError, with_deadline};
use super::live::{Live, ReadError};

impl Live {
    /// Of the items that were signed off, the volumes that there are.
    pub async fn volumes_among(&self, items: &ApprovedItems) -> Result<Vec<Volume>, ReadError> {
        let api: Api<PersistentVolume> = Api::all(self.client().clone());
        let all = self.list("PersistentVolumes", &api, ListParams::default(), |volume| Volume::of(&volume)).await?;
        Ok(all.into_iter().filter(|volume| items.contains(&volume.uid).unwrap_or(false)).collect())
    }

    /// Puts a volume on Retain, and notes on it the claim that it can bring back.
    pub async fn keep(&self, keep: &Keep, note: &str, limit: Duration) -> Result<(), CallError> {
        let api: Api<PersistentVolume> = Api::all(self.client().clone());
        let patch = json!({
            "metadata": {"uid": keep.volume_uid, "annotations": {KEPT_CLAIM: note}},
            "spec": {"persistentVolumeReclaimPolicy": Reclaim::Retain.as_str()},
        });
        apply::merge(&api, &keep.volume, &patch, limit).await
    }

    /// Asks for the deletion of a claim as a dry run.
    pub async fn would_delete_claim(&self, namespace: &str, name: &str, limit: Duration) -> Result<(), CallError> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client().clone(), namespace);
        let params = DeleteParams { dry_run: true, ..DeleteParams::default() };
        with_deadline(limit, api.delete(name, &params)).await.map(drop)
    }

    /// Gives a volume the policy that it had; `false` if it has changed, or is gone.
    pub async fn put_back(&self, protection: &Protection, limit: Duration) -> Result<bool, CallError> {
        let api: Api<PersistentVolume> = Api::all(self.client().clone());
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": protection.object.uid},
            {"op": "test", "path": "/spec/persistentVolumeReclaimPolicy", "value": protection.after},
            {"op": "replace", "path": "/spec/persistentVolumeReclaimPolicy", "value": protection.before},
        ]);
        apply::json(&api, &protection.object.name, patch, limit).await
    }
}
