//! Where each DeletionRequest stands: read everything live, decide, write the status if it changed, say what people
//! wait for, and look again when something changes by itself. Nothing is remembered between two reconciliations, so
//! the process may end between any two writes.

mod apply;
mod gather;

use foureyes_core::api::Phase;
use foureyes_core::domain::lifecycle::decide;

use super::context::Context;
use super::error::ReconcileError;
use super::queue::Next;

/// Reconciles the request of this name.
pub async fn reconcile(context: Context, name: Box<str>) -> Result<Next, ReconcileError> {
    let Some(request) = context.live.request(&name).await? else {
        return Ok(Next::Wait);
    };
    let phase = request.status.as_ref().and_then(|status| status.phase);
    if phase.is_some_and(Phase::is_ended) {
        return Ok(Next::Wait);
    }
    let facts = Box::pin(gather::gather(&context, request)).await?;
    let now = context.clock.now();
    let plan = decide(&facts.observed(), now)?;
    apply::apply(&context, &facts.request, plan, now).await
}
