//! How this program serves: TLS, limits, readiness, the admin port, and an end without a lost review.

mod accept;
pub mod admin;
pub mod controller;
pub mod limits;
pub mod material;
pub mod process;
pub mod readiness;
pub mod serve;
pub mod shutdown;
pub mod tls;
pub mod webhook;

#[cfg(test)]
mod tests;
