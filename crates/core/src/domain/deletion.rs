//! The guard on a DELETE, in order (design §5). Everything that allows is here, and only with proof.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    Author, BREAK_GLASS_GROUP, ConditionType, DelegatedAction, DeletionRequest, DeletionRequestStatus, Mode, Phase,
    Says, SignOff, Target, TargetKind,
};
use crate::domain::agreement::awaited;
use crate::domain::identity::{ActorKind, classify, is_usable};
use crate::domain::inventory::{ApprovedItems, Claim, Inventory, InventoryError, prove_items};
use crate::domain::judgement::{Agreement, Annotated, Case, Executor, Judgement, Quorum, Rights, judge};
use crate::domain::kept::{is_excepted, lost, perishable};
use crate::domain::policy::{Effective, PolicySet};
use crate::domain::proof::{Kind, NotGoverned, Proof};
use crate::domain::quiet::hours;
use crate::domain::ready;
use crate::domain::refusal::Refusal;
use crate::domain::request::Request as _;
use crate::domain::statement::{ApprovalRecord, prove_requester, request_digest, subject_digest};
use crate::reason::Code;
use crate::seal::KeyRing;

/// What a rule says before anything is read live.
#[derive(Clone, Debug, PartialEq)]
pub enum Governance {
    /// Allowed as it is.
    Free(Proof),
    /// Needs a confirmed request; in Warn the refusal is only said.
    Governed(Effective),
}

/// Whether the deletion of a claim is governed: exempt, ephemeral and delegated claims are not.
pub fn govern_claim(
    policies: &PolicySet,
    started: bool,
    namespace_labels: &BTreeMap<String, String>,
    claim: &Claim,
    username: &str,
) -> Result<Governance, Refusal> {
    if claim.going_since.is_some() {
        return Ok(free(NotGoverned::AlreadyGoing));
    }
    let effective = match scope(policies, started, namespace_labels)? {
        Governance::Governed(effective) => effective,
        free @ Governance::Free(_) => return Ok(free),
    };
    let floor = policies.floor();
    if claim.is_exempt(&floor.exemption) {
        return Ok(free(NotGoverned::Exempt));
    }
    if claim.is_ephemeral() {
        return Ok(free(NotGoverned::Ephemeral));
    }
    let delegated = claim
        .controller
        .as_ref()
        .filter(|owner| floor.delegates(username, &owner.group, &owner.kind, DelegatedAction::DeleteClaims));
    if let Some(owner) = delegated {
        return Ok(Governance::Free(Proof(Kind::Delegated(format!("{}/{}", owner.kind, owner.name)))));
    }
    Ok(Governance::Governed(effective))
}

/// Whether deletions in a namespace with these labels are governed.
pub fn scope(policies: &PolicySet, started: bool, labels: &BTreeMap<String, String>) -> Result<Governance, Refusal> {
    if !started {
        return Ok(free(NotGoverned::NotStarted));
    }
    if !policies.is_production(labels) {
        return Ok(free(NotGoverned::NonProduction));
    }
    in_production(policies, labels)
}

/// The same of what is production whatever labels say.
pub fn in_production(policies: &PolicySet, labels: &BTreeMap<String, String>) -> Result<Governance, Refusal> {
    let effective = policies.effective(labels).map_err(|policy| {
        Refusal::new(
            Code::PolicyUndecodable,
            format!("the SafetyPolicy {} applies here and can't be read: {}", policy.name, policy.why),
        )
        .next("See it with:", format!("kubectl get safetypolicy {} -o yaml", policy.name))
    })?;
    Ok(match effective.deletions {
        Mode::Off => free(NotGoverned::SwitchedOff),
        Mode::Warn | Mode::Deny => Governance::Governed(effective),
    })
}

const fn free(why: NotGoverned) -> Governance {
    Governance::Free(Proof::not_governed(why))
}

