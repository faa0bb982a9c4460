//! Volumes: nobody destroys what a retention holds, under whichever object it is known, and no person destroys what holds
//! data in production past its claim (bypasses 20 and 21).

use foureyes_core::api::{Target, TargetKind};
use foureyes_core::domain::deletion::{Governance, scope};
use foureyes_core::domain::inventory::{Claim, Inventory};
use foureyes_core::domain::policy::Effective;
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::retention::guard::{
    Deed, Touched, VOLUME_PROTECTION, aliases, confirmed, deed, govern_volume, harmless, home, in_use_elsewhere,
    is_blank, past_its_claim, reclaims, sentence,
};
use foureyes_core::domain::retention::keepers::VOLUME;
use foureyes_core::domain::volume::{ClaimRef, VolumeFacts};
use foureyes_core::index::Candidate;
use jiff::Timestamp;

use super::retentions::effective;
use super::{Scene, deletions};
use crate::admission::confirm::unread;
use crate::admission::input;
use crate::admission::verdict::{Verdict, enforced};
use crate::cluster::retentions::Said;

/// A volume, alone or with others.
pub async fn deleted(scene: &Scene<'_>) -> Verdict {
    let volume = input::volume(input::old(scene.request)?)?;
    judged(scene, &volume, Deed::Deleted).await
}

/// A volume, also through `/status`, which lets all metadata through (fact 8).
pub async fn updated(scene: &Scene<'_>) -> Verdict {
    let (old, new) = (input::old(scene.request)?, input::new(scene.request)?);
    let (was, is) = (input::volume(old)?, input::volume(new)?);
    let touched = Touched {
        // The controller notes on a volume what brings its claim back.
        ours: !scene.is_controller()
            && input::own_metadata(&old.metadata).entries != input::own_metadata(&new.metadata).entries,
        unprotected: input::removed_finalizers(&old.metadata, &new.metadata).contains(&VOLUME_PROTECTION),
        owned: !input::added_owners(&old.metadata, &new.metadata).is_empty(),
    };
    let claims = match is.claim.as_ref().filter(|claim| claim.uid.is_some() && was.claim.as_ref() != Some(claim)) {
        Some(claim) => claims(scene, claim, &is.volume.name).await?,
        None => false,
    };
    match deed(&was, &is, touched, |_| claims) {
        None => Ok(harmless().into()),
        Some(deed) => judged(scene, &was, deed).await,
    }
}

/// Whether the claim that a volume names is there, and takes this volume or none yet: from another one's the binder would
/// take the volume away, and leave it to anybody.
async fn claims(scene: &Scene<'_>, claim: &ClaimRef, volume: &str) -> Result<bool, Refusal> {
    let live = scene.live.claim(&claim.namespace, &claim.name).await.map_err(|error| unread(&error))?;
    Ok(live.as_ref().map(Claim::of).is_some_and(|live| {
        Some(&live.uid) == claim.uid.as_ref() && live.volume.as_deref().is_none_or(|bound| bound == volume)
    }))
}

/// Another object for the same data: with it the data could be destroyed, or bound by others, while what is held stays
/// untouched.
pub async fn created(scene: &Scene<'_>) -> Verdict {
    let volume = input::volume(input::new(scene.request)?)?;
    match released(scene, &volume, None).await? {
        Some(proof) => Ok(proof.into()),
        None => elsewhere(scene, &volume, None),
    }
}

/// Whether a claim in production has the data of a volume under another one's name, and it would be reclaimed under this.
fn elsewhere(scene: &Scene<'_>, volume: &VolumeFacts, deed: Option<Deed>) -> Verdict {
    let facts = &volume.volume;
    let policies = scene.index.policies();
    for handle in facts.handle.iter().filter(|_| reclaims(deed, volume)) {
        for claim in scene.index.claims_on(handle, &facts.name) {
            let labels = scene.index.namespace(&claim.namespace).map(|entry| entry.labels.clone()).unwrap_or_default();
            let scope = scope(policies, scene.index.is_started(), &labels)?;
            if let Governance::Governed(effective) = govern_volume(policies, scope, claim, scene.author()) {
                return enforced(Err(in_use_elsewhere(volume, deed, claim)), effective.deletions);
            }
        }
    }
    Ok(harmless().into())
}

async fn judged(scene: &Scene<'_>, volume: &VolumeFacts, deed: Deed) -> Verdict {
    let proof = released(scene, volume, Some(deed)).await?;
    // What was let go of is what was left of a claim. Once a claim has it again, it goes with that.
    if let Some(proof) = proof.filter(|_| !is_claimed(scene, volume)) {
        return Ok(proof.into());
    }
    elsewhere(scene, volume, Some(deed))?;
    if is_blank(volume) {
        return Ok(harmless().into());
    }
    let claim = known_claim(scene, volume);
    let policies = scene.index.policies();
    let mut labels = scene.index.namespace(&claim.namespace).map(|entry| entry.labels.clone()).unwrap_or_default();
    // Of a namespace that is gone nothing says that it was not production, neither does one that has its name now.
    if !policies.is_production(&labels) && !is_claimed(scene, volume) && !was_there(scene, &claim.namespace).await? {
        labels.clear();
    }
    let governance =
        govern_volume(policies, scope(policies, scene.index.is_started(), &labels)?, &claim, scene.author());
    match governance {
        Governance::Free(proof) => Ok(proof.into()),
        Governance::Governed(effective) => {
            let verdict = asked_for(scene, volume, deed, &effective).await;
            enforced(verdict, effective.deletions)
        }
    }
}

