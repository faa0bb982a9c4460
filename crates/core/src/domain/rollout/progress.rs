//! How far a rollout has come, by what the workload's controller says in its status.

use serde_json::Value;

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Running,
    Complete,
    /// Its controller has given up; why.
    Failed(String),
}

/// Reads a workload's progress. What has no rollout of its own is complete as soon as it is written.
pub fn progress(kind: &str, generation: i64, spec: &Value, status: &Value) -> Progress {
    let behind = super::release::observed(status).is_none_or(|observed| observed < generation);
    match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "Rollout" if behind => Progress::Running,
        "Deployment" => deployment(spec, status),
        "StatefulSet" => {
            let replicas = wanted(spec);
            let done = number(status, "readyReplicas") >= replicas
                && (number(status, "updatedReplicas") >= replicas
                    || text(status, "updateRevision") == text(status, "currentRevision"));
            complete(done)
        }
        "DaemonSet" => {
            let desired = number(status, "desiredNumberScheduled");
            let done =
                number(status, "updatedNumberScheduled") >= desired && number(status, "numberAvailable") >= desired;
            complete(done)
        }
        "Rollout" => match text(status, "phase") {
            Some("Healthy") => Progress::Complete,
            Some("Degraded") => Progress::Failed(text(status, "message").unwrap_or("it is degraded").to_owned()),
            _ => Progress::Running,
        },
        _ => Progress::Complete,
    }
}

fn deployment(spec: &Value, status: &Value) -> Progress {
    let conditions = status.get("conditions").and_then(Value::as_array);
    let gave_up = conditions
        .into_iter()
        .flatten()
        .find(|condition| text(condition, "type") == Some("Progressing") && text(condition, "status") == Some("False"));
    if let Some(condition) = gave_up {
        return Progress::Failed(text(condition, "message").unwrap_or("its progress deadline is over").to_owned());
    }
    let replicas = wanted(spec);
    complete(
        number(status, "updatedReplicas") >= replicas
            && number(status, "availableReplicas") >= replicas
            && number(status, "replicas") <= number(status, "updatedReplicas"),
    )
}

const fn complete(done: bool) -> Progress {
    if done { Progress::Complete } else { Progress::Running }
}

fn wanted(spec: &Value) -> i64 {
    spec.get("replicas").and_then(Value::as_i64).unwrap_or(1)
}

fn number(value: &Value, name: &str) -> i64 {
    value.get(name).and_then(Value::as_i64).unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case("Deployment", json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}), true)]
    #[case("Deployment", json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}), false)]
    #[case("Deployment", json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 3}), false)]
    #[case("Deployment", json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 2}), false)]
    #[case("StatefulSet", json!({"observedGeneration": 2, "updatedReplicas": 3, "readyReplicas": 3}), true)]
    #[case("StatefulSet", json!({"observedGeneration": 2, "updatedReplicas": 2, "readyReplicas": 3, "updateRevision": "b", "currentRevision": "a"}), false)]
    #[case("DaemonSet", json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}), true)]
    #[case("DaemonSet", json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}), false)]
    #[case("Rollout", json!({"observedGeneration": "2", "phase": "Healthy"}), true)]
    #[case("Rollout", json!({"observedGeneration": "2", "phase": "Paused"}), false)]
    #[case("CronJob", json!({}), true)]
    fn a_rollout_is_complete_when_its_controller_says_so(
        #[case] kind: &str,
        #[case] status: Value,
        #[case] done: bool,
    ) {
        let expected = if done { Progress::Complete } else { Progress::Running };
        assert_eq!(progress(kind, 2, &json!({"replicas": 3}), &status), expected);
    }

    #[test]
    fn a_rollout_has_failed_when_its_controller_has_given_up() {
        let condition = json!({"type": "Progressing", "status": "False", "message": "deadline exceeded"});
        let status = json!({"observedGeneration": 2, "conditions": [condition]});
        assert_eq!(progress("Deployment", 2, &json!({}), &status), Progress::Failed("deadline exceeded".to_owned()));
        let status = json!({"observedGeneration": "2", "phase": "Degraded"});
        assert!(matches!(progress("Rollout", 2, &json!({}), &status), Progress::Failed(_)));
    }
}
