//! Reviews of a Deployment's update as the API server sends them: old and new object, each with the annotations and
//! managed fields that several controllers have left on it.

use serde_json::{Value, json};

use crate::Result;

/// What runs, and what would.
#[derive(Clone, Copy)]
pub enum Step {
    /// Only the Deployment's own metadata differ.
    Unchanged,
    /// `kubectl rollout restart`.
    Restart,
    /// Another image.
    Image,
}

const NOTE: &str = "lorem ipsum dolor sit amet lorem ipsum dolor sit amet lorem ipsum dolor sit amet";
pub const ONE: &str = "registry.example.org/web:1";
pub const TWO: &str = "registry.example.org/web:2";

/// A Deployment as the API server has filled it in, with this image.
pub fn deployment(namespace: &str, image: &str) -> Value {
    let environment: Vec<Value> =
        (0..8).map(|number| json!({"name": format!("SETTING_{number}"), "value": NOTE})).collect();
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1,
                       "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3});
    let container = json!({
        "name": "web", "image": image, "ports": [{"containerPort": 8080, "protocol": "TCP"}], "env": environment,
        "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "livenessProbe": probe, "readinessProbe": probe, "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent",
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": "web", "uid": "2b1f9c1e-33a5-4a9e-8f7b-0d4f5a6b7c8d",
                     "resourceVersion": "123456", "generation": 7, "creationTimestamp": "2026-11-01T10:00:00Z"},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"creationTimestamp": null, "labels": {"app": "web"}},
                "spec": {"containers": [container], "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
                         "dnsPolicy": "ClusterFirst", "securityContext": {}, "schedulerName": "default-scheduler"},
            },
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
        },
    })
}

/// The review of one step, of exactly this many bytes.
pub fn step(namespace: &str, step: Step, bytes: usize) -> Result<Vec<u8>> {
    let old = deployment(namespace, ONE);
    let mut new = match step {
        Step::Image => deployment(namespace, TWO),
        Step::Unchanged | Step::Restart => old.clone(),
    };
    match step {
        Step::Restart => {
            new["spec"]["template"]["metadata"]["annotations"] =
                json!({"kubectl.kubernetes.io/restartedAt": "2026-11-23T10:00:00Z"});
        }
        Step::Unchanged => new["metadata"]["labels"] = json!({"seen": "true"}),
        Step::Image => {}
    }
    update("eve", &old, &new, bytes).ok_or_else(|| format!("no such review has {bytes} bytes").into())
}

/// The review of any update of a Deployment, of exactly this many bytes; nothing where it has more.
pub fn update(user: &str, old: &Value, new: &Value, bytes: usize) -> Option<Vec<u8>> {
    let written = |managers: usize, pad: usize| review(user, &grown(old, managers, pad), &grown(new, managers, 0));
    let bare = written(0, 0).len();
    let mut managers = bytes.saturating_sub(bare) / (written(1, 0).len() - bare);
    while managers > 0 && written(managers, 0).len() > bytes {
        managers -= 1;
    }
    let missing = bytes.checked_sub(written(managers, 0).len());
    missing.map(|missing| written(managers, missing).into_bytes())
}

/// With so many controllers that have each left an annotation and their managed fields.
fn grown(object: &Value, managers: usize, pad: usize) -> Value {
    let mut object = object.clone();
    for number in 0..managers {
        object["metadata"]["annotations"][format!("example.dev/note-{number:03}")] = json!(NOTE);
    }
    let managed = (0..managers).map(|number| {
        let fields = json!({"f:metadata": {"f:annotations": {format!("f:example.dev/note-{number:03}"): {}}},
                            "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {}}}}});
        json!({"manager": format!("controller-{number:03}"), "operation": "Update", "apiVersion": "apps/v1",
               "time": "2026-11-01T10:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields})
    });
    object["metadata"]["managedFields"] = managed.collect();
    object["metadata"]["annotations"]["example.dev/pad"] = json!("x".repeat(pad));
    object
}

fn review(user: &str, old: &Value, new: &Value) -> String {
    let kind = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    let resource = json!({"group": "apps", "version": "v1", "resource": "deployments"});
    let request = json!({
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "resource": resource, "requestKind": kind,
        "requestResource": resource, "name": new["metadata"]["name"], "namespace": new["metadata"]["namespace"],
        "operation": "UPDATE", "userInfo": {"username": user, "groups": ["ops", "system:authenticated"]},
        "object": new, "oldObject": old, "dryRun": false,
        "options": {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1"},
    });
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}).to_string()
}
