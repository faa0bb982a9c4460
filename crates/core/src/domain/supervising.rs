//! Who may say that a deletion went as it should, and who is refused because nobody has said it of theirs.

use jiff::Timestamp;

use crate::api::{
    Author, Deleted, DeletionRequest, DeletionRequestStatus, Identities, Phase, Says, SignOff, SignOffSpec,
};
use crate::domain::identity::{ActorKind, classify, same_person};
use crate::domain::judgement::ANNOTATION;
use crate::domain::proof::{Kind, Proof};
use crate::domain::ready;
use crate::domain::refusal::Refusal;
use crate::domain::request::{Request as _, Stage};
use crate::domain::speaking::{Speaker, authored, is_same_account, person, right_missing, unknown_subject};
use crate::domain::statement::{prove_requester, prove_sign_off};
use crate::domain::supervision::name_of;
use crate::reason::Code;
use crate::seal::KeyRing;

/// Why somebody is not the one to supervise a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    Machine,
    Shared,
    Requester,
    NoRight,
}

impl Unfit {
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Machine => "its author is a machine",
            Self::Shared => "its author is a shared account",
            Self::Requester => "its author is the requester",
            Self::NoRight => "its author may not supervise here",
        }
    }
}

/// Why `author` is not the one, if so. `held` is whether the right to it is.
pub fn unfit(author: &Author, requester: Option<&Author>, identities: &Identities, held: bool) -> Option<Unfit> {
    match classify(author, identities) {
        ActorKind::Machine => return Some(Unfit::Machine),
        ActorKind::Shared => return Some(Unfit::Shared),
        ActorKind::Person => {}
    }
    if requester.is_some_and(|requester| same_person(requester, author)) {
        return Some(Unfit::Requester);
    }
    (!held).then_some(Unfit::NoRight)
}

/// It says in words what was checked.
pub fn checked(spec: &SignOffSpec) -> bool {
    spec.verified.as_deref().is_some_and(|words| !words.trim().is_empty())
}

/// Whether this account's approval is on record as one that counted: where the right was granted in a namespace that is
/// gone, who looked at it before may look at it after.
pub fn approved_it(status: &DeletionRequestStatus, said: &[SignOff], ring: &KeyRing, author: &Author) -> bool {
    let entries = status.sign_offs.iter().flat_map(|sign_offs| &sign_offs.entries);
    let mut approvals = entries.filter(|entry| entry.counts && entry.says == Says::Approve.as_str());
    approvals.any(|entry| {
        if entry.name == ANNOTATION {
            // It went with its object; of its author the name is left.
            return entry.author == author.username;
        }
        let made = said.iter().filter(|made| made.metadata.name.as_deref() == Some(&entry.name));
        let mut proven = made.filter_map(|made| prove_sign_off(ring, made).ok());
        proven.any(|(by, _)| is_same_account(by, author))
    })
}

/// Where the right to supervise is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub right: bool,
    /// The namespace that it is granted in is gone.
    pub place_gone: bool,
}

/// What somebody says after a deletion, and what was read live about it.
#[derive(Clone, Copy)]
pub struct Word<'a> {
    pub sign_off: &'a SignOff,
    pub request: Option<&'a DeletionRequest>,
    /// Every statement about the request.
    pub said: &'a [SignOff],
    pub held: Held,
}

