//! After the deletion (design §5): what went is compared with what was signed off, and somebody who did not ask for it says
//! that this is right. Until then the request stays open.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    Author, ConditionReason, ConditionType, Deleted, DeletionRequestStatus, ListedItem, Phase, Says, SignOff,
    SignOffEntry,
};
use crate::domain::identity::same_person;
use crate::domain::inventory::{Reclaim, Volume};
use crate::domain::judgement::{Right, Rights};
use crate::domain::lifecycle::{Observed, Plan, TargetState};
use crate::domain::quiet::hours;
use crate::domain::request::Request as _;
use crate::domain::statement::{prove_requester, prove_sign_off, stated};
use crate::domain::supervising::{approved_it, checked, unfit};
use crate::domain::telling::{Event, condition};
use crate::seal::SEAL_SKEW;

/// Items of each kind that a status lists.
const LISTED: usize = 20;
/// For so long after its claim a volume that nobody keeps may still be there.
const SETTLING: SignedDuration = SignedDuration::from_secs(20);
/// Between two looks at what should be gone.
const STILL_THERE: SignedDuration = SignedDuration::from_secs(30);

/// What was found of a target that is going or gone.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Went with it, without having been signed off for this or for itself.
    pub unapproved: Vec<ListedItem>,
    /// Claims that were signed off, and are there although the target is gone.
    pub left: Vec<ListedItem>,
    /// Volumes that were signed off, and are there although the target is gone.
    pub volumes: Vec<Volume>,
    /// How many snapshot contents there are that were signed off.
    pub contents: usize,
    /// Who may supervise.
    pub rights: Rights,
    /// The namespace in which that right is held is gone, and what was granted in it.
    pub place_gone: bool,
}

/// Whether what went has yet to be compared (again) with what was signed off.
pub fn is_due(status: &DeletionRequestStatus) -> bool {
    status.deleted.as_ref().is_none_or(|deleted| deleted.checked_at.is_none() || !deleted.remaining.is_empty())
}

/// What went. Nothing is said of it before something went that should not have, or the target is gone.
pub(super) fn compared(
    found: &Found,
    before: &DeletionRequestStatus,
    target: TargetState,
    now: Timestamp,
) -> Option<Deleted> {
    let known = before.deleted.clone().unwrap_or_default();
    let mut deleted = known.clone();
    for item in &found.unapproved {
        if deleted.unexpected.len() < LISTED && deleted.unexpected.iter().all(|known| known.uid != item.uid) {
            deleted.unexpected.push(item.clone());
        }
    }
    let doomed = || found.volumes.iter().filter(|volume| volume.reclaim != Reclaim::Retain);
    // What is not kept goes in its own time, a moment after its claim.
    let since = before.executed_at.as_ref().map_or(now, |at| at.0);
    let settling = now.duration_since(since) < SETTLING && found.left.is_empty() && doomed().next().is_some();
    if target == TargetState::Gone && is_due(before) && !settling {
        let total = before.inventory.as_ref().map_or(0, |inventory| inventory.total);
        let there = i32::try_from(found.left.len() + found.volumes.len() + found.contents).unwrap_or(i32::MAX);
        deleted.expected = total.saturating_sub(there).max(0);
        deleted.remaining = found.left.iter().cloned().chain(doomed().map(listed)).take(LISTED).collect();
        if deleted != known || known.checked_at.is_none() {
            deleted.checked_at = Some(stated(now));
        }
    }
    (deleted != Deleted::default()).then_some(deleted)
}

fn listed(volume: &Volume) -> ListedItem {
    ListedItem {
        kind: "PersistentVolume".to_owned(),
        namespace: None,
        name: volume.name.to_string(),
        uid: volume.uid.to_string(),
        handle: volume.handle.as_deref().map(str::to_owned),
        size: None,
        not_kept: None,
    }
}

/// Where a request stands that was executed.
pub(super) fn decide(observed: &Observed<'_>, before: &DeletionRequestStatus, now: Timestamp) -> Plan {
    let mut status = before.clone();
    status.deleted = compared(observed.found, before, observed.target, now);
    let events = supervise(observed, before, &mut status, now);
    let look_again = look_again(&status, now);
    Plan {
        status,
        events,
        keep: Vec::new(),
        put_back: Vec::new(),
        keep_contents: Vec::new(),
        scale_down: Vec::new(),
        scale_back: Vec::new(),
        retention: None,
        look_again,
    }
}

