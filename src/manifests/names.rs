//! Names that the shipped objects and the running parts agree on.

use std::collections::BTreeMap;

pub use foureyes_core::api::{CONFIGURATIONS, GUARD, STAMP};
use foureyes_core::domain::inventory::Claim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::config::DEFAULT_NAMESPACE;

/// The namespace that the shipped manifests install into.
pub const NAMESPACE: &str = DEFAULT_NAMESPACE;

/// Service that the API server calls.
pub const SERVICE: &str = "foureyes-webhook";
/// Port of [`SERVICE`].
pub const SERVICE_PORT: i32 = 443;
/// Private sealing keys; made and read by name.
pub const SEALING_KEY_SECRET: &str = "foureyes-sealing-key";
/// The authority that the controller keeps for the webhook's certificate.
pub const CA_SECRET: &str = "foureyes-ca";
/// The webhook's certificate.
pub const TLS_SECRET: &str = "foureyes-webhook-tls";
/// Public sealing keys and the cluster's id.
pub const KEYS_CONFIG: &str = "foureyes-keys";
/// What the controller has begun.
pub const STATE_CONFIG: &str = "foureyes-state";
/// The claim whose deletion the probe asks for, as a dry run.
pub const CANARY: &str = "foureyes-canary";
/// Whether this is that claim: it holds nothing, and goes with the namespace of foureyes.
pub fn is_canary(own_namespace: &str, claim: &Claim) -> bool {
    *claim.namespace == *own_namespace && &*claim.name == CANARY
}

/// How this installation starts: `mode: enforce|observe`.
pub const INSTALL_CONFIG: &str = "foureyes-install";

/// A process of foureyes, each with a ServiceAccount of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    Webhook,
    Controller,
    Keys,
}

impl Component {
    pub const ALL: [Self; 3] = [Self::Webhook, Self::Controller, Self::Keys];

    /// Name of its ServiceAccount and of its roles.
    pub const fn account(self) -> &'static str {
        match self {
            Self::Webhook => "foureyes-webhook",
            Self::Controller => "foureyes-controller",
            Self::Keys => "foureyes-keys",
        }
    }

    /// As the API server authenticates it, as shipped.
    pub fn username(self) -> String {
        self.username_in(NAMESPACE)
    }

    /// As the API server authenticates it where foureyes lives in this namespace.
    pub fn username_in(self, namespace: &str) -> String {
        format!("system:serviceaccount:{namespace}:{}", self.account())
    }
}

/// Labels of every generated object.
pub fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app.kubernetes.io/name".to_owned(), "foureyes".to_owned())])
}

/// Metadata of a generated cluster-scoped object.
pub fn cluster(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), labels: Some(labels()), ..ObjectMeta::default() }
}

/// Metadata of a generated object in foureyes' own namespace.
pub fn namespaced(name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(NAMESPACE.to_owned()), ..cluster(name) }
}
