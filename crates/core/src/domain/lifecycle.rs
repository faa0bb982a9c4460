//! Where a DeletionRequest stands, from what was observed: the controller's decision, pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    Author, ConditionReason, ConditionType, DeletionRequest, DeletionRequestStatus, InventoryStatus, Phase, Says,
    SeenAnnotation, SignOff, SignOffEntry, SignOffSummary, TargetKind,
};
use crate::digest::DigestError;
use crate::domain::inventory::{ApprovedItems, DataItem, Inventory, InventoryError};
use crate::domain::judgement::{
    ANNOTATION, Annotated, Case, Executor, Judgement, Quorum, Rights, judge, person_asking,
};
use crate::domain::policy::{Effective, PolicySet};
use crate::domain::ready;
use crate::domain::request::Request as _;
use crate::domain::statement::{ApprovalRecord, prove_requester, request_digest, stated, subject_digest};
use crate::domain::telling::{condition, summary};
use crate::seal::KeyRing;

pub use crate::domain::telling::Event;

/// Items shown in a status; all of them are in `packedUIDs`.
const LISTED_ITEMS: usize = 100;
const LISTED_ADDED: usize = 20;
/// Characters of a reject's comment that an event shows.
const OBJECTION: usize = 300;

/// Why no status could be decided; the old one stays.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error(transparent)]
    Inventory(#[from] InventoryError),
}

/// What was read for one decision.
pub struct Observed<'a> {
    pub request: &'a DeletionRequest,
    pub sign_offs: &'a [SignOff],
    /// The approval by annotation on the target, if its seal holds.
    pub record: Option<&'a ApprovalRecord>,
    pub ring: &'a KeyRing,
    pub policies: &'a PolicySet,
    pub effective: &'a Effective,
    pub rights: &'a Rights,
    pub target: TargetState,
    /// What would be lost now; empty when the target is gone.
    pub live: &'a Inventory,
}

/// The target, looked up by name and compared by UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    Live,
    /// It has this deletionTimestamp.
    Going(Timestamp),
    /// It does not exist, or another object has its name.
    Gone,
}

/// What shall be written and said, and when to look again.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub status: DeletionRequestStatus,
    pub events: Vec<Event>,
    /// The next moment at which something changes by itself.
    pub look_again: Option<Timestamp>,
}

/// Decides where a request stands.
pub fn decide(observed: &Observed<'_>, now: Timestamp) -> Result<Plan, LifecycleError> {
    let before = observed.request.status.clone().unwrap_or_default();
    if before.phase.is_some_and(Phase::is_ended) {
        return Ok(Plan { status: before, events: Vec::new(), look_again: None });
    }
    let mut status = before.clone();
    describe(observed, &mut status)?;
    status.annotation = seen_annotation(observed, before.annotation.as_ref());
    let judgement = settle_inventory(observed, &mut status)?;
    let outcome = phase(observed, &before, &mut status, &judgement, now);
    status.phase = Some(outcome.phase);
    status.waiting_for.clone_from(&outcome.waiting_for);
    summarise(observed, &before, &mut status, &judgement, &outcome);
    set_conditions(observed, &before, &mut status, &outcome, now);
    let events = events(&before, &status, &outcome, objection(observed, &judgement));
    let look_again = [&status.approval_deadline, &status.valid_until]
        .into_iter()
        .flatten()
        .map(|time| time.0)
        .filter(|time| *time > now && !outcome.phase.is_ended())
        .min();
    Ok(Plan { status, events, look_again })
}

fn describe(observed: &Observed<'_>, status: &mut DeletionRequestStatus) -> Result<(), LifecycleError> {
    let request = observed.request;
    let created = request.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
    let deadline = created.saturating_add(observed.effective.approval_clock).unwrap_or(created);
    status.observed_generation = request.metadata.generation;
    status.target_text = Some(request.spec.target.text());
    status.requested_by = Some(proven(observed).map_or_else(|| "nobody proven".to_owned(), |by| by.username.clone()));
    status.request_digest = Some(request_digest(&request.spec)?);
    // A deadline only ever comes nearer: loosening a policy revives nothing.
    let deadline = status.approval_deadline.as_ref().map_or(deadline, |before| before.0.min(deadline));
    status.approval_deadline = Some(Time(deadline));
    status.policies.clone_from(&observed.effective.policies);
    Ok(())
}

