//! What runs (design §6): workloads that are created, changed or deleted, and what runs without a workload's own template
//! being touched: images of pods, and templates of replica sets (fact 25).

use foureyes_core::api::WorkloadIdentity;
use foureyes_core::domain::deletion::{Governance, terminating};
use foureyes_core::domain::inventory::Controller;
use foureyes_core::domain::policy::Effective;
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::rollout::decide::{
    Asked, Doing, Question, decide, removed_freely, scope, untouched, without_template,
};
use foureyes_core::domain::rollout::location::{FURTHER_GROUPS, Location, is_built_in, locate};
use foureyes_core::domain::rollout::release;
use foureyes_core::domain::rollout::template::{Template, TemplateError};
use foureyes_core::reason::Code;
use serde_json::Value;

use super::Scene;
use crate::admission::changes::Changes;
use crate::admission::input;
use crate::admission::review::{Object, Operation};
use crate::admission::verdict::{Verdict, enforced};

/// Labels by which controllers tell the replica sets of one workload apart. Its own template has none of them.
const HASHES: [&str; 2] = ["pod-template-hash", "rollouts-pod-template-hash"];

/// What is judged, by whatever way it was reached.
struct Subject {
    identity: WorkloadIdentity,
    api_version: String,
    /// Of the object under review.
    controller: Option<Controller>,
}

/// What would run, and what does.
#[derive(Default)]
struct Templates {
    old: Option<Template>,
    new: Option<Template>,
    /// A revision that was held back would go on.
    releases: bool,
}

impl Templates {
    fn asked(&self) -> Asked<'_> {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => Asked::Rollout { old, new, releases: self.releases },
            (None, Some(new)) => Asked::Creation { new },
            (_, None) => Asked::Removal,
        }
    }
}

/// Whether a review is about a kind that contains a pod template, or may contain one.
pub fn is_one(scene: &Scene<'_>) -> bool {
    let (group, kind) = (&*scene.request.resource.group, &*scene.request.kind.kind);
    // These come by themselves from what was judged; only their changes are.
    let follows = matches!((group, kind), ("", "Pod" | "ReplicationController") | ("apps", "ReplicaSet"));
    !follows && (is_built_in(group, kind) || location(scene).is_some() || FURTHER_GROUPS.contains(&group))
}

fn location(scene: &Scene<'_>) -> Option<Location> {
    let request = scene.request;
    locate(&request.resource.group, &request.kind.kind, &scene.index.policies().floor().rollout_resources)
}

/// A workload is created or updated.
pub async fn written(scene: &Scene<'_>) -> Verdict {
    let Some(location) = location(scene) else { return Ok(without_template().into()) };
    let new = input::new(scene.request)?;
    if scene.request.operation == Operation::Create {
        let subject = subject(scene, new, new)?;
        return judged(scene, &subject, Doing::Creation, || {
            Ok(Templates { new: Some(Template::of_json(&location, spec(new)?)?), ..Templates::default() })
        })
        .await;
    }
    let old = input::old(scene.request)?;
    let held_otherwise = input::held_back(old)? != input::held_back(new)?;
    if let Some(proof) = same_bytes(&location, old, new).filter(|_| !held_otherwise) {
        return Ok(proof.into());
    }
    let subject = subject(scene, new, old)?;
    judged(scene, &subject, Doing::Rollout, || {
        let releases = held_otherwise && releases(old, new)?;
        templates(&location, old, new).map(|templates| Templates { releases, ..templates })
    })
    .await
}

/// A pod gets other images, or another container beside those that it has.
pub async fn pod_updated(scene: &Scene<'_>) -> Verdict {
    let (old, new) = (input::old(scene.request)?, input::new(scene.request)?);
    let Some(location) = locate("", "Pod", &[]) else { return Ok(without_template().into()) };
    if let Some(proof) = same_bytes(&location, old, new) {
        return Ok(proof.into());
    }
    let identity = identity(scene, "", "Pod", input::name(new)?)?;
    let controller = input::controller(&old.metadata);
    let subject = Subject { identity, api_version: "v1".to_owned(), controller };
    judged(scene, &subject, Doing::Rollout, || templates(&location, old, new)).await
}

/// The template of a replica set or replication controller changes: judged as its workload, by whose record it may run.
pub async fn replica_set_updated(scene: &Scene<'_>, (group, kind): (&str, &str)) -> Verdict {
    let (old, new) = (input::old(scene.request)?, input::new(scene.request)?);
    let Some(location) = locate(group, kind, &[]) else { return Ok(without_template().into()) };
    if let Some(proof) = same_bytes(&location, old, new) {
        return Ok(proof.into());
    }
    let owner = input::controlling_owner(&old.metadata).filter(|owner| is_built_in(owner.group(), &owner.kind));
    let subject = match owner {
        Some(owner) => Subject {
            identity: identity(scene, owner.group(), &owner.kind, &owner.name)?,
            api_version: owner.api_version.to_string(),
            controller: input::controller(&old.metadata),
        },
        None => subject(scene, new, old)?,
    };
    let read = |object: &Object<'_>| {
        let mut spec: Value = serde_json::from_str(spec(object)?)?;
        if let Some(labels) = spec.pointer_mut("/template/metadata/labels").and_then(Value::as_object_mut) {
            labels.retain(|label, _| owner.is_none() || !HASHES.contains(&label.as_str()));
        }
        Template::of_value(&location, &spec)
    };
    judged(scene, &subject, Doing::Rollout, || {
        Ok(Templates { old: Some(read(old)?), new: Some(read(new)?), releases: false })
    })
    .await
}

