//! Where a retention stands, from what was observed: the controller's decision, pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::judge::{Case, Judgement, TWO, judge};
use super::{LetGo, ends_by_itself, keepers, let_go, retain_until, retention_digest, time};
use crate::api::{
    BackupRetention, BackupRetentionStatus, ConditionReason, ConditionType, RetentionMode, RetentionPhase, SeenKeeper,
};
use crate::digest::DigestError;
use crate::domain::ready;
use crate::domain::telling::{Event, condition};

/// Names in a sentence.
const NAMED: usize = 5;

/// What shall be written and said, and when to look again.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub status: BackupRetentionStatus,
    pub events: Vec<Event>,
    /// The next moment at which something changes by itself.
    pub look_again: Option<Timestamp>,
}

/// What was counted of the keepers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    total: usize,
    /// Gone after they were let go of.
    purged: usize,
    /// Gone, and nobody had let go of them.
    lost: usize,
    /// There, and not surviving.
    perishable: usize,
}

impl Counted {
    const fn is_gone(self) -> bool {
        self.purged + self.lost >= self.total
    }
}

/// Decides where a retention stands; `seen` are its keepers, each as it is now.
pub fn decide(case: &Case<'_>, seen: Vec<SeenKeeper>, now: Timestamp) -> Result<Plan, DigestError> {
    let retention = case.retention;
    let before = retention.status.clone().unwrap_or_default();
    let judgement = judge(case, now);
    let until = retain_until(retention);
    let is_free = let_go(retention, &judgement, now);
    let counted = counted(&before, &seen, is_free.is_some() || was_free(retention, &before));
    let phase = phase(before.phase, is_free, counted, now >= until);
    let digest = retention_digest(retention)?;
    let sayable = !matches!(phase, RetentionPhase::Purged) && judgement.holds.is_empty() && !judgement.suffices();
    let early = now >= until || retention.spec.mode == RetentionMode::Governance;
    let meta = &retention.metadata;
    let command = meta.name.as_deref().zip(meta.uid.as_deref()).filter(|_| sayable && early);
    let perished = perished(&seen);
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let mut status = BackupRetentionStatus {
        observed_generation: meta.generation,
        phase: Some(phase),
        source_text: Some(source_text(retention)),
        retain_until: Some(time(until)),
        release_command: command.map(|(name, uid)| ready::release_retention(name, uid, &digest)),
        digest: Some(digest),
        released_until: judgement.released_until.filter(|_| judgement.suffices()).map(Time),
        total: Some(number(counted.total)),
        purged: Some(number(counted.purged)),
        lost: Some(number(counted.lost)),
        waiting_for: waits_for(retention, &judgement, phase, (until, &perished)),
        releases: Some(judgement.summary()),
        keepers: keepers::listed(seen, &before.keepers),
        legal_holds: judgement.holds.iter().map(|author| author.username.clone()).collect(),
        conditions: Vec::new(),
    };
    status.conditions = conditions(retention, &before, &status, (phase, counted, &perished), now);
    let events = events(&before, &status, &perished);
    let look_again =
        [(now < until).then_some(until), judgement.released_until].into_iter().flatten().filter(|at| *at >= now).min();
    Ok(Plan { status, events, look_again })
}

/// Whether what is seen to be gone now may have gone while it was let go of: as the last look has it.
fn was_free(retention: &BackupRetention, before: &BackupRetentionStatus) -> bool {
    match before.phase {
        Some(RetentionPhase::ReleaseApproved | RetentionPhase::Purged) => true,
        Some(RetentionPhase::Expired) => ends_by_itself(retention) && before.legal_holds.is_empty(),
        _ => false,
    }
}

/// A keeper never comes back: another object of its name has another UID. So what is gone is counted once, by whether it
/// had been let go of when that was seen.
fn counted(before: &BackupRetentionStatus, seen: &[SeenKeeper], free: bool) -> Counted {
    let known = |count: Option<i32>| usize::try_from(count.unwrap_or(0)).unwrap_or(0);
    let (purged, lost) = (known(before.purged), known(before.lost));
    let missing = seen.iter().filter(|keeper| !keeper.exists).count();
    let newly = missing.saturating_sub(purged + lost);
    let (purged, lost) = if free { (purged + newly, lost) } else { (purged, lost + newly) };
    let perishable = seen.iter().filter(|keeper| keeper.exists && !keeper.survives).count();
    Counted { total: seen.len(), purged, lost, perishable }
}

fn phase(before: Option<RetentionPhase>, free: Option<LetGo>, counted: Counted, over: bool) -> RetentionPhase {
    let known_gone = before == Some(RetentionPhase::Purged);
    if counted.is_gone() && (free.is_some() || known_gone || counted.lost == 0) {
        return RetentionPhase::Purged;
    }
    match free {
        Some(LetGo::Released) => RetentionPhase::ReleaseApproved,
        _ if counted.lost > 0 => RetentionPhase::Violated,
        None if counted.perishable > 0 => RetentionPhase::Violated,
        _ if over => RetentionPhase::Expired,
        _ => RetentionPhase::Holding,
    }
}

fn source_text(retention: &BackupRetention) -> String {
    match &retention.spec.source {
        Some(source) => source.target.text(),
        None => {
            retention.spec.keepers.first().map_or_else(String::new, |keeper| format!("{}/{}", keeper.kind, keeper.name))
        }
    }
}