/// Whether a claim is data worth listing in a namespace's inventory.
pub fn is_data(policies: &PolicySet, claim: &Claim) -> bool {
    !claim.is_exempt(&policies.floor().exemption) && !claim.is_ephemeral()
}

/// A namespace without data goes freely; `live` was read from the API server for this decision.
pub fn empty_namespace(live: &Inventory) -> Option<Proof> {
    live.is_empty().then(|| Proof::not_governed(NotGoverned::Empty))
}

/// An object with a deletionTimestamp is going already: nothing that is asked of it now changes that.
pub const fn terminating() -> Proof {
    Proof::not_governed(NotGoverned::AlreadyGoing)
}

/// In Warn a refusal becomes an allow that says what would have been refused.
pub const fn warned(_refusal: &Refusal) -> Proof {
    Proof::not_governed(NotGoverned::Warned)
}

/// The namespace of foureyes goes only by break-glass.
pub fn own_namespace(own: &str, name: &str, groups: &[String]) -> Result<(), Refusal> {
    if own != name || groups.iter().any(|group| group == BREAK_GLASS_GROUP) {
        return Ok(());
    }
    Err(Refusal::new(
        Code::OwnNamespaceProtected,
        format!("Namespace {name} was not deleted: foureyes runs in it, and nothing would be protected without it"),
    )
    .next(
        "A member of the group foureyes:breakglass can do it, under their own name:",
        format!("kubectl delete namespace {name} {}", ready::break_glass()),
    ))
}

/// What is known when nobody has asked for this deletion.
pub fn not_requested(target: &Target, inventory: &Inventory) -> Refusal {
    let kind = target.kind.as_str();
    let place = target.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let digest = inventory.digest().unwrap_or_default();
    let short = crate::digest::short(&digest);
    let refusal = Refusal::new(
        Code::DeletionNotRequested,
        format!(
            "{kind} {place}{} was not deleted: it holds data, and no second person has signed its deletion off",
            target.name
        ),
    )
    .detail(format!("Would be lost: {} (inventory {short})", inventory.sentence(8)));
    match target.kind {
        TargetKind::PersistentVolumeClaim => refusal.next(
            "Somebody else, who may approve, can look at it and then allow you to delete it with:",
            ready::annotate(target, short),
        ),
        TargetKind::Namespace => refusal.next(
            "Somebody who may request deletions can ask for it with the line below; a second person then signs it off:",
            ready::request(target),
        ),
        _ => refusal.next(
            "Somebody who may request deletions can ask for it with the line below; two other people then sign it off:",
            ready::request(target),
        ),
    }
}

/// What became of the last request about the same object, for somebody who is told that there is none.
pub fn ended_before(request: &DeletionRequest) -> Option<String> {
    let (status, name) = (request.status.as_ref()?, request.metadata.name.as_deref()?);
    let by = |says: Says| {
        let mut entries = status.sign_offs.iter().flat_map(|sign_offs| &sign_offs.entries);
        let said = entries.rfind(|entry| entry.counts && entry.says == says.as_str());
        said.map_or("somebody", |entry| entry.author.as_str())
    };
    let what = match status.phase? {
        Phase::Rejected => format!("{} rejected DeletionRequest {name} about it", by(Says::Reject)),
        Phase::Cancelled => format!("{} cancelled DeletionRequest {name} about it", by(Says::Cancel)),
        Phase::Expired => format!("DeletionRequest {name} about it has expired"),
        _ => return None,
    };
    Some(format!("{what}: {}", ready::show(name)))
}

/// The approval on an object was taken in by a request that has ended: no other will be opened for it.
pub fn used_up(target: &Target, record: &str, ended: &DeletionRequest) -> Option<Refusal> {
    let record: ApprovalRecord = serde_json::from_str(record).ok()?;
    let seen = ended.status.as_ref()?.annotation.as_ref().filter(|seen| record.at <= seen.at);
    let line = ended_before(ended).filter(|_| seen.is_some())?;
    let sentence = format!("{} was not deleted: the approval on it has been used up", target.text());
    Some(
        Refusal::new(Code::RequestEnded, sentence)
            .detail(line)
            .next("Before somebody approves anew, it is removed with:", ready::unannotate(target)),
    )
}

