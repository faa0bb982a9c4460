//! Every way to destroy (design §5): one table of the kinds beyond claims and namespaces, a row for each. Rules, webhook
//! rules and permissions come from it.

mod judged;
mod worse;

pub use self::judged::{
    Collected, additional, by_machine, collected, govern, handle_of, harmless, judged_as_its_target, kept_on_retain,
    not_bound, not_collected, not_created, not_owned, not_worsened, takes_claims, writes_over,
};
pub use self::worse::{Worse, worsened};

use crate::api::TargetKind;

/// A kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Rows of one family are asked about together.
    pub family: &'static str,
    pub group: &'static str,
    pub kind: &'static str,
    /// The name of the resource.
    pub resource: &'static str,
    pub deletion: Deletion,
    /// Fields whose change destroys, now or later.
    pub fields: &'static [Field],
    pub creation: Option<Creation>,
}

/// What is lost with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Nothing that matters.
    Free,
    /// What it keeps: people ask for its deletion; machines rotate what they made, unless it is held.
    Keeper(TargetKind),
    /// Claims that it owns are collected after it: refused at the root for everybody, and never left armed (fact 17).
    Collects,
}

/// A field and what is worse of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its path, from the top of the object.
    pub path: &'static [&'static str],
    pub worse: Worse,
    /// What comes of it.
    pub why: &'static str,
}

/// What an object destroys by being created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The object of this kind in its namespace that this field of its spec names.
    Deletes(TargetKind, &'static str),
    /// Whatever its retention does not name.
    Prunes,
    /// What its fields say, as if it had had none before.
    Worsens,
    /// Data that a retention holds under another object: it names the same handle (bypass 21).
    Aliases,
}

const DELETION_POLICY: &str = "the stored snapshot would be deleted with it";
const OF_CONTENT: &[Field] =
    &[Field { path: &["spec", "deletionPolicy"], worse: Worse::Becomes("Delete"), why: DELETION_POLICY }];
const OF_CLASS: &[Field] = &[Field {
    path: &["deletionPolicy"],
    worse: Worse::Becomes("Delete"),
    why: "snapshots that are made from it later would not outlive their objects",
}];
const OF_BACKUP: &[Field] = &[
    Field { path: &["spec", "ttl"], worse: Worse::Shorter, why: "it would expire earlier" },
    Field { path: &["status", "expiration"], worse: Worse::Earlier, why: "it would expire earlier" },
];
const OF_RESTORE: &[Field] = &[Field {
    path: &["spec", "existingResourcePolicy"],
    worse: Worse::Becomes("update"),
    why: "it would write over what exists",
}];
const OF_SCHEDULE: &[Field] = &[Field {
    path: &["spec", "prune", "retention"],
    worse: Worse::KeepsLess,
    why: "backups that are kept now would be pruned",
}];
const OF_STATEFUL_SET: &[Field] = &[
    Field {
        path: &["spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"],
        worse: Worse::Becomes("Delete"),
        why: "its claims would be deleted with it",
    },
    Field {
        path: &["spec", "persistentVolumeClaimRetentionPolicy", "whenScaled"],
        worse: Worse::Becomes("Delete"),
        why: "its claims would be deleted when it is scaled down",
    },
];

const fn keeper(family: &'static str, kind: TargetKind, fields: &'static [Field]) -> Row {
    Row {
        family,
        group: kind.group(),
        kind: kind.as_str(),
        resource: kind.plural(),
        deletion: Deletion::Keeper(kind),
        fields,
        creation: None,
    }
}

