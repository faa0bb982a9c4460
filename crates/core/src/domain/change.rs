//! Whether an approved change lets something happen now: what it covers, who has signed it off, and its clocks. As with
//! deletions a phase can only refuse; unlike there, nothing rests on the controller, so that changes go on without it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::api::{
    Action, Author, ChangeRequest, ChangeRequestStatus, ChangeTarget, ChangeType, ContentEncoding, Pin, SignOff,
    WorkloadIdentity,
};
use crate::domain::catalogue;
use crate::domain::identity::{ActorKind, classify, is_usable};
use crate::domain::judgement::{Case, Judgement, Quorum, Right, Rights, judge, rights_needed};
use crate::domain::policy::{Effective, Floor, PolicySet};
use crate::domain::proof::{Kind, Proof};
use crate::domain::ready;
use crate::domain::refusal::Refusal;
use crate::domain::request::Request as _;
use crate::domain::rollout::decide::standard_change;
use crate::domain::rollout::known::Base;
use crate::domain::statement::{prove_requester, request_digest};
use crate::reason::Code;
use crate::seal::KeyRing;

/// What would become of an object.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// A workload gets this template.
    Template {
        /// `template/v1:sha256:…`.
        digest: &'a str,
        /// What it is compared by, with the last that ran under authorisation.
        parts: &'a Base,
        base: Option<&'a Base>,
    },
    /// Any other object becomes this, `object/v1:sha256:…`.
    Object(&'a str),
    /// It goes.
    Removal,
}

/// All that one decision about a change rests on, read live.
pub struct Evidence<'a> {
    pub request: &'a ChangeRequest,
    pub sign_offs: &'a [SignOff],
    pub ring: &'a KeyRing,
    pub policies: &'a PolicySet,
    /// What applies where the object is that is judged.
    pub effective: &'a Effective,
    /// Answers in every namespace of [`rights_namespaces`]: held is what is held in all of them.
    pub rights: &'a Rights,
    /// The namespace of foureyes, whose changes reach everywhere.
    pub own_namespace: &'a str,
}

/// The object that a target names; `None` where a request may not name it.
pub fn identity_of(request: &ChangeRequest, target: &ChangeTarget, own_namespace: &str) -> Option<WorkloadIdentity> {
    let home = request.metadata.namespace.as_deref().unwrap_or_default();
    let everywhere = home == own_namespace;
    let cluster_scoped = is_cluster_scoped(target);
    let namespace = match (target.namespace.as_deref(), cluster_scoped) {
        (None, true) if everywhere || target.kind == "Namespace" && target.name == home => "",
        (None, false) => home,
        (Some(namespace), false) if everywhere || namespace == home => namespace,
        _ => return None,
    };
    Some(WorkloadIdentity {
        group: target.group().to_owned(),
        kind: target.kind.clone(),
        namespace: namespace.to_owned(),
        name: target.name.clone(),
    })
}

