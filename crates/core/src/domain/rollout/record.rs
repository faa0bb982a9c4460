//! What is written into a workload's record: what was authorised, what was seen, and on whose word it runs (design §3).
//! Never from what a user could write: a digest is the API server's template, a word is the policy's or a change's.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::decide::standard_pattern;
use super::free::all_free;
use super::known::{Base, Known, is_same_revision};
use super::template::{Template, differing};
use crate::api::{
    DelegatedAction, How, Mode, RolloutEntry, RolloutRecordStatus, SeenOutcome, SeenWorkload, WorkloadIdentity,
};
use crate::digest::DigestError;
use crate::domain::inventory::Controller;
use crate::domain::policy::{Effective, PolicySet};
use crate::domain::statement::stated;

/// Entries kept of one workload.
const KEPT: usize = 30;
/// Digests kept of one image whose tag was moved.
const KEPT_IDS: usize = 8;

/// What a change promises about one workload, once it may be used.
pub struct Promise<'a> {
    /// `namespace/name`.
    pub change: &'a str,
    /// Change, Standard or Emergency.
    pub how: How,
    /// Who asked and who signed it off.
    pub people: Vec<String>,
    /// `template/v1:sha256:…`.
    pub template: &'a str,
}

/// Writes down that a template may run. Nothing is written twice.
#[must_use]
pub fn promised(before: &RolloutRecordStatus, promise: Promise<'_>, now: Timestamp) -> RolloutRecordStatus {
    let mut status = before.clone();
    let same =
        |entry: &RolloutEntry| entry.change.as_deref() == Some(promise.change) && entry.template == promise.template;
    if let Some(at) = status.entries.iter().position(same) {
        let entry = &mut status.entries[at];
        // Signed off anew, it is awaited again.
        if entry.outcome == SeenOutcome::Unused {
            (entry.outcome, entry.people) = (SeenOutcome::NotSeen, promise.people);
        }
        return status;
    }
    let entry = RolloutEntry {
        template: promise.template.to_owned(),
        shape: None,
        images: BTreeMap::new(),
        annotations: BTreeMap::new(),
        image_ids: BTreeMap::new(),
        generation: None,
        at: stated(now),
        executor: None,
        how: promise.how,
        outcome: SeenOutcome::NotSeen,
        change: Some(promise.change.to_owned()),
        people: promise.people,
        would_refuse: false,
    };
    status.entries.insert(0, entry);
    settled(status)
}

/// A change has ended: what was promised and never seen is good for nothing any more.
#[must_use]
pub fn unpromised(before: &RolloutRecordStatus, change: &str) -> RolloutRecordStatus {
    unused(before, change, &[SeenOutcome::NotSeen])
}

/// Nobody stands by a change any more: nor is what may have run on its strength, while nobody looked, good for going back
/// to. Else whoever rolls out quickly could keep what is not signed off any more.
#[must_use]
pub fn taken_back(before: &RolloutRecordStatus, change: &str) -> RolloutRecordStatus {
    unused(before, change, &[SeenOutcome::NotSeen, SeenOutcome::Missed])
}

fn unused(before: &RolloutRecordStatus, change: &str, outcomes: &[SeenOutcome]) -> RolloutRecordStatus {
    let mut status = before.clone();
    let of_it =
        |entry: &&mut RolloutEntry| outcomes.contains(&entry.outcome) && entry.change.as_deref() == Some(change);
    for entry in status.entries.iter_mut().filter(of_it) {
        entry.outcome = SeenOutcome::Unused;
    }
    status
}

/// The workload as it is now.
pub struct Seen<'a> {
    pub uid: &'a str,
    pub generation: i64,
    pub template: &'a Template,
    /// From the pods: container and the digests of its image that run.
    pub image_ids: BTreeMap<String, Vec<String>>,
    pub executor: Option<&'a str>,
    pub controller: Option<&'a Controller>,
}

/// Why a workload is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// At installation, and when a namespace goes from Warn to Deny: what runs is taken as it is.
    Baseline,
    /// Its namespace became production: what runs goes on, and nobody has reviewed it.
    BecameProduction,
    /// It was created or changed.
    Change,
}

