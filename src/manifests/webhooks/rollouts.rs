//! What is asked about workloads and pods: only what changes what runs.

use foureyes_core::api::BREAK_GLASS_GROUP;
use foureyes_core::domain::rollout::location::FURTHER_GROUPS;

use super::{Entry, Place, controller};
use crate::manifests::cel;

/// Whoever is in this group rolls out what they must, also while the webhook does not answer; the controller sees it
/// and opens the bill. There is no such way to data.
fn not_by_break_glass() -> (&'static str, String) {
    ("not-by-break-glass", format!("!({})", cel::caller_in(BREAK_GLASS_GROUP)))
}

/// What of a workload decides what runs: its template, and what holds a revision of it back. Scaling, labels and status
/// never leave the API server (fact 23).
const RUNS: &[&str] = &["template", "jobTemplate.spec.template", "workloadRef", "paused", "strategy", "updateStrategy"];

/// Kinds of which it is known where they keep what runs.
const WORKLOADS: &[&str] = &["cronjobs", "daemonsets", "deployments", "rollouts", "statefulsets"];
const WORKLOAD_GROUPS: &[&str] = &["apps", "argoproj.io", "batch"];
/// Kinds of [`FURTHER_GROUPS`].
const FURTHER: &[&str] =
    &["advancedcronjobs", "broadcastjobs", "clonesets", "daemonsets", "deploymentconfigs", "services", "statefulsets"];

/// Rollouts, which break-glass passes.
pub fn entries() -> Vec<Entry> {
    let rollout = |name, groups, resources, operations, condition| Entry {
        name,
        groups,
        resources,
        operations,
        place: Place::ProductionWorkloads,
        conditions: vec![not_by_break_glass(), condition],
    };
    let created_or = |changed: String| cel::any(&["request.operation == 'CREATE'".to_owned(), changed]);
    // What runs in a namespace goes with it, and what belongs to something with that.
    let mut collectors = controller("namespace-controller");
    collectors.push("system:serviceaccount:kube-system:generic-garbage-collector".to_owned());
    let not_collected = (
        "not-collected",
        format!(
            "!(request.userInfo.username in {}) && oldObject.spec.?replicas.orValue(1) != 0",
            cel::strings(&collectors)
        ),
    );
    vec![
        rollout(
            "rollouts",
            WORKLOAD_GROUPS,
            WORKLOADS,
            &["CREATE", "UPDATE"],
            ("changes-what-runs", created_or(cel::spec_changed(RUNS))),
        ),
        // Where these keep their templates is said by policies.
        rollout(
            "further-rollouts",
            &FURTHER_GROUPS,
            FURTHER,
            &["CREATE", "UPDATE"],
            ("changes-its-spec", created_or("object.spec != oldObject.spec".to_owned())),
        ),
        rollout("removals", WORKLOAD_GROUPS, WORKLOADS, &["DELETE"], not_collected.clone()),
        rollout("further-removals", &FURTHER_GROUPS, FURTHER, &["DELETE"], not_collected),
        rollout(
            "replica-sets",
            &["", "apps"],
            &["replicasets", "replicationcontrollers"],
            &["UPDATE"],
            ("changes-what-runs", cel::spec_changed(&["template"])),
        ),
        rollout(
            "pods",
            &[""],
            &["pods", "pods/ephemeralcontainers"],
            &["UPDATE"],
            ("changes-images", cel::images_changed()),
        ),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{NAMESPACE_NAME, data_entries, guard_entries, stamp_entries};
    use super::*;

    /// Pods come and go, are bound, and say how they are, without anybody being asked.
    #[test]
    fn of_pods_only_other_images_and_added_containers_are_asked_about() {
        let with_pods: Vec<_> = guard_entries()
            .into_iter()
            .chain(stamp_entries())
            .filter(|entry| entry.resources.iter().any(|name| name.starts_with("pod")))
            .collect();
        assert_eq!(with_pods.iter().map(|entry| entry.name).collect::<Vec<_>>(), ["pods"]);
        assert_eq!(with_pods[0].resources, ["pods", "pods/ephemeralcontainers"]);
        assert_eq!(with_pods[0].operations, ["UPDATE"]);
        assert!(with_pods[0].conditions.iter().any(|(name, _)| *name == "changes-images"));
    }

    #[test]
    fn what_runs_where_the_cluster_and_foureyes_start_is_never_asked_about() {
        for entry in entries() {
            let expressions = entry.selector().unwrap().match_expressions.unwrap();
            let by_name = expressions.iter().find(|expression| expression.key == NAMESPACE_NAME).unwrap();
            assert_eq!(by_name.operator, "NotIn");
            let names = by_name.values.as_ref().unwrap();
            for name in ["kube-system", "kube-public", "kube-node-lease", "foureyes-system"] {
                assert!(names.iter().any(|other| other == name), "{}: {name}", entry.name);
            }
        }
    }

    #[test]
    fn break_glass_passes_rollouts_and_nothing_else() {
        let passes = |entry: &Entry| entry.conditions.iter().any(|(_, cel)| cel.contains(BREAK_GLASS_GROUP));
        assert!(entries().iter().all(passes));
        assert!(!data_entries().iter().chain(&stamp_entries()).any(passes));
    }

    #[test]
    fn scaling_and_status_of_workloads_are_never_asked_about() {
        for entry in entries() {
            let changed = entry.conditions.iter().map(|(_, cel)| cel.as_str()).collect::<String>();
            assert!(entry.resources.iter().all(|name| !name.ends_with("/scale") && !name.ends_with("/status")));
            assert!(!entry.operations.contains(&"UPDATE") || changed.contains("oldObject"), "{}", entry.name);
        }
    }
}
