//! The definitions of our own kinds: deleting one removes its objects without any review (bypass 6), and a doctored
//! schema forges fields (fact 7).

use foureyes_core::api::Mode;
use foureyes_core::domain::policy::is_enforced_anywhere;
use foureyes_core::domain::scope::definition_changed;

use super::Scene;
use super::opened::{Kind, opened};
use crate::admission::input;
use crate::admission::review::Operation;
use crate::admission::verdict::{Verdict, enforced};

const DEFINITION: Kind =
    Kind { group: "apiextensions.k8s.io", api_version: "apiextensions.k8s.io/v1", name: "CustomResourceDefinition" };

pub async fn changed(scene: &Scene<'_>) -> Verdict {
    let name = input::name(input::old(scene.request)?)?;
    let deleted = scene.request.operation == Operation::Delete;
    let refusal = match definition_changed(name, deleted, scene.index.is_started()) {
        Ok(proof) => return Ok(proof.into()),
        Err(refusal) => refusal,
    };
    let policies = scene.index.policies();
    let effective = scene.effective_here(policies)?;
    let verdict = opened(scene, DEFINITION, name, policies, &effective, refusal).await;
    // Where nothing is refused yet, this is not either: the definitions hold what everywhere rests on.
    let anywhere = is_enforced_anywhere(policies, scene.namespaces());
    enforced(verdict, if anywhere { Mode::Deny } else { Mode::Warn })
}
