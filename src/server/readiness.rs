//! What a process still lacks before it may be sent requests: named conditions, each set by the part that knows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The conditions of one process. Clones share them. With no condition at all it is not ready: something must vouch for it.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    /// Condition name → what is missing; `None` once it holds.
    conditions: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
}

/// One part's own condition.
#[derive(Clone, Debug)]
pub struct Condition {
    readiness: Readiness,
    name: &'static str,
}

impl Readiness {
    /// Adds a condition that does not hold yet. `name` is a short fixed phrase such as `indexes synced`.
    pub fn condition(&self, name: &'static str) -> Condition {
        self.conditions().entry(name).or_insert_with(|| Some("not yet".to_owned()));
        Condition { readiness: self.clone(), name }
    }

    /// Whether every condition holds.
    pub fn is_ready(&self) -> bool {
        let conditions = self.conditions();
        !conditions.is_empty() && conditions.values().all(Option::is_none)
    }

    /// The text of `/readyz`: `ok`, or a line for each condition with what it lacks.
    pub fn text(&self) -> String {
        if self.is_ready() {
            return "ok\n".to_owned();
        }
        let mut text = String::new();
        for (name, missing) in self.conditions().iter() {
            // Writing to a String can't fail.
            let _ = match missing {
                None => writeln!(text, "[+] {name}"),
                Some(missing) => writeln!(text, "[-] {name}: {missing}"),
            };
        }
        if text.is_empty() {
            "[-] starting\n".clone_into(&mut text);
        }
        text
    }

    /// A panic elsewhere leaves the map whole, so a poisoned lock is read on.
    fn conditions(&self) -> MutexGuard<'_, BTreeMap<&'static str, Option<String>>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    /// From now on it holds.
    pub fn met(&self) {
        self.set(None);
    }

    /// It does not hold (any more); `what` is missing. One line, no secrets: it is shown to anybody who asks.
    pub fn missing(&self, what: impl Into<String>) {
        self.set(Some(what.into()));
    }

    fn set(&self, missing: Option<String>) {
        let before = self.readiness.conditions().insert(self.name, missing.clone());
        match (before.flatten(), missing) {
            (Some(_), None) => tracing::info!(condition = self.name, "condition holds"),
            (None, Some(missing)) => tracing::warn!(condition = self.name, missing, "condition holds no longer"),
            (Some(before), Some(missing)) if before != missing => {
                tracing::info!(condition = self.name, missing, "condition does not hold yet");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_ready_until_every_condition_holds_and_it_says_which() {
        let readiness = Readiness::default();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.text(), "[-] starting\n");
        let bound = readiness.condition("bound");
        let key = readiness.condition("sealing key");
        bound.met();
        key.missing("Secret foureyes-sealing-key is empty: run `foureyes keys`");
        assert!(!readiness.is_ready());
        assert_eq!(
            readiness.text(),
            "[+] bound\n[-] sealing key: Secret foureyes-sealing-key is empty: run `foureyes keys`\n"
        );
        key.met();
        assert!(readiness.is_ready());
        assert_eq!(readiness.text(), "ok\n");
        bound.missing("shutting down");
        assert!(!readiness.is_ready());
    }

    #[test]
    fn asking_twice_for_a_condition_keeps_what_it_says() {
        let readiness = Readiness::default();
        readiness.condition("bound").met();
        let _again = readiness.condition("bound");
        assert!(readiness.is_ready());
    }
}
