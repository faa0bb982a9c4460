//! `ChangeRequest`: somebody wants something new rolled out, or something that runs taken away.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::request::is_name;
use super::{LINE, PolicyRef, Requester, SignOffSummary, WORD, WORDS};

/// A wish to change what runs. Its spec never changes; another wish, for example another version, is another request.
/// foureyes rolls nothing out itself: once enough people have signed it off, anybody with ordinary rights may apply
/// exactly what it names.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "foureyes.dev",
    version = "v1alpha1",
    kind = "ChangeRequest",
    plural = "changerequests",
    shortname = "chg",
    category = "foureyes",
    namespaced,
    status = "ChangeRequestStatus",
    validation = Rule::new("self.spec == oldSelf.spec").message("a request never changes after it was created: create another one, named after its version, for another wish"),
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.type"}"#,
    printcolumn = r#"{"name":"Target","type":"string","jsonPath":".status.targetText"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"SignOffs","type":"string","jsonPath":".status.signOffs.text"}"#,
    printcolumn = r#"{"name":"Requester","type":"string","jsonPath":".status.requestedBy"}"#,
    printcolumn = r#"{"name":"Waiting for","type":"string","jsonPath":".status.waitingFor"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Title","type":"string","jsonPath":".spec.title","priority":1}"#,
    printcolumn = r#"{"name":"Until","type":"string","jsonPath":".status.validUntil","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ChangeRequestSpec {
    /// Normal needs its sign-offs. Standard needs none where the policy's standardChanges cover it, and is Normal
    /// elsewhere. Emergency may be used at once if its requester may expedite, and leaves a bill; what protects data it
    /// opens as Normal does. Unauthorized is opened by foureyes alone, for what runs without having been signed off;
    /// signed off, it is adopted.
    #[serde(rename = "type")]
    pub change_type: ChangeType,
    /// What changes, in one line.
    #[schemars(length(min = 1, max = 256), regex(pattern = LINE))]
    pub title: String,
    /// What changes, for the person who signs it off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192), regex(pattern = WORDS))]
    pub description: Option<String>,
    /// Why it is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096), regex(pattern = WORDS))]
    pub justification: Option<String>,
    /// Who answers for it, for example a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = WORDS))]
    pub owner: Option<String>,
    /// Where this is tracked elsewhere, for example a ticket number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = WORDS))]
    pub ticket: Option<String>,
    /// The incident that an emergency answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = WORDS))]
    pub incident: Option<String>,
    /// Where the content comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ChangeSource>,
    /// What shall be applied or removed, each bound to its content.
    #[schemars(length(min = 1, max = 64))]
    pub targets: Vec<ChangeTarget>,
    /// When it may be used, beside its clocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Who asks. Written and sealed by foureyes when the request is created: leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Requester>,
}

/// What sort of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum ChangeType {
    Standard,
    Normal,
    Emergency,
    Unauthorized,
}

impl ChangeType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "Standard",
            Self::Normal => "Normal",
            Self::Emergency => "Emergency",
            Self::Unauthorized => "Unauthorized",
        }
    }
}

/// Where the content comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeSource {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = WORD))]
    pub repository: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = WORD))]
    pub revision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = WORD))]
    pub pull_request: Option<String>,
}

/// One object, and what it shall become.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.action == 'Apply' ? has(self.digest) != has(self.images) : !has(self.digest) && !has(self.images)").message("Apply needs either digest or images, and Remove neither"))]
pub struct ChangeTarget {
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[0-9a-z]+$"))]
    pub api_version: String,
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Z][A-Za-z0-9]*$"))]
    pub kind: String,
    /// Without one it is the request's own. Another one, or an object without a namespace, only for requests in the
    /// namespace of foureyes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    pub action: Action,
    /// The content as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<ContentDigest>,
    /// The content as it was last authorised, but for these containers' images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "images_schema")]
    pub images: Option<BTreeMap<String, String>>,
}

fn images_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 512, "pattern": "^[!-~]+$"},
    })
}

/// What happens to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Action {
    Apply,
    Remove,
}

/// A digest with what it is over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContentDigest {
    pub encoding: ContentEncoding,
    #[schemars(length(min = 71, max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub value: String,
}

