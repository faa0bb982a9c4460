//! The webhook: reviews are read, judged over the index, confirmed live, and answered.

mod changes;
mod confirm;
mod handler;
mod input;
mod review;
mod rules;
mod stamp;
mod verdict;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use foureyes_core::index::{Change, Kind, Snapshot};

pub use self::handler::{Shared, router};
use crate::cluster::feed::{self, Told};
use crate::cluster::lasting::LASTING;
use crate::cluster::live::Live;
use crate::server::readiness::Condition;
use crate::server::webhook::Parts;

/// Time for one live read inside a decision.
const LIVE_READ: Duration = Duration::from_secs(3);

/// Starts the watches and returns the router that answers from them.
pub fn start(parts: Parts) -> Router {
    let live = Live::new(parts.client.clone(), parts.namespace.clone(), LIVE_READ, parts.metrics.clone());
    let shared = Arc::new(Shared {
        index: ArcSwap::default(),
        sealing_key: parts.sealing_key,
        live,
        own_namespace: parts.namespace.clone(),
        clock: parts.clock,
        metrics: parts.metrics,
    });
    let synced = parts.readiness.condition("indexes synced");
    let (writer, turn) = (Arc::clone(&shared), Arc::new(Mutex::new(())));
    let current = Current::new(parts.readiness.condition("indexes current"));
    feed::start(&parts.client, &parts.namespace, move |told| {
        let change = match told {
            Told::Learned(change) => change,
            Told::Follows(kind, follows) => return current.tell(kind, follows),
        };
        // Writers take turns; readers hold the snapshot they began with and wait for nobody.
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let anew = matches!(change, Change::Reset(..));
        let mut next = (**writer.index.load()).clone();
        next.apply(change);
        if anew {
            say(&synced, &next);
        }
        writer.index.store(Arc::new(next));
    });
    router(shared)
}

/// Whether what is known is followed, kind by kind.
#[derive(Clone)]
struct Current {
    condition: Condition,
    not_followed: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Current {
    fn new(condition: Condition) -> Self {
        condition.met();
        Self { condition, not_followed: Arc::default() }
    }

    fn tell(&self, kind: Kind, follows: bool) {
        let mut kinds = self.not_followed.lock().unwrap_or_else(PoisonError::into_inner);
        if follows {
            kinds.remove(kind.as_str());
        } else {
            kinds.insert(kind.as_str());
        }
        if kinds.is_empty() {
            return self.condition.met();
        }
        let kinds: Vec<&str> = kinds.iter().copied().collect();
        let (kinds, lasting) = (kinds.join(", "), LASTING.as_secs());
        self.condition.missing(format!("watches have failed for more than {lasting} s, see the log: {kinds}"));
    }
}

fn say(synced: &Condition, index: &Snapshot) {
    let missing: Vec<&str> = index.missing().map(Kind::as_str).collect();
    if missing.is_empty() { synced.met() } else { synced.missing(format!("not read yet: {}", missing.join(", "))) }
}
