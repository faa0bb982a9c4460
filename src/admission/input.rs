//! From wire objects to what decisions take.

use std::collections::{BTreeMap, HashSet};

use foureyes_core::api::{
    APPROVED_BY, APPROVED_BY_RECORD, BackupRetention, BackupRetentionStatus, ChangeRequest, ChangeRequestStatus,
    DeletionRequest, DeletionRequestStatus, METADATA_PREFIX, SignOff, Target, TargetKind, is_name,
};
use foureyes_core::domain::inventory::{Claim, Controller, owners};
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::scope::{AddedOwner, OwnMetadata};
use foureyes_core::domain::speaking::Annotation;
use foureyes_core::domain::volume::VolumeFacts;
use foureyes_core::reason::Code;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec, PersistentVolumeStatus};
use kube::api::ObjectMeta;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::review::{self, Metadata, Object, Owner, Request, Text};

/// A review that lacks what its operation always has, or carries what can't be read.
pub fn unreadable(what: &str) -> Refusal {
    Refusal::new(Code::ReviewUnreadable, format!("the review could not be read: {what}"))
}

/// The object as it was.
pub fn old<'r, 'a>(request: &'r Request<'a>) -> Result<&'r Object<'a>, Refusal> {
    request.old_object.as_ref().ok_or_else(|| unreadable("it has no oldObject"))
}

/// The object as it would be.
pub fn new<'r, 'a>(request: &'r Request<'a>) -> Result<&'r Object<'a>, Refusal> {
    request.object.as_ref().ok_or_else(|| unreadable("it has no object"))
}

fn required<'r>(text: Option<&'r Text<'_>>, what: &str) -> Result<&'r str, Refusal> {
    text.map(|text| &**text).filter(|text| !text.is_empty()).ok_or_else(|| unreadable(what))
}

/// Name of an object: of the object itself, for collection deletes leave the request's empty (fact 13).
pub fn name<'r>(object: &'r Object<'_>) -> Result<&'r str, Refusal> {
    required(object.metadata.name.as_ref(), "the object has no name")
}

pub fn uid<'r>(object: &'r Object<'_>) -> Result<&'r str, Refusal> {
    required(object.metadata.uid.as_ref(), "the object has no UID")
}

pub fn namespace<'r>(request: &'r Request<'_>) -> Result<&'r str, Refusal> {
    required(request.namespace.as_ref(), "it has no namespace")
}

/// All labels.
pub fn labels(metadata: &Metadata<'_>) -> BTreeMap<String, String> {
    let labels = metadata.labels.iter().flatten();
    labels.map(|(key, value)| (key.to_string(), value.as_deref().unwrap_or_default().to_owned())).collect()
}

/// Labels that begin with `foureyes.dev/`.
fn own_labels(metadata: &Metadata<'_>) -> BTreeMap<String, String> {
    let labels = metadata.labels.iter().flatten().filter(|(key, _)| key.starts_with(METADATA_PREFIX));
    labels.map(|(key, value)| (key.to_string(), value.as_deref().unwrap_or_default().to_owned())).collect()
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimSpec<'a> {
    #[serde(borrow, default)]
    volume_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    storage_class_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    resources: Option<Resources<'a>>,
}

#[derive(Default, Deserialize)]
struct Resources<'a> {
    #[serde(borrow, default)]
    requests: Option<BTreeMap<Text<'a>, Text<'a>>>,
}

fn parsed<'a, T: Deserialize<'a> + Default>(object: &Object<'a>) -> Result<T, Refusal> {
    let Some(raw) = object.spec else { return Ok(T::default()) };
    serde_json::from_str(raw.get()).map_err(|error| unreadable(&format!("spec: {error}")))
}

/// A claim, from the object of its review.
pub fn claim(namespace: &str, object: &Object<'_>) -> Result<Claim, Refusal> {
    let spec: ClaimSpec<'_> = parsed(object)?;
    let meta = &object.metadata;
    let labels = meta.labels.iter().flatten().map(|(key, value)| (&**key, value.as_deref().unwrap_or_default()));
    let size = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage"));
    Ok(Claim {
        namespace: namespace.into(),
        name: name(object)?.into(),
        uid: uid(object)?.into(),
        volume: spec.volume_name.as_deref().filter(|name| is_name(name)).map(Into::into),
        storage_class: spec.storage_class_name.as_deref().map(Into::into),
        size: size.map(|size| (&**size).into()),
        controller: controller(meta),
        owners: owners(meta.owner_references.iter().flatten().map(|owner| &*owner.uid)),
        going_since: going_since(meta)?,
        ..Claim::default()
    }
    .labelled(labels))
}

