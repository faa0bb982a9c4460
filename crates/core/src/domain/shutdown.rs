//! Shut down first (promise 2), where foureyes does it: what is scaled to zero once a deletion is signed off, what is left
//! to people, and how it is put back. Each change is written down, with its value before, before it is made. Nobody is
//! fought: what was scaled down once and runs again is named.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::api::{Author, ConditionReason, DeletionRequest, DeletionRequestStatus, ScaledDown, Shutdown};
use crate::domain::policy::PolicySet;
use crate::domain::statement::stated;

/// Changes that one status has room for.
const MOST: usize = 1000;
/// Names of one sort in a sentence.
const LISTED: usize = 3;

/// What decides whether a workload runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Field {
    #[default]
    Replicas,
    Suspend,
}

impl Field {
    pub const fn path(self) -> &'static str {
        match self {
            Self::Replicas => "spec.replicas",
            Self::Suspend => "spec.suspend",
        }
    }

    /// Its value, as JSON, while nothing runs.
    pub const fn down(self) -> &'static str {
        match self {
            Self::Replicas => "0",
            Self::Suspend => "true",
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Replicas => "scale",
            Self::Suspend => "suspend",
        }
    }
}

/// A workload that uses the target, as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub field: Field,
    /// Of the field, as JSON.
    pub value: String,
    /// Who set it last, as whoever did calls itself, if that is known.
    pub set_by: Option<String>,
    /// When that was. What is not known may have been just now.
    pub set_at: Option<Timestamp>,
    /// The requester may change it.
    pub may: bool,
    /// Its claims would be deleted with its pods.
    pub takes_claims_along: bool,
    /// What else scales it, such as `HorizontalPodAutoscaler/web`.
    pub scalers: Vec<String>,
}

impl Workload {
    fn is_down(&self) -> bool {
        self.value == self.field.down()
    }

    fn text(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    fn change(&self, value: &str) -> Change {
        Change {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
            field: self.field,
            value: value.to_owned(),
        }
    }

    fn recorded(&self) -> ScaledDown {
        ScaledDown {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            field: self.field.path().to_owned(),
            before: self.value.clone(),
            after: self.field.down().to_owned(),
            seen: false,
            settled: false,
        }
    }
}

/// What uses the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// By kind and name.
    pub workloads: Vec<Workload>,
    /// What runs and is not scaled, such as `DaemonSet/agent` or `Pod/shell`.
    pub others: Vec<String>,
}

/// One change of a workload, made only if it still is as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub field: Field,
    /// As JSON.
    pub value: String,
}

/// What a look at it came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// To be made once the status that says so is written.
    pub changes: Vec<Change>,
    pub is_down: bool,
    pub reason: ConditionReason,
    pub message: String,
    /// What people have to see to.
    pub people: Option<String>,
}

/// Whether foureyes is to shut down what uses the target.
pub fn is_wanted(request: &DeletionRequest, policies: &PolicySet) -> bool {
    request.spec.shutdown.unwrap_or(policies.floor().shutdown) == Shutdown::Scale
}

/// What is scaled down now, in the name of the person who asked, and noted in `status`.
pub fn shut_down(users: &Users, asker: Option<&Author>, status: &mut DeletionRequestStatus, now: Timestamp) -> Step {
    let Some(asker) = asker else {
        return Step {
            changes: Vec::new(),
            is_down: false,
            reason: ConditionReason::NoHumanRequester,
            message: "nothing is scaled: no person has asked for this, so that nobody's rights say what may be"
                .to_owned(),
            people: None,
        };
    };
    let mut sorted = Sorted::default();
    // What ran when it was first looked at is scaled down; who starts something later knows why.
    let since = status.shutdown_since.as_ref().map(|since| since.0);
    status.shutdown_since.get_or_insert_with(|| stated(now));
    let mut recorded = std::mem::take(&mut status.scaled_down);
    for workload in &users.workloads {
        let at = recorded.iter().position(|known| known.uid == workload.uid && !known.settled);
        if let Some((at, known)) = at.and_then(|at| Some((at, recorded.get_mut(at)?))) {
            if again(workload, known, &mut sorted) == Kept::No {
                recorded.remove(at);
            }
        } else {
            let is_full = recorded.len() >= MOST;
            recorded.extend(first(workload, since, is_full, &mut sorted));
        }
    }
    status.scaled_down = recorded;
    sorted.step(&users.others, &asker.username, status)
}

#[derive(PartialEq)]
enum Kept {
    Yes,
    No,
}

/// One that is noted already.
fn again<'a>(workload: &'a Workload, known: &mut ScaledDown, sorted: &mut Sorted<'a>) -> Kept {
    if workload.is_down() {
        known.seen = true;
    } else if known.seen {
        sorted.fought.push(workload);
    } else if workload.may {
        known.before.clone_from(&workload.value);
        sorted.changes.push(workload.change(workload.field.down()));
    } else {
        sorted.forbidden.push(workload);
        return Kept::No;
    }
    Kept::Yes
}

