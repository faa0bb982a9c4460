//! What is known about an annotated object, read live.

use foureyes_core::api::{DeletionRequest, TargetKind};
use foureyes_core::domain::deletion::{Governance, govern_claim, scope};
use foureyes_core::domain::inventory::Claim;
use foureyes_core::domain::judgement::person_asking;
use foureyes_core::domain::policy::Effective;
use foureyes_core::domain::statement::{ApprovalRecord, prove_requester};
use k8s_openapi::api::core::v1::Namespace;

use crate::cluster::live::record;
use crate::controllers::context::{ObjectKey, Shared};
use crate::controllers::error::ReconcileError;

/// An object with a record that proves, in a place where deletions are governed.
pub struct Facts {
    pub record: ApprovalRecord,
    pub effective: Effective,
    /// Every request about this object that no person asked for: those take an approval by annotation in.
    pub requests: Vec<DeletionRequest>,
}

/// Reads it; nothing if there is no such object, no record that proves, or deletions of it are not governed.
pub async fn gather(context: &Shared, key: &ObjectKey) -> Result<Option<Facts>, ReconcileError> {
    let place = key.namespace.as_deref().unwrap_or(&key.name);
    let Some(namespace) = context.live.namespace(place).await? else {
        return Ok(None);
    };
    let claim = match (key.kind, &key.namespace) {
        (TargetKind::PersistentVolumeClaim, Some(of)) => {
            let Some(claim) = context.live.claim(of, &key.name).await? else { return Ok(None) };
            Some(claim)
        }
        _ => None,
    };
    let annotated = claim.as_ref().map_or(&namespace.metadata, |claim| &claim.metadata);
    let (Some(record), Some(uid)) = (record(annotated), annotated.uid.as_deref()) else { return Ok(None) };
    let ring = context.live.key_ring().await?;
    // One that does not prove is the guard's to refuse, and nobody's to act on.
    let Ok(record) = ApprovalRecord::prove(&ring, record, uid) else { return Ok(None) };
    let claim = claim.as_ref().map(Claim::of);
    let Some(effective) = governed(context, &namespace, claim.as_ref()) else { return Ok(None) };
    let mut requests = context.live.requests_about(uid).await?;
    let policies = context.policies.load();
    let identities = &policies.floor().identities;
    requests.retain(|request| person_asking(prove_requester(&ring, request).ok(), identities).is_none());
    Ok(Some(Facts { record, effective, requests }))
}

fn governed(context: &Shared, namespace: &Namespace, claim: Option<&Claim>) -> Option<Effective> {
    let policies = context.policies.load();
    let labels = namespace.metadata.labels.clone().unwrap_or_default();
    let going = namespace.metadata.deletion_timestamp.is_some();
    let governance = match claim {
        // Nobody in particular asks, so that no delegation applies.
        Some(claim) => govern_claim(&policies, true, &labels, claim, ""),
        None if going => return None,
        None => scope(&policies, true, &labels),
    };
    match governance {
        Ok(Governance::Governed(effective)) => Some(effective),
        Ok(Governance::Free(_)) => None,
        Err(refusal) => {
            tracing::warn!(code = refusal.code.as_str(), "an annotation waits: {}", refusal.one_line());
            None
        }
    }
}
