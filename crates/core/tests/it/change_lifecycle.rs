//! Where a change stands: by what people said, by its clocks, and by what really ran.

use std::collections::BTreeMap;

use foureyes_core::api::{ChangePhase, Says, TargetOutcome};
use foureyes_core::domain::change_lifecycle::{Live, Observed, Plan, decide};
use foureyes_core::domain::rollout::progress::Progress;
use rstest::rstest;
use serde_json::{Value, json};

use crate::changes::{Rollout, by_digest, by_images, change, change_of, removal, version};
use crate::support::{APPROVAL_CLOCK, DAY, HOUR, at, named, second, time};
use crate::templates::template;

fn live(value: &Value, progress: Progress) -> Live {
    let template = template(value);
    Live { digest: template.digest().unwrap(), images: template.images(), progress, by: Some("argocd".to_owned()) }
}

fn decided(rollout: &Rollout, targets: &[Option<Live>], second: i64) -> Plan {
    let plan = rollout.with_evidence(|evidence| {
        let evidence = foureyes_core::domain::change::Evidence { ..*evidence };
        decide(&Observed { evidence, targets }, at(second)).unwrap()
    });
    plan.unwrap()
}

/// The controller decides and writes.
fn reconciled(rollout: &mut Rollout, targets: &[Option<Live>], second: i64) -> Plan {
    let plan = decided(rollout, targets, second);
    rollout.request.as_mut().unwrap().status = Some(plan.status.clone());
    plan
}

fn phase(plan: &Plan) -> ChangePhase {
    plan.status.phase.unwrap()
}

fn asked(targets: &[Value]) -> Rollout {
    Rollout::of(Some(change("Normal", targets, Some(&named("alice")))))
}

fn runs(n: u32) -> Vec<Option<Live>> {
    vec![Some(live(&version(n), Progress::Complete))]
}

#[test]
fn from_asked_to_rolled_out() {
    let mut rollout = asked(&[by_digest(&version(2))]);
    let plan = reconciled(&mut rollout, &runs(1), 1);
    assert_eq!(phase(&plan), ChangePhase::Pending);
    assert_eq!(plan.status.waiting_for.as_deref(), Some("sign-off by 1 person"));
    assert_eq!(plan.status.sign_offs.as_ref().unwrap().text, "0/1");
    assert!(plan.status.sign_off_command.is_some() && !plan.promises);
    assert_eq!(plan.look_again, Some(at(APPROVAL_CLOCK)));

    rollout = rollout.approved_by(&named("bob"), 10);
    let plan = reconciled(&mut rollout, &runs(1), 20);
    assert_eq!(phase(&plan), ChangePhase::Approved);
    assert!(plan.promises && plan.status.sign_off_command.is_none());
    assert_eq!(plan.look_again, Some(at(10 + DAY)));
    let target = &plan.status.targets[0];
    assert_eq!(target.previous_digest, Some(template(&version(1)).digest().unwrap()));
    assert_eq!(target.outcome, Some(TargetOutcome::Waiting));

    let plan = reconciled(&mut rollout, &[Some(live(&version(2), Progress::Running))], 30);
    assert_eq!(phase(&plan), ChangePhase::InProgress);
    let target = &plan.status.targets[0];
    assert_eq!(target.applied_digest, Some(template(&version(2)).digest().unwrap()));
    assert_eq!((target.applied_by.as_deref(), target.applied_at.clone()), (Some("argocd"), Some(time(30))));
    assert_eq!(target.previous_digest, Some(template(&version(1)).digest().unwrap()));

    // Work that was begun may finish, whatever the clock says.
    let plan = reconciled(&mut rollout, &runs(2), 3 * DAY);
    assert_eq!(phase(&plan), ChangePhase::Succeeded);
    assert_eq!(plan.look_again, None);
    // Ended is ended, whatever runs later.
    let plan = reconciled(&mut rollout, &runs(1), 4 * DAY);
    assert_eq!((phase(&plan), plan.events.len()), (ChangePhase::Succeeded, 0));
}

/// What an applied target becomes, and how the change ends by it.
#[rstest]
#[case(Some(live(&version(2), Progress::Complete)), TargetOutcome::Succeeded, ChangePhase::Succeeded)]
#[case(Some(live(&version(2), Progress::Failed("deadline".to_owned()))), TargetOutcome::Failed, ChangePhase::Failed)]
#[case(Some(live(&version(1), Progress::Complete)), TargetOutcome::RolledBack, ChangePhase::RolledBack)]
#[case(Some(live(&version(3), Progress::Complete)), TargetOutcome::Replaced, ChangePhase::Failed)]
#[case(None, TargetOutcome::Replaced, ChangePhase::Failed)]
#[case(Some(live(&version(2), Progress::Running)), TargetOutcome::Applying, ChangePhase::InProgress)]
fn what_ran_decides_how_it_ends(
    #[case] then: Option<Live>,
    #[case] outcome: TargetOutcome,
    #[case] expected: ChangePhase,
) {
    let mut rollout = asked(&[by_digest(&version(2))]).approved_by(&named("bob"), 10);
    reconciled(&mut rollout, &runs(1), 20);
    reconciled(&mut rollout, &[Some(live(&version(2), Progress::Running))], 30);
    let plan = reconciled(&mut rollout, &[then], 40);
    assert_eq!((plan.status.targets[0].outcome, phase(&plan)), (Some(outcome), expected));
}

