//! Where a change stands, from what was observed: the controller's decision, pure. What really ran decides how
//! it ends, never that somebody was let through.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    Action, ChangePhase, ChangeRequestStatus, ChangeTarget, ChangeTargetStatus, ChangeType, ConditionReason,
    ConditionType, TargetOutcome,
};
use crate::digest::DigestError;
use crate::domain::change::{Evidence, Standing, Usable, standing};
use crate::domain::change_asked;
use crate::domain::request::Request as _;
use crate::domain::rollout::progress::Progress;
use crate::domain::statement::stated;
use crate::domain::telling::{Event, condition, summary};

/// What was read for one decision.
pub struct Observed<'a> {
    /// `effective` is the strictest of all targets' namespaces.
    pub evidence: Evidence<'a>,
    /// As they are now, in the order of the spec; `None` where there is no such object.
    pub targets: &'a [Option<Live>],
}

/// One target as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// In the encoding that its kind is named by.
    pub digest: String,
    /// Of a workload.
    pub images: BTreeMap<String, String>,
    pub progress: Progress,
    /// Who wrote it last, where that is known.
    pub by: Option<String>,
}

/// What shall be written and said, and when to look again.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub status: ChangeRequestStatus,
    pub events: Vec<Event>,
    /// It may be used, or was used while it might: its promises belong into the records, before this status is written.
    pub promises: bool,
    /// The next moment at which something changes by itself.
    pub look_again: Option<Timestamp>,
}

/// Decides where a change stands.
pub fn decide(observed: &Observed<'_>, now: Timestamp) -> Result<Plan, DigestError> {
    let request = observed.evidence.request;
    let before = request.status.clone().unwrap_or_default();
    if before.phase.is_some_and(ChangePhase::is_ended) {
        return Ok(Plan { status: before, events: Vec::new(), promises: false, look_again: None });
    }
    let standing = standing(&observed.evidence)?;
    let mut status = before.clone();
    describe(observed, &standing, &mut status);
    let stopped = stopped(observed, &standing, &status, now);
    // What runs when the clock is first seen to be over was let through while it was not.
    let unstopped = stopped.as_ref().is_none_or(|stopped| stopped.phase == ChangePhase::Expired);
    let open = unstopped && standing.judgement.held_by.is_empty() && standing.judgement.suffices();
    let usable = standing.usable.filter(|usable| open && usable.from <= now);
    observe_targets(observed, &mut status, usable.is_some(), now);
    let outcome = outcome(&standing, &status, stopped, now);
    status.phase = Some(outcome.phase);
    status.waiting_for.clone_from(&outcome.waiting_for);
    status.sign_offs = Some(summary(&standing.judgement, outcome.waiting_for.as_ref()));
    let pending = outcome.phase == ChangePhase::Pending;
    status.sign_off_command = pending.then(|| request.sign_off(&standing.request_digest));
    set_conditions(observed, &standing, &before, &mut status, &outcome, now);
    let deadlines = [Some(standing.approval_deadline).filter(|_| pending), clock(&standing, &status)];
    let opens = standing.usable.map(|usable| usable.from);
    let look_again = deadlines.into_iter().chain([opens]).flatten().filter(|time| *time > now);
    // What ran on its strength is on record even where it is seen only once all is over.
    let used = status.targets.iter().any(|target| target.outcome.is_some_and(|it| it != TargetOutcome::Waiting));
    Ok(Plan {
        events: events(&before, &status, &outcome),
        promises: usable.is_some() && (used || !outcome.phase.is_ended()),
        look_again: look_again.min().filter(|_| !outcome.phase.is_ended()),
        status,
    })
}

