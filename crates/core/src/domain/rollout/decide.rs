//! The guard on what runs, in order (design §6). Everything that allows is here, and only with proof.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::known::{Base, Exchange, Known};
use super::location::Found;
use super::template::{Template, TemplateError};
use crate::api::{
    Action, Author, ChangeTarget, ContentDigest, DelegatedAction, IdentityMatcher, Mode, StandardTarget,
    WorkloadIdentity,
};
use crate::digest::short;
use crate::domain::change::{self, Content, Evidence};
use crate::domain::deletion::Governance;
use crate::domain::identity::{glob, is_usable, matches};
use crate::domain::inventory::Controller;
use crate::domain::policy::{Effective, Floor, PolicySet};
use crate::domain::proof::{Kind, NotGoverned, Proof};
use crate::domain::ready;
use crate::domain::refusal::Refusal;
use crate::domain::rollout::free::all_free;
use crate::reason::Code;

/// What would happen to a workload.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// It exists, and would get this template; `releases` when the template is the one it has, and a pending revision
    /// of it would be let go.
    Rollout { old: &'a Template, new: &'a Template, releases: bool },
    /// It would come into being.
    Creation { new: &'a Template },
    /// It would go.
    Removal,
}

/// Which of a policy's modes governs what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Rollout,
    Creation,
    Removal,
}

impl Doing {
    pub const fn mode(self, effective: &Effective) -> Mode {
        match self {
            Self::Rollout => effective.rollouts,
            Self::Creation => effective.creations,
            Self::Removal => effective.removals,
        }
    }
}

/// One question to the guard, and what the index knows about it.
pub struct Question<'a> {
    pub workload: &'a WorkloadIdentity,
    /// For the request that the refusal shows.
    pub api_version: &'a str,
    pub asked: Asked<'a>,
    pub author: &'a Author,
    /// The workload's controlling owner, as it was; of what is created, as it would be.
    pub controller: Option<&'a Controller>,
    pub known: Option<&'a Known>,
    pub policies: &'a PolicySet,
    pub effective: &'a Effective,
    /// The namespace of foureyes.
    pub own_namespace: &'a str,
}

/// Whether what is asked is governed in a namespace with this name and these labels. In Warn the refusal is only said.
pub fn scope(
    policies: &PolicySet,
    started: bool,
    namespace: &str,
    labels: &BTreeMap<String, String>,
    doing: Doing,
) -> Result<Governance, Refusal> {
    let free = |why| Ok(Governance::Free(Proof::not_governed(why)));
    if !started {
        return free(NotGoverned::NotStarted);
    }
    if policies.floor().is_system(namespace) {
        return free(NotGoverned::SystemNamespace);
    }
    if !policies.is_production(labels) {
        return free(NotGoverned::NonProduction);
    }
    let effective = policies.effective(labels).map_err(|policy| unreadable_policy(&policy.name, &policy.why))?;
    match doing.mode(&effective) {
        Mode::Off => free(NotGoverned::SwitchedOff),
        Mode::Warn | Mode::Deny => Ok(Governance::Governed(effective)),
    }
}

fn unreadable_policy(name: &str, why: &str) -> Refusal {
    let sentence = format!("the SafetyPolicy {name} applies here and can't be read: {why}");
    Refusal::new(Code::PolicyUndecodable, sentence)
        .next("See it with:", format!("kubectl get safetypolicy {} -o yaml", ready::word(name)))
}

/// What runs is the same to the byte: nothing needs to be read of it.
pub fn untouched(old: Option<Found<&str>>, new: Option<Found<&str>>) -> Option<Proof> {
    (old.is_some() && old == new).then_some(Proof(Kind::Unchanged))
}

/// No policy says where this kind keeps a pod template.
pub const fn without_template() -> Proof {
    Proof::not_governed(NotGoverned::NoTemplate)
}

/// The first point, which needs nothing but the object: the template is unchanged, or changed only as it freely may.
pub fn unchanged(floor: &Floor, asked: &Asked<'_>) -> Result<Option<Proof>, TemplateError> {
    let Asked::Rollout { old, new, releases: false } = asked else { return Ok(None) };
    if old.runs_as(new)? {
        return Ok(Some(Proof(Kind::Unchanged)));
    }
    let apart = old.annotations_apart(new);
    let free = apart.is_some_and(|annotations| all_free(&floor.free_annotations, annotations.into_iter()));
    Ok(free.then_some(Proof(Kind::Unchanged)))
}

/// What is in a namespace that is going goes with it.
pub const fn collected() -> Proof {
    Proof::not_governed(NotGoverned::Collected)
}

