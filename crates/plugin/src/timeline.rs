//! What happened to a request, in order, with the people who did it.

use foureyes_core::api::{ChangeRequest, DeletionRequest, Phase, Says, SignOff, TargetOutcome};
use foureyes_core::digest::short;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;

use crate::output;
use crate::request::Request;

/// One thing that happened, or will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// A person, or what acts by itself.
    pub who: String,
    pub what: String,
}

/// Who stands there when it was nobody in particular.
const BY_ITSELF: &str = "-";

/// Everything that is known, oldest first; what has no time comes last.
pub fn of(request: &Request, sign_offs: &[SignOff], now: Timestamp) -> Vec<Event> {
    let mut events =
        vec![Event { at: request.created(), who: request.asked_by(), what: format!("asked: {}", request.title()) }];
    events.extend(sign_offs.iter().map(|sign_off| spoken(request, sign_off)));
    events.extend(by_annotation(request));
    match request {
        Request::Change(request) => of_change(request, now, &mut events),
        Request::Deletion(request) => of_deletion(request, now, &mut events),
    }
    events.sort_by_key(|event| event.at.unwrap_or(Timestamp::MAX));
    events
}

fn spoken(request: &Request, sign_off: &SignOff) -> Event {
    let spec = &sign_off.spec;
    let name = sign_off.metadata.name.as_deref().unwrap_or_default();
    let word = match spec.says {
        Says::Approve => "approved",
        Says::Reject => "rejected",
        Says::Hold => "put it on hold",
        Says::Cancel => "cancelled",
        Says::CustomerAgreed => "said that the customer agreed",
        Says::Release => "let go of it",
        Says::LegalHold => "put a legal hold on it",
        Says::ReleaseHold => "let the legal hold end",
        Says::Supervised => "supervised it",
    };
    let entries = request.sign_offs().map(|summary| summary.entries.as_slice()).unwrap_or_default();
    let verdict = match entries.iter().find(|entry| entry.name == name) {
        Some(entry) if entry.counts => String::new(),
        Some(entry) => format!(" (does not count: {})", entry.because.as_deref().unwrap_or("no reason is given")),
        None => " (not judged yet)".to_owned(),
    };
    let words: Vec<&str> = [&spec.verified, &spec.comment].into_iter().flatten().map(String::as_str).collect();
    let words = if words.is_empty() { String::new() } else { format!(": {}", words.join("; ")) };
    let at = spec.at.as_ref().or(sign_off.metadata.creation_timestamp.as_ref());
    Event {
        at: at.map(|at| at.0),
        who: spec.author.as_ref().map_or_else(|| "nobody proven".to_owned(), |author| author.username.clone()),
        what: format!("{word}{verdict}{words}"),
    }
}

/// An approval by annotation is no object of its own.
fn by_annotation(request: &Request) -> Option<Event> {
    let entry = request.sign_offs()?.entries.iter().find(|entry| entry.name == "annotation")?;
    let verdict = match &entry.because {
        Some(because) if !entry.counts => format!(" (does not count: {because})"),
        _ => String::new(),
    };
    Some(Event {
        at: entry.at.as_ref().map(|at| at.0),
        who: entry.author.clone(),
        what: format!("approved by annotation{verdict}"),
    })
}

fn at(time: Option<&Time>, what: impl Into<String>) -> Option<Event> {
    Some(Event { at: Some(time?.0), who: BY_ITSELF.to_owned(), what: what.into() })
}

/// Only what is still to come: afterwards it is the phase that says so.
fn to_come(time: Option<&Time>, now: Timestamp, what: &str) -> Option<Event> {
    at(time.filter(|time| time.0 > now), what)
}

fn of_change(request: &ChangeRequest, now: Timestamp, events: &mut Vec<Event>) {
    let Some(status) = &request.status else { return };
    let ended = status.phase.is_some_and(foureyes_core::api::ChangePhase::is_ended);
    events.extend(at(status.usable_from.as_ref(), "could be used from here on"));
    if !ended {
        let pending = status.usable_from.is_none();
        events.extend(to_come(status.approval_deadline.as_ref().filter(|_| pending), now, "expires unless signed off"));
        events.extend(to_come(status.valid_until.as_ref(), now, "expires unless used"));
    }
    for target in &status.targets {
        let digest = target.applied_digest.as_deref().map(short).unwrap_or_default();
        let outcome = match target.outcome {
            None | Some(TargetOutcome::Waiting) => continue,
            Some(TargetOutcome::Applying) => "is being rolled out",
            Some(TargetOutcome::Succeeded) => "runs as asked for",
            Some(TargetOutcome::Failed) => "did not come up",
            Some(TargetOutcome::RolledBack) => "went back to what ran before",
            Some(TargetOutcome::Replaced) => "was replaced by something else",
        };
        let applied = if digest.is_empty() { "removed".to_owned() } else { format!("applied {digest}") };
        events.push(Event {
            at: target.applied_at.as_ref().map(|at| at.0),
            who: target.applied_by.clone().unwrap_or_else(|| BY_ITSELF.to_owned()),
            what: format!("{applied}: {} {outcome}", target.target),
        });
    }
}

