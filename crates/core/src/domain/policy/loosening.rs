//! Whether a change of policies takes protection away from anything (bypass 12). Conservative: what is not clearly
//! as strict as before counts as looser.

use std::collections::BTreeMap;

use super::compile::Floor;
use super::merge::{Effective, PolicySet};
use crate::api::Mode;

/// What would be looser than before, in one sentence; `None` when nothing is. Where nothing is refused yet (Warn, Off)
/// nothing can be loosened: that is the time to name machines and exempt what holds no data.
pub fn loosened<'a>(
    old: &PolicySet,
    new: &PolicySet,
    namespaces: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, String>)>,
) -> Option<String> {
    let mut enforced = with_unlabelled(namespaces).filter(|(_, labels)| is_enforced(old, labels)).peekable();
    enforced.peek()?;
    floor_loosened(old.floor(), new.floor()).or_else(|| {
        enforced
            .find_map(|(name, labels)| scope_loosened(old, labels, new, labels).map(|what| format!("{name}: {what}")))
    })
}

/// Whether anything is refused anywhere.
pub fn is_enforced_anywhere<'a>(
    policies: &PolicySet,
    namespaces: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, String>)>,
) -> bool {
    with_unlabelled(namespaces).any(|(_, labels)| is_enforced(policies, labels))
}

/// Namespaces as they are, and one as it might come.
fn with_unlabelled<'a>(
    namespaces: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, String>)>,
) -> impl Iterator<Item = (&'a str, &'a BTreeMap<String, String>)> {
    static UNLABELLED: BTreeMap<String, String> = BTreeMap::new();
    std::iter::once(("any namespace without labels", &UNLABELLED)).chain(namespaces)
}

/// What protects one namespace less with the new set and labels than with the old, in one sentence.
pub fn scope_loosened(
    old: &PolicySet,
    old_labels: &BTreeMap<String, String>,
    new: &PolicySet,
    new_labels: &BTreeMap<String, String>,
) -> Option<String> {
    if !old.is_production(old_labels) {
        return None;
    }
    if !new.is_production(new_labels) {
        return Some("it would leave production".to_owned());
    }
    match (old.effective(old_labels), new.effective(new_labels)) {
        (_, Err(_)) => None,
        (Err(policy), Ok(_)) => Some(format!("what the unreadable policy {} demands would end", policy.name)),
        (Ok(old), Ok(new)) => effective_loosened(&old, &new),
    }
}

fn is_enforced(policies: &PolicySet, labels: &BTreeMap<String, String>) -> bool {
    policies.is_production(labels)
        && policies.effective(labels).map_or(true, |effective| effective.strictest() == Mode::Deny)
}

fn effective_loosened(old: &Effective, new: &Effective) -> Option<String> {
    let looser = [
        ("enforcement.deletions would be looser", new.deletions < old.deletions),
        ("enforcement.rollouts would be looser", new.rollouts < old.rollouts),
        ("enforcement.creations would be looser", new.creations < old.creations),
        ("enforcement.removals would be looser", new.removals < old.removals),
        ("approvals.min would be lower", new.min_approvals < old.min_approvals),
        ("a machine's changes would need fewer approvals", fewer_for_machines(old, new)),
        ("pin would be looser", new.pin < old.pin),
        ("rollback.revisions would be higher", new.revisions > old.revisions),
        ("expiry.approval would be longer", new.approval_clock > old.approval_clock),
        ("expiry.use would be longer", new.use_clock > old.use_clock),
        ("deletion.quietPeriod would be shorter", new.quiet_period < old.quiet_period),
        ("deletion.retainDays would be fewer", new.retain_days < old.retain_days),
        ("deletion.minRetainDays would be fewer", new.fewest_days() < old.fewest_days()),
        ("deletion.keepVolumes would be looser", new.keep_volumes < old.keep_volumes),
        ("deletion.closeWithin would be longer", new.close_within > old.close_within),
        ("deletion.refuseUnsupervised would be off", old.refuse_unsupervised && !new.refuse_unsupervised),
    ];
    looser.iter().find(|(_, looser)| *looser).map(|(what, _)| (*what).to_owned())
}

fn fewer_for_machines(old: &Effective, new: &Effective) -> bool {
    let named = old.machine_submitters.keys().chain(new.machine_submitters.keys());
    named.into_iter().any(|machine| new.asked_by_machine(machine) < old.asked_by_machine(machine))
}

fn floor_loosened(old: &Floor, new: &Floor) -> Option<String> {
    let (was, is) = (&old.identities, &new.identities);
    let (exempt_was, exempt_is) = (&old.exemption, &new.exemption);
    let looser = [
        ("more identities would count as people", any_added(&was.people, &is.people)),
        ("an identity would no longer count as a machine", any_added(&is.machines, &was.machines)),
        // Machines take finalizers off claims and add owners to namespaces.
        ("more identities would count as machines", any_added(&was.machines, &is.machines)),
        ("an identity would no longer count as shared", any_added(&is.shared, &was.shared)),
        ("more would be delegated", any_added(&old.delegations, &new.delegations)),
        ("more would be a standard change", any_added(&old.standard_changes, &new.standard_changes)),
        ("more annotations would change freely", any_added(&old.free_annotations, &new.free_annotations)),
        ("more namespaces would be left alone", any_added(&old.system_namespaces, &new.system_namespaces)),
        ("a kind would no longer be governed", any_added(&new.rollout_resources, &old.rollout_resources)),
        ("a kind would no longer be guarded", less_guarded(old, new)),
        ("more storage classes would be exempt", any_added(&exempt_was.storage_classes, &exempt_is.storage_classes)),
        ("other claims would be exempt", exempt_is.claims.is_some() && exempt_is.claims != exempt_was.claims),
    ];
    looser.iter().find(|(_, looser)| *looser).map(|(what, _)| (*what).to_owned())
}

/// In other words about what is lost, nothing is looser.
fn less_guarded(old: &Floor, new: &Floor) -> bool {
    old.additional_kinds
        .iter()
        .any(|was| new.additional_kind(&was.group, &was.kind).is_none_or(|is| is.guarded < was.guarded))
}

fn any_added<T: PartialEq>(old: &[T], new: &[T]) -> bool {
    new.iter().any(|entry| !old.contains(entry))
}
