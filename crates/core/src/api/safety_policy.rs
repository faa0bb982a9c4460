//! `SafetyPolicy`: what is protected, and how strictly.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LINE, Shutdown};

/// What is protected and how strictly. The policy named `default` is the floor for the whole cluster; others select
/// namespaces and only tighten.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "foureyes.dev",
    version = "v1alpha1",
    kind = "SafetyPolicy",
    plural = "safetypolicies",
    shortname = "spol",
    category = "foureyes",
    status = "SafetyPolicyStatus",
    validation = Rule::new("self.metadata.name == 'default' || !(has(self.spec.identities) || has(self.spec.environments) || has(self.spec.delegations) || has(self.spec.systemNamespaces) || has(self.spec.standardChanges) || has(self.spec.freeChanges) || has(self.spec.rolloutResources) || (has(self.spec.deletion) && (has(self.spec.deletion.exempt) || has(self.spec.deletion.shutdown) || has(self.spec.deletion.additionalKinds))))").message("only the policy named default may set identities, environments, systemNamespaces, delegations, standardChanges, freeChanges, rolloutResources, deletion.exempt, deletion.shutdown and deletion.additionalKinds"),
    validation = Rule::new("self.metadata.name != 'default' || !has(self.spec.selector)").message("the policy named default applies everywhere and takes no selector"),
    printcolumn = r#"{"name":"Deletions","type":"string","jsonPath":".spec.enforcement.deletions"}"#,
    printcolumn = r#"{"name":"Rollouts","type":"string","jsonPath":".spec.enforcement.rollouts"}"#,
    printcolumn = r#"{"name":"Approvals","type":"integer","jsonPath":".spec.approvals.min"}"#,
    printcolumn = r#"{"name":"In force","type":"string","jsonPath":".status.conditions[?(@.type==\"Compiled\")].status"}"#,
    printcolumn = r#"{"name":"Verified","type":"string","jsonPath":".status.conditions[?(@.type==\"EnforcementVerified\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct SafetyPolicySpec {
    /// Namespaces this policy tightens, by their labels; without one it applies to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Which namespaces are production, by labels they already have; the first rule that matches decides. Without a
    /// matching rule a namespace is production. The label `foureyes.dev/environment: non-production` on the namespace
    /// itself beats every rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub environments: Option<Vec<EnvironmentRule>>,
    /// Namespaces in which rollouts are not governed, beside kube-system, kube-public and kube-node-lease: what the
    /// cluster needs to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub system_namespaces: Option<Vec<String>>,
    /// Who is a person, who a machine, and whom several people share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identities: Option<Identities>,
    /// Whether rules refuse, warn, or are off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<Enforcement>,
    /// How many people must sign off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Approvals>,
    /// The two clocks of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Expiry>,
    /// What a machine may do by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub delegations: Option<Vec<Delegation>>,
    /// Rollouts that need nobody: who may put which images where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub standard_changes: Option<Vec<StandardChange>>,
    /// Annotations of a pod template that may change freely. Restarts always may; what makes another webhook put
    /// containers into the pod never may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub free_changes: Option<Vec<FreeChange>>,
    /// How exactly a change names what is rolled out. Built-in: Images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Rules about going back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackRules>,
    /// Further kinds that contain a pod template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub rollout_resources: Option<Vec<RolloutResource>>,
    /// Rules about deletions alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeletionRules>,
}

/// One rule of `environments`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentRule {
    pub selector: LabelSelector,
    pub environment: Environment,
}

/// What a namespace is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Environment {
    Production,
    NonProduction,
}

/// Lists that classify identities. `shared` beats `people`, which beats `machines`, which beats the built-in rule:
/// the group `system:masters` is shared, `system:…` usernames are machines, everybody else is a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identities {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub machines: Vec<IdentityMatcher>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub people: Vec<IdentityMatcher>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub shared: Vec<IdentityMatcher>,
}

/// Matches an identity by its username (with `*` for any run of characters) or by a group it is in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.username) != has(self.group)").message("give either username or group"))]
pub struct IdentityMatcher {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub group: Option<String>,
}

/// Whether rules refuse, warn, or are off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Enforcement {
    /// Deletions of what holds data. Built-in: Deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletions: Option<Mode>,
    /// Templates and images of what exists. Built-in: Deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollouts: Option<Mode>,
    /// New workloads. Built-in: Deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creations: Option<Mode>,
    /// Deletions of workloads that still run. Built-in: Warn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removals: Option<Mode>,
}

/// How a rule acts, from loose to strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum Mode {
    Off,
    Warn,
    Deny,
}

/// How many people must sign off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approvals {
    /// People other than the requester. Built-in: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub min: Option<i32>,
    /// ServiceAccounts whose changes need another number of approvals than 2, because their way of working has its own
    /// review. For changes alone: deletions that no person asked for always need 2. Whoever may mint a token for such
    /// an account acts as it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub machine_submitters: Option<Vec<MachineSubmitter>>,
}

/// A ServiceAccount that asks for changes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineSubmitter {
    pub service_account: ServiceAccountRef,
    #[schemars(range(min = 0, max = 2))]
    pub approvals: i32,
}

/// Rollouts that need nobody.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StandardChange {
    /// Where.
    #[schemars(length(min = 1, max = 64))]
    pub targets: Vec<StandardTarget>,
    /// Which images, with `*` for any run of characters.
    #[schemars(length(min = 1, max = 512))]
    pub image_pattern: String,
    /// Who.
    #[schemars(length(min = 1, max = 64))]
    pub actors: Vec<IdentityMatcher>,
}

