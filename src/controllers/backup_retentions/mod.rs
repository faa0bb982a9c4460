//! Where each BackupRetention stands: its keepers and what was said about it are read live, and what is seen of them is
//! written down. It deletes nothing.

mod apply;
mod gather;

use foureyes_core::domain::retention::decide::decide;

use super::context::Context;
use super::error::ReconcileError;
use super::queue::Next;

/// Reconciles the retention of this name.
pub async fn reconcile(context: Context, name: Box<str>) -> Result<Next, ReconcileError> {
    let Some(facts) = Box::pin(gather::gather(&context, &name)).await? else {
        return Ok(Next::Wait);
    };
    let now = context.clock.now();
    let policies = context.policies.load_full();
    let case = facts.said.case(&policies.floor().identities, &facts.effective);
    let plan = decide(&case, facts.keepers.clone(), now).map_err(ReconcileError::Digest)?;
    apply::apply(&context, &facts.said.retention, plan, now).await
}
