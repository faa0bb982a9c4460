//! Out of use for a while: only time in which the controller looked counts, and an API server that is away for a minute
//! holds everything up and breaks nothing.

use std::time::{Duration, Instant};

use foureyes_testbed::{Cluster, Environment, wait_until};
use serde_json::{Value, json};

use crate::support::{Asked, BED, PATIENCE, Who, claim, claim_path, found, request, runtime, until, within};

/// How long nothing may have used what is deleted here.
const QUIET: Duration = Duration::from_secs(30);
const AWAY: Duration = Duration::from_secs(60);
/// Longer than the last wait after a failure.
const LONG: Duration = Duration::from_secs(180);

/// A claim whose deletion is signed off, and which a pod has just stopped to use.
async fn quiescing(cluster: &Cluster, namespace: &str) -> Asked {
    let (admin, alice, bob) =
        (Who::is(cluster, "admin").await, Who::is(cluster, "alice").await, Who::is(cluster, "bob").await);
    let policy = json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": {"name": namespace},
        "spec": {"selector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                 "deletion": {"quietPeriod": format!("{}s", QUIET.as_secs())}},
    });
    admin.create(&policy).await.unwrap();
    let uid = claim(&admin, namespace, "data").await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": "user"},
        "spec": {"containers": [{"name": "c", "image": "example/c:1"}],
                 "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]},
    });
    admin.create(&pod).await.unwrap();
    let path = format!("/api/v1/namespaces/{namespace}/pods/user");
    until("the pod to run", async || admin.get(&path).await.unwrap()["status"]["phase"] == "Running").await;
    let asked = Asked::by(&alice, &admin, &request(namespace, Some("data"), &uid)).await;
    asked.said(&bob, "Approve").await.unwrap();
    asked.is("Quiescing").await;
    admin.delete(&path).await.unwrap();
    found("the claim to be out of use", async || {
        let status = asked.now().await["status"].take();
        (status["waitingFor"] == "it to stay unused for 30s").then_some(())
    })
    .await;
    asked
}

fn counted(request: &Value) -> Duration {
    let text = request["status"]["quiet"]["observed"].as_str().unwrap();
    Duration::from_secs(text.trim_end_matches('s').parse().unwrap())
}

#[test]
fn only_time_in_which_somebody_looked_is_quiet_time() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("unwatched", Environment::Production).unwrap();
    let controller = cluster.process("controller");
    runtime().block_on(async {
        let (admin, eve) = (Who::is(cluster, "admin").await, Who::is(cluster, "eve").await);
        let asked = quiescing(cluster, &namespace).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        controller.kill().unwrap();
        let before = counted(&asked.now().await);
        assert!(before > Duration::ZERO && before < QUIET, "{before:?}");
        tokio::time::sleep(QUIET + Duration::from_secs(5)).await;
        let refused = eve.tries_to_delete(&claim_path(&namespace, "data")).await.unwrap_err();
        assert!(refused.message.contains("must stay unused for about"), "{refused}");

        let back = Instant::now();
        controller.start_ready().unwrap();
        within(LONG, "the rest of it to be over", async || {
            (asked.now().await["status"]["phase"] == "Executable").then_some(())
        })
        .await;
        let took = back.elapsed();
        println!("{before:?} were counted, and it took {took:?} more");
        assert!(took + before >= QUIET, "{before:?} and {took:?} are less than {QUIET:?}");
        until("it to be let go", async || eve.delete(&claim_path(&namespace, "data")).await.is_ok()).await;
        asked.is("Executed").await;
        assert!(admin.sees(&claim_path(&namespace, "data")).await.is_none());
    });
}

#[test]
fn an_api_server_that_is_away_for_a_minute_in_the_middle_holds_it_up_and_no_more() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("minute", Environment::Production).unwrap();
    let controller = cluster.process("controller");
    runtime().block_on(async {
        let eve = Who::is(cluster, "eve").await;
        let asked = quiescing(cluster, &namespace).await;
        let running = controller.pid().unwrap();
        let api_server = cluster.process("kube-apiserver");
        api_server.stop().unwrap();
        tokio::time::sleep(AWAY).await;
        api_server.start().unwrap();
        wait_until("the API server", PATIENCE, || cluster.kubectl("admin", &["get", "--raw=/readyz"]).unwrap().ok())
            .unwrap();
        within(LONG, "it to be executable", async || {
            let now = asked.now().await;
            assert!(["Quiescing", "Executable"].iter().any(|phase| now["status"]["phase"] == *phase), "{now}");
            (now["status"]["phase"] == "Executable").then_some(())
        })
        .await;
        until("it to be let go", async || eve.delete(&claim_path(&namespace, "data")).await.is_ok()).await;
        asked.is("Executed").await;
        assert_eq!(controller.pid().unwrap(), running, "the controller was restarted");
    });
}
