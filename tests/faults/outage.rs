//! The API server away for a while (F 25): nothing is let go meanwhile, nothing is restarted, and afterwards deletions
//! are judged and requests move on as before.

use std::time::{Duration, Instant};

use foureyes_testbed::{Cluster, Environment, get, wait_until};

use crate::support::{Asked, BED, PATIENCE, Webhook, Who, claim, claim_path, delete_review, request, runtime, until};

const AWAY: Duration = Duration::from_secs(20);
/// The webhook's own answer, before the API server's 5 s are over (I 16).
const DECIDED: Duration = Duration::from_secs(5);
/// From the API server's return until everything of foureyes has noticed.
const RECOVERY: Duration = Duration::from_secs(30);
const OURS: [&str; 3] = ["controller", "webhook-a", "webhook-b"];

fn pids(cluster: &Cluster) -> [Option<u32>; 3] {
    OURS.map(|name| cluster.process(name).pid().unwrap())
}

#[test]
fn the_api_server_comes_back_and_everything_goes_on_without_a_restart() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("outage", Environment::Production).unwrap();
    let ports = cluster.ports();
    runtime().block_on(async {
        let (admin, eve) = (Who::is(cluster, "admin").await, Who::is(cluster, "eve").await);
        let mut claims = Vec::new();
        for name in ["before", "after"] {
            let uid = claim(&admin, &namespace, name).await;
            claims.push((name, uid, claim_path(&namespace, name)));
        }
        let [(before, before_uid, before_path), (after, after_uid, after_path)] = &claims[..] else { unreachable!() };
        let approved = Asked::approved(cluster, &request(&namespace, Some(before), before_uid)).await;
        until("the deletion to be allowed", async || eve.tries_to_delete(before_path).await.is_ok()).await;
        let guarded = delete_review(&admin.get(after_path).await.unwrap(), "eve");
        let confirmed = delete_review(&admin.get(before_path).await.unwrap(), "eve");
        let webhook = Webhook::trusted(cluster, ports.webhooks[0].serving).await;
        let answer = webhook.review("/guard", &confirmed).await.unwrap().response();
        assert_eq!(answer["allowed"], true, "{answer}");
        let running = pids(cluster);

        let api_server = cluster.process("kube-apiserver");
        api_server.stop().unwrap();
        let end = Instant::now() + AWAY;
        let mut asked = 0;
        while Instant::now() < end {
            for (review, code) in [(&confirmed, "ClusterUnreadable"), (&guarded, "DeletionNotRequested")] {
                let began = Instant::now();
                let answer = webhook.review("/guard", review).await.unwrap().response();
                assert_eq!(answer["allowed"], false, "{answer}");
                assert!(answer.to_string().contains(code), "without {code}: {answer}");
                assert!(began.elapsed() < DECIDED, "decided after {:?}", began.elapsed());
                asked += 1;
            }
            for port in [ports.webhooks[0].admin, ports.webhooks[1].admin, ports.controller_admin] {
                assert!(get(port, "/livez").unwrap().contains("200 OK"));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert!(asked > 4, "only {asked} reviews in {AWAY:?}");
        api_server.start().unwrap();
        wait_until("the API server", PATIENCE, || cluster.kubectl("admin", &["get", "--raw=/readyz"]).unwrap().ok())
            .unwrap();

        let back = Instant::now();
        until("a deletion to be judged", async || {
            let guarded = eve.tries_to_delete(after_path).await;
            guarded.is_err_and(|refused| refused.message.contains("DeletionNotRequested"))
        })
        .await;
        until("the approved one to be allowed", async || eve.tries_to_delete(before_path).await.is_ok()).await;
        // whoever watches has seen what is new
        let asked = Asked::approved(cluster, &request(&namespace, Some(after), after_uid)).await;
        until("the new one to be allowed", async || eve.tries_to_delete(after_path).await.is_ok()).await;
        let took = back.elapsed();
        println!("everything goes on {took:?} after the API server was ready");
        assert!(took < RECOVERY, "it took {took:?}");
        for (request, path) in [(asked, after_path), (approved, before_path)] {
            eve.delete(path).await.unwrap();
            request.is("Executed").await;
        }
        assert_eq!(pids(cluster), running, "something of foureyes was restarted");
    });
}