/// The owner that controls an object.
pub fn controlling_owner<'r, 'a>(meta: &'r Metadata<'a>) -> Option<&'r Owner<'a>> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The same, as decisions take it.
pub fn controller(meta: &Metadata<'_>) -> Option<Controller> {
    let owner = controlling_owner(meta)?;
    Some(Controller { group: owner.group().into(), kind: (&*owner.kind).into(), name: (&*owner.name).into() })
}

/// The new object of this kind as a whole. A review always names the kind; what is hashed names it in any case.
pub fn whole(body: &[u8], api_version: &str, kind: &str) -> Result<serde_json::Value, Refusal> {
    let mut object = review::whole(body).map_err(|error| unreadable(&format!("object: {error}")))?;
    let fields = object.as_object_mut().ok_or_else(|| unreadable("the object is none"))?;
    fields.insert("apiVersion".to_owned(), api_version.into());
    fields.insert("kind".to_owned(), kind.into());
    Ok(object)
}

/// Both objects as a whole: as it was and as it would be, null where there is none.
pub fn both(body: &[u8]) -> Result<[serde_json::Value; 2], Refusal> {
    review::both(body).map_err(|error| unreadable(&format!("object: {error}")))
}

/// The deletionTimestamp, if there is one.
pub fn going_since(meta: &Metadata<'_>) -> Result<Option<jiff::Timestamp>, Refusal> {
    let parse = |text: &Text<'_>| text.parse().map_err(|_| unreadable("deletionTimestamp"));
    meta.deletion_timestamp.as_ref().map(parse).transpose()
}

/// The fields of a workload's spec by which it holds a revision back, unread.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeldBack<'a> {
    #[serde(borrow, default)]
    paused: Option<&'a RawValue>,
    #[serde(borrow, default)]
    strategy: Option<&'a RawValue>,
    #[serde(borrow, default)]
    update_strategy: Option<&'a RawValue>,
}

/// What holds a revision of a workload back, as text.
pub fn held_back<'a>(object: &Object<'a>) -> Result<[Option<&'a str>; 3], Refusal> {
    let spec: HeldBack<'a> = parsed(object)?;
    Ok([spec.paused, spec.strategy, spec.update_strategy].map(|field| field.map(RawValue::get)))
}

/// What was left unread; null where there is nothing.
pub fn value(raw: Option<&RawValue>) -> Result<serde_json::Value, Refusal> {
    let read = raw.map_or(Ok(serde_json::Value::Null), |raw| serde_json::from_str(raw.get()));
    read.map_err(|error| unreadable(&error.to_string()))
}

#[derive(Default, Deserialize)]
struct NamespaceSpec<'a> {
    #[serde(borrow, default)]
    finalizers: Option<Vec<Text<'a>>>,
}

/// Whether a namespace loses any of its `spec.finalizers`.
pub fn namespace_loses_finalizer(old: &Object<'_>, new: &Object<'_>) -> Result<bool, Refusal> {
    let (old, new): (NamespaceSpec<'_>, NamespaceSpec<'_>) = (parsed(old)?, parsed(new)?);
    Ok(!missing(old.finalizers.as_deref(), new.finalizers.as_deref()).is_empty())
}

/// Those of the first list that are not in the second. Both can have thousands, so that none is searched for in a list.
fn missing<'r>(of: Option<&'r [Text<'_>]>, among: Option<&[Text<'_>]>) -> Vec<&'r str> {
    let known: HashSet<&str> = among.into_iter().flatten().map(|text| &**text).collect();
    of.into_iter().flatten().map(|text| &**text).filter(|text| !known.contains(text)).collect()
}

