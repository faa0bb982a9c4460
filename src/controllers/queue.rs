//! A queue of keys to reconcile: each key at most once at a time, what arrives meanwhile is done after it, failures
//! wait longer each time. kube's own scheduler knows no failures per key, and holds everything back when one of its
//! watches fails.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::error::ReconcileError;
use crate::metrics::Metrics;

/// The first wait after a failure; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// The longest wait after a failure.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// One reconciliation; every call in it has a shorter deadline of its own.
const RECONCILE: Duration = Duration::from_secs(60);
/// What is being done at the end of the process may take this long; it can be broken off anywhere.
const DRAIN: Duration = Duration::from_secs(3);

/// What a reconciliation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing more until something happens.
    Wait,
    /// Look again after this time, if nothing happens before.
    After(Duration),
}

/// Where keys are put; clones share the queue.
#[derive(Clone, Debug)]
pub struct Queue<K>(mpsc::UnboundedSender<(K, Instant)>);

/// The other end, for [`Worker::run`].
#[derive(Debug)]
pub struct Keys<K>(mpsc::UnboundedReceiver<(K, Instant)>);

/// A queue and its other end. It holds each key once, however often it is put in, as soon as its worker runs.
pub fn queue<K>() -> (Queue<K>, Keys<K>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Queue(sender), Keys(receiver))
}

impl<K> Queue<K> {
    /// Reconciles `key` as soon as possible.
    pub fn soon(&self, key: K) {
        self.within(key, Duration::ZERO);
    }

    /// Reconciles `key` after `delay`, or earlier if it was put in for earlier.
    pub fn within(&self, key: K, delay: Duration) {
        // Without its worker the process is ending, and whatever is left is found again at the next start.
        let _ = self.0.send((key, Instant::now() + delay));
    }
}

/// Works a queue off.
pub struct Worker<K> {
    /// Name of the controller, in logs and metrics.
    pub name: &'static str,
    /// Reconciliations at a time.
    pub at_once: usize,
    /// Where outcomes are counted.
    pub metrics: Metrics,
    /// The end of the process.
    pub shutdown: CancellationToken,
    /// What to work off.
    pub keys: Keys<K>,
}

impl<K: Clone + Eq + Hash + Ord + Display + Send + Sync + 'static> Worker<K> {
    /// Runs until shutdown.
    pub async fn run<F, R>(mut self, reconcile: F)
    where
        F: Fn(K) -> R,
        R: Future<Output = Result<Next, ReconcileError>> + Send + 'static,
    {
        let mut plan: Plan<K> = Plan::default();
        let mut running: JoinSet<(K, Result<Next, ReconcileError>)> = JoinSet::new();
        loop {
            while running.len() < self.at_once
                && let Some(key) = plan.take(Instant::now())
            {
                let work = reconcile(key.clone());
                running.spawn(async move { (key, guarded(work).await) });
            }
            let due = plan.due().filter(|_| running.len() < self.at_once);
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                Some((key, at)) = self.keys.0.recv() => plan.put(key, at),
                Some(Ok((key, result))) = running.join_next() => self.ended(&mut plan, key, &result),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
        let drained = async { while running.join_next().await.is_some() {} };
        let _ = timeout(DRAIN, drained).await;
    }

    fn ended(&self, plan: &mut Plan<K>, key: K, result: &Result<Next, ReconcileError>) {
        let now = Instant::now();
        match result {
            Ok(next) => {
                self.metrics.reconciled(self.name, "ok");
                plan.succeeded(key, *next, now);
            }
            Err(error) => {
                self.metrics.reconciled(self.name, error.class());
                if error.is_ordinary() {
                    tracing::debug!(controller = self.name, %key, class = error.class(), %error, "to be repeated");
                } else {
                    tracing::warn!(controller = self.name, %key, class = error.class(), %error, "failed, to be repeated");
                }
                plan.failed(key, now);
            }
        }
    }
}

/// A deadline, and a panic is an error like others.
async fn guarded(work: impl Future<Output = Result<Next, ReconcileError>>) -> Result<Next, ReconcileError> {
    match timeout(RECONCILE, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(ReconcileError::Panic),
        Err(_) => Err(ReconcileError::Deadline(RECONCILE)),
    }
}

/// What is to be done when.
struct Plan<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: HashMap<K, Planned>,
}

#[derive(Clone, Copy, Default)]
struct Planned {
    at: Option<Instant>,
    running: bool,
    failures: u32,
}

