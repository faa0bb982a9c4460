//! The custom resources of `foureyes.dev/v1alpha1` as they travel on the wire.

mod author;
mod backup_retention;
mod change_request;
mod conditions;
mod deletion_request;
mod request;
mod rollout_record;
mod safety_policy;
mod sign_off;
mod target_kind;

pub use author::{Author, Requester};
pub use backup_retention::{
    BackupRetention, BackupRetentionSpec, BackupRetentionStatus, Keeper, RetentionMode, RetentionPhase,
    RetentionSource, SeenKeeper,
};
pub use change_request::{
    Action, ChangePhase, ChangeRequest, ChangeRequestSpec, ChangeRequestStatus, ChangeSource, ChangeTarget,
    ChangeTargetStatus, ChangeType, ContentDigest, ContentEncoding, TargetOutcome, Window,
};
pub use conditions::{ConditionReason, ConditionType};
pub use deletion_request::{
    Afterwards, BackupKind, Deleted, DeletionRequest, DeletionRequestSpec, DeletionRequestStatus, InventoryStatus,
    ListedItem, NamedBackup, Phase, ProtectedObject, Protection, Quiet, RetentionWish, ScaledDown, SeenAnnotation,
    SeenBackup, Shutdown, Target,
};
pub use request::{PolicyRef, SignOffEntry, SignOffSummary, is_name};
pub use rollout_record::{
    How, RolloutEntry, RolloutRecord, RolloutRecordSpec, RolloutRecordStatus, SeenOutcome, SeenWorkload,
    WorkloadIdentity,
};
pub use safety_policy::{
    AdditionalKind, Approvals, DelegatedAction, Delegation, DeletionRules, Enforcement, EnforcementStatus, Environment,
    EnvironmentRule, Exempt, Expiry, FreeChange, GuardedFrom, Identities, IdentityMatcher, KeepVolumes,
    MachineSubmitter, Mode, OwnerKind, Pin, RollbackRules, RolloutResource, SafetyPolicy, SafetyPolicySpec,
    SafetyPolicyStatus, ServiceAccountRef, StandardChange, StandardTarget,
};
pub use sign_off::{Says, SignOff, SignOffSpec, Subject};
pub use target_kind::TargetKind;

/// The API group of every kind.
pub const GROUP: &str = "foureyes.dev";
/// The version served and stored.
pub const VERSION: &str = "v1alpha1";
/// `group/version`, as in `apiVersion`.
pub const API_VERSION: &str = "foureyes.dev/v1alpha1";

/// Label by which a namespace says that it is not production; towards production is free, away from it is not.
pub const ENVIRONMENT_LABEL: &str = "foureyes.dev/environment";
/// The one value of [`ENVIRONMENT_LABEL`] that leaves production.
pub const NON_PRODUCTION: &str = "non-production";
/// Prefix of every label and annotation of ours.
pub const METADATA_PREFIX: &str = "foureyes.dev/";
/// Annotation by which a second person approves with nothing but `kubectl annotate`.
pub const APPROVED_BY: &str = "foureyes.dev/approved-by";
/// Annotation in which stamp keeps the sealed record behind [`APPROVED_BY`].
pub const APPROVED_BY_RECORD: &str = "foureyes.dev/approved-by-record";
/// The mutating webhook configuration.
pub const STAMP: &str = "foureyes-stamp";
/// The validating webhook configuration.
pub const GUARD: &str = "foureyes-guard";
/// Both, by kind and name.
pub const CONFIGURATIONS: [(&str, &str); 2] =
    [("MutatingWebhookConfiguration", STAMP), ("ValidatingWebhookConfiguration", GUARD)];
/// On a webhook configuration of ours while an approved change lets it go; its value is the configuration's UID, so that
/// it says nothing of another one with that name.
pub const RELEASED: &str = "foureyes.dev/released";
/// On a volume that keeps the data of a claim whose deletion was signed off: the claim as it was, which is what brings it
/// back.
pub const KEPT_CLAIM: &str = "foureyes.dev/kept-claim";
/// The group that may loosen what scopes protection and use the break-glass path; it opens no way to data.
pub const BREAK_GLASS_GROUP: &str = "foureyes:breakglass";

/// What people write in words: new lines and tabs, but no other control characters, and nothing that others would not see
/// or see elsewhere. The joiners U+200C and U+200D stay: words of some languages are written with the one, and emoji with
/// the other.
const WORDS: &str =
    r"^[^\x00-\x08\x0b-\x1f\x7f-\x{9f}\x{200b}\x{200e}\x{200f}\x{2028}-\x{202e}\x{2066}-\x{2069}\x{feff}]*$";
/// Words in one line.
const LINE: &str = r"^[^\x00-\x1f\x7f-\x{9f}\x{200b}\x{200e}\x{200f}\x{2028}-\x{202e}\x{2066}-\x{2069}\x{feff}]*$";
/// One word.
const WORD: &str = r"^[^\x00-\x20\x7f-\x{a0}\x{200b}\x{200e}\x{200f}\x{2028}-\x{202e}\x{2066}-\x{2069}\x{feff}]*$";
