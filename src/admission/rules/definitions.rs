//! The definitions of our own kinds: deleting one removes its objects without any review (bypass 6), a doctored schema
//! forges fields (fact 7), and with an owner to nobody it is collected, also through `/status` (facts 8, 31).

use foureyes_core::api::Mode;
use foureyes_core::domain::policy::is_enforced_anywhere;
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::scope::{definition_changed, definition_deleted};
use serde_json::value::RawValue;

use super::Scene;
use super::opened::{Kind, opened};
use crate::admission::input;
use crate::admission::verdict::{Verdict, enforced};

const DEFINITION: Kind =
    Kind { group: "apiextensions.k8s.io", api_version: "apiextensions.k8s.io/v1", name: "CustomResourceDefinition" };

pub async fn deleted(scene: &Scene<'_>) -> Verdict {
    let name = input::name(input::old(scene.request)?)?;
    changed(scene, name, definition_deleted(name, scene.index.is_started())).await
}

pub async fn updated(scene: &Scene<'_>) -> Verdict {
    let (old, new) = (input::old(scene.request)?, input::new(scene.request)?);
    let (was, is) = (input::own_metadata(&old.metadata), input::own_metadata(&new.metadata));
    let same_spec = old.spec.map(RawValue::get) == new.spec.map(RawValue::get);
    let going = input::going_since(&old.metadata)?.is_some();
    let name = input::name(old)?;
    let who = (scene.author(), scene.index.is_started());
    changed(scene, name, definition_changed(name, same_spec, (&was, &is), going, who)).await
}

async fn changed(scene: &Scene<'_>, name: &str, judged: Result<Proof, Refusal>) -> Verdict {
    let refusal = match judged {
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