fn of_deletion(request: &DeletionRequest, now: Timestamp, events: &mut Vec<Event>) {
    let Some(status) = &request.status else { return };
    let ended = status.phase.is_some_and(Phase::is_ended);
    let released = status.usable_from.as_ref();
    events.extend(at(released, "released: could be deleted from here on"));
    events.extend(at(status.executing_since.as_ref(), "its deletion began"));
    events.extend(at(status.executed_at.as_ref(), "gone"));
    events.extend(at(status.closed_at.as_ref(), "closed"));
    let unsupervised = status.supervise_by.as_ref().filter(|_| status.phase == Some(Phase::Executed));
    events.extend(to_come(unsupervised, now, "overdue unless supervised"));
    if !ended && status.executing_since.is_none() {
        let pending = released.is_none();
        events.extend(to_come(status.approval_deadline.as_ref().filter(|_| pending), now, "expires unless signed off"));
        events.extend(to_come(status.valid_until.as_ref(), now, "expires unless deleted"));
    }
}

/// The timeline as a table.
pub fn table(events: &[Event]) -> String {
    let row = |event: &Event| {
        let at = event.at.map_or_else(|| "-".to_owned(), output::time);
        [at, event.who.clone(), event.what.clone()]
    };
    output::table(["WHEN", "WHO", "WHAT"], &events.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::tests::{boxed, change, deletion};
    use serde_json::json;

    fn sign_off(name: &str, author: &str, says: &str, at: &str, comment: Option<&str>) -> SignOff {
        serde_json::from_value(json!({
            "apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOff", "metadata": {"name": name},
            "spec": {
                "subject": {"kind": "ChangeRequest", "namespace": "shop", "name": "web-1", "uid": "u"},
                "says": says, "author": {"username": author}, "at": at, "comment": comment,
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_change_is_told_from_asking_to_running() {
        let request = boxed(change(&json!({"status": {
            "phase": "Succeeded", "requestedBy": "alice", "usableFrom": "2026-11-20T11:00:00Z",
            "validUntil": "2026-11-21T11:00:00Z",
            "signOffs": {"required": 1, "granted": 1, "text": "1/1", "entries": [
                {"name": "s1", "says": "Approve", "author": "carol", "counts": false, "because": "its author may not approve here"},
                {"name": "s2", "says": "Approve", "author": "bob", "counts": true}]},
            "targets": [{"target": "deployment/web", "outcome": "Succeeded", "appliedBy": "argocd",
                "appliedDigest": "template/v1:sha256:0123456789abcdef", "appliedAt": "2026-11-20T12:00:00Z"}],
        }})));
        let said = [
            sign_off("s2", "bob", "Approve", "2026-11-20T11:00:00Z", None),
            sign_off("s1", "carol", "Approve", "2026-11-20T10:30:00Z", Some("fine\u{1b}[2J")),
            sign_off("s3", "dora", "Hold", "2026-11-20T10:40:00Z", Some("why?")),
        ];
        let text = table(&of(&request, &said, "2026-11-20T13:00:00Z".parse().unwrap()));
        let expected = "\
WHEN                   WHO      WHAT
2026-11-20T10:00:00Z   alice    asked: roll out Deployment web
2026-11-20T10:30:00Z   carol    approved (does not count: its author may not approve here): fine\\u{1b}[2J
2026-11-20T10:40:00Z   dora     put it on hold (not judged yet): why?
2026-11-20T11:00:00Z   bob      approved
2026-11-20T11:00:00Z   -        could be used from here on
2026-11-20T12:00:00Z   argocd   applied 0123456789ab: deployment/web runs as asked for
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_deletion_is_told_too_with_what_is_still_to_come() {
        let request = Request::Deletion(Box::new(deletion(&json!({"status": {
            "phase": "Executable", "requestedBy": "nobody proven",
            "usableFrom": "2026-11-20T11:00:00Z", "validUntil": "2026-11-21T11:00:00Z",
            "signOffs": {"required": 1, "granted": 1, "text": "1/1", "entries": [
                {"name": "annotation", "says": "Approve", "author": "bob", "counts": true, "at": "2026-11-20T10:59:00Z"}]},
        }}))));
        let whats = |now: &str| -> Vec<String> {
            of(&request, &[], now.parse().unwrap())
                .into_iter()
                .map(|event| format!("{} {}", event.who, event.what))
                .collect()
        };
        let past = [
            "nobody proven asked: the new shop runs",
            "bob approved by annotation",
            "- released: could be deleted from here on",
        ];
        assert_eq!(whats("2026-11-20T12:00:00Z"), [&past[..], &["- expires unless deleted"]].concat());
        assert_eq!(whats("2026-11-22T12:00:00Z"), past);
    }
}
