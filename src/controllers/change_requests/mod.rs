//! Where each change stands: read everything live, decide, put into the records of its workloads what it lets
//! run, then write the status if it changed. Nothing is remembered between two reconciliations, so the process may end
//! between any two writes.

mod apply;
mod gather;

use foureyes_core::api::{ChangePhase, ChangeRequest};
use foureyes_core::domain::change_lifecycle::{Plan, decide};

pub use gather::Facts;

use super::changes::ChangeKey;
use super::context::{Context, Shared};
use super::error::ReconcileError;
use super::queue::Next;

/// Reconciles the change of this name.
pub async fn reconcile(context: Context, key: ChangeKey) -> Result<Next, ReconcileError> {
    let Some(request) = context.live.change(&key.namespace, &key.name).await? else {
        return Ok(Next::Wait);
    };
    if is_ended(&request) {
        return Ok(Next::Wait);
    }
    let looked = look(&context, request).await?;
    apply::apply(&context, looked).await
}

/// A change with everything that was read about it, and where it stands by that.
pub struct Looked {
    pub facts: Facts,
    pub plan: Plan,
}

/// Reads and decides, and writes nothing.
pub async fn look(context: &Shared, request: ChangeRequest) -> Result<Looked, ReconcileError> {
    let facts = Box::pin(gather::gather(context, request)).await?;
    let plan = decide(&facts.observed(), context.clock.now()).map_err(ReconcileError::Digest)?;
    Ok(Looked { facts, plan })
}

pub fn is_ended(request: &ChangeRequest) -> bool {
    request.status.as_ref().and_then(|status| status.phase).is_some_and(ChangePhase::is_ended)
}
