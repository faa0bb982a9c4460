//! What runs, and on whose word: each workload's record is kept by what changes promise and what is seen of the
//! workload. A record outlives its workload. Nothing is remembered between two looks, so the process may end between
//! any two writes.

mod apply;
mod gather;
mod unauthorised;

use std::time::Duration;

use foureyes_core::api::WorkloadIdentity;

use super::change_requests::Looked;
use super::context::{Context, Shared};
use super::error::ReconcileError;
use super::queue::Next;

/// Before the first start is over nothing is on record: what runs at that moment is the baseline.
const NOT_STARTED: Duration = Duration::from_secs(2);

/// Reconciles the record of this workload.
pub async fn reconcile(context: Context, workload: WorkloadIdentity) -> Result<Next, ReconcileError> {
    look(&context, &workload, None).await?;
    Ok(if context.is_started() { Next::Wait } else { Next::After(NOT_STARTED) })
}

/// Looks at a workload once and writes down what changed. `change` is one that was just looked at, and whose status is
/// not written yet.
pub async fn look(
    context: &Shared,
    workload: &WorkloadIdentity,
    change: Option<&Looked>,
) -> Result<(), ReconcileError> {
    if !context.is_started() {
        return Ok(());
    }
    let Some(mut facts) = Box::pin(gather::gather(context, workload, change)).await? else { return Ok(()) };
    let now = context.clock.now();
    let mut noted = facts.decide(now)?;
    // The last thing that could be known of it is a change that the watch has not told of yet.
    if noted.drift.is_some() && noted.status != facts.before() && facts.learn_more(context).await? {
        noted = facts.decide(now)?;
    }
    apply::apply(context, &facts, noted).await
}
