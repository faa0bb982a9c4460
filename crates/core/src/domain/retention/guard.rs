//! The guard on volumes (bypasses 20 and 21): what a retention holds nobody destroys, and what holds data in production
//! no person destroys past its claim.

use jiff::Timestamp;

use super::judge::{Case, Judgement, judge};
use super::{LetGo, let_go, phase, place, retain_until};
use crate::api::{Author, BackupRetention, RetentionMode, RetentionPhase, Target, TargetKind};
use crate::domain::deletion::{Governance, is_data};
use crate::domain::identity::{ActorKind, classify};
use crate::domain::inventory::{Claim, Reclaim};
use crate::domain::policy::{Effective, PolicySet};
use crate::domain::proof::{Kind, NotGoverned, Proof};
use crate::domain::ready;
use crate::domain::refusal::Refusal;
use crate::domain::volume::{ClaimRef, VolumeFacts};
use crate::reason::Code;

/// Ends once no claim is bound to the volume.
pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

/// What would be done to a volume, by which its data could go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Deleted,
    /// Off Retain.
    Perishable,
    /// Its claimRef is cleared or moved: somebody else's claim could bind it, or its data would be reclaimed.
    Unreserved,
    /// The note by which it brings its claim back, or other metadata of ours.
    Unmarked,
    /// The finalizer that keeps it while it is bound.
    Unprotected,
    /// Owners were added, with which it would be collected.
    Owned,
    /// It moves into another storage class, which could be an exempt one.
    Reclassed,
}

impl Deed {
    const fn sentence(self) -> &'static str {
        match self {
            Self::Deleted => "was not deleted",
            Self::Perishable => "was not taken off Retain",
            Self::Unreserved => "was not taken from its claim",
            Self::Unmarked => "was not changed: its foureyes.dev metadata says how to bring its data back",
            Self::Unprotected => "did not lose its finalizer",
            Self::Owned => "got no owner",
            Self::Reclassed => "stays in its storage class",
        }
    }

    /// Whether another object with the same handle could do it to the data.
    const fn reaches_the_data(self) -> bool {
        matches!(self, Self::Perishable | Self::Unreserved)
    }
}

/// Metadata of a volume that changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Labels or annotations of ours.
    pub ours: bool,
    /// [`VOLUME_PROTECTION`] went.
    pub unprotected: bool,
    /// Owners came.
    pub owned: bool,
}

/// The first thing that an update does to a volume by which its data could go. `claims` is whether the claim that the
/// volume names afterwards, by its UID, is there and takes this volume or none (fact 16).
pub fn deed(
    was: &VolumeFacts,
    is: &VolumeFacts,
    touched: Touched,
    claims: impl FnOnce(&ClaimRef) -> bool,
) -> Option<Deed> {
    if was.volume.reclaim == Reclaim::Retain && is.volume.reclaim != Reclaim::Retain {
        return Some(Deed::Perishable);
    }
    if let Some(before) = &was.claim {
        let stays = is.claim.as_ref().is_some_and(|after| {
            let same = after.namespace == before.namespace && after.name == before.name;
            same && (after.uid.is_none() || after.uid == before.uid || before.uid.is_none() || claims(after))
        });
        if !stays {
            return Some(Deed::Unreserved);
        }
        if was.storage_class != is.storage_class {
            return Some(Deed::Reclassed);
        }
    }
    let deeds =
        [(touched.ours, Deed::Unmarked), (touched.unprotected, Deed::Unprotected), (touched.owned, Deed::Owned)];
    deeds.into_iter().find_map(|(done, deed)| done.then_some(deed))
}

/// Whether the retentions that hold the handle of a volume, but not the volume itself, stand in the way of what is done to
/// it. Without a deed it is created.
pub fn aliases(deed: Option<Deed>, is: &VolumeFacts, places: &[Option<Box<str>>]) -> bool {
    match deed {
        // Gone without its data where it is on Retain.
        Some(Deed::Deleted) => is.volume.reclaim != Reclaim::Retain,
        Some(deed) => deed.reaches_the_data(),
        None => {
            // It brings the data back to where it was, or it would give it to somebody else.
            let home = |claim: &ClaimRef| places.iter().all(|place| place.as_ref() == Some(&claim.namespace));
            is.volume.reclaim != Reclaim::Retain || !is.claim.as_ref().is_some_and(home)
        }
    }
}

/// Whether the bytes of a volume would be reclaimed by what is done to it, now or later.
pub fn reclaims(deed: Option<Deed>, is: &VolumeFacts) -> bool {
    match deed {
        None | Some(Deed::Deleted) => is.volume.reclaim != Reclaim::Retain,
        Some(deed) => deed == Deed::Perishable,
    }
}

/// A volume would have the data reclaimed that a claim in production has under the name of another volume.
pub fn in_use_elsewhere(volume: &VolumeFacts, deed: Option<Deed>, claim: &Claim) -> Refusal {
    let (name, other) = (&volume.volume.name, claim.volume.as_deref().unwrap_or_default());
    let (done, place) = (sentence(deed), format!("{}/{}", claim.namespace, claim.name));
    Refusal::new(
        Code::VolumeInUse,
        format!("PersistentVolume {name} {done}: it names the same data as PersistentVolume {other}, which claim {place} in production has, and would have it deleted"),
    )
    .next("On Retain it may name that. See the other one with:", ready::show_volume(other))
}

