//! The rule of two people (design §2): which statements count, how many are missing, and who may execute.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{Author, Identities, RetentionWish, Says, SeenAnnotation, SignOff, SignOffEntry, Subject};
use crate::digest::short;
use crate::domain::agreement::is_shorter;
use crate::domain::identity::{ActorKind, Aliases, classify, is_usable, same_person};
use crate::domain::policy::Effective;
use crate::domain::statement::{ApprovalRecord, prove_sign_off, stated};
use crate::seal::KeyRing;

/// Stands for the name of a sign-off where somebody approved by annotation.
pub const ANNOTATION: &str = "annotation";

/// A right on the subresource `signoff` of requests or retentions in the target's namespace. Expedite is for changes
/// alone: nothing that is deleted is in such a hurry. Supervise is for deletions alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    Request,
    Approve,
    Expedite,
    Supervise,
}

impl Right {
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Approve => "approve",
            Self::Expedite => "expedite",
            Self::Supervise => "supervise",
        }
    }
}

/// Answers of SubjectAccessReviews, asked beforehand; what was not asked is not held.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    held: BTreeMap<(String, Right), bool>,
    latched: bool,
}

impl Rights {
    /// Rights were judged when the root was deleted; the cascade takes role bindings away with everything else.
    pub fn latched() -> Self {
        Self { latched: true, ..Self::default() }
    }

    pub fn record(&mut self, author: &Author, right: Right, held: bool) {
        self.held.insert((key(author), right), held);
    }

    pub fn holds(&self, author: &Author, right: Right) -> bool {
        self.latched || self.held.get(&(key(author), right)).copied().unwrap_or(false)
    }
}

/// Rights are judged on all that was recorded, so answers are kept by all of it.
fn key(author: &Author) -> String {
    format!("{author:?}")
}

/// How many approvals are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Asked by a person.
    pub by_person: u32,
    /// Asked by nobody, a machine or a shared account.
    pub by_none: u32,
    /// The number that also suffices then if another person executes.
    pub with_another_executor: Option<u32>,
    /// Somebody has to say that the customer agreed.
    pub agreement: bool,
}

/// What nothing can keep is lost for good: that takes two, whatever the policy says.
const FOR_AN_EXCEPTION: u32 = 2;

impl Quorum {
    /// For a deletion (design §2, b).
    pub fn of_deletion(effective: &Effective, wish: Option<&RetentionWish>) -> Self {
        let least = if wish.is_some_and(|wish| wish.exception) { FOR_AN_EXCEPTION } else { 0 };
        Self {
            by_person: effective.min_approvals.max(least),
            by_none: effective.without_a_person().max(least),
            with_another_executor: Some(effective.min_approvals.max(least)),
            agreement: wish.is_some_and(|wish| is_shorter(wish, effective)),
        }
    }

    /// Nobody's word is needed.
    pub const fn nobody() -> Self {
        Self { by_person: 0, by_none: 0, with_another_executor: None, agreement: false }
    }
}

/// An approval by annotation.
#[derive(Clone, Copy)]
pub struct Annotated<'a> {
    pub record: &'a ApprovalRecord,
    /// Digest of the inventory that it must name.
    pub inventory: &'a str,
    /// What the request has seen of it before.
    pub seen: Option<&'a SeenAnnotation>,
}

/// What the rule is applied to.
pub struct Case<'a> {
    /// What a sign-off about the request names.
    pub subject: Option<Subject>,
    /// When the request was created, if it is known.
    pub created: Option<Timestamp>,
    /// The requester, if the seal proves one.
    pub requester: Option<&'a Author>,
    /// What a sign-off must name now.
    pub digest: &'a str,
    pub sign_offs: &'a [SignOff],
    /// The approval by annotation on the target itself, if its seal holds.
    pub record: Option<Annotated<'a>>,
    pub ring: &'a KeyRing,
    pub identities: &'a Identities,
    pub quorum: Quorum,
    pub rights: &'a Rights,
    /// Approvals made later do not count.
    pub approval_deadline: Timestamp,
    /// Statements made later are ignored: set to the root's deletionTimestamp in a cascade.
    pub as_of: Option<Timestamp>,
}