#[test]
fn each_target_has_its_own_outcome() {
    let mut other = by_digest(&version(5));
    other["name"] = json!("other");
    let mut rollout = asked(&[by_digest(&version(2)), other]).approved_by(&named("bob"), 10);
    let (one, five) = (Some(live(&version(1), Progress::Complete)), Some(live(&version(5), Progress::Complete)));
    reconciled(&mut rollout, &[one.clone(), one.clone()], 20);
    let two = Some(live(&version(2), Progress::Complete));
    let plan = reconciled(&mut rollout, &[two.clone(), one.clone()], 30);
    assert_eq!(phase(&plan), ChangePhase::InProgress);
    assert_eq!(plan.status.waiting_for.as_deref(), Some("deployment/other to be applied"));
    // What was not applied in time fails the change; what was applied stays as it is.
    let late = decided(&rollout, &[two.clone(), one], 2 * DAY);
    assert_eq!(phase(&late), ChangePhase::Failed);
    assert_eq!(late.status.targets[0].outcome, Some(TargetOutcome::Succeeded));
    assert_eq!(phase(&decided(&rollout, &[two, five], 40)), ChangePhase::Succeeded);
}

#[test]
fn named_images_and_removals_arrive_by_what_is_there() {
    let images = by_images(&json!({"web": "registry.example.org/web:2"}));
    let mut rollout = asked(&[images]).approved_by(&named("bob"), 10);
    assert_eq!(phase(&reconciled(&mut rollout, &runs(1), 20)), ChangePhase::Approved);
    assert_eq!(phase(&reconciled(&mut rollout, &runs(2), 30)), ChangePhase::Succeeded);
    let mut gone = asked(&[removal()]).approved_by(&named("bob"), 10);
    assert_eq!(phase(&reconciled(&mut gone, &runs(1), 20)), ChangePhase::Approved);
    assert_eq!(phase(&reconciled(&mut gone, &[None], 30)), ChangePhase::Succeeded);
}

/// What runs although nobody has signed it off is no use of the request.
#[test]
fn nothing_is_used_before_it_may_be() {
    let mut rollout = asked(&[by_digest(&version(2))]);
    let plan = reconciled(&mut rollout, &runs(2), 5);
    assert_eq!((phase(&plan), plan.status.targets[0].applied_at.clone()), (ChangePhase::Pending, None));
    let mut held = rollout.clone().approved_by(&named("bob"), 10);
    held.says(&named("carol"), Says::Hold, 11);
    let plan = reconciled(&mut held, &runs(2), 20);
    assert_eq!(phase(&plan), ChangePhase::Approved);
    assert_eq!(plan.status.waiting_for.as_deref(), Some("the question of carol (hold)"));
    // Signed off, it is adopted.
    let mut adopted = rollout.approved_by(&named("bob"), 10);
    assert_eq!(phase(&reconciled(&mut adopted, &runs(2), 20)), ChangePhase::Succeeded);
}

#[test]
fn a_controller_that_was_away_sees_what_was_done_in_time() {
    let mut rollout = asked(&[by_digest(&version(2))]).approved_by(&named("bob"), 10);
    reconciled(&mut rollout, &runs(1), 20);
    assert_eq!(phase(&decided(&rollout, &runs(2), 5 * DAY)), ChangePhase::Succeeded);
    assert_eq!(phase(&decided(&rollout, &runs(1), 5 * DAY)), ChangePhase::Expired);
    let mut rejected = rollout;
    rejected.says(&named("carol"), Says::Reject, 30);
    assert_eq!(phase(&decided(&rejected, &runs(2), 5 * DAY)), ChangePhase::Rejected);
}

/// Seen at once from asked to done: the record has to know on whose word it ran.
#[test]
fn what_was_used_is_promised_even_where_all_is_over_when_it_is_first_seen() {
    let rollout = asked(&[by_digest(&version(2))]).approved_by(&named("bob"), 10);
    let plan = decided(&rollout, &runs(2), 20);
    assert_eq!((phase(&plan), plan.promises), (ChangePhase::Succeeded, true));
    let unused = decided(&rollout, &runs(1), 2 * DAY);
    assert_eq!((phase(&unused), unused.promises), (ChangePhase::Expired, false));
    let mut rejected = rollout;
    rejected.says(&named("carol"), Says::Reject, 15);
    assert!(!decided(&rejected, &runs(2), 20).promises);
}

