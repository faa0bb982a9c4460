//! Webhook configurations of ours, and whether an approved change lets them go: the API server asks no webhook about
//! webhooks, so an admission policy refuses it until the controller has noted on the configuration that it may.

use foureyes_core::api::{ChangePhase, RELEASED, TargetOutcome, WorkloadIdentity};
use foureyes_core::domain::change_lifecycle::Plan;
use jiff::Timestamp;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};

use super::change_requests::{self, Looked};
use super::context::{CALL, Context, Shared};
use super::error::ReconcileError;
use super::queue::Next;
use crate::cluster::client::with_deadline;
use crate::cluster::workloads::Object;
use crate::manifests::names::CONFIGURATIONS;

const REGISTRATION: &str = "admissionregistration.k8s.io";
const VERSION: &str = "v1";

/// The configurations that are guarded.
pub fn configurations() -> impl Iterator<Item = WorkloadIdentity> {
    CONFIGURATIONS.into_iter().map(|(kind, name)| WorkloadIdentity {
        group: REGISTRATION.to_owned(),
        kind: kind.to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    })
}

/// Whether this is one of them.
pub fn is_one(object: &WorkloadIdentity) -> bool {
    object.group == REGISTRATION && configurations().any(|configuration| configuration == *object)
}

/// Reconciles the note on this configuration.
pub async fn reconcile(context: Context, configuration: WorkloadIdentity) -> Result<Next, ReconcileError> {
    look(&context, &configuration, None).await?;
    Ok(Next::Wait)
}

/// Notes that the configuration may go, or that it may no more. `change` is one that was just looked at, and whose
/// status is not written yet: nobody is told "approved" before it holds, nor "ended" while it still does.
pub async fn look(
    context: &Shared,
    configuration: &WorkloadIdentity,
    change: Option<&Looked>,
) -> Result<(), ReconcileError> {
    let Object::Is(object) = context.live.object(configuration, VERSION).await? else { return Ok(()) };
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let uid = text("/metadata/uid").unwrap_or_default();
    let is = object.pointer("/metadata/annotations").and_then(|annotations| annotations.get(RELEASED));
    let created = text("/metadata/creationTimestamp").and_then(|time| time.parse().ok()).unwrap_or(Timestamp::MAX);
    let wanted = is_released(context, configuration, created, change).await?.then_some(uid);
    if is.and_then(Value::as_str) == wanted {
        return Ok(());
    }
    let patch = json!({"metadata": {
        "uid": uid,
        "resourceVersion": text("/metadata/resourceVersion"),
        "annotations": {RELEASED: wanted},
    }});
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(REGISTRATION, VERSION, &configuration.kind));
    let api: Api<DynamicObject> = Api::all_with(context.live.client().clone(), &resource);
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    with_deadline(CALL, api.patch(&configuration.name, &params, &patch))
        .await
        .map_err(ReconcileError::write("whether a webhook configuration may go can't be noted"))?;
    tracing::warn!(configuration = configuration.name, released = wanted.is_some(), "what may become of it changed");
    Ok(())
}

async fn is_released(
    context: &Shared,
    configuration: &WorkloadIdentity,
    created: Timestamp,
    change: Option<&Looked>,
) -> Result<bool, ReconcileError> {
    if change.is_some_and(|looked| releases(looked, configuration, created)) {
        return Ok(true);
    }
    let looked_at = change.and_then(|looked| looked.facts.request.metadata.uid.as_deref());
    let about = context.changes().about(configuration);
    for key in about {
        let Some(request) = context.live.change(&key.namespace, &key.name).await? else { continue };
        let same = looked_at.is_some() && request.metadata.uid.as_deref() == looked_at;
        if same || change_requests::is_ended(&request) {
            continue;
        }
        if releases(&change_requests::look(context, request).await?, configuration, created) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The change may be used, and has not been on this configuration. One that came under that name since it was signed off
/// was released by nobody.
fn releases(looked: &Looked, configuration: &WorkloadIdentity, created: Timestamp) -> bool {
    let Plan { status, promises, .. } = &looked.plan;
    let mut targets = looked.facts.identities.iter().zip(&status.targets);
    let waits = targets.any(|(identity, target)| {
        identity.as_ref() == Some(configuration) && target.outcome.is_none_or(|it| it == TargetOutcome::Waiting)
    });
    let older = status.usable_from.as_ref().is_some_and(|from| created <= from.0);
    *promises && waits && older && !status.phase.is_some_and(ChangePhase::is_ended)
}
