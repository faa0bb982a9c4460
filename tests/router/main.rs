//! The whole HTTP router with reviews as the API server sends them. A fake API server stands behind it only for what
//! a real one won't do on demand: fail, hang, or answer nonsense.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broken;
mod changes;
mod decisions;
mod retentions;
mod rollouts;
mod stamp;
mod story;
mod support;
mod traffic;
mod workloads;
