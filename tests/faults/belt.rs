//! With the webhook configurations gone and nothing of foureyes running, data stays where it is.

use std::time::{Duration, Instant};

use foureyes_testbed::definitions::SNAPSHOTS;
use foureyes_testbed::{Cluster, Environment, Process, install};
use serde_json::{Value, json};

use crate::support::{
    Asked, BED, Who, claim, claim_path, namespace_path, refused, request, runtime, until, with_the_belt_alone,
};

const BELT: &str = "foureyes-data";
const GUARD: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/foureyes-guard";
/// Longer than an authority needs to be exchanged everywhere.
const ROTATION: Duration = Duration::from_secs(30);

fn programs(cluster: &Cluster) -> [Process<'_>; 3] {
    ["controller", "webhook-a", "webhook-b"].map(|name| cluster.process(name))
}

/// One by one, by a selector, and all at once (fact 20).
async fn stays(who: &Who, path: &str) {
    let (all, name) = path.rsplit_once('/').unwrap();
    refused(BELT, who.delete(path).await);
    refused(BELT, who.delete(&format!("{all}?fieldSelector=metadata.name%3D{name}")).await);
    refused(BELT, who.delete(all).await);
}

/// A snapshot of nothing: nobody looks after snapshots here.
async fn snapshots(admin: &Who, namespace: &str) -> [String; 2] {
    let version = "snapshot.storage.k8s.io/v1";
    let snapshot = json!({
        "apiVersion": version, "kind": "VolumeSnapshot", "metadata": {"namespace": namespace, "name": "yesterday"},
        "spec": {"source": {"volumeSnapshotContentName": "belt-yesterday"}},
    });
    let content = json!({
        "apiVersion": version, "kind": "VolumeSnapshotContent", "metadata": {"name": "belt-yesterday"},
        "spec": {"deletionPolicy": "Retain", "driver": "example.com", "source": {"snapshotHandle": "snap-1"},
                 "volumeSnapshotRef": {"namespace": namespace, "name": "yesterday"}},
    });
    admin.create(&snapshot).await.unwrap();
    admin.create(&content).await.unwrap();
    [
        format!("/apis/{version}/namespaces/{namespace}/volumesnapshots/yesterday"),
        format!("/apis/{version}/volumesnapshotcontents/belt-yesterday"),
    ]
}

/// Bypasses 1, 2 and 13: however it is spelled, whoever does it. What is outside of production goes, and everything goes
/// on once the configuration is back.
#[test]
fn nobody_deletes_data_while_nobody_judges() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("belt", Environment::Production).unwrap();
    let outside = cluster.namespace("belt-outside", Environment::NonProduction).unwrap();
    cluster.define(&SNAPSHOTS).unwrap();
    let processes = programs(cluster);
    runtime().block_on(async {
        let (admin, eve) = (Who::is(cluster, "admin").await, Who::is(cluster, "eve").await);
        let system = ["system:serviceaccounts", "system:masters"];
        let machine = "system:serviceaccount:kube-system:namespace-controller";
        let machine = Who::acting(cluster, machine, &system).await;
        for place in [&namespace, &outside] {
            claim(&admin, place, "data").await;
        }
        let data = claim_path(&namespace, "data");
        let bound = admin.get(&data).await.unwrap();
        let volume = format!("/api/v1/persistentvolumes/{}", bound["spec"]["volumeName"].as_str().unwrap());
        let [snapshot, content] = snapshots(&admin, &namespace).await;
        let hold = held(cluster, &admin, &namespace, bound["metadata"]["uid"].as_str().unwrap()).await;
        with_the_belt_alone(cluster, &admin, async || {
            for process in &processes {
                process.stop().unwrap();
            }
            for who in [&admin, &eve, &machine] {
                stays(who, &data).await;
            }
            for who in [&admin, &machine] {
                for path in [&volume, &snapshot, &content, &hold] {
                    stays(who, path).await;
                }
            }
            refused(BELT, eve.delete(&hold).await);
            refused(BELT, admin.delete(&namespace_path(&namespace)).await);
            admin.delete(&claim_path(&outside, "data")).await.unwrap();
            for process in &processes {
                process.start_ready().unwrap();
            }
        })
        .await;
        until("the webhook to judge again", async || {
            let answer = eve.delete(&data).await;
            answer.is_err_and(|refusal| {
                refusal.message.contains("[DeletionNotRequested]") || refusal.message.contains("[OnHold]")
            })
        })
        .await;
        assert!(admin.sees(&data).await.unwrap()["metadata"]["deletionTimestamp"].is_null());
    });
}

