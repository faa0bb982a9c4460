//! The decisions as tables and properties; invariants are cited as I n.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agreement;
mod asking;
mod backups;
mod binding;
mod change_lifecycle;
mod changed_by;
mod changes;
mod clocks;
mod creations;
mod index;
mod keeping;
mod kept;
mod kept_always;
mod kept_snapshots;
mod large;
mod lifecycle;
mod loosening;
mod merging;
mod monotone;
mod prepared;
mod records;
mod refusals;
mod retentions;
mod rollouts;
mod scenario;
mod schema;
mod scope;
mod shutdown;
mod speaking;
mod supervision;
mod support;
mod templates;
mod two_people;
