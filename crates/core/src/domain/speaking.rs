//! Who may ask, sign off, withdraw and annotate. Judges the final object as if stamp did not exist: forged, missing
//! or moved identity is refused, whatever spelling carried it (design §4, bypasses 26–28).

use jiff::{SignedDuration, Timestamp};

use crate::api::{Author, DeletionRequest, Identities, Says, SignOff, Subject, Target};
use crate::domain::identity::{ActorKind, classify, is_usable, same_person};
use crate::domain::judgement::ANNOTATION;
use crate::domain::lifecycle::TargetState;
use crate::domain::proof::{Kind, Proof};
use crate::domain::ready;
use crate::domain::refusal::Refusal;
use crate::domain::request::{Request, RequestSpec as _, Stage};
use crate::domain::statement::{
    ApprovalRecord, prove_requester, prove_requester_content, prove_sign_off, prove_sign_off_content,
};
use crate::reason::Code;
use crate::seal::{KeyRing, SEAL_SKEW};

/// Open requests one author may have (design §2).
pub const MAX_OPEN_REQUESTS: usize = 100;
/// Sign-offs about open requests one author may have.
pub const MAX_OPEN_SIGN_OFFS: usize = 50;

/// Who speaks, and what is known about them.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each asked for by name")]
pub struct Speaker<'a> {
    pub author: &'a Author,
    pub dry_run: bool,
    pub may_request: bool,
    pub may_approve: bool,
    /// Open requests or sign-offs of this author, whichever is asked about.
    pub open: usize,
    /// The controller of this installation.
    pub is_controller: bool,
}

/// The caller can be told from others.
pub fn usable(author: &Author) -> Result<(), Refusal> {
    if is_usable(&author.username) {
        return Ok(());
    }
    Err(Refusal::new(Code::IdentityUnusable, "nothing was written: the caller's identity is empty or ambiguous"))
}

pub(super) fn written_now(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at).abs() <= SEAL_SKEW + SignedDuration::from_secs(1)
}

pub(super) fn forged(what: &str) -> Refusal {
    Refusal::new(
        Code::IdentityForged,
        format!("{what} was not written: foureyes itself writes who said it and when, and what is given differs from who you are"),
    )
    .next("See who you are with:", "kubectl auth whoami")
}

/// A request is created.
pub fn request_created(
    speaker: &Speaker<'_>,
    request: &DeletionRequest,
    target_uid: Option<&str>,
    ring: &KeyRing,
    now: Timestamp,
) -> Result<Proof, Refusal> {
    let target = &request.spec.target;
    let what = format!("the request to delete {}", target.text());
    asked_by(speaker, request, &what, ring, now)?;
    if !speaker.may_request {
        let namespace = target.rights_namespace();
        let why =
            format!("{what} was not created: {} may not request deletions in {namespace}", speaker.author.username);
        return Err(right_missing(why, namespace, "foureyes-requester", speaker.author));
    }
    if target_uid != Some(target.uid.as_str()) {
        let is = target_uid.map_or_else(|| "does not exist".to_owned(), |uid| format!("has the UID {uid}"));
        return Err(Refusal::new(Code::SubjectUnknown, format!("{what} was not created: {} {is}", target.text()))
            .next("See its UID with:", ready::see_uid(target)));
    }
    not_too_many::<DeletionRequest>(speaker, &what)?;
    Ok(Proof(Kind::Own))
}

/// The author lacks what a role would give them.
pub(super) fn right_missing(why: String, namespace: &str, role: &str, author: &Author) -> Refusal {
    Refusal::new(Code::RightMissing, why)
        .next("Somebody who may bind roles can change that with:", ready::bind(namespace, role, &author.username))
}

/// A request says of its requester what stamp wrote, and that is who is asking now.
pub(super) fn asked_by<R: Request>(
    speaker: &Speaker<'_>,
    request: &R,
    what: &str,
    ring: &KeyRing,
    now: Timestamp,
) -> Result<(), Refusal> {
    usable(speaker.author)?;
    let requester = request.spec().requester().ok_or_else(|| forged(what))?;
    let sealed =
        if speaker.dry_run { requester.seal.is_none() } else { prove_requester_content(ring, request).is_ok() };
    if requester.author != *speaker.author || !written_now(requester.at.0, now) || !sealed {
        return Err(forged(what));
    }
    Ok(())
}