/// A workload is deleted, alone, with others, or with what it belongs to.
pub async fn deleted(scene: &Scene<'_>) -> Verdict {
    if location(scene).is_none() {
        return Ok(without_template().into());
    }
    let old = input::old(scene.request)?;
    if input::going_since(&old.metadata)?.is_some() {
        return Ok(terminating().into());
    }
    let subject = subject(scene, old, old)?;
    let (spec, status) = (input::value(old.spec)?, input::value(old.status)?);
    let runs = release::runs(&subject.identity.kind, &spec, &status);
    if let Some(proof) = removed_freely(runs, false, subject.controller.as_ref(), scene.author()) {
        return Ok(proof.into());
    }
    if let Some(proof) = scene.gone_with_namespace(&subject.identity.namespace).await? {
        return Ok(proof.into());
    }
    judged(scene, &subject, Doing::Removal, || Ok(Templates::default())).await
}

/// `object` names it; `was` says whose it is.
fn subject(scene: &Scene<'_>, object: &Object<'_>, was: &Object<'_>) -> Result<Subject, Refusal> {
    let kind = &scene.request.kind;
    let group = &*scene.request.resource.group;
    let place = if group.is_empty() { String::new() } else { format!("{group}/") };
    Ok(Subject {
        identity: identity(scene, group, &kind.kind, input::name(object)?)?,
        api_version: format!("{place}{}", kind.version),
        controller: input::controller(&was.metadata),
    })
}

fn identity(scene: &Scene<'_>, group: &str, kind: &str, name: &str) -> Result<WorkloadIdentity, Refusal> {
    let namespace = input::namespace(scene.request)?;
    let [group, kind, namespace, name] = [group, kind, namespace, name].map(str::to_owned);
    Ok(WorkloadIdentity { group, kind, namespace, name })
}

fn spec<'a>(object: &Object<'a>) -> Result<&'a str, TemplateError> {
    object.spec.map(serde_json::value::RawValue::get).ok_or(TemplateError::Missing)
}

/// Nearly every update leaves what runs as it is, and needs to be read no further.
fn same_bytes(location: &Location, old: &Object<'_>, new: &Object<'_>) -> Option<Proof> {
    untouched(location.slice(old.spec?.get()), location.slice(new.spec?.get()))
}

/// An object that had no template yet begins to run with this update.
fn templates(location: &Location, old: &Object<'_>, new: &Object<'_>) -> Result<Templates, TemplateError> {
    let old = match spec(old).and_then(|spec| Template::of_json(location, spec)) {
        Ok(template) => Some(template),
        Err(TemplateError::Missing) => None,
        Err(error) => return Err(error),
    };
    Ok(Templates { old, new: Some(Template::of_json(location, spec(new)?)?), releases: false })
}

/// Whether a revision that is held back would go on.
fn releases(old: &Object<'_>, new: &Object<'_>) -> Result<bool, TemplateError> {
    let read = |object: &Object<'_>| -> Result<Value, TemplateError> { Ok(serde_json::from_str(spec(object)?)?) };
    let status = old.status.map_or("null", serde_json::value::RawValue::get);
    // Without a generation nothing is known of what was observed, so something may be pending.
    let generation = old.metadata.generation.unwrap_or(i64::MAX);
    Ok(release::releases(&read(old)?, &read(new)?)
        && release::is_pending(generation, &serde_json::from_str::<Value>(status)?))
}

async fn judged(
    scene: &Scene<'_>,
    subject: &Subject,
    doing: Doing,
    read: impl FnOnce() -> Result<Templates, TemplateError>,
) -> Verdict {
    let place = scene.place(&subject.identity.namespace).await?;
    let started = scene.index.is_started();
    let effective = match scope(scene.index.policies(), started, &place.name, &place.labels, doing)? {
        Governance::Free(proof) => return Ok(proof.into()),
        Governance::Governed(effective) => effective,
    };
    let verdict = match read() {
        Ok(templates) => governed(scene, subject, &templates, &effective).await,
        Err(error) => Err(unreadable(subject, &error)),
    };
    enforced(verdict, doing.mode(&effective))
}

fn unreadable(subject: &Subject, error: &TemplateError) -> Refusal {
    Refusal::new(Code::TemplateUnreadable, format!("{} was not rolled out: {error}", subject.identity.text()))
}

/// First by what the index and the policies prove, which needs no API server: going back works while it is slow.
async fn governed(
    scene: &Scene<'_>,
    subject: &Subject,
    templates: &Templates,
    effective: &Effective,
) -> Result<Proof, Refusal> {
    let question = Question {
        workload: &subject.identity,
        api_version: &subject.api_version,
        asked: templates.asked(),
        author: scene.author(),
        controller: subject.controller.as_ref(),
        known: scene.index.known(&subject.identity),
        policies: scene.index.policies(),
        effective,
        own_namespace: scene.own_namespace,
    };
    let refusal = match decide(&question, &[], scene.now) {
        Ok(proof) => return Ok(proof),
        Err(refusal) => refusal,
    };
    let candidates = scene.index.changes_of(&subject.identity);
    if candidates.is_empty() || !matches!(refusal.code, Code::RolloutNotRequested | Code::RemovalNotRequested) {
        return Err(refusal);
    }
    let changes = Changes::read(scene.live, &candidates, &subject.identity, scene.own_namespace).await?;
    decide(&question, &changes.evidence(scene.index.policies(), effective, scene.own_namespace), scene.now)
}
