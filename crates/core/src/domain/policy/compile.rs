//! From a policy as written to one that can be matched without parsing anything.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::api::{
    AdditionalKind, Approvals, DelegatedAction, Delegation, Environment, Identities, IdentityMatcher, KeepVolumes,
    MachineSubmitter, Mode, Pin, RolloutResource, SafetyPolicy, SafetyPolicySpec, ServiceAccountRef, Shutdown,
    StandardChange,
};
use crate::domain::catalogue;
use crate::domain::policy::DEFAULT;
use crate::domain::rollout::free::controls_sidecars;
use crate::domain::rollout::location::is_built_in;
use crate::domain::selector::{Selector, SelectorError};

/// Why a policy can't be compiled; names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("{0}: {1}")]
    Selector(&'static str, SelectorError),
    #[error("{0}: {1:?} is not a duration such as 72h or 1h30m")]
    Duration(&'static str, String),
    #[error("spec.approvals.min: {0} is not between 1 and 10")]
    Min(i32),
    #[error("{0}: only the policy named default may set it")]
    DefaultOnly(&'static str),
    #[error("spec.selector: the policy named default applies everywhere and takes no selector")]
    SelectorOnDefault,
    #[error("spec.identities: every entry gives either a username or a group")]
    Matcher,
    #[error("spec.approvals.machineSubmitters: {0} is not between 0 and 2")]
    Submitter(i32),
    #[error("spec.standardChanges: every actor gives either a username or a group")]
    Actor,
    #[error("spec.freeChanges: {0:?} makes another webhook put containers into the pod, so it is never free")]
    SidecarControl(String),
    #[error("spec.rollback.revisions: {0} is not between 0 and 20")]
    Revisions(i32),
    #[error("{0}: {1} is not between 1 and 36500")]
    Days(&'static str, i32),
    #[error("spec.rolloutResources: where the pod template of {0} is, is known already")]
    KnownResource(String),
    #[error("spec.deletion.additionalKinds: {0} is guarded already")]
    GuardedKind(String),
    #[error("spec.rolloutResources: {0:?} is not a path below .spec, such as .spec.template")]
    Path(String),
    #[error("spec.deletion.exempt.claimSelector: {0:?} does not begin with foureyes.dev/, so anybody could add it")]
    ForeignLabel(String),
}

/// One policy, ready to be merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompiledPolicy {
    pub name: String,
    pub generation: i64,
    pub selector: Selector,
    pub deletions: Option<Mode>,
    pub rollouts: Option<Mode>,
    pub creations: Option<Mode>,
    pub removals: Option<Mode>,
    pub min_approvals: Option<u32>,
    /// Approvals by username of the ServiceAccount that asks.
    pub machine_submitters: BTreeMap<String, u32>,
    pub pin: Option<Pin>,
    pub revisions: Option<u32>,
    pub approval_clock: Option<SignedDuration>,
    pub use_clock: Option<SignedDuration>,
    pub quiet_period: Option<SignedDuration>,
    pub retain_days: Option<u32>,
    pub min_retain_days: Option<u32>,
    pub keep_volumes: Option<KeepVolumes>,
    pub close_within: Option<SignedDuration>,
    pub refuse_unsupervised: Option<bool>,
    /// Only on `default`.
    pub floor: Option<Box<Floor>>,
}

/// What only `default` may say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    pub environments: Vec<(Selector, Environment)>,
    pub identities: Identities,
    pub delegations: Vec<Delegation>,
    pub exemption: Exemption,
    pub shutdown: Shutdown,
    /// Beside [`SYSTEM_NAMESPACES`].
    pub system_namespaces: Vec<String>,
    pub standard_changes: Vec<StandardChange>,
    /// Keys of annotations.
    pub free_annotations: Vec<String>,
    pub rollout_resources: Vec<RolloutResource>,
    pub additional_kinds: Vec<AdditionalKind>,
}

/// Namespaces in which rollouts are never governed: a cluster that can't start protects nothing.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Which claims are not worth protecting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exemption {
    pub storage_classes: Vec<String>,
    pub claims: Option<Selector>,
}

impl Exemption {
    /// Whether this storage class alone makes a claim exempt.
    pub fn covers_class(&self, storage_class: Option<&str>) -> bool {
        storage_class.is_some_and(|class| self.storage_classes.iter().any(|exempt| exempt == class))
    }

    /// Whether labels alone make a claim exempt.
    pub fn covers_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.claims.as_ref().is_some_and(|claims| claims.matches(labels))
    }
}

impl Floor {
    /// What is said of a kind beyond the table.
    pub fn additional_kind(&self, group: &str, kind: &str) -> Option<&AdditionalKind> {
        self.additional_kinds.iter().find(|known| known.group == group && known.kind == kind)
    }

    /// Whether the ServiceAccount `username` may do `action` to what an owner of this group and kind controls.
    pub fn delegates(&self, username: &str, group: &str, kind: &str, action: DelegatedAction) -> bool {
        self.delegations.iter().any(|delegation| {
            delegation.may.contains(&action)
                && delegation.owner_kind.group == group
                && delegation.owner_kind.kind == kind
                && self::username(&delegation.service_account) == username
        })
    }

