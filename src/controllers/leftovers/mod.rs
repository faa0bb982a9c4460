//! Claims that stay behind in a namespace that is going, because nobody signed off that they go with it: created
//! after the last look, or in a namespace that went without a request (fact 12). Each gets a request of its own, so
//! that somebody looks at it and the namespace can end.

mod plan;

use std::time::Duration;

use foureyes_core::api::{DeletionRequest, Target, TargetKind};
use foureyes_core::domain::deletion::{Governance, is_data, scope};
use foureyes_core::domain::inventory::Claim;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;

use super::context::{Context, Shared};
use super::error::ReconcileError;
use super::opening::Opening;
use super::queue::Next;
use crate::cluster::events::Told;
use crate::manifests::names;

/// The namespace controller begins 5 s after the deletion (fact 36); what is still there later stays.
const GRACE: SignedDuration = SignedDuration::from_secs(8);
/// Between two looks at a namespace that is going: at first, and when it has been going for long.
const SOON: SignedDuration = SignedDuration::from_secs(10);
const LATE: SignedDuration = SignedDuration::from_secs(300);

/// Reconciles the namespace of this name.
pub async fn reconcile(context: Context, name: Box<str>) -> Result<Next, ReconcileError> {
    let Some(namespace) = context.live.namespace(&name).await? else { return Ok(Next::Wait) };
    let Some(since) = namespace.metadata.deletion_timestamp.as_ref().map(|time| time.0) else {
        return Ok(Next::Wait);
    };
    let going = context.clock.now().duration_since(since);
    if going < GRACE {
        return Ok(after(GRACE - going));
    }
    // One that waits for people waits for long.
    let again = after((going / 4).clamp(SOON, LATE));
    if !is_governed(&context, &namespace)? {
        return Ok(again);
    }
    let uid = namespace.metadata.uid.as_deref().unwrap_or_default();
    let requests = context.live.requests_about(uid).await?;
    let policies = context.policies.load_full();
    for claim in context.live.claims(&name).await? {
        let is_kept = is_data(&policies, &claim) && !names::is_canary(&context.namespace, &claim);
        if claim.going_since.is_none() && is_kept {
            look_after(&context, &requests, since, &claim).await?;
        }
    }
    Ok(again)
}

fn after(pause: SignedDuration) -> Next {
    Next::After(Duration::try_from(pause).unwrap_or_default())
}

fn is_governed(context: &Shared, namespace: &Namespace) -> Result<bool, ReconcileError> {
    let policies = context.policies.load();
    let labels = namespace.metadata.labels.clone().unwrap_or_default();
    // Asked first for its error, which names the policy.
    policies.effective(&labels).map_err(ReconcileError::Policy)?;
    Ok(matches!(scope(&policies, context.is_started(), &labels), Ok(Governance::Governed(_))))
}

async fn look_after(
    context: &Shared,
    requests: &[DeletionRequest],
    since: Timestamp,
    claim: &Claim,
) -> Result<(), ReconcileError> {
    // Most have one after the first look, and need no second.
    if !context.requests().about(&claim.uid).is_empty() {
        return Ok(());
    }
    let inventory = context.live.inventory_of_claim(claim).await?;
    if plan::is_covered(requests, since, &inventory)? {
        return Ok(());
    }
    let target = Target {
        api_version: "v1".to_owned(),
        kind: TargetKind::PersistentVolumeClaim,
        namespace: Some(claim.namespace.to_string()),
        name: claim.name.to_string(),
        uid: claim.uid.to_string(),
    };
    let root = plan::root(requests);
    let text = target.text();
    let occasion = plan::OCCASION;
    let reason = match root {
        Some(root) => format!(
            "opened for a claim that was not among what was signed off in DeletionRequest {}; its namespace is going",
            root.metadata.name.as_deref().unwrap_or_default(),
        ),
        None => "opened for a claim that stays behind; its namespace was deleted without a request".to_owned(),
    };
    let opening = Opening { target, occasion, reason };
    if plan::is_looked_after(&context.live.requests_about(&claim.uid).await?, &opening, &context.account) {
        return Ok(());
    }
    let name = opening.name_now(context).await?;
    // Said first: what is said twice is one event, and the process may end in between.
    if let Some(root) = root {
        let note = format!("{text} stays behind, it was not signed off; DeletionRequest {name} is opened for it");
        let told = Told { warning: true, reason: "Leftover", action: "Open", note: &note };
        if let Err(error) = context.events.tell(root, told).await {
            tracing::warn!(class = error.class(), %error, "an event could not be written");
        }
    }
    opening.open(context, &name).await
}
