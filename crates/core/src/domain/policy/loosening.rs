//! Whether a change of policies takes protection away from anything (bypass 12). Conservative: what is not clearly
//! as strict as before counts as looser.

use std::collections::BTreeMap;

use super::compile::Floor;
use super::merge::{Effective, PolicySet};
use crate::api::{IdentityMatcher, Mode};

/// What would be looser than before, in one sentence; `None` when nothing is. Where nothing is refused yet (Warn, Off)
/// nothing can be loosened: that is the time to name machines and exempt what holds no data.
pub fn loosened<'a>(
    old: &PolicySet,
    new: &PolicySet,
    namespaces: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, String>)>,
) -> Option<String> {
    static UNLABELLED: BTreeMap<String, String> = BTreeMap::new();
    let mut enforced = std::iter::once(("any namespace without labels", &UNLABELLED))
        .chain(namespaces)
        .filter(|(_, labels)| is_enforced(old, labels))
        .peekable();
    enforced.peek()?;
    floor_loosened(old.floor(), new.floor()).or_else(|| {
        enforced
            .find_map(|(name, labels)| scope_loosened(old, labels, new, labels).map(|what| format!("{name}: {what}")))
    })
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
        && policies.effective(labels).is_ok_and(|effective| effective.deletions == Mode::Deny)
        || policies.effective(labels).is_err()
}

fn effective_loosened(old: &Effective, new: &Effective) -> Option<String> {
    let looser = [
        ("enforcement.deletions would be looser", new.deletions < old.deletions),
        ("approvals.min would be lower", new.min_approvals < old.min_approvals),
        ("expiry.approval would be longer", new.approval_clock > old.approval_clock),
        ("expiry.use would be longer", new.use_clock > old.use_clock),
    ];
    looser.iter().find(|(_, looser)| *looser).map(|(what, _)| (*what).to_owned())
}

fn floor_loosened(old: &Floor, new: &Floor) -> Option<String> {
    let added = |old: &[IdentityMatcher], new: &[IdentityMatcher]| new.iter().any(|entry| !old.contains(entry));
    let (was, is) = (&old.identities, &new.identities);
    let (exempt_was, exempt_is) = (&old.exemption, &new.exemption);
    let looser = [
        ("more identities would count as people", added(&was.people, &is.people)),
        ("an identity would no longer count as a machine", added(&is.machines, &was.machines)),
        // Machines take finalizers off claims and add owners to namespaces.
        ("more identities would count as machines", added(&was.machines, &is.machines)),
        ("an identity would no longer count as shared", added(&is.shared, &was.shared)),
        ("more would be delegated", new.delegations.iter().any(|entry| !old.delegations.contains(entry))),
        (
            "more storage classes would be exempt",
            exempt_is.storage_classes.iter().any(|class| !exempt_was.storage_classes.contains(class)),
        ),
        ("other claims would be exempt", exempt_is.claims.is_some() && exempt_is.claims != exempt_was.claims),
    ];
    looser.iter().find(|(_, looser)| *looser).map(|(what, _)| (*what).to_owned())
}