/// Whether the claim that a volume names is there, or was a moment ago.
fn is_claimed(scene: &Scene<'_>, volume: &VolumeFacts) -> bool {
    let known = |claim: &ClaimRef| scene.index.claim(&claim.namespace, &claim.name).map(|known| known.uid.clone());
    volume.bound || volume.claim.as_ref().is_some_and(|claim| claim.uid.is_some() && known(claim) == claim.uid)
}

/// Whether the namespace of this name was there before the volume of the review was.
async fn was_there(scene: &Scene<'_>, namespace: &str) -> Result<bool, Refusal> {
    let live = scene.live.namespace(namespace).await.map_err(|error| unread(&error))?;
    let since = live.and_then(|live| live.metadata.creation_timestamp).map(|time| time.0);
    let [volume, _] = input::both(scene.body)?;
    let born = volume.pointer("/metadata/creationTimestamp").and_then(|time| time.as_str()?.parse::<Timestamp>().ok());
    Ok(since.zip(born).is_some_and(|(since, born)| since <= born))
}

/// A volume that is bound goes with its claim; for another one that nothing holds there may be a request of its own.
async fn asked_for(
    scene: &Scene<'_>,
    volume: &VolumeFacts,
    deed: Deed,
    effective: &Effective,
) -> Result<Proof, Refusal> {
    let facts = &volume.volume;
    if deed != Deed::Deleted || volume.bound || scene.index.candidates(&facts.uid, false).is_empty() {
        return Err(past_its_claim(volume, deed, effective));
    }
    let target = Target {
        api_version: "v1".to_owned(),
        kind: TargetKind::PersistentVolume,
        namespace: None,
        name: facts.name.to_string(),
        uid: facts.uid.to_string(),
    };
    let inventory = Inventory::of_keeper(&target, facts.handle.as_deref());
    deletions::asked_for(scene, &target, &inventory, effective).await
}

/// The claim that a volume names, as it is known; of one that is gone only its class is, from the volume.
fn known_claim(scene: &Scene<'_>, volume: &VolumeFacts) -> Claim {
    let named = volume.claim.clone().unwrap_or_default();
    let known = scene.index.claim(&named.namespace, &named.name).filter(|known| Some(&known.uid) == named.uid.as_ref());
    known.cloned().unwrap_or_else(|| Claim {
        namespace: named.namespace,
        name: named.name,
        uid: named.uid.unwrap_or_default(),
        storage_class: volume.storage_class.clone(),
        // What labels it had is not known, so that none exempts it.
        too_many_labels: true,
        ..Claim::default()
    })
}

/// Whether everything that holds the volume, or its data, has been let go of; nothing if nothing holds it.
async fn released(scene: &Scene<'_>, volume: &VolumeFacts, deed: Option<Deed>) -> Result<Option<Proof>, Refusal> {
    let facts = &volume.volume;
    let own = if deed.is_some() { scene.index.holds(&facts.uid) } else { Vec::new() };
    let by_handle = facts.handle.as_deref().map(|handle| scene.index.holds_handle(VOLUME, handle)).unwrap_or_default();
    let others: Vec<Candidate> = by_handle.into_iter().filter(|candidate| !own.contains(candidate)).collect();
    if own.is_empty() && others.is_empty() {
        return Ok(None);
    }
    // Boxed, because most reviews end before this.
    Box::pin(all_released(scene, volume, deed, (&own, &others))).await
}

async fn all_released(
    scene: &Scene<'_>,
    volume: &VolumeFacts,
    deed: Option<Deed>,
    (own, others): (&[Candidate], &[Candidate]),
) -> Result<Option<Proof>, Refusal> {
    let mut proof = None;
    for candidate in own {
        if let Some(said) = read(scene, candidate).await? {
            proof = Some(confirm(scene, &said, volume, deed)?);
        }
    }
    let mut known = Vec::new();
    for candidate in others {
        known.extend(read(scene, candidate).await?);
    }
    let places: Vec<_> = known.iter().map(|said| home(&said.retention)).collect();
    if !known.is_empty() && aliases(deed, volume, &places) {
        for said in &known {
            proof = Some(confirm(scene, said, volume, deed)?);
        }
    }
    Ok(proof)
}

/// Nothing if it is gone meanwhile.
async fn read(scene: &Scene<'_>, candidate: &Candidate) -> Result<Option<Said>, Refusal> {
    scene.live.said_about_retention(&candidate.name).await.map_err(|error| unread(&error))
}

fn confirm(scene: &Scene<'_>, said: &Said, volume: &VolumeFacts, deed: Option<Deed>) -> Result<Proof, Refusal> {
    let effective = effective(scene, &said.retention)?;
    let case = said.case(&scene.index.policies().floor().identities, &effective);
    confirmed(&case, &format!("{VOLUME} {}", volume.volume.name), sentence(deed), scene.now)
}

/// Whether all these retentions, which hold an object of another kind, have been let go of; nothing if there are none.
pub async fn let_go(
    scene: &Scene<'_>,
    holders: &[Candidate],
    what: &str,
    done: &str,
) -> Result<Option<Proof>, Refusal> {
    let mut proof = None;
    for candidate in holders {
        let Some(said) = read(scene, candidate).await? else { continue };
        let effective = effective(scene, &said.retention)?;
        let case = said.case(&scene.index.policies().floor().identities, &effective);
        proof = Some(confirmed(&case, what, done, scene.now)?);
    }
    Ok(proof)
}
