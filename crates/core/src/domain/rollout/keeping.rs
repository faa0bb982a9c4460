//! One look at a workload's record: what changes promise about it, what is seen, and what becomes of the promises.

use jiff::Timestamp;

use super::known::{Base, Known};
use super::record::{Noted, Occasion, Place, Promise, Seen, noted, promised, taken_back, unpromised};
use super::template::Template;
use crate::api::{
    Action, ChangePhase, ChangeRequest, ChangeRequestStatus, ChangeType, ContentEncoding, How, RolloutRecordStatus,
    Says, TargetOutcome, WorkloadIdentity,
};
use crate::digest::DigestError;
use crate::domain::change::{Content, Coverage, Evidence, coverage, identity_of};

/// What a change says about one workload now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// `namespace/name`.
    pub change: String,
    pub how: How,
    /// Who asked and who signed it off.
    pub people: Vec<String>,
    /// The digest of the template that may run on its strength, while it may be used.
    pub template: Option<String>,
    pub over: Over,
}

/// Whether a change is still good for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    NotYet,
    /// It was applied to this workload; what runs is judged by it once more.
    Used,
    /// It never was.
    Unused,
    /// It never was seen to be, and nobody stands by it any more: rejected, cancelled, on hold, or its sign-offs withdrawn.
    TakenBack,
}

impl Word {
    /// Of a change that is not there any more.
    pub fn of_none(change: String) -> Self {
        Self { change, how: How::Change, people: Vec::new(), template: None, over: Over::Unused }
    }

    /// Of a change that stands as `status` says, and may be used if it `promises`.
    pub fn of(
        request: &ChangeRequest,
        status: &ChangeRequestStatus,
        promises: bool,
        workload: &WorkloadIdentity,
        own_namespace: &str,
    ) -> Self {
        let metadata = &request.metadata;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let is_it = |target| identity_of(request, target, own_namespace).as_ref() == Some(workload);
        let mut outcomes = request.spec.targets.iter().zip(&status.targets);
        let outcome = outcomes.find(|(target, _)| is_it(target)).and_then(|(_, target)| target.outcome);
        let used = outcome.is_some_and(|outcome| outcome != TargetOutcome::Waiting);
        let open = promises && !status.phase.unwrap_or_default().is_ended();
        Self {
            change: format!("{}/{}", part(&metadata.namespace), part(&metadata.name)),
            how: how(request, status),
            people: people(status),
            template: None,
            over: match (open, used) {
                (true, _) => Over::NotYet,
                (false, true) => Over::Used,
                (false, false) => match status.phase.unwrap_or_default() {
                    ChangePhase::Expired | ChangePhase::Succeeded | ChangePhase::Failed | ChangePhase::RolledBack => {
                        Over::Unused
                    }
                    _ => Over::TakenBack,
                },
            },
        }
    }
}

/// A type that needed sign-offs all the same was a change like others.
fn how(request: &ChangeRequest, status: &ChangeRequestStatus) -> How {
    let nobody = status.sign_offs.as_ref().is_some_and(|sign_offs| sign_offs.required == 0);
    match request.spec.change_type {
        ChangeType::Standard if nobody => How::Standard,
        ChangeType::Emergency if nobody => How::Emergency,
        _ => How::Change,
    }
}

fn people(status: &ChangeRequestStatus) -> Vec<String> {
    let entries = status.sign_offs.iter().flat_map(|sign_offs| &sign_offs.entries);
    let counted = entries.filter(|entry| entry.counts && entry.says == Says::Approve.as_str());
    let mut people: Vec<String> = status.requested_by.iter().cloned().collect();
    people.extend(counted.map(|entry| entry.author.clone()));
    people
}

/// The digest of the template that a change lets a workload run. Of named images it is known only where the template
/// that they are exchanged in is: the one that runs now, as far as it is the last that was authorised.
/// `evidence.effective` is what applies where the workload is.
pub fn promised_template(
    evidence: &Evidence<'_>,
    workload: &WorkloadIdentity,
    live: Option<&Template>,
    record: &RolloutRecordStatus,
) -> Result<Option<String>, DigestError> {
    let request = evidence.request;
    let mut targets = request.spec.targets.iter().filter(|target| {
        target.action == Action::Apply
            && identity_of(request, target, evidence.own_namespace).as_ref() == Some(workload)
    });
    let Some(target) = targets.next() else { return Ok(None) };
    if let Some(digest) = target.digest.as_ref().filter(|digest| digest.encoding == ContentEncoding::Template) {
        return Ok(Some(digest.text()));
    }
    let (Some(images), Some(live)) = (&target.images, live) else { return Ok(None) };
    let base = Known::of(record).base;
    let would = live.with_images(images);
    let (digest, parts) = (would.digest()?, Base::of_template(&would)?);
    let content = Content::Template { digest: &digest, parts: &parts, base: base.as_ref() };
    Ok((coverage(evidence, workload, &content) == Coverage::Covers).then_some(digest))
}

/// The record after one look. What a change was not used for is not held to its credit; what it was used for is seen
/// first.
pub fn kept(
    before: &RolloutRecordStatus,
    words: &[Word],
    seen: Option<&Seen<'_>>,
    place: &Place<'_>,
    occasion: Occasion,
    now: Timestamp,
) -> Result<Noted, DigestError> {
    let mut status = before.clone();
    for word in words {
        if let Some(template) = &word.template {
            let promise = Promise { change: &word.change, how: word.how, people: word.people.clone(), template };
            status = promised(&status, promise, now);
        }
        status = match word.over {
            Over::NotYet | Over::Used => status,
            Over::Unused => unpromised(&status, &word.change),
            Over::TakenBack => taken_back(&status, &word.change),
        };
    }
    let mut drift = None;
    if let Some(seen) = seen {
        Noted { status, drift } = noted(&status, seen, place, occasion, now)?;
    }
    for word in words.iter().filter(|word| word.over != Over::NotYet) {
        status = unpromised(&status, &word.change);
    }
    Ok(Noted { status, drift })
}
