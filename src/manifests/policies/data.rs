//! While nobody asks us, nobody judges, so that nobody deletes data (invariant 5, bypasses 1 and 2). It is nothing but what
//! a dead webhook is, and ends when the configuration is back. It holds for machines too: whether what they rotate is held
//! is what nobody can tell now, and they try again.

use foureyes_core::api::GROUP;
use foureyes_core::domain::catalogue::{Deletion, ROWS};

use super::{Place, Policy};
use crate::manifests::{cel, names};

/// Data, and what keeps word of it, by group.
const KINDS: [(&str, &[&str]); 2] = [
    ("", &["namespaces", "persistentvolumeclaims", "persistentvolumes"]),
    // A hold that somebody deletes meanwhile would stop nothing afterwards.
    (GROUP, &["backupretentions", "changerequests", "deletionrequests", "safetypolicies", "signoffs"]),
];

/// These, and what keeps data by the catalogue. Kinds that are not installed cost nothing; what merely owns claims may go,
/// for they stay.
fn kinds() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut kinds: Vec<_> = KINDS.map(|(group, resources)| (group, resources.to_vec())).into();
    for row in ROWS.iter().filter(|row| matches!(row.deletion, Deletion::Keeper(_))) {
        match kinds.iter_mut().find(|(group, _)| *group == row.group) {
            Some((_, resources)) => resources.push(row.resource),
            None => kinds.push((row.group, vec![row.resource])),
        }
    }
    kinds
}

/// Entries without which the configuration asks about no deletion of data. They are as old as foureyes: what is new in a
/// version would refuse while that version is being installed.
const ENTRIES: [&str; 2] = ["claims.guard.foureyes.dev", "namespaces.guard.foureyes.dev"];

pub fn policy() -> Policy {
    Policy {
        name: "foureyes-data",
        kinds: kinds(),
        operations: &["DELETE"],
        place: Place::ProductionUnguarded,
        condition: None,
        validations: vec![(
            format!(
                "params != null && {}.all(name, params.?webhooks.orValue([]).exists(entry, entry.name == name))",
                cel::strings(&ENTRIES)
            ),
            format!(
                "{} does not ask foureyes about deletions, so that nothing that keeps data goes: apply config/default again",
                names::GUARD
            ),
        )],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::manifests::webhooks::guard;

    /// What the webhook is asked about of the core group and of ours, nobody deletes without it.
    #[test]
    fn nothing_goes_more_easily_than_with_the_webhook() {
        let kept = |group: &str, resource: &str| {
            kinds().iter().any(|(other, resources)| *other == group && resources.contains(&resource))
        };
        for entry in guard().webhooks.unwrap() {
            // what runs, and what one policy adds
            let other =
                ["removals", "further-removals", "additional-kinds"].iter().any(|it| entry.name.starts_with(it));
            for rule in entry.rules.unwrap().into_iter().filter(|_| !other) {
                if !rule.operations.unwrap().contains(&"DELETE".to_owned()) {
                    continue;
                }
                for group in rule.api_groups.unwrap().iter().filter(|group| ["", GROUP].contains(&group.as_str())) {
                    for resource in rule.resources.as_ref().unwrap() {
                        assert!(kept(group, resource), "{}: {resource}", entry.name);
                    }
                }
            }
        }
    }

    #[test]
    fn the_entries_exist() {
        let entries = guard().webhooks.unwrap();
        assert!(ENTRIES.iter().all(|name| entries.iter().any(|entry| entry.name == *name)));
    }
}