    /// Whether rollouts in this namespace are left alone.
    pub fn is_system(&self, namespace: &str) -> bool {
        SYSTEM_NAMESPACES.contains(&namespace) || self.system_namespaces.iter().any(|name| name == namespace)
    }
}

/// How the API server names a ServiceAccount.
fn username(account: &ServiceAccountRef) -> String {
    format!("system:serviceaccount:{}:{}", account.namespace, account.name)
}

/// Compiles a policy.
pub fn compile(policy: &SafetyPolicy) -> Result<CompiledPolicy, PolicyError> {
    let name = policy.metadata.name.clone().unwrap_or_default();
    let spec = &policy.spec;
    let is_default = name == DEFAULT;
    if is_default && spec.selector.is_some() {
        return Err(PolicyError::SelectorOnDefault);
    }
    if !is_default {
        refuse_floor_fields(spec)?;
    }
    let selector = match &spec.selector {
        Some(selector) => Selector::compile(selector).map_err(|error| PolicyError::Selector("spec.selector", error))?,
        None => Selector::default(),
    };
    let expiry = spec.expiry.clone().unwrap_or_default();
    let enforcement = spec.enforcement.clone().unwrap_or_default();
    let rollback = spec.rollback.clone().unwrap_or_default();
    let deletion = spec.deletion.clone().unwrap_or_default();
    Ok(CompiledPolicy {
        name,
        generation: policy.metadata.generation.unwrap_or_default(),
        selector,
        deletions: enforcement.deletions,
        rollouts: enforcement.rollouts,
        creations: enforcement.creations,
        removals: enforcement.removals,
        min_approvals: spec.approvals.as_ref().and_then(|approvals| approvals.min).map(min_approvals).transpose()?,
        machine_submitters: machine_submitters(spec.approvals.as_ref())?,
        pin: spec.pin,
        revisions: rollback.revisions.map(revisions).transpose()?,
        approval_clock: duration("spec.expiry.approval", expiry.approval.as_deref())?,
        use_clock: duration("spec.expiry.use", expiry.usage.as_deref())?,
        quiet_period: quiet_period(deletion.quiet_period.as_deref())?,
        retain_days: days("spec.deletion.retainDays", deletion.retain_days)?,
        min_retain_days: days("spec.deletion.minRetainDays", deletion.min_retain_days)?,
        keep_volumes: deletion.keep_volumes,
        close_within: duration("spec.deletion.closeWithin", deletion.close_within.as_deref())?,
        refuse_unsupervised: deletion.refuse_unsupervised,
        floor: is_default.then(|| floor(spec).map(Box::new)).transpose()?,
    })
}

fn refuse_floor_fields(spec: &SafetyPolicySpec) -> Result<(), PolicyError> {
    let set = [
        ("spec.environments", spec.environments.is_some()),
        ("spec.identities", spec.identities.is_some()),
        ("spec.systemNamespaces", spec.system_namespaces.is_some()),
        ("spec.delegations", spec.delegations.is_some()),
        ("spec.standardChanges", spec.standard_changes.is_some()),
        ("spec.freeChanges", spec.free_changes.is_some()),
        ("spec.rolloutResources", spec.rollout_resources.is_some()),
        (
            "spec.deletion.additionalKinds",
            spec.deletion.as_ref().is_some_and(|deletion| deletion.additional_kinds.is_some()),
        ),
        ("spec.deletion.exempt", spec.deletion.as_ref().is_some_and(|deletion| deletion.exempt.is_some())),
        ("spec.deletion.shutdown", spec.deletion.as_ref().is_some_and(|deletion| deletion.shutdown.is_some())),
    ];
    set.iter().find(|(_, set)| *set).map_or(Ok(()), |(field, _)| Err(PolicyError::DefaultOnly(field)))
}

fn min_approvals(min: i32) -> Result<u32, PolicyError> {
    u32::try_from(min).ok().filter(|min| (1..=10).contains(min)).ok_or(PolicyError::Min(min))
}

/// Where one account is named twice, the higher number counts.
fn machine_submitters(approvals: Option<&Approvals>) -> Result<BTreeMap<String, u32>, PolicyError> {
    let mut all = BTreeMap::new();
    for MachineSubmitter { service_account, approvals } in
        approvals.iter().flat_map(|approvals| approvals.machine_submitters.iter().flatten())
    {
        let needed = u32::try_from(*approvals).ok().filter(|needed| *needed <= 2);
        let needed = needed.ok_or(PolicyError::Submitter(*approvals))?;
        let entry = all.entry(username(service_account)).or_insert(needed);
        *entry = needed.max(*entry);
    }
    Ok(all)
}

fn revisions(revisions: i32) -> Result<u32, PolicyError> {
    u32::try_from(revisions).ok().filter(|revisions| *revisions <= 20).ok_or(PolicyError::Revisions(revisions))
}

fn days(field: &'static str, days: Option<i32>) -> Result<Option<u32>, PolicyError> {
    let Some(days) = days else { return Ok(None) };
    let fits = u32::try_from(days).ok().filter(|days| (1..=36_500).contains(days));
    fits.map(Some).ok_or(PolicyError::Days(field, days))
}