/// A retention in the way of a change of `what` has been let go of; the proof, or the refusal.
pub fn confirmed(case: &Case<'_>, what: &str, done: &str, now: Timestamp) -> Result<Proof, Refusal> {
    let retention = case.retention;
    let name = retention.metadata.name.as_deref().unwrap_or_default();
    let judgement = judge(case, now);
    let free = let_go(retention, &judgement, now);
    // A phase can only refuse.
    let noted = match free {
        Some(LetGo::Released) => matches!(phase(retention), RetentionPhase::ReleaseApproved | RetentionPhase::Purged),
        Some(LetGo::Over) => matches!(phase(retention), RetentionPhase::Expired | RetentionPhase::Purged),
        None => return Err(held(retention, &judgement, what, done, now)),
    };
    if noted {
        return Ok(Proof(Kind::Confirmed(name.to_owned())));
    }
    let sentence =
        format!("{what} {done}: BackupRetention {name} has been let go of, and the controller has not noted it yet");
    Err(Refusal::new(Code::NotYetExecutable, sentence).next("See how it stands with:", ready::show_retention(name)))
}

/// Why what is held stays as it is.
fn held(retention: &BackupRetention, judgement: &Judgement, what: &str, done: &str, now: Timestamp) -> Refusal {
    let name = retention.metadata.name.as_deref().unwrap_or_default();
    let uid = retention.metadata.uid.as_deref().unwrap_or_default();
    let until = retain_until(retention);
    let over = now >= until;
    let holds: Vec<&str> = judgement.holds.iter().map(|author| author.username.as_str()).collect();
    let why = if holds.is_empty() {
        let until = super::time(until).0;
        if over { format!("its time is over since {until}") } else { format!("until {until}") }
    } else {
        format!("under the legal hold of {}", holds.join(" and "))
    };
    let refusal = Refusal::new(Code::DataHeld, format!("{what} {done}: BackupRetention {name} holds its data, {why}"));
    if !holds.is_empty() {
        return refusal
            .next("Two people who may approve end the legal hold, each with:", ready::release_hold(name, uid));
    }
    if !over && retention.spec.mode == RetentionMode::Compliance {
        return refusal
            .detail("Its mode is Compliance: nobody lets go of it before its time.")
            .next("See what it keeps with:", ready::show_retention(name));
    }
    let digest = super::retention_digest(retention).unwrap_or_default();
    let missing = judgement.missing();
    refusal.detail(format!("Let go of by {}: {missing} more needed.", judgement.released_by.len())).next(
        "People who may approve, and have looked at it, let go of it, each with:",
        ready::release_retention(name, uid, &digest),
    )
}

/// A volume in production that nobody holds, as policies see it: `claim` is the one that it names, where it is known, and
/// `scope` what its namespace says.
pub fn govern_volume(policies: &PolicySet, scope: Governance, claim: &Claim, author: &Author) -> Governance {
    let effective = match scope {
        Governance::Governed(effective) => effective,
        free @ Governance::Free(_) => return free,
    };
    if !is_data(policies, claim) {
        return Governance::Free(Proof::not_governed(NotGoverned::Exempt));
    }
    // Binders, provisioners and backup tools do their work, and what they must not touch is held.
    if classify(author, &policies.floor().identities) == ActorKind::Machine {
        return Governance::Free(Proof::not_governed(NotGoverned::Harmless));
    }
    Governance::Governed(effective)
}

/// Nothing is done to the volume, or to none that has ever held data.
pub const fn harmless() -> Proof {
    Proof::not_governed(NotGoverned::Harmless)
}

/// A volume that was never bound holds no data that anybody missed.
pub fn is_blank(volume: &VolumeFacts) -> bool {
    volume.claim.is_none()
}

/// A person would have the data of a volume in production go, past its claim.
pub fn past_its_claim(volume: &VolumeFacts, deed: Deed, effective: &Effective) -> Refusal {
    let (facts, name) = (&volume.volume, &volume.volume.name);
    let claim = volume.claim.clone().unwrap_or_default();
    let done = deed.sentence();
    let what = format!("PersistentVolume {name} {done}");
    let place = format!("{}/{}", claim.namespace, claim.name);
    if volume.bound {
        let refusal = Refusal::new(Code::VolumeInUse, format!("{what}: it is bound to claim {place} in production"));
        let Some(uid) = &claim.uid else {
            return refusal.next("See it with:", ready::show_volume(name));
        };
        let target = Target {
            api_version: "v1".to_owned(),
            kind: TargetKind::PersistentVolumeClaim,
            namespace: Some(claim.namespace.to_string()),
            name: claim.name.to_string(),
            uid: uid.to_string(),
        };
        return refusal.next(
            "Ask for the deletion of the claim instead; its data is then kept for a while:",
            ready::request(&target),
        );
    }
    let refusal = Refusal::new(
        Code::VolumeHasData,
        format!("{what}: it has the data of claim {place} in production, and nothing says that nobody needs it"),
    );
    let handle = facts.handle.as_deref();
    if facts.reclaim != Reclaim::Retain {
        return refusal.next("Keep it first with:", ready::put_on_retain(name));
    }
    let people = effective.min_approvals.max(super::judge::TWO);
    refusal.next(
        format!("Somebody who may request deletions holds it with the line below; it goes once {people} people have let go of it:"),
        ready::retain(name, &facts.uid, handle),
    )
}

/// What is said of a deed.
pub const fn sentence(deed: Option<Deed>) -> &'static str {
    match deed {
        Some(deed) => deed.sentence(),
        None => "was not created",
    }
}

/// The namespace that the data of a retention belongs to.
pub fn home(retention: &BackupRetention) -> Option<Box<str>> {
    Some(place(retention)).filter(|place| !place.is_empty()).map(Into::into)
}