pub(super) fn not_too_many<R: Request>(speaker: &Speaker<'_>, what: &str) -> Result<(), Refusal> {
    if speaker.open >= MAX_OPEN_REQUESTS && !speaker.is_controller {
        return Err(Refusal::new(
            Code::TooManyOpen,
            format!("{what} was not created: {} has {} open requests already", speaker.author.username, speaker.open),
        )
        .next("See them with:", R::show_all()));
    }
    Ok(())
}

/// A sign-off says of its author what stamp wrote, and that is who is speaking now; what it says of what, for refusals.
pub(super) fn authored(
    speaker: &Speaker<'_>,
    sign_off: &SignOff,
    ring: &KeyRing,
    now: Timestamp,
) -> Result<String, Refusal> {
    usable(speaker.author)?;
    let spec = &sign_off.spec;
    let what = format!("{} on {}", spec.says.as_str(), spec.subject.name);
    let (Some(author), Some(at)) = (&spec.author, &spec.at) else { return Err(forged(&what)) };
    let sealed = if speaker.dry_run { spec.seal.is_none() } else { prove_sign_off_content(ring, sign_off).is_ok() };
    if author != speaker.author || !written_now(at.0, now) || !sealed {
        return Err(forged(&what));
    }
    Ok(what)
}

/// What is said of a retention is said of no request, and the other way round.
pub(super) fn out_of_place(what: &str, kind: &str) -> Refusal {
    Refusal::new(Code::RequestInvalid, format!("{what} was not written: that is not said about a {kind}"))
        .next("See what can be said with:", "kubectl explain signoff.spec.says")
}

/// A sign-off is created about `subject`, which was read live.
pub fn sign_off_created<R: Request>(
    speaker: &Speaker<'_>,
    sign_off: &SignOff,
    subject: Option<&R>,
    identities: &Identities,
    ring: &KeyRing,
    now: Timestamp,
) -> Result<Proof, Refusal> {
    let what = authored(speaker, sign_off, ring, now)?;
    let spec = &sign_off.spec;
    let Some(request) = subject.filter(|request| request.subject().as_ref() == Some(&spec.subject)) else {
        return Err(unknown_subject::<R>(&spec.subject, &what));
    };
    let over = match request.stage() {
        Stage::Open => None,
        Stage::InUse => Some(Code::RequestInUse),
        Stage::Done | Stage::Ended { .. } => Some(Code::RequestEnded),
    };
    if let Some(code) = over {
        return Err(Refusal::new(code, format!("{what} was not written: the request is {}", request.phase()))
            .next("See how it stands with:", request.show()));
    }
    if speaker.open >= MAX_OPEN_SIGN_OFFS {
        return Err(Refusal::new(
            Code::TooManyOpen,
            format!(
                "{what} was not written: {} has {} sign-offs on open requests",
                speaker.author.username, speaker.open
            ),
        )
        .next("See them with:", "kubectl get signoffs"));
    }
    // A requester that no seal proves asked for nothing: what is written there keeps nobody from signing off.
    let requester = prove_requester(ring, request).ok();
    said(speaker, sign_off, (request, requester), identities, &what)
}

/// What a sign-off is about does not exist.
pub(super) fn unknown_subject<R: Request>(subject: &Subject, what: &str) -> Refusal {
    let sentence = format!("{what} was not written: there is no {} of that name and UID", subject.kind);
    Refusal::new(Code::SubjectUnknown, sentence).next("See the requests with:", R::show_all())
}

/// A sign-off is created although its target is being deleted already: the phase may say so only a moment later.
pub fn said_while_going(sign_off: &SignOff) -> Refusal {
    let name = &sign_off.spec.subject.name;
    let sentence = format!("{} on {name} was not written: the deletion has begun", sign_off.spec.says.as_str());
    Refusal::new(Code::RequestInUse, sentence).next("See how it stands with:", ready::show(name))
}