/// All that one decision about a requested deletion rests on, read live.
pub struct Evidence<'a> {
    pub target: &'a Target,
    pub request: &'a DeletionRequest,
    pub sign_offs: &'a [SignOff],
    pub record: Option<&'a ApprovalRecord>,
    pub ring: &'a KeyRing,
    pub policies: &'a PolicySet,
    pub effective: &'a Effective,
    pub rights: &'a Rights,
    pub live: &'a Inventory,
}

/// Confirms that `executor` may delete the target now.
pub fn confirm(evidence: &Evidence<'_>, executor: &Author, now: Timestamp) -> Result<Proof, Refusal> {
    let name = evidence.request.metadata.name.as_deref().unwrap_or_default();
    let status = evidence.request.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or_default();
    let refuse = |code, why: String| {
        let text = evidence.target.text();
        Refusal::new(code, format!("{text} was not deleted: {why}"))
    };
    if evidence.request.spec.target != *evidence.target {
        return Err(refuse(Code::SubjectUnknown, format!("DeletionRequest {name} is about another object")));
    }
    if !is_usable(&executor.username) {
        return Err(refuse(Code::IdentityUnusable, "the caller's identity is empty or ambiguous".to_owned()));
    }
    // Deleted is taken back, although a finalizer may keep it in storage (I 4).
    let taken_back = evidence.request.metadata.deletion_timestamp.is_some();
    if phase.is_ended() || taken_back {
        let state = if taken_back { "taken back" } else { phase.as_str() };
        let why = format!("DeletionRequest {name} is {state}");
        return Err(refuse(Code::RequestEnded, why)
            .next("Somebody who may request deletions can ask again with:", ready::request(evidence.target)));
    }
    let approved = approved_content(evidence, status.subject_digest.as_deref(), &refuse)?;
    let judgement = judged(evidence, &approved, None, &status);
    refuse_unless_signed_off(evidence, name, &judgement, &approved, &refuse)?;
    let beyond =
        evidence.live.beyond(&approved.items).map_err(|error| refuse(Code::InventoryUnknown, error.to_string()))?;
    if !beyond.is_empty() {
        let why = format!("{} items were not there when DeletionRequest {name} was signed off", beyond.len());
        return Err(refuse(Code::InventoryGrown, why)
            .detail(format!("Would be lost: {}", evidence.live.sentence(8)))
            .next("Somebody who may request deletions can ask again with:", ready::request(evidence.target)));
    }
    if let Some((name_of, why)) =
        lost(evidence.live, status.is_backed_up()).next().filter(|_| !is_excepted(evidence.request))
    {
        let why = format!("nothing can keep {name_of} ({why}), and DeletionRequest {name} makes no exception for that");
        return Err(refuse(Code::DataNotKept, why).next(
            "Somebody who may request deletions can ask for that with the line below; two people then sign it off:",
            ready::request_excepting(evidence.target),
        ));
    }
    not_prepared(&status, name, &refuse)?;
    within_clock(status.usable_from.as_ref(), status.valid_until.as_ref(), evidence.effective, now).map_err(|why| {
        let code = if why == NOT_YET { Code::NotYetExecutable } else { Code::RequestEnded };
        refuse(code, format!("DeletionRequest {name} {why}")).next("See how it stands with:", ready::show(name))
    })?;
    let backed_up = status.is_backed_up();
    if let Some(item) = perishable(evidence.live).find(|item| !(backed_up && item.is_volume())) {
        let why = format!("the {} {} is not on Retain, so that its data would be lost", item.word(), item.name);
        return Err(refuse(Code::NotYetExecutable, why).next("See how it stands with:", ready::show(name)));
    }
    if !matches!(phase, Phase::Executable | Phase::Executing) {
        let why = format!("DeletionRequest {name} is {}, and not released yet", phase.as_str());
        return Err(refuse(Code::NotYetExecutable, why).next("See how it stands with:", ready::show(name)));
    }
    if !judgement.may_execute(executor, &evidence.policies.floor().identities) {
        let authors: Vec<&str> = judgement.counted.iter().map(|author| author.username.as_str()).collect();
        let is = match classify(executor, &evidence.policies.floor().identities) {
            ActorKind::Person => "the same person",
            ActorKind::Machine => "a machine",
            ActorKind::Shared => "a shared account",
        };
        let why = format!(
            "only {} approved it, so that another person must delete it, and {} is {is}",
            authors.join(" and "),
            executor.username
        );
        return Err(refuse(Code::SecondPersonNeeded, why)
            .next("Another person, with the right to delete it, can run:", ready::delete(evidence.target)));
    }
    Ok(Proof(Kind::Confirmed(name.to_owned())))
}

