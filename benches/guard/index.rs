//! What the guard knows, without an API server: two namespaces, one volume, and any number of requests about others.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::Router;
use foureyes::admission::{Shared, router};
use foureyes::clock::Clock;
use foureyes::cluster::live::Live;
use foureyes::metrics::Metrics;
use foureyes_core::api::Phase;
use foureyes_core::domain::inventory::Volume;
use foureyes_core::index::{Change, Kind, NamespaceEntry, RequestEntry, SignOffEntry, Snapshot, policy_entry};
use serde_json::json;

use crate::Result;

pub const CLAIM: &str = "0f3b1d53-6d2e-4a77-9a1e-6b58bb1f1c11";
pub const VOLUME: &str = "pvc-0f3b1d53";
/// Its deletions are governed.
pub const PRODUCTION: &str = "anchors";
/// Its deletions are not.
pub const ELSEWHERE: &str = "staging";

/// Everything was read; enforcement has begun; as many requests as sign-offs, none about [`CLAIM`].
fn snapshot(requests: usize) -> Snapshot {
    let mut index = Snapshot::default();
    for kind in Kind::ALL {
        index.apply(Change::Reset(kind, Vec::new()));
    }
    index.apply(Change::Started);
    index.apply(Change::Policy(Box::new(policy_entry(&json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": {"name": "default"}, "spec": {},
    })))));
    for (name, label) in [(PRODUCTION, "production"), (ELSEWHERE, "non-production"), ("kube-system", "production")] {
        index.apply(Change::Namespace(NamespaceEntry {
            name: name.into(),
            uid: format!("uid-of-{name}").into(),
            labels: [
                ("foureyes.dev/environment".to_owned(), label.to_owned()),
                ("kubernetes.io/metadata.name".to_owned(), name.to_owned()),
            ]
            .into(),
            ..NamespaceEntry::default()
        }));
    }
    index.apply(Change::Volume(Volume {
        name: VOLUME.into(),
        uid: "5d3c7a3e-98a4-4a4e-9d5e-0b0b6f1c9b11".into(),
        handle: Some("ebs.csi.aws.com/vol-0123456789abcdef0".into()),
        ..Volume::default()
    }));
    for number in 0..requests {
        let uid = format!("00000000-0000-4000-8000-{number:012}");
        index.apply(Change::Request(RequestEntry {
            name: format!("pvc-data-{number}").into(),
            uid: uid.as_str().into(),
            target_uid: format!("00000000-0000-4000-9000-{number:012}").into(),
            author: format!("person-{}", number % 50).into(),
            phase: Phase::Pending,
            created: 0,
            supervise_by: None,
        }));
        index.apply(Change::SignOff(SignOffEntry {
            name: format!("pvc-data-{number}-approve").into(),
            author: format!("person-{}", (number + 1) % 50).into(),
            subject_uid: uid.into(),
        }));
    }
    index
}

/// The routes of both webhooks over such an index. No decision measured with it asks an API server.
pub fn routes(requests: usize, metrics: &Metrics) -> Result<Router> {
    let nowhere = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse()?))?;
    Ok(router(Arc::new(Shared {
        index: ArcSwap::from_pointee(snapshot(requests)),
        sealing_key: Arc::new(ArcSwapOption::empty()),
        live: Live::new(nowhere, "foureyes-system", Duration::from_secs(3), metrics.clone()),
        own_namespace: "foureyes-system".to_owned(),
        clock: Clock::system(),
        metrics: metrics.clone(),
    })))
}