impl<K> Default for Plan<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord> Plan<K> {
    /// When something is to be done next.
    fn due(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Puts a key in; the earlier time wins.
    fn put(&mut self, key: K, at: Instant) {
        let planned = self.by_key.entry(key.clone()).or_default();
        if planned.at.is_some_and(|before| before <= at) {
            return;
        }
        if let Some(before) = planned.at.replace(at) {
            self.by_time.remove(&(before, key.clone()));
        }
        if !planned.running {
            self.by_time.insert((at, key));
        }
    }

    /// The next key whose time has come; it is running from now on.
    fn take(&mut self, now: Instant) -> Option<K> {
        if self.due()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        let planned = self.by_key.entry(key.clone()).or_default();
        planned.at = None;
        planned.running = true;
        Some(key)
    }

    fn succeeded(&mut self, key: K, next: Next, now: Instant) {
        let again = match next {
            Next::Wait => None,
            Next::After(delay) => Some(now + delay),
        };
        self.stopped(key, 0, again);
    }

    fn failed(&mut self, key: K, now: Instant) {
        let failures = self.by_key.get(&key).map_or(1, |planned| planned.failures.saturating_add(1));
        self.stopped(key, failures, Some(now + retry(failures)));
    }

    /// Not running any more: what came meanwhile is planned, and what it asked for itself.
    fn stopped(&mut self, key: K, failures: u32, again: Option<Instant>) {
        let meanwhile = self.by_key.remove(&key).and_then(|planned| planned.at);
        let at = [meanwhile, again].into_iter().flatten().min();
        if let Some(at) = at {
            self.by_time.insert((at, key.clone()));
            self.by_key.insert(key, Planned { at: Some(at), running: false, failures });
        }
    }
}

/// 0.2, 0.4, 0.8 … 60 s.
fn retry(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST_RETRY)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, Mutex};

    use super::*;

    type Log = Arc<Mutex<Vec<(&'static str, Duration)>>>;

    /// Runs a worker for a minute of paused time; `answer` says what the n-th run of a key comes to and how long it
    /// takes.
    async fn worked(
        at_once: usize,
        put: impl FnOnce(Queue<&'static str>) -> tokio::task::JoinHandle<()>,
        answer: impl Fn(&'static str, usize) -> (Result<Next, ReconcileError>, Duration),
    ) -> Vec<(&'static str, Duration)> {
        let (queue, keys) = queue();
        let shutdown = CancellationToken::new();
        let log: Log = Arc::default();
        let began = Instant::now();
        let worker = Worker { name: "test", at_once, metrics: Metrics::new(None), shutdown: shutdown.clone(), keys };
        let written = log.clone();
        let run = worker.run(move |key| {
            let nth = {
                let mut log = written.lock().unwrap();
                log.push((key, began.elapsed()));
                log.iter().filter(|(other, _)| *other == key).count()
            };
            let (result, takes) = answer(key, nth);
            async move {
                tokio::time::sleep(takes).await;
                result
            }
        });
        let putting = put(queue);
        let end = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            shutdown.cancel();
        };
        tokio::join!(run, end);
        putting.abort();
        let log = log.lock().unwrap();
        log.clone()
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_put_in_while_it_runs_is_run_once_more() {
        let put = |queue: Queue<&'static str>| {
            tokio::spawn(async move {
                queue.soon("a");
                tokio::time::sleep(seconds(1)).await;
                queue.soon("a");
                queue.soon("a");
            })
        };
        let log = worked(4, put, |_, _| (Ok(Next::Wait), seconds(5))).await;
        assert_eq!(log, [("a", seconds(0)), ("a", seconds(5))]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_time_wins() {
        let put = |queue: Queue<&'static str>| {
            queue.within("a", seconds(30));
            queue.within("a", seconds(2));
            queue.within("a", seconds(40));
            tokio::spawn(std::future::pending())
        };
        let log = worked(4, put, |_, _| (Ok(Next::Wait), seconds(0))).await;
        assert_eq!(log, [("a", seconds(2))]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_at_once() {
        let put = |queue: Queue<&'static str>| {
            for key in ["a", "b", "c"] {
                queue.soon(key);
            }
            tokio::spawn(std::future::pending())
        };
        let log = worked(2, put, |_, _| (Ok(Next::Wait), seconds(10))).await;
        let times: Vec<Duration> = log.iter().map(|(_, at)| *at).collect();
        assert_eq!(times, [seconds(0), seconds(0), seconds(10)]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time_and_success_forgets_them() {
        let put = |queue: Queue<&'static str>| {
            queue.soon("a");
            tokio::spawn(std::future::pending())
        };
        let log = worked(2, put, |_, nth| match nth {
            1 | 2 | 4 => (Err(ReconcileError::Panic), seconds(0)),
            3 => (Ok(Next::After(seconds(1))), seconds(0)),
            _ => (Ok(Next::Wait), seconds(0)),
        })
        .await;
        let times: Vec<u128> = log.iter().map(|(_, at)| at.as_millis()).collect();
        assert_eq!(times, [0, 200, 600, 1600, 1800]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_key_does_not_hold_others_back() {
        let put = |queue: Queue<&'static str>| {
            queue.soon("bad");
            tokio::spawn(async move {
                tokio::time::sleep(seconds(50)).await;
                queue.soon("good");
            })
        };
        let log = worked(1, put, |key, _| match key {
            "bad" => (Err(ReconcileError::Panic), seconds(0)),
            _ => (Ok(Next::Wait), seconds(0)),
        })
        .await;
        assert!(log.contains(&("good", seconds(50))), "{log:?}");
        assert!(log.len() < 15, "{log:?}");
    }

    #[test]
    fn waits_are_bounded() {
        assert_eq!(retry(1), Duration::from_millis(200));
        assert_eq!(retry(u32::MAX), LAST_RETRY);
    }
}