/// How the statements add up.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub required: u32,
    /// Distinct people whose approval counts, in the order of their approvals.
    pub counted: Vec<Author>,
    pub executor: Executor,
    /// What is said of the customer.
    pub agreement: Agreement,
    /// When the approval that sufficed was made, or the request where none is needed.
    pub sufficed_at: Option<Timestamp>,
    pub held_by: Vec<String>,
    pub rejected_by: Option<String>,
    pub cancelled_by: Option<String>,
    pub entries: Vec<SignOffEntry>,
}

/// Whether the customer agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    NotNeeded,
    Missing,
    /// Somebody who may has said so.
    Given,
}

/// Who may execute.
#[derive(Clone, Debug, PartialEq)]
pub enum Executor {
    /// Nobody yet: approvals are missing.
    Nobody,
    /// A person who is none of the counted authors.
    AnotherPerson,
    Anybody,
}

impl Judgement {
    /// Whether somebody may execute.
    pub fn suffices(&self) -> bool {
        self.executor != Executor::Nobody && self.agreement != Agreement::Missing
    }

    /// Whether this executor may, given that approvals suffice.
    pub fn may_execute(&self, executor: &Author, identities: &Identities) -> bool {
        match self.executor {
            _ if !self.suffices() => false,
            Executor::Nobody => false,
            Executor::Anybody => true,
            Executor::AnotherPerson => {
                is_usable(&executor.username)
                    && classify(executor, identities) == ActorKind::Person
                    && !self.counted.iter().any(|author| same_person(author, executor))
            }
        }
    }
}

/// The authors whose rights a judgement will want to know.
pub fn rights_needed(sign_offs: &[SignOff], record: Option<&ApprovalRecord>) -> Vec<(Author, Right)> {
    let statements = sign_offs.iter().filter_map(|sign_off| {
        let author = sign_off.spec.author.as_ref()?;
        Some(needed(sign_off.spec.says).iter().map(|right| (author.clone(), *right)))
    });
    let statements = statements.flatten();
    let annotation = record.map(|record| (record.author.clone(), Right::Approve));
    let mut needed: Vec<(Author, Right)> = Vec::new();
    for entry in statements.chain(annotation) {
        if !needed.contains(&entry) {
            needed.push(entry);
        }
    }
    needed
}

/// Any one of them suffices. A hold needs no right when it is used: it was checked when it was made, and it can only
/// refuse. What is said after a deletion is counted by itself.
const fn needed(says: Says) -> &'static [Right] {
    match says {
        Says::Approve | Says::Reject => &[Right::Approve],
        Says::CustomerAgreed => &[Right::Request, Right::Approve],
        Says::Hold | Says::Cancel | Says::Release | Says::LegalHold | Says::ReleaseHold | Says::Supervised => &[],
    }
}

/// The requester, if that is a person.
pub fn person_asking<'a>(requester: Option<&'a Author>, identities: &Identities) -> Option<&'a Author> {
    requester.filter(|author| classify(author, identities) == ActorKind::Person)
}

