//! The clusters with their turns, people who speak to the API server themselves, and ways to wait.

mod gap;
mod objects;
mod people;
mod webhook;

use std::fmt::Debug;
use std::sync::{LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use foureyes_testbed::Cluster;
use tokio::runtime::Runtime;

pub use gap::{Saved, with_the_belt_alone, without_webhooks};
pub use objects::{Asked, claim, claim_path, description, namespace_path, request, request_path};
pub use people::{Refused, Who};
pub use webhook::{Webhook, delete_review};

/// How long a test waits for what the cluster does in its own time.
pub const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(50);

/// A cluster on which one test at a time disturbs everything, or several disturb nothing that matters to the others.
pub struct Bed {
    cluster: LazyLock<Cluster>,
    turn: RwLock<()>,
}

impl Bed {
    pub const fn new(start: fn() -> Cluster) -> Self {
        Self { cluster: LazyLock::new(start), turn: RwLock::new(()) }
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Beside others that do the same.
    pub fn together(&self) -> RwLockReadGuard<'_, ()> {
        self.turn.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.turn.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cluster of most tests.
pub static BED: Bed = Bed::new(|| Cluster::start_with("faults", "0s").unwrap());

pub fn runtime() -> Runtime {
    // Only fails if another test has done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Waits until `probe` finds something.
#[track_caller]
pub fn found<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    within(PATIENCE, what, probe)
}

/// Waits until `probe` says yes.
#[track_caller]
pub fn until(what: &str, mut probe: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    within(PATIENCE, what, async move || probe().await.then_some(()))
}

#[track_caller]
pub fn within<T>(limit: Duration, what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let end = Instant::now() + limit;
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            assert!(Instant::now() < end, "{caller}: still waiting for {what} after {limit:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What was refused with this reason code.
#[track_caller]
pub fn refused<T: Debug>(code: &str, answer: Result<T, Refused>) -> String {
    let refusal = answer.expect_err("it was allowed");
    assert!(refusal.message.contains(code), "refused without {code}: {refusal}");
    refusal.message
}

/// Numbers that look random and come again with the same seed (xorshift64*).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The seed in `FOUREYES_SEED`, or another one each time; it is printed with a test that fails.
    pub fn seed() -> u64 {
        let given = std::env::var("FOUREYES_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            u64::from(clock.unwrap_or_default().subsec_micros())
        });
        println!("FOUREYES_SEED={seed} plays this again");
        seed
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    /// Up to so many milliseconds.
    pub fn pause(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}
