//! What is asked about the kinds of the catalogue, generated from its table: a kind that is not installed costs nothing, and
//! one that is installed later is asked about from then on (fact 24).

use std::sync::LazyLock;

use foureyes_core::domain::catalogue::{Creation, Deletion, Field, PRESETS, ROWS, Row, Worse, families};

use super::{Entry, Place};
use crate::manifests::cel;

/// Resources of one family.
struct Family {
    groups: Vec<&'static str>,
    deleted: Vec<&'static str>,
    changed: Vec<&'static str>,
    created: Vec<&'static str>,
    deletions: String,
    changes: String,
    creations: String,
    condition: Option<String>,
    keeps: bool,
}

static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| families().map(family).collect());

fn family(name: &'static str) -> Family {
    let rows = || ROWS.iter().filter(move |row| row.family == name);
    let resources = |fits: &dyn Fn(&Row) -> bool| rows().filter(|row| fits(row)).map(|row| row.resource).collect();
    let mut groups: Vec<_> = rows().map(|row| row.group).collect();
    groups.dedup();
    let keeps = rows().any(|row| matches!(row.deletion, Deletion::Keeper(_)));
    let mut fields: Vec<String> = Vec::new();
    for condition in rows().flat_map(|row| row.fields).map(changed) {
        if !fields.contains(&condition) {
            fields.push(condition);
        }
    }
    // With an owner that is nobody, the garbage collector deletes what keeps data (fact 31).
    let owners = keeps.then(cel::owners_added);
    let touched: Vec<String> = owners.into_iter().chain(fields).collect();
    Family {
        groups,
        deleted: resources(&|row| row.deletion != Deletion::Free),
        changed: resources(&|row| !row.fields.is_empty() || matches!(row.deletion, Deletion::Keeper(_))),
        created: resources(&|row| row.creation.is_some()),
        deletions: name.to_owned(),
        changes: format!("{name}-changes"),
        creations: format!("{name}-creations"),
        condition: (!touched.is_empty()).then(|| cel::any(&touched)),
        keeps,
    }
}

/// The field becomes something else. Of a value that decides only that value is asked about.
fn changed(field: &Field) -> String {
    let path = field.path.join(".?");
    let differs = format!("object.?{path} != oldObject.?{path}");
    match field.worse {
        Worse::Becomes(value) => format!("(object.?{path}.orValue('') == '{value}' && {differs})"),
        Worse::Shorter | Worse::Earlier | Worse::KeepsLess => differs,
    }
}

/// Of a StatefulSet only one whose claims name it as their owner: others come and go in thousands, and are guarded by their
/// claims alone.
fn owns_claims() -> String {
    "request.resource.resource != 'statefulsets' || \
     oldObject.spec.?persistentVolumeClaimRetentionPolicy.?whenDeleted.orValue('') == 'Delete'"
        .to_owned()
}

/// On creation a field is there, or has the value that decides.
fn there(field: &Field) -> String {
    let path = field.path.join(".?");
    match field.worse {
        Worse::Becomes(value) => format!("object.?{path}.orValue('') == '{value}'"),
        Worse::Shorter | Worse::Earlier | Worse::KeepsLess => format!("object.?{path}.hasValue()"),
    }
}

/// The entries of the table: deletions, changes and creations of each family.
pub fn entries() -> Vec<Entry> {
    FAMILIES.iter().flat_map(of_family).flatten().chain([presets()]).collect()
}

/// Kinds that policies name often. The cluster itself removes its nodes without anybody being asked.
fn presets() -> Entry {
    static GROUPS: LazyLock<Vec<&'static str>> = LazyLock::new(|| distinct(|(group, ..)| group));
    static RESOURCES: LazyLock<Vec<&'static str>> = LazyLock::new(|| distinct(|(_, _, resource)| resource));
    Entry {
        name: "additional-kinds",
        groups: &GROUPS,
        resources: &RESOURCES,
        operations: &["DELETE"],
        place: Place::Production,
        conditions: vec![(
            "not-the-cluster-itself",
            "request.resource.resource != 'nodes' || !request.userInfo.username.startsWith('system:')".to_owned(),
        )],
    }
}

fn distinct(part: fn((&'static str, &'static str, &'static str)) -> &'static str) -> Vec<&'static str> {
    let mut all: Vec<_> = PRESETS.iter().copied().map(part).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn of_family(family: &'static Family) -> [Option<Entry>; 3] {
    let entry = |name: &'static str, resources: &'static [&'static str], operations, conditions| {
        (!resources.is_empty()).then_some(Entry {
            name,
            groups: &family.groups,
            resources,
            operations,
            place: Place::Production,
            conditions,
        })
    };
    let owned =
        if family.deleted.contains(&"statefulsets") { vec![("owns-claims", owns_claims())] } else { Vec::new() };
    let touches = family.condition.iter().map(|condition| ("touches-protection", condition.clone())).collect();
    let created =
        ROWS.iter().filter(|row| family.created.contains(&row.resource) && family.groups.contains(&row.group));
    // Where every kind of a family is judged by its fields alone, only those are asked about.
    let by_fields = !family.keeps;
    let aliases = created.clone().any(|row| row.creation == Some(Creation::Aliases));
    let fields: Vec<String> = created.flat_map(|row| row.fields).map(there).collect();
    let destroys = match (by_fields, aliases) {
        (true, _) => vec![("destroys", cel::any(&fields))],
        // What is made for a new snapshot has no handle yet.
        (false, true) => vec![("names-a-handle", "object.spec.?source.?snapshotHandle.hasValue()".to_owned())],
        (false, false) => Vec::new(),
    };
    [
        entry(&family.deletions, &family.deleted, &["DELETE"], owned),
        entry(&family.changes, &family.changed, &["UPDATE"], touches),
        entry(&family.creations, &family.created, &["CREATE"], destroys),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_row_is_asked_about() {
        let entries = entries();
        let asked = |row: &Row, operation: &str| {
            entries.iter().any(|entry| {
                entry.groups.contains(&row.group)
                    && entry.resources.contains(&row.resource)
                    && entry.operations.contains(&operation)
            })
        };
        for row in ROWS {
            assert_eq!(asked(row, "DELETE"), row.deletion != Deletion::Free, "{row:?}");
            assert_eq!(asked(row, "CREATE"), row.creation.is_some(), "{row:?}");
            let changes = !row.fields.is_empty() || matches!(row.deletion, Deletion::Keeper(_));
            assert_eq!(asked(row, "UPDATE"), changes, "{row:?}");
        }
    }

    /// Workloads come and go in thousands: only what takes claims along is asked about when they change.
    #[test]
    fn stateful_sets_are_asked_about_only_where_claims_go_with_them() {
        let changes = entries().into_iter().filter(|entry| entry.resources.contains(&"statefulsets"));
        for entry in changes.filter(|entry| entry.operations != ["DELETE"]) {
            assert!(entry.conditions.iter().any(|(_, cel)| cel.contains("== 'Delete'")), "{}", entry.name);
        }
    }
}
