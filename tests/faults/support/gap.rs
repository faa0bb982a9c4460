//! A time in which the webhook configurations are gone.

use foureyes_testbed::Cluster;
use serde_json::{Value, json};

use super::{Who, until};

const GUARD: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/foureyes-guard";
const STAMP: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/foureyes-stamp";

/// Puts back what it holds, also when the test fails meanwhile: others come after it.
struct Saved<'a> {
    cluster: &'a Cluster,
    objects: Vec<Value>,
}

impl Drop for Saved<'_> {
    fn drop(&mut self) {
        for object in &self.objects {
            if let Err(error) = self.cluster.apply(&object.to_string()) {
                eprintln!("a webhook configuration was not put back: {error}");
            }
        }
    }
}

/// The admin removes both configurations, something happens, and they are put back as they were. The API server knows
/// of either a moment later; when this returns it does.
pub async fn without_webhooks<T>(cluster: &Cluster, admin: &Who, happens: impl AsyncFnOnce() -> T) -> T {
    let mut saved = Saved { cluster, objects: Vec::new() };
    for path in [GUARD, STAMP] {
        let mut object = admin.get(path).await.unwrap();
        object["metadata"] = json!({"name": object["metadata"]["name"], "labels": object["metadata"]["labels"]});
        saved.objects.push(object);
        admin.delete(path).await.unwrap();
    }
    until("the guard to be asked no more", async || !guards(admin).await).await;
    until("the stamp to be asked no more", async || !stamps(admin).await).await;
    let value = happens().await;
    drop(saved);
    until("the guard to be asked again", async || guards(admin).await).await;
    until("the stamp to be asked again", async || stamps(admin).await).await;
    value
}

async fn guards(admin: &Who) -> bool {
    admin.tries_to_delete("/api/v1/namespaces/foureyes-system").await.is_err()
}

/// It strips this annotation from what is born with it.
async fn stamps(admin: &Who) -> bool {
    let annotations = json!({"foureyes.dev/approved-by": "me@1f3a9c0b22de"});
    let born =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "born", "annotations": annotations}});
    admin.tries_to_create(&born).await.is_ok_and(|born| born["metadata"].get("annotations").is_none_or(Value::is_null))
}