/// Owners that the new object has and the old had not, or not as its controller. A UID alone is no owner: under
/// another name or kind it is nobody, and the object would be collected; as a pod it would make a claim ephemeral.
pub fn added_owners(old: &Metadata<'_>, new: &Metadata<'_>) -> Vec<AddedOwner> {
    let controls = |owner: &Owner<'_>| owner.controller == Some(true);
    let old = || old.owner_references.iter().flatten();
    let had: HashSet<_> = old().map(identity).collect();
    let controlled: HashSet<_> = old().filter(|owner| controls(owner)).map(identity).collect();
    let is_new = |owner: &&Owner<'_>| !(if controls(owner) { &controlled } else { &had }).contains(&identity(owner));
    let added = new.owner_references.iter().flatten().filter(is_new);
    added
        .map(|owner| AddedOwner {
            group: owner.group().to_owned(),
            kind: owner.kind.to_string(),
            name: owner.name.to_string(),
        })
        .collect()
}

/// Whom a reference means; the version of its kind does not matter.
fn identity<'r>(owner: &'r Owner<'_>) -> [&'r str; 4] {
    [owner.group(), &*owner.kind, &*owner.name, &*owner.uid]
}

/// Finalizers that the old object had and the new has not.
pub fn removed_finalizers<'r>(old: &'r Metadata<'_>, new: &Metadata<'_>) -> Vec<&'r str> {
    missing(old.finalizers.as_deref(), new.finalizers.as_deref())
}

/// Metadata of our own objects that decides anything.
pub fn own_metadata(meta: &Metadata<'_>) -> OwnMetadata {
    let mut entries = own_labels(meta);
    // A label and an annotation of one key are two things.
    entries.extend(meta.annotations.0.iter().map(|(key, value)| (format!("{key}#annotation"), value.to_string())));
    OwnMetadata {
        owners: meta.owner_references.iter().flatten().map(|owner| identity(owner).join("/")).collect(),
        finalizers: meta.finalizers.iter().flatten().map(ToString::to_string).collect(),
        entries,
    }
}

/// The approval annotation and its record.
pub fn annotation<'r>(meta: &'r Metadata<'_>) -> Annotation<'r> {
    Annotation { value: meta.annotations.get(APPROVED_BY), record: meta.annotations.get(APPROVED_BY_RECORD) }
}

/// What a deletion of this claim or namespace would be a target of.
pub fn target(kind: TargetKind, namespace: Option<&str>, object: &Object<'_>) -> Result<Target, Refusal> {
    versioned(kind, "v1", namespace, object)
}

/// The same of an object of any kind, in the version in which it is sent.
pub fn versioned(
    kind: TargetKind,
    version: &str,
    namespace: Option<&str>,
    object: &Object<'_>,
) -> Result<Target, Refusal> {
    let group = if kind.group().is_empty() { String::new() } else { format!("{}/", kind.group()) };
    Ok(Target {
        api_version: format!("{group}{version}"),
        kind,
        namespace: namespace.map(str::to_owned),
        name: name(object)?.to_owned(),
        uid: uid(object)?.to_owned(),
    })
}

/// A request; its status is not part of a review's final object and is read live where it matters.
pub fn deletion_request(object: &Object<'_>) -> Result<DeletionRequest, Refusal> {
    Ok(DeletionRequest {
        metadata: metadata(object),
        spec: stated(object, "DeletionRequest")?,
        status: None::<DeletionRequestStatus>,
    })
}

/// A change; its status is read live where it matters.
pub fn change_request(request: &Request<'_>, object: &Object<'_>) -> Result<ChangeRequest, Refusal> {
    let metadata = ObjectMeta { namespace: Some(namespace(request)?.to_owned()), ..metadata(object) };
    Ok(ChangeRequest { metadata, spec: stated(object, "ChangeRequest")?, status: None::<ChangeRequestStatus> })
}

/// A retention; its status is read live where it matters.
pub fn retention(object: &Object<'_>) -> Result<BackupRetention, Refusal> {
    Ok(BackupRetention {
        metadata: metadata(object),
        spec: stated(object, "BackupRetention")?,
        status: None::<BackupRetentionStatus>,
    })
}

