//! More reviews than one process takes at a time (F 8, I 19): each reply is a decision or 503, and memory stays flat.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use foureyes_testbed::{Cluster, Environment, install};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Asked, BED, Webhook, Who, claim, claim_path, delete_review, request, runtime};

const AT_ONCE: &str = "8";
const CALLERS: usize = 64;
const LAST: Duration = Duration::from_secs(4);
/// Then every buffer has been needed once.
const WARM: Duration = Duration::from_secs(1);
/// Allocators keep a little of what they once had.
const SLACK_KB: u64 = 24 * 1024;

#[derive(Clone, Copy, Debug, Default)]
struct Replies {
    allowed: u32,
    refused: u32,
    turned_away: u32,
    wrong: u32,
}

/// Another webhook, of which the API server knows nothing, with few places.
fn small(cluster: &Cluster) -> (u16, u16) {
    let [serving, admin] = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let [serving, admin] = [serving, admin].map(|listener| listener.local_addr().unwrap().port());
    let processes = install::processes(cluster).unwrap();
    let mut process = processes.into_iter().find(|process| process.name == "webhook-a").unwrap();
    let ports = cluster.ports().webhooks[0];
    for (old, new) in [(ports.serving, serving), (ports.admin, admin)] {
        for arg in &mut process.args {
            if *arg == format!("127.0.0.1:{old}") {
                *arg = format!("127.0.0.1:{new}");
            }
        }
    }
    process.args.extend(["--max-in-flight".to_owned(), AT_ONCE.to_owned()]);
    "webhook-small".clone_into(&mut process.name);
    cluster.supervisor().run(process).unwrap();
    cluster.wait_ready("webhook-small", admin).unwrap();
    (serving, admin)
}

fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// The same review with an annotation of so many bytes.
fn padded(mut review: Value, bytes: usize) -> Vec<u8> {
    review["request"]["oldObject"]["metadata"]["annotations"]["example.com/padding"] = json!("x".repeat(bytes));
    review.to_string().into_bytes()
}

async fn calls(webhook: Webhook, bodies: [Vec<u8>; 4], number: usize, end: Instant) -> Replies {
    let mut replies = Replies::default();
    let mut turn = number;
    while Instant::now() < end {
        turn += 1;
        let answer = webhook.post("/guard", bodies[turn % bodies.len()].clone()).await;
        let answer = answer.unwrap_or_else(|error| panic!("no reply at all: {error}"));
        match answer.status {
            200 if answer.response()["allowed"] == true => {
                replies.allowed += 1;
                // only two of the four are approved
                replies.wrong += u32::from(!turn.is_multiple_of(2));
            }
            200 => replies.refused += 1,
            503 => {
                assert!(answer.retry_after.is_some(), "{answer:?}");
                replies.turned_away += 1;
            }
            other => panic!("status {other}: {}", answer.text),
        }
    }
    replies
}

#[test]
fn each_reply_is_a_decision_or_503_and_memory_stays_flat() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("overload", Environment::Production).unwrap();
    let (serving, _) = small(cluster);
    let pid = cluster.process("webhook-small").pid().unwrap().unwrap();
    runtime().block_on(async {
        let admin = Who::is(cluster, "admin").await;
        let uid = claim(&admin, &namespace, "approved").await;
        claim(&admin, &namespace, "guarded").await;
        Asked::approved(cluster, &request(&namespace, Some("approved"), &uid)).await;
        let review = async |name: &str| delete_review(&admin.get(&claim_path(&namespace, name)).await.unwrap(), "eve");
        let (approved, guarded) = (review("approved").await, review("guarded").await);
        let large = 400 * 1024;
        let bodies = [
            padded(approved.clone(), 10),
            padded(guarded.clone(), 20 * 1024),
            padded(approved, 100 * 1024),
            padded(guarded, large),
        ];
        let webhook = Webhook::trusted(cluster, serving).await;
        let began = Instant::now();
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            callers.spawn(calls(webhook.clone(), bodies.clone(), number, began + LAST));
        }
        let (mut warm, mut most) = (0, 0);
        let mut samples = tokio::time::interval(Duration::from_millis(100));
        while began.elapsed() < LAST {
            samples.tick().await;
            let resident = resident_kb(pid);
            if began.elapsed() < WARM || warm == 0 {
                warm = warm.max(resident);
            }
            most = most.max(resident);
        }
        let mut all = Replies::default();
        while let Some(replies) = callers.join_next().await {
            let replies = replies.unwrap();
            all.allowed += replies.allowed;
            all.refused += replies.refused;
            all.turned_away += replies.turned_away;
            all.wrong += replies.wrong;
        }
        println!("{all:?}; resident {warm} kB in the first second, then at most {most} kB");
        assert_eq!(all.wrong, 0, "allowed without an approval");
        assert!(all.allowed > 0 && all.refused > 0 && all.turned_away > 0, "{all:?}");
        assert!(most < warm + SLACK_KB, "resident memory grew from {warm} to {most} kB");
        assert_eq!(cluster.process("webhook-small").pid().unwrap(), Some(pid), "it was restarted");
    });
    cluster.process("webhook-small").stop().unwrap();
}
