//! Where a DeletionRequest stands, from what was observed: the controller's decision, pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    Author, BackupRetentionSpec, ConditionReason, ConditionType, DeletionRequest, DeletionRequestStatus,
    InventoryStatus, Keeper, NamedBackup, Phase, Protection, Says, SeenAnnotation, SeenBackup, SignOff, SignOffEntry,
    SignOffSummary, TargetKind,
};
use crate::digest::DigestError;
use crate::domain::agreement;
use crate::domain::backup::{self, Wanted};
use crate::domain::inventory::{ApprovedItems, DataItem, Inventory, InventoryError};
use crate::domain::judgement::{ANNOTATION, Annotated, Case, Judgement, Quorum, Rights, judge, person_asking};
use crate::domain::kept::{self, Keep, KeepContent, SLOWEST_DELETION, unkept};
use crate::domain::policy::{Effective, PolicySet};
use crate::domain::preparing::{self, Outcome, prepare};
use crate::domain::quiet::{Quietness, Usage, quietness};
use crate::domain::ready;
use crate::domain::request::Request as _;
use crate::domain::shutdown::{self, Change, Users};
use crate::domain::statement::{ApprovalRecord, prove_requester, request_digest, stated, subject_digest};
use crate::domain::supervision::{self, Found};
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
    /// Labels of the namespace in which rights are judged.
    pub labels: &'a BTreeMap<String, String>,
    /// What would be lost now; empty when the target is gone.
    pub live: &'a Inventory,
    /// Who uses it.
    pub usage: &'a Usage,
    /// What of it could be scaled down; nothing where that is left to people.
    pub users: Option<&'a Users>,
    /// What else was found of a target that is going or gone.
    pub found: &'a Found,
    /// Changes in a namespace that is to be deleted, of which a review is owed.
    pub bills: &'a [String],
    /// Of what was signed off, what keeps data and is there although the target is gone.
    pub outlived: &'a [Keeper],
    /// Another request about the same data has not ended.
    pub asked_elsewhere: bool,
    /// UIDs of what other open requests have scaled down: they put it back themselves.
    pub scaled_elsewhere: &'a BTreeSet<Box<str>>,
    /// The backups that the request names, as they are.
    pub backups: &'a [(NamedBackup, backup::Found)],
    /// When the target came into being.
    pub born: Option<Timestamp>,
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
    /// Volumes to be put on Retain, once the status that says so is written.
    pub keep: Vec<Keep>,
    /// The same with what is behind snapshots.
    pub keep_contents: Vec<KeepContent>,
    /// What is put back, before the status that says so is written.
    pub put_back: Vec<Protection>,
    /// What is scaled down, once the status that says so is written.
    pub scale_down: Vec<Change>,
    /// What is scaled to what it was, before the status that says so is written.
    pub scale_back: Vec<Change>,
    /// What holds the volumes that outlived the target, before the status that says so is written.
    pub retention: Option<BackupRetentionSpec>,
    /// The next moment at which something changes by itself.
    pub look_again: Option<Timestamp>,
}

