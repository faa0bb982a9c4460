//! What foureyes does while something fails: processes that are killed, restarted, overloaded or lied to, webhooks that
//! are gone, an API server that is away. What is tested here disturbs everything else on its cluster, so that each
//! cluster has turns.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod belt;
mod by_itself;
mod dead_webhook;
mod enforcement;
mod first_start;
mod fixed;
mod forged_reviews;
mod gap;
mod interleavings;
mod killed;
mod leaving;
mod outage;
mod overload;
mod quiet;
mod restarts;
mod rollouts;
mod support;
