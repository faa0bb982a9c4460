//! `BackupRetention`: what outlives a deletion, and until when nobody may destroy it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Afterwards, LINE, Target, WORDS};

/// Keeps what keeps data (a volume on Retain, a snapshot, a backup) from being destroyed for a while. It deletes nothing,
/// neither before its time nor after. The controller makes one when a requested deletion is seen done; people may make
/// one for a backup that no deletion stands behind.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "foureyes.dev",
    version = "v1alpha1",
    kind = "BackupRetention",
    plural = "backupretentions",
    shortname = "bkr",
    category = "foureyes",
    status = "BackupRetentionStatus",
    validation = Rule::new("self.spec == oldSelf.spec").message("a retention never changes after it was created: sign-offs release it, or create another one that holds for longer"),
    printcolumn = r#"{"name":"Source","type":"string","jsonPath":".status.sourceText"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Keepers","type":"integer","jsonPath":".status.total"}"#,
    printcolumn = r#"{"name":"Until","type":"string","jsonPath":".status.retainUntil"}"#,
    printcolumn = r#"{"name":"Releases","type":"string","jsonPath":".status.releases.text"}"#,
    printcolumn = r#"{"name":"Waiting for","type":"string","jsonPath":".status.waitingFor"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.mode","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BackupRetentionSpec {
    /// The deletion it stands for. Written by foureyes: leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<RetentionSource>,
    /// What keeps the data.
    #[schemars(length(min = 1, max = 5000))]
    pub keepers: Vec<Keeper>,
    /// Days from the observed deletion, or from the creation of a retention that no deletion stands behind.
    #[schemars(range(min = 1, max = 36500))]
    pub retain_days: i32,
    /// Who may let go of it earlier.
    pub mode: RetentionMode,
    /// What happens to the keepers once the time is over.
    pub afterwards: Afterwards,
    /// Why it is kept, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = WORDS))]
    pub reason: Option<String>,
}

/// A deletion that was seen done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.request) == has(self.uid)").message("a DeletionRequest is named by its name and its UID"))]
pub struct RetentionSource {
    /// Name of the DeletionRequest, unless what was deleted needed none: an operator to whom a policy delegates it did so
    /// by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub request: Option<String>,
    /// Its `metadata.uid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 36, max = 36))]
    pub uid: Option<String>,
    /// What was deleted.
    pub target: Target,
    /// When that was seen: the retention runs from here.
    pub deleted_at: Time,
}

/// Something that keeps data.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.kind in ['PersistentVolume', 'VolumeSnapshotContent'] ? !has(self.namespace) : self.kind in ['Backup', 'Snapshot'] && has(self.namespace)").message("a keeper is a PersistentVolume, a VolumeSnapshotContent, or a Backup of Velero or a Snapshot of k8up with its namespace"))]
pub struct Keeper {
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// `metadata.uid`: a new object of the same name keeps nothing.
    #[schemars(
        length(min = 36, max = 36),
        regex(pattern = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
    )]
    pub uid: String,
    /// Where the bytes are: `driver/volumeHandle` or what stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = LINE))]
    pub handle: Option<String>,
}

/// Whether people may let go of what is kept before its time: two of them, or nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum RetentionMode {
    Governance,
    Compliance,
}

/// Where a retention stands. A phase can only refuse: what is released is proven from the sign-offs themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum RetentionPhase {
    /// Its time runs: nobody destroys what it keeps.
    #[default]
    Holding,
    /// Its time is over; destroying what it keeps still takes two people, unless `afterwards` is Purge.
    Expired,
    /// Two people have let go of it.
    ReleaseApproved,
    /// All keepers are gone after they were let go of.
    Purged,
    /// A keeper is gone, or keeps nothing any more, and nobody had let go of it.
    Violated,
}

impl RetentionPhase {
    /// Every phase.
    pub const ALL: [Self; 5] = [Self::Holding, Self::Expired, Self::ReleaseApproved, Self::Purged, Self::Violated];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holding => "Holding",
            Self::Expired => "Expired",
            Self::ReleaseApproved => "ReleaseApproved",
            Self::Purged => "Purged",
            Self::Violated => "Violated",
        }
    }
}

/// What the controller has observed. Nobody else writes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupRetentionStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<RetentionPhase>,
    /// What was deleted, for the printer columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_text: Option<String>,
    /// Until when nobody destroys what it keeps. Never earlier than it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain_until: Option<Time>,
    /// What a Release must name: over the spec, which never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The line by which somebody lets go of it, while that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_command: Option<String>,
    /// How long the releases count, once there are enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_until: Option<Time>,
    /// How many keepers there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<i32>,
    /// How many of them are gone after they were let go of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purged: Option<i32>,
    /// How many are gone that nobody had let go of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<i32>,
    /// What it waits for, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Who has let go of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub releases: Option<super::SignOffSummary>,
    /// The keepers, as many as fit (100); those that are missing first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keepers: Vec<SeenKeeper>,
    /// Who has put a legal hold on it, which stops every release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legal_holds: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A keeper as it was seen last.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeenKeeper {
    pub name: String,
    /// It is there.
    pub exists: bool,
    /// The data outlives the object that it belonged to: a volume is on Retain.
    pub survives: bool,
    /// In bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// What is needed to bring it back: the claim and the volume as they were, without managed fields. Left out where a
    /// status has no room for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true, "type" = "object"))]
    pub manifest: Option<Value>,
}