fn describe(observed: &Observed<'_>, standing: &Standing, status: &mut ChangeRequestStatus) {
    let request = observed.evidence.request;
    let requester = standing.requester.as_ref();
    status.observed_generation = request.metadata.generation;
    status.target_text = Some(change_asked::text(request));
    status.requested_by = Some(requester.map_or_else(|| "nobody proven".to_owned(), |by| by.username.clone()));
    status.request_digest = Some(standing.request_digest.clone());
    status.approval_deadline = Some(Time(standing.approval_deadline));
    status.policies.clone_from(&observed.evidence.effective.policies);
    if let Some(Usable { from, until }) = standing.usable {
        status.usable_from.get_or_insert(Time(from));
        // A deadline only ever comes nearer.
        let until = status.valid_until.as_ref().map_or(until, |before| before.0.min(until));
        status.valid_until = Some(Time(until));
    }
    let targets = request.spec.targets.iter().map(|target| ChangeTargetStatus {
        target: target.text(),
        namespace: target.namespace.clone(),
        ..ChangeTargetStatus::default()
    });
    if status.targets.len() != request.spec.targets.len() {
        status.targets = targets.collect();
    }
}

/// Why nothing more begins on the strength of this change.
struct Stopped {
    phase: ChangePhase,
    reason: ConditionReason,
    note: String,
}

fn stopped(
    observed: &Observed<'_>,
    standing: &Standing,
    status: &ChangeRequestStatus,
    now: Timestamp,
) -> Option<Stopped> {
    let stop = |phase, reason, note: String| Some(Stopped { phase, reason, note });
    let judgement = &standing.judgement;
    if let Some(who) = &judgement.rejected_by {
        return stop(ChangePhase::Rejected, ConditionReason::Rejected, format!("rejected by {who}"));
    }
    if let Some(who) = &judgement.cancelled_by {
        return stop(ChangePhase::Cancelled, ConditionReason::Cancelled, format!("cancelled by {who}"));
    }
    if observed.evidence.request.metadata.deletion_timestamp.is_some() {
        let note = "taken back by its requester".to_owned();
        return stop(ChangePhase::Cancelled, ConditionReason::Cancelled, note);
    }
    if clock(standing, status).is_some_and(|until| now > until) {
        return stop(ChangePhase::Expired, ConditionReason::Expired, "it was not used in time".to_owned());
    }
    if !judgement.suffices() && now > standing.approval_deadline {
        return stop(ChangePhase::Expired, ConditionReason::Expired, "it was not signed off in time".to_owned());
    }
    if !judgement.suffices() && has_gone(observed) {
        let note = "what it was opened for runs no more".to_owned();
        return stop(ChangePhase::RolledBack, ConditionReason::RolledBack, note);
    }
    None
}

/// What ran on nobody's word runs no more, and there is nothing left to adopt. Its review is still owed.
fn has_gone(observed: &Observed<'_>) -> bool {
    let spec = &observed.evidence.request.spec;
    let mut targets = spec.targets.iter().zip(observed.targets);
    spec.change_type == ChangeType::Unauthorized && targets.all(|(target, live)| !arrived(target, live.as_ref()))
}

/// Until when it may be used, as the status last said or as it follows now.
fn clock(standing: &Standing, status: &ChangeRequestStatus) -> Option<Timestamp> {
    let stated = status.valid_until.as_ref().map(|until| until.0);
    stated.into_iter().chain(standing.usable.map(|usable| usable.until)).min()
}

fn observe_targets(observed: &Observed<'_>, status: &mut ChangeRequestStatus, usable: bool, now: Timestamp) {
    let spec = &observed.evidence.request.spec;
    for ((target, live), entry) in spec.targets.iter().zip(observed.targets).zip(&mut status.targets) {
        observe(target, live.as_ref(), entry, usable, now);
    }
}