/// Decides where a request stands.
pub fn decide(observed: &Observed<'_>, now: Timestamp) -> Result<Plan, LifecycleError> {
    let before = observed.request.status.clone().unwrap_or_default();
    if before.phase == Some(Phase::Executed) {
        return Ok(supervision::decide(observed, &before, now));
    }
    if before.phase.is_some_and(Phase::is_ended) {
        return Ok(settle(observed, before, now));
    }
    let mut status = before.clone();
    describe(observed, &mut status)?;
    status.annotation = seen_annotation(observed, before.annotation.as_ref());
    let judgement = settle_inventory(observed, &mut status)?;
    let covered = covered(observed, &status)?;
    let days_before = before.retain_days.filter(|_| observed.target == TargetState::Gone);
    let days = agreement::held_for(observed.request, observed.effective, &judgement, days_before);
    status.retain_days = Some(days);
    if observed.target == TargetState::Live {
        status.backups = backups(observed, &covered, days, now);
    }
    let quiet = quietness(observed.usage, observed.effective.quiet_period, before.quiet.as_ref());
    let outcome = phase(observed, &before, &mut status, &judgement, (&quiet, &covered), now);
    status.phase = Some(outcome.phase);
    status.waiting_for.clone_from(&outcome.waiting_for);
    status.ended_at = outcome.phase.is_ended().then(|| stated(now));
    summarise(observed, &before, &mut status, &judgement, &outcome);
    set_conditions(observed, &before, &mut status, &outcome, (&quiet, &covered), now);
    let mut events = events(&before, &status, &outcome, objection(observed, &judgement));
    if matches!(outcome.phase, Phase::Executing | Phase::Executed) {
        status.deleted = supervision::compared(observed.found, &before, observed.target, now);
    }
    if outcome.phase == Phase::Executed {
        events.extend(supervision::supervise(observed, &before, &mut status, now));
    }
    let (keep, keep_contents) =
        if outcome.keeps { (unkept(&covered), kept::unkept_contents(&covered)) } else { (Vec::new(), Vec::new()) };
    // Whoever deleted it, and however: what outlived it is held.
    let deleted = outcome.phase == Phase::Executed || outcome.reason == ConditionReason::TargetGone;
    let held = || kept::retention(observed.request, keepers(observed, &status), days, now);
    let retention = deleted.then(held).flatten();
    status.backup_retention = retention.as_ref().and(observed.request.metadata.name.clone());
    let look_again = look_again(&status, &quiet, now);
    let scale_down = outcome.shutdown.map(|step| step.changes).unwrap_or_default();
    Ok(Plan {
        status,
        events,
        keep,
        keep_contents,
        put_back: Vec::new(),
        scale_down,
        scale_back: Vec::new(),
        retention,
        look_again,
    })
}

fn look_again(status: &DeletionRequestStatus, quiet: &Quietness, now: Timestamp) -> Option<Timestamp> {
    if status.phase == Some(Phase::Executed) {
        return supervision::look_again(status, now);
    }
    if status.phase.is_some_and(Phase::is_ended) {
        return put_back_at(status);
    }
    let clocks = [&status.approval_deadline, &status.valid_until].into_iter().flatten().map(|time| time.0);
    let quiescing = quiet.remaining.filter(|_| status.phase == Some(Phase::Quiescing));
    let quieter = quiescing.and_then(|remaining| now.saturating_add(remaining.min(quiet.step)).ok());
    clocks.chain(quieter).filter(|time| *time > now).min()
}

/// The backups that the request names, and whether they have what goes.
fn backups(observed: &Observed<'_>, covered: &Inventory, days: i32, now: Timestamp) -> Vec<SeenBackup> {
    let claims = covered.claims().map(str::to_owned).collect();
    let wanted = Wanted { target: &observed.request.spec.target, born: observed.born, claims: &claims, days, now };
    observed.backups.iter().map(|(named, found)| backup::seen(named, found, &wanted)).collect()
}

/// What outlived the target, and the backups that have it.
fn keepers(observed: &Observed<'_>, status: &DeletionRequestStatus) -> Vec<Keeper> {
    let found = status.backups.iter().filter_map(|seen| {
        let same = |named: &NamedBackup| {
            named.kind == seen.kind && named.namespace == seen.namespace && named.name == seen.name
        };
        let (_, found) = observed.backups.iter().find(|(named, _)| same(named))?;
        backup::keeper(seen, found)
    });
    let mut all = observed.outlived.to_vec();
    for keeper in found {
        if !all.iter().any(|known| known.uid == keeper.uid) {
            all.push(keeper);
        }
    }
    all
}

/// When what was changed for an ended request can be put back.
fn put_back_at(status: &DeletionRequestStatus) -> Option<Timestamp> {
    let ended = status.ended_at.as_ref().filter(|_| status.is_unsettled())?;
    ended.0.saturating_add(SLOWEST_DELETION).ok()
}

