//! Who may make a retention, say something about it, take that back, and clear it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::judge::{Case, Judgement, KIND, judge, subject};
use super::{keepers, phase, place, retain_until, retention_digest};
use crate::api::{Afterwards, Author, BackupRetention, Keeper, RetentionMode, RetentionPhase, Says, SignOff};
use crate::domain::identity::same_person;
use crate::domain::inventory::Reclaim;
use crate::domain::proof::{Kind, Proof};
use crate::domain::ready;
use crate::domain::refusal::Refusal;
use crate::domain::speaking::{Speaker, authored, is_same_account, out_of_place, person, right_missing, usable};
use crate::domain::volume::{Volume, VolumeFacts};
use crate::reason::Code;

/// A sign-off is created about a retention, which was read live as all that was said about it. `case` has the rights of
/// those who spoke before.
pub fn said(
    speaker: &Speaker<'_>,
    sign_off: &SignOff,
    case: Option<&Case<'_>>,
    ring: &crate::seal::KeyRing,
    now: Timestamp,
) -> Result<Proof, Refusal> {
    let what = authored(speaker, sign_off, ring, now)?;
    let case = case.filter(|case| subject(case.retention).as_ref() == Some(&sign_off.spec.subject));
    let Some(case) = case else {
        return Err(Refusal::new(
            Code::SubjectUnknown,
            format!("{what} was not written: there is no {KIND} of that name and UID"),
        )
        .next("See the retentions with:", "kubectl get backupretentions"));
    };
    let (name, uid) = (case.retention.metadata.name.as_deref().unwrap_or_default(), &sign_off.spec.subject.uid);
    let refuse = |code, why: &str| Refusal::new(code, format!("{what} was not written: {why}"));
    if !speaker.may_approve {
        let place = place(case.retention);
        let scope = if place.is_empty() { "the cluster" } else { place };
        let why = format!("{what} was not written: {} may not sign off in {scope}", speaker.author.username);
        return Err(right_missing(why, place, "foureyes-approver", speaker.author));
    }
    if phase(case.retention) == RetentionPhase::Purged {
        return Err(
            refuse(Code::RequestEnded, "all that it kept is gone").next("See it with:", ready::show_retention(name))
        );
    }
    let judgement = judge(case, now);
    let said_by = |authors: &[Author]| authors.iter().any(|author| same_person(author, speaker.author));
    let already =
        |why: &str| refuse(Code::AlreadySaid, why).next("See who has said what with:", ready::statements(uid));
    match sign_off.spec.says {
        Says::LegalHold if said_by(&judgement.holds) => {
            Err(already(&format!("a legal hold of {} is in effect", speaker.author.username)))
        }
        Says::LegalHold => Ok(Proof(Kind::Own)),
        Says::ReleaseHold => {
            person(speaker.author, case.identities, &what)?;
            if judgement.holds.is_empty() {
                return Err(refuse(Code::HoldNotThere, "there is no legal hold on it")
                    .next("See how it stands with:", ready::show_retention(name)));
            }
            if said_by(&judgement.lifted_by) {
                return Err(already("its author has said so already, and a second person has to"));
            }
            Ok(Proof(Kind::Own))
        }
        Says::Release => {
            person(speaker.author, case.identities, &what)?;
            release(case, (sign_off, &judgement), &refuse, now)?;
            if said_by(&judgement.released_by) {
                return Err(already("its author has let go of it already, and a second person has to"));
            }
            Ok(Proof(Kind::Own))
        }
        Says::Approve | Says::Reject | Says::Hold | Says::Cancel | Says::CustomerAgreed | Says::Supervised => {
            Err(out_of_place(&what, KIND))
        }
    }
}

