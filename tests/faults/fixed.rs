//! Static manifests: what policies in the API can't guard, the policies themselves, the API server guards by a file of the
//! control plane, against everybody, with nothing of foureyes left.

use foureyes_testbed::{Cluster, Environment, root, with_four_eyes};
use serde_json::{Value, json};

use crate::support::{Who, claim, claim_path, refused, runtime, until};

const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";
const POLICIES: &str = "foureyes-policies.static.k8s.io";
const WEBHOOKS: &str = "foureyes-webhooks.static.k8s.io";

fn binding(name: &str) -> String {
    format!("{REGISTRATION}/validatingadmissionpolicybindings/{name}")
}

fn policy(name: &str) -> String {
    format!("{REGISTRATION}/validatingadmissionpolicies/{name}")
}

/// Bypasses 1 and 2, fact 21.
#[test]
fn with_a_file_on_the_control_plane_nobody_takes_the_belt_off() {
    let text = std::fs::read_to_string(root().join("config/static/foureyes.yaml")).unwrap();
    // that they could be installed at all shows that what is shipped passes
    let cluster = Cluster::start_fixed("fixed", &text).unwrap();
    let namespace = cluster.namespace("fixed", Environment::Production).unwrap();
    let processes = ["controller", "webhook-a", "webhook-b"].map(|name| cluster.process(name));
    runtime().block_on(async {
        let admin = Who::is(&cluster, "admin").await;
        let machine = "system:serviceaccount:kube-system:generic-garbage-collector";
        let machine = Who::acting(&cluster, machine, &["system:serviceaccounts", "system:masters"]).await;
        claim(&admin, &namespace, "data").await;
        let data = claim_path(&namespace, "data");
        for who in [&admin, &machine] {
            nobody_weakens_it(who).await;
        }
        what_is_no_weakening_passes(&admin).await;

        for kind in ["validatingwebhookconfigurations/foureyes-guard", "mutatingwebhookconfigurations/foureyes-stamp"] {
            refused(WEBHOOKS, admin.delete(&format!("{REGISTRATION}/{kind}")).await);
        }
        let going = ["delete", "validatingwebhookconfiguration/foureyes-guard"];
        let gone = with_four_eyes(&cluster, "the guard's deletion", || cluster.kubectl("admin", &going)).unwrap();
        assert!(gone.ok(), "{}", gone.text());
        for process in &processes {
            process.stop().unwrap();
        }
        until("the belt to hold", async || {
            admin.tries_to_delete(&data).await.is_err_and(|refusal| refusal.message.contains("foureyes-data"))
        })
        .await;
        nobody_weakens_it(&admin).await;
        refused("foureyes-data", admin.delete(&data).await);

        // whoever leaves takes the file away first; the API server looks once a minute
        std::fs::remove_file(cluster.layout().static_manifests().join("policies.yaml")).unwrap();
        until("the binding to be anybody's", async || admin.delete(&binding("foureyes-data")).await.is_ok()).await;
    });
}

async fn nobody_weakens_it(who: &Who) {
    let all = format!("{REGISTRATION}/validatingadmissionpolicybindings");
    for path in [
        binding("foureyes-data"),
        binding("foureyes-webhooks"),
        policy("foureyes-data"),
        policy("foureyes-status"),
        format!("{all}?fieldSelector=metadata.name%3Dfoureyes-data"),
        format!("{all}?labelSelector=app.kubernetes.io%2Fname%3Dfoureyes"),
    ] {
        refused(POLICIES, who.delete(&path).await);
    }
    let nobody = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "11111111-1111-1111-1111-111111111111"}]);
    let changes: [(String, Value); 5] = [
        (binding("foureyes-data"), json!({"spec": {"validationActions": ["Audit"]}})),
        (
            binding("foureyes-data"),
            json!({"spec": {"matchResources": {"namespaceSelector": {"matchLabels": {"never": "there"}}}}}),
        ),
        (policy("foureyes-data"), json!({"spec": {"failurePolicy": "Ignore"}})),
        (policy("foureyes-webhooks"), json!({"spec": {"matchConditions": [{"name": "never", "expression": "false"}]}})),
        (policy("foureyes-data"), json!({"metadata": {"ownerReferences": nobody}})),
    ];
    for (path, change) in changes {
        refused(POLICIES, who.merge(&path, &change).await);
    }
}

async fn what_is_no_weakening_passes(admin: &Who) {
    admin.merge(&policy("foureyes-data"), &json!({"metadata": {"labels": {"team": "platform"}}})).await.unwrap();
    let is = admin.get(&policy("foureyes-data")).await.unwrap();
    admin.merge(&policy("foureyes-data"), &json!({"spec": is["spec"]})).await.unwrap();
    let mut other = is;
    other["metadata"] = json!({"name": "of-somebody-else"});
    admin.tries_to_create(&other).await.unwrap();
}
