//! The approval annotation on claims and namespaces (design §4).

use foureyes_core::api::Target;
use foureyes_core::domain::inventory::Inventory;
use foureyes_core::domain::judgement::Right;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::speaking::{Speaker, annotated};
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
    Ok(proof.into())
}
