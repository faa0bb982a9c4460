//! Says of each SafetyPolicy whether it is in force.

use foureyes_core::api::{ConditionReason, ConditionType, SafetyPolicy, SafetyPolicyStatus};
use foureyes_core::domain::policy::DEFAULT;
use foureyes_core::domain::telling::condition;
use foureyes_core::index::policy_entry;
use jiff::Timestamp;
use kube::Api;
use serde_json::Value;

use super::context::{CALL, Context};
use super::enforcement::Enforcement;
use super::error::ReconcileError;
use super::queue::Next;
use crate::cluster::status::{self, Read};

/// Reconciles the policy of this name.
pub async fn reconcile(context: Context, name: Box<str>) -> Result<Next, ReconcileError> {
    let Some(policy) = context.live.policy(&name).await? else { return Ok(Next::Wait) };
    let before: Option<SafetyPolicyStatus> =
        policy.get("status").and_then(|status| serde_json::from_value(status.clone()).ok());
    let enforcement = (&*name == DEFAULT).then(|| context.enforcement.load_full());
    let after = judged(&policy, before.as_ref(), enforcement.as_deref(), context.clock.now());
    if before.as_ref() != Some(&after) {
        let text = |pointer: &str| policy.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let read =
            Read { name: &name, uid: text("/metadata/uid"), resource_version: text("/metadata/resourceVersion") };
        let api: Api<SafetyPolicy> = Api::all(context.live.client().clone());
        status::write(&api, read, &after, CALL).await.map_err(ReconcileError::write("the status can't be written"))?;
    }
    Ok(Next::Wait)
}

fn judged(
    policy: &Value,
    before: Option<&SafetyPolicyStatus>,
    enforcement: Option<&Enforcement>,
    now: Timestamp,
) -> SafetyPolicyStatus {
    let generation = policy.pointer("/metadata/generation").and_then(Value::as_i64);
    let (holds, reason, message) = match policy_entry(policy) {
        Ok(_) => (true, ConditionReason::InForce, "in force".to_owned()),
        Err(unreadable) => (false, ConditionReason::Undecodable, unreadable.why),
    };
    let known = before.map(|before| &*before.conditions).unwrap_or_default();
    let mut conditions = vec![condition(known, ConditionType::Compiled, holds, reason, message, generation, now)];
    // Nothing is said before somebody has looked.
    let looked = enforcement.and_then(|found| Some((found, found.reason?)));
    conditions.extend(looked.map(|(found, reason)| {
        let (kind, message) = (ConditionType::EnforcementVerified, found.message());
        condition(known, kind, found.is_verified(), reason, message, generation, now)
    }));
    let entries = enforcement.map(|found| found.entries.clone()).unwrap_or_default();
    SafetyPolicyStatus { observed_generation: generation, enforcement: entries, conditions }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn policy(spec: &Value, generation: i64) -> Value {
        json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy",
               "metadata": {"name": "team", "generation": generation}, "spec": spec})
    }

    #[test]
    fn a_policy_that_can_not_be_read_names_the_field_and_keeps_its_time_while_nothing_changes() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let good = judged(&policy(&json!({}), 1), None, None, at("2026-11-23T10:00:00Z"));
        assert_eq!(good.conditions[0].status, "True");
        let again = judged(&policy(&json!({}), 1), Some(&good), None, at("2026-11-23T11:00:00Z"));
        assert_eq!(again, good);
        let bad = policy(&json!({"expiry": {"use": "soon"}}), 2);
        let bad = judged(&bad, Some(&good), None, at("2026-11-23T12:00:00.5Z"));
        assert_eq!(bad.observed_generation, Some(2));
        assert_eq!(bad.conditions[0].status, "False");
        assert!(bad.conditions[0].message.contains("spec.expiry.use"), "{}", bad.conditions[0].message);
        assert_eq!(bad.conditions[0].last_transition_time.0, at("2026-11-23T12:00:00Z"));
        let worse = judged(&policy(&json!({"approvals": 7}), 3), None, None, at("2026-11-23T12:00:00Z"));
        assert_eq!(worse.conditions[0].reason, "Undecodable");
    }
}
