//! One look at a workload's record, with changes that promise, are withdrawn, are used and end.

use std::collections::BTreeMap;

use foureyes_core::api::{ChangePhase, How, RolloutRecordStatus, Says, SeenOutcome};
use foureyes_core::domain::change::Evidence;
use foureyes_core::domain::change_lifecycle::{Live, Observed, Plan, decide};
use foureyes_core::domain::rollout::keeping::{Over, Word, kept, promised_template};
use foureyes_core::domain::rollout::progress::Progress;
use foureyes_core::domain::rollout::record::{Noted, Occasion, Place, Seen};
use serde_json::{Value, json};

use crate::changes::{OWN, Rollout, by_digest, by_images, change, version, web, workload};
use crate::support::{DAY, at, labels, named, uid};
use crate::templates::template;

/// A change and the record of its one target, kept by the same controller.
struct Kept {
    rollout: Rollout,
    record: RolloutRecordStatus,
    generation: i64,
}

impl Kept {
    /// Version 1 was there at installation.
    fn with(target: Value) -> Self {
        let rollout = Rollout::of(Some(change("Normal", &[target], Some(&named("alice")))));
        let mut kept = Self { rollout, record: RolloutRecordStatus::default(), generation: 1 };
        kept.looks(&[], &version(1), Occasion::Baseline, 0);
        kept
    }

    fn approved(mut self) -> Self {
        self.rollout = self.rollout.approved_by(&named("bob"), 10);
        self
    }

    fn decided(&self, value: &Value, second: i64) -> Plan {
        let template = template(value);
        let live = Live {
            digest: template.digest().unwrap(),
            images: template.images(),
            progress: Progress::Complete,
            by: None,
        };
        let decided = self.rollout.with_evidence(|evidence| {
            decide(&Observed { evidence: Evidence { ..*evidence }, targets: &[Some(live)] }, at(second)).unwrap()
        });
        decided.unwrap()
    }

    fn word(&self, plan: &Plan, value: &Value) -> Word {
        let request = self.rollout.request.as_ref().unwrap();
        let word = Word::of(request, &plan.status, plan.promises, &workload(), OWN);
        let promised = self.rollout.with_evidence(|evidence| {
            promised_template(evidence, &workload(), Some(&template(value)), &self.record).unwrap()
        });
        Word { template: promised.unwrap().filter(|_| plan.promises), ..word }
    }

    fn looks(&mut self, words: &[Word], value: &Value, occasion: Occasion, second: i64) -> Noted {
        let (policies, uid) = (&self.rollout.policies, uid(1));
        let effective = policies.effective(&labels(&[])).unwrap();
        let (template, workload) = (template(value), workload());
        let seen = Seen {
            uid: &uid,
            generation: self.generation,
            template: &template,
            image_ids: BTreeMap::new(),
            executor: None,
            controller: None,
        };
        let place = Place { workload: &workload, policies, effective: &effective };
        let noted = kept(&self.record, words, Some(&seen), &place, occasion, at(second)).unwrap();
        self.record = noted.status.clone();
        noted
    }

    /// The controller looks at both, the record first.
    fn reconciled(&mut self, value: &Value, second: i64) -> (Plan, Noted) {
        let plan = self.decided(value, second);
        let word = self.word(&plan, value);
        let noted = self.looks(&[word], value, Occasion::Change, second);
        self.rollout.request.as_mut().unwrap().status = Some(plan.status.clone());
        (plan, noted)
    }

    /// It rolls on.
    fn rolls(&mut self) {
        self.generation += 1;
    }

    fn tells(&self) -> Vec<(How, SeenOutcome)> {
        self.record.entries.iter().map(|entry| (entry.how, entry.outcome)).collect()
    }
}

const BASELINE: (How, SeenOutcome) = (How::Baseline, SeenOutcome::Seen);

#[test]
fn a_change_is_on_record_before_it_is_used_and_its_people_with_it() {
    let mut kept = Kept::with(by_digest(&version(2))).approved();
    kept.reconciled(&version(1), 20);
    assert_eq!(kept.tells(), [(How::Change, SeenOutcome::NotSeen), BASELINE]);
    kept.rolls();
    let (plan, noted) = kept.reconciled(&version(2), 30);
    assert_eq!((plan.status.phase, noted.drift), (Some(ChangePhase::Succeeded), None));
    assert_eq!(kept.tells(), [(How::Change, SeenOutcome::Seen), BASELINE]);
    let entry = &kept.record.entries[0];
    assert_eq!(entry.people, ["alice", "bob"]);
    assert_eq!(entry.change.as_deref(), Some("shop/web-2"));
}