fn observe(target: &ChangeTarget, live: Option<&Live>, entry: &mut ChangeTargetStatus, usable: bool, now: Timestamp) {
    let is = live.map(|live| live.digest.as_str());
    let outcome = entry.outcome.unwrap_or(TargetOutcome::Waiting);
    let outcome = match (outcome, arrived(target, live)) {
        (TargetOutcome::Waiting, true) if usable => {
            entry.applied_digest = is.map(str::to_owned);
            entry.applied_by = live.and_then(|live| live.by.clone());
            entry.applied_at = Some(stated(now));
            came_to(live)
        }
        (TargetOutcome::Waiting, _) => {
            // Until it was applied, the last that ran is what it may go back to.
            entry.previous_digest = is.map(str::to_owned);
            TargetOutcome::Waiting
        }
        // Scaling and restarts come after it, and make it no less done.
        (TargetOutcome::Succeeded, true) => TargetOutcome::Succeeded,
        (_, true) => came_to(live),
        (_, false) if is == entry.previous_digest.as_deref() => TargetOutcome::RolledBack,
        (_, false) => TargetOutcome::Replaced,
    };
    entry.outcome = Some(outcome);
}

/// Whether a target is what the change wants it to be.
fn arrived(target: &ChangeTarget, live: Option<&Live>) -> bool {
    match (target.action, live) {
        (Action::Remove, live) => live.is_none(),
        (Action::Apply, None) => false,
        (Action::Apply, Some(live)) => {
            let digest = target.digest.as_ref().is_some_and(|digest| digest.text() == live.digest);
            let named = |images: &BTreeMap<String, String>| {
                images.iter().all(|(container, image)| live.images.get(container) == Some(image))
            };
            digest || target.images.as_ref().is_some_and(named)
        }
    }
}

fn came_to(live: Option<&Live>) -> TargetOutcome {
    match live.map(|live| &live.progress) {
        None | Some(Progress::Complete) => TargetOutcome::Succeeded,
        Some(Progress::Running) => TargetOutcome::Applying,
        Some(Progress::Failed(_)) => TargetOutcome::Failed,
    }
}

struct Outcome {
    phase: ChangePhase,
    reason: ConditionReason,
    waiting_for: Option<String>,
    note: String,
}

impl Outcome {
    fn ended(phase: ChangePhase, reason: ConditionReason, note: impl Into<String>) -> Self {
        Self { phase, reason, waiting_for: None, note: note.into() }
    }

    fn open(phase: ChangePhase, reason: ConditionReason, waiting_for: impl Into<String>) -> Self {
        let waiting_for = waiting_for.into();
        Self { phase, reason, note: format!("waits for {waiting_for}"), waiting_for: Some(waiting_for) }
    }
}

fn outcome(standing: &Standing, status: &ChangeRequestStatus, stopped: Option<Stopped>, now: Timestamp) -> Outcome {
    let outcomes = || status.targets.iter().filter_map(|target| target.outcome);
    let begun = outcomes().any(|outcome| outcome != TargetOutcome::Waiting);
    if begun {
        return in_use(status, stopped);
    }
    if let Some(Stopped { phase, reason, note }) = stopped {
        return Outcome::ended(phase, reason, note);
    }
    let judgement = &standing.judgement;
    if !judgement.held_by.is_empty() {
        let phase = if judgement.suffices() { ChangePhase::Approved } else { ChangePhase::Pending };
        let who = judgement.held_by.join(", ");
        return Outcome::open(phase, ConditionReason::OnHold, format!("the question of {who} (hold)"));
    }
    match standing.usable {
        None => {
            let counted = u32::try_from(judgement.counted.len()).unwrap_or(u32::MAX);
            let missing = judgement.required.saturating_sub(counted);
            let people = if missing == 1 { "person" } else { "people" };
            let waits = format!("sign-off by {missing} {people}");
            Outcome::open(ChangePhase::Pending, ConditionReason::WaitingForSignOff, waits)
        }
        Some(usable) if now < usable.from => {
            let waits = format!("its window from {} on", usable.from);
            Outcome::open(ChangePhase::Scheduled, ConditionReason::WaitingForWindow, waits)
        }
        Some(_) => Outcome::open(ChangePhase::Approved, ConditionReason::WaitingForUse, "anybody who may to apply it"),
    }
}

