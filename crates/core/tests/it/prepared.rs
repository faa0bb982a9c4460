//! Between the sign-off and the deletion: shut down first (promise 2), and the data kept (promise 3), with everything put
//! back that was changed for a deletion which did not come.

use foureyes_core::api::{Afterwards, Phase, RetentionWish, Says};
use foureyes_core::domain::inventory::{Inventory, Reclaim, Volume};
use foureyes_core::domain::kept::SLOWEST_DELETION;
use foureyes_core::domain::lifecycle::{Plan, TargetState};
use foureyes_core::domain::quiet::Usage;
use foureyes_core::reason::Code;
use jiff::SignedDuration;
use rstest::rstest;

use crate::support::{DAY, HOUR, Scene, USE_CLOCK, at, claim, named, policies, second, volume};

fn signed_off() -> Scene {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.reconciled(TargetState::Live, 1);
    scene.approves(&named("bob"), 10);
    scene
}

fn running(pods: &[&str]) -> Usage {
    Usage { running: pods.iter().map(|pod| (*pod).to_owned()).collect(), ..Usage::default() }
}

fn idle(seconds: i64) -> Usage {
    Usage { idle: Some(SignedDuration::from_secs(seconds)), ..Usage::default() }
}

/// The claim and its volume, which goes with it unless `reclaim` is Retain.
fn lost_with(reclaim: Reclaim) -> Inventory {
    Inventory::of([(&claim(1), Some(&Volume { reclaim, kept_claim: None, ..volume(1) }))])
}

fn is(plan: &Plan) -> (Phase, &str) {
    (plan.status.phase.unwrap(), plan.status.waiting_for.as_deref().unwrap_or_default())
}

fn condition<'a>(plan: &'a Plan, kind: &str) -> (&'a str, &'a str) {
    let condition = plan.status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    (&condition.status, &condition.reason)
}

#[test]
fn what_is_in_use_is_named_and_is_not_deleted() {
    let mut scene = signed_off();
    scene.usage = running(&["db-0", "db-1"]);
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(is(&plan), (Phase::Quiescing, "the end of pods db-0, db-1"));
    assert_eq!(condition(&plan, "Quiet"), ("False", "InUse"));
    assert_eq!(condition(&plan, "Approved").0, "True");
    assert_eq!(plan.status.usable_from, None);
    let refusal = scene.confirmed(&named("alice"), 21).unwrap_err();
    assert_eq!(refusal.code, Code::NotYetExecutable);
    assert!(refusal.sentence.contains("pods db-0, db-1 still run"), "{}", refusal.sentence);
}

#[test]
fn the_second_clock_starts_when_it_has_been_quiet_for_long_enough() {
    let mut scene = signed_off();
    scene.usage = idle(HOUR);
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(is(&plan), (Phase::Quiescing, "it to stay unused for 24h"));
    assert_eq!(plan.look_again, Some(at(20 + 15 * 60)), "what was counted is written down");
    let refusal = scene.confirmed(&named("alice"), 21).unwrap_err();
    assert!(refusal.sentence.contains("about 23h more (of 24h)"), "{}", refusal.sentence);

    scene.usage = idle(DAY);
    let plan = scene.reconciled(TargetState::Live, 20 + 23 * HOUR);
    assert_eq!(is(&plan).0, Phase::Executable);
    assert_eq!(plan.status.usable_from.as_ref().map(second), Some(20 + 23 * HOUR));
    assert_eq!(condition(&plan, "Quiet"), ("True", "Unused"));
    assert!(scene.confirmed(&named("alice"), 20 + 23 * HOUR + 1).is_ok());
}

#[test]
fn what_starts_again_has_to_be_quiet_again_and_gains_no_time() {
    let mut scene = signed_off();
    let before = scene.reconciled(TargetState::Live, 20).status;
    assert_eq!(before.phase, Some(Phase::Executable));
    scene.usage = running(&["db-0"]);
    let plan = scene.reconciled(TargetState::Live, 30);
    assert_eq!(is(&plan), (Phase::Quiescing, "the end of pod db-0"));
    assert!(scene.confirmed(&named("alice"), 31).unwrap_err().sentence.contains("pod db-0 still runs"));
    scene.usage = idle(DAY);
    let plan = scene.reconciled(TargetState::Live, 40);
    assert_eq!((plan.status.usable_from, plan.status.valid_until), (before.usable_from, before.valid_until));
    assert!(scene.confirmed(&named("alice"), 41).is_ok());
    scene.usage = running(&["db-0"]);
    assert_eq!(is(&scene.reconciled(TargetState::Live, 20 + USE_CLOCK + 1)).0, Phase::Expired);
}