/// An ended request changes no more, but for what is put back after it: late enough that no deletion which was let pass
/// before can still come, and never from under another request (fact 15).
fn settle(observed: &Observed<'_>, before: DeletionRequestStatus, now: Timestamp) -> Plan {
    let due = put_back_at(&before);
    let waits = matches!(observed.target, TargetState::Going(_))
        || observed.asked_elsewhere && observed.target == TargetState::Live;
    let mut plan = Plan {
        status: before,
        events: Vec::new(),
        keep: Vec::new(),
        keep_contents: Vec::new(),
        put_back: Vec::new(),
        scale_down: Vec::new(),
        scale_back: Vec::new(),
        retention: None,
        look_again: due.filter(|due| *due > now),
    };
    let is_due = due.is_some_and(|due| due <= now);
    let is_live = observed.target == TargetState::Live;
    if is_due && !waits {
        let live = Some(observed.live).filter(|_| is_live);
        (plan.put_back, plan.status.protections) = kept::settled(&plan.status.protections, live);
    }
    if is_due && !matches!(observed.target, TargetState::Going(_)) {
        let users = observed.users.filter(|_| is_live);
        let scaled = &plan.status.scaled_down;
        (plan.scale_back, plan.status.scaled_down) = shutdown::put_back(scaled, users, observed.scaled_elsewhere);
    }
    plan
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
    if observed.target == TargetState::Live {
        status.namespace_labels = kept::labels(&request.spec.target, observed.labels);
    }
    Ok(())
}

pub(super) fn proven<'a>(observed: &Observed<'a>) -> Option<&'a Author> {
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
        quorum: Quorum::of_deletion(observed.effective, observed.request.spec.retention.as_ref()),
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

/// What would be lost and is signed off: nothing else is touched for it.
fn covered(observed: &Observed<'_>, status: &DeletionRequestStatus) -> Result<Inventory, InventoryError> {
    let packed = status.inventory.as_ref().map(|inventory| inventory.packed_uids.as_str()).unwrap_or_default();
    Ok(observed.live.among(&ApprovedItems::unpack(packed)?))
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

fn phase(
    observed: &Observed<'_>,
    before: &DeletionRequestStatus,
    status: &mut DeletionRequestStatus,
    judgement: &Judgement,
    (quiet, covered): (&Quietness, &Inventory),
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
        let waits = agreement::waits_for(observed.request, observed.effective, judgement);
        return Outcome::open(Phase::Pending, ConditionReason::WaitingForSignOff, waits);
    }
    prepare(observed, status, judgement, (quiet, covered), now)
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
    if !matches!(outcome.phase, Phase::Pending | Phase::Approved | Phase::Quiescing | Phase::Executable) {
        status.sign_off_command = None;
    }
}

fn set_conditions(
    observed: &Observed<'_>,
    before: &DeletionRequestStatus,
    status: &mut DeletionRequestStatus,
    outcome: &Outcome,
    (quiet, covered): (&Quietness, &Inventory),
    now: Timestamp,
) {
    use Phase::{Approved, Executable, Executed, Executing, Quiescing};
    let approved = matches!(outcome.phase, Approved | Quiescing | Executable | Executing | Executed)
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
    let backed_up = status.is_backed_up();
    let mut set = |kind: ConditionType, is, reason, message| {
        status.conditions.retain(|known| known.type_ != kind.as_str());
        status.conditions.push(condition(&before.conditions, kind, is, reason, message, generation, now));
    };
    set(ConditionType::Approved, approved, outcome.reason, outcome.note.clone());
    set(ConditionType::InventoryCurrent, current, reason, message);
    // What is going, or has ended, keeps what was said of it last.
    if outcome.keeps {
        let (is, reason, message) = preparing::quiet_condition(quiet);
        set(ConditionType::Quiet, is, reason, message);
        let (is, reason, message) = preparing::kept_condition(covered, backed_up);
        set(ConditionType::DataKept, is, reason, message);
    }
    if let Some(step) = &outcome.shutdown {
        set(ConditionType::ShutDown, step.is_down, step.reason, step.message.clone());
    }
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
