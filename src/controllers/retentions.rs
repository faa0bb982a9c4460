//! Which retentions there are and what they keep: enough to know whom an event concerns, and how they stand.

use std::collections::{BTreeSet, HashMap};

use foureyes_core::api::{BackupRetention, RetentionPhase};
use foureyes_core::domain::retention::phase;

/// What is known of one retention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// `metadata.name`.
    pub name: Box<str>,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// Where it stands.
    pub phase: RetentionPhase,
    /// UIDs of what it keeps.
    pub keepers: Box<[Box<str>]>,
}

impl Known {
    /// Of a retention as the API server has it.
    pub fn of(retention: &BackupRetention) -> Self {
        Self {
            name: retention.metadata.name.as_deref().unwrap_or_default().into(),
            uid: retention.metadata.uid.as_deref().unwrap_or_default().into(),
            phase: phase(retention),
            keepers: retention.spec.keepers.iter().map(|keeper| keeper.uid.as_str().into()).collect(),
        }
    }
}

/// All retentions, and by what they keep.
#[derive(Debug, Default)]
pub struct Retentions {
    known: HashMap<Box<str>, Known>,
    by_uid: HashMap<Box<str>, Box<str>>,
    by_keeper: HashMap<Box<str>, BTreeSet<Box<str>>>,
}

impl Retentions {
    /// Takes in a retention as it is now.
    pub fn learn(&mut self, known: Known) {
        self.forget(&known.name);
        self.by_uid.insert(known.uid.clone(), known.name.clone());
        for keeper in &known.keepers {
            self.by_keeper.entry(keeper.clone()).or_default().insert(known.name.clone());
        }
        self.known.insert(known.name.clone(), known);
    }

    /// Forgets a retention that is gone.
    pub fn forget(&mut self, name: &str) -> Option<Known> {
        let known = self.known.remove(name)?;
        self.by_uid.remove(&known.uid);
        for keeper in &known.keepers {
            if let Some(names) = self.by_keeper.get_mut(keeper) {
                names.remove(name);
                if names.is_empty() {
                    self.by_keeper.remove(keeper);
                }
            }
        }
        Some(known)
    }

    /// Takes in all there are; returns those that were known and are gone.
    pub fn replace(&mut self, all: Vec<Known>) -> Vec<Known> {
        let before = std::mem::take(self);
        for known in all {
            self.learn(known);
        }
        before.known.into_values().filter(|known| !self.exists(&known.uid)).collect()
    }

    /// Whether there is a retention with this UID.
    pub fn exists(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid)
    }

    /// Names of all that keep something still.
    pub fn open(&self) -> Vec<Box<str>> {
        let open = self.known.values().filter(|known| known.phase != RetentionPhase::Purged);
        open.map(|known| known.name.clone()).collect()
    }

    /// Names of those that keep the object with this UID.
    pub fn keeping(&self, uid: &str) -> Vec<Box<str>> {
        self.by_keeper.get(uid).into_iter().flatten().cloned().collect()
    }

    /// How many stand where.
    pub fn count(&self, phase: RetentionPhase) -> usize {
        self.known.values().filter(|known| known.phase == phase).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, keepers: &[&str], phase: RetentionPhase) -> Known {
        let keepers = keepers.iter().map(|keeper| Box::from(*keeper)).collect();
        Known { name: name.into(), uid: format!("uid-{name}").into(), phase, keepers }
    }

    #[test]
    fn an_event_concerns_what_keeps_its_object() {
        let mut retentions = Retentions::default();
        retentions.learn(known("a", &["v-1", "v-2"], RetentionPhase::Holding));
        retentions.learn(known("b", &["v-2"], RetentionPhase::Purged));
        assert_eq!(retentions.keeping("v-2"), ["a".into(), "b".into()]);
        assert_eq!((retentions.open(), retentions.count(RetentionPhase::Purged)), (vec!["a".into()], 1));
        retentions.learn(known("a", &["v-3"], RetentionPhase::Violated));
        assert_eq!(retentions.keeping("v-1"), []);
        assert!(retentions.exists("uid-b"));
        let gone = retentions.replace(vec![known("a", &["v-3"], RetentionPhase::Violated)]);
        assert_eq!(gone.iter().map(|known| &*known.uid).collect::<Vec<_>>(), ["uid-b"]);
        assert!(retentions.keeping("v-2").is_empty());
    }
}
