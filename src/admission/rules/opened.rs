//! What nobody may do alone to an object that scopes protection: an approved change of exactly that object opens it.

use foureyes_core::api::WorkloadIdentity;
use foureyes_core::domain::opening::Closed;
use foureyes_core::domain::policy::{Effective, PolicySet};
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::rollout::object::object_digest;
use foureyes_core::reason::Code;

use super::Scene;
use crate::admission::changes::Changes;
use crate::admission::input;
use crate::admission::review::Operation;

/// A kind that scopes protection.
#[derive(Clone, Copy)]
pub struct Kind<'a> {
    pub group: &'a str,
    pub api_version: &'a str,
    pub name: &'a str,
}

/// The rule has refused this review of the object `name`, which is in no namespace. `policies` and `effective` are what a
/// change of it is judged by.
pub async fn opened(
    scene: &Scene<'_>,
    kind: Kind<'_>,
    name: &str,
    policies: &PolicySet,
    effective: &Effective,
    refusal: Refusal,
) -> Result<Proof, Refusal> {
    let object = WorkloadIdentity {
        group: kind.group.to_owned(),
        kind: kind.name.to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    };
    opened_in(scene, kind, &object, policies, effective, refusal).await
}

/// The same of an object that may be in a namespace.
pub async fn opened_in(
    scene: &Scene<'_>,
    kind: Kind<'_>,
    object: &WorkloadIdentity,
    policies: &PolicySet,
    effective: &Effective,
    refusal: Refusal,
) -> Result<Proof, Refusal> {
    let name = &object.name;
    let digest = if scene.request.operation == Operation::Delete {
        None
    } else {
        let digest = object_digest(&input::whole(scene.body, kind.api_version, kind.name)?);
        Some(digest.map_err(|error| Refusal::new(Code::ReviewUnreadable, format!("{name} was not changed: {error}")))?)
    };
    let closed = Closed {
        object,
        api_version: kind.api_version,
        digest: digest.as_deref(),
        own_namespace: scene.own_namespace,
        refusal,
    };
    let candidates = scene.index.changes_of(object);
    if candidates.is_empty() {
        return closed.opened_by(&[], scene.author(), scene.now);
    }
    let changes = Changes::read(scene.live, &candidates, object, scene.own_namespace).await?;
    let evidence = changes.evidence(policies, effective, scene.own_namespace);
    closed.opened_by(&evidence, scene.author(), scene.now)
}