/// Supervised is said about a request.
pub fn supervised(
    speaker: &Speaker<'_>,
    word: Word<'_>,
    identities: &Identities,
    ring: &KeyRing,
    now: Timestamp,
) -> Result<Proof, Refusal> {
    let Word { sign_off, said, held, .. } = word;
    let spec = &sign_off.spec;
    let what = authored(speaker, sign_off, ring, now)?;
    let request = word.request.filter(|request| request.subject().as_ref() == Some(&spec.subject));
    let request = request.ok_or_else(|| unknown_subject::<DeletionRequest>(&spec.subject, &what))?;
    let refuse = |code, why: &str| {
        Refusal::new(code, format!("{what} was not written: {why}"))
            .next("See how it stands with:", ready::show(request.name()))
    };
    let status = request.status.clone().unwrap_or_default();
    match request.stage() {
        Stage::Done => {}
        Stage::Ended { .. } => return Err(refuse(Code::RequestEnded, &format!("the request is {}", request.phase()))),
        Stage::Open | Stage::InUse => {
            return Err(refuse(Code::NotExecuted, &format!("the request is {}", request.phase())));
        }
    }
    person(speaker.author, identities, &what)?;
    let right = held.right || held.place_gone && approved_it(&status, said, ring, speaker.author);
    match unfit(speaker.author, prove_requester(ring, request).ok(), identities, right) {
        None => {}
        Some(Unfit::Requester) => {
            let why = format!("{} asked for this deletion and can't supervise it too", speaker.author.username);
            return Err(refuse(Code::SelfSupervision, &why));
        }
        Some(Unfit::NoRight) => return Err(no_right(speaker.author, request, held, &what)),
        Some(Unfit::Machine | Unfit::Shared) => return Err(refuse(Code::NotAPerson, "only a person supervises")),
    }
    if !checked(spec) {
        return Err(refuse(Code::RequestInvalid, "spec.verified does not say what was checked"));
    }
    as_signed_off(status.deleted.as_ref()).map_err(|(code, why)| refuse(code, &why))?;
    Ok(Proof(Kind::Own))
}

fn no_right(author: &Author, request: &DeletionRequest, held: Held, what: &str) -> Refusal {
    let namespace = request.place();
    if held.place_gone {
        let why = format!(
            "{what} was not written: namespace {namespace} is gone, and {} neither approved this deletion nor may supervise everywhere",
            author.username
        );
        return Refusal::new(Code::RightMissing, why).next(
            "Somebody who may bind roles can change that with:",
            ready::bind_everywhere("foureyes-approver", &author.username),
        );
    }
    let why = format!("{what} was not written: {} may not supervise in {namespace}", author.username);
    right_missing(why, namespace, "foureyes-approver", author)
}

/// Nobody is taken at their word for what is plainly not so. What went without sign-off does not come back by waiting:
/// two people look at that, instead of one.
fn as_signed_off(deleted: Option<&Deleted>) -> Result<(), (Code, String)> {
    let Some(deleted) = deleted.filter(|deleted| deleted.checked_at.is_some()) else {
        return Err((Code::NotExecuted, "what went has not been compared with what was signed off yet".to_owned()));
    };
    let Some(first) = deleted.remaining.first() else { return Ok(()) };
    let more = deleted.remaining.len() - 1;
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err((Code::StillThere, format!("{}{more} should be gone, and is still there", name_of(first))))
}

/// Whether nobody has supervised this deletion in time.
fn is_owed(request: &DeletionRequest, now: Timestamp) -> bool {
    let status = request.status.as_ref().filter(|status| status.phase == Some(Phase::Executed));
    status.and_then(|status| status.supervise_by.as_ref()).is_some_and(|by| now > by.0)
}

/// Whoever asked for a deletion that nobody supervised in time asks for no other one, where the policy says so. `overdue`
/// were read live.
pub fn owes_nothing(
    author: &Author,
    what: &str,
    overdue: &[DeletionRequest],
    ring: &KeyRing,
    now: Timestamp,
) -> Result<(), Refusal> {
    let own = |request: &&DeletionRequest| prove_requester(ring, *request).is_ok_and(|by| same_person(by, author));
    let Some(request) = overdue.iter().filter(|request| is_owed(request, now)).find(own) else { return Ok(()) };
    let (name, target) = (request.name(), request.spec.target.text());
    let by = request.status.as_ref().and_then(|status| status.supervise_by.as_ref());
    let since = by.map(|by| format!(" since {}", by.0)).unwrap_or_default();
    let sentence = format!(
        "{what} was not created: nobody has supervised the deletion of {target} (DeletionRequest {name}), which {} asked for; that is overdue{since}",
        author.username
    );
    Err(Refusal::new(Code::SupervisionOwed, sentence)
        .next("Somebody else, who may supervise, can look at it with:", ready::show(name)))
}
