//! Pods, read for nothing but what they use: most of a pod is never looked at.

use foureyes_core::domain::inventory::Controller;
use kube::api::{ApiResource, ListParams};
use kube::core::Object;
use kube::{Api, Client};
use serde::Deserialize;

use super::live::{Live, ReadError};

/// A pod, as far as it matters here.
pub type Lean = Object<Spec, Status>;

/// See [`Lean`].
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Spec {
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: String,
    persistent_volume_claim: Option<Claim>,
    ephemeral: Option<Empty>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    claim_name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Empty {}

/// See [`Lean`].
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Status {
    #[serde(default)]
    phase: String,
}

/// What a pod uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodUse {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// Where it is.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Claims that it mounts, by name.
    pub claims: Vec<Box<str>>,
    /// It has run to its end and uses nothing any more.
    pub ended: bool,
}

impl PodUse {
    /// Of a pod as the API server has it.
    pub fn of(pod: &Lean) -> Self {
        let meta = &pod.metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        let claims =
            pod.spec.volumes.iter().filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
                (Some(claim), _) => Some(claim.claim_name.as_str().into()),
                (None, Some(_)) => Some(format!("{name}-{}", volume.name).into()),
                (None, None) => None,
            });
        let phase = pod.status.as_ref().map_or("", |status| &status.phase);
        Self {
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            namespace: meta.namespace.as_deref().unwrap_or_default().into(),
            name: name.into(),
            claims: claims.collect(),
            ended: matches!(phase, "Succeeded" | "Failed"),
        }
    }

    /// Whether it uses this claim; any pod uses its namespace.
    pub fn uses(&self, claim: Option<&str>) -> bool {
        !self.ended && claim.is_none_or(|claim| self.claims.iter().any(|used| &**used == claim))
    }
}

/// A pod as it was read for one decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// What it uses.
    pub uses: PodUse,
    /// Who makes it anew.
    pub controller: Option<Controller>,
}

impl Running {
    fn of(pod: &Lean) -> Self {
        let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
        Self { uses: PodUse::of(pod), controller: Controller::of(owners) }
    }
}

/// All pods.
pub fn everywhere(client: &Client) -> Api<Lean> {
    Api::all_with(client.clone(), &ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()))
}

impl Live {
    /// The pods of a namespace.
    pub async fn pods(&self, namespace: &str) -> Result<Vec<Running>, ReadError> {
        if !foureyes_core::api::is_name(namespace) {
            return Ok(Vec::new());
        }
        let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&());
        let api: Api<Lean> = Api::namespaced_with(self.client().clone(), namespace, &resource);
        self.list("Pods", &api, ListParams::default(), |pod| Running::of(&pod)).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn pod(phase: &str, volumes: &Value) -> PodUse {
        let pod: Lean = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "shop", "name": "db-0", "uid": "u"},
            "spec": {"containers": [{"name": "db"}], "volumes": volumes},
            "status": {"phase": phase, "podIP": "10.0.0.1"},
        }))
        .unwrap();
        PodUse::of(&pod)
    }

    #[test]
    fn a_pod_uses_its_namespace_and_the_claims_that_it_mounts() {
        let volumes = json!([
            {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}},
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {"name": "config", "configMap": {"name": "c"}},
        ]);
        let uses = pod("Pending", &volumes);
        assert!(uses.uses(None) && uses.uses(Some("data-db-0")) && uses.uses(Some("db-0-scratch")));
        assert!(!uses.uses(Some("c")) && !uses.uses(Some("data")));
        for phase in ["Succeeded", "Failed"] {
            assert!(!pod(phase, &volumes).uses(None));
        }
        assert!(pod("Unknown", &json!([])).uses(None));
    }
}