/// bob has a question about the deletion of the claim; where it lies.
async fn held(cluster: &Cluster, admin: &Who, namespace: &str, uid: &str) -> String {
    let (alice, bob) = (Who::is(cluster, "alice").await, Who::is(cluster, "bob").await);
    let asked = Asked::by(&alice, admin, &request(namespace, Some("data"), uid)).await;
    asked.said(&bob, "Hold").await.unwrap()
}

/// A configuration that asks about nothing is none.
#[test]
fn an_emptied_configuration_is_as_good_as_none() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("belt", Environment::Production).unwrap();
    runtime().block_on(async {
        let admin = Who::is(cluster, "admin").await;
        claim(&admin, &namespace, "data").await;
        let data = claim_path(&namespace, "data");
        with_the_belt_alone(cluster, &admin, async || {
            refused(BELT, admin.tries_to_delete(&data).await);
            let empty = json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": "foureyes-guard"}, "webhooks": [],
            });
            admin.create(&empty).await.unwrap();
            until("it to be seen", async || {
                let refusal = admin.tries_to_delete(&data).await.unwrap_err();
                assert!(refusal.message.contains(BELT), "{refusal}");
                refusal.message.contains("does not ask foureyes")
            })
            .await;
            stays(&admin, &data).await;
        })
        .await;
    });
}

/// An upgrade and another authority are no gap: neither do they let anything go, nor does the belt come between.
#[test]
fn neither_an_upgrade_nor_another_authority_is_a_gap() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("belt", Environment::Production).unwrap();
    runtime().block_on(async {
        let (admin, eve) = (Who::is(cluster, "admin").await, Who::is(cluster, "eve").await);
        claim(&admin, &namespace, "data").await;
        let data = claim_path(&namespace, "data");
        until("enforcement to be verified", async || proof(&admin).await["status"] == "True").await;
        let before = proof(&admin).await;
        let bundle = admin.get(GUARD).await.unwrap()["webhooks"][0]["clientConfig"]["caBundle"].clone();

        let upgrade = std::thread::scope(|scope| {
            let upgrade = scope.spawn(|| install::prepare(cluster, &|_| ()));
            while !upgrade.is_finished() {
                let refusal = cluster.kubectl("eve", &["-n", &namespace, "delete", "pvc", "data", "--dry-run=server"]);
                let text = refusal.unwrap().text();
                assert!(text.contains("[DeletionNotRequested]"), "{text}");
            }
            upgrade.join()
        });
        upgrade.unwrap().unwrap();

        let secret = "/api/v1/namespaces/foureyes-system/secrets/foureyes-ca";
        admin.merge(secret, &json!({"data": {"ca.key": ""}})).await.unwrap();
        let end = Instant::now() + ROTATION;
        let mut rotated = false;
        while Instant::now() < end || !rotated {
            refused("[DeletionNotRequested]", eve.tries_to_delete(&data).await);
            rotated = rotated || admin.get(GUARD).await.unwrap()["webhooks"][0]["clientConfig"]["caBundle"] != bundle;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(proof(&admin).await, before, "enforcement was not verified all the time");
    });
}

/// The condition of the policy `default`, with the time of its last change.
async fn proof(admin: &Who) -> Value {
    let policy = admin.get("/apis/foureyes.dev/v1alpha1/safetypolicies/default").await.unwrap();
    let conditions = policy["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let mut proof = conditions.into_iter().find(|it| it["type"] == "EnforcementVerified").unwrap_or_default();
    proof.as_object_mut().map(|proof| proof.remove("observedGeneration"));
    proof
}
