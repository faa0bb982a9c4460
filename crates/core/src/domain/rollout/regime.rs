//! How strictly rollouts are governed in a namespace, and what a workload is looked at for when that changes. What was
//! last acted on is noted, so that a change of it is acted on once, whenever the controller sees it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::record::Occasion;
use crate::api::Mode;
use crate::domain::policy::{PolicySet, Undecodable};

/// How rollouts are governed in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Regime {
    /// Not production, or a namespace of the system: no records are kept.
    Ungoverned,
    Off,
    Warn,
    Deny,
}

impl Regime {
    /// That of a namespace with this name and these labels.
    pub fn of(policies: &PolicySet, name: &str, labels: &BTreeMap<String, String>) -> Result<Self, Undecodable> {
        if policies.floor().is_system(name) || !policies.is_production(labels) {
            return Ok(Self::Ungoverned);
        }
        Ok(match policies.effective(labels)?.rollouts {
            Mode::Off => Self::Off,
            Mode::Warn => Self::Warn,
            Mode::Deny => Self::Deny,
        })
    }
}

/// What was last acted on, by UID of the namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Regimes(BTreeMap<String, Was>);

/// What a namespace was. Where rollouts are refused it is not noted: that is the usual, and so is a namespace that is
/// seen for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
enum Was {
    /// There at installation, and not all that runs in it is on record yet.
    Installing,
    Ungoverned,
    Off,
    Warn,
}

impl Regimes {
    /// What the workloads of a namespace are looked at for while its regime is `now`. Without a note, nothing has been
    /// acted on since the installation.
    pub fn occasion(noted: Option<&Self>, uid: &str, now: Regime) -> Occasion {
        let Some(noted) = noted else { return Occasion::Baseline };
        match (noted.0.get(uid), now) {
            (Some(Was::Installing), _) | (Some(Was::Off | Was::Warn), Regime::Deny) => Occasion::Baseline,
            (Some(Was::Ungoverned), _) => Occasion::BecameProduction,
            (Some(Was::Off | Was::Warn) | None, _) => Occasion::Change,
        }
    }

    /// Whether the workloads of a namespace have to be looked at for another reason than that they changed.
    pub fn is_new(noted: Option<&Self>, uid: &str, now: Regime) -> bool {
        now != Regime::Ungoverned && Self::occasion(noted, uid, now) != Occasion::Change
    }

    /// What is to be noted once every namespace that is new has been acted on, but for the `unfinished` ones. A regime
    /// that can't be known stays what it was; what is gone is forgotten.
    #[must_use]
    pub fn next(before: Option<&Self>, now: &BTreeMap<String, Option<Regime>>, unfinished: &BTreeSet<String>) -> Self {
        let was = |uid: &String| before.map_or(Some(Was::Installing), |before| before.0.get(uid).copied());
        let noted = now.iter().filter_map(|(uid, regime)| {
            let is = match regime {
                Some(_) if unfinished.contains(uid) => was(uid),
                None => was(uid),
                Some(Regime::Ungoverned) => Some(Was::Ungoverned),
                Some(Regime::Off) => Some(Was::Off),
                Some(Regime::Warn) => Some(Was::Warn),
                Some(Regime::Deny) => None,
            };
            Some((uid.clone(), is?))
        });
        Self(noted.collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn noted(json: &str) -> Regimes {
        serde_json::from_str(json).unwrap()
    }

    fn now(regime: Option<Regime>) -> BTreeMap<String, Option<Regime>> {
        BTreeMap::from([("u".to_owned(), regime)])
    }

    #[rstest]
    #[case(None, Regime::Deny, Occasion::Baseline)]
    #[case(None, Regime::Warn, Occasion::Baseline)]
    #[case(Some("{}"), Regime::Deny, Occasion::Change)]
    #[case(Some("{}"), Regime::Warn, Occasion::Change)]
    #[case(Some(r#"{"u":"Installing"}"#), Regime::Deny, Occasion::Baseline)]
    #[case(Some(r#"{"u":"Warn"}"#), Regime::Warn, Occasion::Change)]
    #[case(Some(r#"{"u":"Warn"}"#), Regime::Off, Occasion::Change)]
    #[case(Some(r#"{"u":"Warn"}"#), Regime::Deny, Occasion::Baseline)]
    #[case(Some(r#"{"u":"Off"}"#), Regime::Deny, Occasion::Baseline)]
    #[case(Some(r#"{"u":"Ungoverned"}"#), Regime::Deny, Occasion::BecameProduction)]
    #[case(Some(r#"{"u":"Ungoverned"}"#), Regime::Warn, Occasion::BecameProduction)]
    #[case(Some(r#"{"another":"Warn"}"#), Regime::Deny, Occasion::Change)]
    fn what_runs_is_taken_as_it_is_only_when_it_begins_to_matter(
        #[case] before: Option<&str>,
        #[case] now: Regime,
        #[case] expected: Occasion,
    ) {
        let before = before.map(noted);
        assert_eq!(Regimes::occasion(before.as_ref(), "u", now), expected);
        assert_eq!(Regimes::is_new(before.as_ref(), "u", now), expected != Occasion::Change);
    }

    #[test]
    fn a_namespace_that_is_not_governed_is_never_new() {
        assert!(!Regimes::is_new(None, "u", Regime::Ungoverned));
        assert!(!Regimes::is_new(Some(&noted(r#"{"u":"Ungoverned"}"#)), "u", Regime::Ungoverned));
    }

    #[test]
    fn what_was_not_finished_or_is_not_known_stays_what_it_was() {
        let none = BTreeSet::new();
        let unfinished = BTreeSet::from(["u".to_owned()]);
        let next = |before: Option<&str>, regime, unfinished| {
            let before = before.map(noted);
            serde_json::to_string(&Regimes::next(before.as_ref(), &now(regime), unfinished)).unwrap()
        };
        assert_eq!(next(None, Some(Regime::Deny), &none), "{}");
        assert_eq!(next(None, Some(Regime::Deny), &unfinished), r#"{"u":"Installing"}"#);
        assert_eq!(next(None, None, &none), r#"{"u":"Installing"}"#);
        assert_eq!(next(None, Some(Regime::Warn), &none), r#"{"u":"Warn"}"#);
        assert_eq!(next(Some(r#"{"u":"Warn"}"#), Some(Regime::Deny), &unfinished), r#"{"u":"Warn"}"#);
        assert_eq!(next(Some(r#"{"u":"Warn"}"#), Some(Regime::Deny), &none), "{}");
        assert_eq!(next(Some(r#"{"u":"Warn"}"#), None, &none), r#"{"u":"Warn"}"#);
        assert_eq!(next(Some("{}"), None, &none), "{}");
        assert_eq!(next(Some(r#"{"gone":"Warn"}"#), Some(Regime::Ungoverned), &none), r#"{"u":"Ungoverned"}"#);
    }
}
