//! What applies in one namespace: the floor, tightened field by field by every policy that selects it.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::compile::{CompiledPolicy, Floor};
use crate::api::{ENVIRONMENT_LABEL, Environment, KeepVolumes, Mode, NON_PRODUCTION, Pin, PolicyRef};
use crate::domain::selector::Selector;

/// Built-in values for what `default` leaves unset (design §3).
const BUILT_IN_DELETIONS: Mode = Mode::Deny;
const BUILT_IN_ROLLOUTS: Mode = Mode::Deny;
const BUILT_IN_CREATIONS: Mode = Mode::Deny;
const BUILT_IN_REMOVALS: Mode = Mode::Warn;
const BUILT_IN_APPROVALS: u32 = 1;
const BUILT_IN_PIN: Pin = Pin::Images;
const BUILT_IN_REVISIONS: u32 = 3;
/// Approvals needed when no person asked: a machine, a shared identity, the annotation, the controller.
const WITHOUT_A_PERSON: u32 = 2;
/// An emergency is over sooner than anything else.
const EMERGENCY_CLOCK: SignedDuration = SignedDuration::from_hours(4);
const BUILT_IN_APPROVAL_CLOCK: SignedDuration = SignedDuration::from_hours(14 * 24);
const BUILT_IN_USE_CLOCK: SignedDuration = SignedDuration::from_hours(24);
const BUILT_IN_QUIET_PERIOD: SignedDuration = SignedDuration::from_hours(24);
const BUILT_IN_RETAIN_DAYS: u32 = 30;
const BUILT_IN_CLOSE_WITHIN: SignedDuration = SignedDuration::from_hours(72);

/// A policy that can't be read: nothing governed is allowed in the namespaces it selects (in all, if its selector
/// can't be read either).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    pub name: String,
    pub selector: Option<Selector>,
    pub why: String,
}

/// Every policy of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySet {
    compiled: Vec<CompiledPolicy>,
    undecodable: Vec<Undecodable>,
    floor: Floor,
}

/// What applies in one namespace. Merging is a table: the stricter mode, the higher count, the shorter clock, the
/// fewer revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    pub deletions: Mode,
    pub rollouts: Mode,
    pub creations: Mode,
    pub removals: Mode,
    pub min_approvals: u32,
    /// Approvals by username of the ServiceAccount that asks for a change.
    pub machine_submitters: BTreeMap<String, u32>,
    pub pin: Pin,
    /// Earlier templates that may be gone back to.
    pub revisions: u32,
    pub approval_clock: SignedDuration,
    pub use_clock: SignedDuration,
    /// How long nothing may have used what is deleted.
    pub quiet_period: SignedDuration,
    /// For how many days after its deletion data is kept.
    pub retain_days: u32,
    /// The fewest days that a request may ask for instead, as far as `default` lets it ask for fewer at all.
    pub min_retain_days: Option<u32>,
    pub keep_volumes: KeepVolumes,
    /// How long after a deletion somebody must have said Supervised.
    pub close_within: SignedDuration,
    /// Whether whoever owes that is refused the next request.
    pub refuse_unsupervised: bool,
    pub policies: Vec<PolicyRef>,
}

impl Effective {
    /// The strictest of its modes.
    pub fn strictest(&self) -> Mode {
        self.deletions.max(self.rollouts).max(self.creations).max(self.removals)
    }

    /// No deletion's data is kept for fewer days, whatever its customer agreed to.
    pub fn fewest_days(&self) -> u32 {
        self.min_retain_days.map_or(self.retain_days, |days| days.min(self.retain_days))
    }

    /// Approvals needed when no person asked.
    pub fn without_a_person(&self) -> u32 {
        self.min_approvals.max(WITHOUT_A_PERSON)
    }

    /// The same for a change that this machine asked for, where a policy trusts its review.
    pub fn asked_by_machine(&self, username: &str) -> u32 {
        self.machine_submitters.get(username).copied().unwrap_or_else(|| self.without_a_person())
    }

