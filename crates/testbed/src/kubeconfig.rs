//! Kubeconfig files with everything inside, so that they can be moved and handed to any program.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::error::Result;
use crate::pki::{self, Identity};

/// How the holder of a kubeconfig proves who it is.
pub enum Credential {
    Certificate(Identity),
    Token(String),
}

impl Credential {
    fn value(&self) -> Value {
        match self {
            Self::Certificate(identity) => json!({
                "client-certificate-data": STANDARD.encode(&identity.certificate),
                "client-key-data": STANDARD.encode(&identity.key),
            }),
            Self::Token(token) => json!({ "token": token }),
        }
    }
}

/// Writes a kubeconfig for `user` at the API server of `url`, trusted through `ca` (PEM).
pub fn write(path: &Path, url: &str, ca: &str, user: &str, credential: &Credential) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "foureyes", "cluster": {
            "server": url,
            "certificate-authority-data": STANDARD.encode(ca),
        }}],
        "users": [{ "name": user, "user": credential.value() }],
        "contexts": [{ "name": user, "context": { "cluster": "foureyes", "user": user } }],
        "current-context": user,
    });
    // JSON is YAML, and needs no second serializer.
    pki::write_secret(path, &format!("{config:#}\n"))
}

/// Writes the file by which an API server knows what to present to the webhook at `host_and_port`. Its entries are
/// matched by name: first `host:port` exactly, at last `*` (k8s.io/apiserver pkg/util/webhook/authentication.go).
pub fn write_for_webhooks(path: &Path, host_and_port: &str, identity: Identity) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "users": [{ "name": host_and_port, "user": Credential::Certificate(identity).value() }],
    });
    pki::write_secret(path, &format!("{config:#}\n"))
}
