//! Projections: of each object only what a decision reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;

use super::uid::Uid;
use crate::api::{ChangePhase, ChangeRequest, DeletionRequest, Phase, RolloutRecord, SignOff, WorkloadIdentity};
use crate::domain::change::identity_of;
use crate::domain::rollout::known::Known;

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceEntry {
    pub name: Box<str>,
    pub uid: Box<str>,
    pub labels: BTreeMap<String, String>,
    pub going_since: Option<Timestamp>,
}

impl NamespaceEntry {
    pub fn of(namespace: &Namespace) -> Self {
        let meta = &namespace.metadata;
        Self {
            name: meta.name.clone().unwrap_or_default().into(),
            uid: meta.uid.clone().unwrap_or_default().into(),
            labels: meta.labels.clone().unwrap_or_default(),
            going_since: meta.deletion_timestamp.as_ref().map(|time| time.0),
        }
    }
}

/// A DeletionRequest: enough to know that it is worth a live read, never enough to allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestEntry {
    pub name: Arc<str>,
    pub uid: Uid,
    pub target_uid: Uid,
    /// Case-folded username of the requester as stated.
    pub author: Arc<str>,
    pub phase: Phase,
    /// Second in which it was created.
    pub created: u32,
    /// Of one that was executed: the second until which somebody should have supervised it.
    pub supervise_by: Option<u32>,
}

impl RequestEntry {
    pub fn of(request: &DeletionRequest) -> Self {
        let author = request.spec.requester.as_ref().map(|requester| requester.author.username.to_lowercase());
        let created = request.metadata.creation_timestamp.as_ref();
        let status = request.status.as_ref();
        let phase = status.and_then(|status| status.phase).unwrap_or_default();
        let by = status.filter(|_| phase == Phase::Executed).and_then(|status| status.supervise_by.as_ref());
        Self {
            name: request.metadata.name.clone().unwrap_or_default().into(),
            uid: request.metadata.uid.as_deref().unwrap_or_default().into(),
            target_uid: request.spec.target.uid.as_str().into(),
            author: author.unwrap_or_default().into(),
            phase,
            created: created.and_then(|time| u32::try_from(time.0.as_second()).ok()).unwrap_or_default(),
            supervise_by: by.and_then(|time| u32::try_from(time.0.as_second()).ok()),
        }
    }
}

/// A change: enough to know that it is worth a live read, never enough to allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeEntry {
    /// `namespace/name`.
    pub name: Arc<str>,
    pub uid: Uid,
    /// Keys of the objects that it names.
    pub targets: Box<[Arc<str>]>,
    /// Case-folded username of the requester as stated.
    pub author: Arc<str>,
    pub phase: ChangePhase,
}

impl ChangeEntry {
    /// `own_namespace` is that of foureyes, whose changes reach everywhere.
    pub fn of(request: &ChangeRequest, own_namespace: &str) -> Self {
        let author = request.spec.requester.as_ref().map(|requester| requester.author.username.to_lowercase());
        let metadata = &request.metadata;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let targets = request.spec.targets.iter();
        let identities = targets.filter_map(|target| identity_of(request, target, own_namespace));
        Self {
            name: format!("{}/{}", part(&metadata.namespace), part(&metadata.name)).into(),
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            targets: identities.map(|identity| identity.key().into()).collect(),
            author: author.unwrap_or_default().into(),
            phase: request.status.as_ref().and_then(|status| status.phase).unwrap_or_default(),
        }
    }
}

/// A workload's record: what it vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordEntry {
    pub name: Box<str>,
    pub workload: WorkloadIdentity,
    pub known: Known,
}

impl RecordEntry {
    pub fn of(record: &RolloutRecord) -> Self {
        Self {
            name: record.metadata.name.clone().unwrap_or_default().into(),
            workload: record.spec.workload.clone(),
            known: record.status.as_ref().map(Known::of).unwrap_or_default(),
        }
    }
}

/// A SignOff, for the limit per author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignOffEntry {
    pub name: Arc<str>,
    /// Case-folded username of the author as stated.
    pub author: Arc<str>,
    pub subject_uid: Uid,
}

impl SignOffEntry {
    pub fn of(sign_off: &SignOff) -> Self {
        let author = sign_off.spec.author.as_ref().map(|author| author.username.to_lowercase());
        Self {
            name: sign_off.metadata.name.clone().unwrap_or_default().into(),
            author: author.unwrap_or_default().into(),
            subject_uid: sign_off.spec.subject.uid.as_str().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn of_a_namespace_only_labels_are_kept() {
        let long = "x".repeat(250_000);
        let namespace: Namespace = serde_json::from_value(serde_json::json!({
            "metadata": {
                "name": "shop", "uid": "u", "labels": {"team": "a"}, "finalizers": [long],
                "annotations": {"foureyes.dev/approved-by-record": long, "note": long},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": long, "uid": "u"}],
            },
            "spec": {"finalizers": [long]},
        }))
        .unwrap();
        let entry = NamespaceEntry::of(&namespace);
        assert!(format!("{entry:?}").len() < 1_000);
        assert_eq!(entry.labels.get("team").map(String::as_str), Some("a"));
    }
}