/// One that is not: what is to be noted of it.
fn first<'a>(
    workload: &'a Workload,
    since: Option<Timestamp>,
    is_full: bool,
    sorted: &mut Sorted<'a>,
) -> Option<ScaledDown> {
    if workload.is_down() {
        return None;
    }
    let is_later = since.is_some_and(|since| workload.set_at.is_none_or(|at| at > since));
    if workload.takes_claims_along {
        sorted.takes_claims.push(workload);
    } else if !workload.may {
        sorted.forbidden.push(workload);
    } else if is_later {
        sorted.started.push(workload);
    } else if is_full {
        sorted.too_many.push(workload);
    } else {
        sorted.changes.push(workload.change(workload.field.down()));
        return Some(workload.recorded());
    }
    None
}

/// Workloads by what becomes of them.
#[derive(Default)]
struct Sorted<'a> {
    changes: Vec<Change>,
    fought: Vec<&'a Workload>,
    started: Vec<&'a Workload>,
    forbidden: Vec<&'a Workload>,
    takes_claims: Vec<&'a Workload>,
    too_many: Vec<&'a Workload>,
}

impl Sorted<'_> {
    fn step(self, others: &[String], asker: &str, status: &DeletionRequestStatus) -> Step {
        let texts = |workloads: &[&Workload]| workloads.iter().map(|workload| workload.text()).collect::<Vec<_>>();
        let mut sentences = Vec::new();
        let mut say = |names: &[String], sentence: &dyn Fn(String) -> String| {
            if let Some(named) = named(names) {
                sentences.push(sentence(named));
            }
        };
        say(&self.fought.iter().map(|workload| again_by(workload)).collect::<Vec<_>>(), &|names| {
            format!("scaled down once and running again: {names}")
        });
        say(&self.started.iter().map(|workload| again_by(workload)).collect::<Vec<_>>(), &|names| {
            format!("started since: {names}")
        });
        for field in [Field::Replicas, Field::Suspend] {
            let of_field: Vec<&Workload> =
                self.forbidden.iter().copied().filter(|workload| workload.field == field).collect();
            say(&texts(&of_field), &|names| format!("{asker} may not {} {names}", field.verb()));
        }
        say(&texts(&self.takes_claims), &|names| format!("claims would be deleted with the pods of {names}"));
        say(&texts(&self.too_many), &|names| format!("too many to be scaled down for one request: {names}"));
        say(others, &|names| format!("not to be scaled: {names}"));

        let people = (!sentences.is_empty()).then(|| sentences.join("; "));
        let is_fought = !self.fought.is_empty() || !self.started.is_empty();
        let is_going = !self.changes.is_empty() || status.scaled_down.iter().any(|known| !known.seen && !known.settled);
        let (reason, message) = match &people {
            Some(people) if is_fought => (ConditionReason::FoughtBack, people.clone()),
            Some(people) => (ConditionReason::LeftToPeople, people.clone()),
            None if is_going => (ConditionReason::ScalingDown, "what uses it is being scaled down".to_owned()),
            None => (ConditionReason::ScaledDown, scaled_down(status)),
        };
        let is_down = reason == ConditionReason::ScaledDown;
        Step { changes: self.changes, is_down, reason, message, people }
    }
}

fn scaled_down(status: &DeletionRequestStatus) -> String {
    let names: Vec<String> = status.scaled_down.iter().map(|known| format!("{}/{}", known.kind, known.name)).collect();
    named(&names).map_or_else(
        || "nothing that could be scaled down runs".to_owned(),
        |names| format!("what used it is scaled down: {names}"),
    )
}

/// By whom it runs again.
fn again_by(workload: &Workload) -> String {
    let by: Vec<String> = [workload.set_by.as_ref().map(|manager| format!("set by {manager}"))]
        .into_iter()
        .flatten()
        .chain(workload.scalers.iter().map(|scaler| format!("scaled by {scaler}")))
        .collect();
    if by.is_empty() { workload.text() } else { format!("{} ({})", workload.text(), by.join(", ")) }
}

fn named(names: &[String]) -> Option<String> {
    let more = names.len().saturating_sub(LISTED);
    let listed = names.get(..LISTED).unwrap_or(names).join(", ");
    match names.len() {
        0 => None,
        _ if more == 0 => Some(listed),
        _ => Some(format!("{listed} and {more} more")),
    }
}

/// Which of the changes are put back now, and which are done with: only what is still as it was left.
/// `users` is what was read after the request had ended; without it, because the target is gone, nothing is put back. What
/// others have scaled down too (`elsewhere`, by UID) waits for them.
pub fn put_back(
    before: &[ScaledDown],
    users: Option<&Users>,
    elsewhere: &BTreeSet<Box<str>>,
) -> (Vec<Change>, Vec<ScaledDown>) {
    let mut back = Vec::new();
    let after = before.iter().cloned().map(|mut known| {
        let untouched = users.and_then(|users| {
            let workload = users.workloads.iter().find(|workload| workload.uid == known.uid)?;
            (workload.value == known.after).then_some(workload)
        });
        match untouched.filter(|_| !known.settled) {
            Some(_) if elsewhere.contains(known.uid.as_str()) => {}
            Some(workload) => back.push(workload.change(&known.before)),
            None => known.settled = true,
        }
        known
    });
    let after = after.collect();
    (back, after)
}
