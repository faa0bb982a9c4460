//! What a workload's record says (design §3): what was authorised, what was seen, and on whose word it runs.

use std::collections::BTreeMap;

use foureyes_core::api::{How, RolloutRecordStatus, SeenOutcome};
use foureyes_core::domain::inventory::Controller;
use foureyes_core::domain::policy::PolicySet;
use foureyes_core::domain::rollout::known::Known;
use foureyes_core::domain::rollout::record::{Noted, Occasion, Place, Promise, Seen, noted, promised, unpromised};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use crate::changes::{floor, version, web, workload};
use crate::support::{at, labels, uid};
use crate::templates::template;

/// A workload and its record, as the controller keeps it.
#[derive(Clone)]
struct Kept {
    status: RolloutRecordStatus,
    policies: PolicySet,
    controller: Option<Controller>,
    uid: String,
    generation: i64,
}

impl Kept {
    fn new() -> Self {
        let status = RolloutRecordStatus::default();
        Self { status, policies: floor(&json!({})), controller: None, uid: uid(1), generation: 0 }
    }

    /// Version 1 was there at installation.
    fn installed() -> Self {
        let mut kept = Self::new();
        kept.sees(&version(1), Occasion::Baseline);
        kept
    }

    fn with(mut self, policy: &Value) -> Self {
        self.policies = floor(policy);
        self
    }

    fn sees(&mut self, value: &Value, occasion: Occasion) -> Noted {
        self.generation += 1;
        self.looks(value, occasion)
    }

    /// Without a new generation.
    fn looks(&mut self, value: &Value, occasion: Occasion) -> Noted {
        let effective = self.policies.effective(&labels(&[])).unwrap();
        let template = template(value);
        let seen = Seen {
            uid: &self.uid,
            generation: self.generation,
            template: &template,
            image_ids: BTreeMap::new(),
            executor: None,
            controller: self.controller.as_ref(),
        };
        let workload = workload();
        let place = Place { workload: &workload, policies: &self.policies, effective: &effective };
        let noted = noted(&self.status, &seen, &place, occasion, at(self.generation)).unwrap();
        self.status = noted.status.clone();
        noted
    }

    fn promises(&mut self, change: &str, value: &Value) {
        let template = template(value).digest().unwrap();
        let people = vec!["alice".to_owned(), "bob".to_owned()];
        let promise = Promise { change, how: How::Change, people, template: &template };
        self.status = promised(&self.status, promise, at(self.generation));
    }

    /// How and outcome of each entry, newest first.
    fn tells(&self) -> Vec<(How, SeenOutcome)> {
        self.status.entries.iter().map(|entry| (entry.how, entry.outcome)).collect()
    }

    fn may_go_back_to(&self, value: &Value) -> bool {
        Known::of(&self.status).allows(&template(value).digest().unwrap(), 3)
    }
}

const SEEN: SeenOutcome = SeenOutcome::Seen;

#[test]
fn a_change_is_promised_and_then_seen() {
    let mut kept = Kept::installed();
    kept.promises("shop/web-2", &version(2));
    kept.promises("shop/web-2", &version(2));
    assert_eq!(kept.tells(), [(How::Change, SeenOutcome::NotSeen), (How::Baseline, SEEN)]);
    assert!(!kept.may_go_back_to(&version(2)));
    assert_eq!(kept.status.how, Some(How::Baseline));
    let noted = kept.sees(&version(2), Occasion::Change);
    assert_eq!(noted.drift, None);
    assert_eq!(kept.tells(), [(How::Change, SEEN), (How::Baseline, SEEN)]);
    let entry = &kept.status.entries[0];
    assert_eq!((entry.change.as_deref(), entry.people.len()), (Some("shop/web-2"), 2));
    assert_eq!(entry.shape, Some(template(&version(2)).shape().unwrap()));
    assert_eq!((kept.status.how, kept.status.change.as_deref()), (Some(How::Change), Some("shop/web-2")));
    assert!(kept.may_go_back_to(&version(1)) && kept.may_go_back_to(&version(2)));
}

#[test]
fn what_was_promised_and_never_ran_is_good_for_nothing() {
    let mut kept = Kept::installed();
    kept.promises("shop/web-2", &version(2));
    kept.promises("shop/web-3", &version(3));
    kept.status = unpromised(&kept.status, "shop/web-2");
    assert_eq!(
        kept.tells(),
        [(How::Change, SeenOutcome::NotSeen), (How::Change, SeenOutcome::Unused), (How::Baseline, SEEN)]
    );
    assert!(!kept.may_go_back_to(&version(2)));
    assert!(kept.sees(&version(2), Occasion::Change).drift.is_some());
}

/// A → B → C while the controller was away: it has seen C alone, and B can still be gone back to.
#[test]
fn what_is_signed_off_anew_is_awaited_anew() {
    let mut kept = Kept::installed();
    kept.promises("shop/web-2", &version(2));
    kept.status = unpromised(&kept.status, "shop/web-2");
    kept.promises("shop/web-2", &version(2));
    assert_eq!(kept.tells(), [(How::Change, SeenOutcome::NotSeen), (How::Baseline, SEEN)]);
    assert_eq!(kept.sees(&version(2), Occasion::Change).drift, None);
}