/// What was made of what was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Noted {
    pub status: RolloutRecordStatus,
    /// It runs on nobody's word, and rollouts are refused here: the digest for which a change of type Unauthorized is
    /// to be opened.
    pub drift: Option<String>,
}

/// Where a workload stands.
pub struct Place<'a> {
    pub workload: &'a WorkloadIdentity,
    pub policies: &'a PolicySet,
    pub effective: &'a Effective,
}

/// Notes what runs.
pub fn noted(
    before: &RolloutRecordStatus,
    seen: &Seen<'_>,
    place: &Place<'_>,
    occasion: Occasion,
    now: Timestamp,
) -> Result<Noted, DigestError> {
    let mut status = before.clone();
    let new = entry(seen, now)?;
    let last = before.seen.as_ref();
    let same_generation = last.is_some_and(|last| last.uid == seen.uid && last.generation == seen.generation);
    let steps =
        last.filter(|last| last.uid == seen.uid).map_or(seen.generation, |last| seen.generation - last.generation);
    status.seen = Some(SeenWorkload { uid: seen.uid.to_owned(), generation: seen.generation });

    let awaited = |entry: &RolloutEntry| {
        entry.template == new.template && entry.outcome == SeenOutcome::NotSeen && entry.how.is_authorised()
    };
    let current = status.entries.iter().position(|entry| entry.outcome == SeenOutcome::Seen);
    if let Some(at) = status.entries.iter().position(awaited) {
        let promise = status.entries.remove(at);
        // What was promised before it, and can have come and gone since the last look.
        if steps > 1 {
            for missed in status.entries.iter_mut().skip(at).filter(|entry| entry.outcome == SeenOutcome::NotSeen) {
                missed.outcome = SeenOutcome::Missed;
            }
        }
        let completed =
            RolloutEntry { how: promise.how, at: promise.at, change: promise.change, people: promise.people, ..new };
        status.entries.insert(0, completed);
    } else if let Some(at) = current.filter(|at| same_generation || status.entries[*at].template == new.template) {
        // The API server may re-write what nobody has touched.
        let entry = &mut status.entries[at];
        merge_ids(&mut entry.image_ids, new.image_ids.clone());
        let re_based = occasion == Occasion::Baseline && entry.how == How::Unreviewed;
        if re_based {
            (entry.how, entry.would_refuse) = (How::Baseline, false);
        }
        (entry.template, entry.shape) = (new.template, new.shape);
        (entry.images, entry.annotations, entry.generation) = (new.images, new.annotations, new.generation);
    } else {
        let word = word(before, &new, seen, place, occasion)?;
        status.entries.insert(
            0,
            RolloutEntry {
                how: word.how,
                change: word.change,
                people: word.people,
                would_refuse: word.would_refuse,
                ..new
            },
        );
    }
    let status = settled(status);
    let runs = status.entries.iter().find(|entry| entry.outcome == SeenOutcome::Seen);
    let drift = runs.filter(|entry| entry.how == How::Unauthorised && place.effective.rollouts == Mode::Deny);
    let drift = drift.map(|entry| entry.template.clone());
    Ok(Noted { status, drift })
}

fn entry(seen: &Seen<'_>, now: Timestamp) -> Result<RolloutEntry, DigestError> {
    let parts = Base::of_template(seen.template)?;
    Ok(RolloutEntry {
        template: seen.template.digest()?,
        shape: Some(parts.shape.into()),
        images: parts.images,
        annotations: parts.annotations,
        image_ids: seen.image_ids.clone(),
        generation: Some(seen.generation),
        at: stated(now),
        executor: seen.executor.map(str::to_owned),
        how: How::Unauthorised,
        outcome: SeenOutcome::Seen,
        change: None,
        people: Vec::new(),
        would_refuse: false,
    })
}

/// On whose word something runs that nobody has promised.
#[derive(Default)]
struct Word {
    how: How,
    change: Option<String>,
    people: Vec<String>,
    would_refuse: bool,
}

