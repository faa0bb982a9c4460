//! `DeletionRequest`: somebody wants something deleted that holds or keeps data.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::request::is_name;
use super::{PolicyRef, Requester, SignOffSummary, TargetKind, WORDS};

/// A wish to delete one object that holds data. Its spec never changes; another wish is another request. foureyes
/// deletes nothing itself: once enough people have signed it off, anybody with ordinary rights may delete.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "foureyes.dev",
    version = "v1alpha1",
    kind = "DeletionRequest",
    plural = "deletionrequests",
    shortname = "del",
    category = "foureyes",
    status = "DeletionRequestStatus",
    validation = Rule::new("self.spec == oldSelf.spec").message("a request never changes after it was created: create another one for another wish"),
    printcolumn = r#"{"name":"Target","type":"string","jsonPath":".status.targetText"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"SignOffs","type":"string","jsonPath":".status.signOffs.text"}"#,
    printcolumn = r#"{"name":"Requester","type":"string","jsonPath":".status.requestedBy"}"#,
    printcolumn = r#"{"name":"Waiting for","type":"string","jsonPath":".status.waitingFor"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".spec.reason","priority":1}"#,
    printcolumn = r#"{"name":"Until","type":"string","jsonPath":".status.validUntil","priority":1}"#,
    selectable = ".spec.target.uid"
)]
#[serde(rename_all = "camelCase")]
pub struct DeletionRequestSpec {
    /// What shall be deleted: exactly this object, by its UID.
    pub target: Target,
    /// Why it shall go, in words for the person who signs it off.
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = WORDS)
    )]
    pub reason: String,
    /// Where this is tracked elsewhere, for example a ticket number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = WORDS))]
    pub ticket: Option<String>,
    /// Backups that keep what goes: for what can't be kept otherwise, and to be held along with what is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub backups: Vec<NamedBackup>,
    /// How long what was kept of it is held, and what may happen to it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionWish>,
    /// Who shuts down what uses it, once the deletion is signed off. Without it, as the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<Shutdown>,
    /// Who asks. Written and sealed by foureyes when the request is created: leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Requester>,
}

/// A backup, by the tool that made it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedBackup {
    pub kind: BackupKind,
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// `metadata.uid`, so that no later one of that name is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 36, max = 36),
        regex(pattern = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
    )]
    pub uid: Option<String>,
}

/// Backups that foureyes can judge: a `Backup` of Velero, of claims or whole namespaces; a `Snapshot` of k8up or a
/// `VolumeSnapshot`, of one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum BackupKind {
    VeleroBackup,
    K8upSnapshot,
    VolumeSnapshot,
}

/// A named backup as it was seen last.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeenBackup {
    pub kind: BackupKind,
    pub namespace: String,
    pub name: String,
    /// Its `metadata.uid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// It has all of what goes, and outlives it for as long as that has to be kept.
    pub counts: bool,
    /// Why it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// How long what was kept of a deletion is held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionWish {
    /// Days from the deletion. Without it, as many as the policy demands. Fewer than that take a sign-off
    /// `CustomerAgreed`, and never fewer than the policy's floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub days: Option<i32>,
    /// What may happen to it then. Without it: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub afterwards: Option<Afterwards>,
    /// What nothing can keep may be lost. It takes two approvals, whatever the policy says; what can be kept is kept all
    /// the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exception: bool,
}

/// What may happen to what was kept, once its time is over: only two people let go of it (Keep), or whoever has ordinary
/// rights may destroy it, because those who signed the deletion off agreed to that (Purge).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Afterwards {
    #[default]
    Keep,
    Purge,
}

/// Who shuts down what uses the target: people (Manual), or foureyes (Scale), which scales workloads to zero and suspends
/// `CronJob`s as far as the requester may, and puts that back if nothing is deleted after all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Shutdown {
    #[default]
    Manual,
    Scale,
}

/// The object to delete.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.kind in ['PersistentVolumeClaim', 'Namespace', 'PersistentVolume'] ? self.apiVersion == 'v1' : self.apiVersion.startsWith({'VolumeSnapshot': 'snapshot.storage.k8s.io/', 'VolumeSnapshotContent': 'snapshot.storage.k8s.io/', 'VolumeGroupSnapshot': 'groupsnapshot.storage.k8s.io/', 'VolumeGroupSnapshotContent': 'groupsnapshot.storage.k8s.io/', 'Backup': 'velero.io/', 'BackupStorageLocation': 'velero.io/', 'Snapshot': 'k8up.io/'}[self.kind])").message("apiVersion is not one of this kind: v1 for claims, namespaces and volumes, velero.io for a Backup, k8up.io for a Snapshot"))]
#[x_kube(validation = Rule::new("self.kind in ['Namespace', 'PersistentVolume', 'VolumeSnapshotContent', 'VolumeGroupSnapshotContent'] ? !has(self.namespace) : has(self.namespace)").message("a PersistentVolumeClaim needs its namespace, and so does what else has one; a Namespace, a PersistentVolume and the content of a snapshot have none"))]
pub struct Target {
    #[schemars(length(max = 64))]
    pub api_version: String,
    pub kind: TargetKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// `metadata.uid` of the object: a new object of the same name is another object (bypass 31).
    #[schemars(
        length(min = 36, max = 36),
        regex(pattern = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
    )]
    pub uid: String,
}