    /// What applies where both do, for a change of objects in several namespaces.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.deletions = self.deletions.max(other.deletions);
        self.rollouts = self.rollouts.max(other.rollouts);
        self.creations = self.creations.max(other.creations);
        self.removals = self.removals.max(other.removals);
        let (one, both) = (self.clone(), self.machine_submitters.keys().chain(other.machine_submitters.keys()));
        let machines =
            both.map(|machine| (machine.clone(), one.asked_by_machine(machine).max(other.asked_by_machine(machine))));
        let machines = machines.collect();
        self.machine_submitters = machines;
        self.min_approvals = self.min_approvals.max(other.min_approvals);
        self.pin = self.pin.max(other.pin);
        self.revisions = self.revisions.min(other.revisions);
        self.approval_clock = self.approval_clock.min(other.approval_clock);
        self.use_clock = self.use_clock.min(other.use_clock);
        self.quiet_period = self.quiet_period.max(other.quiet_period);
        self.retain_days = self.retain_days.max(other.retain_days);
        self.min_retain_days = self.min_retain_days.zip(other.min_retain_days).map(|(one, other)| one.max(other));
        self.keep_volumes = self.keep_volumes.max(other.keep_volumes);
        self.close_within = self.close_within.min(other.close_within);
        self.refuse_unsupervised |= other.refuse_unsupervised;
        self.policies.extend(other.policies.iter().filter(|policy| !one.policies.contains(policy)).cloned());
        self
    }

    /// How long a change may be used.
    pub fn change_clock(&self, emergency: bool) -> SignedDuration {
        if emergency { self.use_clock.min(EMERGENCY_CLOCK) } else { self.use_clock }
    }
}

impl PolicySet {
    /// Order of the parts does not matter.
    pub fn new(mut compiled: Vec<CompiledPolicy>, mut undecodable: Vec<Undecodable>) -> Self {
        compiled.sort_by(|one, other| one.name.cmp(&other.name));
        undecodable.sort_by(|one, other| one.name.cmp(&other.name));
        let floor = compiled.iter().find_map(|policy| policy.floor.clone()).map(|floor| *floor).unwrap_or_default();
        Self { compiled, undecodable, floor }
    }

    /// What only `default` may say.
    pub fn floor(&self) -> &Floor {
        &self.floor
    }

    /// This set with one policy put in, taken out, or replaced.
    #[must_use]
    pub fn with(&self, name: &str, policy: Option<CompiledPolicy>) -> Self {
        let others = self.compiled.iter().filter(|other| other.name != name).cloned();
        let undecodable = self.undecodable.iter().filter(|other| other.name != name).cloned().collect();
        Self::new(others.chain(policy).collect(), undecodable)
    }

    /// This set with one policy that can't be read.
    #[must_use]
    pub fn with_undecodable(&self, policy: Undecodable) -> Self {
        let mut set = self.with(&policy.name, None);
        set.undecodable.push(policy);
        Self::new(set.compiled, set.undecodable)
    }

    /// Whether a namespace with these labels is production: unless its label or the first matching rule says otherwise.
    pub fn is_production(&self, labels: &BTreeMap<String, String>) -> bool {
        if labels.get(ENVIRONMENT_LABEL).is_some_and(|value| value == NON_PRODUCTION) {
            return false;
        }
        let rule = self.floor.environments.iter().find(|(selector, _)| selector.matches(labels));
        rule.is_none_or(|(_, environment)| *environment == Environment::Production)
    }

    /// Whether volumes are kept from their first binding on in any namespace that there is or might come.
    pub fn keeps_always_somewhere(&self) -> bool {
        self.compiled.iter().any(|policy| policy.keep_volumes == Some(KeepVolumes::Always))
    }

    /// The longest that any policy has data kept, for what lay in a namespace that is gone.
    pub fn longest_days(&self) -> u32 {
        let floor = self.compiled.iter().find(|policy| policy.floor.is_some());
        let floor = floor.and_then(|policy| policy.retain_days).unwrap_or(BUILT_IN_RETAIN_DAYS);
        self.compiled.iter().filter_map(|policy| policy.retain_days).fold(floor, u32::max)
    }

    /// This set without what can't be read: by whom that is repaired.
    #[must_use]
    pub fn readable(&self) -> Self {
        Self { undecodable: Vec::new(), ..self.clone() }
    }