/// When something changes by itself.
pub(super) fn look_again(status: &DeletionRequestStatus, now: Timestamp) -> Option<Timestamp> {
    let open = status.phase == Some(Phase::Executed);
    let overdue = status.supervise_by.as_ref().map(|time| time.0).filter(|time| *time >= now);
    let pause = if status.deleted.as_ref().is_none_or(|deleted| deleted.checked_at.is_none()) {
        Some(SETTLING)
    } else {
        is_due(status).then_some(STILL_THERE)
    };
    let again = pause.and_then(|pause| now.saturating_add(pause).ok());
    overdue.into_iter().chain(again).min().filter(|_| open)
}

/// Counts who has supervised it, closes it if that suffices, and says so; else says what is awaited.
pub(super) fn supervise(
    observed: &Observed<'_>,
    before: &DeletionRequestStatus,
    status: &mut DeletionRequestStatus,
    now: Timestamp,
) -> Vec<Event> {
    status.supervise_by = status.executed_at.as_ref().map(|at| {
        let within = status.close_within.as_deref().and_then(|text| text.parse().ok());
        let within = within.map_or(observed.effective.close_within, |within: SignedDuration| {
            within.min(observed.effective.close_within)
        });
        let by = at.0.saturating_add(within).unwrap_or(at.0);
        // A deadline only ever comes nearer.
        Time(status.supervise_by.as_ref().map_or(by, |before| before.0.min(by)))
    });
    let (supervisors, entries) = supervisors(observed, status);
    if let Some(sign_offs) = &mut status.sign_offs {
        sign_offs.entries.retain(|entry| entry.says != Says::Supervised.as_str());
        sign_offs.entries.extend(entries);
    }
    let deleted = status.deleted.clone().unwrap_or_default();
    let needed = if deleted.unexpected.is_empty() { 1 } else { 2 };
    status.supervised_by = supervisors.iter().map(|author| author.username.clone()).collect();
    let closes = deleted.checked_at.is_some() && deleted.remaining.is_empty() && supervisors.len() >= needed;
    let standing = if closes {
        status.phase = Some(Phase::Closed);
        status.closed_at = Some(stated(now));
        let who = status.supervised_by.join(" and ");
        Standing { reason: ConditionReason::Supervised, waits_for: None, message: format!("supervised by {who}") }
    } else {
        standing(status, &deleted, needed - supervisors.len().min(needed), now)
    };
    status.waiting_for.clone_from(&standing.waits_for);
    tell(observed, before, status, standing, now)
}

struct Standing {
    reason: ConditionReason,
    waits_for: Option<String>,
    message: String,
}

fn standing(status: &DeletionRequestStatus, deleted: &Deleted, missing: usize, now: Timestamp) -> Standing {
    let by = status.supervise_by.as_ref().filter(|by| now > by.0);
    let overdue = by.map_or_else(String::new, |by| format!("; overdue since {}", by.0));
    if !deleted.remaining.is_empty() {
        let waits = format!("the end of {}", sentence(&deleted.remaining));
        let message = format!("signed off, and still there: {}{overdue}", sentence(&deleted.remaining));
        return Standing { reason: ConditionReason::Remaining, waits_for: Some(waits), message };
    }
    let waits = waits_for(status, missing);
    let (reason, message) = if !deleted.unexpected.is_empty() {
        let went = sentence(&deleted.unexpected);
        (ConditionReason::Unexpected, format!("went, and was not signed off: {went}; waits for {waits}{overdue}"))
    } else if by.is_some() {
        (ConditionReason::Overdue, format!("waits for {waits}{overdue}"))
    } else {
        (ConditionReason::WaitingForSupervision, format!("waits for {waits}"))
    };
    Standing { reason, waits_for: Some(waits), message }
}

/// By default, whoever looked at it before looks at it again.
fn waits_for(status: &DeletionRequestStatus, missing: usize) -> String {
    let entries = status.sign_offs.iter().flat_map(|sign_offs| &sign_offs.entries);
    let approvers: Vec<&str> = entries
        .filter(|entry| entry.counts && entry.says == Says::Approve.as_str())
        .map(|entry| entry.author.as_str())
        .filter(|author| status.supervised_by.iter().all(|known| known != author))
        .collect();
    match (missing, approvers.is_empty()) {
        (2.., _) => format!("supervision by {missing} people who may supervise"),
        (_, true) => "supervision by somebody who may supervise".to_owned(),
        (_, false) => format!("supervision by {}, or somebody else who may supervise", approvers.join(" or ")),
    }
}

