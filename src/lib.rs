//! foureyes: keeps a team from hurting its own production Kubernetes cluster.

pub mod admission;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod controllers;
pub mod keys;
pub mod manifests;
pub mod metrics;
pub mod server;
pub mod telemetry;
pub mod verify;
