//! UPDATE of claims: labels that exempt, owners that would collect, finalizers that protect, and the approval
//! annotation, also through `/status` (facts 8, 17, 22; bypasses 12, 17, 23).

use foureyes_core::api::TargetKind;
use foureyes_core::domain::deletion::{Governance, is_data, scope};
use foureyes_core::domain::scope::{claim_owned, claim_unfinalized, claim_untouched, exempted};
use foureyes_core::domain::speaking::annotated_while_going;

use super::{Scene, annotations};
use crate::admission::confirm::unread;
use crate::admission::input;
use crate::admission::verdict::{Verdict, both, enforced};

pub async fn updated(scene: &Scene<'_>) -> Verdict {
    let namespace = input::namespace(scene.request)?;
    let (old, new) = (input::old(scene.request)?, input::new(scene.request)?);
    let (was, is) = (input::claim(namespace, old)?, input::claim(namespace, new)?);
    let owners = input::added_owners(&old.metadata, &new.metadata);
    let finalizers = input::removed_finalizers(&old.metadata, &new.metadata);
    let annotated = !annotations::unchanged(old, new);
    if let Some(proof) = claim_untouched((&was, &is), &owners, &finalizers, annotated) {
        return Ok(proof.into());
    }
    let place = scene.namespace(namespace)?;
    let policies = scene.index.policies();
    let effective = match scope(policies, scene.index.is_started(), &place.labels)? {
        Governance::Free(proof) => return Ok(proof.into()),
        Governance::Governed(effective) => effective,
    };
    let name = &*is.name;
    let text = format!("{namespace}/{name}");
    let labels = exempted(policies, &text, (&was, &is));
    let mut allowed = enforced(labels, effective.deletions)?;
    if !is_data(policies, &was) {
        return Ok(allowed);
    }
    allowed = both(allowed, enforced(claim_owned(policies, &text, &owners, scene.author()), effective.deletions)?);
    let unfinalized =
        claim_unfinalized(policies, namespace, name, &finalizers, was.going_since.is_some(), scene.author());
    allowed = both(allowed, enforced(unfinalized, effective.deletions)?);
    if !annotated {
        return Ok(allowed);
    }
    let target = input::target(TargetKind::PersistentVolumeClaim, Some(namespace), new)?;
    if is.going_since.is_some() {
        return Err(annotated_while_going(&target));
    }
    let inventory = scene.live.inventory_of_claim(&is).await.map_err(|error| unread(&error))?;
    // What would be evidence is never only warned about.
    Ok(both(allowed, annotations::written(scene, &target, &inventory).await?))
}