/// Names of what is gone, or would go.
fn perished(seen: &[SeenKeeper]) -> String {
    let names: Vec<&str> = seen.iter().filter(|keeper| !keeper.survives).map(|keeper| keeper.name.as_str()).collect();
    let more = names.len().saturating_sub(NAMED);
    let listed = names.get(..NAMED).unwrap_or(&names).join(", ");
    if more > 0 { format!("{listed} and {more} more") } else { listed }
}

fn people(count: u32) -> String {
    format!("{count} {}", if count == 1 { "person" } else { "people" })
}

fn waits_for(
    retention: &BackupRetention,
    judgement: &Judgement,
    phase: RetentionPhase,
    (until, perished): (Timestamp, &str),
) -> Option<String> {
    let holds: Vec<&str> = judgement.holds.iter().map(|author| author.username.as_str()).collect();
    let release = format!("release by {}", people(judgement.missing()));
    let held = || {
        let missing = TWO.saturating_sub(u32::try_from(judgement.lifted_by.len()).unwrap_or(u32::MAX));
        format!("the end of the legal hold of {}, said by {}", holds.join(" and "), people(missing))
    };
    Some(match phase {
        RetentionPhase::Purged => return None,
        RetentionPhase::Violated => format!("somebody to look: {perished} is gone, or would go"),
        RetentionPhase::ReleaseApproved => "deletion by anybody who may".to_owned(),
        _ if !holds.is_empty() => held(),
        RetentionPhase::Expired if ends_by_itself(retention) => "deletion by anybody who may".to_owned(),
        RetentionPhase::Expired => release,
        RetentionPhase::Holding if retention.spec.mode == RetentionMode::Compliance => time(until).0.to_string(),
        RetentionPhase::Holding => format!("{}, or {release}", time(until).0),
    })
}

fn conditions(
    retention: &BackupRetention,
    before: &BackupRetentionStatus,
    status: &BackupRetentionStatus,
    (phase, counted, perished): (RetentionPhase, Counted, &str),
    now: Timestamp,
) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    let waits = status.waiting_for.clone().unwrap_or_default();
    let purgeable = phase == RetentionPhase::Expired && ends_by_itself(retention) && status.legal_holds.is_empty();
    let (held, reason, message) = match phase {
        RetentionPhase::Purged => (false, ConditionReason::Ended, "all of it is gone".to_owned()),
        RetentionPhase::ReleaseApproved => (false, ConditionReason::Released, format!("waits for {waits}")),
        _ if purgeable => (false, ConditionReason::Expired, format!("waits for {waits}")),
        _ if !status.legal_holds.is_empty() => (true, ConditionReason::OnHold, format!("waits for {waits}")),
        RetentionPhase::Expired => (true, ConditionReason::WaitingForSignOff, format!("waits for {waits}")),
        RetentionPhase::Holding | RetentionPhase::Violated => {
            (true, ConditionReason::Kept, format!("waits for {waits}"))
        }
    };
    let (intact, why, what) = if counted.lost > 0 {
        let known = before.conditions.iter().find(|known| known.type_ == ConditionType::KeepersIntact.as_str());
        let known =
            known.filter(|known| known.reason == ConditionReason::KeeperMissing.as_str() && before.lost == status.lost);
        let message = known
            .map_or_else(|| format!("gone before anybody let go of it: {perished}"), |known| known.message.clone());
        (false, ConditionReason::KeeperMissing, message)
    } else if counted.perishable > 0 && phase == RetentionPhase::Violated {
        (false, ConditionReason::NotKept, format!("its data would be lost: {perished}"))
    } else {
        (
            true,
            ConditionReason::Kept,
            format!("{} of {} are there", counted.total - counted.purged.min(counted.total), counted.total),
        )
    };
    let generation = retention.metadata.generation;
    vec![
        condition(&before.conditions, ConditionType::Held, held, reason, message, generation, now),
        condition(&before.conditions, ConditionType::KeepersIntact, intact, why, what, generation, now),
    ]
}

fn events(before: &BackupRetentionStatus, status: &BackupRetentionStatus, perished: &str) -> Vec<Event> {
    let phase = status.phase.unwrap_or_default();
    let lost = status.lost > before.lost.or(Some(0));
    let mut events = Vec::new();
    if lost || phase == RetentionPhase::Violated && before.phase != status.phase {
        let note = if lost {
            format!("what was to be kept is gone, and nobody had let go of it: {perished}")
        } else {
            format!("what was to be kept would go with the next deletion, and nobody has let go of it: {perished}")
        };
        events.push(Event { warning: true, reason: RetentionPhase::Violated.as_str(), note });
    } else if before.phase != status.phase || before.legal_holds != status.legal_holds {
        let mut note = match &status.waiting_for {
            Some(waits) => format!("waits for {waits}"),
            None => "all of it is gone, as it was let go of".to_owned(),
        };
        if let Some(command) = status.release_command.as_ref().filter(|_| phase == RetentionPhase::Expired) {
            note = format!("{note}; somebody who may approve can let go of it with: {command}");
        }
        events.push(Event { warning: false, reason: phase.as_str(), note });
    }
    for event in &mut events {
        event.note = event.note.chars().take(1000).collect();
    }
    events
}
