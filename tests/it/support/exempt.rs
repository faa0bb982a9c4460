//! What the policy `default` says for all tests about storage that holds nothing worth protecting.

use std::sync::Once;

use serde_json::{Value, json};

use super::floor::{edit_floor, in_force};
use super::objects::claim_of;
use super::{me, production, succeeds_with};

/// A storage class whose claims are exempt.
pub const DISPOSABLE: &str = "disposable";
/// A label with which claims are born exempt.
pub const LABEL: (&str, &str) = ("foureyes.dev/data", "disposable");

/// A claim on exempt storage, and the volume that it will be bound to.
pub fn disposable_claim(namespace: &str, name: &str) -> Value {
    disposable_volume(namespace, name);
    let mut claim = claim_of(namespace, name);
    claim["spec"]["storageClassName"] = json!(DISPOSABLE);
    claim
}

/// A volume of exempt storage for one claim: nothing provisions that class.
pub fn disposable_volume(namespace: &str, claim: &str) {
    disposable();
    me("admin").creates(&json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("{namespace}-{claim}")},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": DISPOSABLE,
                 "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/scratch"},
                 "claimRef": {"namespace": namespace, "name": claim}},
    }));
}

static SET_UP: Once = Once::new();

/// Makes the storage class and exempts it and the label, once; returns when both webhooks know.
pub fn disposable() {
    SET_UP.call_once(|| {
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": DISPOSABLE},
                           "provisioner": "kubernetes.io/no-provisioner"});
        succeeds_with("admin", &["apply", "-f", "-"], &class.to_string());
        edit_floor(|spec| {
            let exempt = &mut spec["deletion"]["exempt"];
            let mut classes: Vec<String> = serde_json::from_value(exempt["storageClasses"].take()).unwrap_or_default();
            if !classes.iter().any(|class| class == DISPOSABLE) {
                classes.push(DISPOSABLE.to_owned());
            }
            exempt["storageClasses"] = json!(classes);
            exempt["claimSelector"]["matchLabels"][LABEL.0] = json!(LABEL.1);
        });
        let namespace = production("exempt-probe");
        let mut probe = claim_of(&namespace, "probe");
        probe["spec"]["storageClassName"] = json!(DISPOSABLE);
        me("admin").creates(&probe);
        in_force("the exemption to be known", || {
            me("eve").kubectl(&["-n", &namespace, "delete", "pvc", "probe", "--dry-run=server"]).ok()
        });
    });
}
