//! From a plan to what is written and said.

use std::time::Duration;

use foureyes_core::api::{ChangePhase, ChangeRequest, ChangeRequestStatus};
use foureyes_core::domain::change_lifecycle::Plan;
use jiff::Timestamp;
use kube::Api;

use super::Looked;
use crate::cluster::events::Told;
use crate::cluster::status::{self, Read};
use crate::cluster::workloads::Recorded;
use crate::controllers::context::{CALL, Shared};
use crate::controllers::error::ReconcileError;
use crate::controllers::queue::Next;
use crate::controllers::{releases, rollout_records};

/// Rights are given and taken without an event: a change that somebody has signed off is looked at this often.
const SIGNED_OFF: Duration = Duration::from_secs(5 * 60);
/// One that nobody has signed off, in case an event was lost.
const UNSIGNED: Duration = Duration::from_secs(60 * 60);
/// One that may be used, of something that is not watched.
const UNWATCHED: Duration = Duration::from_secs(30);

/// Puts it on record first: a status that says Succeeded makes this the last look, and what ran must not be taken for
/// drift after it. Then says it: an event that was said twice is one event. Then writes, if something changed and
/// nobody else wrote meanwhile.
pub async fn apply(context: &Shared, looked: Looked) -> Result<Next, ReconcileError> {
    let (request, plan) = (&looked.facts.request, &looked.plan);
    if request.status.as_ref() != Some(&plan.status) {
        for workload in looked.facts.identities.iter().flatten().filter(|_| has_a_word(request, plan)) {
            if releases::is_one(workload) {
                Box::pin(releases::look(context, workload, Some(&looked))).await?;
            } else {
                Box::pin(rollout_records::look(context, workload, Some(&looked))).await?;
            }
        }
        tell(context, request, plan).await;
        write(context, request, &plan.status).await?;
    }
    let ended = plan.status.phase.unwrap_or_default().is_ended();
    let watched = looked.facts.identities.iter().flatten().all(is_watched);
    Ok(if ended { Next::Wait } else { Next::After(pause(plan, watched, context.clock.now())) })
}

/// One that waits for people as it did before has no word in any record. A look at a record reads every open change of its
/// workload: hundreds of wishes for one workload would be read by each of them, and keep an approved one waiting.
fn has_a_word(request: &ChangeRequest, plan: &Plan) -> bool {
    let before = request.status.as_ref().and_then(|status| status.phase).unwrap_or_default();
    plan.promises || (before, plan.status.phase.unwrap_or_default()) != (ChangePhase::Pending, ChangePhase::Pending)
}

fn is_watched(object: &foureyes_core::api::WorkloadIdentity) -> bool {
    let namespace = object.group.is_empty() && object.kind == "Namespace";
    namespace || Recorded::of(object).is_some()
}

async fn tell(context: &Shared, request: &ChangeRequest, plan: &Plan) {
    for event in &plan.events {
        let told = Told { warning: event.warning, reason: event.reason, action: "Decide", note: &event.note };
        if let Err(error) = context.events.tell(request, told).await {
            // The status says the same; it must not wait for this.
            tracing::warn!(class = error.class(), %error, "an event could not be written");
        }
    }
}

async fn write(context: &Shared, request: &ChangeRequest, status: &ChangeRequestStatus) -> Result<(), ReconcileError> {
    let meta = &request.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let read = Read {
        name: meta.name.as_deref().unwrap_or_default(),
        uid: meta.uid.as_deref().unwrap_or_default(),
        resource_version: meta.resource_version.as_deref().unwrap_or_default(),
    };
    let api: Api<ChangeRequest> = Api::namespaced(context.live.client().clone(), namespace);
    status::write(&api, read, status, CALL).await.map_err(ReconcileError::write("the status can't be written"))?;
    let before = request.status.as_ref().and_then(|status| status.phase).map(ChangePhase::as_str);
    let phase = status.phase.unwrap_or_default().as_str();
    if before != Some(phase) {
        let waiting_for = status.waiting_for.as_deref().unwrap_or_default();
        tracing::info!(namespace, change = read.name, before, phase, waiting_for, "a change moved on");
    }
    Ok(())
}

fn pause(plan: &Plan, watched: bool, now: Timestamp) -> Duration {
    let signed_off = plan.status.sign_offs.as_ref().is_some_and(|sign_offs| !sign_offs.entries.is_empty());
    let usual = match (plan.promises, signed_off) {
        (true, _) if !watched => UNWATCHED,
        (true, _) | (_, true) => SIGNED_OFF,
        (false, false) => UNSIGNED,
    };
    let Some(at) = plan.look_again else { return usual };
    // A second later: what ends at a time has ended after it.
    let until = Duration::try_from(at.duration_since(now)).unwrap_or_default() + Duration::from_secs(1);
    until.min(usual)
}