/// The controller was away from the approval until all was over.
#[test]
fn what_was_approved_and_used_unseen_is_no_drift() {
    for target in [by_digest(&version(2)), by_images(&json!({"web": "registry.example.org/web:2"}))] {
        let mut kept = Kept::with(target).approved();
        kept.rolls();
        let (plan, noted) = kept.reconciled(&version(2), 30);
        assert_eq!((plan.status.phase, noted.drift), (Some(ChangePhase::Succeeded), None));
        assert_eq!(kept.tells(), [(How::Change, SeenOutcome::Seen), BASELINE]);
    }
}

#[test]
fn what_nobody_signed_off_is_drift_until_it_is_adopted() {
    let mut kept = Kept::with(by_digest(&version(2)));
    kept.rolls();
    assert!(kept.reconciled(&version(2), 5).1.drift.is_some());
    kept = kept.approved();
    assert_eq!(kept.reconciled(&version(2), 20).1.drift, None);
    assert_eq!(kept.tells()[0], (How::Change, SeenOutcome::Seen));
}

#[test]
fn what_was_taken_back_unused_is_no_excuse_and_what_was_used_stays() {
    let withdrawn = |kept: &mut Kept| kept.rollout.sign_offs.clear();
    let mut kept = Kept::with(by_digest(&version(2))).approved();
    kept.reconciled(&version(1), 20);
    withdrawn(&mut kept);
    kept.rolls();
    assert!(kept.reconciled(&version(2), 30).1.drift.is_some());

    let mut kept = Kept::with(by_digest(&version(2))).approved();
    kept.reconciled(&version(1), 20);
    kept.rollout.says(&named("carol"), Says::Hold, 21);
    kept.reconciled(&version(1), 22);
    assert_eq!(kept.tells(), [(How::Change, SeenOutcome::Unused), BASELINE]);
    kept.rollout.sign_offs.pop();
    kept.rolls();
    assert_eq!(kept.reconciled(&version(2), 30).1.drift, None);

    // Seen by the change first: it was used, whatever became of it then.
    let mut kept = Kept::with(by_digest(&version(2))).approved();
    kept.reconciled(&version(1), 20);
    let plan = kept.decided(&version(2), 30);
    kept.rollout.request.as_mut().unwrap().status = Some(plan.status);
    withdrawn(&mut kept);
    kept.rolls();
    let plan = kept.decided(&version(2), 31);
    assert_eq!(kept.word(&plan, &version(2)).over, Over::Used);
    assert_eq!(kept.reconciled(&version(2), 31).1.drift, None);
}

/// Two quick writes look as if it had run unseen. Withdrawn, it must not stay good for that.
#[test]
fn what_may_have_run_unseen_is_gone_back_to_while_somebody_stands_by_it() {
    let missed = || {
        let mut kept = Kept::with(by_digest(&version(2))).approved();
        kept.reconciled(&version(1), 20);
        kept.record.entries[0].outcome = SeenOutcome::Missed;
        kept
    };
    let mut kept = missed();
    kept.rollout.sign_offs.clear();
    kept.reconciled(&version(1), 30);
    assert_eq!(kept.tells(), [(How::Change, SeenOutcome::Unused), BASELINE]);
    let mut kept = missed();
    kept.rollout.says(&named("carol"), Says::Reject, 21);
    kept.reconciled(&version(1), 30);
    assert_eq!(kept.tells(), [(How::Change, SeenOutcome::Unused), BASELINE]);
    // Its clock is not for going back.
    let mut kept = missed();
    kept.reconciled(&version(1), 3 * DAY);
    assert_eq!(kept.tells(), [(How::Change, SeenOutcome::Missed), BASELINE]);
}

#[test]
fn what_ended_unused_is_good_for_nothing() {
    let mut kept = Kept::with(by_digest(&version(2))).approved();
    kept.reconciled(&version(1), 20);
    let (plan, _) = kept.reconciled(&version(1), 3 * DAY);
    assert_eq!(plan.status.phase, Some(ChangePhase::Expired));
    assert_eq!(kept.tells(), [(How::Change, SeenOutcome::Unused), BASELINE]);
    let gone = Word::of_none("shop/web-2".to_owned());
    kept.rolls();
    assert!(kept.looks(&[gone], &version(2), Occasion::Change, 3 * DAY + 1).drift.is_some());
}

#[test]
fn named_images_promise_what_they_are_exchanged_in_and_nothing_else() {
    let mut kept = Kept::with(by_images(&json!({"web": "registry.example.org/web:2"}))).approved();
    let promised = |kept: &Kept, value: &Value| {
        let plan = kept.decided(value, 20);
        kept.word(&plan, value).template
    };
    assert_eq!(promised(&kept, &version(1)), Some(template(&version(2)).digest().unwrap()));
    let other = web("registry.example.org/web:1", "registry.example.org/log:1", "debug");
    assert_eq!(promised(&kept, &other), None, "more than images differs from what was authorised");
    kept.rollout = kept.rollout.with(&json!({"pin": "Template"}));
    assert_eq!(promised(&kept, &version(1)), None, "the policy wants the whole template");
}