/// Unlike the clocks it may be nothing: then it suffices that nothing runs.
fn quiet_period(text: Option<&str>) -> Result<Option<SignedDuration>, PolicyError> {
    let Some(text) = text else { return Ok(None) };
    let parsed: Option<SignedDuration> = text.parse().ok();
    let error = || PolicyError::Duration("spec.deletion.quietPeriod", text.to_owned());
    parsed.filter(|period| !period.is_negative()).map(Some).ok_or_else(error)
}

fn duration(field: &'static str, text: Option<&str>) -> Result<Option<SignedDuration>, PolicyError> {
    let Some(text) = text else { return Ok(None) };
    let parsed: Option<SignedDuration> = text.parse().ok();
    match parsed.filter(SignedDuration::is_positive) {
        Some(duration) => Ok(Some(duration)),
        None => Err(PolicyError::Duration(field, text.to_owned())),
    }
}

fn floor(spec: &SafetyPolicySpec) -> Result<Floor, PolicyError> {
    let environments = spec.environments.iter().flatten().map(|rule| {
        let selector = Selector::compile(&rule.selector)
            .map_err(|error| PolicyError::Selector("spec.environments[].selector", error))?;
        Ok((selector, rule.environment))
    });
    let deletion = spec.deletion.clone().unwrap_or_default();
    let exempt = deletion.exempt.unwrap_or_default();
    let claims = exempt.claim_selector.as_ref().map(|selector| {
        let equalities = selector.match_labels.iter().flatten().map(|(key, _)| key);
        let expressions = selector.match_expressions.iter().flatten().map(|expression| &expression.key);
        if let Some(key) = equalities.chain(expressions).find(|key| !key.starts_with(crate::api::METADATA_PREFIX)) {
            return Err(PolicyError::ForeignLabel(key.clone()));
        }
        Selector::compile(selector).map_err(|error| PolicyError::Selector("spec.deletion.exempt.claimSelector", error))
    });
    let identities = spec.identities.iter().flat_map(|lists| [&lists.machines, &lists.people, &lists.shared]);
    if identities.flatten().any(is_ambiguous) {
        return Err(PolicyError::Matcher);
    }
    let standard_changes = spec.standard_changes.clone().unwrap_or_default();
    if standard_changes.iter().flat_map(|standard| &standard.actors).any(is_ambiguous) {
        return Err(PolicyError::Actor);
    }
    Ok(Floor {
        environments: environments.collect::<Result<_, _>>()?,
        identities: spec.identities.clone().unwrap_or_default(),
        delegations: spec.delegations.clone().unwrap_or_default(),
        exemption: Exemption { storage_classes: exempt.storage_classes, claims: claims.transpose()? },
        shutdown: deletion.shutdown.unwrap_or_default(),
        system_namespaces: spec.system_namespaces.clone().unwrap_or_default(),
        standard_changes,
        free_annotations: free_annotations(spec)?,
        rollout_resources: rollout_resources(spec)?,
        additional_kinds: additional_kinds(spec)?,
    })
}

const fn is_ambiguous(matcher: &IdentityMatcher) -> bool {
    matcher.username.is_some() == matcher.group.is_some()
}

fn free_annotations(spec: &SafetyPolicySpec) -> Result<Vec<String>, PolicyError> {
    let keys = spec.free_changes.iter().flatten().map(|free| free.annotation.clone());
    keys.map(|key| if controls_sidecars(&key) { Err(PolicyError::SidecarControl(key)) } else { Ok(key) }).collect()
}

/// What has a row of its own is guarded by that.
fn additional_kinds(spec: &SafetyPolicySpec) -> Result<Vec<AdditionalKind>, PolicyError> {
    let mut all: Vec<AdditionalKind> = Vec::new();
    let named = spec.deletion.iter().flat_map(|deletion| deletion.additional_kinds.iter().flatten());
    for kind in named {
        let known = |other: &AdditionalKind| other.group == kind.group && other.kind == kind.kind;
        if catalogue::is_guarded(&kind.group, &kind.kind) || all.iter().any(known) {
            return Err(PolicyError::GuardedKind(kind.kind.clone()));
        }
        all.push(kind.clone());
    }
    Ok(all)
}

fn rollout_resources(spec: &SafetyPolicySpec) -> Result<Vec<RolloutResource>, PolicyError> {
    let mut all: Vec<RolloutResource> = Vec::new();
    for resource in spec.rollout_resources.iter().flatten() {
        let known = |other: &RolloutResource| other.group == resource.group && other.kind == resource.kind;
        if is_built_in(&resource.group, &resource.kind) || all.iter().any(known) {
            return Err(PolicyError::KnownResource(resource.kind.clone()));
        }
        let fields =
            resource.template.strip_prefix(".spec.").map(|path| path.split('.').all(|field| !field.is_empty()));
        if fields != Some(true) {
            return Err(PolicyError::Path(resource.template.clone()));
        }
        all.push(resource.clone());
    }
    Ok(all)
}
