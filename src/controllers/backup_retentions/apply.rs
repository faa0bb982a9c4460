//! From a plan to what is written and said.

use std::time::Duration;

use foureyes_core::api::{BackupRetention, RetentionPhase};
use foureyes_core::domain::retention::decide::Plan;
use foureyes_core::domain::retention::keepers::VOLUME;
use foureyes_core::domain::retention::phase;
use jiff::Timestamp;
use kube::Api;

use crate::cluster::events::Told;
use crate::cluster::status::{self, Read};
use crate::controllers::context::{CALL, Shared};
use crate::controllers::error::ReconcileError;
use crate::controllers::queue::Next;

/// Rights are given and taken without an event: a retention about which somebody has spoken is looked at this often.
const SPOKEN: Duration = Duration::from_secs(5 * 60);
/// Any other, in case an event was lost.
const UNSPOKEN: Duration = Duration::from_secs(60 * 60);

/// Says it first, as with requests; then writes, if something changed and nobody else wrote meanwhile.
pub async fn apply(
    context: &Shared,
    retention: &BackupRetention,
    plan: Plan,
    now: Timestamp,
) -> Result<Next, ReconcileError> {
    if retention.status.as_ref() != Some(&plan.status) {
        for event in &plan.events {
            let told = Told { warning: event.warning, reason: event.reason, action: "Keep", note: &event.note };
            if let Err(error) = context.events.tell(retention, told).await {
                // The status says the same; it must not wait for this.
                tracing::warn!(class = error.class(), %error, "an event could not be written");
            }
        }
        write(context, retention, &plan).await?;
    }
    if plan.status.phase == Some(RetentionPhase::Purged) {
        return Ok(Next::Wait);
    }
    let spoken = plan.status.releases.as_ref().is_some_and(|releases| !releases.entries.is_empty());
    // Volumes are watched; other keepers are not.
    let watched = retention.spec.keepers.iter().all(|keeper| keeper.kind == VOLUME);
    let usual = if spoken || !watched { SPOKEN } else { UNSPOKEN };
    // A second later: what ends at a time has ended after it.
    let until = plan
        .look_again
        .map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default() + Duration::from_secs(1));
    Ok(Next::After(until.map_or(usual, |until| until.min(usual))))
}

async fn write(context: &Shared, retention: &BackupRetention, plan: &Plan) -> Result<(), ReconcileError> {
    let meta = &retention.metadata;
    let read = Read {
        name: meta.name.as_deref().unwrap_or_default(),
        uid: meta.uid.as_deref().unwrap_or_default(),
        resource_version: meta.resource_version.as_deref().unwrap_or_default(),
    };
    let api: Api<BackupRetention> = Api::all(context.live.client().clone());
    let written = status::write(&api, read, &plan.status, CALL).await;
    written.map_err(ReconcileError::write("the status can't be written"))?;
    let (before, is) = (phase(retention).as_str(), plan.status.phase.unwrap_or_default().as_str());
    if before != is {
        let waiting_for = plan.status.waiting_for.as_deref().unwrap_or_default();
        tracing::info!(retention = read.name, before, phase = is, waiting_for, "a retention moved on");
    }
    Ok(())
}
