//! The binary as people run it, against an API server that answers what it is told to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod deleting;
mod leaving;
mod looking;
mod reference;
mod requesting;
mod server;
mod signing;
mod undoing;
mod waiting;