    /// What applies in a namespace with these labels.
    pub fn effective(&self, labels: &BTreeMap<String, String>) -> Result<Effective, Undecodable> {
        let selects = |selector: Option<&Selector>| selector.is_none_or(|selector| selector.matches(labels));
        if let Some(policy) = self.undecodable.iter().find(|policy| selects(policy.selector.as_ref())) {
            return Err(policy.clone());
        }
        let floor = self.compiled.iter().find(|policy| policy.floor.is_some());
        let mut effective = Effective {
            deletions: floor.and_then(|policy| policy.deletions).unwrap_or(BUILT_IN_DELETIONS),
            rollouts: floor.and_then(|policy| policy.rollouts).unwrap_or(BUILT_IN_ROLLOUTS),
            creations: floor.and_then(|policy| policy.creations).unwrap_or(BUILT_IN_CREATIONS),
            removals: floor.and_then(|policy| policy.removals).unwrap_or(BUILT_IN_REMOVALS),
            min_approvals: floor.and_then(|policy| policy.min_approvals).unwrap_or(BUILT_IN_APPROVALS),
            machine_submitters: floor.map(|policy| policy.machine_submitters.clone()).unwrap_or_default(),
            pin: floor.and_then(|policy| policy.pin).unwrap_or(BUILT_IN_PIN),
            revisions: floor.and_then(|policy| policy.revisions).unwrap_or(BUILT_IN_REVISIONS),
            approval_clock: floor.and_then(|policy| policy.approval_clock).unwrap_or(BUILT_IN_APPROVAL_CLOCK),
            use_clock: floor.and_then(|policy| policy.use_clock).unwrap_or(BUILT_IN_USE_CLOCK),
            quiet_period: floor.and_then(|policy| policy.quiet_period).unwrap_or(BUILT_IN_QUIET_PERIOD),
            retain_days: floor.and_then(|policy| policy.retain_days).unwrap_or(BUILT_IN_RETAIN_DAYS),
            min_retain_days: floor.and_then(|policy| policy.min_retain_days),
            keep_volumes: floor.and_then(|policy| policy.keep_volumes).unwrap_or_default(),
            close_within: floor.and_then(|policy| policy.close_within).unwrap_or(BUILT_IN_CLOSE_WITHIN),
            refuse_unsupervised: floor.and_then(|policy| policy.refuse_unsupervised).unwrap_or_default(),
            policies: floor.map(reference).into_iter().collect(),
        };
        for policy in self.compiled.iter().filter(|policy| policy.floor.is_none() && policy.selector.matches(labels)) {
            tighten(&mut effective, policy);
        }
        Ok(effective)
    }
}

fn tighten(effective: &mut Effective, policy: &CompiledPolicy) {
    effective.deletions = higher(effective.deletions, policy.deletions);
    effective.rollouts = higher(effective.rollouts, policy.rollouts);
    effective.creations = higher(effective.creations, policy.creations);
    effective.removals = higher(effective.removals, policy.removals);
    effective.min_approvals = higher(effective.min_approvals, policy.min_approvals);
    effective.pin = higher(effective.pin, policy.pin);
    effective.revisions = lower(effective.revisions, policy.revisions);
    effective.approval_clock = lower(effective.approval_clock, policy.approval_clock);
    effective.use_clock = lower(effective.use_clock, policy.use_clock);
    effective.quiet_period = higher(effective.quiet_period, policy.quiet_period);
    effective.retain_days = higher(effective.retain_days, policy.retain_days);
    // Where the floor allows nothing shorter, nobody else allows it.
    effective.min_retain_days = effective.min_retain_days.map(|days| higher(days, policy.min_retain_days));
    effective.keep_volumes = higher(effective.keep_volumes, policy.keep_volumes);
    effective.close_within = lower(effective.close_within, policy.close_within);
    effective.refuse_unsupervised = higher(effective.refuse_unsupervised, policy.refuse_unsupervised);
    // Only what the floor has lowered can be raised again: whoever it does not name needs no fewer already.
    for (username, needed) in &mut effective.machine_submitters {
        *needed = higher(*needed, policy.machine_submitters.get(username).copied());
    }
    effective.policies.push(reference(policy));
}

fn higher<T: Copy + Ord>(has: T, other: Option<T>) -> T {
    other.map_or(has, |other| other.max(has))
}

fn lower<T: Copy + Ord>(has: T, other: Option<T>) -> T {
    other.map_or(has, |other| other.min(has))
}

fn reference(policy: &CompiledPolicy) -> PolicyRef {
    PolicyRef { name: policy.name.clone(), generation: policy.generation }
}
