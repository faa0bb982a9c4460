//! BackupRetentions: who makes one, and that it goes only once it keeps nothing; and what is said about one.

use std::collections::{BTreeMap, BTreeSet};

use foureyes_core::api::{BackupRetention, SignOff};
use foureyes_core::domain::judgement::Right;
use foureyes_core::domain::policy::Effective;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::retention::keepers::{VOLUME, seen};
use foureyes_core::domain::retention::speaking::{self, places};
use foureyes_core::domain::retention::{judge, place};
use foureyes_core::domain::speaking::Speaker;
use foureyes_core::domain::volume::VolumeFacts;
use foureyes_core::reason::Code;
use k8s_openapi::api::core::v1::PersistentVolume;

use super::{Scene, requests};
use crate::admission::confirm::unread;
use crate::admission::input;
use crate::admission::verdict::Verdict;
use crate::cluster::access::Requests;

pub async fn created(scene: &Scene<'_>) -> Verdict {
    let retention = input::retention(input::new(scene.request)?)?;
    requests::born_bare(scene, judge::KIND)?;
    let (mut volumes, mut rights) = (BTreeMap::new(), BTreeMap::new());
    if !scene.is_controller() {
        volumes = keepers(scene, &retention, VolumeFacts::of).await?;
        for place in places(&retention, &volumes) {
            let held = may(scene, Right::Request, &place).await?;
            rights.insert(place, held);
        }
    }
    let speaker = speaker(scene, (false, false));
    Ok(speaking::created(&speaker, &retention, &volumes, &rights)?.into())
}

pub async fn deleted(scene: &Scene<'_>) -> Verdict {
    let old = input::retention(input::old(scene.request)?)?;
    let name = old.metadata.name.as_deref().unwrap_or_default();
    let live = scene.live.retention(name).await.map_err(|error| unread(&error))?;
    let retention = live.filter(|live| live.metadata.uid == old.metadata.uid).unwrap_or(old);
    let place = place(&retention);
    let may = (may(scene, Right::Request, place).await?, may(scene, Right::Approve, place).await?);
    Ok(speaking::deleted(&speaker(scene, may), &retention)?.into())
}

/// Somebody says something about a retention.
pub async fn said(scene: &Scene<'_>, sign_off: &SignOff) -> Verdict {
    let name = &sign_off.spec.subject.name;
    let said = scene.live.said_about_retention(name).await.map_err(|error| unread(&error))?;
    let ring = match &said {
        Some(said) => said.ring().clone(),
        None => scene.live.key_ring().await.map_err(|error| unread(&error))?,
    };
    let may_approve = match &said {
        Some(said) => may(scene, Right::Approve, place(&said.retention)).await?,
        None => false,
    };
    let policies = scene.index.policies();
    let effective = match &said {
        Some(said) => Some(effective(scene, &said.retention)?),
        None => None,
    };
    let case = said.as_ref().zip(effective.as_ref());
    let case = case.map(|(said, effective)| said.case(&policies.floor().identities, effective));
    let speaker = speaker(scene, (false, may_approve));
    Ok(speaking::said(&speaker, sign_off, case.as_ref(), &ring, scene.now)?.into())
}

/// Somebody takes back what they have said about one, or the controller clears what is left of it.
pub async fn unsaid(scene: &Scene<'_>, sign_off: &SignOff) -> Verdict {
    let live = scene.live.retention(&sign_off.spec.subject.name).await.map_err(|error| unread(&error))?;
    let touched = match &live {
        Some(retention) => is_touched(scene, retention).await?,
        None => false,
    };
    Ok(speaking::unsaid(scene.author(), scene.is_controller(), sign_off, live.as_ref(), touched)?.into())
}

/// Whether more is gone, or going, than what nobody had let go of.
async fn is_touched(scene: &Scene<'_>, retention: &BackupRetention) -> Result<bool, Refusal> {
    let volumes = keepers(scene, retention, Clone::clone).await?;
    let here =
        |volume: Option<&PersistentVolume>| volume.is_some_and(|volume| volume.metadata.deletion_timestamp.is_none());
    let looked_at = retention.spec.keepers.iter().filter(|keeper| keeper.kind == VOLUME);
    let missing = looked_at.filter(|keeper| {
        let volume = volumes.get(keeper.name.as_str());
        !seen(keeper, volume).exists || !here(volume)
    });
    let lost = retention.status.as_ref().and_then(|status| status.lost).unwrap_or(0);
    Ok(missing.count() > usize::try_from(lost).unwrap_or(0))
}

/// What there is under the names of its keepers.
async fn keepers<T>(
    scene: &Scene<'_>,
    retention: &BackupRetention,
    keep: impl Fn(&PersistentVolume) -> T,
) -> Result<BTreeMap<Box<str>, T>, Refusal> {
    let names: BTreeSet<Box<str>> = retention.spec.keepers.iter().map(|keeper| keeper.name.as_str().into()).collect();
    scene.live.volumes(names, keep).await.map_err(|error| unread(&error))
}

async fn may(scene: &Scene<'_>, right: Right, place: &str) -> Result<bool, Refusal> {
    let held = scene.live.may(scene.author(), right, Requests::Retentions, place).await;
    held.map_err(|error| unread(&error))
}

fn speaker<'a>(scene: &'a Scene<'_>, (may_request, may_approve): (bool, bool)) -> Speaker<'a> {
    Speaker {
        author: scene.author(),
        dry_run: scene.dry_run(),
        may_request,
        may_approve,
        open: 0,
        is_controller: scene.is_controller(),
    }
}

/// What applies in the place of a retention; of a namespace that is gone nothing is known but what holds everywhere.
pub fn effective(scene: &Scene<'_>, retention: &BackupRetention) -> Result<Effective, Refusal> {
    let labels = scene.index.namespace(place(retention)).map(|entry| entry.labels.clone()).unwrap_or_default();
    scene.index.policies().effective(&labels).map_err(|policy| {
        Refusal::new(Code::PolicyUndecodable, format!("the SafetyPolicy {} can't be read", policy.name))
    })
}