/// An approval counts once for each person: a second one would not count, and withdrawing it would withdraw nothing. So
/// does what is said after a deletion.
/// `said` are the statements about its subject, read live; `sign_off` names the current content.
pub fn not_said_before(sign_off: &SignOff, said: &[SignOff], ring: &KeyRing) -> Result<(), Refusal> {
    let spec = &sign_off.spec;
    let once = matches!(spec.says, Says::Approve | Says::Supervised);
    let Some(author) = spec.author.as_ref().filter(|_| once) else { return Ok(()) };
    let counts = |other: &&SignOff| {
        other.spec.says == spec.says
            && other.spec.subject == spec.subject
            && other.spec.digest == spec.digest
            && other.metadata.deletion_timestamp.is_none()
    };
    let by_them = |other: &SignOff| {
        let (by, _) = prove_sign_off(ring, other).ok()?;
        same_person(by, author).then(|| (by.username.clone(), other.metadata.name.clone().unwrap_or_default()))
    };
    let Some((by, name)) = said.iter().filter(counts).find_map(by_them) else { return Ok(()) };
    let done = if spec.says == Says::Approve { "approved" } else { "supervised" };
    let sentence = format!(
        "{} on {} was not written: {by} has {done} it already by sign-off {name}",
        spec.says.as_str(),
        spec.subject.name
    );
    Err(Refusal::new(Code::AlreadySaid, sentence)
        .next("Its author can withdraw that one with:", ready::withdraw(&name)))
}

fn said<R: Request>(
    speaker: &Speaker<'_>,
    sign_off: &SignOff,
    (request, requester): (&R, Option<&Author>),
    identities: &Identities,
    what: &str,
) -> Result<Proof, Refusal> {
    let namespace = request.place();
    let own = requester.is_some_and(|requester| same_person(requester, speaker.author));
    let held = match sign_off.spec.says {
        Says::Approve | Says::Reject => speaker.may_approve,
        Says::Hold | Says::CustomerAgreed => speaker.may_approve || speaker.may_request,
        Says::Cancel => true,
        Says::Release | Says::LegalHold | Says::ReleaseHold => return Err(out_of_place(what, R::KIND)),
        // Said after a deletion alone, and judged by itself.
        Says::Supervised => false,
    };
    if sign_off.spec.says == Says::Cancel && !own {
        return Err(Refusal::new(
            Code::StatementNotYours,
            format!("{what} was not written: only its requester cancels a request"),
        )
        .next("See whose request it is with:", request.show()));
    }
    let names_its_content = matches!(sign_off.spec.says, Says::Approve | Says::CustomerAgreed);
    if names_its_content {
        person(speaker.author, identities, what)?;
        if own && sign_off.spec.says == Says::Approve {
            return Err(Refusal::new(
                Code::SelfApproval,
                format!("{what} was not written: {} asked for it and can't sign it off too", speaker.author.username),
            )
            .next("A second person can look at it with:", request.show()));
        }
    }
    if !held {
        let why = format!("{what} was not written: {} may not sign off in {namespace}", speaker.author.username);
        return Err(right_missing(why, namespace, "foureyes-approver", speaker.author));
    }
    let current = request.current_digest();
    if names_its_content && (current.is_none() || sign_off.spec.digest.as_deref() != current) {
        let refusal = Refusal::new(
            Code::DigestStale,
            format!("{what} was not written: its digest is not that of the current content; look again"),
        );
        return Err(match current.filter(|_| sign_off.spec.says == Says::Approve) {
            Some(digest) => refusal.next("When you have looked, sign off with:", request.sign_off(digest)),
            None if current.is_some() => refusal.next("See what it is now with:", request.show()),
            None => refusal.next("Its content is not known yet; see it with:", request.show()),
        });
    }
    Ok(Proof(Kind::Own))
}

pub(super) fn person(author: &Author, identities: &Identities, what: &str) -> Result<(), Refusal> {
    let is = match classify(author, identities) {
        ActorKind::Person => return Ok(()),
        ActorKind::Machine => "a machine",
        ActorKind::Shared => "a shared account",
    };
    Err(Refusal::new(Code::NotAPerson, format!("{what} was not written: {} is {is}", author.username))
        .next("See who you are with:", "kubectl auth whoami"))
}

