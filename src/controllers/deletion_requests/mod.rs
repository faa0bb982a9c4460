//! Where each DeletionRequest stands: read everything live, decide, write the status if it changed, say what people
//! wait for, and look again when something changes by itself. Nothing is remembered between two reconciliations, so
//! the process may end between any two writes.

mod apply;
mod compare;
mod gather;
mod keep;
mod shutdown;

use foureyes_core::api::{DeletionRequestStatus, Phase};
use foureyes_core::domain::lifecycle::decide;

use super::context::Context;
use super::error::ReconcileError;
use super::queue::Next;

/// Reconciles the request of this name.
pub async fn reconcile(context: Context, name: Box<str>) -> Result<Next, ReconcileError> {
    let Some(request) = context.live.request(&name).await? else {
        return Ok(Next::Wait);
    };
    let status = request.status.as_ref();
    let is_ended = status.and_then(|status| status.phase).is_some_and(Phase::is_ended);
    if is_ended && !status.is_some_and(DeletionRequestStatus::is_unfinished) {
        context.uses().drop_carried(request.metadata.uid.as_deref().unwrap_or_default());
        return Ok(Next::Wait);
    }
    let facts = Box::pin(gather::gather(&context, request)).await?;
    let now = context.clock.now();
    let plan = decide(&facts.observed(), now)?;
    context.count_unsupervised();
    apply::apply(&context, &facts.request, plan, now).await
}