/// A workload goes freely when it does not run, or goes with its owner or namespace, which were judged themselves.
pub fn removed_freely(
    runs: bool,
    namespace_going: bool,
    controller: Option<&Controller>,
    author: &Author,
) -> Option<Proof> {
    let collectors = ["system:serviceaccount:kube-system:generic-garbage-collector", "system:kube-controller-manager"];
    let by_collector = controller.is_some() && collectors.contains(&author.username.as_str());
    if !runs {
        return Some(Proof::not_governed(NotGoverned::NotRunning));
    }
    (namespace_going || by_collector).then(collected)
}

/// All six points, with the changes that were read live for this decision, the most advanced first. What was not read
/// allows nothing.
pub fn decide(question: &Question<'_>, changes: &[Evidence<'_>], now: Timestamp) -> Result<Proof, Refusal> {
    if !is_usable(&question.author.username) {
        let why = format!("{}: the caller's identity is empty or ambiguous", not_done(question));
        return Err(Refusal::new(Code::IdentityUnusable, why));
    }
    if let Some(proof) =
        unchanged(question.policies.floor(), &question.asked).map_err(|error| unreadable(question, &error))?
    {
        return Ok(proof);
    }
    judge(question, changes, now).unwrap_or_else(|error| Err(unreadable(question, &error)))
}

/// From the second point on. The outer error is about the template.
fn judge(
    question: &Question<'_>,
    changes: &[Evidence<'_>],
    now: Timestamp,
) -> Result<Result<Proof, Refusal>, TemplateError> {
    let would = Would::of(question)?;
    let base = question.known.and_then(|known| known.base.as_ref());
    let mut refused: Option<Refusal> = None;
    for evidence in changes {
        let content = match &would {
            None => Content::Removal,
            Some(would) => Content::Template { digest: &would.digest, parts: would.parts()?, base },
        };
        let what = not_done(question);
        match change::confirm(evidence, question.workload, &content, question.author, &what, now) {
            Ok(proof) => return Ok(Ok(proof)),
            // A change that is about other content is no help to whoever asks for this.
            Err(refusal) if refusal.code == Code::NotCovered => {}
            Err(refusal) => drop(refused.get_or_insert(refusal)),
        }
    }
    if let Some(proof) = recorded(question, would.as_ref()) {
        return Ok(Ok(proof));
    }
    if let Some(proof) = by_policy(question, would.as_ref())? {
        return Ok(Ok(proof));
    }
    Ok(Err(refused.unwrap_or_else(|| not_requested(question, would.as_ref()))))
}

/// What a workload would become.
struct Would<'a> {
    template: &'a Template,
    digest: String,
    parts: OnceCell<Base>,
}

impl<'a> Would<'a> {
    fn of(question: &Question<'a>) -> Result<Option<Self>, TemplateError> {
        match question.asked {
            Asked::Rollout { new, .. } | Asked::Creation { new } => {
                Ok(Some(Self { template: new, digest: new.digest()?, parts: OnceCell::new() }))
            }
            Asked::Removal => Ok(None),
        }
    }

    /// What it is compared by, which most refusals need not know.
    fn parts(&self) -> Result<&Base, TemplateError> {
        if let Some(parts) = self.parts.get() {
            return Ok(parts);
        }
        let parts = Base::of_template(self.template)?;
        Ok(self.parts.get_or_init(|| parts))
    }
}

/// The template ran here before, under authorisation: going back, or re-creating, is always allowed.
fn recorded(question: &Question<'_>, would: Option<&Would<'_>>) -> Option<Proof> {
    let (known, would) = (question.known?, would?);
    let allows = known.allows(&would.digest, question.effective.revisions);
    allows.then(|| Proof(Kind::Recorded(short(&would.digest).to_owned())))
}

/// A delegation or a standard change fits.
fn by_policy(question: &Question<'_>, would: Option<&Would<'_>>) -> Result<Option<Proof>, TemplateError> {
    let floor = question.policies.floor();
    let username = &question.author.username;
    let owner =
        question.controller.filter(|owner| floor.delegates(username, &owner.group, &owner.kind, DelegatedAction::Roll));
    if let Some(owner) = owner {
        return Ok(Some(Proof(Kind::Delegated(format!("{}/{}", owner.kind, owner.name)))));
    }
    let base = question.known.and_then(|known| known.base.as_ref());
    let (Some(base), Some(would), false) = (base, would, floor.standard_changes.is_empty()) else { return Ok(None) };
    let Some(exchanged) = base.exchanged(would.parts()?, &floor.free_annotations) else { return Ok(None) };
    let images = exchanged.iter().map(|image| image.new);
    let pattern = standard_change(floor, question.author, question.workload, &images);
    Ok(pattern.map(|pattern| Proof(Kind::Standard(pattern.to_owned()))))
}

/// The pattern of the standard change by which this actor may put all these images into this workload.
pub fn standard_change<'a, 'i>(
    floor: &'a Floor,
    actor: &Author,
    workload: &WorkloadIdentity,
    images: &(impl Iterator<Item = &'i str> + Clone),
) -> Option<&'a str> {
    standard_pattern(floor, |matcher| matches(matcher, actor), workload, images)
}