#[test]
fn the_policy_says_how_long() {
    let mut scene = signed_off();
    scene.policies = policies(&[("default", serde_json::json!({"deletion": {"quietPeriod": "10s"}}))]);
    scene.usage = idle(9);
    assert_eq!(is(&scene.reconciled(TargetState::Live, 20)), (Phase::Quiescing, "it to stay unused for 10s"));
    scene.usage = idle(10);
    assert_eq!(is(&scene.reconciled(TargetState::Live, 21)).0, Phase::Executable);
}

#[test]
fn nothing_is_changed_before_it_was_signed_off_and_nothing_while_it_is_on_hold() {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.live = lost_with(Reclaim::Delete);
    let pending = scene.reconciled(TargetState::Live, 1);
    assert!(pending.keep.is_empty() && pending.status.protections.is_empty());
    scene.approves(&named("bob"), 10);
    scene.says(&named("carol"), Says::Hold, 11);
    let held = scene.reconciled(TargetState::Live, 12);
    assert!(held.keep.is_empty() && held.status.protections.is_empty());
}

#[test]
fn a_volume_is_kept_before_it_can_be_executed_and_what_it_was_is_written_down_first() {
    let mut scene = signed_off();
    scene.live = lost_with(Reclaim::Delete);
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(is(&plan), (Phase::Approved, "1 volume to be put on Retain"));
    assert_eq!(condition(&plan, "DataKept"), ("False", "NotKept"));
    let [protection] = &plan.status.protections[..] else { panic!("{:?}", plan.status.protections) };
    assert_eq!((protection.before.as_str(), protection.after.as_str()), ("Delete", "Retain"));
    assert_eq!((&*plan.keep[0].volume, &*plan.keep[0].claim), ("pv-1", "data-1"));
    assert!(scene.confirmed(&named("alice"), 21).unwrap_err().sentence.contains("1 volume to be put on Retain"));

    // It refuses the patch: nothing is written anew, and it is tried again.
    let again = scene.decided(TargetState::Live, 25);
    assert_eq!((&again.status, again.keep.len()), (&plan.status, 1));

    scene.live = Inventory::of([(&claim(1), Some(&volume(1)))]);
    let plan = scene.reconciled(TargetState::Live, 30);
    assert_eq!((is(&plan).0, plan.keep.len()), (Phase::Executable, 0));
    assert_eq!(condition(&plan, "DataKept"), ("True", "Kept"));
    assert_eq!(plan.status.protections[0].before, "Delete");
    assert!(scene.confirmed(&named("alice"), 31).is_ok());

    // Somebody puts it back: the guard sees it before the controller does.
    scene.live = lost_with(Reclaim::Delete);
    let refusal = scene.confirmed(&named("alice"), 32).unwrap_err();
    assert!(refusal.sentence.contains("pv-1 is not on Retain"), "{}", refusal.sentence);
}

#[test]
fn what_came_after_the_sign_off_is_not_touched() {
    let mut scene = signed_off();
    scene.reconciled(TargetState::Live, 20);
    let later = Volume { reclaim: Reclaim::Delete, ..volume(2) };
    scene.live = Inventory::of([(&claim(1), Some(&volume(1))), (&claim(2), Some(&later))]);
    let plan = scene.reconciled(TargetState::Live, 30);
    assert!(plan.keep.is_empty() && plan.status.protections.is_empty());
    assert_eq!(is(&plan).0, Phase::Executable);
}

#[test]
fn a_volume_that_outlives_its_claim_anyway_gets_the_note_that_brings_it_back_and_nothing_to_put_back() {
    let mut scene = signed_off();
    scene.live = lost_with(Reclaim::Retain);
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!((is(&plan).0, plan.keep.len(), plan.status.protections.len()), (Phase::Approved, 1, 0));
}

/// Kept and executable; then it ends otherwise.
fn ended(by: &str) -> Scene {
    let mut scene = signed_off();
    scene.live = lost_with(Reclaim::Delete);
    scene.reconciled(TargetState::Live, 20);
    scene.live = Inventory::of([(&claim(1), Some(&volume(1)))]);
    scene.reconciled(TargetState::Live, 30);
    match by {
        "reject" => scene.says(&named("carol"), Says::Reject, 40),
        "cancel" => scene.says(&named("alice"), Says::Cancel, 40),
        _ => {}
    }
    let now = if by == "clock" { 30 + USE_CLOCK + 1 } else { 50 };
    let plan = scene.reconciled(TargetState::Live, now);
    assert!(plan.status.phase.unwrap().is_ended() && plan.put_back.is_empty());
    assert_eq!(plan.status.ended_at.as_ref().map(second), Some(now));
    assert_eq!(plan.look_again, Some(at(now) + SLOWEST_DELETION));
    scene
}