/// Workloads of one kind, in any version of its group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StandardTarget {
    /// Empty for the core group.
    #[schemars(length(max = 253))]
    pub group: String,
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// With `*` for any run of characters.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// With `*` for any run of characters.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// An annotation of a pod template that may change freely.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FreeChange {
    /// Its whole key, for example `checksum/config`.
    #[schemars(length(min = 1, max = 317))]
    pub annotation: String,
}

/// How exactly a change names what is rolled out, from loose to strict: Images may name images alone, and everything
/// else stays as it was last authorised; Template always names the digest of the whole template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum Pin {
    Images,
    Template,
}

/// Rules about going back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackRules {
    /// To how many earlier templates, beside the current one. Built-in: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub revisions: Option<i32>,
}

/// A kind that contains a pod template.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutResource {
    /// Empty for the core group.
    #[schemars(length(max = 253))]
    pub group: String,
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Where in its spec the pod template is, for example `.spec.template`.
    #[schemars(length(min = 2, max = 253), regex(pattern = r"^\.spec(\.[A-Za-z0-9_-]+)+$"))]
    pub template: String,
}

/// The two clocks. Durations such as `72h` or `1h30m`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Expiry {
    /// How long a request may wait for its sign-offs. Built-in: 336h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub approval: Option<String>,
    /// How long it may be used, from the first moment it could be. Built-in: 24h.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub usage: Option<String>,
}

/// A machine that may do something by itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delegation {
    pub service_account: ServiceAccountRef,
    /// The kind that must own, as its controller, what the machine acts on.
    pub owner_kind: OwnerKind,
    #[schemars(length(min = 1, max = 8))]
    pub may: Vec<DelegatedAction>,
}

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountRef {
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A kind of owner, in any version of its group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnerKind {
    /// Empty for the core group.
    #[schemars(length(max = 253))]
    pub group: String,
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
}

/// What can be delegated. `DeleteClaims`: delete claims that an object of the owner kind controls, and make such an
/// object the owner of claims. `Roll`: roll out, create and remove workloads that an object of the owner kind controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum DelegatedAction {
    DeleteClaims,
    Roll,
}

/// Rules about deletions alone.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletionRules {
    /// How long nothing may have used what is deleted, such as `24h`. Built-in: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub quiet_period: Option<String>,
    /// For how many days after its deletion data is kept. Built-in: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub retain_days: Option<i32>,
    /// The fewest days that a request may ask for instead, once somebody has said that its customer agreed. Built-in:
    /// none fewer than `retainDays`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub min_retain_days: Option<i32>,
    /// When volumes are put on Retain. Built-in: `OnApproval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_volumes: Option<KeepVolumes>,
    /// How long after a deletion somebody else than its requester must have said Supervised, such as
    /// `72h`. Built-in: 72h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub close_within: Option<String>,
    /// Whether whoever has asked for a deletion that was not supervised in time is refused the next request.
    /// Built-in: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse_unsupervised: Option<bool>,
    /// Storage that holds nothing worth protecting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exempt: Option<Exempt>,
    /// Who shuts down what uses the target, where a request does not say. Built-in: Manual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<Shutdown>,
    /// Further kinds whose objects nobody deletes alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub additional_kinds: Option<Vec<AdditionalKind>>,
}

/// A kind with whose objects something is lost.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalKind {
    /// Empty for the core group.
    #[schemars(length(max = 253))]
    pub group: String,
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Whose deletion of them takes a change.
    pub guarded: GuardedFrom,
    /// What is lost with one, in words for whoever is refused: `the bucket and all that is in it`.
    #[schemars(length(min = 1, max = 256), regex(pattern = LINE))]
    pub loses: String,
}

/// Who does not delete something alone: people, while machines go on, or everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum GuardedFrom {
    People,
    Everybody,
}

/// When volumes are put on Retain, from loose to strict: once the deletion of their claims is signed off, or from their
/// first binding on, so that what a delegated operator deletes by itself is held as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum KeepVolumes {
    #[default]
    OnApproval,
    Always,
}

/// Claims whose deletion needs nobody.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.claimSelector) || ((!has(self.claimSelector.matchLabels) || self.claimSelector.matchLabels.all(k, k.startsWith('foureyes.dev/'))) && (!has(self.claimSelector.matchExpressions) || self.claimSelector.matchExpressions.all(e, e.key.startsWith('foureyes.dev/') && e.operator in ['In', 'Exists'])) && (has(self.claimSelector.matchLabels) || has(self.claimSelector.matchExpressions)))").message("claimSelector may only name labels that begin with foureyes.dev/ (others can be edited without review), by matchLabels or the operators In and Exists"))]
pub struct Exempt {
    /// Claims of these storage classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub storage_classes: Vec<String>,
    /// Claims born with these labels. Only labels that begin with `foureyes.dev/`: nobody can add one later alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_selector: Option<LabelSelector>,
}

/// Whether one entry of the webhook configurations, or one admission policy of foureyes, is as it was shipped.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnforcementStatus {
    /// The entry, such as `claims.guard.foureyes.dev`, or the policy, such as `foureyes-data`.
    pub kind: String,
    pub verified: bool,
    /// What is otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What the controller has observed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SafetyPolicyStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Of `default`: whether each entry of the webhook configurations, and each admission policy with its binding, is as it
    /// was shipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enforcement: Vec<EnforcementStatus>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
