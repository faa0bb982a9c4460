//! Kinds that a policy names: their objects go only by an approved change.

use serde_json::json;

use crate::support::changes::opened;
use crate::support::floor::{add_to_floor, in_force};
use crate::support::kinds::define;
use crate::support::{account, cluster, denied, me, non_production, production, went};

fn machine(namespace: &str, name: &str) -> serde_json::Value {
    json!({"apiVersion": "cluster.x-k8s.io/v1", "kind": "Machine", "metadata": {"namespace": namespace, "name": name}})
}

#[test]
fn a_named_kind_goes_only_by_an_approved_change() {
    const WORD: &str = "machines.cluster.x-k8s.io";
    let (namespace, playground) = (production("capi"), non_production("capi"));
    define("cluster.x-k8s.io", "Machine", "machines", &namespace);
    let delete = |who: &crate::support::Who, place: &str, name: &str, flags: &[&str]| {
        who.kubectl(&[&["-n", place, "delete", WORD, name, "--wait=false"], flags].concat())
    };
    for name in ["free", "backups", "logs"] {
        me("eve").creates(&machine(&namespace, name));
    }
    me("eve").creates(&machine(&playground, "try"));
    // nobody has named them yet
    went(&delete(&me("eve"), &namespace, "free", &[]));
    let kind =
        json!({"group": "cluster.x-k8s.io", "kind": "Machine", "guarded": "Everybody", "loses": "its local disks"});
    add_to_floor("/deletion/additionalKinds", &kind);
    let code = "DeletionNotRequested";
    in_force("the kind to be guarded", || {
        delete(&me("eve"), &namespace, "logs", &["--dry-run=server"]).text().contains(code)
    });
    for flags in [&[][..], &["--dry-run=server"]] {
        let refusal = denied(code, &delete(&me("eve"), &namespace, "backups", flags));
        assert!(refusal.contains("its local disks"), "{refusal}");
        denied(code, &delete(&me("eve"), &namespace, "--all", flags));
        denied(code, &delete(&me("admin"), &namespace, "backups", flags));
    }
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"namespace": namespace, "name": "tool"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "tool"}]});
    cluster().apply(&binding.to_string()).unwrap();
    denied(code, &delete(&account(&namespace, "tool"), &namespace, "backups", &[]));
    went(&delete(&me("eve"), &playground, "try", &[]));
    opened(code, || delete(&me("eve"), &namespace, "backups", &[]));
    denied(code, &delete(&me("eve"), &namespace, "logs", &[]));
}