/// A sign-off is deleted: that withdraws it. The controller clears those whose subject is gone.
pub fn sign_off_deleted<R: Request>(
    author: &Author,
    is_controller: bool,
    sign_off: &SignOff,
    subject: Option<&R>,
    target_going: bool,
) -> Result<Proof, Refusal> {
    let name = sign_off.metadata.name.as_deref().unwrap_or_default();
    let refuse = |code, why: &str| {
        Refusal::new(code, format!("sign-off {name} was not deleted: {why}"))
            .next("Look at it with:", format!("kubectl get signoff {name} -o yaml"))
    };
    let subject = subject.filter(|request| request.uid() == sign_off.spec.subject.uid);
    let Some(request) = subject else {
        // Its subject is gone: it says nothing any more, and may be cleared.
        let own = sign_off.spec.author.as_ref().is_none_or(|stated| is_same_account(stated, author));
        return if is_controller || own {
            Ok(Proof(Kind::Own))
        } else {
            Err(refuse(Code::StatementNotYours, "it is not yours"))
        };
    };
    let Some(stated) = &sign_off.spec.author else { return Ok(Proof(Kind::Own)) };
    if !is_same_account(stated, author) {
        return Err(refuse(Code::StatementNotYours, &format!("only {} can withdraw it", stated.username)));
    }
    let stage = request.stage();
    if stage == Stage::InUse || target_going && stage == Stage::Open {
        return Err(refuse(Code::RequestInUse, "the deletion it speaks about has begun"));
    }
    let ended_by_it = match (sign_off.spec.says, stage) {
        (Says::Reject, Stage::Ended { rejected, .. }) => rejected,
        (Says::Cancel, Stage::Ended { cancelled, .. }) => cancelled,
        _ => false,
    };
    if ended_by_it {
        return Err(refuse(Code::RequestEnded, "the request has ended by it, and it stays as the reason why"));
    }
    let allows = matches!(sign_off.spec.says, Says::Approve | Says::CustomerAgreed);
    if allows && matches!(stage, Stage::Done | Stage::Ended { used: true, .. }) {
        return Err(refuse(Code::RequestEnded, "what it allowed was done, and it stays as the evidence"));
    }
    if sign_off.spec.says == Says::Supervised && matches!(stage, Stage::Ended { .. }) {
        return Err(refuse(Code::RequestEnded, "it closed the request, and it stays as the evidence"));
    }
    Ok(Proof(Kind::Own))
}

/// Where a match lets somebody do more, only the very same account matches; aliases serve to refuse.
pub(super) fn is_same_account(one: &Author, other: &Author) -> bool {
    one.username == other.username && one.uid == other.uid
}

/// A request is deleted.
pub fn request_deleted<R: Request>(
    speaker: &Speaker<'_>,
    request: &R,
    target: TargetState,
    now: Timestamp,
) -> Result<Proof, Refusal> {
    let refuse = |code, why: String| {
        Refusal::new(code, format!("{} {} was not deleted: {why}", R::KIND, request.name()))
            .next("See how it stands with:", request.show())
    };
    if let Some(why) = request.kept(target, now) {
        return Err(refuse(Code::RequestInUse, why));
    }
    if matches!(request.stage(), Stage::Ended { .. }) {
        return if speaker.may_request || speaker.may_approve {
            Ok(Proof(Kind::Own))
        } else {
            let namespace = request.place();
            Err(refuse(
                Code::RightMissing,
                format!("{} may not clear requests of {namespace}", speaker.author.username),
            ))
        };
    }
    let requester = request.spec().requester().map(|requester| &requester.author);
    if requester.is_none_or(|requester| is_same_account(requester, speaker.author)) {
        return Ok(Proof(Kind::Own));
    }
    Err(refuse(Code::StatementNotYours, "only its requester can; others say Reject or Hold".to_owned()))
}

/// The approval annotation, before and after.
pub struct Annotation<'a> {
    pub value: Option<&'a str>,
    pub record: Option<&'a str>,
}

/// The approval annotation is written or taken away while its object is being deleted: what the deletion rests on is
/// not unsaid any more, and a namespace without it would never end.
pub fn annotated_while_going(target: &Target) -> Refusal {
    let sentence = format!("the approval on {} was not changed: its deletion has begun", target.text());
    Refusal::new(Code::RequestInUse, sentence).next("See what it rests on with:", "kubectl get deletionrequests")
}