#[test]
fn what_came_and_went_while_nobody_looked_is_not_lost() {
    let mut kept = Kept::installed();
    kept.promises("shop/b", &version(2));
    kept.promises("shop/c", &version(3));
    kept.generation += 1;
    kept.sees(&version(3), Occasion::Change);
    assert_eq!(kept.tells(), [(How::Change, SEEN), (How::Change, SeenOutcome::Missed), (How::Baseline, SEEN)]);
    kept.status = unpromised(&kept.status, "shop/b");
    assert!(kept.may_go_back_to(&version(2)));
    // One step is too little for both: then B never ran.
    let mut watched = Kept::installed();
    watched.promises("shop/b", &version(2));
    watched.promises("shop/c", &version(3));
    watched.sees(&version(3), Occasion::Change);
    assert_eq!(watched.tells()[1].1, SeenOutcome::NotSeen);
    assert!(!watched.may_go_back_to(&version(2)));
}

#[test]
fn going_back_is_a_rollout_of_its_own_and_names_whoever_authorised_it_then() {
    let mut kept = Kept::installed();
    kept.promises("shop/web-2", &version(2));
    kept.sees(&version(2), Occasion::Change);
    kept.sees(&version(1), Occasion::Change);
    assert_eq!(kept.tells(), [(How::Rollback, SEEN), (How::Change, SEEN), (How::Baseline, SEEN)]);
    kept.sees(&version(2), Occasion::Change);
    assert_eq!(kept.status.entries[0].change.as_deref(), Some("shop/web-2"));
    assert_eq!(kept.status.how, Some(How::Rollback));
}

#[test]
fn scaling_and_what_the_api_server_rewrites_are_no_rollout() {
    let mut kept = Kept::installed();
    for _ in 0..5 {
        kept.sees(&version(1), Occasion::Change);
    }
    assert_eq!(kept.tells(), [(How::Baseline, SEEN)]);
    // The same generation with another template: a default that a new API server has filled in.
    let mut defaulted = version(1);
    defaulted["spec"]["newField"] = json!("default");
    let noted = kept.looks(&defaulted, Occasion::Change);
    assert_eq!((noted.drift, kept.tells()), (None, vec![(How::Baseline, SEEN)]));
    assert!(kept.may_go_back_to(&defaulted));
    // Another object by the same name starts at a generation of its own, and is no rewrite.
    let mut recreated = kept.clone();
    recreated.uid = uid(2);
    assert!(recreated.looks(&version(7), Occasion::Change).drift.is_some());
}

/// On whose word something runs that nobody has promised.
#[rstest]
#[case::drift(json!({}), Occasion::Change, How::Unauthorised, true, false)]
#[case::warn(json!({"enforcement": {"rollouts": "Warn"}}), Occasion::Change, How::Unreviewed, false, true)]
#[case::off(json!({"enforcement": {"rollouts": "Off"}}), Occasion::Change, How::Unreviewed, false, false)]
#[case::became_production(json!({}), Occasion::BecameProduction, How::Unreviewed, false, false)]
#[case::baseline(json!({}), Occasion::Baseline, How::Baseline, false, false)]
fn what_runs_on_nobodys_word(
    #[case] policy: Value,
    #[case] occasion: Occasion,
    #[case] how: How,
    #[case] drift: bool,
    #[case] would_refuse: bool,
) {
    let mut kept = Kept::installed().with(&policy);
    let noted = kept.sees(&version(2), occasion);
    assert_eq!(kept.tells()[0], (how, SEEN));
    assert_eq!(noted.drift, drift.then(|| template(&version(2)).digest().unwrap()));
    assert_eq!(kept.status.entries[0].would_refuse, would_refuse);
    assert_eq!(kept.may_go_back_to(&version(2)), how == How::Baseline);
    // It is told once, and stays what it is.
    let again = kept.sees(&version(2), Occasion::Change);
    assert_eq!((kept.tells().len(), again.drift.is_some()), (2, drift));
}

#[test]
fn from_warn_to_deny_what_runs_becomes_the_baseline_and_drift_does_not() {
    let mut kept = Kept::installed().with(&json!({"enforcement": {"rollouts": "Warn"}}));
    kept.sees(&version(2), Occasion::Change);
    kept = kept.with(&json!({}));
    kept.looks(&version(2), Occasion::Baseline);
    assert_eq!(kept.tells()[0], (How::Baseline, SEEN));
    assert!(kept.may_go_back_to(&version(2)) && !kept.status.entries[0].would_refuse);
    let mut drifted = Kept::installed();
    drifted.sees(&version(2), Occasion::Change);
    assert!(drifted.looks(&version(2), Occasion::Baseline).drift.is_some());
    assert!(!drifted.may_go_back_to(&version(2)));
}

