//! UPDATE of namespaces, also through `/status` and `/finalize`: what takes them out of production or out of a policy,
//! owners, finalizers, and the approval annotation (facts 8, 19).

use foureyes_core::api::{Mode, TargetKind};
use foureyes_core::domain::deletion::Governance;
use foureyes_core::domain::scope::{
    environment_misspelled, namespace_finalized, namespace_owned, namespace_relabelled, namespace_scope,
};
use foureyes_core::domain::speaking::annotated_while_going;

use super::opened::{Kind, opened};
use super::{Scene, annotations};
use crate::admission::confirm::unread;
use crate::admission::input;
use crate::admission::verdict::{Verdict, both, enforced};

const NAMESPACE: Kind = Kind { group: "", api_version: "v1", name: "Namespace" };

pub async fn updated(scene: &Scene<'_>) -> Verdict {
    let (old, new) = (input::old(scene.request)?, input::new(scene.request)?);
    let name = input::name(old)?;
    let policies = scene.index.policies();
    // Decided from the old object: selectors see the new labels (fact 19).
    let (was, is) = (input::labels(&old.metadata), input::labels(&new.metadata));
    let effective = match namespace_scope(policies, scene.index.is_started(), &was)? {
        Governance::Free(proof) => return Ok(proof.into()),
        Governance::Governed(effective) => effective,
    };
    let relabelled = match namespace_relabelled(policies, name, &was, &is) {
        Err(refusal) => opened(scene, NAMESPACE, name, policies, &effective, refusal).await,
        harmless @ Ok(_) => harmless,
    };
    // With its environment all of its protection ends, so the strictest mode counts.
    let mut allowed = enforced(relabelled, effective.strictest())?;
    allowed.warnings.extend(environment_misspelled(policies, name, &was, &is));
    if effective.deletions == Mode::Off {
        return Ok(allowed);
    }
    let owners = input::added_owners(&old.metadata, &new.metadata);
    allowed = both(allowed, enforced(namespace_owned(policies, name, &owners, scene.author()), effective.deletions)?);
    if input::namespace_loses_finalizer(old, new)? {
        allowed = both(
            allowed,
            enforced(
                namespace_finalized(name, input::going_since(&old.metadata)?.is_some(), scene.author()),
                effective.deletions,
            )?,
        );
    }
    if annotations::unchanged(old, new) {
        return Ok(allowed);
    }
    let target = input::target(TargetKind::Namespace, None, new)?;
    if input::going_since(&old.metadata)?.is_some() {
        return Err(annotated_while_going(&target));
    }
    let inventory = scene.live.inventory_of_namespace(name, policies).await.map_err(|error| unread(&error))?;
    Ok(both(allowed, annotations::written(scene, &target, &inventory).await?))
}