/// A volume.
pub fn volume(object: &Object<'_>) -> Result<VolumeFacts, Refusal> {
    let spec: PersistentVolumeSpec = parsed(object)?;
    let status: Option<PersistentVolumeStatus> = match object.status {
        Some(raw) => Some(serde_json::from_str(raw.get()).map_err(|error| unreadable(&format!("status: {error}")))?),
        None => None,
    };
    Ok(VolumeFacts::of(&PersistentVolume { metadata: metadata(object), spec: Some(spec), status }))
}

/// A sign-off.
pub fn sign_off(object: &Object<'_>) -> Result<SignOff, Refusal> {
    Ok(SignOff { metadata: metadata(object), spec: stated(object, "SignOff")? })
}

/// The spec of an object of ours. The schema keeps out what can't be read; what comes all the same is said by its field.
fn stated<'a, T: Deserialize<'a>>(object: &Object<'a>, kind: &str) -> Result<T, Refusal> {
    let raw = object.spec.map_or("null", RawValue::get);
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(raw)).map_err(|error| {
        let name = object.metadata.name.as_deref().or(object.metadata.generate_name.as_deref()).unwrap_or_default();
        let path = error.path().to_string();
        let field = if path == "." { "spec".to_owned() } else { format!("spec.{path}") };
        let error = error.into_inner().to_string();
        let why = error.rsplit_once(" at line ").map_or(error.as_str(), |(why, _)| why);
        let why: String = why.chars().take(200).collect();
        Refusal::new(Code::RequestInvalid, format!("{kind} {name} was not written: {field}: {why}"))
            .next("See what each field takes with:", format!("kubectl explain {}.spec", kind.to_lowercase()))
    })
}

fn spec<'a, T: Deserialize<'a>>(object: &Object<'a>) -> Result<T, Refusal> {
    let raw = object.spec.ok_or_else(|| unreadable("the object has no spec"))?;
    serde_json::from_str(raw.get()).map_err(|error| unreadable(&format!("spec: {error}")))
}

fn metadata(object: &Object<'_>) -> ObjectMeta {
    let meta = &object.metadata;
    ObjectMeta {
        name: meta.name.as_ref().map(ToString::to_string),
        generate_name: meta.generate_name.as_ref().map(ToString::to_string),
        uid: meta.uid.as_ref().map(ToString::to_string),
        generation: meta.generation,
        ..ObjectMeta::default()
    }
}

/// A policy as the value that the index compiles from.
pub fn policy(object: &Object<'_>) -> Result<serde_json::Value, Refusal> {
    let spec: serde_json::Value = spec(object)?;
    let generation = object.metadata.generation;
    Ok(serde_json::json!({
        "apiVersion": foureyes_core::api::API_VERSION,
        "kind": "SafetyPolicy",
        "metadata": {"name": name(object)?, "generation": generation},
        "spec": spec,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    fn metadata(text: &str) -> Metadata<'_> {
        serde_json::from_str(text).unwrap()
    }

    fn owner(name: &str, controller: bool) -> serde_json::Value {
        json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": name, "controller": controller})
    }

    #[test]
    fn owners_are_new_by_any_part_or_as_the_controller() {
        let old = json!({"ownerReferences": [owner("a", false), owner("b", true)]}).to_string();
        let mut other = owner("b", true);
        other["uid"] = json!("c");
        for (new, expected) in
            [(owner("a", false), 0), (owner("b", false), 0), (owner("a", true), 1), (owner("c", false), 1), (other, 1)]
        {
            let new = json!({"ownerReferences": [new]}).to_string();
            assert_eq!(added_owners(&metadata(&old), &metadata(&new)).len(), expected, "{new}");
        }
    }

    /// As many as fit into an object: held against each other they would take longer than a review may.
    #[test]
    fn what_is_compared_may_be_long() {
        let owners: Vec<_> = (0..15_000).map(|at| owner(&at.to_string(), true)).collect();
        let finalizers: Vec<_> = (0..40_000).map(|at| format!("example.com/{at}")).collect();
        let old = json!({"ownerReferences": owners, "finalizers": finalizers}).to_string();
        let new = json!({"ownerReferences": owners, "finalizers": finalizers[1..]}).to_string();
        let (old, new, began) = (metadata(&old), metadata(&new), Instant::now());
        assert!(added_owners(&old, &new).is_empty());
        assert_eq!(removed_finalizers(&old, &new), ["example.com/0"]);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}