/// What a target's digest is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum ContentEncoding {
    #[serde(rename = "template/v1")]
    Template,
    #[serde(rename = "object/v1")]
    Object,
}

impl ContentDigest {
    /// As digests are written elsewhere, `template/v1:sha256:…`.
    pub fn text(&self) -> String {
        let encoding = match self.encoding {
            ContentEncoding::Template => "template/v1",
            ContentEncoding::Object => "object/v1",
        };
        format!("{encoding}:{}", self.value)
    }

    /// The other way round; `None` for what no target can name.
    pub fn parse(text: &str) -> Option<Self> {
        let (encoding, value) = text.split_once(':')?;
        let encoding = match encoding {
            "template/v1" => ContentEncoding::Template,
            "object/v1" => ContentEncoding::Object,
            _ => return None,
        };
        let hex = value.strip_prefix("sha256:")?;
        let whole = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        whole.then(|| Self { encoding, value: value.to_owned() })
    }
}

impl ChangeTarget {
    /// The API group, empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether an object of this name can exist at all: names become parts of paths.
    pub fn is_well_formed(&self) -> bool {
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let version = self.api_version.split_once('/').map_or(&*self.api_version, |(_, version)| version);
        let group = self.group().is_empty() && !self.api_version.contains('/') || is_name(self.group());
        let namespace =
            self.namespace.as_deref().is_none_or(|namespace| is_name(namespace) && !namespace.contains('.'));
        group && plain(version) && plain(&self.kind) && namespace && is_name(&self.name)
    }

    /// `deployment/web`, for columns and sentences.
    pub fn text(&self) -> String {
        format!("{}/{}", self.kind.to_lowercase(), self.name)
    }
}

/// From when to when something may be used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.start) || !has(self.end) || self.start < self.end").message("a window ends after its start"))]
pub struct Window {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Time>,
}

/// Where a change stands. A phase can only refuse: what is allowed is proven from the sign-offs themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum ChangePhase {
    #[default]
    Pending,
    Approved,
    Scheduled,
    InProgress,
    Succeeded,
    Failed,
    RolledBack,
    Rejected,
    Cancelled,
    Expired,
}

impl ChangePhase {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Approved => "Approved",
            Self::Scheduled => "Scheduled",
            Self::InProgress => "InProgress",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::RolledBack => "RolledBack",
            Self::Rejected => "Rejected",
            Self::Cancelled => "Cancelled",
            Self::Expired => "Expired",
        }
    }

    /// Nothing happens to an ended request any more, and it is never used again.
    pub const fn is_ended(self) -> bool {
        match self {
            Self::Pending | Self::Approved | Self::Scheduled | Self::InProgress => false,
            Self::Succeeded | Self::Failed | Self::RolledBack | Self::Rejected | Self::Cancelled | Self::Expired => {
                true
            }
        }
    }
}

/// What the controller has observed. Nobody else writes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeRequestStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ChangePhase>,
    /// The targets in short, for the printer columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_text: Option<String>,
    /// Who asked, when the seal proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// What it waits for, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// What a sign-off names, `request/v1:sha256:…`: the request as it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_digest: Option<String>,
    /// The ready line to sign this request off with nothing but kubectl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_off_command: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_offs: Option<SignOffSummary>,
    /// Until when it can be signed off; after that it is Expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_deadline: Option<Time>,
    /// When it first could be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usable_from: Option<Time>,
    /// Until when it can be used; after that it is Expired, or ends by what was used of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
    /// What became of each target, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<ChangeTargetStatus>,
    /// The policies that applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyRef>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What became of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeTargetStatus {
    /// `deployment/web`.
    pub target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What ran when the request could first be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_digest: Option<String>,
    /// What was seen on the strength of this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_digest: Option<String>,
    /// Who applied it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<TargetOutcome>,
}

/// How one target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum TargetOutcome {
    Waiting,
    Applying,
    Succeeded,
    Failed,
    RolledBack,
    Replaced,
}

impl TargetOutcome {
    /// Nothing more happens to the target on the strength of this request.
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Waiting | Self::Applying => false,
            Self::Succeeded | Self::Failed | Self::RolledBack | Self::Replaced => true,
        }
    }
}
