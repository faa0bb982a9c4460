//! The approval by annotation: a sealed record on a claim or a namespace is one approval of the DeletionRequest that is
//! opened for it here. By itself it allows nothing, and it is used once.

mod gather;
mod plan;

use std::time::Duration;

use super::context::{Context, ObjectKey};
use super::error::ReconcileError;
use super::opening::Opening;
use super::queue::Next;
use plan::{Decision, decide};

/// Before the first start is over nothing is governed; afterwards the annotation is.
const NOT_STARTED: Duration = Duration::from_secs(5);

/// Reconciles the annotated object of this name.
pub async fn reconcile(context: Context, key: ObjectKey) -> Result<Next, ReconcileError> {
    if !context.is_started() {
        return Ok(Next::After(NOT_STARTED));
    }
    let Some(facts) = gather::gather(&context, &key).await? else {
        return Ok(Next::Wait);
    };
    match decide(&facts, context.clock.now()) {
        Decision::Nothing(why) => tracing::debug!(object = %key, why, "no request is opened for an annotation"),
        Decision::Open => {
            let opening = Opening {
                target: key.target(&facts.record.uid),
                occasion: &facts.record.at.0.to_string(),
                reason: format!("opened for the approval by annotation of {}", facts.record.author.username),
            };
            let name = opening.name_now(&context).await?;
            opening.open(&context, &name).await?;
        }
    }
    Ok(Next::Wait)
}