fn word(
    before: &RolloutRecordStatus,
    new: &RolloutEntry,
    seen: &Seen<'_>,
    place: &Place<'_>,
    occasion: Occasion,
) -> Result<Word, DigestError> {
    let floor = place.policies.floor();
    let bare = |how| Word { how, ..Word::default() };
    let current = before.entries.iter().find(|entry| entry.outcome == SeenOutcome::Seen);
    let free = |current: &&RolloutEntry| {
        is_same_revision(current, new)
            && all_free(&floor.free_annotations, differing(&current.annotations, &new.annotations).into_iter())
    };
    let current = current.filter(free);
    let goes_on = |current: &RolloutEntry| Word {
        how: current.how,
        change: current.change.clone(),
        people: current.people.clone(),
        would_refuse: current.would_refuse,
    };
    if let Some(current) = current.filter(|current| current.is_known_good()) {
        return Ok(goes_on(current));
    }
    let known = Known::of(before);
    if known.allows(&new.template, place.effective.revisions) {
        let source = before.entries.iter().find(|entry| entry.is_known_good() && entry.template == new.template);
        return Ok(Word {
            change: source.and_then(|entry| entry.change.clone()),
            people: source.map(|entry| entry.people.clone()).unwrap_or_default(),
            ..bare(How::Rollback)
        });
    }
    if let Some(current) = current {
        return Ok(goes_on(current));
    }
    let delegated = seen.controller.is_some_and(|owner| {
        let entries = floor.delegations.iter().filter(|delegation| delegation.may.contains(&DelegatedAction::Roll));
        let mut kinds = entries.map(|delegation| &delegation.owner_kind);
        kinds.any(|kind| *kind.group == *owner.group && *kind.kind == *owner.kind)
    });
    if delegated {
        return Ok(bare(How::Delegated));
    }
    let parts = Base::of_template(seen.template)?;
    let exchanged = known.base.as_ref().and_then(|base| base.exchanged(&parts, &floor.free_annotations));
    let standard = exchanged.is_some_and(|images| {
        standard_pattern(floor, |_| true, place.workload, &images.iter().map(|image| image.new)).is_some()
    });
    if standard {
        return Ok(bare(How::Standard));
    }
    // What comes into being is judged as a creation, however often it was there before.
    let created = before.seen.as_ref().is_none_or(|last| last.uid != seen.uid);
    let mode = if created { place.effective.creations } else { place.effective.rollouts };
    Ok(match (occasion, mode) {
        (Occasion::Baseline, _) => bare(How::Baseline),
        (Occasion::BecameProduction, _) | (Occasion::Change, Mode::Off) => bare(How::Unreviewed),
        (Occasion::Change, Mode::Deny) => bare(How::Unauthorised),
        (Occasion::Change, Mode::Warn) => Word { would_refuse: true, ..bare(How::Unreviewed) },
    })
}

fn merge_ids(kept: &mut BTreeMap<String, Vec<String>>, seen: BTreeMap<String, Vec<String>>) {
    for (container, ids) in seen {
        let kept = kept.entry(container).or_default();
        for id in ids {
            if !kept.contains(&id) && kept.len() < KEPT_IDS {
                kept.push(id);
            }
        }
    }
}

/// Keeps the record bounded, and says in its columns what runs. Of one revision its older entries go first, so that
/// free changes push no other revision out.
fn settled(mut status: RolloutRecordStatus) -> RolloutRecordStatus {
    while status.entries.len() > KEPT {
        let repeated = |at: &usize| {
            let entry = &status.entries[*at];
            entry.outcome != SeenOutcome::NotSeen
                && status.entries[..*at]
                    .iter()
                    .any(|newer| newer.is_known_good() == entry.is_known_good() && is_same_revision(newer, entry))
        };
        let at = (0..status.entries.len()).rev().find(repeated).unwrap_or(status.entries.len() - 1);
        status.entries.remove(at);
    }
    if let Some(runs) = status.entries.iter().find(|entry| entry.outcome == SeenOutcome::Seen) {
        let images: Vec<&str> = runs.images.values().map(String::as_str).collect();
        status.runs = Some(images.join(", "));
        status.how = Some(runs.how);
        status.change.clone_from(&runs.change);
        status.since = Some(runs.at.clone());
    }
    status
}