fn proven<'a>(observed: &Observed<'a>) -> Option<&'a Author> {
    prove_requester(observed.ring, observed.request).ok()
}

/// The newest approval by annotation, and whether it is still there. What goes with its object was not withdrawn. In a
/// request that a person made it counts for nothing.
fn seen_annotation(observed: &Observed<'_>, before: Option<&SeenAnnotation>) -> Option<SeenAnnotation> {
    if person_asking(proven(observed), &observed.policies.floor().identities).is_some() {
        return before.cloned();
    }
    match (observed.record, before) {
        (Some(record), before) if before.is_none_or(|before| record.at > before.at) => {
            Some(SeenAnnotation { at: record.at.clone(), withdrawn: false })
        }
        (None, Some(before)) if observed.target == TargetState::Live => {
            Some(SeenAnnotation { withdrawn: true, ..before.clone() })
        }
        // An older record in the place of the newest: that one was withdrawn, too.
        (Some(record), Some(before)) if record.at < before.at => {
            Some(SeenAnnotation { withdrawn: true, ..before.clone() })
        }
        (_, before) => before.cloned(),
    }
}

/// Takes the inventory while it is not frozen, judges the sign-offs, and freezes at the first that counts.
fn settle_inventory(observed: &Observed<'_>, status: &mut DeletionRequestStatus) -> Result<Judgement, LifecycleError> {
    let live = observed.live;
    let frozen = status.inventory.take().filter(|inventory| inventory.frozen);
    let gone = observed.target == TargetState::Gone;
    let mut inventory = match frozen {
        Some(mut inventory) if !gone => {
            let beyond = live.beyond(&ApprovedItems::unpack(&inventory.packed_uids)?)?;
            inventory.added = beyond.into_iter().take(LISTED_ADDED).map(DataItem::listed).collect();
            inventory
        }
        Some(inventory) => inventory,
        None => taken(live)?,
    };
    let request = status.request_digest.clone().unwrap_or_default();
    let subject = subject_digest(&request, &inventory.digest)?;
    let deadline = status.approval_deadline.as_ref().map_or(Timestamp::MIN, |time| time.0);
    let judgement = judge(&Case {
        subject: observed.request.subject(),
        created: observed.request.created(),
        requester: proven(observed),
        digest: &subject,
        sign_offs: observed.sign_offs,
        record: observed.record.map(|record| Annotated {
            record,
            inventory: &inventory.digest,
            seen: status.annotation.as_ref(),
        }),
        ring: observed.ring,
        identities: &observed.policies.floor().identities,
        quorum: Quorum::of_deletion(observed.effective),
        rights: observed.rights,
        approval_deadline: deadline,
        as_of: None,
    });
    inventory.frozen |= !judgement.counted.is_empty();
    status.inventory = Some(inventory);
    let name = observed.request.metadata.name.as_deref().unwrap_or_default();
    let uid = observed.request.metadata.uid.as_deref().unwrap_or_default();
    status.sign_off_command = Some(ready::sign_off(name, uid, &subject));
    status.subject_digest = Some(subject);
    Ok(judgement)
}

fn taken(live: &Inventory) -> Result<InventoryStatus, InventoryError> {
    Ok(InventoryStatus {
        digest: live.digest()?,
        items_digest: live.items_digest()?,
        frozen: false,
        total: i32::try_from(live.items().len()).unwrap_or(i32::MAX),
        summary: live.summary(),
        items: live.items().iter().take(LISTED_ITEMS).map(DataItem::listed).collect(),
        packed_uids: live.packed()?,
        added: Vec::new(),
    })
}

struct Outcome {
    phase: Phase,
    reason: ConditionReason,
    waiting_for: Option<String>,
    note: String,
}

impl Outcome {
    fn ended(phase: Phase, reason: ConditionReason, note: impl Into<String>) -> Self {
        Self { phase, reason, waiting_for: None, note: note.into() }
    }

    fn open(phase: Phase, reason: ConditionReason, waiting_for: impl Into<String>) -> Self {
        let waiting_for = waiting_for.into();
        Self { phase, reason, note: format!("waits for {waiting_for}"), waiting_for: Some(waiting_for) }
    }
}

