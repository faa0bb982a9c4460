//! From a plan to what is written and said.

use std::time::Duration;

use foureyes_core::api::{DeletionRequest, DeletionRequestStatus, Phase};
use foureyes_core::domain::lifecycle::Plan;
use jiff::Timestamp;
use kube::Api;

use super::{keep, shutdown};
use crate::cluster::events::Told;
use crate::cluster::status::{self, Read};
use crate::controllers::context::{CALL, Shared};
use crate::controllers::error::ReconcileError;
use crate::controllers::queue::Next;

/// Rights are given and taken without an event: a request that somebody has signed off is looked at this often.
const SIGNED_OFF: Duration = Duration::from_secs(5 * 60);
/// Snapshots and backups are read only when their request is looked at: one whose target may go, or that names a backup, is looked at this
/// often.
const NOT_FOLLOWED: Duration = Duration::from_secs(5);
/// One that nobody has signed off, in case an event was lost.
const UNSIGNED: Duration = Duration::from_secs(60 * 60);

/// Says it first: an event that was said twice is one event, one that was never said because the process ended is
/// missed for good. Then writes, if something changed and nobody else wrote meanwhile.
pub async fn apply(
    context: &Shared,
    request: &DeletionRequest,
    mut plan: Plan,
    now: Timestamp,
) -> Result<Next, ReconcileError> {
    if !plan.put_back.is_empty() || !plan.scale_back.is_empty() {
        let back = keep::put_back(context, &plan.put_back).await;
        shutdown::scale(context, request, &plan.scale_back).await.and(back)?;
        return Ok(Next::After(Duration::ZERO));
    }
    if let Some(retention) = &plan.retention {
        plan.status.backup_retention = Some(keep::hold(context, request, retention).await?);
    }
    if request.status.as_ref() != Some(&plan.status) {
        tell(context, request, &plan).await;
        write(context, request, &plan.status).await?;
    }
    if !plan.keep.is_empty() || !plan.keep_contents.is_empty() || !plan.scale_down.is_empty() {
        let volumes = keep::keep(context, request, &plan.keep).await;
        let kept = keep::keep_contents(context, request, &plan.keep_contents).await.and(volumes);
        shutdown::scale(context, request, &plan.scale_down).await.and(kept)?;
        return Ok(Next::After(Duration::ZERO));
    }
    let ended = plan.status.phase.is_some_and(Phase::is_ended) && !plan.status.is_unfinished();
    let followed = request.spec.target.kind.is_in_use() && request.spec.backups.is_empty();
    Ok(if ended { Next::Wait } else { Next::After(pause(&plan, followed, now)) })
}

async fn tell(context: &Shared, request: &DeletionRequest, plan: &Plan) {
    for event in &plan.events {
        let told = Told { warning: event.warning, reason: event.reason, action: "Decide", note: &event.note };
        if let Err(error) = context.events.tell(request, told).await {
            // The status says the same; it must not wait for this.
            tracing::warn!(class = error.class(), %error, "an event could not be written");
        }
    }
}

async fn write(
    context: &Shared,
    request: &DeletionRequest,
    status: &DeletionRequestStatus,
) -> Result<(), ReconcileError> {
    let meta = &request.metadata;
    let read = Read {
        name: meta.name.as_deref().unwrap_or_default(),
        uid: meta.uid.as_deref().unwrap_or_default(),
        resource_version: meta.resource_version.as_deref().unwrap_or_default(),
    };
    let api: Api<DeletionRequest> = Api::all(context.live.client().clone());
    status::write(&api, read, status, CALL).await.map_err(ReconcileError::write("the status can't be written"))?;
    let before = request.status.as_ref().and_then(|status| status.phase).map(Phase::as_str);
    let phase = status.phase.unwrap_or_default().as_str();
    if before != Some(phase) {
        let waiting_for = status.waiting_for.as_deref().unwrap_or_default();
        tracing::info!(request = read.name, before, phase, waiting_for, "a request moved on");
    }
    Ok(())
}

/// `followed` are targets of which every change is an event.
fn pause(plan: &Plan, followed: bool, now: Timestamp) -> Duration {
    let signed_off = plan.status.sign_offs.as_ref().is_some_and(|sign_offs| !sign_offs.entries.is_empty());
    let usable = matches!(plan.status.phase, Some(Phase::Executable | Phase::Executing));
    let usual = match (signed_off, usable && !followed) {
        (_, true) => NOT_FOLLOWED,
        (true, false) => SIGNED_OFF,
        (false, false) => UNSIGNED,
    };
    let Some(at) = plan.look_again else { return usual };
    // A second later: what ends at a time has ended after it. Quiet time is no matter of the clock.
    let quiescing = plan.status.phase == Some(Phase::Quiescing);
    let late = if quiescing { Duration::from_millis(50) } else { Duration::from_secs(1) };
    let until = Duration::try_from(at.duration_since(now)).unwrap_or_default() + late;
    until.min(usual)
}
