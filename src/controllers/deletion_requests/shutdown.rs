//! What uses a target is scaled down in the name of the person who asked, and scaled to what it was when nothing was
//! deleted after all.

use foureyes_core::api::{DeletionRequest, Phase, TargetKind};
use foureyes_core::domain::judgement::person_asking;
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::domain::policy::PolicySet;
use foureyes_core::domain::shutdown::{Change, Users, is_wanted};
use foureyes_core::domain::statement::prove_requester;
use foureyes_core::seal::KeyRing;
use futures::{StreamExt as _, stream};

use crate::cluster::events::Told;
use crate::cluster::live::ReadError;
use crate::cluster::pods::Running;
use crate::cluster::scale::Looked;
use crate::controllers::context::{CALL, Shared};
use crate::controllers::error::ReconcileError;

/// Workloads changed at a time.
const AT_ONCE: usize = 8;

/// What could be scaled down, or back; nothing where that is left to people. In foureyes' own namespace it always is:
/// nobody would be there to go on.
pub async fn users(
    context: &Shared,
    request: &DeletionRequest,
    target: TargetState,
    ring: &KeyRing,
    policies: &PolicySet,
    running: &[Running],
) -> Result<Option<Users>, ReadError> {
    let about = &request.spec.target;
    let namespace = about.rights_namespace();
    let status = request.status.clone().unwrap_or_default();
    let is_ended = status.phase.is_some_and(Phase::is_ended);
    let is_concerned = if is_ended { status.is_scaled_down() } else { is_wanted(request, policies) };
    let runs = about.kind.is_in_use() && target == TargetState::Live;
    if !is_concerned || !runs || namespace == context.namespace {
        return Ok(None);
    }
    let asker = prove_requester(ring, request).ok();
    let asker = person_asking(asker, &policies.floor().identities).filter(|_| !is_ended);
    let unsettled = || status.scaled_down.iter().filter(|known| !known.settled);
    let looked = Looked {
        namespace,
        claim: (about.kind == TargetKind::PersistentVolumeClaim).then_some(about.name.as_str()),
        running: running.iter().collect(),
        scaled_down: unsettled().map(|known| known.uid.as_str()).collect(),
        seen: unsettled().filter(|known| known.seen).map(|known| known.uid.as_str()).collect(),
        asker,
    };
    context.live.users(&looked).await.map(Some)
}

/// Makes these changes, each only if its workload is as it was read. One that is refused is told about, and does not hold up
/// the others.
pub async fn scale(context: &Shared, request: &DeletionRequest, changes: &[Change]) -> Result<(), ReconcileError> {
    let namespace = request.spec.target.rights_namespace();
    let mut made = stream::iter(changes.to_vec())
        .map(|change| async move {
            let done = context.live.scale(namespace, &change, CALL).await;
            (change, done)
        })
        .buffer_unordered(AT_ONCE);
    let mut refused = None;
    while let Some((change, result)) = made.next().await {
        let (kind, name, value) = (&change.kind, &change.name, &change.value);
        match result {
            Ok(done) => tracing::info!(namespace, kind, name, value, done, "scaled for a request"),
            Err(error) => {
                if !error.is_conflict() {
                    let note = format!("{} of {kind}/{name} could not be set to {value}: {error}", change.field.path());
                    let told = Told { warning: true, reason: "NotScaled", action: "Scale", note: &note };
                    if let Err(error) = context.events.tell(request, told).await {
                        tracing::warn!(class = error.class(), %error, "an event could not be written");
                    }
                }
                refused = Some(error);
            }
        }
    }
    refused.map_or(Ok(()), |error| Err(ReconcileError::write("a workload can't be scaled")(error)))
}