/// What still has to happen before it can be executed: it is in use, or not out of use for long enough, or its data
/// would not outlive it (promises 2 and 3). A phase can only refuse.
fn not_prepared(
    status: &DeletionRequestStatus,
    name: &str,
    refuse: &dyn Fn(Code, String) -> Refusal,
) -> Result<(), Refusal> {
    let quiet = status.quiet.as_ref().filter(|_| status.phase == Some(Phase::Quiescing));
    let why = match (quiet, status.phase) {
        (Some(quiet), _) if quiet.running_total > 0 => {
            format!(
                "DeletionRequest {name} is signed off, but {} still run{}",
                quiet.users(),
                if quiet.running_total == 1 { "s" } else { "" }
            )
        }
        (Some(quiet), _) => {
            let left = quiet.remaining().map_or_else(|| "a while".to_owned(), hours);
            format!(
                "DeletionRequest {name} is signed off, and must stay unused for about {left} more (of {})",
                quiet.required
            )
        }
        (None, Some(Phase::Approved)) => {
            let waits = status.waiting_for.as_deref().unwrap_or("its data to be kept");
            format!("DeletionRequest {name} is signed off, and waits for {waits}")
        }
        _ => return Ok(()),
    };
    let shutdown = status.conditions.iter().find(|known| known.type_ == ConditionType::ShutDown.as_str());
    let mut refusal = refuse(Code::NotYetExecutable, why);
    if let Some(shutdown) = shutdown.filter(|_| status.phase == Some(Phase::Quiescing)) {
        refusal = refusal.detail(format!("foureyes shuts it down: {}", shutdown.message));
    }
    Err(refusal.next("See how it stands with:", ready::show(name)))
}

/// Of several requests about one object, which to speak about: the one whose refusal comes closest to an allow of what
/// is there now. What could not be read comes first, because nothing is known then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closeness {
    /// It will never do.
    Over,
    /// There is more now than it covers.
    Outgrown,
    /// People have yet to say something about it.
    Asked,
    /// It has all its sign-offs.
    SignedOff,
    Unknown,
}

/// How close a refused request is.
pub fn closeness(evidence: &Evidence<'_>, refusal: &Refusal) -> Closeness {
    let inventory = evidence.request.status.as_ref().and_then(|status| status.inventory.as_ref());
    let frozen = inventory.filter(|inventory| inventory.frozen);
    let covers = |inventory| {
        let items = prove_items(inventory)?;
        Ok::<_, InventoryError>(evidence.live.beyond(&items)?.is_empty())
    };
    match refusal.code {
        Code::SignOffMissing | Code::OnHold | Code::NotYetExecutable | Code::SecondPersonNeeded
            if !frozen.is_none_or(|inventory| covers(inventory).unwrap_or(false)) =>
        {
            Closeness::Outgrown
        }
        Code::SignOffMissing | Code::OnHold => Closeness::Asked,
        Code::NotYetExecutable | Code::SecondPersonNeeded => Closeness::SignedOff,
        Code::InventoryGrown => Closeness::Outgrown,
        Code::ClusterUnreadable => Closeness::Unknown,
        _ => Closeness::Over,
    }
}