fn phase(
    observed: &Observed<'_>,
    before: &DeletionRequestStatus,
    status: &mut DeletionRequestStatus,
    judgement: &Judgement,
    now: Timestamp,
) -> Outcome {
    let text = observed.request.spec.target.text();
    // The target first: from its deletionTimestamp on nothing expires, is cancelled or put back.
    let released = (before.usable_from.is_some() && judgement.suffices() || had_been_released(before, observed.target))
        && !stopped_before_going(observed, judgement);
    match observed.target {
        TargetState::Going(since) if released => {
            status.executing_since = Some(Time(since));
            return Outcome::open(Phase::Executing, ConditionReason::SignedOff, format!("the end of {text}"));
        }
        TargetState::Gone if released => {
            status.executed_at = Some(stated(now));
            return Outcome::ended(Phase::Executed, ConditionReason::Ended, format!("{text} is gone as signed off"));
        }
        TargetState::Going(_) | TargetState::Gone => {
            let note = format!("{text} was deleted without this request");
            return Outcome::ended(Phase::Cancelled, ConditionReason::TargetGone, note);
        }
        TargetState::Live => {}
    }
    if let Some(who) = &judgement.rejected_by {
        return Outcome::ended(Phase::Rejected, ConditionReason::Rejected, format!("rejected by {who}"));
    }
    if let Some(who) = &judgement.cancelled_by {
        return Outcome::ended(Phase::Cancelled, ConditionReason::Cancelled, format!("cancelled by {who}"));
    }
    if observed.request.metadata.deletion_timestamp.is_some() {
        return Outcome::ended(Phase::Cancelled, ConditionReason::Cancelled, "taken back by its requester");
    }
    let over = |time: &Option<Time>| time.as_ref().is_some_and(|time| now > time.0);
    if over(&status.valid_until) {
        return Outcome::ended(Phase::Expired, ConditionReason::Expired, "it was not used in time");
    }
    if !judgement.suffices() && over(&status.approval_deadline) {
        return Outcome::ended(Phase::Expired, ConditionReason::Expired, "it was not signed off in time");
    }
    if !judgement.held_by.is_empty() {
        let phase = if judgement.suffices() { Phase::Approved } else { Phase::Pending };
        let who = judgement.held_by.join(", ");
        return Outcome::open(phase, ConditionReason::OnHold, format!("the question of {who} (hold)"));
    }
    if !judgement.suffices() {
        let missing = judgement.required.saturating_sub(u32::try_from(judgement.counted.len()).unwrap_or(u32::MAX));
        let people = if missing == 1 { "person" } else { "people" };
        let waits = format!("sign-off by {missing} {people}");
        return Outcome::open(Phase::Pending, ConditionReason::WaitingForSignOff, waits);
    }
    release(observed, status, judgement, now)
}

/// A hold, reject or cancel came after the review of a namespace's deletion and before its commit: the guard keeps its
/// claims (`confirm_cascade`), so that they have to be asked about anew.
fn stopped_before_going(observed: &Observed<'_>, judgement: &Judgement) -> bool {
    let TargetState::Going(since) = observed.target else { return false };
    let stops = |entry: &SignOffEntry| entry.counts && entry.says != Says::Approve.as_str();
    observed.request.spec.target.kind == TargetKind::Namespace
        && judgement.entries.iter().any(|entry| stops(entry) && entry.at.as_ref().is_some_and(|at| at.0 <= since))
}

/// What the last look saw, where this one can't see it any more: an approval by annotation goes with its object.
fn had_been_released(before: &DeletionRequestStatus, target: TargetState) -> bool {
    match before.phase {
        Some(Phase::Executing) => true,
        Some(Phase::Executable) if target == TargetState::Gone => {
            let entries = before.sign_offs.iter().flat_map(|sign_offs| &sign_offs.entries);
            entries.into_iter().any(|entry| entry.name == ANNOTATION && entry.counts)
        }
        _ => false,
    }
}

/// From Approved to Executable. What must hold in between (the quiet period, the data kept) is asked for here, each
/// with a phase of its own, before the second clock starts.
fn release(
    observed: &Observed<'_>,
    status: &mut DeletionRequestStatus,
    judgement: &Judgement,
    now: Timestamp,
) -> Outcome {
    let from = status.usable_from.get_or_insert_with(|| stated(now)).0;
    // A clock that was ahead when the use began gives no more time than one that was right.
    let begun = from.min(stated(now).0);
    let until = begun.saturating_add(observed.effective.use_clock).unwrap_or(begun);
    let until = status.valid_until.as_ref().map_or(until, |before| before.0.min(until));
    status.valid_until = Some(Time(until));
    if now > until {
        return Outcome::ended(Phase::Expired, ConditionReason::Expired, "it was not used in time");
    }
    match judgement.executor {
        Executor::AnotherPerson => Outcome::open(
            Phase::Executable,
            ConditionReason::WaitingForSecondPerson,
            "deletion by another person, or one more sign-off",
        ),
        Executor::Anybody | Executor::Nobody => {
            Outcome::open(Phase::Executable, ConditionReason::SignedOff, "deletion by anybody who may")
        }
    }
}