/// The approval annotation is written. Taking it away is free: that withdraws it.
pub fn annotated(
    speaker: &Speaker<'_>,
    target: &Target,
    after: &Annotation<'_>,
    current_digest: &str,
    identities: &Identities,
    ring: &KeyRing,
    now: Timestamp,
) -> Result<Proof, Refusal> {
    let what = format!("the approval on {}", target.text());
    if after.value.is_some_and(|value| !names_digest(value)) {
        may_annotate(speaker, target, identities, &what)?;
        let short = crate::digest::short(current_digest);
        let sentence = format!("{what} was not written: it names no digest: write me@{short}");
        return Err(Refusal::new(Code::DigestStale, sentence)
            .next("When you have looked, approve with:", ready::annotate(target, short)));
    }
    let (Some(value), Some(text)) = (after.value, after.record) else {
        return if after.record.is_none() && after.value.is_none() {
            Ok(Proof(Kind::Own))
        } else {
            Err(forged("the approval"))
        };
    };
    usable(speaker.author)?;
    let record = ApprovalRecord::read(text).map_err(|_| forged(&what))?;
    let sealed = if speaker.dry_run {
        record.seal.is_none() && record.uid == target.uid
    } else {
        ApprovalRecord::prove(ring, text, &target.uid).is_ok()
    };
    let stated = format!("{}@{}", record.author.username, record.digest);
    if record.author != *speaker.author || !written_now(record.at.0, now) || !sealed || value != stated {
        return Err(forged(&what));
    }
    may_annotate(speaker, target, identities, &what)?;
    let short = crate::digest::short(current_digest);
    if record.digest != short || short.is_empty() {
        return Err(Refusal::new(
            Code::DigestStale,
            format!(
                "{what} was not written: {} is not the digest of what would be lost now; look again",
                record.digest
            ),
        )
        .next("When you have looked, approve with:", ready::annotate(target, short)));
    }
    Ok(Proof(Kind::Own))
}

/// An approval by annotation takes the place of the one before, which must not be lost silently: `before` is the record
/// as it was. Its author may write anew, and so may anybody once it is about other content.
pub fn annotated_over(
    author: &Author,
    target: &Target,
    before: Option<&str>,
    current_digest: &str,
    ring: &KeyRing,
) -> Result<(), Refusal> {
    let proven = before.and_then(|text| ApprovalRecord::prove(ring, text, &target.uid).ok());
    let current = |record: &ApprovalRecord| record.digest == crate::digest::short(current_digest);
    let Some(by) = proven.filter(current).map(|record| record.author) else { return Ok(()) };
    if same_person(&by, author) {
        return Ok(());
    }
    let sentence = format!(
        "the approval on {} was not written: {} has approved by annotation already, and there is room for one; a second person signs off the request",
        target.text(),
        by.username
    );
    let ended = "If that request has ended, remove the annotation first: that withdraws the approval it stands for.";
    Err(Refusal::new(Code::AlreadySaid, sentence).detail(ended).next(
        "The request, with the line that signs it off in its status, is found with:",
        ready::requests(&target.uid),
    ))
}

/// The line that signs a request off in which an approval by annotation counts already.
pub fn sign_off_beside(request: &DeletionRequest) -> Option<String> {
    let status = request.status.as_ref()?;
    let mut entries = status.sign_offs.iter().flat_map(|sign_offs| &sign_offs.entries);
    let counts = entries.any(|entry| entry.name == ANNOTATION && entry.counts);
    let (name, uid) = (request.metadata.name.as_deref()?, request.metadata.uid.as_deref()?);
    Some(ready::sign_off(name, uid, status.subject_digest.as_deref()?)).filter(|_| counts)
}

/// Whether an annotation's value names a digest at all, right or wrong: `WHO@DIGEST`.
fn names_digest(value: &str) -> bool {
    let digest = value.rsplit_once('@').map_or("", |(_, digest)| digest);
    !digest.is_empty() && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn may_annotate(speaker: &Speaker<'_>, target: &Target, identities: &Identities, what: &str) -> Result<(), Refusal> {
    usable(speaker.author)?;
    person(speaker.author, identities, what)?;
    if !speaker.may_approve {
        let namespace = target.rights_namespace();
        let why = format!("{what} was not written: {} may not sign off in {namespace}", speaker.author.username);
        return Err(right_missing(why, namespace, "foureyes-approver", speaker.author));
    }
    Ok(())
}
