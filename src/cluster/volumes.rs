//! Volumes: what outlived a deletion, and the two changes that foureyes makes to them; and the canary among the claims.

use std::convert::identity;
use std::time::Duration;

use foureyes_core::api::{BackupRetention, KEPT_CLAIM, Protection, is_name};
use foureyes_core::domain::inventory::{ApprovedItems, Reclaim, Volume};
use foureyes_core::domain::kept::Keep;
use foureyes_core::domain::kept_always::BoundVolume;
use foureyes_core::domain::snapshot::CONTENT;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use super::client::{CallError, with_deadline};
use super::live::{Live, ReadError};
use super::{apply, snapshots};

/// Retentions read in one call: each may have 5,000 keepers.
const PAGE_OF_RETENTIONS: u32 = 50;

impl Live {
    /// Of the items that were signed off, the volumes that there are.
    pub async fn volumes_among(&self, items: &ApprovedItems) -> Result<Vec<Volume>, ReadError> {
        let api: Api<PersistentVolume> = Api::all(self.client().clone());
        let all = self.list("PersistentVolumes", &api, ListParams::default(), |volume| Volume::of(&volume)).await?;
        Ok(all.into_iter().filter(|volume| items.contains(&volume.uid).unwrap_or(false)).collect())
    }

    /// The volume of this name with its claim.
    pub async fn bound_volume(&self, name: &str) -> Result<Option<BoundVolume>, ReadError> {
        let api: Api<PersistentVolume> = Api::all(self.client().clone());
        let volume = self.call("PersistentVolume", api.get_opt(name)).await?;
        Ok(volume.as_ref().and_then(BoundVolume::of))
    }

    /// Of all volumes with their claims those that matter.
    pub async fn bound_volumes(&self, matters: impl Fn(&BoundVolume) -> bool) -> Result<Vec<BoundVolume>, ReadError> {
        let api: Api<PersistentVolume> = Api::all(self.client().clone());
        let keep = |volume: PersistentVolume| BoundVolume::of(&volume).filter(|volume| matters(volume));
        let all = self.list("PersistentVolumes", &api, ListParams::default(), keep).await?;
        Ok(all.into_iter().flatten().collect())
    }

    /// The retention of this name.
    pub async fn retention(&self, name: &str) -> Result<Option<BackupRetention>, ReadError> {
        if !is_name(name) {
            return Ok(None);
        }
        let api: Api<BackupRetention> = Api::all(self.client().clone());
        self.call("BackupRetention", api.get_opt(name)).await
    }

    /// Every retention there is.
    pub async fn retentions(&self) -> Result<Vec<BackupRetention>, ReadError> {
        let api: Api<BackupRetention> = Api::all(self.client().clone());
        self.list("BackupRetentions", &api, ListParams::default().limit(PAGE_OF_RETENTIONS), identity).await
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

    /// Gives a volume, or what is behind a snapshot, the policy that it had; `false` if it has changed, or is gone.
    pub async fn put_back(&self, protection: &Protection, limit: Duration) -> Result<bool, CallError> {
        let field = format!("/{}", protection.field.replace('.', "/"));
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": protection.object.uid},
            {"op": "test", "path": field, "value": protection.after},
            {"op": "replace", "path": field, "value": protection.before},
        ]);
        let name = &protection.object.name;
        if protection.object.kind == CONTENT {
            return apply::json(&snapshots::contents(self), name, patch, limit).await;
        }
        apply::json(&Api::<PersistentVolume>::all(self.client().clone()), name, patch, limit).await
    }
}