#[rstest]
#[case("reject")]
#[case("cancel")]
#[case("clock")]
fn what_was_changed_is_put_back_after_the_slowest_deletion(#[case] by: &str) {
    let mut scene = ended(by);
    let due = second(scene.request.status.as_ref().unwrap().ended_at.as_ref().unwrap()) + SLOWEST_DELETION.as_secs();
    assert!(scene.reconciled(TargetState::Live, due - 1).put_back.is_empty());
    let plan = scene.reconciled(TargetState::Live, due);
    assert_eq!(plan.put_back.len(), 1);
    assert!(plan.status.is_unsettled(), "it is done with once it is seen to be as it was");
    scene.live = lost_with(Reclaim::Delete);
    let plan = scene.reconciled(TargetState::Live, due + 5);
    assert!(plan.put_back.is_empty() && !plan.status.is_unsettled());
}

#[test]
fn nothing_is_put_back_under_what_is_going_or_gone_or_asked_for_elsewhere() {
    let late = 10_000;
    let mut going = ended("cancel");
    let plan = going.reconciled(TargetState::Going(at(55)), late);
    assert!(plan.put_back.is_empty() && plan.status.is_unsettled());
    let plan = going.reconciled(TargetState::Gone, late + 1);
    assert!(plan.put_back.is_empty() && !plan.status.is_unsettled(), "it stays on Retain for good");

    let mut elsewhere = ended("cancel");
    elsewhere.asked_elsewhere = true;
    let plan = elsewhere.reconciled(TargetState::Live, late);
    assert!(plan.put_back.is_empty() && plan.status.is_unsettled());
    elsewhere.asked_elsewhere = false;
    assert_eq!(elsewhere.reconciled(TargetState::Live, late + 1).put_back.len(), 1);
}

#[test]
fn somebody_elses_change_is_left_alone() {
    let mut scene = ended("cancel");
    scene.live = lost_with(Reclaim::Recycle);
    let plan = scene.reconciled(TargetState::Live, 10_000);
    assert!(plan.put_back.is_empty() && !plan.status.is_unsettled());
}

fn executed(scene: &mut Scene) -> Plan {
    scene.reconciled(TargetState::Live, 20);
    scene.reconciled(TargetState::Going(at(25)), 26);
    scene.outlived = vec![volume(1)];
    scene.reconciled(TargetState::Gone, 30)
}

#[test]
fn what_outlived_a_deletion_is_held_for_as_long_as_the_policy_says() {
    let mut scene = signed_off();
    let plan = executed(&mut scene);
    assert_eq!(plan.status.backup_retention.as_deref(), Some("del-1"));
    let held = plan.retention.unwrap();
    let source = held.source.unwrap();
    assert_eq!((source.request.as_deref(), second(&source.deleted_at)), (Some("del-1"), 30));
    assert_eq!((held.retain_days, held.afterwards), (30, Afterwards::Keep));
    assert_eq!(held.keepers[0].uid, &*volume(1).uid);
    assert!(scene.reconciled(TargetState::Gone, 40).retention.is_none(), "once");
}

#[rstest]
#[case(Some(90), 90)]
#[case(None, 30)]
fn a_wish_prolongs_it(#[case] days: Option<i32>, #[case] held: i32) {
    let mut scene = Scene::of_claim(None);
    scene.request.spec.retention = Some(RetentionWish { days, afterwards: Some(Afterwards::Purge), exception: false });
    scene.reconciled(TargetState::Live, 1);
    scene.approves(&named("bob"), 10);
    scene.approves(&named("carol"), 11);
    let retention = executed(&mut scene).retention.unwrap();
    assert_eq!((retention.retain_days, retention.afterwards), (held, Afterwards::Purge));
}

#[test]
fn what_went_without_its_request_is_held_too() {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.reconciled(TargetState::Live, 1);
    scene.outlived = vec![volume(1)];
    let plan = scene.reconciled(TargetState::Gone, 5);
    assert_eq!(plan.status.phase, Some(Phase::Cancelled));
    assert!(plan.retention.is_some());
    assert!(Scene::of_claim(None).decided(TargetState::Gone, 5).retention.is_none(), "nothing outlived it");
}

/// It is created again with them.
#[test]
fn the_labels_of_a_namespace_are_those_it_had_when_it_went() {
    let labels = |team: &str| [("team".to_owned(), team.to_owned())].into();
    let mut scene = Scene::of_namespace(Some(&named("alice")));
    scene.labels = labels("web");
    scene.reconciled(TargetState::Live, 1);
    scene.approves(&named("bob"), 10);
    scene.labels = labels("shop");
    assert_eq!(scene.reconciled(TargetState::Live, 20).status.namespace_labels, labels("shop"));
    scene.labels = labels("somebody else");
    scene.reconciled(TargetState::Going(at(30)), 31);
    assert_eq!(scene.reconciled(TargetState::Gone, 40).status.namespace_labels, labels("shop"));
    // A claim has labels of its own, which its volume carries.
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.labels = labels("web");
    assert!(scene.reconciled(TargetState::Live, 1).status.namespace_labels.is_empty());
}
