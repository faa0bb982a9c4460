//! Kinds whose objects a DeletionRequest can name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kinds whose deletion takes a request. Where two projects have a kind of one name, the other is none: `Backup` is
/// Velero's, `Snapshot` is k8up's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum TargetKind {
    PersistentVolumeClaim,
    Namespace,
    PersistentVolume,
    VolumeSnapshot,
    VolumeSnapshotContent,
    VolumeGroupSnapshot,
    VolumeGroupSnapshotContent,
    Backup,
    BackupStorageLocation,
    Snapshot,
}

impl TargetKind {
    pub const ALL: [Self; 10] = [
        Self::PersistentVolumeClaim,
        Self::Namespace,
        Self::PersistentVolume,
        Self::VolumeSnapshot,
        Self::VolumeSnapshotContent,
        Self::VolumeGroupSnapshot,
        Self::VolumeGroupSnapshotContent,
        Self::Backup,
        Self::BackupStorageLocation,
        Self::Snapshot,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::Namespace => "Namespace",
            Self::PersistentVolume => "PersistentVolume",
            Self::VolumeSnapshot => "VolumeSnapshot",
            Self::VolumeSnapshotContent => "VolumeSnapshotContent",
            Self::VolumeGroupSnapshot => "VolumeGroupSnapshot",
            Self::VolumeGroupSnapshotContent => "VolumeGroupSnapshotContent",
            Self::Backup => "Backup",
            Self::BackupStorageLocation => "BackupStorageLocation",
            Self::Snapshot => "Snapshot",
        }
    }

    /// Empty for the core group.
    pub const fn group(self) -> &'static str {
        match self {
            Self::PersistentVolumeClaim | Self::Namespace | Self::PersistentVolume => "",
            Self::VolumeSnapshot | Self::VolumeSnapshotContent => "snapshot.storage.k8s.io",
            Self::VolumeGroupSnapshot | Self::VolumeGroupSnapshotContent => "groupsnapshot.storage.k8s.io",
            Self::Backup | Self::BackupStorageLocation => "velero.io",
            Self::Snapshot => "k8up.io",
        }
    }

    /// The name of the resource.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::PersistentVolumeClaim => "persistentvolumeclaims",
            Self::Namespace => "namespaces",
            Self::PersistentVolume => "persistentvolumes",
            Self::VolumeSnapshot => "volumesnapshots",
            Self::VolumeSnapshotContent => "volumesnapshotcontents",
            Self::VolumeGroupSnapshot => "volumegroupsnapshots",
            Self::VolumeGroupSnapshotContent => "volumegroupsnapshotcontents",
            Self::Backup => "backups",
            Self::BackupStorageLocation => "backupstoragelocations",
            Self::Snapshot => "snapshots",
        }
    }

    pub const fn is_namespaced(self) -> bool {
        !matches!(
            self,
            Self::Namespace | Self::PersistentVolume | Self::VolumeSnapshotContent | Self::VolumeGroupSnapshotContent
        )
    }

    /// Pods can use it, and its data can outlive it. Of every other kind the object itself is what keeps data.
    pub const fn is_in_use(self) -> bool {
        matches!(self, Self::PersistentVolumeClaim | Self::Namespace)
    }

    /// What kubectl takes for it: short where that is common, else with its group, for many have kinds of such names.
    pub fn word(self) -> String {
        match self {
            Self::PersistentVolumeClaim => "pvc".to_owned(),
            Self::Namespace => "namespace".to_owned(),
            Self::PersistentVolume => "pv".to_owned(),
            _ => format!("{}.{}", self.plural(), self.group()),
        }
    }

    /// What names of requests begin with.
    pub fn prefix(self) -> String {
        match self {
            Self::PersistentVolumeClaim => "pvc".to_owned(),
            Self::Namespace => "ns".to_owned(),
            Self::PersistentVolume => "pv".to_owned(),
            _ => self.as_str().to_lowercase(),
        }
    }

    pub fn parse(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.group() == group && known.as_str() == kind)
    }
}
