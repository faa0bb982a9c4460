//! Somebody who speaks to the API server without kubectl, and so many times a second.

use std::fmt;

use axum::http::Request;
use foureyes_testbed::Cluster;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::Value;

/// One of the people under their own certificate, or somebody whom the admin impersonates.
#[derive(Clone)]
pub struct Who {
    client: Client,
    headers: Vec<(&'static str, String)>,
}

/// A request that did not succeed.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The HTTP status; 0 when there was no answer.
    pub code: u16,
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl Who {
    /// One of the people.
    pub async fn is(cluster: &Cluster, person: &str) -> Self {
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig(person)).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = config.unwrap();
        config.default_retry = false;
        Self { client: Client::try_from(config).unwrap(), headers: Vec::new() }
    }

    /// Somebody of these groups, impersonated by the admin.
    pub async fn acting(cluster: &Cluster, name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| ("Impersonate-Group", (*group).to_owned()));
        let headers = std::iter::once(("Impersonate-User", name.to_owned())).chain(groups).collect();
        Self { headers, ..Self::is(cluster, "admin").await }
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    async fn ask(&self, method: &str, path: &str, kind: &str, body: Option<&Value>) -> Result<Value, Refused> {
        let mut request = Request::builder().method(method).uri(path).header("content-type", kind);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = body.map(Value::to_string).unwrap_or_default().into_bytes();
        let answer = self.client.request::<Value>(request.body(body).unwrap()).await;
        answer.map_err(|error| match error {
            kube::Error::Api(status) => Refused { code: status.code, message: status.message.clone() },
            other => Refused { code: 0, message: other.to_string() },
        })
    }

    pub async fn get(&self, path: &str) -> Result<Value, Refused> {
        self.ask("GET", path, "application/json", None).await
    }

    /// What is there, if something is.
    pub async fn sees(&self, path: &str) -> Option<Value> {
        match self.get(path).await {
            Ok(found) => Some(found),
            Err(refused) if refused.code == 404 => None,
            Err(refused) => panic!("GET {path}: {refused}"),
        }
    }

    /// The items at `path`, which may have a selector.
    pub async fn lists(&self, path: &str) -> Vec<Value> {
        let list = self.get(path).await.unwrap_or_else(|refused| panic!("GET {path}: {refused}"));
        list["items"].as_array().cloned().unwrap_or_default()
    }

    pub async fn create(&self, object: &Value) -> Result<Value, Refused> {
        self.post(object, "").await
    }

    /// Judged like a real one.
    pub async fn tries_to_create(&self, object: &Value) -> Result<Value, Refused> {
        self.post(object, "?dryRun=All").await
    }

    async fn post(&self, object: &Value, query: &str) -> Result<Value, Refused> {
        let version = object["apiVersion"].as_str().unwrap();
        let root = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
        let plural = match object["kind"].as_str().unwrap() {
            kind if kind.ends_with('y') => format!("{}ies", kind.trim_end_matches('y')),
            kind => format!("{kind}s"),
        };
        let namespace = object["metadata"]["namespace"].as_str();
        let place = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
        let path = format!("{root}{place}/{}{query}", plural.to_lowercase());
        self.ask("POST", &path, "application/json", Some(object)).await
    }

    pub async fn merge(&self, path: &str, change: &Value) -> Result<Value, Refused> {
        self.ask("PATCH", path, "application/merge-patch+json", Some(change)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value, Refused> {
        self.ask("DELETE", path, "application/json", None).await
    }

    /// Judged like a real one.
    pub async fn tries_to_delete(&self, path: &str) -> Result<Value, Refused> {
        self.delete(&format!("{path}?dryRun=All")).await
    }
}
