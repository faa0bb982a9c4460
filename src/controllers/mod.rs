//! What keeps the objects in the cluster up to date. Each controller is a function from a key to what comes next, fed by
//! a queue of its own; watches put keys in. Nothing is written while nothing changes.

mod approvals;
mod backup_retentions;
pub mod certificates;
mod change_requests;
mod changes;
mod context;
mod deletion_requests;
mod enforcement;
mod error;
mod install;
mod kept_volumes;
mod leftovers;
mod opening;
mod queue;
mod regimes;
mod releases;
mod requests;
mod retentions;
mod rollout_records;
mod safety_policies;
mod sign_offs;
mod uses;
mod watches;

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::context::{CALL, Context, Queues, Shared};
use self::error::ReconcileError;
use self::queue::{Keys, Next, Worker, queue};
use crate::cluster::events::Events;
use crate::cluster::live::Live;
use crate::cluster::workloads;
use crate::server::controller::Parts;
use crate::server::readiness::Condition;

/// Requests reconciled at a time.
const REQUESTS_AT_ONCE: usize = 8;
/// Workloads looked at at a time.
const RECORDS_AT_ONCE: usize = 4;
/// Other keys reconciled at a time, of each kind.
const OTHERS_AT_ONCE: usize = 2;

/// Runs every controller until shutdown. The certificates are kept beside them: without a certificate the webhook
/// can't start, and nothing here may hold that up.
pub async fn run(parts: Parts) {
    let shutdown = parts.shutdown.token();
    let metrics = parts.metrics;
    let live = Live::new(parts.client.clone(), parts.namespace.clone(), CALL, metrics.clone());
    let (deletion_requests, request_keys) = queue();
    let (change_requests, change_keys) = queue();
    let (backup_retentions, retention_keys) = queue();
    let (rollout_records, workload_keys) = queue();
    let (releases, release_keys) = queue();
    let (regimes, regime_keys) = queue();
    let (approvals, approval_keys) = queue();
    let (leftovers, leftover_keys) = queue();
    let (kept_volumes, volume_keys) = queue();
    let (sign_offs, sign_off_keys) = queue();
    let (safety_policies, policy_keys) = queue();
    let queues = Queues {
        deletion_requests,
        change_requests,
        backup_retentions,
        rollout_records,
        releases,
        regimes,
        approvals,
        leftovers,
        kept_volumes,
        sign_offs,
        safety_policies,
    };
    let events = Events::new(parts.client);
    let context: Context = Arc::new(Shared::new(live, events, parts.clock, metrics.clone(), parts.namespace, queues));

    let requests_read = Latch::new(parts.readiness.condition("requests read"));
    let changes_read = Latch::new(parts.readiness.condition("changes read"));
    let retentions_read = Latch::new(parts.readiness.condition("retentions read"));
    let policies_read = Latch::new(parts.readiness.condition("policies read"));
    let pods_read = Latch::new(parts.readiness.condition("pods read"));
    let mut watches = JoinSet::new();
    watches.spawn(watches::requests(context.clone(), requests_read.clone()));
    watches.spawn(watches::changes(context.clone(), changes_read.clone()));
    watches.spawn(watches::retentions(context.clone(), retentions_read.clone()));
    watches.spawn(watches::policies(context.clone(), policies_read.clone()));
    watches.spawn(watches::sign_offs(context.clone()));
    watches.spawn(watches::claims(context.clone()));
    watches.spawn(watches::pods(context.clone(), pods_read.clone()));
    watches.spawn(watches::namespaces(context.clone()));
    watches.spawn(watches::volumes(context.clone()));
    watches.spawn(watches::keys(context.clone()));
    for kind in workloads::recorded() {
        watches.spawn(watches::workloads(context.clone(), kind));
    }

    let first_start = install::run(context.clone(), parts.readiness.condition("first start"), shutdown.clone());
    let proof = enforcement::run(context.clone(), shutdown.clone());
    let read = [requests_read, changes_read, retentions_read, policies_read, pods_read];
    let start = Start { context, read, shutdown };
    tokio::join!(
        first_start,
        proof,
        start.worker("deletion_requests", REQUESTS_AT_ONCE, request_keys, deletion_requests::reconcile),
        start.worker("change_requests", REQUESTS_AT_ONCE, change_keys, change_requests::reconcile),
        start.worker("backup_retentions", OTHERS_AT_ONCE, retention_keys, backup_retentions::reconcile),
        start.worker("rollout_records", RECORDS_AT_ONCE, workload_keys, rollout_records::reconcile),
        start.worker("releases", 1, release_keys, releases::reconcile),
        start.worker("regimes", 1, regime_keys, regimes::reconcile),
        start.worker("approvals", OTHERS_AT_ONCE, approval_keys, approvals::reconcile),
        start.worker("leftovers", OTHERS_AT_ONCE, leftover_keys, leftovers::reconcile),
        start.worker("kept_volumes", OTHERS_AT_ONCE, volume_keys, kept_volumes::reconcile),
        start.worker("sign_offs", OTHERS_AT_ONCE, sign_off_keys, sign_offs::reconcile),
        start.worker("safety_policies", OTHERS_AT_ONCE, policy_keys, safety_policies::reconcile),
    );
    watches.shutdown().await;
}

/// What every worker starts with.
struct Start {
    context: Context,
    /// What must have been read before anything is reconciled.
    read: [Latch; 5],
    shutdown: CancellationToken,
}

impl Start {
    async fn worker<K, F, R>(&self, name: &'static str, at_once: usize, keys: Keys<K>, reconcile: F)
    where
        K: Clone + Eq + Hash + Ord + Display + Send + Sync + 'static,
        F: Fn(Context, K) -> R,
        R: Future<Output = Result<Next, ReconcileError>> + Send + 'static,
    {
        for latch in &self.read {
            tokio::select! {
                () = latch.wait() => {}
                () = self.shutdown.cancelled() => return,
            }
        }
        let (metrics, shutdown) = (self.context.metrics.clone(), self.shutdown.clone());
        let worker = Worker { name, at_once, metrics, shutdown, keys };
        worker.run(|key| reconcile(self.context.clone(), key)).await;
    }
}

/// Something that happens once, shown on `/readyz`.
#[derive(Clone)]
struct Latch {
    condition: Condition,
    happened: CancellationToken,
}

impl Latch {
    fn new(condition: Condition) -> Self {
        Self { condition, happened: CancellationToken::new() }
    }

    fn happens(&self) {
        self.condition.met();
        self.happened.cancel();
    }

    async fn wait(&self) {
        self.happened.cancelled().await;
    }
}
