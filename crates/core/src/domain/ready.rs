//! Commands that work when pasted, with nothing but kubectl. Everything put into them is a name, a UID or a digest
//! that the API server has validated, so nothing needs quoting.

use serde_json::json;

use crate::api::{API_VERSION, APPROVED_BY, Target, TargetKind};

/// Approves the deletion of an object that a person can patch.
pub fn annotate(target: &Target, short_digest: &str) -> String {
    let object = match &target.namespace {
        Some(namespace) => format!("-n {namespace} annotate pvc {}", target.name),
        None => format!("annotate namespace {}", target.name),
    };
    format!("kubectl {object} --overwrite {APPROVED_BY}=me@{short_digest}")
}

/// Opens a request.
pub fn request(target: &Target) -> String {
    let prefix = match target.kind {
        TargetKind::PersistentVolumeClaim => "pvc",
        TargetKind::Namespace => "ns",
    };
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": "DeletionRequest",
        "metadata": {"generateName": format!("{prefix}-{}-", truncated(&target.name))},
        "spec": {"target": target, "reason": "requested after a refused deletion"},
    });
    create(&object)
}

/// Signs a request off.
pub fn sign_off(request: &str, uid: &str, subject_digest: &str) -> String {
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": "SignOff",
        "metadata": {"generateName": format!("{}-", truncated(request))},
        "spec": {
            "subject": {"kind": "DeletionRequest", "name": request, "uid": uid},
            "says": "Approve",
            "digest": subject_digest,
        },
    });
    create(&object)
}

/// Deletes the target.
pub fn delete(target: &Target) -> String {
    match &target.namespace {
        Some(namespace) => format!("kubectl -n {namespace} delete pvc {}", target.name),
        None => format!("kubectl delete namespace {}", target.name),
    }
}

/// Shows a request.
pub fn show(request: &str) -> String {
    format!("kubectl get deletionrequest {request} -o yaml")
}

fn create(object: &serde_json::Value) -> String {
    format!("echo '{object}' | kubectl create -f -")
}

/// Leaves room for a suffix within the 253 characters of a name.
fn truncated(name: &str) -> &str {
    name.get(..200).unwrap_or(name).trim_end_matches(['.', '-'])
}
