//! Backups that requests name, as their tools keep them. What is not installed is not there.

use std::collections::BTreeSet;

use foureyes_core::api::{BackupKind, NamedBackup, is_name};
use foureyes_core::domain::backup::Found;
use foureyes_core::domain::snapshot::{GROUP, SNAPSHOT, Snapshot};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use serde_json::Value;

use super::live::{Live, ReadError};
use super::snapshots::{installed, whole};

/// Backups read at a time.
const AT_ONCE: usize = 4;
/// By which Velero finds what belongs to a backup, and which claim that is of.
const OF_BACKUP: &str = "velero.io/backup-name";
const OF_CLAIM: &str = "velero.io/pvc-uid";
/// A label holds no longer value; of a longer name Velero writes another.
const LONGEST_VALUE: usize = 63;

/// A kind by group, kind and plural.
type Kind = (&'static str, &'static str, &'static str);

const BACKUP: Kind = ("velero.io", "Backup", "backups");
const LOCATION: Kind = ("velero.io", "BackupStorageLocation", "backupstoragelocations");
const FILES: Kind = ("velero.io", "PodVolumeBackup", "podvolumebackups");
const K8UP: Kind = ("k8up.io", "Snapshot", "snapshots");
const VOLUME_SNAPSHOT: Kind = (GROUP, SNAPSHOT, "volumesnapshots");

impl Live {
    /// Each with what there is of it.
    pub async fn named_backups(&self, named: &[NamedBackup]) -> Result<Vec<(NamedBackup, Found)>, ReadError> {
        let found = stream::iter(named.to_vec()).map(|named| async move {
            let found = self.named_backup(&named).await?;
            Ok((named, found))
        });
        found.buffered(AT_ONCE).try_collect().await
    }

    async fn named_backup(&self, named: &NamedBackup) -> Result<Found, ReadError> {
        let kind = match named.kind {
            BackupKind::VeleroBackup => BACKUP,
            BackupKind::K8upSnapshot => K8UP,
            BackupKind::VolumeSnapshot => VOLUME_SNAPSHOT,
        };
        let mut found = Found { object: self.one(kind, &named.namespace, &named.name).await?, ..Found::default() };
        let Some(object) = &found.object else { return Ok(found) };
        match named.kind {
            BackupKind::VeleroBackup => {
                if let Some(location) = object.pointer("/spec/storageLocation").and_then(Value::as_str) {
                    found.location = self.one(LOCATION, &named.namespace, location).await?;
                }
                found.files_of = self.files_of(named).await?;
            }
            BackupKind::VolumeSnapshot => found.content = self.content_of(&Snapshot::of(object)).await?,
            BackupKind::K8upSnapshot => {}
        }
        Ok(found)
    }

    fn kind(&self, (group, kind, plural): Kind, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
        Api::namespaced_with(self.client().clone(), namespace, &resource)
    }

    async fn one(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Value>, ReadError> {
        if !is_name(namespace) || !is_name(name) {
            return Ok(None);
        }
        let object = self.call(kind.1, self.kind(kind, namespace).get_opt(name)).await?;
        Ok(object.as_ref().map(whole))
    }

    /// Claims of which Velero has taken all files into this backup, by UID.
    async fn files_of(&self, named: &NamedBackup) -> Result<BTreeSet<String>, ReadError> {
        if named.name.len() > LONGEST_VALUE || !is_name(&named.namespace) {
            return Ok(BTreeSet::new());
        }
        let params = ListParams::default().labels(&format!("{OF_BACKUP}={}", named.name));
        let claim = |object: DynamicObject| {
            let done = object.data.pointer("/status/phase").and_then(Value::as_str) == Some("Completed");
            object.metadata.labels.filter(|_| done).and_then(|mut labels| labels.remove(OF_CLAIM))
        };
        let all = self.list(FILES.1, &self.kind(FILES, &named.namespace), params, claim).await;
        Ok(installed(all)?.into_iter().flatten().collect())
    }
}
