//! Claims, and requests with what is said about them.

use foureyes_testbed::Cluster;
use serde_json::{Value, json};

use super::{Refused, Who, found};

const OURS: &str = "/apis/foureyes.dev/v1alpha1";

pub fn claim_path(namespace: &str, name: &str) -> String {
    format!("{}/persistentvolumeclaims/{name}", namespace_path(namespace))
}

pub fn namespace_path(name: &str) -> String {
    format!("/api/v1/namespaces/{name}")
}

pub fn request_path(name: &str) -> String {
    format!("{OURS}/deletionrequests/{name}")
}

pub fn description(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    })
}

/// A claim that is bound; its UID.
pub async fn claim(admin: &Who, namespace: &str, name: &str) -> String {
    let created = admin.create(&description(namespace, name)).await.unwrap();
    let path = claim_path(namespace, name);
    found("the claim to be bound", async || {
        let bound = admin.get(&path).await.is_ok_and(|claim| claim["status"]["phase"] == "Bound");
        bound.then_some(())
    })
    .await;
    created["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// A request for a claim, or for a whole namespace if there is no `claim`.
pub fn request(namespace: &str, claim: Option<&str>, uid: &str) -> Value {
    let target = match claim {
        Some(name) => json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name,
                             "uid": uid}),
        None => json!({"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": uid}),
    };
    json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest",
        "metadata": {"generateName": format!("{namespace}-")},
        "spec": {"target": target, "reason": "no longer needed"},
    })
}

/// A request, to be looked at by somebody who may.
#[derive(Clone)]
pub struct Asked {
    admin: Who,
    pub name: String,
    pub uid: String,
}

impl Asked {
    pub async fn by(who: &Who, admin: &Who, object: &Value) -> Self {
        let created = who.create(object).await.unwrap_or_else(|refused| panic!("{refused}"));
        Self::of(admin, &created)
    }

    pub fn of(admin: &Who, request: &Value) -> Self {
        let text = |key: &str| request["metadata"][key].as_str().unwrap().to_owned();
        Self { admin: admin.clone(), name: text("name"), uid: text("uid") }
    }

    /// Every request about the object with this UID.
    pub async fn about(admin: &Who, uid: &str) -> Vec<Value> {
        admin.lists(&format!("{OURS}/deletionrequests?fieldSelector=spec.target.uid%3D{uid}")).await
    }

    /// The one that the controller opens for the object with this UID.
    pub async fn opened(admin: &Who, uid: &str) -> Self {
        let opened = found("a request to be opened", async || Self::about(admin, uid).await.pop()).await;
        Self::of(admin, &opened)
    }

    pub async fn now(&self) -> Value {
        self.admin.get(&request_path(&self.name)).await.unwrap()
    }

    /// What a sign-off names, once the controller has said it.
    pub async fn digest(&self) -> String {
        found("the request to say what is signed off", async || {
            self.now().await["status"]["subjectDigest"].as_str().map(str::to_owned)
        })
        .await
    }

    /// A statement about it.
    pub fn statement(&self, says: &str, digest: Option<&str>) -> Value {
        let mut object = json!({
            "apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOff",
            "metadata": {"generateName": format!("{}-", self.name)},
            "spec": {"subject": {"kind": "DeletionRequest", "name": self.name, "uid": self.uid}, "says": says},
        });
        if let Some(digest) = digest {
            object["spec"]["digest"] = json!(digest);
        }
        object
    }

    /// Somebody says something; the path of the sign-off.
    pub async fn said(&self, who: &Who, says: &str) -> Result<String, Refused> {
        let digest = if says == "Approve" { Some(self.digest().await) } else { None };
        let created = who.create(&self.statement(says, digest.as_deref())).await?;
        Ok(format!("{OURS}/signoffs/{}", created["metadata"]["name"].as_str().unwrap()))
    }

    pub async fn is(&self, phase: &str) {
        found(&format!("{} to be {phase}", self.name), async || {
            (self.now().await["status"]["phase"] == phase).then_some(())
        })
        .await;
    }
}

impl Asked {
    /// alice asks, bob approves, and the controller releases it.
    pub async fn approved(cluster: &Cluster, object: &Value) -> Self {
        let (admin, alice, bob) =
            (Who::is(cluster, "admin").await, Who::is(cluster, "alice").await, Who::is(cluster, "bob").await);
        let asked = Self::by(&alice, &admin, object).await;
        asked.said(&bob, "Approve").await.unwrap();
        asked.is("Executable").await;
        asked
    }
}