const NOT_YET: &str = "is not released yet";

fn within_clock(
    from: Option<&Time>,
    until: Option<&Time>,
    effective: &Effective,
    at: Timestamp,
) -> Result<(), &'static str> {
    let (Some(from), Some(until)) = (from, until) else { return Err(NOT_YET) };
    // Clock: whole seconds, as deletionTimestamps have them.
    if at.as_second() < from.0.as_second() {
        return Err(NOT_YET);
    }
    let allowed = from.0.saturating_add(effective.use_clock).unwrap_or(from.0);
    if at > until.0 || at > allowed { Err("was not used in time") } else { Ok(()) }
}

struct Approved {
    digest: String,
    inventory: String,
    items: ApprovedItems,
    frozen: bool,
}

/// What was, or is to be, signed off: recomputed from the request and its frozen inventory.
fn approved_content(
    evidence: &Evidence<'_>,
    stated: Option<&str>,
    refuse: &dyn Fn(Code, String) -> Refusal,
) -> Result<Approved, Refusal> {
    let status = evidence.request.status.as_ref();
    let Some(inventory) = status.and_then(|status| status.inventory.as_ref()) else {
        let why = "its inventory has not been taken yet".to_owned();
        let name = evidence.request.metadata.name.as_deref().unwrap_or_default();
        return Err(refuse(Code::NotYetExecutable, why).next("See how it stands with:", ready::show(name)));
    };
    let unknown = |error: &dyn std::fmt::Display| refuse(Code::InventoryUnknown, error.to_string());
    let request = request_digest(&evidence.request.spec).map_err(|error| unknown(&error))?;
    let digest = subject_digest(&request, &inventory.digest).map_err(|error| unknown(&error))?;
    if stated != Some(digest.as_str()) {
        return Err(unknown(&"the digests in the request's status do not belong together"));
    }
    let items = prove_items(inventory).map_err(|error| unknown(&error))?;
    Ok(Approved { digest, inventory: inventory.digest.clone(), items, frozen: inventory.frozen })
}

fn judged(
    evidence: &Evidence<'_>,
    approved: &Approved,
    as_of: Option<Timestamp>,
    status: &crate::api::DeletionRequestStatus,
) -> Judgement {
    let created = evidence.request.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
    let by_policy = created.saturating_add(evidence.effective.approval_clock).unwrap_or(created);
    let deadline = status.approval_deadline.as_ref().map_or(by_policy, |deadline| deadline.0.min(by_policy));
    judge(&Case {
        subject: evidence.request.subject(),
        created: evidence.request.created(),
        requester: prove_requester(evidence.ring, evidence.request).ok(),
        digest: &approved.digest,
        sign_offs: evidence.sign_offs,
        record: evidence.record.map(|record| Annotated {
            record,
            inventory: &approved.inventory,
            seen: status.annotation.as_ref(),
        }),
        ring: evidence.ring,
        identities: &evidence.policies.floor().identities,
        quorum: Quorum::of_deletion(evidence.effective, evidence.request.spec.retention.as_ref()),
        rights: evidence.rights,
        approval_deadline: deadline,
        as_of,
    })
}