#[rstest]
#[case(Says::Reject, "bob", ChangePhase::Rejected)]
#[case(Says::Cancel, "alice", ChangePhase::Cancelled)]
#[case(Says::Cancel, "bob", ChangePhase::Pending)]
fn somebody_ends_it(#[case] says: Says, #[case] who: &str, #[case] expected: ChangePhase) {
    let mut rollout = asked(&[by_digest(&version(2))]);
    rollout.says(&named(who), says, 10);
    assert_eq!(phase(&decided(&rollout, &runs(1), 20)), expected);
}

#[test]
fn both_clocks_are_terminal() {
    let rollout = asked(&[by_digest(&version(2))]);
    assert_eq!(phase(&decided(&rollout, &runs(1), APPROVAL_CLOCK)), ChangePhase::Pending);
    assert_eq!(phase(&decided(&rollout, &runs(1), APPROVAL_CLOCK + 1)), ChangePhase::Expired);
    let mut rollout = rollout.approved_by(&named("bob"), 10);
    reconciled(&mut rollout, &runs(1), 20);
    assert_eq!(phase(&decided(&rollout, &runs(1), 10 + DAY)), ChangePhase::Approved);
    assert_eq!(phase(&decided(&rollout, &runs(1), 11 + DAY)), ChangePhase::Expired);
    // Nor does a new approval wind the second one up again.
    rollout.sign_offs.clear();
    let again = rollout.approved_by(&named("carol"), DAY);
    assert_eq!(phase(&decided(&again, &runs(1), 11 + DAY)), ChangePhase::Expired);
}

#[test]
fn before_its_window_it_is_scheduled() {
    let window = json!({"start": time(2 * DAY), "end": time(2 * DAY + HOUR)});
    let spec = json!({"type": "Normal", "title": "t", "targets": [by_digest(&version(2))], "window": window});
    let request = change_of("shop", serde_json::from_value(spec).unwrap(), Some(&named("alice")));
    let mut rollout = Rollout::of(Some(request)).approved_by(&named("bob"), 10);
    let plan = reconciled(&mut rollout, &runs(1), 20);
    assert_eq!((phase(&plan), plan.look_again), (ChangePhase::Scheduled, Some(at(2 * DAY))));
    assert_eq!(second(plan.status.usable_from.as_ref().unwrap()), 2 * DAY);
    assert!(!plan.promises);
    assert_eq!(phase(&decided(&rollout, &runs(1), 2 * DAY)), ChangePhase::Approved);
    assert_eq!(phase(&decided(&rollout, &runs(1), 2 * DAY + HOUR + 1)), ChangePhase::Expired);
}

#[test]
fn an_emergency_leaves_a_bill_once_it_was_used() {
    let owed = |plan: &Plan| plan.status.conditions.iter().any(|one| one.type_ == "ReviewOwed" && one.status == "True");
    let mut rollout = Rollout::of(Some(change("Emergency", &[by_digest(&version(2))], Some(&named("dave")))));
    rollout.may_expedite = vec!["dave".to_owned()];
    let plan = reconciled(&mut rollout, &runs(1), 1);
    assert_eq!((phase(&plan), owed(&plan)), (ChangePhase::Approved, false));
    let unused = decided(&rollout, &runs(1), DAY);
    assert_eq!((phase(&unused), owed(&unused)), (ChangePhase::Expired, false));
    let plan = reconciled(&mut rollout, &[Some(live(&version(2), Progress::Running))], 2);
    assert!(owed(&plan));
    // The bill stays, whoever loses the right or signs off afterwards.
    rollout.may_expedite.clear();
    let plan = reconciled(&mut rollout.approved_by(&named("bob"), 3), &runs(2), 4);
    assert_eq!((phase(&plan), owed(&plan)), (ChangePhase::Succeeded, true));
    let unauthorized = Rollout::of(Some(change("Unauthorized", &[by_digest(&version(2))], None)));
    let plan = decided(&unauthorized, &runs(2), 1);
    assert_eq!((phase(&plan), owed(&plan)), (ChangePhase::Pending, true));
    assert_eq!(plan.status.sign_offs.unwrap().text, "0/2");
    // Rolled back, or gone, there is nothing to adopt; the bill stays.
    for now in [runs(1), vec![None]] {
        let plan = decided(&unauthorized, &now, 1);
        assert_eq!((phase(&plan), owed(&plan)), (ChangePhase::RolledBack, true));
    }
    let adopted = unauthorized.approved_by(&named("bob"), 2).approved_by(&named("carol"), 3);
    assert_eq!(phase(&decided(&adopted, &runs(2), 4)), ChangePhase::Succeeded);
}

#[test]
fn nothing_is_written_when_nothing_happened() {
    let mut rollout = asked(&[by_digest(&version(2))]).approved_by(&named("bob"), 10);
    let first = reconciled(&mut rollout, &runs(1), 20);
    let again = decided(&rollout, &runs(1), 30);
    assert_eq!(again.status, first.status);
    assert_eq!(again.events, []);
    assert_eq!(first.events.len(), 1);
    assert_eq!(BTreeMap::from([("phase", "Approved")])["phase"], first.events[0].reason);
}