/// Applies the rule.
pub fn judge(case: &Case<'_>) -> Judgement {
    let human = person_asking(case.requester, case.identities);
    let mut statements: Vec<Spoken> = case.sign_offs.iter().map(|sign_off| spoken(case, sign_off)).collect();
    statements.extend(case.record.as_ref().map(|annotated| spoken_by_annotation(case, annotated, human)));
    statements.retain(|spoken| case.as_of.is_none_or(|as_of| spoken.at.is_none_or(|at| at <= as_of)));
    statements.sort_by(|one, other| (one.at, &one.name).cmp(&(other.at, &other.name)));

    let required = if human.is_some() { case.quorum.by_person } else { case.quorum.by_none };
    let mut judgement = Judgement {
        required,
        counted: Vec::new(),
        executor: if required == 0 { Executor::Anybody } else { Executor::Nobody },
        agreement: if case.quorum.agreement { Agreement::Missing } else { Agreement::NotNeeded },
        sufficed_at: case.created.filter(|_| required == 0),
        held_by: Vec::new(),
        rejected_by: None,
        cancelled_by: None,
        entries: Vec::new(),
    };
    for spoken in statements {
        let verdict = count(case, human, &mut judgement, &spoken);
        judgement.entries.push(SignOffEntry {
            name: spoken.name,
            says: spoken.says.as_str().to_owned(),
            author: spoken.author.map(|author| author.username).unwrap_or_default(),
            at: spoken.at.map(Time),
            counts: verdict.is_ok(),
            because: verdict.err().map(str::to_owned),
        });
    }
    judgement
}

struct Spoken {
    name: String,
    says: Says,
    author: Option<Author>,
    at: Option<Timestamp>,
    digest: Option<String>,
    /// Why it proves nothing, if so.
    unproven: Option<&'static str>,
}

fn spoken(case: &Case<'_>, sign_off: &SignOff) -> Spoken {
    let spec = &sign_off.spec;
    let about_this = Some(&spec.subject) == case.subject.as_ref();
    // Deleted is withdrawn, although a finalizer may keep it in storage (I 4).
    let deleted = sign_off.metadata.deletion_timestamp.as_ref();
    let withdrawn = deleted.is_some_and(|time| case.as_of.is_none_or(|as_of| time.0 <= as_of));
    let unproven = match prove_sign_off(case.ring, sign_off) {
        Err(_) => Some("its seal does not prove it"),
        Ok(_) if !about_this => Some("it is about another request"),
        Ok(_) if withdrawn => Some("it was withdrawn"),
        Ok(_) => None,
    };
    Spoken {
        name: sign_off.metadata.name.clone().unwrap_or_default(),
        says: spec.says,
        author: spec.author.clone(),
        at: spec.at.as_ref().map(|at| at.0),
        digest: spec.digest.clone(),
        unproven,
    }
}

/// The annotation names no request: it is one approval of the request that is opened for it, which no person asked for.
fn spoken_by_annotation(case: &Case<'_>, annotated: &Annotated<'_>, human: Option<&Author>) -> Spoken {
    let record = annotated.record;
    // The annotation precedes its request, so it names the inventory alone.
    let current = !record.digest.is_empty() && record.digest == short(annotated.inventory);
    // It may precede its request, but by no more than the clock that a request has.
    let created = case.created.unwrap_or(Timestamp::MAX);
    let too_old = created.duration_since(record.at.0) > case.approval_deadline.duration_since(created);
    let taken_back = annotated.seen.is_some_and(|seen| record.at < seen.at || record.at == seen.at && seen.withdrawn);
    let unproven = if human.is_some() {
        Some("a person asked for this; it counts for the request that is opened for it")
    } else if taken_back {
        Some("it was withdrawn")
    } else if too_old {
        Some("it is older than a request may wait")
    } else {
        None
    };
    Spoken {
        name: ANNOTATION.to_owned(),
        says: Says::Approve,
        author: Some(record.author.clone()),
        // In seconds, as everything that it is compared with.
        at: Some(stated(record.at.0).0),
        digest: current.then(|| case.digest.to_owned()),
        unproven,
    }
}

