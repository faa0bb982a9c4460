//! A webhook's port, spoken to without the API server.

use axum::http::{Request, header};
use foureyes_testbed::Cluster;
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::config::{AuthInfo, Kubeconfig};
use kube::{Client, Config};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::Who;

/// One webhook's process, and what is shown to it.
#[derive(Clone)]
pub struct Webhook {
    client: Client,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub text: String,
}

impl Answer {
    /// The `response` of an answer to a review.
    #[track_caller]
    pub fn response(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        let review: Value = serde_json::from_str(&self.text).unwrap();
        review["response"].clone()
    }
}

impl Webhook {
    /// By a process that shows no certificate.
    pub async fn anonymous(cluster: &Cluster, port: u16) -> Self {
        Self::with(cluster, port, AuthInfo::default()).await
    }

    /// As the API server does.
    pub async fn trusted(cluster: &Cluster, port: u16) -> Self {
        let path = cluster.layout().pki().join("webhook-client.kubeconfig");
        Self::with(cluster, port, identity(&path)).await
    }

    /// With a person's own certificate.
    pub async fn person(cluster: &Cluster, port: u16, person: &str) -> Self {
        Self::with(cluster, port, identity(&cluster.kubeconfig(person))).await
    }

    async fn with(cluster: &Cluster, port: u16, auth_info: AuthInfo) -> Self {
        let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/foureyes-guard";
        let guard = Who::is(cluster, "admin").await.get(path).await.unwrap();
        let bundle: k8s_openapi::ByteString =
            serde_json::from_value(guard["webhooks"][0]["clientConfig"]["caBundle"].clone()).unwrap();
        let roots = CertificateDer::pem_slice_iter(&bundle.0).map(|ca| ca.unwrap().to_vec()).collect();
        let mut config = Config::new(format!("https://127.0.0.1:{port}").parse().unwrap());
        config.root_cert = Some(roots);
        config.auth_info = auth_info;
        config.default_retry = false;
        Self { client: Client::try_from(config).unwrap() }
    }

    /// Posts a body; an error is a connection that came to nothing.
    pub async fn post(&self, path: &str, body: Vec<u8>) -> Result<Answer, String> {
        let request = Request::post(format!("{path}?timeout=5s")).header("content-type", "application/json");
        let answer = self.client.send(request.body(Body::from(body)).unwrap()).await;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        let header = answer.headers().get(header::RETRY_AFTER);
        let retry_after = header.map(|value| value.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
        Ok(Answer { status, retry_after, text: String::from_utf8_lossy(&bytes).into_owned() })
    }

    pub async fn review(&self, path: &str, review: &Value) -> Result<Answer, String> {
        self.post(path, review.to_string().into_bytes()).await
    }
}

fn identity(kubeconfig: &std::path::Path) -> AuthInfo {
    Kubeconfig::read_from(kubeconfig).unwrap().auth_infos.remove(0).auth_info.unwrap()
}

/// What the API server would ask about somebody's deletion of a claim.
pub fn delete_review(claim: &Value, username: &str) -> Value {
    let meta = &claim["metadata"];
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "PersistentVolumeClaim"},
            "resource": {"group": "", "version": "v1", "resource": "persistentvolumeclaims"},
            "name": meta["name"], "namespace": meta["namespace"], "operation": "DELETE",
            "userInfo": {"username": username, "groups": ["system:authenticated"]},
            "object": null, "oldObject": claim, "dryRun": false,
        },
    })
}