/// Names of items, a few of them.
fn sentence(items: &[ListedItem]) -> String {
    let names: Vec<String> = items.iter().take(5).map(name_of).collect();
    let more = items.len().saturating_sub(names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.join(", ") + &more
}

/// What an item is called in a sentence.
pub(super) fn name_of(item: &ListedItem) -> String {
    let kind = match item.kind.as_str() {
        "PersistentVolumeClaim" => "claim",
        "PersistentVolume" => "volume",
        other => other,
    };
    let place = item.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    format!("{kind} {place}{}", item.name)
}

/// Sets the condition, and says aloud what is new.
fn tell(
    observed: &Observed<'_>,
    before: &DeletionRequestStatus,
    status: &mut DeletionRequestStatus,
    standing: Standing,
    now: Timestamp,
) -> Vec<Event> {
    let Standing { reason, message, .. } = standing;
    let kind = ConditionType::Supervised;
    let old = before.conditions.iter().find(|known| known.type_ == kind.as_str());
    let changed = old.is_none_or(|old| old.reason != reason.as_str());
    let holds = reason == ConditionReason::Supervised;
    let generation = observed.request.metadata.generation;
    let set = condition(&before.conditions, kind, holds, reason, message.clone(), generation, now);
    status.conditions.retain(|known| known.type_ != kind.as_str());
    status.conditions.push(set);
    let warning = matches!(reason, ConditionReason::Remaining | ConditionReason::Unexpected | ConditionReason::Overdue);
    let told = if holds { Phase::Closed.as_str() } else { reason.as_str() };
    if changed { vec![Event { warning, reason: told, note: message }] } else { Vec::new() }
}

/// The people whose word counts, and what is said of each statement.
fn supervisors<'a>(observed: &Observed<'a>, status: &DeletionRequestStatus) -> (Vec<&'a Author>, Vec<SignOffEntry>) {
    let mut said: Vec<&SignOff> = observed.sign_offs.iter().filter(|said| said.spec.says == Says::Supervised).collect();
    said.sort_by(|one, other| {
        let key = |said: &SignOff| (said.spec.at.as_ref().map(|at| at.0), said.metadata.name.clone());
        key(one).cmp(&key(other))
    });
    let mut counted: Vec<&Author> = Vec::new();
    let entries = said.into_iter().map(|said| {
        let verdict = count(observed, status, said, &counted);
        let entry = SignOffEntry {
            name: said.metadata.name.clone().unwrap_or_default(),
            says: said.spec.says.as_str().to_owned(),
            author: said.spec.author.as_ref().map(|author| author.username.clone()).unwrap_or_default(),
            at: said.spec.at.clone(),
            counts: verdict.is_ok(),
            because: verdict.as_ref().err().map(|why| (*why).to_owned()),
        };
        counted.extend(verdict.ok());
        entry
    });
    let entries = entries.collect();
    (counted, entries)
}

fn count<'a>(
    observed: &Observed<'a>,
    status: &DeletionRequestStatus,
    said: &'a SignOff,
    counted: &[&Author],
) -> Result<&'a Author, &'static str> {
    let (author, at) = prove_sign_off(observed.ring, said).map_err(|_| "its seal does not prove it")?;
    if Some(&said.spec.subject) != observed.request.subject().as_ref() {
        return Err("it is about another request");
    }
    if said.metadata.deletion_timestamp.is_some() {
        return Err("it was withdrawn");
    }
    let executed = status.executed_at.as_ref().map_or(Timestamp::MAX, |time| time.0);
    if at.saturating_add(SEAL_SKEW).unwrap_or(at) < executed {
        return Err("it was made before the deletion was executed");
    }
    if !checked(&said.spec) {
        return Err("it does not say what was checked");
    }
    let held = observed.found.rights.holds(author, Right::Supervise)
        || observed.found.place_gone && approved_it(status, observed.sign_offs, observed.ring, author);
    let requester = prove_requester(observed.ring, observed.request).ok();
    if let Some(unfit) = unfit(author, requester, &observed.policies.floor().identities, held) {
        return Err(unfit.why());
    }
    if counted.iter().any(|other| same_person(other, author)) {
        return Err("its author has already supervised it");
    }
    Ok(author)
}

/// How long somebody may take, as it stands in a status; it only ever comes down.
pub(super) fn close_within(before: Option<&str>, effective: SignedDuration) -> String {
    let known: Option<SignedDuration> = before.and_then(|text| text.parse().ok());
    hours(known.map_or(effective, |known| known.min(effective)))
}
