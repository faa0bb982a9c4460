//! Kinds of a test's own, whose objects may say anything.

use serde_json::json;

use super::objects::eventually;
use super::{me, succeeds_with};

/// Defines a kind in version `v1`; when this returns, those who may edit in `namespace` may edit its objects there.
pub fn define(group: &str, kind: &str, plural: &str, namespace: &str) {
    let name = format!("{plural}.{group}");
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
                 "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]},
    });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}},
        "rules": [{"apiGroups": [group], "resources": [plural], "verbs": ["*"]}],
    });
    for object in [definition, role] {
        succeeds_with("admin", &["apply", "-f", "-"], &object.to_string());
    }
    me("admin").does(&["wait", &format!("crd/{name}"), "--for=condition=Established", "--timeout=60s"]);
    eventually("the kind to be editable", || me("eve").kubectl(&["-n", namespace, "get", &name]).ok());
}