/// Kinds without a namespace that foureyes judges by a change. Every other is taken for one that has a namespace: what
/// is in none is then not covered.
const CLUSTER_SCOPED: [(&str, &str); 10] = [
    ("", "Namespace"),
    ("foureyes.dev", "SafetyPolicy"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("snapshot.storage.k8s.io", "VolumeSnapshotClass"),
    ("snapshot.storage.k8s.io", "VolumeSnapshotContent"),
    ("groupsnapshot.storage.k8s.io", "VolumeGroupSnapshotClass"),
    ("groupsnapshot.storage.k8s.io", "VolumeGroupSnapshotContent"),
];

fn is_cluster_scoped(target: &ChangeTarget) -> bool {
    let kind = (target.group(), target.kind.as_str());
    CLUSTER_SCOPED.contains(&kind) || catalogue::is_cluster_scoped(kind.0, kind.1)
}

/// Whether a change opens what protects data. What protects is never in a hurry, and no review elsewhere stands in for
/// people: else one of them could first take the protection away and then the data.
fn unprotects(request: &ChangeRequest, floor: &Floor) -> bool {
    let is_object =
        |target: &ChangeTarget| target.digest.as_ref().is_some_and(|digest| digest.encoding == ContentEncoding::Object);
    let is_named = |target: &ChangeTarget| floor.additional_kind(target.group(), &target.kind).is_some();
    request.spec.targets.iter().any(|target| is_cluster_scoped(target) || is_object(target) || is_named(target))
}

/// The namespaces in which an author must hold a right for it to count; the empty one stands for the whole cluster. A
/// Namespace is judged in itself.
pub fn rights_namespaces(request: &ChangeRequest, own_namespace: &str) -> BTreeSet<String> {
    let targets = request.spec.targets.iter();
    let identities = targets.filter_map(|target| identity_of(request, target, own_namespace));
    identities
        .map(
            |object| if object.group.is_empty() && object.kind == "Namespace" { object.name } else { object.namespace },
        )
        .collect()
}

/// The authors whose rights the judgement of this change will want to know.
pub fn rights_of_change(request: &ChangeRequest, sign_offs: &[SignOff]) -> Vec<(Author, Right)> {
    let mut needed = rights_needed(sign_offs, None);
    let requester = request.spec.requester.as_ref().filter(|_| request.spec.change_type == ChangeType::Emergency);
    needed.extend(requester.map(|requester| (requester.author.clone(), Right::Expedite)));
    needed
}

/// How the statements about a change add up, and from when to when it may be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub judgement: Judgement,
    /// Its requester may expedite: nobody's word was needed, and a review is owed.
    pub expedited: bool,
    pub requester: Option<Author>,
    pub request_digest: String,
    pub approval_deadline: Timestamp,
    /// Once enough people agree.
    pub usable: Option<Usable>,
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usable {
    pub from: Timestamp,
    pub until: Timestamp,
}

/// Judges a change.
pub fn standing(evidence: &Evidence<'_>) -> Result<Standing, crate::digest::DigestError> {
    let request = evidence.request;
    let status = request.status.clone().unwrap_or_default();
    let requester = prove_requester(evidence.ring, request).ok();
    let request_digest = request_digest(&request.spec)?;
    let created = request.created().unwrap_or(Timestamp::MIN);
    let by_policy = created.saturating_add(evidence.effective.approval_clock).unwrap_or(created);
    // A deadline only ever comes nearer: loosening a policy revives nothing.
    let approval_deadline = status.approval_deadline.as_ref().map_or(by_policy, |before| before.0.min(by_policy));
    let expedited = is_expedited(evidence, requester);
    let judgement = judge(&Case {
        subject: request.subject(),
        created: request.created(),
        requester,
        digest: &request_digest,
        sign_offs: evidence.sign_offs,
        record: None,
        ring: evidence.ring,
        identities: &evidence.policies.floor().identities,
        quorum: if expedited { Quorum::nobody() } else { quorum(evidence, requester) },
        rights: evidence.rights,
        approval_deadline,
        as_of: None,
    });
    let usable = judgement.sufficed_at.map(|at| usable(evidence, &status, at));
    Ok(Standing { judgement, expedited, requester: requester.cloned(), request_digest, approval_deadline, usable })
}

/// An Emergency by a person with the right to expedite, so that a name is on the bill; for what runs, and nothing else.
fn is_expedited(evidence: &Evidence<'_>, requester: Option<&Author>) -> bool {
    let identities = &evidence.policies.floor().identities;
    evidence.request.spec.change_type == ChangeType::Emergency
        && !unprotects(evidence.request, evidence.policies.floor())
        && requester.is_some_and(|author| {
            is_usable(&author.username)
                && classify(author, identities) == ActorKind::Person
                && evidence.rights.holds(author, Right::Expedite)
        })
}

/// Approvals that are needed (design §2, b).
fn quorum(evidence: &Evidence<'_>, requester: Option<&Author>) -> Quorum {
    let identities = &evidence.policies.floor().identities;
    if requester.is_some_and(|author| is_standard(evidence, author)) {
        return Quorum::nobody();
    }
    let machine = requester.filter(|author| {
        classify(author, identities) == ActorKind::Machine && !unprotects(evidence.request, evidence.policies.floor())
    });
    let by_none = machine.map_or_else(
        || evidence.effective.without_a_person(),
        |author| evidence.effective.asked_by_machine(&author.username),
    );
    Quorum { by_person: evidence.effective.min_approvals, by_none, with_another_executor: None, agreement: false }
}

/// A Standard change of which every target is an exchange of images that the policy lets this requester make.
fn is_standard(evidence: &Evidence<'_>, requester: &Author) -> bool {
    let request = evidence.request;
    let floor = evidence.policies.floor();
    request.spec.change_type == ChangeType::Standard
        && request.spec.targets.iter().all(|target| {
            let identity = identity_of(request, target, evidence.own_namespace);
            let images = target.images.as_ref().filter(|_| target.action == Action::Apply);
            identity.zip(images).is_some_and(|(identity, images)| {
                standard_change(floor, requester, &identity, &images.values().map(String::as_str)).is_some()
            })
        })
}

/// The clock starts at the first moment at which the change could be used, and the window bounds it.
fn usable(evidence: &Evidence<'_>, status: &ChangeRequestStatus, sufficed_at: Timestamp) -> Usable {
    let spec = &evidence.request.spec;
    let window = spec.window.as_ref();
    let start = window.and_then(|window| window.start.as_ref()).map(|start| start.0);
    let end = window.and_then(|window| window.end.as_ref()).map(|end| end.0);
    let from = start.map_or(sufficed_at, |start| start.max(sufficed_at));
    let clock = evidence.effective.change_clock(spec.change_type == ChangeType::Emergency);
    // A clock that has begun goes on, whoever withdraws and approves anew.
    let begun = status.usable_from.as_ref().map_or(from, |before| before.0.min(from));
    let until = begun.saturating_add(clock).unwrap_or(begun);
    let until = end.map_or(until, |end| end.min(until));
    let until = status.valid_until.as_ref().map_or(until, |before| before.0.min(until));
    Usable { from, until }
}

/// Whether a change is about an object, and about this content of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    Covers,
    /// It names other content of the object, or can't be compared; why.
    Other(String),
    /// It does not name the object.
    Not,
}

