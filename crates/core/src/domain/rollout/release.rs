//! What lets a revision go on that was held back: unpausing, a lower partition, another update strategy. While a
//! revision is pending, each is judged like that revision (design §6).

use serde_json::Value;

/// Whether the change of a spec lets go what was held back.
pub fn releases(old: &Value, new: &Value) -> bool {
    let paused = |spec: &Value| spec.get("paused").and_then(Value::as_bool).unwrap_or_default();
    paused(old) && !paused(new)
        || partition(new) < partition(old)
        || without_partition(strategy(old)) != without_partition(strategy(new))
}

fn strategy(spec: &Value) -> Value {
    let field = ["updateStrategy", "strategy"].into_iter().find_map(|name| spec.get(name));
    field.cloned().unwrap_or_default()
}

/// Pods below this number keep the old revision.
fn partition(spec: &Value) -> i64 {
    let partition = spec.pointer("/updateStrategy/rollingUpdate/partition");
    partition.and_then(Value::as_i64).unwrap_or_default()
}

fn without_partition(mut strategy: Value) -> Value {
    if let Some(rolling) = strategy.get_mut("rollingUpdate").and_then(Value::as_object_mut) {
        rolling.remove("partition");
    }
    strategy
}

/// Whether pods of another revision than the spec's still run, by what the workload's controller last said. A status
/// that is behind its spec says nothing: then something may be pending.
pub fn is_pending(generation: i64, status: &Value) -> bool {
    let number = |name: &str| status.get(name).and_then(Value::as_i64).unwrap_or_default();
    let text = |name: &str| status.get(name).and_then(Value::as_str);
    let behind = observed(status).is_none_or(|observed| observed < generation);
    let differ = |one: &str, other: &str| text(one).is_some() && text(one) != text(other);
    behind
        || number("updatedReplicas") < number("replicas")
        || number("updatedNumberScheduled") < number("desiredNumberScheduled")
        || differ("updateRevision", "currentRevision")
        || differ("currentPodHash", "stableRS")
}

/// Argo's controller writes the generation as a string.
pub(super) fn observed(status: &Value) -> Option<i64> {
    let observed = status.get("observedGeneration")?;
    observed.as_i64().or_else(|| observed.as_str()?.parse().ok())
}

/// Whether a workload runs, or would by itself: unless it was scaled to zero, or suspended.
pub fn runs(kind: &str, spec: &Value, status: &Value) -> bool {
    match kind {
        "CronJob" => !spec.get("suspend").and_then(Value::as_bool).unwrap_or_default(),
        "DaemonSet" => status.get("desiredNumberScheduled").and_then(Value::as_i64) != Some(0),
        _ => spec.get("replicas").and_then(Value::as_i64) != Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!({"paused": true}), json!({"paused": false}), true)]
    #[case(json!({"paused": true}), json!({}), true)]
    #[case(json!({"paused": true}), json!({"paused": true}), false)]
    #[case(json!({}), json!({"paused": true}), false)]
    #[case(json!({"replicas": 1}), json!({"replicas": 9}), false)]
    #[case(json!({"updateStrategy": {"rollingUpdate": {"partition": 3}}}), json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}}), true)]
    #[case(json!({"updateStrategy": {"rollingUpdate": {"partition": 3}}}), json!({"updateStrategy": {"rollingUpdate": {}}}), true)]
    #[case(json!({"updateStrategy": {"rollingUpdate": {"partition": 3}}}), json!({"updateStrategy": {"rollingUpdate": {"partition": 4}}}), false)]
    #[case(json!({"updateStrategy": {"type": "OnDelete"}}), json!({"updateStrategy": {"type": "RollingUpdate"}}), true)]
    #[case(json!({"strategy": {"type": "Recreate"}}), json!({"strategy": {"type": "RollingUpdate"}}), true)]
    #[case(json!({"strategy": {"canary": {"steps": [1, 2]}}}), json!({"strategy": {"canary": {"steps": [2]}}}), true)]
    fn what_was_held_back_is_let_go(#[case] old: Value, #[case] new: Value, #[case] expected: bool) {
        assert_eq!(releases(&old, &new), expected);
    }

    #[rstest]
    #[case(json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3}), false)]
    #[case(json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1}), true)]
    #[case(json!({"observedGeneration": 2, "replicas": 3}), true)]
    #[case(json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3}), true)]
    #[case(json!({}), true)]
    #[case(json!({"observedGeneration": "2"}), false)]
    #[case(json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1}), true)]
    #[case(json!({"observedGeneration": 2, "updateRevision": "b", "currentRevision": "a"}), true)]
    #[case(json!({"observedGeneration": 2, "updateRevision": "a", "currentRevision": "a"}), false)]
    #[case(json!({"observedGeneration": 2, "currentPodHash": "b", "stableRS": "a"}), true)]
    fn a_revision_is_pending_until_all_pods_have_it(#[case] status: Value, #[case] expected: bool) {
        assert_eq!(is_pending(2, &status), expected);
    }

    #[rstest]
    #[case("Deployment", json!({"replicas": 0}), false)]
    #[case("Deployment", json!({"replicas": 1}), true)]
    #[case("Deployment", json!({}), true)]
    #[case("CronJob", json!({"suspend": true}), false)]
    #[case("CronJob", json!({}), true)]
    #[case("DaemonSet", json!({}), true)]
    fn a_workload_runs_unless_it_was_shut_down(#[case] kind: &str, #[case] spec: Value, #[case] expected: bool) {
        assert_eq!(runs(kind, &spec, &json!({})), expected);
    }

    #[test]
    fn a_daemon_set_that_fits_no_node_does_not_run() {
        assert!(!runs("DaemonSet", &json!({}), &json!({"desiredNumberScheduled": 0})));
        assert!(runs("DaemonSet", &json!({}), &json!({"desiredNumberScheduled": 1})));
    }
}
