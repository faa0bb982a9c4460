//! Every way to destroy: kinds whose objects hold data or decide about it, with the definitions that their projects ship.

use serde_json::{Value, json};

use crate::support::kinds::{with_k8up, with_snapshots, with_velero};
use crate::support::{claim, exists, me, production};

fn object(kind: (&str, &str), namespace: &str, name: &str, spec: &Value) -> Value {
    let (api_version, kind) = kind;
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

#[test]
fn kinds_of_others_are_there_once_they_are_installed() {
    with_snapshots();
    with_velero();
    with_k8up();
    let namespace = production("kinds");
    claim(&namespace, "data");
    let snapshot = json!({"source": {"persistentVolumeClaimName": "data"}});
    me("eve").creates(&object(("snapshot.storage.k8s.io/v1", "VolumeSnapshot"), &namespace, "daily", &snapshot));
    me("eve").creates(&object(("velero.io/v1", "Backup"), &namespace, "daily", &json!({"ttl": "720h"})));
    me("eve").creates(&object(("k8up.io/v1", "Snapshot"), &namespace, "daily", &json!({"id": "4bfe"})));
    for kind in ["volumesnapshots.snapshot.storage.k8s.io", "backups.velero.io", "snapshots.k8up.io"] {
        assert!(exists(&namespace, kind, "daily"), "{kind}");
    }
}
