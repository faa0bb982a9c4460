//! The webhook: reviews are read, judged over the index, confirmed live, and answered.

mod changes;
mod confirm;
mod handler;
mod input;
mod review;
mod rules;
mod stamp;
mod verdict;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use foureyes_core::index::{Change, Kind, Snapshot};

pub use self::handler::{Shared, router};
use crate::cluster::feed;
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
    feed::start(&parts.client, &parts.namespace, move |change| {
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

fn say(synced: &Condition, index: &Snapshot) {
    let missing: Vec<&str> = index.missing().map(Kind::as_str).collect();
    if missing.is_empty() { synced.met() } else { synced.missing(format!("not read yet: {}", missing.join(", "))) }
}