fn refuse_unless_signed_off(
    evidence: &Evidence<'_>,
    name: &str,
    judgement: &Judgement,
    approved: &Approved,
    refuse: &dyn Fn(Code, String) -> Refusal,
) -> Result<(), Refusal> {
    if let Some(who) = judgement.rejected_by.as_ref().or(judgement.cancelled_by.as_ref()) {
        let why = format!("DeletionRequest {name} was rejected or cancelled by {who}");
        return Err(refuse(Code::RequestEnded, why)
            .next("Somebody who may request deletions can ask again with:", ready::request(evidence.target)));
    }
    if !judgement.held_by.is_empty() {
        let why = format!("{} put DeletionRequest {name} on hold", judgement.held_by.join(", "));
        let uid = evidence.request.metadata.uid.as_deref().unwrap_or_default();
        return Err(refuse(Code::OnHold, why).next("See the question with:", ready::statements(uid)));
    }
    if judgement.suffices() && approved.frozen {
        return Ok(());
    }
    let uid = evidence.request.metadata.uid.as_deref().unwrap_or_default();
    let (granted, required) = (judgement.counted.len(), judgement.required);
    if judgement.executor != Executor::Nobody && judgement.agreement == Agreement::Missing {
        let wish = evidence.request.spec.retention.clone().unwrap_or_default();
        let why = format!("DeletionRequest {name} waits for {}", awaited(&wish, evidence.effective));
        return Err(refuse(Code::SignOffMissing, why).next(
            "Whoever knows of the agreement, and may request or approve, can say so with:",
            ready::agree(name, uid, &approved.digest),
        ));
    }
    let why = if judgement.executor == Executor::Nobody {
        format!("DeletionRequest {name} has {granted} of {required} sign-offs")
    } else {
        format!("DeletionRequest {name} is not released yet")
    };
    let code = if judgement.suffices() { Code::NotYetExecutable } else { Code::SignOffMissing };
    Err(refuse(code, why).detail(format!("Would be lost: {}", evidence.live.sentence(8))).next(
        "Somebody else, who may approve, can look at it and then sign it off with:",
        ready::sign_off(name, uid, &approved.digest),
    ))
}

/// Confirms a deletion inside a namespace that is going: latched by the live root, finishable by anyone, with the
/// controller down too (facts 12, 36; bypasses 14, 15). `evidence.target` is the namespace and `evidence.live` the
/// claim with its volume. Holds and rights after the root's deletion no longer matter; from then on no request ends
/// before its target is gone, so one that has ended was not what let the root go.
pub fn confirm_cascade(evidence: &Evidence<'_>, root_going_since: Timestamp) -> Result<Proof, Refusal> {
    let name = evidence.request.metadata.name.as_deref().unwrap_or_default();
    let status = evidence.request.status.clone().unwrap_or_default();
    let refuse = |code, why: String| {
        Refusal::new(code, format!("{} was not deleted: {why}", evidence.live.sentence(1)))
            .next("See how it stands with:", ready::show(name))
    };
    if evidence.request.spec.target != *evidence.target {
        return Err(refuse(Code::SubjectUnknown, format!("DeletionRequest {name} is about another object")));
    }
    let phase = status.phase.unwrap_or_default();
    // Expired may have been written in the very moment in which the root was let go; its clock is judged below.
    if phase.is_ended() && phase != Phase::Expired {
        return Err(refuse(Code::RequestEnded, format!("DeletionRequest {name} is {}", phase.as_str())));
    }
    let approved = approved_content(evidence, status.subject_digest.as_deref(), &refuse)?;
    let judgement = judged(evidence, &approved, Some(root_going_since), &status);
    let ended = judgement.rejected_by.is_some() || judgement.cancelled_by.is_some() || !judgement.held_by.is_empty();
    if !judgement.suffices() || !approved.frozen || ended {
        let why = format!("DeletionRequest {name} was not signed off when its namespace was deleted");
        return Err(refuse(Code::SignOffMissing, why));
    }
    within_clock(status.usable_from.as_ref(), status.valid_until.as_ref(), evidence.effective, root_going_since)
        .map_err(|why| refuse(Code::RequestEnded, format!("DeletionRequest {name} {why}")))?;
    let beyond =
        evidence.live.beyond(&approved.items).map_err(|error| refuse(Code::InventoryUnknown, error.to_string()))?;
    if !beyond.is_empty() {
        let why = format!("it was not among what was signed off in DeletionRequest {name}");
        return Err(refuse(Code::InventoryGrown, why));
    }
    Ok(Proof(Kind::Confirmed(name.to_owned())))
}