const fn other(
    family: &'static str,
    (group, kind, resource): (&'static str, &'static str, &'static str),
    fields: &'static [Field],
    creation: Option<Creation>,
) -> Row {
    Row { family, group, kind, resource, deletion: Deletion::Free, fields, creation }
}

const fn owner(group: &'static str, kind: &'static str, resource: &'static str) -> Row {
    Row { family: "owners", group, kind, resource, deletion: Deletion::Collects, fields: &[], creation: None }
}

const SNAPSHOTS: &str = "snapshots";
const GROUP_SNAPSHOTS: &str = "group-snapshots";
const VELERO: &str = "velero";
const K8UP: &str = "k8up";

/// The table.
pub const ROWS: &[Row] = &[
    keeper(SNAPSHOTS, TargetKind::VolumeSnapshot, &[]),
    Row { creation: Some(Creation::Aliases), ..keeper(SNAPSHOTS, TargetKind::VolumeSnapshotContent, OF_CONTENT) },
    other(SNAPSHOTS, ("snapshot.storage.k8s.io", "VolumeSnapshotClass", "volumesnapshotclasses"), OF_CLASS, None),
    keeper(GROUP_SNAPSHOTS, TargetKind::VolumeGroupSnapshot, &[]),
    keeper(GROUP_SNAPSHOTS, TargetKind::VolumeGroupSnapshotContent, OF_CONTENT),
    other(
        GROUP_SNAPSHOTS,
        ("groupsnapshot.storage.k8s.io", "VolumeGroupSnapshotClass", "volumegroupsnapshotclasses"),
        OF_CLASS,
        None,
    ),
    keeper(VELERO, TargetKind::Backup, OF_BACKUP),
    keeper(VELERO, TargetKind::BackupStorageLocation, &[]),
    other(
        VELERO,
        ("velero.io", "DeleteBackupRequest", "deletebackuprequests"),
        &[],
        Some(Creation::Deletes(TargetKind::Backup, "backupName")),
    ),
    other(VELERO, ("velero.io", "Restore", "restores"), OF_RESTORE, Some(Creation::Worsens)),
    keeper(K8UP, TargetKind::Snapshot, &[]),
    other(K8UP, ("k8up.io", "Prune", "prunes"), &[], Some(Creation::Prunes)),
    other(K8UP, ("k8up.io", "Schedule", "schedules"), OF_SCHEDULE, Some(Creation::Worsens)),
    Row {
        family: "owners",
        group: "apps",
        kind: "StatefulSet",
        resource: "statefulsets",
        deletion: Deletion::Collects,
        fields: OF_STATEFUL_SET,
        creation: Some(Creation::Worsens),
    },
    owner("argoproj.io", "Application", "applications"),
    owner("postgresql.cnpg.io", "Cluster", "clusters"),
    owner("kafka.strimzi.io", "Kafka", "kafkas"),
    owner("kafka.strimzi.io", "KafkaNodePool", "kafkanodepools"),
    owner("core.strimzi.io", "StrimziPodSet", "strimzipodsets"),
    owner("kubevirt.io", "VirtualMachine", "virtualmachines"),
    owner("cdi.kubevirt.io", "DataVolume", "datavolumes"),
    owner("rabbitmq.com", "RabbitmqCluster", "rabbitmqclusters"),
    owner("elasticsearch.k8s.elastic.co", "Elasticsearch", "elasticsearches"),
];

/// Kinds that policies name often, by their groups, kinds and resources: the shipped rules ask about their deletion, and
/// nothing is refused before a policy names them in `deletion.additionalKinds`.
pub const PRESETS: &[(&str, &str, &str)] = &[
    ("", "Node", "nodes"),
    ("cluster.x-k8s.io", "Cluster", "clusters"),
    ("cluster.x-k8s.io", "Machine", "machines"),
    ("cluster.x-k8s.io", "MachineDeployment", "machinedeployments"),
    ("rds.aws.upbound.io", "Cluster", "clusters"),
    ("rds.aws.upbound.io", "Instance", "instances"),
    ("s3.aws.upbound.io", "Bucket", "buckets"),
    ("sql.gcp.upbound.io", "DatabaseInstance", "databaseinstances"),
    ("storage.gcp.upbound.io", "Bucket", "buckets"),
];

/// Presets without a namespace.
pub fn is_cluster_scoped(group: &str, kind: &str) -> bool {
    let preset = PRESETS.iter().any(|(other, known, _)| (*other, *known) == (group, kind));
    preset && group != "cluster.x-k8s.io"
}

/// Whether the deletion of this kind has a rule of its own.
pub fn is_guarded(group: &str, kind: &str) -> bool {
    let ruled = TargetKind::parse(group, kind).is_some();
    ruled || row_of(group, kind).is_some_and(|row| row.deletion == Deletion::Collects)
}

/// Whether the shipped rules ask about the deletion of some kinds of this group.
pub fn is_asked_about(group: &str) -> bool {
    PRESETS.iter().any(|(other, ..)| *other == group) || ROWS.iter().any(|row| row.group == group)
}

/// The row of a resource.
pub fn row(group: &str, resource: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.group == group && row.resource == resource)
}

/// The row of a kind.
pub fn row_of(group: &str, kind: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.group == group && row.kind == kind)
}

/// Families, each once.
pub fn families() -> impl Iterator<Item = &'static str> {
    ROWS.iter()
        .enumerate()
        .filter(|(at, row)| ROWS[..*at].iter().all(|before| before.family != row.family))
        .map(|(_, row)| row.family)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_one_row_and_every_row_says_how_it_destroys() {
        let kinds: BTreeSet<_> = ROWS.iter().map(|row| (row.group, row.kind)).collect();
        let resources: BTreeSet<_> = ROWS.iter().map(|row| (row.group, row.resource)).collect();
        assert_eq!((kinds.len(), resources.len()), (ROWS.len(), ROWS.len()));
        for row in ROWS {
            let destroys = row.deletion != Deletion::Free || !row.fields.is_empty() || row.creation.is_some();
            assert!(destroys, "{row:?}");
        }
    }

    /// Claims, namespaces and volumes have rules of their own.
    #[test]
    fn whatever_a_request_can_name_is_guarded() {
        for kind in TargetKind::ALL.into_iter().filter(|kind| !kind.group().is_empty()) {
            let row = row(kind.group(), kind.plural());
            assert_eq!(row.map(|row| row.deletion), Some(Deletion::Keeper(kind)));
        }
    }
}
