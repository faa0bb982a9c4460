//! The approval annotation on claims and namespaces (design §4).

use foureyes_core::api::Target;
use foureyes_core::domain::inventory::Inventory;
use foureyes_core::domain::judgement::Right;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::speaking::{Speaker, annotated, annotated_over, sign_off_beside};
use foureyes_core::reason::Code;

use super::Scene;
use crate::admission::confirm::unread;
use crate::admission::input;
use crate::admission::review::Object;
use crate::admission::verdict::Verdict;
use crate::cluster::access::Requests;

/// Whether the annotation and its record stay as they were.
pub fn unchanged(old: &Object<'_>, new: &Object<'_>) -> bool {
    let (old, new) = (input::annotation(&old.metadata), input::annotation(&new.metadata));
    old.value == new.value && old.record == new.record
}

/// The annotation was written or taken away; `inventory` is what would be lost now.
pub async fn written(scene: &Scene<'_>, target: &Target, inventory: &Inventory) -> Verdict {
    let object = input::new(scene.request)?;
    let after = input::annotation(&object.metadata);
    let withdrawn = after.value.is_none() && after.record.is_none();
    let namespace = target.rights_namespace();
    let may_approve = !withdrawn
        && scene
            .live
            .may(scene.author(), Right::Approve, Requests::Deletions, namespace)
            .await
            .map_err(|error| unread(&error))?;
    let digest = inventory
        .digest()
        .map_err(|error| Refusal::new(Code::InventoryUnknown, format!("nothing was written: {error}")))?;
    let ring = scene.live.key_ring().await.map_err(|error| unread(&error))?;
    let speaker = Speaker {
        author: scene.author(),
        dry_run: scene.dry_run(),
        may_request: false,
        may_approve,
        open: 0,
        is_controller: scene.is_controller(),
    };
    let identities = &scene.index.policies().floor().identities;
    let proof = annotated(&speaker, target, &after, &digest, identities, &ring, scene.now)?;
    if after.value.is_some() {
        let before = input::annotation(&input::old(scene.request)?.metadata).record;
        if let Err(refusal) = annotated_over(scene.author(), target, before, &digest, &ring) {
            return Err(with_its_request(scene, target, refusal).await);
        }
    }
    Ok(proof.into())
}

/// Requests looked at for the one that counts an approval by annotation.
const LOOKED_AT: usize = 4;

/// The refusal with the line that signs off the request for the annotation, if that is known already.
async fn with_its_request(scene: &Scene<'_>, target: &Target, refusal: Refusal) -> Refusal {
    for candidate in scene.index.candidates(&target.uid, false).iter().take(LOOKED_AT) {
        let Ok(Some(request)) = scene.live.request(&candidate.name).await else { break };
        if let Some(command) = sign_off_beside(&request) {
            return refusal.next("When you have looked, sign the request off with:", command);
        }
    }
    refusal
}
