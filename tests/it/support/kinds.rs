//! Kinds of a test's own, whose objects may say anything, and those of projects that many install.

use std::sync::LazyLock;

use foureyes_testbed::definitions::{Definitions, K8UP, SNAPSHOTS, VELERO};
use serde_json::json;

use super::objects::eventually;
use super::{cluster, me, production, succeeds_with};

/// The snapshot API is installed, and people edit its objects where they edit.
pub fn with_snapshots() {
    static INSTALLED: LazyLock<()> = LazyLock::new(|| install(&SNAPSHOTS, "volumesnapshots.snapshot.storage.k8s.io"));
    LazyLock::force(&INSTALLED);
}

/// The same of Velero's kinds.
pub fn with_velero() {
    static INSTALLED: LazyLock<()> = LazyLock::new(|| install(&VELERO, "backups.velero.io"));
    LazyLock::force(&INSTALLED);
}

/// The same of k8up's kinds.
pub fn with_k8up() {
    static INSTALLED: LazyLock<()> = LazyLock::new(|| install(&K8UP, "snapshots.k8up.io"));
    LazyLock::force(&INSTALLED);
}

fn install(kinds: &Definitions, one_of_them: &str) {
    cluster().define(kinds).unwrap();
    let namespace = production("kinds");
    eventually("the kinds to be editable", || me("eve").kubectl(&["-n", &namespace, "get", one_of_them]).ok());
}

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
