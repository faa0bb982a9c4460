//! What a status tells those who wait: how the sign-offs add up, conditions, events.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::{ConditionReason, ConditionType, SignOffSummary};
use crate::domain::judgement::Judgement;
use crate::domain::statement::stated;

const LISTED_SIGN_OFFS: usize = 50;

/// An event on the request, for those who wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub warning: bool,
    pub reason: &'static str,
    pub note: String,
}

/// How the sign-offs stand, and what is missing, if anything is.
pub fn summary(judgement: &Judgement, missing: Option<&String>) -> SignOffSummary {
    let required = i32::try_from(judgement.required).unwrap_or(i32::MAX);
    let granted = i32::try_from(judgement.counted.len()).unwrap_or(i32::MAX);
    SignOffSummary {
        required,
        granted,
        text: format!("{granted}/{required}"),
        missing: missing.into_iter().cloned().collect(),
        entries: judgement.entries.iter().take(LISTED_SIGN_OFFS).cloned().collect(),
    }
}

/// A condition that keeps the time of its last transition while it holds, or does not, as before.
pub fn condition(
    before: &[Condition],
    kind: ConditionType,
    holds: bool,
    reason: ConditionReason,
    message: String,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let status = if holds { "True" } else { "False" };
    let same = before.iter().find(|old| old.type_ == kind.as_str() && old.status == status);
    Condition {
        type_: kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: same.map_or_else(|| stated(now), |old| old.last_transition_time.clone()),
    }
}
