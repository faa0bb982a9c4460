//! Which retentions hold what: looked up for each change of a volume, so by UID and by handle.

use std::sync::Arc;

use super::pieces::{Order, Pieces};
use super::snapshot::Candidate;
use super::uid::Uid;
use crate::api::{BackupRetention, RetentionPhase};

/// A retention: enough to know that it is worth a live read, never enough to allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionEntry {
    pub name: Arc<str>,
    pub uid: Uid,
    /// What it keeps; nothing once all of that is gone.
    pub keepers: Box<[KeeperEntry]>,
}

/// A keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeeperEntry {
    pub uid: Uid,
    /// Kind and handle.
    pub handle: Option<Arc<str>>,
    /// Of a backup: where it lies.
    pub namespace: Option<Box<str>>,
}

impl RetentionEntry {
    pub fn of(retention: &BackupRetention) -> Self {
        let phase = retention.status.as_ref().and_then(|status| status.phase);
        let keepers = retention.spec.keepers.iter().filter(|_| phase != Some(RetentionPhase::Purged));
        let entry = |keeper: &crate::api::Keeper| KeeperEntry {
            uid: keeper.uid.as_str().into(),
            handle: keeper.handle.as_deref().map(|handle| key(&keeper.kind, handle).into()),
            namespace: keeper.namespace.as_deref().map(Into::into),
        };
        Self {
            name: retention.metadata.name.as_deref().unwrap_or_default().into(),
            uid: retention.metadata.uid.as_deref().unwrap_or_default().into(),
            keepers: keepers.map(entry).collect(),
        }
    }
}

/// Handles of one kind are told from those of another.
fn key(kind: &str, handle: &str) -> String {
    format!("{kind} {handle}")
}

/// All retentions. Cloning shares everything.
#[derive(Clone, Default)]
pub struct Retentions {
    entries: Pieces<RetentionEntry>,
    /// UID of a keeper, name of the retention.
    held: Pieces<(Uid, Arc<str>)>,
    /// Kind and handle of a keeper, name of the retention.
    handles: Pieces<(Arc<str>, Arc<str>)>,
}

impl Retentions {
    pub fn learn(&mut self, entry: RetentionEntry) {
        self.forget(&entry.name);
        for keeper in &entry.keepers {
            let held = (keeper.uid.clone(), Arc::clone(&entry.name));
            self.held.put(held.clone(), |other| other.cmp(&held));
            if let Some(handle) = &keeper.handle {
                let held = (Arc::clone(handle), Arc::clone(&entry.name));
                self.handles.put(held.clone(), |other| other.cmp(&held));
            }
        }
        let name = Arc::clone(&entry.name);
        self.entries.put(entry, named(&name));
    }

    pub fn forget(&mut self, name: &str) {
        let Some(entry) = self.entries.take(named(name)) else { return };
        for keeper in entry.keepers {
            let held = (keeper.uid, Arc::clone(&entry.name));
            self.held.take(|other| other.cmp(&held));
            if let Some(handle) = keeper.handle {
                let held = (handle, Arc::clone(&entry.name));
                self.handles.take(|other| other.cmp(&held));
            }
        }
    }

    /// The retentions that hold the object with this UID.
    pub fn of(&self, uid: &str) -> Vec<Candidate> {
        let uid = Uid::from(uid);
        self.candidates(self.held.all(|(other, _)| other.cmp(&uid)).map(|(_, name)| name))
    }

    /// The retentions that hold what this handle of a kind stands for, whichever object has it.
    pub fn of_handle(&self, kind: &str, handle: &str) -> Vec<Candidate> {
        let key = key(kind, handle);
        self.candidates(self.handles.all(|(other, _)| (**other).cmp(&key)).map(|(_, name)| name))
    }

    /// The retentions that hold something that lies in this namespace. Looks at all.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Candidate> {
        let lies = |keeper: &KeeperEntry| keeper.namespace.as_deref() == Some(namespace);
        let entries = self.entries.iter().filter(|entry| entry.keepers.iter().any(lies));
        entries.map(|entry| Candidate { name: Arc::clone(&entry.name), uid: entry.uid.clone() }).collect()
    }

    fn candidates<'a>(&'a self, names: impl Iterator<Item = &'a Arc<str>>) -> Vec<Candidate> {
        let entries = names.filter_map(|name| self.entries.get(named(name)));
        entries.map(|entry| Candidate { name: Arc::clone(&entry.name), uid: entry.uid.clone() }).collect()
    }
}

fn named(name: &str) -> impl Order<RetentionEntry> {
    move |entry: &RetentionEntry| (*entry.name).cmp(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, keepers: &[(&str, Option<&str>)]) -> RetentionEntry {
        let keeper = |(uid, handle): &(&str, Option<&str>)| KeeperEntry {
            uid: (*uid).into(),
            handle: handle.map(|handle| key("PersistentVolume", handle).into()),
            namespace: None,
        };
        RetentionEntry {
            name: name.into(),
            uid: format!("uid-{name}").into(),
            keepers: keepers.iter().map(keeper).collect(),
        }
    }

    fn names(found: &[Candidate]) -> Vec<&str> {
        found.iter().map(|candidate| &*candidate.name).collect()
    }

    #[test]
    fn what_is_held_is_found_by_its_uid_and_by_its_handle() {
        let mut retentions = Retentions::default();
        retentions.learn(entry("a", &[("v-1", Some("csi/one")), ("v-2", None)]));
        retentions.learn(entry("b", &[("v-1", Some("csi/one"))]));
        assert_eq!(names(&retentions.of("v-1")), ["a", "b"]);
        assert_eq!(names(&retentions.of("v-2")), ["a"]);
        assert_eq!(names(&retentions.of_handle("PersistentVolume", "csi/one")), ["a", "b"]);
        assert!(retentions.of_handle("VolumeSnapshotContent", "csi/one").is_empty());
        assert!(retentions.of_handle("PersistentVolume", "csi/on").is_empty());
        let held = retentions.clone();
        // Once all of it is gone, it keeps nothing.
        retentions.learn(entry("a", &[]));
        assert_eq!(names(&retentions.of("v-1")), ["b"]);
        retentions.forget("b");
        retentions.forget("b");
        assert!(retentions.of("v-1").is_empty() && retentions.of_handle("PersistentVolume", "csi/one").is_empty());
        assert_eq!(names(&held.of("v-1")), ["a", "b"]);
    }
}
