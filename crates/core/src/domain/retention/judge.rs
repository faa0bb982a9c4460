//! Which statements about a retention count: who has let go of it, and which legal holds are in effect.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::retain_until;
use crate::api::{
    Author, BackupRetention, Identities, RetentionMode, Says, SignOff, SignOffEntry, SignOffSummary, Subject,
};
use crate::domain::identity::{ActorKind, classify, is_usable, same_person};
use crate::domain::judgement::{Right, Rights};
use crate::domain::policy::Effective;
use crate::domain::statement::prove_sign_off;
use crate::seal::KeyRing;

/// What a retention is called in a sign-off.
pub const KIND: &str = "BackupRetention";
/// People who let go of it, or of a legal hold, at the least.
pub const TWO: u32 = 2;
/// Statements that a status lists.
const LISTED: usize = 50;

/// What the rule is applied to.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    pub retention: &'a BackupRetention,
    pub sign_offs: &'a [SignOff],
    pub ring: &'a KeyRing,
    pub identities: &'a Identities,
    pub rights: &'a Rights,
    pub effective: &'a Effective,
}

/// How the statements add up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// People who have to let go of it.
    pub required: u32,
    /// Distinct people whose Release counts now.
    pub released_by: Vec<Author>,
    /// Until when they count.
    pub released_until: Option<Timestamp>,
    /// Whose legal holds are in effect.
    pub holds: Vec<Author>,
    /// Distinct people who have said since the last of them that it may end.
    pub lifted_by: Vec<Author>,
    pub entries: Vec<SignOffEntry>,
}

impl Judgement {
    /// Whether enough people have let go of it.
    pub fn suffices(&self) -> bool {
        self.required > 0 && count(&self.released_by) >= self.required
    }

    /// How many are missing.
    pub fn missing(&self) -> u32 {
        self.required.saturating_sub(count(&self.released_by))
    }

    /// As a status shows it.
    pub fn summary(&self) -> SignOffSummary {
        let number = |of: u32| i32::try_from(of).unwrap_or(i32::MAX);
        let missing = self.missing();
        SignOffSummary {
            required: number(self.required),
            granted: number(count(&self.released_by)),
            text: format!("{}/{}", self.released_by.len(), self.required),
            missing: (missing > 0).then(|| format!("Release by {missing} more")).into_iter().collect(),
            entries: self.entries.iter().take(LISTED).cloned().collect(),
        }
    }
}

fn count<T>(of: &[T]) -> u32 {
    u32::try_from(of.len()).unwrap_or(u32::MAX)
}

/// What a sign-off about it names.
pub fn subject(retention: &BackupRetention) -> Option<Subject> {
    let metadata = &retention.metadata;
    Some(Subject { kind: KIND.to_owned(), namespace: None, name: metadata.name.clone()?, uid: metadata.uid.clone()? })
}

/// The authors whose rights a judgement will want to know. A hold needs none when it is used: it can only refuse.
pub fn rights_needed(sign_offs: &[SignOff]) -> Vec<(Author, Right)> {
    let mut needed: Vec<(Author, Right)> = Vec::new();
    for sign_off in sign_offs.iter().filter(|said| matches!(said.spec.says, Says::Release | Says::ReleaseHold)) {
        let entry = sign_off.spec.author.clone().map(|author| (author, Right::Approve));
        needed.extend(entry.filter(|entry| !needed.contains(entry)));
    }
    needed
}

/// Applies the rule, at this time.
pub fn judge(case: &Case<'_>, now: Timestamp) -> Judgement {
    let mut judgement = Judgement { required: case.effective.min_approvals.max(TWO), ..Judgement::default() };
    let mut said: Vec<&SignOff> = case.sign_offs.iter().collect();
    // Times have seconds. Of what was said within one, a hold comes after what would have ended it.
    let rank = |says: Says| u8::from(says == Says::LegalHold);
    said.sort_by_key(|said| (said.spec.at.as_ref().map(|at| at.0), rank(said.spec.says), said.metadata.name.clone()));
    for sign_off in said {
        let verdict = take(case, &mut judgement, sign_off, now);
        judgement.entries.push(SignOffEntry {
            name: sign_off.metadata.name.clone().unwrap_or_default(),
            says: sign_off.spec.says.as_str().to_owned(),
            author: sign_off.spec.author.as_ref().map(|author| author.username.clone()).unwrap_or_default(),
            at: sign_off.spec.at.as_ref().map(|at| Time(at.0)),
            counts: verdict.is_ok(),
            because: verdict.err().map(str::to_owned),
        });
    }
    judgement
}

fn take(case: &Case<'_>, judgement: &mut Judgement, sign_off: &SignOff, now: Timestamp) -> Result<(), &'static str> {
    let (author, at) = prove_sign_off(case.ring, sign_off).map_err(|_| "its seal does not prove it")?;
    if Some(&sign_off.spec.subject) != subject(case.retention).as_ref() {
        return Err("it is about something else");
    }
    if !is_usable(&author.username) {
        return Err("its author's identity is ambiguous");
    }
    if sign_off.spec.says == Says::LegalHold {
        judgement.holds.push(author.clone());
        // What was said before did not know of it.
        judgement.lifted_by.clear();
        return Ok(());
    }
    // Deleted is withdrawn, although a finalizer may keep it in storage (I 4). A hold ends otherwise.
    if sign_off.metadata.deletion_timestamp.is_some() {
        return Err("it was withdrawn");
    }
    match classify(author, case.identities) {
        ActorKind::Person => {}
        ActorKind::Machine => return Err("its author is a machine"),
        ActorKind::Shared => return Err("its author is a shared account"),
    }
    if !case.rights.holds(author, Right::Approve) {
        return Err("its author may not approve here");
    }
    match sign_off.spec.says {
        Says::Release => released(case, judgement, (author, at), sign_off.spec.digest.as_deref(), now),
        Says::ReleaseHold => lifted(judgement, author),
        _ => Err("it is nothing that is said about a retention"),
    }
}

fn released(
    case: &Case<'_>,
    judgement: &mut Judgement,
    (author, at): (&Author, Timestamp),
    digest: Option<&str>,
    now: Timestamp,
) -> Result<(), &'static str> {
    let current = super::retention_digest(case.retention).map_err(|_| "what it is about has no digest")?;
    if digest != Some(current.as_str()) {
        return Err("it names another content than the current one");
    }
    if case.retention.spec.mode == RetentionMode::Compliance && at < retain_until(case.retention) {
        return Err("nobody lets go of it before its time");
    }
    let until = at.saturating_add(case.effective.approval_clock).unwrap_or(at);
    if now > until {
        return Err("it was not used in time");
    }
    if judgement.released_by.iter().any(|other| same_person(other, author)) {
        return Err("its author has already let go of it");
    }
    judgement.released_by.push(author.clone());
    judgement.released_until = Some(judgement.released_until.map_or(until, |before| before.min(until)));
    Ok(())
}

fn lifted(judgement: &mut Judgement, author: &Author) -> Result<(), &'static str> {
    if judgement.holds.is_empty() {
        return Err("there was no legal hold");
    }
    if judgement.lifted_by.iter().any(|other| same_person(other, author)) {
        return Err("its author has already said so");
    }
    judgement.lifted_by.push(author.clone());
    if count(&judgement.lifted_by) >= TWO {
        judgement.holds.clear();
        judgement.lifted_by.clear();
    }
    Ok(())
}
