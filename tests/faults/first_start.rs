//! The first start: until it is over nothing is enforced, with or without a controller; it happens once, however often
//! the controller is killed in it; and from then on nobody ends it, whatever becomes of the policy `default`.

use std::time::Duration;

use foureyes_testbed::{Cluster, Environment, install, wait_until, with_four_eyes};
use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE, Who, claim, claim_path, refused, runtime, until};

const SYSTEM: &str = "/api/v1/namespaces/foureyes-system";
const DEFAULT: &str = "/apis/foureyes.dev/v1alpha1/safetypolicies/default";
const MOST_KILLS: u32 = 60;
/// By so much each life of the controller is longer than the one before.
const LONGER: Duration = Duration::from_millis(10);

/// A cluster whose first start was looked at, and disturbed.
pub static BED: Bed = Bed::new(|| {
    let cluster = Cluster::bare("first-start").unwrap();
    let namespace = cluster.namespace("early", Environment::Production).unwrap();
    prepare(&cluster);
    runtime().block_on(async {
        let (admin, eve) = (Who::is(&cluster, "admin").await, Who::is(&cluster, "eve").await);
        for name in ["one", "two", "three"] {
            claim(&admin, &namespace, name).await;
        }
        nothing_is_enforced(&cluster, &admin, &eve, &namespace).await;
        begins_once(&cluster, &admin).await;
        until("deletions to be judged", async || eve.tries_to_delete(&claim_path(&namespace, "three")).await.is_err())
            .await;
        let refusal = refused("DeletionNotRequested", eve.delete(&claim_path(&namespace, "three")).await);
        assert!(refusal.contains("early"), "{refusal}");
    });
    cluster
});

/// Everything runs, and the controller has not been told yet how to begin.
fn prepare(cluster: &Cluster) {
    install::prepare(cluster, &|_| ()).unwrap();
    let patch = json!({"data": {"mode": "later"}}).to_string();
    let args = ["-n", "foureyes-system", "patch", "configmap", "foureyes-install", "--type=merge", "-p", &patch];
    cluster.kubectl("admin", &args).unwrap().success("kubectl patch").unwrap();
    let [balancer, controller, webhooks @ ..] = install::processes(cluster).unwrap();
    cluster.supervisor().run(balancer).unwrap();
    cluster.supervisor().run(controller).unwrap();
    wait_until("both caBundles", PATIENCE, || {
        ["mutatingwebhookconfiguration/foureyes-stamp", "validatingwebhookconfiguration/foureyes-guard"].iter().all(
            |object| {
                let bundle = ["get", object, "-o=jsonpath={.webhooks[0].clientConfig.caBundle}"];
                !cluster.kubectl("admin", &bundle).unwrap().stdout.is_empty()
            },
        )
    })
    .unwrap();
    for webhook in webhooks {
        cluster.supervisor().run(webhook).unwrap();
    }
    for (name, ports) in ["webhook-a", "webhook-b"].iter().zip(cluster.ports().webhooks) {
        cluster.wait_ready(name, ports.admin).unwrap();
    }
}

async fn nothing_is_enforced(cluster: &Cluster, admin: &Who, eve: &Who, namespace: &str) {
    let waits = foureyes_testbed::get(cluster.ports().controller_admin, "/readyz").unwrap();
    assert!(waits.contains("first start") && waits.contains("mode"), "{waits}");
    until("the webhook to be asked, and to let go", async || {
        eve.tries_to_delete(&claim_path(namespace, "one")).await.is_ok()
    })
    .await;
    eve.delete(&claim_path(namespace, "one")).await.unwrap();
    cluster.process("controller").kill().unwrap();
    eve.delete(&claim_path(namespace, "two")).await.unwrap();
    eve.tries_to_delete(&format!("/api/v1/namespaces/{namespace}")).await.unwrap();
    assert!(admin.sees(DEFAULT).await.is_none(), "it has begun");
    let log =
        ["webhook-a", "webhook-b"].map(|name| std::fs::read_to_string(cluster.process(name).log()).unwrap()).concat();
    assert!(log.lines().any(|line| line.contains(r#""code":"NotStarted""#)), "nothing was asked of the webhook");
}

/// Killed a little later each time, until it is over.
async fn begins_once(cluster: &Cluster, admin: &Who) {
    admin.merge(&format!("{SYSTEM}/configmaps/foureyes-install"), &json!({"data": {"mode": "enforce"}})).await.unwrap();
    let controller = cluster.process("controller");
    let mut policies: Vec<Value> = Vec::new();
    let mut kills = 0;
    while kills < MOST_KILLS && started(admin).await.is_none() {
        controller.start().unwrap();
        tokio::time::sleep(LONGER * kills).await;
        controller.kill().unwrap();
        kills += 1;
        policies.extend(admin.sees(DEFAULT).await.map(|policy| policy["metadata"]["uid"].clone()));
    }
    controller.start_ready().unwrap();
    let began = started(admin).await.expect("it is over when the controller is ready");
    policies.push(admin.get(DEFAULT).await.unwrap()["metadata"]["uid"].clone());
    policies.dedup();
    println!("killed {kills} times in the first start");
    assert_eq!(policies.len(), 1, "default was created more than once");
    controller.kill().unwrap();
    controller.start_ready().unwrap();
    assert_eq!(started(admin).await, Some(began));
}

async fn started(admin: &Who) -> Option<String> {
    let state = admin.get(&format!("{SYSTEM}/configmaps/foureyes-state")).await.unwrap();
    state["data"]["started"].as_str().map(str::to_owned)
}

#[test]
fn it_happens_once_and_without_default_the_built_ins_hold() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("later", Environment::Production).unwrap();
    runtime().block_on(async {
        let (admin, eve) = (Who::is(cluster, "admin").await, Who::is(cluster, "eve").await);
        claim(&admin, &namespace, "data").await;
        let path = claim_path(&namespace, "data");
        let delete = || cluster.kubectl("admin", &["delete", "safetypolicy", "default"]);
        with_four_eyes(cluster, "default to go", delete).unwrap().success("kubectl delete").unwrap();
        // killed and started anew the controller does not begin again, and the webhook knows of no default
        let controller = cluster.process("controller");
        controller.kill().unwrap();
        for webhook in ["webhook-a", "webhook-b"] {
            cluster.process(webhook).stop().unwrap();
            cluster.process(webhook).start_ready().unwrap();
        }
        controller.start_ready().unwrap();
        until(
            "the webhook to be reached again",
            async || matches!(eve.tries_to_delete(&path).await, Err(refused) if refused.code == 403),
        )
        .await;
        refused("DeletionNotRequested", eve.delete(&path).await);
        refused("DeletionNotRequested", eve.delete(&format!("/api/v1/namespaces/{namespace}")).await);
        assert!(admin.sees(DEFAULT).await.is_none(), "it began again");
    });
}