fn summarise(
    observed: &Observed<'_>,
    before: &DeletionRequestStatus,
    status: &mut DeletionRequestStatus,
    judgement: &Judgement,
    outcome: &Outcome,
) {
    use ConditionReason::{OnHold, WaitingForSecondPerson, WaitingForSignOff};
    let waits_for_people = matches!(outcome.reason, WaitingForSignOff | WaitingForSecondPerson | OnHold);
    let summary = summary(judgement, outcome.waiting_for.as_ref().filter(|_| waits_for_people));
    let granted = summary.granted;
    status.sign_offs = Some(summary);
    // Who signed off stays on record: with the target an approval by annotation on it is gone, too.
    if let Some(last) =
        before.sign_offs.clone().filter(|last| observed.target == TargetState::Gone && last.granted > granted)
    {
        status.sign_offs = Some(SignOffSummary { missing: Vec::new(), ..last });
    }
    if !matches!(outcome.phase, Phase::Pending | Phase::Approved | Phase::Executable) {
        status.sign_off_command = None;
    }
}

fn set_conditions(
    observed: &Observed<'_>,
    before: &DeletionRequestStatus,
    status: &mut DeletionRequestStatus,
    outcome: &Outcome,
    now: Timestamp,
) {
    let approved = matches!(outcome.phase, Phase::Approved | Phase::Executable | Phase::Executing | Phase::Executed)
        && outcome.reason != ConditionReason::OnHold;
    let inventory = status.inventory.clone().unwrap_or_default();
    let (current, reason, message) = match (inventory.frozen, inventory.added.is_empty()) {
        (false, _) => (true, ConditionReason::NotFrozen, "taken anew until the first sign-off counts".to_owned()),
        (true, true) => (true, ConditionReason::Current, inventory.summary.clone()),
        (true, false) => {
            let items: Vec<&str> = inventory.added.iter().map(|item| item.name.as_str()).collect();
            (false, ConditionReason::Grown, format!("not covered: {}", items.join(", ")))
        }
    };
    let generation = observed.request.metadata.generation;
    status.conditions = vec![
        condition(
            &before.conditions,
            ConditionType::Approved,
            approved,
            outcome.reason,
            outcome.note.clone(),
            generation,
            now,
        ),
        condition(&before.conditions, ConditionType::InventoryCurrent, current, reason, message, generation, now),
    ];
}

/// Why it was rejected, in the words of whoever did: one line, whatever they wrote.
fn objection(observed: &Observed<'_>, judgement: &Judgement) -> Option<String> {
    let reject = judgement.entries.iter().rfind(|entry| entry.counts && entry.says == Says::Reject.as_str())?;
    let said = observed.sign_offs.iter().find(|said| said.metadata.name.as_deref() == Some(&reject.name))?;
    let comment = said.spec.comment.as_deref()?.replace(char::is_control, " ");
    let words: Vec<&str> = comment.split_whitespace().collect();
    let line: String = words.join(" ").chars().take(OBJECTION).collect();
    (!line.is_empty()).then_some(line)
}

fn events(
    before: &DeletionRequestStatus,
    status: &DeletionRequestStatus,
    outcome: &Outcome,
    objection: Option<String>,
) -> Vec<Event> {
    if before.phase == status.phase && before.waiting_for == status.waiting_for {
        return Vec::new();
    }
    let warning = matches!(outcome.phase, Phase::Expired) || outcome.reason == ConditionReason::TargetGone;
    let mut note = outcome.note.clone();
    if let Some(why) = objection.filter(|_| outcome.reason == ConditionReason::Rejected) {
        note = format!("{note}: {why}");
    }
    if let Some(command) = status.sign_off_command.as_ref().filter(|_| outcome.phase == Phase::Pending) {
        note = format!("{note}; somebody else who may approve can sign it off with: {command}");
    }
    vec![Event { warning, reason: outcome.phase.as_str(), note: note.chars().take(1000).collect() }]
}
