//! The only users of `kube::Client`.

pub mod access;
pub mod admission_policies;
pub mod apply;
pub mod backups;
pub mod client;
pub mod config_maps;
pub mod events;
pub mod feed;
pub mod lasting;
pub mod live;
pub mod pods;
pub mod retentions;
pub mod scale;
pub mod secrets;
pub mod snapshots;
pub mod status;
pub mod volumes;
pub mod watch;
pub mod workloads;

/// What the controller writes as, in `managedFields`.
pub const FIELD_MANAGER: &str = "foureyes-controller";