#[test]
fn what_comes_into_being_is_judged_as_a_creation() {
    let warned = json!({"enforcement": {"creations": "Warn"}});
    let mut kept = Kept::new().with(&warned);
    assert_eq!(kept.sees(&version(1), Occasion::Change).drift, None);
    assert_eq!((kept.tells()[0].0, kept.status.entries[0].would_refuse), (How::Unreviewed, true));
    assert!(kept.sees(&version(2), Occasion::Change).drift.is_some());
    kept.uid = uid(2);
    assert_eq!(kept.sees(&version(3), Occasion::Change).drift, None);
}

#[test]
fn what_drifted_is_adopted_by_a_change() {
    let mut kept = Kept::installed();
    assert!(kept.sees(&version(2), Occasion::Change).drift.is_some());
    kept.promises("shop/adopt", &version(2));
    let noted = kept.looks(&version(2), Occasion::Change);
    assert_eq!((noted.drift, kept.tells()[0]), (None, (How::Change, SEEN)));
    assert!(kept.may_go_back_to(&version(2)));
}

#[test]
fn free_changes_keep_the_word_they_came_with_and_push_nothing_out() {
    let free = json!({"freeChanges": [{"annotation": "checksum/config"}]});
    let mut kept = Kept::installed().with(&free);
    for n in 2..5 {
        kept.promises(&format!("shop/web-{n}"), &version(n));
        kept.sees(&version(n), Occasion::Change);
    }
    for checksum in 0..100 {
        let mut value = version(4);
        value["metadata"]["annotations"]["checksum/config"] = json!(checksum.to_string());
        let noted = kept.sees(&value, Occasion::Change);
        assert_eq!((noted.drift, kept.tells()[0]), (None, (How::Change, SEEN)));
    }
    assert!(kept.status.entries.len() <= 30);
    assert!((1..=3).all(|n| kept.may_go_back_to(&version(n))));
    let mut last = version(4);
    last["metadata"]["annotations"]["checksum/config"] = json!("99");
    assert!(kept.may_go_back_to(&last));
    // The same in what drifted stays drift.
    kept.sees(&version(9), Occasion::Change);
    let mut value = version(9);
    value["metadata"]["annotations"]["checksum/config"] = json!("x");
    assert!(kept.sees(&value, Occasion::Change).drift.is_some());
}

#[test]
fn delegations_and_standard_changes_are_told_as_such() {
    let account = json!({"namespace": "ops", "name": "operator"});
    let owner_kind = json!({"group": "example.org", "kind": "Shop"});
    let target = json!({"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web"});
    let policy = json!({
        "delegations": [{"serviceAccount": account, "ownerKind": owner_kind, "may": ["Roll"]}],
        "standardChanges": [{
            "targets": [target], "imagePattern": "registry.example.org/*", "actors": [{"username": "bot"}],
        }],
    });
    let mut kept = Kept::installed().with(&policy);
    assert_eq!(kept.sees(&version(2), Occasion::Change).drift, None);
    assert_eq!(kept.tells()[0].0, How::Standard);
    let evil = web("evil.example.org/web:2", "registry.example.org/log:1", "info");
    assert!(kept.clone().sees(&evil, Occasion::Change).drift.is_some());
    kept.controller = Some(Controller { group: "example.org".into(), kind: "Shop".into(), name: "main".into() });
    assert_eq!(kept.sees(&evil, Occasion::Change).drift, None);
    assert_eq!(kept.tells()[0].0, How::Delegated);
}

#[derive(Clone, Debug)]
enum Step {
    Promise(u32),
    Withdraw(u32),
    See(u32),
    Look,
}

proptest! {
    /// Whatever happens: bounded; nothing that was never promised, nor there at first, is ever vouched for; and what
    /// runs on nobody's word is drift.
    #[test]
    fn only_what_was_authorised_is_vouched_for(
        steps in proptest::collection::vec(prop_oneof![
            2 => (2..9_u32).prop_map(Step::Promise),
            1 => (2..9_u32).prop_map(Step::Withdraw),
            4 => (1..9_u32).prop_map(Step::See),
            1 => Just(Step::Look),
        ], 1..60),
    ) {
        let mut kept = Kept::installed();
        let mut promised = std::collections::BTreeSet::from([1]);
        let mut current = 1;
        for step in steps {
            match step {
                Step::Promise(n) => {
                    kept.promises(&format!("shop/web-{n}"), &version(n));
                    promised.insert(n);
                }
                Step::Withdraw(n) => kept.status = unpromised(&kept.status, &format!("shop/web-{n}")),
                Step::See(n) => {
                    current = n;
                    let noted = kept.sees(&version(n), Occasion::Change);
                    prop_assert!(promised.contains(&n) || noted.drift.is_some());
                    prop_assert_eq!(noted.drift.is_none(), kept.may_go_back_to(&version(n)));
                }
                Step::Look => drop(kept.looks(&version(current), Occasion::Change)),
            }
            prop_assert!(kept.status.entries.len() <= 30);
            for n in (1..9).filter(|n| !promised.contains(n)) {
                prop_assert!(!kept.may_go_back_to(&version(n)), "{}", n);
            }
        }
    }
}