/// What a change says about one object.
pub fn coverage(evidence: &Evidence<'_>, object: &WorkloadIdentity, content: &Content<'_>) -> Coverage {
    let request = evidence.request;
    let about = |target: &&ChangeTarget| identity_of(request, target, evidence.own_namespace).as_ref() == Some(object);
    let mut other = Coverage::Not;
    for target in request.spec.targets.iter().filter(about) {
        match covers(evidence, target, content) {
            Ok(()) => return Coverage::Covers,
            Err(why) => other = Coverage::Other(why),
        }
    }
    other
}

fn covers(evidence: &Evidence<'_>, target: &ChangeTarget, content: &Content<'_>) -> Result<(), String> {
    match (target.action, content) {
        (Action::Remove, Content::Removal) => Ok(()),
        (Action::Remove, _) => Err("it says Remove".to_owned()),
        (Action::Apply, Content::Removal) => Err("it says Apply".to_owned()),
        (Action::Apply, Content::Object(digest)) => names_digest(target, ContentEncoding::Object, digest),
        (Action::Apply, Content::Template { digest, parts, base }) => match &target.images {
            None => names_digest(target, ContentEncoding::Template, digest),
            Some(_) if evidence.effective.pin == Pin::Template => {
                Err("it names images, and the policy wants the digest of the whole template".to_owned())
            }
            Some(images) => {
                let base = base.ok_or("it names images, and what they would be exchanged in was never authorised")?;
                let free = &evidence.policies.floor().free_annotations;
                if base.exchanged(parts, free).is_none() {
                    return Err(
                        "it names images, and more than images differs from what was last authorised".to_owned()
                    );
                }
                let mut wanted = base.images.clone();
                for (container, image) in images {
                    let slot = wanted.get_mut(container);
                    let slot = slot.ok_or_else(|| format!("it names the container {container}, which is not there"))?;
                    slot.clone_from(image);
                }
                if wanted == parts.images { Ok(()) } else { Err("it names other images".to_owned()) }
            }
        },
    }
}

fn names_digest(target: &ChangeTarget, encoding: ContentEncoding, digest: &str) -> Result<(), String> {
    match &target.digest {
        Some(named) if named.encoding != encoding => Err("it names a digest of another encoding".to_owned()),
        Some(named) if named.text() == digest => Ok(()),
        _ => Err("it names another digest".to_owned()),
    }
}

