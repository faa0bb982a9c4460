//! Between the sign-off and the deletion: what must hold before the second clock starts.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{ConditionReason, DeletionRequestStatus, Phase};
use crate::domain::inventory::Inventory;
use crate::domain::judgement::{Executor, Judgement, person_asking};
use crate::domain::kept::{self, unkept, unkept_contents};
use crate::domain::lifecycle::{Observed, proven};
use crate::domain::quiet::Quietness;
use crate::domain::shutdown::{Step, shut_down};
use crate::domain::statement::stated;
use crate::domain::supervision;

/// Volumes named in a condition.
const LISTED: usize = 20;

/// What a look at a request came to.
pub(super) struct Outcome {
    pub phase: Phase,
    pub reason: ConditionReason,
    pub waiting_for: Option<String>,
    pub note: String,
    /// The data has to outlive the target from now on.
    pub keeps: bool,
    /// What was done about what still runs, if foureyes shuts it down.
    pub shutdown: Option<Step>,
}

impl Outcome {
    pub fn ended(phase: Phase, reason: ConditionReason, note: impl Into<String>) -> Self {
        Self { phase, reason, waiting_for: None, note: note.into(), keeps: false, shutdown: None }
    }

    pub fn open(phase: Phase, reason: ConditionReason, waiting_for: impl Into<String>) -> Self {
        let waiting_for = waiting_for.into();
        let note = format!("waits for {waiting_for}");
        Self { phase, reason, note, waiting_for: Some(waiting_for), keeps: false, shutdown: None }
    }

    pub fn keeping(self) -> Self {
        Self { keeps: true, ..self }
    }
}

/// What must hold before the second clock starts: the data is kept, and nothing has used it for a while. What is kept is
/// written down before anything is changed.
pub(super) fn prepare(
    observed: &Observed<'_>,
    status: &mut DeletionRequestStatus,
    judgement: &Judgement,
    (quiet, covered): (&Quietness, &Inventory),
    now: Timestamp,
) -> Outcome {
    status.quiet = Some(quiet.status.clone());
    status.protections = kept::protected(std::mem::take(&mut status.protections), covered);
    let backed_up = status.is_backed_up();
    if let Some((name, why)) = kept::lost(covered, backed_up).next().filter(|_| !kept::is_excepted(observed.request)) {
        let waits = format!("a request with retention.exception: nothing can keep {name} ({why})");
        return Outcome::open(Phase::Approved, ConditionReason::NotKept, waits).keeping();
    }
    let asker = person_asking(proven(observed), &observed.policies.floor().identities);
    let shutdown = observed.users.map(|users| shut_down(users, asker, status, now));
    let outcome = waits(observed, status, judgement, (quiet, covered), shutdown.as_ref(), now);
    Outcome { shutdown, ..outcome }
}

fn waits(
    observed: &Observed<'_>,
    status: &mut DeletionRequestStatus,
    judgement: &Judgement,
    (quiet, covered): (&Quietness, &Inventory),
    shutdown: Option<&Step>,
    now: Timestamp,
) -> Outcome {
    if !quiet.suffices() {
        let reason = if quiet.remaining.is_none() { ConditionReason::InUse } else { ConditionReason::Quiescing };
        let people = shutdown.and_then(|step| step.people.as_ref()).map(|people| format!("; {people}"));
        let waits = format!("{}{}", quiet.waits_for(), people.unwrap_or_default());
        return Outcome::open(Phase::Quiescing, reason, waits).keeping();
    }
    if let Some(unkept) = kept::unkept_in_words(covered, status.is_backed_up()) {
        let waits = format!("{unkept} to be put on Retain");
        return Outcome::open(Phase::Approved, ConditionReason::NotKept, waits).keeping();
    }
    if !observed.bills.is_empty() {
        let waits = format!("the review of {}", observed.bills.join(", "));
        return Outcome::open(Phase::Approved, ConditionReason::ReviewOwed, waits).keeping();
    }
    let released = release(observed, status, judgement, now);
    if released.phase.is_ended() { released } else { released.keeping() }
}

/// From here it can be executed, until the second clock ends.
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
    // Once a namespace is gone, nobody can tell any more what applied in it.
    let within = supervision::close_within(status.close_within.as_deref(), observed.effective.close_within);
    status.close_within = Some(within);
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

pub(super) fn quiet_condition(quiet: &Quietness) -> (bool, ConditionReason, String) {
    match quiet.remaining {
        _ if quiet.suffices() => (true, ConditionReason::Unused, "nothing uses it, for long enough".to_owned()),
        Some(_) => (false, ConditionReason::Quiescing, quiet.waits_for()),
        None => (false, ConditionReason::InUse, quiet.waits_for()),
    }
}

pub(super) fn kept_condition(live: &Inventory, backed_up: bool) -> (bool, ConditionReason, String) {
    let lost: Vec<&str> = kept::lost(live, backed_up).take(LISTED).map(|(name, _)| name).collect();
    if !lost.is_empty() {
        return (false, ConditionReason::NotKept, format!("nothing can keep {}", lost.join(", ")));
    }
    let (volumes, contents) = (unkept(live), unkept_contents(live));
    if volumes.is_empty() && contents.is_empty() {
        return (true, ConditionReason::Kept, "everything that keeps data is on Retain".to_owned());
    }
    if backed_up && contents.is_empty() {
        return (true, ConditionReason::Kept, "a backup has what is not on Retain".to_owned());
    }
    let volumes = volumes.iter().map(|keep| keep.volume.as_str());
    let names: Vec<&str> = volumes.chain(contents.iter().map(|keep| keep.content.as_str())).take(LISTED).collect();
    (false, ConditionReason::NotKept, format!("not on Retain yet: {}", names.join(", ")))
}
