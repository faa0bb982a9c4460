//! A time in which the webhook configurations are gone.

use foureyes_testbed::Cluster;
use serde_json::{Value, json};

use super::{Who, until};

const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";
const BINDING: &str = "ValidatingAdmissionPolicyBinding";
const GUARD: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/foureyes-guard";
/// Keeps anybody from taking the configurations away alone. Nothing in the API guards it (fact 21).
const BELT: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/foureyes-webhooks";
/// Keeps anybody from deleting data while they are gone.
const DATA_BELT: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/foureyes-data";
const STAMP: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/foureyes-stamp";

/// Puts back what it holds, also when the test fails meanwhile: others come after it.
pub struct Saved<'a> {
    cluster: &'a Cluster,
    objects: Vec<Value>,
}

impl<'a> Saved<'a> {
    /// Both configurations.
    pub async fn webhooks(cluster: &'a Cluster, admin: &Who) -> Self {
        let mut saved = Self { cluster, objects: Vec::new() };
        saved.take(admin, GUARD).await;
        saved.take(admin, STAMP).await;
        saved
    }

    /// Both configurations and every binding.
    pub async fn everything(cluster: &'a Cluster, admin: &Who) -> Self {
        let mut saved = Self::webhooks(cluster, admin).await;
        for binding in admin.lists(&format!("{REGISTRATION}/validatingadmissionpolicybindings")).await {
            let name = binding["metadata"]["name"].as_str().unwrap().to_owned();
            saved.take(admin, &format!("{REGISTRATION}/validatingadmissionpolicybindings/{name}")).await;
        }
        saved
    }

    /// Both configurations and what keeps them.
    pub async fn webhooks_and_belt(cluster: &'a Cluster, admin: &Who) -> Self {
        let mut saved = Self::webhooks(cluster, admin).await;
        saved.take(admin, BELT).await;
        saved
    }

    /// Puts it back as it was, while more is done.
    pub fn put_back(&self) {
        for object in &self.objects {
            if let Err(error) = self.put(object) {
                eprintln!("a webhook configuration was not put back: {error}");
            }
        }
    }

    /// Admission policies of these names with their bindings.
    pub async fn policies(cluster: &'a Cluster, admin: &Who, names: &[&str]) -> Self {
        let mut saved = Self { cluster, objects: Vec::new() };
        for (name, plural) in names.iter().flat_map(|name| [(name, "policies"), (name, "policybindings")]) {
            saved.take(admin, &format!("{REGISTRATION}/validatingadmission{plural}/{name}")).await;
        }
        saved
    }

    /// Whole, and not applied: a note of what was applied, caBundle and all, would have the next installation remove that.
    fn put(&self, object: &Value) -> foureyes_testbed::Result<String> {
        let kubectl = |verb: &str| {
            let args = [verb, "-f", "-"];
            self.cluster.kubectl_with("admin", &args, Some(&object.to_string()))
        };
        let replaced = kubectl("replace")?;
        if replaced.text().contains("NotFound") {
            return kubectl("create")?.success("kubectl create");
        }
        replaced.success("kubectl replace")
    }

    /// What keeps the others.
    pub fn put_back_belt(&self) {
        for object in self.objects.iter().filter(|object| object["kind"] == BINDING) {
            self.put(object).unwrap();
        }
    }

    async fn take(&mut self, admin: &Who, path: &str) {
        let mut object = admin.get(path).await.unwrap();
        object["metadata"] = json!({"name": object["metadata"]["name"], "labels": object["metadata"]["labels"]});
        self.objects.push(object);
    }

    /// Puts it back now, and waits until the API server knows.
    pub async fn back(self, admin: &Who) {
        drop(self);
        until("the guard to be asked again", async || guards(admin).await).await;
        until("the stamp to be asked again", async || stamps(admin).await).await;
    }
}

impl Drop for Saved<'_> {
    fn drop(&mut self) {
        self.put_back();
    }
}

/// The admin removes both configurations, something happens, and they are put back as they were. The API server knows
/// of either a moment later; when this returns it does.
pub async fn without_webhooks<T>(cluster: &Cluster, admin: &Who, happens: impl AsyncFnOnce() -> T) -> T {
    let mut saved = Saved::webhooks(cluster, admin).await;
    saved.take(admin, BELT).await;
    saved.take(admin, DATA_BELT).await;
    for path in [BELT, DATA_BELT, GUARD, STAMP] {
        // The API server forgets the policy a moment later.
        until("it to go", async || admin.delete(path).await.is_ok()).await;
    }
    until("the guard to be asked no more", async || !guards(admin).await).await;
    until("the stamp to be asked no more", async || !stamps(admin).await).await;
    let value = happens().await;
    saved.back(admin).await;
    value
}

/// The same with the belt about data left on.
pub async fn with_the_belt_alone<T>(cluster: &Cluster, admin: &Who, happens: impl AsyncFnOnce() -> T) -> T {
    let mut saved = Saved::webhooks(cluster, admin).await;
    saved.take(admin, BELT).await;
    for path in [BELT, GUARD, STAMP] {
        until("it to go", async || admin.delete(path).await.is_ok()).await;
    }
    until("the guard to be asked no more", async || !guards(admin).await).await;
    let value = happens().await;
    saved.back(admin).await;
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