impl DeletionRequestStatus {
    /// A backup has the data of every claim that goes, as far as it was seen.
    pub fn is_backed_up(&self) -> bool {
        self.backups.iter().any(|backup| backup.counts)
    }

    /// Something that was changed for this request is not put back yet.
    pub fn is_unsettled(&self) -> bool {
        let put_back = matches!(self.phase, Some(Phase::Rejected | Phase::Cancelled | Phase::Expired));
        put_back && (self.protections.iter().any(|protection| !protection.settled) || self.is_scaled_down())
    }

    /// Something was scaled down for this request, and is not put back.
    pub fn is_scaled_down(&self) -> bool {
        self.scaled_down.iter().any(|scaled| !scaled.settled)
    }

    /// It has ended, and something has yet to happen: what was changed is put back, or somebody looks at what went.
    pub fn is_unfinished(&self) -> bool {
        self.phase == Some(Phase::Executed) || self.is_unsettled()
    }
}

impl Target {
    /// The namespace in which rights on this target are judged: its own, or the namespace itself (fact 4). The empty one
    /// stands for the whole cluster.
    pub fn rights_namespace(&self) -> &str {
        match self.kind {
            TargetKind::Namespace => &self.name,
            kind if kind.is_namespaced() => self.namespace.as_deref().unwrap_or_default(),
            _ => "",
        }
    }

    /// Whether an object of this name can exist at all. Names become parts of paths, so this is asked before anything
    /// is read by them.
    pub fn is_well_formed(&self) -> bool {
        let namespace =
            self.namespace.as_deref().is_none_or(|namespace| is_name(namespace) && !namespace.contains('.'));
        let version = match (self.kind.group(), self.api_version.split_once('/')) {
            ("", None) => self.api_version == "v1",
            (group, Some((stated, version))) => group == stated && is_name(version) && !version.contains('.'),
            _ => false,
        };
        namespace && version && self.namespace.is_some() == self.kind.is_namespaced() && is_name(&self.name)
    }

    /// `pvc/shop/reports`, `namespace/shop` or `volumesnapshot/shop/daily`, for columns and sentences.
    pub fn text(&self) -> String {
        let kind = match self.kind {
            TargetKind::PersistentVolumeClaim => "pvc".to_owned(),
            kind => kind.as_str().to_lowercase(),
        };
        match &self.namespace {
            Some(namespace) => format!("{kind}/{namespace}/{}", self.name),
            None => format!("{kind}/{}", self.name),
        }
    }
}

/// Where a request stands. A phase can only refuse: what is allowed is proven from the sign-offs themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Phase {
    #[default]
    Pending,
    Approved,
    /// Signed off; it has to be switched off for a while first.
    Quiescing,
    Executable,
    Executing,
    /// Its target is gone; somebody has yet to say that it went as it should.
    Executed,
    /// Somebody who did not ask for it has compared what went with what was signed off.
    Closed,
    Rejected,
    Cancelled,
    Expired,
}

impl Phase {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Approved => "Approved",
            Self::Quiescing => "Quiescing",
            Self::Executable => "Executable",
            Self::Executing => "Executing",
            Self::Executed => "Executed",
            Self::Closed => "Closed",
            Self::Rejected => "Rejected",
            Self::Cancelled => "Cancelled",
            Self::Expired => "Expired",
        }
    }

    /// Nothing is deleted on the strength of an ended request any more, and it is never used again.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Executed | Self::Closed | Self::Rejected | Self::Cancelled | Self::Expired)
    }
}

