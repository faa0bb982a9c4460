//! From a policy as written to one that can be matched without parsing anything.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::api::{DelegatedAction, Delegation, Environment, Identities, Mode, SafetyPolicy, SafetyPolicySpec};
use crate::domain::policy::DEFAULT;
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
    pub min_approvals: Option<u32>,
    pub approval_clock: Option<SignedDuration>,
    pub use_clock: Option<SignedDuration>,
    /// Only on `default`.
    pub floor: Option<Floor>,
}

/// What only `default` may say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    pub environments: Vec<(Selector, Environment)>,
    pub identities: Identities,
    pub delegations: Vec<Delegation>,
    pub exemption: Exemption,
}

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
    /// Whether the ServiceAccount `username` may do `action` to what an owner of this group and kind controls.
    pub fn delegates(&self, username: &str, group: &str, kind: &str, action: DelegatedAction) -> bool {
        self.delegations.iter().any(|delegation| {
            let account = &delegation.service_account;
            delegation.may.contains(&action)
                && delegation.owner_kind.group == group
                && delegation.owner_kind.kind == kind
                && username
                    .strip_prefix("system:serviceaccount:")
                    .and_then(|rest| rest.split_once(':'))
                    .is_some_and(|(namespace, name)| namespace == account.namespace && name == account.name)
        })
    }
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
    Ok(CompiledPolicy {
        name,
        generation: policy.metadata.generation.unwrap_or_default(),
        selector,
        deletions: spec.enforcement.as_ref().and_then(|enforcement| enforcement.deletions),
        min_approvals: spec.approvals.as_ref().and_then(|approvals| approvals.min).map(min_approvals).transpose()?,
        approval_clock: duration("spec.expiry.approval", expiry.approval.as_deref())?,
        use_clock: duration("spec.expiry.use", expiry.usage.as_deref())?,
        floor: is_default.then(|| floor(spec)).transpose()?,
    })
}

fn refuse_floor_fields(spec: &SafetyPolicySpec) -> Result<(), PolicyError> {
    let set = [
        ("spec.environments", spec.environments.is_some()),
        ("spec.identities", spec.identities.is_some()),
        ("spec.delegations", spec.delegations.is_some()),
        ("spec.deletion.exempt", spec.deletion.as_ref().is_some_and(|deletion| deletion.exempt.is_some())),
    ];
    set.iter().find(|(_, set)| *set).map_or(Ok(()), |(field, _)| Err(PolicyError::DefaultOnly(field)))
}

fn min_approvals(min: i32) -> Result<u32, PolicyError> {
    u32::try_from(min).ok().filter(|min| (1..=10).contains(min)).ok_or(PolicyError::Min(min))
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
    let exempt = spec.deletion.as_ref().and_then(|deletion| deletion.exempt.clone()).unwrap_or_default();
    let claims = exempt.claim_selector.as_ref().map(|selector| {
        let equalities = selector.match_labels.iter().flatten().map(|(key, _)| key);
        let expressions = selector.match_expressions.iter().flatten().map(|expression| &expression.key);
        if let Some(key) = equalities.chain(expressions).find(|key| !key.starts_with(crate::api::METADATA_PREFIX)) {
            return Err(PolicyError::ForeignLabel(key.clone()));
        }
        Selector::compile(selector).map_err(|error| PolicyError::Selector("spec.deletion.exempt.claimSelector", error))
    });
    let identities = spec.identities.iter().flat_map(|lists| [&lists.machines, &lists.people, &lists.shared]);
    if identities.flatten().any(|entry| entry.username.is_some() == entry.group.is_some()) {
        return Err(PolicyError::Matcher);
    }
    Ok(Floor {
        environments: environments.collect::<Result<_, _>>()?,
        identities: spec.identities.clone().unwrap_or_default(),
        delegations: spec.delegations.clone().unwrap_or_default(),
        exemption: Exemption { storage_classes: exempt.storage_classes, claims: claims.transpose()? },
    })
}