/// Takes one statement into account, or says why it does not count.
fn count(
    case: &Case<'_>,
    human: Option<&Author>,
    judgement: &mut Judgement,
    spoken: &Spoken,
) -> Result<(), &'static str> {
    if let Some(why) = spoken.unproven {
        return Err(why);
    }
    let (Some(author), Some(at)) = (&spoken.author, spoken.at) else { return Err("its author is unknown") };
    if !is_usable(&author.username) {
        return Err("its author's identity is ambiguous");
    }
    match spoken.says {
        Says::Hold => judgement.held_by.push(author.username.clone()),
        Says::Cancel => {
            let own = case.requester.is_some_and(|requester| same_person(requester, author));
            if !own {
                return Err("only the requester cancels");
            }
            judgement.cancelled_by = Some(author.username.clone());
        }
        Says::Reject => {
            if !case.rights.holds(author, Right::Approve) {
                return Err("its author may not reject here");
            }
            judgement.rejected_by = Some(author.username.clone());
        }
        Says::Supervised => return Err("nothing has been deleted yet"),
        Says::Approve => approve(case, human, judgement, author, at, spoken.digest.as_deref())?,
        Says::CustomerAgreed => agree(case, judgement, author, at, spoken.digest.as_deref())?,
        Says::Release | Says::LegalHold | Says::ReleaseHold => {
            return Err("it is nothing that is said about a request");
        }
    }
    Ok(())
}

fn approve(
    case: &Case<'_>,
    human: Option<&Author>,
    judgement: &mut Judgement,
    author: &Author,
    at: Timestamp,
    digest: Option<&str>,
) -> Result<(), &'static str> {
    if digest != Some(case.digest) {
        return Err("it names another content than the current one");
    }
    match classify(author, case.identities) {
        ActorKind::Person => {}
        ActorKind::Machine => return Err("its author is a machine"),
        ActorKind::Shared => return Err("its author is a shared account"),
    }
    let own = Aliases::of(author);
    // Whoever asked is compared whatever they are: a shared account used by its author is no second person either.
    if case.requester.is_some_and(|requester| own.overlap(&Aliases::of(requester))) {
        return Err("its author is the requester");
    }
    if judgement.counted.iter().any(|counted| own.overlap(&Aliases::of(counted))) {
        return Err("its author has already approved");
    }
    if at > case.approval_deadline {
        return Err("it was made after the approval deadline");
    }
    if !case.rights.holds(author, Right::Approve) {
        return Err("its author may not approve here");
    }
    judgement.counted.push(author.clone());
    let counted = u32::try_from(judgement.counted.len()).unwrap_or(u32::MAX);
    let enough = counted >= judgement.required;
    let sooner = case.quorum.with_another_executor.filter(|_| human.is_none());
    let one_more_person_executes = sooner.is_some_and(|sooner| counted >= sooner);
    judgement.executor = match (enough, one_more_person_executes) {
        (true, _) => Executor::Anybody,
        (false, true) => Executor::AnotherPerson,
        (false, false) => Executor::Nobody,
    };
    if judgement.suffices() && judgement.sufficed_at.is_none() {
        judgement.sufficed_at = Some(at);
    }
    Ok(())
}

/// Whoever agreed with the customer need not be a second person: approvals are needed beside it.
fn agree(
    case: &Case<'_>,
    judgement: &mut Judgement,
    author: &Author,
    at: Timestamp,
    digest: Option<&str>,
) -> Result<(), &'static str> {
    if judgement.agreement == Agreement::NotNeeded {
        return Err("its request asks for nothing that a customer has to agree to");
    }
    if digest != Some(case.digest) {
        return Err("it names another content than the current one");
    }
    if classify(author, case.identities) != ActorKind::Person {
        return Err("its author is no person");
    }
    if at > case.approval_deadline {
        return Err("it was made after the approval deadline");
    }
    if ![Right::Request, Right::Approve].into_iter().any(|right| case.rights.holds(author, right)) {
        return Err("its author may neither ask nor approve here");
    }
    judgement.agreement = Agreement::Given;
    if judgement.suffices() && judgement.sufficed_at.is_none() {
        judgement.sufficed_at = Some(at);
    }
    Ok(())
}