fn release(
    case: &Case<'_>,
    (sign_off, judgement): (&SignOff, &Judgement),
    refuse: &dyn Fn(Code, &str) -> Refusal,
    now: Timestamp,
) -> Result<(), Refusal> {
    let (name, uid) = (sign_off.spec.subject.name.as_str(), sign_off.spec.subject.uid.as_str());
    if !judgement.holds.is_empty() {
        let holds: Vec<&str> = judgement.holds.iter().map(|author| author.username.as_str()).collect();
        let why = format!("the legal hold of {} stops it", holds.join(" and "));
        return Err(refuse(Code::DataHeld, &why)
            .next("Two people who may approve end the legal hold, each with:", ready::release_hold(name, uid)));
    }
    let until = retain_until(case.retention);
    if case.retention.spec.mode == RetentionMode::Compliance && now < until {
        let why = format!("its mode is Compliance: nobody lets go of it before {}", super::time(until).0);
        return Err(refuse(Code::DataHeld, &why).next("See what it keeps with:", ready::show_retention(name)));
    }
    let current = retention_digest(case.retention)
        .map_err(|error| refuse(Code::InternalError, &format!("it has no digest: {error}")))?;
    if sign_off.spec.digest.as_deref() == Some(current.as_str()) {
        return Ok(());
    }
    Err(refuse(Code::DigestStale, "its digest is not that of what is kept; look again")
        .next("When you have looked, let go of it with:", ready::release_retention(name, uid, &current)))
}

/// A sign-off about a retention is deleted: that withdraws it. `touched` is whether any keeper is gone or going: what a
/// release was used for is not unsaid. A legal hold ends only by the word of two.
pub fn unsaid(
    author: &Author,
    is_controller: bool,
    sign_off: &SignOff,
    retention: Option<&BackupRetention>,
    touched: bool,
) -> Result<Proof, Refusal> {
    let name = sign_off.metadata.name.as_deref().unwrap_or_default();
    let refuse = |code, why: &str| {
        Refusal::new(code, format!("sign-off {name} was not deleted: {why}"))
            .next("Look at it with:", format!("kubectl get signoff {} -o yaml", ready::word(name)))
    };
    let own = sign_off.spec.author.as_ref().is_none_or(|stated| is_same_account(stated, author));
    let retention = retention.filter(|retention| subject(retention).as_ref() == Some(&sign_off.spec.subject));
    let Some(retention) = retention else {
        // What it was about is gone: it says nothing any more, and may be cleared.
        return if is_controller || own {
            Ok(Proof(Kind::Own))
        } else {
            Err(refuse(Code::StatementNotYours, "it is not yours"))
        };
    };
    if !own {
        return Err(refuse(Code::StatementNotYours, "only its author can withdraw it"));
    }
    if sign_off.spec.says == Says::LegalHold {
        let about = &sign_off.spec.subject;
        return Err(Refusal::new(
            Code::DataHeld,
            format!("sign-off {name} was not deleted: a legal hold ends by the word of two people"),
        )
        .next("Each of them says so with:", ready::release_hold(&about.name, &about.uid)));
    }
    if phase(retention) == RetentionPhase::Purged || touched {
        return Err(refuse(Code::RequestInUse, "what it allowed was done, and it stays as the evidence"));
    }
    Ok(Proof(Kind::Own))
}

/// A retention is created. The controller writes the deletion that it stands for; people hold what is there. `volumes` are
/// those that are there now, by their names; `rights` are the speaker's.
pub fn created(
    speaker: &Speaker<'_>,
    retention: &BackupRetention,
    volumes: &BTreeMap<Box<str>, VolumeFacts>,
    rights: &BTreeMap<Box<str>, bool>,
) -> Result<Proof, Refusal> {
    let name = retention.metadata.name.as_deref().or(retention.metadata.generate_name.as_deref()).unwrap_or_default();
    let refuse = |code, why: String| Refusal::new(code, format!("BackupRetention {name} was not created: {why}"));
    if speaker.is_controller {
        return Ok(Proof(Kind::Own));
    }
    usable(speaker.author)?;
    if retention.spec.source.is_some() {
        let why = "foureyes alone writes spec.source, for a deletion that it has seen done".to_owned();
        return Err(refuse(Code::IdentityForged, why)
            .next("See what each field takes with:", "kubectl explain backupretention.spec"));
    }
    if retention.spec.afterwards == Afterwards::Purge {
        let why = "spec.afterwards is agreed by two people, with the deletion that a retention stands for".to_owned();
        return Err(refuse(Code::RequestInvalid, why)
            .next("Write Keep. See what each field takes with:", "kubectl explain backupretention.spec"));
    }
    if is_reserved(name) {
        let why = "names that end so are those of retentions that foureyes makes".to_owned();
        return Err(refuse(Code::RequestInvalid, why)
            .next("Choose another name. See those that are there with:", "kubectl get backupretentions"));
    }
    for place in places(retention, volumes) {
        if rights.get(&*place).copied() != Some(true) {
            let scope = if place.is_empty() { "the cluster" } else { &place };
            let why = format!(
                "BackupRetention {name} was not created: {} may not request in {scope}",
                speaker.author.username
            );
            return Err(right_missing(why, &place, "foureyes-requester", speaker.author));
        }
    }
    for keeper in &retention.spec.keepers {
        keeps(keeper, volumes.get(keeper.name.as_str()), &refuse)?;
    }
    Ok(Proof(Kind::Own))
}