/// Work that was begun may finish; what was not begun in time, or before somebody stopped it, never is.
fn in_use(status: &ChangeRequestStatus, stopped: Option<Stopped>) -> Outcome {
    let of = |wanted: TargetOutcome| -> Vec<&str> {
        let targets = status.targets.iter().filter(|target| target.outcome == Some(wanted));
        targets.map(|target| target.target.as_str()).collect()
    };
    let (applying, waiting) = (of(TargetOutcome::Applying), of(TargetOutcome::Waiting));
    if !applying.is_empty() {
        let waits = format!("the rollout of {}", applying.join(", "));
        return Outcome::open(ChangePhase::InProgress, ConditionReason::RollingOut, waits);
    }
    if !waiting.is_empty() && stopped.is_none() {
        let waits = format!("{} to be applied", waiting.join(", "));
        return Outcome::open(ChangePhase::InProgress, ConditionReason::RollingOut, waits);
    }
    let (failed, back) = (of(TargetOutcome::Failed), of(TargetOutcome::RolledBack));
    let replaced = of(TargetOutcome::Replaced);
    match stopped {
        _ if !failed.is_empty() => {
            let note = format!("{} did not come up", failed.join(", "));
            Outcome::ended(ChangePhase::Failed, ConditionReason::RolloutFailed, note)
        }
        _ if !back.is_empty() => {
            let note = format!("{} went back to what ran before", back.join(", "));
            Outcome::ended(ChangePhase::RolledBack, ConditionReason::RolledBack, note)
        }
        Some(stopped) if !waiting.is_empty() => {
            let note = format!("{} was not applied: {}", waiting.join(", "), stopped.note);
            Outcome::ended(ChangePhase::Failed, ConditionReason::RolloutFailed, note)
        }
        _ if !replaced.is_empty() => {
            let note = format!("{} was replaced by something else before it was done", replaced.join(", "));
            Outcome::ended(ChangePhase::Failed, ConditionReason::RolloutFailed, note)
        }
        _ => Outcome::ended(ChangePhase::Succeeded, ConditionReason::RolledOut, "everything runs as asked for"),
    }
}

fn set_conditions(
    observed: &Observed<'_>,
    standing: &Standing,
    before: &ChangeRequestStatus,
    status: &mut ChangeRequestStatus,
    outcome: &Outcome,
    now: Timestamp,
) {
    let request = observed.evidence.request;
    let generation = request.metadata.generation;
    let old = &before.conditions;
    let approved = standing.judgement.suffices()
        && outcome.reason != ConditionReason::OnHold
        && !matches!(outcome.phase, ChangePhase::Rejected | ChangePhase::Cancelled | ChangePhase::Expired);
    let note = outcome.note.clone();
    let approved = condition(old, ConditionType::Approved, approved, outcome.reason, note, generation, now);
    let used = status.targets.iter().any(|target| target.outcome.is_some_and(|it| it != TargetOutcome::Waiting));
    let billed =
        old.iter().any(|condition| condition.type_ == ConditionType::ReviewOwed.as_str() && condition.status == "True");
    let (owed, reason, message) = if request.spec.change_type == ChangeType::Unauthorized {
        (true, ConditionReason::Unauthorized, "it ran before anybody had signed it off")
    } else if billed || standing.expedited && used {
        (true, ConditionReason::Expedited, "it was used before anybody had signed it off")
    } else {
        (false, ConditionReason::NotNeeded, "nothing was done without a sign-off")
    };
    let owed = condition(old, ConditionType::ReviewOwed, owed, reason, message.to_owned(), generation, now);
    status.conditions = vec![approved, owed];
}

fn events(before: &ChangeRequestStatus, status: &ChangeRequestStatus, outcome: &Outcome) -> Vec<Event> {
    if before.phase == status.phase && before.waiting_for == status.waiting_for {
        return Vec::new();
    }
    let warning = matches!(outcome.phase, ChangePhase::Expired | ChangePhase::Failed | ChangePhase::RolledBack);
    let mut note = outcome.note.clone();
    if let Some(command) = &status.sign_off_command {
        note = format!("{note}; somebody else who may approve can sign it off with: {command}");
    }
    vec![Event { warning, reason: outcome.phase.as_str(), note: note.chars().take(1000).collect() }]
}
