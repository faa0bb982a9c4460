//! foureyes on the real control plane, with the real kubectl as real people. One cluster for all of these tests, a
//! namespace for each; the cluster ends when this process does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod additional_kinds;
mod argo_rollouts;
mod backups;
mod bad_days;
mod by_itself;
mod cascade;
mod catalogue;
mod certificates;
mod cluster;
mod delegations;
mod deletions;
mod editing;
mod exempt;
mod gitops;
mod held_back;
mod helm;
mod identity;
mod inventory;
mod kept;
mod kept_snapshots;
mod keys;
mod leftovers;
mod plugin;
mod prepared;
mod records;
mod retentions;
mod rollout_resources;
mod rollouts;
mod scope;
mod shutdown;
mod sidecars;
mod sign_offs;
mod spellings;
mod supervised;
mod support;
mod undisturbed;
mod undo;
mod webhooks;