/// What the controller has observed. Nobody else writes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletionRequestStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The target in short, for the printer columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_text: Option<String>,
    /// Who asked, when the seal proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// What it waits for, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Digest of the request as it was asked, `request/v1:sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_digest: Option<String>,
    /// What a sign-off names, `subject/v1:sha256:…`: the request and the inventory together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_digest: Option<String>,
    /// The ready line to sign this request off with nothing but kubectl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_off_command: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<InventoryStatus>,
    /// Labels of a namespace that is to go, as many as fit (64): with them it is created again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespace_labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_offs: Option<SignOffSummary>,
    /// The newest approval by annotation that was seen. Older ones, and this one once it was withdrawn, count no more,
    /// whoever puts their record back (I 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotation: Option<SeenAnnotation>,
    /// Until when it can be signed off; after that it is Expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_deadline: Option<Time>,
    /// What still uses the target, and for how long nothing has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
    /// What was changed so that the data outlives the deletion, with its value before. It is put back when the request
    /// ends otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protections: Vec<Protection>,
    /// For how many days what is kept of it is held once it is gone, as far as is agreed now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain_days: Option<i32>,
    /// When what uses the target was looked at to be scaled down. What is started later is left to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown_since: Option<Time>,
    /// What was scaled to zero or suspended, with its value before. It is put back when the request ends otherwise than
    /// by the deletion.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scaled_down: Vec<ScaledDown>,
    /// The backups that the request names, and whether they count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<SeenBackup>,
    /// The `BackupRetention` that holds what was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_retention: Option<String>,
    /// When the deletion first could be executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usable_from: Option<Time>,
    /// Until when it can be executed; after that it is Expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
    /// The target's deletionTimestamp: from here nothing expires or is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executing_since: Option<Time>,
    /// When the target was seen gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executed_at: Option<Time>,
    /// How long somebody may take, once it is executed, to say that it went as it should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_within: Option<String>,
    /// Until when somebody should have said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervise_by: Option<Time>,
    /// What went, compared with what was signed off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deleted>,
    /// Who has compared it, and said that it went as it should.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supervised_by: Vec<String>,
    /// When that sufficed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Time>,
    /// When it ended, whichever way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// The policies that applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyRef>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What went with the target, compared with what was signed off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deleted {
    /// How many of the items that were signed off are gone. Volumes that are kept are not.
    pub expected: i32,
    /// What went with it and was not signed off, as many as fit (20).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unexpected: Vec<ListedItem>,
    /// What was signed off, should be gone, and is there, as many as fit (20). Volumes on Retain are meant to stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remaining: Vec<ListedItem>,
    /// When this was last compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Time>,
}

/// Whether anything uses the target (promise 2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quiet {
    /// How long it must be quiet, such as `24h`.
    pub required: String,
    /// For how long nothing was seen to use it. Time in which nobody looked does not count.
    pub observed: String,
    /// Pods that use it, by name, as many as fit (20).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<String>,
    /// How many pods use it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub running_total: i32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it so
const fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// One change that lets data outlive its deletion.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Protection {
    pub object: ProtectedObject,
    /// Path of the field, such as `spec.persistentVolumeReclaimPolicy`.
    pub field: String,
    /// Its value before.
    pub before: String,
    /// Its value while the request stands.
    pub after: String,
    /// It was put back, or left as it is because putting back was not safe; nothing more happens to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
}

/// One workload that was scaled to zero, or a `CronJob` that was suspended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaledDown {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    /// Path of the field: `spec.replicas` or `spec.suspend`.
    pub field: String,
    /// Its value before.
    pub before: String,
    /// Its value while the request stands.
    pub after: String,
    /// It was seen at this value: from then on whoever changes it is not fought.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seen: bool,
    /// It was put back, or left as it is because somebody changed it since; nothing more happens to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
}

/// What was changed, bound by UID.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProtectedObject {
    pub kind: String,
    pub name: String,
    pub uid: String,
}

/// What would be lost; frozen at the first approval that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryStatus {
    /// `inventory/v1:sha256:…` over `itemsDigest` and `packedUIDs`.
    pub digest: String,
    /// `sha256:…` over every item.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub items_digest: String,
    /// True once the first approval counted: what comes later needs another request.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
    /// How many data items there are in all.
    pub total: i32,
    /// In words, for example `2 claims, 2 volumes (2Gi)`.
    pub summary: String,
    /// The items, as many as fit (100).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ListedItem>,
    /// UIDs of all items, 16 bytes each, sorted, base64.
    #[serde(rename = "packedUIDs", default, skip_serializing_if = "String::is_empty")]
    pub packed_uids: String,
    /// Items that appeared after the freeze, as many as fit (20); they are not covered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<ListedItem>,
}

/// One data item.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedItem {
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub name: String,
    pub uid: String,
    /// Where the bytes are: `driver/volumeHandle` or what stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// Capacity, for reading only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Why nothing can keep its data, if so: it takes `spec.retention.exception`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_kept: Option<String>,
}

/// An approval by annotation, as it was seen on the target.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeenAnnotation {
    /// When it was made.
    pub at: MicroTime,
    /// True once it was seen gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
}