/// Confirms that `executor` may do this to `object` now. `what` begins the sentence of a refusal, for example
/// `Deployment shop/web was not rolled out`.
pub fn confirm(
    evidence: &Evidence<'_>,
    object: &WorkloadIdentity,
    content: &Content<'_>,
    executor: &Author,
    what: &str,
    now: Timestamp,
) -> Result<Proof, Refusal> {
    let request = evidence.request;
    let (place, name) = (request.place(), request.name());
    let refuse = |code, why: String| {
        Refusal::new(code, format!("{what}: {why}")).next("See how it stands with:", request.show())
    };
    match coverage(evidence, object, content) {
        Coverage::Covers => {}
        Coverage::Other(why) => {
            return Err(refuse(Code::NotCovered, format!("ChangeRequest {place}/{name} exists, but {why}")));
        }
        Coverage::Not => {
            return Err(refuse(Code::NotCovered, format!("ChangeRequest {place}/{name} is about something else")));
        }
    }
    if !is_usable(&executor.username) {
        return Err(refuse(Code::IdentityUnusable, "the caller's identity is empty or ambiguous".to_owned()));
    }
    let phase = request.status.as_ref().and_then(|status| status.phase).unwrap_or_default();
    // Deleted is taken back, although a finalizer may keep it in storage (I 4).
    let taken_back = request.metadata.deletion_timestamp.is_some();
    if phase.is_ended() || taken_back {
        let state = if taken_back { "taken back" } else { phase.as_str() };
        return Err(refuse(Code::RequestEnded, format!("ChangeRequest {place}/{name} is {state}")));
    }
    let standing = standing(evidence).map_err(|error| refuse(Code::ReviewUnreadable, error.to_string()))?;
    signed_off(evidence, &standing, &refuse)?;
    in_time(evidence, &standing, now, &refuse)?;
    Ok(Proof(Kind::Confirmed(format!("{place}/{name}"))))
}

fn signed_off(
    evidence: &Evidence<'_>,
    standing: &Standing,
    refuse: &dyn Fn(Code, String) -> Refusal,
) -> Result<(), Refusal> {
    let (request, judgement) = (evidence.request, &standing.judgement);
    let (place, name) = (request.place(), request.name());
    if let Some(who) = judgement.rejected_by.as_ref().or(judgement.cancelled_by.as_ref()) {
        let why = format!("ChangeRequest {place}/{name} was rejected or cancelled by {who}");
        return Err(refuse(Code::RequestEnded, why));
    }
    if !judgement.held_by.is_empty() {
        let why = format!("{} put ChangeRequest {place}/{name} on hold", judgement.held_by.join(", "));
        return Err(refuse(Code::OnHold, why).next("See the question with:", ready::statements(request.uid())));
    }
    if judgement.suffices() {
        return Ok(());
    }
    let (granted, required) = (judgement.counted.len(), judgement.required);
    let why = format!("ChangeRequest {place}/{name} has {granted} of {required} sign-offs");
    Err(refuse(Code::SignOffMissing, why).next(
        "Somebody else, who may approve, can look at it and then sign it off with:",
        request.sign_off(&standing.request_digest),
    ))
}

fn in_time(
    evidence: &Evidence<'_>,
    standing: &Standing,
    now: Timestamp,
    refuse: &dyn Fn(Code, String) -> Refusal,
) -> Result<(), Refusal> {
    let (place, name) = (evidence.request.place(), evidence.request.name());
    let Some(usable) = standing.usable else {
        return Err(refuse(Code::NotYetExecutable, format!("ChangeRequest {place}/{name} can't be used yet")));
    };
    // Clock: whole seconds, as statements have them.
    if now.as_second() < usable.from.as_second() {
        let why = format!("ChangeRequest {place}/{name} may be used from {} on", usable.from);
        return Err(refuse(Code::WindowClosed, why));
    }
    if now > usable.until {
        return Err(refuse(Code::RequestEnded, format!("ChangeRequest {place}/{name} was not used in time")));
    }
    Ok(())
}