/// The same for whoever `is_actor` says.
pub fn standard_pattern<'a, 'i>(
    floor: &'a Floor,
    is_actor: impl Fn(&IdentityMatcher) -> bool,
    workload: &WorkloadIdentity,
    images: &(impl Iterator<Item = &'i str> + Clone),
) -> Option<&'a str> {
    let fits = |target: &StandardTarget| {
        target.group == workload.group
            && target.kind == workload.kind
            && glob(&target.namespace, &workload.namespace)
            && glob(&target.name, &workload.name)
    };
    let standard = floor.standard_changes.iter().find(|standard| {
        standard.actors.iter().any(&is_actor)
            && standard.targets.iter().any(fits)
            && images.clone().all(|image| glob(&standard.image_pattern, image))
    })?;
    Some(&standard.image_pattern)
}

fn not_done(question: &Question<'_>) -> String {
    let done = match question.asked {
        Asked::Rollout { .. } => "rolled out",
        Asked::Creation { .. } => "created",
        Asked::Removal => "deleted",
    };
    format!("{} was not {done}", question.workload.text())
}

fn unreadable(question: &Question<'_>, error: &TemplateError) -> Refusal {
    Refusal::new(Code::TemplateUnreadable, format!("{}: {error}", not_done(question)))
}

/// The last point: what would run, how it differs, and the line that asks for it.
fn not_requested(question: &Question<'_>, would: Option<&Would<'_>>) -> Refusal {
    let Some(would) = would else {
        let why = format!("{}: it still runs, and no approved change removes it", not_done(question));
        return with_request(Refusal::new(Code::RemovalNotRequested, why), question, Action::Remove, None, None);
    };
    let why = match question.asked {
        Asked::Rollout { releases: true, .. } => "a revision that nobody has signed off would go on",
        _ => "what would run is new, and no approved change names it",
    };
    let images = images(question, would);
    let refusal = Refusal::new(Code::RolloutNotRequested, format!("{}: {why}", not_done(question)))
        .detail(format!("Would run: {images} ({})", would.digest));
    with_request(refusal, question, Action::Apply, ContentDigest::parse(&would.digest), Some(&images))
}

/// Characters of a refusal about images.
const MOST_SHOWN: usize = 4096;

/// Bytes of them in the line that asks for a change.
const MOST_DESCRIBED: usize = 1024;

/// Images have no other letters; what has might not pass as a description, and would spoil the line.
fn is_plain(images: &str) -> bool {
    images.chars().all(|letter| letter.is_ascii_graphic() || letter == ' ' || letter == '→')
}

/// Images in words, old → new where they differ.
fn images(question: &Question<'_>, would: &Would<'_>) -> String {
    let was = match question.asked {
        Asked::Rollout { old, .. } => old.images(),
        Asked::Creation { .. } | Asked::Removal => BTreeMap::new(),
    };
    let becomes = would.template.images();
    let words = becomes.iter().map(|(container, new)| match was.get(container) {
        Some(old) if old != new => Exchange { container, old, new }.text(),
        Some(_) => format!("{container} {new}"),
        None => format!("{container} {new} (new)"),
    });
    let gone = was.keys().filter(|container| !becomes.contains_key(*container));
    let all = words.chain(gone.map(|container| format!("{container} (gone)"))).collect::<Vec<_>>().join(", ");
    // A template may be a megabyte of images. The digest stands for all of them.
    match all.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &all[..end]),
        None => all,
    }
}

fn with_request(
    refusal: Refusal,
    question: &Question<'_>,
    action: Action,
    digest: Option<ContentDigest>,
    images: Option<&str>,
) -> Refusal {
    let workload = question.workload;
    let verb = match question.asked {
        Asked::Rollout { .. } => "roll out",
        Asked::Creation { .. } => "create",
        Asked::Removal => "remove",
    };
    let home = if workload.namespace.is_empty() { question.own_namespace } else { &workload.namespace };
    let target = ChangeTarget {
        api_version: question.api_version.to_owned(),
        kind: workload.kind.clone(),
        namespace: None,
        name: workload.name.clone(),
        action,
        digest,
        images: None,
    };
    refusal.next(
        "Somebody who may request changes can ask for it with the line below; a second person then signs it off:",
        ready::change(
            home,
            &format!("{verb} {} {}", workload.kind, workload.name),
            images.filter(|images| images.len() <= MOST_DESCRIBED && is_plain(images)),
            &target,
        ),
    )
}

impl Exchange<'_> {
    /// `web nginx:1 → nginx:2`.
    pub fn text(&self) -> String {
        format!("{} {} → {}", self.container, self.old, self.new)
    }
}
