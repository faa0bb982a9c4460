//! Data is kept for as long as the policy says, unless whose data it is agreed to less: then somebody has to say so, by
//! name, and never less than the policy's floor.

use crate::api::{DeletionRequest, RetentionWish};
use crate::domain::judgement::{Agreement, Judgement};
use crate::domain::policy::Effective;
use crate::domain::refusal::Refusal;
use crate::reason::Code;

/// Whether it asks for fewer days than the policy demands.
pub fn is_shorter(wish: &RetentionWish, effective: &Effective) -> bool {
    wish.days.is_some_and(|days| u32::try_from(days).unwrap_or_default() < effective.retain_days)
}

/// For how many days what is kept of a deletion is held: a wish for fewer than the policy demands counts once it was
/// agreed to.
pub fn days(wish: &RetentionWish, effective: &Effective, agreement: Agreement) -> u32 {
    let floor = if agreement == Agreement::Given { effective.fewest_days() } else { effective.retain_days };
    let wanted = wish.days.map_or(effective.retain_days, |days| u32::try_from(days).unwrap_or_default());
    wanted.max(floor)
}

/// The same for a request as it stands. `before` is what it was while a target was there that is gone: of a namespace
/// that is gone, nobody knows any more which policies applied.
pub fn held_for(request: &DeletionRequest, effective: &Effective, judgement: &Judgement, before: Option<i32>) -> i32 {
    let wish = request.spec.retention.clone().unwrap_or_default();
    let days = i32::try_from(days(&wish, effective, judgement.agreement)).unwrap_or(i32::MAX);
    before.map_or(days, |before| before.max(days))
}

/// What people have yet to say about a request.
pub fn waits_for(request: &DeletionRequest, effective: &Effective, judgement: &Judgement) -> String {
    let missing = judgement.required.saturating_sub(u32::try_from(judgement.counted.len()).unwrap_or(u32::MAX));
    let people = if missing == 1 { "person" } else { "people" };
    let approvals = (missing > 0).then(|| format!("sign-off by {missing} {people}"));
    let wish = request.spec.retention.clone().unwrap_or_default();
    let agreement = (judgement.agreement == Agreement::Missing).then(|| awaited(&wish, effective));
    let all: Vec<String> = approvals.into_iter().chain(agreement).collect();
    all.join(" and ")
}

/// What is missing, in words.
pub fn awaited(wish: &RetentionWish, effective: &Effective) -> String {
    let days = wish.days.unwrap_or_default();
    format!("a sign-off CustomerAgreed to {days} days instead of {}", effective.retain_days)
}

/// A request for fewer days than the floor could never be used.
pub fn long_enough(request: &DeletionRequest, effective: &Effective) -> Result<(), Refusal> {
    let wish = request.spec.retention.clone().unwrap_or_default();
    let fewest = effective.fewest_days();
    let Some(days) = wish.days.filter(|days| u32::try_from(*days).unwrap_or_default() < fewest) else {
        return Ok(());
    };
    let target = request.spec.target.text();
    let sentence = format!(
        "the request to delete {target} was not created: it would have its data kept for {days} days, and the policy demands {fewest} at least"
    );
    Err(Refusal::new(Code::RetentionTooShort, sentence)
        .next("See what the policies say with:", "kubectl get safetypolicies -o custom-columns=NAME:.metadata.name,RETAIN:.spec.deletion.retainDays,FLOOR:.spec.deletion.minRetainDays"))
}
