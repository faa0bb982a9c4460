//! A mutating webhook of somebody else's: it puts a proxy into every Deployment of one namespace.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{me, went};

/// Serves until this process ends.
pub struct Injector(Arc<AtomicU32>);

impl Injector {
    /// Begins to inject the first version.
    pub fn of(namespace: &str) -> Self {
        let version = Arc::new(AtomicU32::new(1));
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/inject", listener.local_addr().unwrap());
        let (certificate, key) = (own.cert.der().to_vec(), own.signing_key.serialize_der());
        let asked = version.clone();
        thread::spawn(move || serve(listener, certificate, key, asked));
        let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                          "resources": ["deployments"]});
        let webhook = json!({
            "name": "inject.mesh.example.org", "admissionReviewVersions": ["v1"], "sideEffects": "None", "rules": [rule],
            "clientConfig": {"url": url, "caBundle": STANDARD.encode(own.cert.pem())},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        });
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": namespace}, "webhooks": [webhook],
        });
        went(&me("admin").kubectl_with(&["create", "-f", "-"], Some(&configuration)));
        Self(version)
    }

    pub fn injects(&self, version: u32) {
        self.0.store(version, Ordering::SeqCst);
    }
}

fn serve(listener: TcpListener, certificate: Vec<u8>, key: Vec<u8>, version: Arc<AtomicU32>) {
    // Only fails if another test has done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    listener.set_nonblocking(true).unwrap();
    let answer = move |review: Bytes| async move { reviewed(&review, version.load(Ordering::SeqCst)) };
    let router = Router::new().route("/inject", post(answer));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tls = RustlsConfig::from_der(vec![certificate], key).await.unwrap();
        let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
        server.serve(router.into_make_service()).await.unwrap();
    });
}

fn reviewed(review: &[u8], version: u32) -> ([(&'static str, &'static str); 1], String) {
    let review: Value = serde_json::from_slice(review).unwrap();
    let containers = "/spec/template/spec/containers";
    let image = format!("registry.example.org/proxy:{version}");
    let there = review["request"]["object"].pointer(containers).and_then(Value::as_array).unwrap();
    let patch = match there.iter().position(|container| container["name"] == "proxy") {
        Some(at) => json!([{"op": "replace", "path": format!("{containers}/{at}/image"), "value": image}]),
        None => json!([{"op": "add", "path": format!("{containers}/-"), "value": {"name": "proxy", "image": image}}]),
    };
    let response = json!({"uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch",
                          "patch": STANDARD.encode(patch.to_string())});
    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    ([("content-type", "application/json")], answer.to_string())
}
