//! DeletionRequests: who may ask, and that what was asked stays as it was.

use std::collections::BTreeMap;

use foureyes_core::api::{DeletionRequest, Target, TargetKind};
use foureyes_core::domain::agreement::long_enough;
use foureyes_core::domain::judgement::Right;
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::scope::{OwnMetadata, own_metadata};
use foureyes_core::domain::speaking::{Speaker, request_created, request_deleted, usable};
use foureyes_core::domain::supervising::owes_nothing;
use foureyes_core::reason::Code;
use foureyes_core::seal::KeyRing;
use jiff::Timestamp;

use super::Scene;
use crate::admission::confirm::unread;
use crate::admission::input;
use crate::admission::verdict::Verdict;
use crate::cluster::access::Requests;
use crate::cluster::live::ReadError;

pub async fn created(scene: &Scene<'_>) -> Verdict {
    usable(scene.author())?;
    let request = input::deletion_request(input::new(scene.request)?)?;
    let target = &request.spec.target;
    born_bare(scene, "DeletionRequest")?;
    if !target.is_well_formed() {
        let sentence = "the request was not created: its target names nothing that can exist";
        return Err(Refusal::new(Code::SubjectUnknown, sentence)
            .next("See what each field takes with:", "kubectl explain deletionrequest.spec.target"));
    }
    let namespace = target.rights_namespace();
    let read = async {
        let may_request = scene.live.may(scene.author(), Right::Request, Requests::Deletions, namespace).await?;
        // Whoever may not ask is told nothing about the object.
        let now = if may_request { target_now(scene, target).await? } else { None };
        Ok((may_request, now, scene.live.key_ring().await?))
    };
    let (may_request, target_now, ring) = read.await.map_err(|error: ReadError| unread(&error))?;
    let speaker = Speaker {
        author: scene.author(),
        dry_run: scene.dry_run(),
        may_request,
        may_approve: false,
        open: scene.index.open_requests_of(&scene.author().username.to_lowercase()),
        is_controller: scene.is_controller(),
    };
    let uid = target_now.as_ref().map(|now| now.uid.as_str());
    let proof = request_created(&speaker, &request, uid, &ring, scene.now)?;
    long_enough_there(scene, &request).await?;
    if !scene.is_controller() {
        nothing_owed(scene, target, &ring).await?;
    }
    Ok(proof.into())
}

/// Where the policy says so, whoever asked for a deletion that nobody supervised in time asks for no other one.
async fn nothing_owed(scene: &Scene<'_>, target: &Target, ring: &KeyRing) -> Result<(), Refusal> {
    let labels = labels_around(scene, target).await?;
    // What can't be read may say so.
    if scene.index.policies().effective(&labels).is_ok_and(|effective| !effective.refuse_unsupervised) {
        return Ok(());
    }
    let author = scene.author();
    let mut overdue = Vec::new();
    for candidate in scene.index.overdue(&author.username.to_lowercase(), scene.now) {
        overdue.extend(scene.live.request(&candidate.name).await.map_err(|error| unread(&error))?);
    }
    owes_nothing(author, &format!("the request to delete {}", target.text()), &overdue, ring, scene.now)
}

/// Whoever wants the data kept for fewer days than the policies there allow is told at once.
async fn long_enough_there(scene: &Scene<'_>, request: &DeletionRequest) -> Result<(), Refusal> {
    if request.spec.retention.as_ref().is_none_or(|wish| wish.days.is_none()) {
        return Ok(());
    }
    let labels = labels_around(scene, &request.spec.target).await?;
    let effective = scene.index.policies().effective(&labels).map_err(|policy| {
        Refusal::new(Code::PolicyUndecodable, format!("the SafetyPolicy {} can't be read", policy.name))
    })?;
    long_enough(request, &effective)
}

/// By which policies are selected for a target; what lies in no namespace has none.
async fn labels_around(scene: &Scene<'_>, target: &Target) -> Result<BTreeMap<String, String>, Refusal> {
    match target.rights_namespace() {
        "" => Ok(BTreeMap::new()),
        namespace => Ok(scene.place(namespace).await?.labels.clone()),
    }
}

/// Nothing of ours is born with owners, which would have it collected, or with finalizers, which nobody could take off.
pub fn born_bare(scene: &Scene<'_>, kind: &str) -> Result<(), Refusal> {
    let object = input::new(scene.request)?;
    let bare = OwnMetadata { entries: input::own_metadata(&object.metadata).entries, ..OwnMetadata::default() };
    own_metadata(kind, input::name(object)?, &bare, &input::own_metadata(&object.metadata)).map(drop)
}

/// A target as it is now.
pub struct TargetNow {
    pub uid: String,
    pub going_since: Option<Timestamp>,
}

/// Reads a target live, by its name.
pub async fn target_now(scene: &Scene<'_>, target: &Target) -> Result<Option<TargetNow>, ReadError> {
    let metadata = match target.kind {
        TargetKind::PersistentVolumeClaim => {
            let namespace = target.namespace.as_deref().unwrap_or_default();
            scene.live.claim(namespace, &target.name).await?.map(|claim| claim.metadata)
        }
        TargetKind::Namespace => scene.live.namespace(&target.name).await?.map(|namespace| namespace.metadata),
        _ => scene.live.target(target).await?.map(|object| object.metadata),
    };
    Ok(metadata.map(|meta| TargetNow {
        uid: meta.uid.unwrap_or_default(),
        going_since: meta.deletion_timestamp.map(|time| time.0),
    }))
}

/// Whether exactly this target is there, or being deleted.
pub async fn state(scene: &Scene<'_>, target: &Target) -> Result<TargetState, Refusal> {
    let now = target_now(scene, target).await.map_err(|error| unread(&error))?;
    Ok(match now.filter(|now| now.uid == target.uid) {
        None => TargetState::Gone,
        Some(now) => now.going_since.map_or(TargetState::Live, TargetState::Going),
    })
}

/// Whether exactly this target is being deleted.
pub async fn is_going(scene: &Scene<'_>, target: &Target) -> Result<bool, Refusal> {
    Ok(matches!(state(scene, target).await?, TargetState::Going(_)))
}

/// The schema keeps the spec as it was; owners, finalizers and our own metadata are kept here.
pub fn updated(scene: &Scene<'_>, kind: &str) -> Verdict {
    let (old, new) = (input::old(scene.request)?, input::new(scene.request)?);
    let name = input::name(old)?;
    let (was, is) = (input::own_metadata(&old.metadata), input::own_metadata(&new.metadata));
    Ok(own_metadata(kind, name, &was, &is)?.into())
}

pub async fn deleted(scene: &Scene<'_>) -> Verdict {
    let old = input::deletion_request(input::old(scene.request)?)?;
    let name = old.metadata.name.as_deref().unwrap_or_default();
    let live = scene.live.request(name).await.map_err(|error| unread(&error))?;
    let request: DeletionRequest = live.filter(|live| live.metadata.uid == old.metadata.uid).unwrap_or(old);
    let namespace = request.spec.target.rights_namespace();
    let may = async |right| {
        let held = scene.live.may(scene.author(), right, Requests::Deletions, namespace).await;
        held.map_err(|error| unread(&error))
    };
    let speaker = Speaker {
        author: scene.author(),
        dry_run: scene.dry_run(),
        may_request: may(Right::Request).await?,
        may_approve: may(Right::Approve).await?,
        open: 0,
        is_controller: scene.is_controller(),
    };
    Ok(request_deleted(&speaker, &request, state(scene, &request.spec.target).await?, scene.now)?.into())
}
