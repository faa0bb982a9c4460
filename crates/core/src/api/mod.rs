//! The custom resources of `foureyes.dev/v1alpha1` as they travel on the wire.

mod author;
mod change_request;
mod conditions;
mod deletion_request;
mod request;
mod rollout_record;
mod safety_policy;
mod sign_off;

pub use author::{Author, Requester};
pub use change_request::{
    Action, ChangePhase, ChangeRequest, ChangeRequestSpec, ChangeRequestStatus, ChangeSource, ChangeTarget,
    ChangeTargetStatus, ChangeType, ContentDigest, ContentEncoding, TargetOutcome, Window,
};
pub use conditions::{ConditionReason, ConditionType};
pub use deletion_request::{
    DeletionRequest, DeletionRequestSpec, DeletionRequestStatus, InventoryStatus, ListedItem, Phase, SeenAnnotation,
    Target, TargetKind,
};
pub use request::{PolicyRef, SignOffEntry, SignOffSummary, is_name};
pub use rollout_record::{
    How, RolloutEntry, RolloutRecord, RolloutRecordSpec, RolloutRecordStatus, SeenOutcome, SeenWorkload,
    WorkloadIdentity,
};
pub use safety_policy::{
    Approvals, DelegatedAction, Delegation, DeletionRules, Enforcement, Environment, EnvironmentRule, Exempt, Expiry,
    FreeChange, Identities, IdentityMatcher, MachineSubmitter, Mode, OwnerKind, Pin, RollbackRules, RolloutResource,
    SafetyPolicy, SafetyPolicySpec, SafetyPolicyStatus, ServiceAccountRef, StandardChange, StandardTarget,
};
pub use sign_off::{Says, SignOff, SignOffSpec, Subject};

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
/// The group that may loosen what scopes protection and use the break-glass path; it opens no way to data.
pub const BREAK_GLASS_GROUP: &str = "foureyes:breakglass";
