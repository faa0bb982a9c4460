//! Both webhooks are restarted in turn while deletions are judged at a constant rate: no error, no wrong answer (F 4).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use foureyes_testbed::Environment;

use crate::support::{Asked, BED, Who, claim, claim_path, request, runtime};

/// Between two calls.
const PACE: Duration = Duration::from_millis(25);
const CALLS: u32 = 2000;
const ROUNDS: u32 = 5;

/// What is wrong with the answer to a trial deletion, if anything is.
async fn wrong(eve: &Who, namespace: &str, approved: bool) -> Option<String> {
    let name = if approved { "approved" } else { "guarded" };
    match eve.tries_to_delete(&claim_path(namespace, name)).await {
        Ok(_) if approved => None,
        Err(refused) if !approved && refused.code == 403 && refused.message.contains("foureyes") => None,
        Ok(_) => Some("an unapproved deletion was allowed".to_owned()),
        Err(refused) => Some(refused.to_string()),
    }
}

#[test]
fn two_thousand_calls_over_ten_restarts_get_their_answers() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("restarts", Environment::Production).unwrap();
    let runtime = runtime();
    let eve = runtime.block_on(async {
        let admin = Who::is(cluster, "admin").await;
        claim(&admin, &namespace, "guarded").await;
        let uid = claim(&admin, &namespace, "approved").await;
        Asked::approved(cluster, &request(&namespace, Some("approved"), &uid)).await;
        Who::is(cluster, "eve").await
    });

    let restarted = Arc::new(AtomicBool::new(false));
    let calling = runtime.spawn({
        let restarted = Arc::clone(&restarted);
        async move {
            let mut answers = tokio::task::JoinSet::new();
            let mut ticks = tokio::time::interval(PACE);
            let mut number = 0_u32;
            while number < CALLS || !restarted.load(Ordering::Relaxed) {
                ticks.tick().await;
                let (eve, namespace) = (eve.clone(), namespace.clone());
                let began = Instant::now();
                let approved = number.is_multiple_of(2);
                answers.spawn(async move { (began, wrong(&eve, &namespace, approved).await) });
                number += 1;
            }
            answers.join_all().await
        }
    });
    let began = Instant::now();
    let mut log = Vec::new();
    for _ in 0..ROUNDS {
        for name in ["webhook-a", "webhook-b"] {
            log.push(format!("{:?} {name} stops", began.elapsed()));
            cluster.process(name).stop().unwrap();
            log.push(format!("{:?} {name} starts", began.elapsed()));
            cluster.process(name).start_ready().unwrap();
        }
    }
    restarted.store(true, Ordering::Relaxed);
    let answers = runtime.block_on(calling).unwrap();
    let made = answers.len();
    assert!(made >= usize::try_from(CALLS).unwrap());
    let wrong: Vec<String> = answers
        .into_iter()
        .filter_map(|(at, wrong)| Some(format!("{:?} {}", at.saturating_duration_since(began), wrong?)))
        .collect();
    assert!(wrong.is_empty(), "{} wrong of {made}:\n{}\n{}", wrong.len(), wrong.join("\n"), log.join("\n"));
}
