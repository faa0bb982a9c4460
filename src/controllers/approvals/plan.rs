//! Whether a request is opened for an approval by annotation.

use foureyes_core::api::{DeletionRequest, Phase};
use foureyes_core::domain::statement::ApprovalRecord;
use jiff::Timestamp;

use super::gather::Facts;

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// A request is opened.
    Open,
    /// Nothing, and why.
    Nothing(&'static str),
}

/// An open request takes the approval in by itself; one that ended has used it up; and an approval is no younger than
/// the clock that a request for it would have had.
pub fn decide(facts: &Facts, now: Timestamp) -> Decision {
    let is_open = |request: &DeletionRequest| {
        !request.status.as_ref().and_then(|status| status.phase).is_some_and(Phase::is_ended)
    };
    if facts.requests.iter().any(is_open) {
        return Decision::Nothing("an open request takes it in");
    }
    if facts.requests.iter().any(|request| took_in(request, &facts.record)) {
        return Decision::Nothing("it was used by a request that ended");
    }
    if now.duration_since(facts.record.at.0) > facts.effective.approval_clock {
        return Decision::Nothing("it is too old");
    }
    Decision::Open
}

fn took_in(request: &DeletionRequest, record: &ApprovalRecord) -> bool {
    let seen = request.status.as_ref().and_then(|status| status.annotation.as_ref());
    seen.is_some_and(|seen| record.at <= seen.at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use foureyes_core::domain::policy::PolicySet;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const AT: &str = "2026-11-23T10:00:00Z";

    fn facts(requests: &[Value]) -> Facts {
        let record = json!({"author": {"username": "bob"}, "at": AT, "uid": "u", "digest": "1f3a9c0b22de"});
        let request = |status: &Value| {
            let target = json!({"apiVersion": "v1", "kind": "Namespace", "name": "shop", "uid": "u"});
            serde_json::from_value(json!({
                "apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest", "metadata": {"name": "one"},
                "spec": {"target": target, "reason": "r"}, "status": status,
            }))
            .unwrap()
        };
        Facts {
            record: serde_json::from_value(record).unwrap(),
            effective: PolicySet::default().effective(&std::collections::BTreeMap::new()).unwrap(),
            requests: requests.iter().map(request).collect(),
        }
    }

    fn ended(at: &str) -> Value {
        json!({"phase": "Expired", "annotation": {"at": at}})
    }

    #[rstest]
    #[case(&[], "2026-11-23T10:00:01Z", Decision::Open)]
    #[case(&[json!({})], "2026-11-23T10:00:01Z", Decision::Nothing("an open request takes it in"))]
    #[case(&[json!({"phase": "Approved"})], "2026-11-23T10:00:01Z", Decision::Nothing("an open request takes it in"))]
    #[case(&[json!({"phase": "Rejected"})], "2026-11-23T10:00:01Z", Decision::Open)]
    #[case(&[ended(AT)], "2026-11-23T10:00:01Z", Decision::Nothing("it was used by a request that ended"))]
    #[case(&[ended("2026-11-22T10:00:00Z")], "2026-11-23T10:00:01Z", Decision::Open)]
    #[case(&[], "2026-12-08T10:00:00Z", Decision::Nothing("it is too old"))]
    fn one_request_for_one_approval(#[case] requests: &[Value], #[case] now: &str, #[case] expected: Decision) {
        assert_eq!(decide(&facts(requests), now.parse().unwrap()), expected);
    }
}
