//! What decisions look up: small projections of what the API server has, in persistent maps. A reader holds one
//! [`Snapshot`] for one decision; the writer makes the next one beside it, so that nobody ever waits, and a rebuild
//! replaces a kind as a whole (I 5, I 11).

mod entries;
mod pieces;
mod policies;
mod retentions;
mod snapshot;
mod uid;

pub use entries::{ChangeEntry, NamespaceEntry, RecordEntry, RequestEntry, SignOffEntry};
pub use policies::{PolicyEntry, policy_entry, policy_set};
pub use retentions::{KeeperEntry, RetentionEntry};
pub use snapshot::{Candidate, Change, Kind, Snapshot};
pub use uid::Uid;