/// The end of every name that the controller falls back to, a UID or a hash: whoever took all of them would leave what is
/// kept without anything that holds it.
fn is_reserved(name: &str) -> bool {
    let hex = |end: &str| end.len() == 12 && end.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.rsplit_once('-').is_some_and(|(_, end)| hex(end))
}

/// The namespaces in which somebody must hold the right to ask for a retention of these keepers; the empty one stands for
/// the whole cluster, where a volume belongs to none or is not there.
pub fn places(retention: &BackupRetention, volumes: &BTreeMap<Box<str>, VolumeFacts>) -> BTreeSet<Box<str>> {
    let of = |keeper: &Keeper| {
        let claim = volumes.get(keeper.name.as_str()).and_then(|volume| volume.claim.as_ref());
        claim.map_or_else(Box::default, |claim| claim.namespace.clone())
    };
    retention.spec.keepers.iter().map(of).collect()
}

fn keeps(
    keeper: &Keeper,
    volume: Option<&VolumeFacts>,
    refuse: &dyn Fn(Code, String) -> Refusal,
) -> Result<(), Refusal> {
    let is_it = |volume: &&Volume| keeper.kind == keepers::VOLUME && *volume.uid == *keeper.uid;
    let Some(volume) = volume.map(|facts| &facts.volume).filter(is_it) else {
        let why =
            format!("there is no {} {} of that UID, and nothing else is held by hand", keepers::VOLUME, keeper.name);
        return Err(refuse(Code::SubjectUnknown, why).next(
            "See what is there with:",
            "kubectl get pv -o custom-columns=NAME:.metadata.name,UID:.metadata.uid",
        ));
    };
    if volume.reclaim != Reclaim::Retain {
        let why =
            format!("{} {} is not on Retain, so that its data would go with its claim", keepers::VOLUME, keeper.name);
        return Err(refuse(Code::RequestInvalid, why).next("Keep it first with:", ready::put_on_retain(&keeper.name)));
    }
    if keeper.handle.as_deref() != volume.handle.as_deref() {
        let is = volume.handle.as_deref().unwrap_or("none");
        let why = format!("the handle of {} {} is {is}", keepers::VOLUME, keeper.name);
        return Err(refuse(Code::RequestInvalid, why)
            .next("Hold it with:", ready::retain(&volume.name, &volume.uid, volume.handle.as_deref())));
    }
    Ok(())
}

/// A retention is deleted: once all that it kept is gone.
pub fn deleted(speaker: &Speaker<'_>, retention: &BackupRetention) -> Result<Proof, Refusal> {
    let (name, uid) =
        (retention.metadata.name.as_deref().unwrap_or_default(), retention.metadata.uid.as_deref().unwrap_or_default());
    let refuse = |code, why: String| Refusal::new(code, format!("BackupRetention {name} was not deleted: {why}"));
    let is = phase(retention);
    if is != RetentionPhase::Purged {
        let why = format!("it is {}, and goes once all that it keeps is gone", is.as_str());
        let refusal = refuse(Code::DataHeld, why);
        let status = retention.status.as_ref();
        return Err(match status.and_then(|status| status.release_command.clone()) {
            Some(command) => refusal.next("Two people who may approve let go of what it keeps, each with:", command),
            None if status.is_some_and(|status| !status.legal_holds.is_empty()) => refusal
                .next("Two people who may approve end the legal hold, each with:", ready::release_hold(name, uid)),
            None => refusal.next("See what it keeps with:", ready::show_retention(name)),
        });
    }
    if speaker.may_request || speaker.may_approve {
        return Ok(Proof(Kind::Own));
    }
    let place = place(retention);
    let scope = if place.is_empty() { "the cluster" } else { place };
    let why = format!(
        "BackupRetention {name} was not deleted: {} may not clear retentions of {scope}",
        speaker.author.username
    );
    Err(right_missing(why, place, "foureyes-requester", speaker.author))
}
