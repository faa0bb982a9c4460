//! With the webhook configurations gone and nothing of foureyes running, data stays where it is.

use foureyes_testbed::Environment;

use crate::support::{BED, Who, claim, claim_path, namespace_path, refused, runtime, until, with_the_belt_alone};

/// Bypasses 1, 2 and 13: however it is spelled, whoever does it. What is outside of production goes, and everything goes
/// on once the configuration is back.
#[test]
fn nobody_deletes_data_while_nobody_judges() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("belt", Environment::Production).unwrap();
    let outside = cluster.namespace("belt-outside", Environment::NonProduction).unwrap();
    let processes = ["controller", "webhook-a", "webhook-b"].map(|name| cluster.process(name));
    runtime().block_on(async {
        let (admin, eve) = (Who::is(cluster, "admin").await, Who::is(cluster, "eve").await);
        let system = ["system:serviceaccounts", "system:masters"];
        let machine = "system:serviceaccount:kube-system:namespace-controller";
        let machine = Who::acting(cluster, machine, &system).await;
        for place in [&namespace, &outside] {
            claim(&admin, place, "data").await;
        }
        let data = claim_path(&namespace, "data");
        let all = data.trim_end_matches("/data").to_owned();
        with_the_belt_alone(cluster, &admin, async || {
            for process in &processes {
                process.stop().unwrap();
            }
            for who in [&admin, &eve, &machine] {
                refused("foureyes-data", who.delete(&data).await);
                refused("foureyes-data", who.delete(&format!("{all}?fieldSelector=metadata.name%3Ddata")).await);
                refused("foureyes-data", who.delete(&all).await);
            }
            refused("foureyes-data", admin.delete(&namespace_path(&namespace)).await);
            admin.delete(&claim_path(&outside, "data")).await.unwrap();
            for process in &processes {
                process.start_ready().unwrap();
            }
        })
        .await;
        until("the webhook to judge again", async || {
            let answer = eve.delete(&data).await;
            answer.is_err_and(|refusal| refusal.message.contains("[DeletionNotRequested]"))
        })
        .await;
        assert!(admin.sees(&data).await.unwrap()["metadata"]["deletionTimestamp"].is_null());
    });
}
