//! What costs nothing: scaling asks nobody, and a restart asks once. Counted by the webhooks' own metrics, on a cluster
//! on which nothing else happens meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use foureyes_testbed::{Cluster, Environment, get, with_four_eyes};
use serde_json::json;

use crate::support::{BED, Who, runtime, until};

const RESTARTS: u64 = 100;
const SCALES: u64 = 900;
/// Longer than a write takes that was sent already.
const QUIET: Duration = Duration::from_millis(500);

/// Every review that either webhook has answered, by its labels, but for what the probe asks by the clock.
fn decisions(cluster: &Cluster) -> BTreeMap<String, u64> {
    let mut decisions = BTreeMap::new();
    for webhook in cluster.ports().webhooks {
        let metrics = get(webhook.admin, "/metrics").unwrap();
        for line in metrics.lines().filter_map(|line| line.strip_prefix("foureyes_admission_decisions_total")) {
            let (labels, count) = line.rsplit_once(' ').unwrap();
            if labels.contains(r#"code="CanaryKept""#) {
                continue;
            }
            *decisions.entry(labels.to_owned()).or_default() += count.parse::<u64>().unwrap();
        }
    }
    decisions
}

/// What was answered since.
fn since(before: &BTreeMap<String, u64>, cluster: &Cluster) -> BTreeMap<String, u64> {
    let mut now = decisions(cluster);
    now.retain(|labels, count| {
        *count -= before.get(labels).copied().unwrap_or_default();
        *count > 0
    });
    now
}

#[test]
fn a_thousand_scales_and_restarts_ask_for_the_restarts_alone() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("thousand", Environment::Production).unwrap();
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": namespace, "name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                         "spec": {"containers": [{"name": "web", "image": "registry.example.org/web:1"}]}},
        },
    })
    .to_string();
    let create = || cluster.kubectl_with("eve", &["create", "-f", "-"], Some(&deployment));
    assert!(with_four_eyes(cluster, "the Deployment", create).unwrap().ok());
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/web");
    let scale = format!("{path}/scale");
    let manager = cluster.process("kube-controller-manager");
    runtime().block_on(async {
        let eve = Who::is(cluster, "eve").await;
        let running = async |replicas: u64| {
            until("the replicas", async || {
                let now = eve.get(&path).await.unwrap();
                now["status"]["observedGeneration"] == now["metadata"]["generation"]
                    && ["replicas", "updatedReplicas", "availableReplicas"]
                        .into_iter()
                        .all(|count| now["status"][count] == replicas)
            })
            .await;
        };
        running(1).await;
        let scaled = async |number: u64| {
            // half of them as an autoscaler does it, half of them as somebody edits
            let place = if number.is_multiple_of(2) { &scale } else { &path };
            eve.merge(place, &json!({"spec": {"replicas": 1 + number % 3}})).await.unwrap()
        };

        let before = decisions(cluster);
        for number in 0..SCALES - RESTARTS {
            scaled(number).await;
        }
        running(1 + (SCALES - RESTARTS - 1) % 3).await;
        assert_eq!(since(&before, cluster), BTreeMap::new());

        // Where somebody writes at the same moment, or the API server's cache is behind the last write, it tries again
        // and asks again: not while this is counted.
        manager.pause().unwrap();
        let version = async || eve.get(&path).await.unwrap()["metadata"]["resourceVersion"].clone();
        until("what it wrote last to have arrived", async || {
            let before = version().await;
            tokio::time::sleep(QUIET).await;
            version().await == before
        })
        .await;
        let cached = format!("{path}?resourceVersion=0");
        for number in 0..RESTARTS {
            let at = format!("2026-01-01T00:{:02}:{:02}Z", number / 60, number % 60);
            let annotation = json!({"kubectl.kubernetes.io/restartedAt": at});
            let restart = json!({"spec": {"template": {"metadata": {"annotations": annotation}}}});
            eve.merge(&path, &restart).await.unwrap();
            let written = scaled(number).await;
            until("the cache to have seen it", async || {
                let seen = eve.get(&cached).await.unwrap();
                seen["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"]
            })
            .await;
        }
        let asked = since(&before, cluster);
        manager.resume().unwrap();
        let unchanged = r#"{webhook="guard",verdict="allowed",code="Unchanged"}"#.to_owned();
        assert_eq!(asked, BTreeMap::from([(unchanged, RESTARTS)]));
        running(1 + (RESTARTS - 1) % 3).await;
    });
}
