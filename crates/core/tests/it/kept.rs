//! What outlives a deletion, and what does not: for fewer days than the policy demands only once somebody says that the
//! customer agreed, and what nothing can keep only by two approvals of a request that says so.

use foureyes_core::api::{Author, Phase, RetentionWish, Says};
use foureyes_core::domain::agreement::long_enough;
use foureyes_core::domain::inventory::{Inventory, Volume};
use foureyes_core::domain::lifecycle::{Plan, TargetState};
use foureyes_core::reason::Code;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use crate::scenario::{Scenario, may_go, scenario};
use crate::support::{
    HOUR, Scene, claim, claim_target, identities, named, policies, request, second, sign_off, subject_of, volume,
};

fn days(days: i32) -> RetentionWish {
    RetentionWish { days: Some(days), ..RetentionWish::default() }
}

fn exception() -> RetentionWish {
    RetentionWish { exception: true, ..RetentionWish::default() }
}

/// alice asks for a claim's deletion with this wish, where nothing may be kept for fewer than 7 days.
fn asked(wish: RetentionWish) -> Scene {
    let alice = named("alice");
    let mut scene = Scene::of_claim(Some(&alice)).wishing(Some(wish), Some(&alice));
    scene.policies = policies(&[("default", floor())]);
    scene.reconciled(TargetState::Live, 1);
    scene
}

fn floor() -> Value {
    json!({"identities": identities(), "deletion": {"minRetainDays": 7}})
}

fn is(plan: &Plan) -> (Phase, &str) {
    (plan.status.phase.unwrap(), plan.status.waiting_for.as_deref().unwrap_or_default())
}

/// Somebody says that the customer agreed to the current content.
fn agrees(scene: &mut Scene, author: &Author, second: i64) {
    let (digest, subject) = (scene.digest(), subject_of(&scene.request));
    let name = format!("so-{}-{second}", scene.sign_offs.len());
    let said = sign_off(&name, subject, Says::CustomerAgreed, Some(&digest), author, second);
    scene.sign_offs.push(said);
}

#[test]
fn fewer_days_wait_for_the_customer() {
    let mut scene = asked(days(10));
    scene.approves(&named("bob"), 10);
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(is(&plan), (Phase::Pending, "a sign-off CustomerAgreed to 10 days instead of 30"));
    assert_eq!(plan.status.retain_days, Some(30));
    let refusal = scene.confirmed(&named("eve"), 21).unwrap_err();
    assert_eq!(refusal.code, Code::SignOffMissing);
    assert!(refusal.next.unwrap().command.contains(r#""says":"CustomerAgreed""#));

    agrees(&mut scene, &named("carol"), 30);
    let plan = scene.reconciled(TargetState::Live, 40);
    assert_eq!((is(&plan).0, plan.status.retain_days), (Phase::Executable, Some(10)));
    assert!(scene.confirmed(&named("eve"), 41).is_ok());

    scene.withdraws(&named("carol"), Says::CustomerAgreed);
    assert_eq!(is(&scene.decided(TargetState::Live, 50)).0, Phase::Pending);
    assert_eq!(scene.confirmed(&named("eve"), 51).unwrap_err().code, Code::SignOffMissing);
}

/// Who may say it, and about what.
#[rstest]
#[case::requester("alice", true)]
#[case::approver("bob", true)]
#[case::machine("ci:deploy", false)]
#[case::shared("admin", false)]
#[case::nobody("mallory", false)]
fn a_person_with_a_right_says_it(#[case] who: &str, #[case] counts: bool) {
    let mut scene = asked(days(10));
    scene.without_rights = vec!["mallory".to_owned()];
    scene.approves(&named("bob"), 10);
    agrees(&mut scene, &named(who), 11);
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(is(&plan).0 == Phase::Executable, counts, "{:?}", plan.status.sign_offs);
}

#[test]
fn what_was_agreed_for_another_content_does_not_count_nor_does_it_stand_for_an_approval() {
    let mut scene = asked(days(10));
    agrees(&mut scene, &named("bob"), 10);
    agrees(&mut scene, &named("carol"), 11);
    assert_eq!(is(&scene.reconciled(TargetState::Live, 12)), (Phase::Pending, "sign-off by 1 person"));
    scene.live = crate::support::inventory([1, 2]);
    scene.reconciled(TargetState::Live, 13);
    scene.approves(&named("bob"), 14);
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(is(&plan), (Phase::Pending, "a sign-off CustomerAgreed to 10 days instead of 30"));
}

/// Asked for, agreed, held for: by what was agreed, and never for fewer days than the floor.
#[rstest]
#[case(10, true, 10)]
#[case(10, false, 30)]
#[case(7, true, 7)]
#[case(3, true, 7)]
#[case(90, false, 90)]
fn it_is_held_for_what_was_agreed(#[case] wish: i32, #[case] agreed: bool, #[case] held: i32) {
    let mut scene = asked(days(wish));
    scene.approves(&named("bob"), 10);
    if agreed {
        agrees(&mut scene, &named("carol"), 11);
    }
    scene.reconciled(TargetState::Live, 20);
    scene.outlived = vec![volume(1)];
    let plan = scene.reconciled(TargetState::Gone, 30);
    assert_eq!(plan.retention.map(|held| held.retain_days), Some(held));
}

/// A namespace takes with it what says which policies applied.
#[test]
fn a_namespace_that_is_gone_is_held_for_as_long_as_while_it_was_there() {
    let mut scene = Scene::of_namespace(Some(&named("alice")));
    scene.policies = policies(&[("default", json!({})), ("more", json!({"deletion": {"retainDays": 90}}))]);
    scene.reconciled(TargetState::Live, 1);
    scene.approves(&named("bob"), 10);
    scene.reconciled(TargetState::Live, 20);
    scene.reconciled(TargetState::Going(crate::support::at(25)), 26);
    scene.policies = policies(&[("default", json!({}))]);
    scene.outlived = vec![volume(1)];
    let plan = scene.reconciled(TargetState::Gone, 30);
    assert_eq!(plan.retention.map(|held| held.retain_days), Some(90));
    assert_eq!(plan.status.executed_at.as_ref().map(second), Some(30));
}

#[rstest]
#[case(json!({}), Some(29), false)]
#[case(json!({}), Some(30), true)]
#[case(json!({}), None, true)]
#[case(json!({"minRetainDays": 7}), Some(6), false)]
#[case(json!({"minRetainDays": 7}), Some(7), true)]
#[case(json!({"minRetainDays": 7, "retainDays": 5}), Some(5), true)]
#[case(json!({"minRetainDays": 40}), Some(30), true)]
fn nothing_is_asked_for_below_the_floor(#[case] deletion: Value, #[case] days: Option<i32>, #[case] taken: bool) {
    let set = policies(&[("default", json!({"deletion": deletion}))]);
    let effective = set.effective(&std::collections::BTreeMap::new()).unwrap();
    let mut asked = request("del-1", claim_target(), None);
    asked.spec.retention = Some(RetentionWish { days, ..RetentionWish::default() });
    let answer = long_enough(&asked, &effective);
    assert_eq!(answer.map_err(|refusal| refusal.code), if taken { Ok(()) } else { Err(Code::RetentionTooShort) });
}

/// A team's policy opens nothing that the floor does not open.
#[test]
fn only_the_floor_lets_anybody_ask_for_fewer_days() {
    let fewest = |written: &[(&str, Value)]| {
        policies(written).effective(&std::collections::BTreeMap::new()).unwrap().fewest_days()
    };
    let seven = || json!({"deletion": {"minRetainDays": 7}});
    assert_eq!(fewest(&[("default", json!({})), ("team", seven())]), 30);
    assert_eq!(fewest(&[("default", seven()), ("team", json!({}))]), 7);
    assert_eq!(fewest(&[("default", seven()), ("team", json!({"deletion": {"minRetainDays": 14}}))]), 14);
    assert_eq!(fewest(&[("default", json!({})), ("team", json!({"deletion": {"retainDays": 90}}))]), 90);
}

/// The claim and its volume, which is being deleted already.
fn lost() -> Inventory {
    Inventory::of([(&claim(1), Some(&Volume { going: true, ..volume(1) }))])
}

#[test]
fn what_nothing_can_keep_is_said_and_takes_an_exception() {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.live = lost();
    let pending = scene.reconciled(TargetState::Live, 1);
    let inventory = pending.status.inventory.unwrap();
    assert_eq!(inventory.summary, "1 claim, 1 volume; nothing can keep 1 volume");
    let why: Vec<_> = inventory.items.iter().filter_map(|item| item.not_kept.as_deref()).collect();
    assert_eq!(why, ["it is being deleted already, and goes with its claim"]);
    scene.approves(&named("bob"), 10);
    scene.approves(&named("carol"), 11);
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(is(&plan).0, Phase::Approved);
    assert!(is(&plan).1.starts_with("a request with retention.exception: nothing can keep pv-1"), "{:?}", is(&plan));
    let refusal = scene.confirmed(&named("eve"), 21).unwrap_err();
    assert_eq!(refusal.code, Code::DataNotKept);
    assert!(refusal.next.unwrap().command.contains(r#""retention":{"exception":true}"#));
}

#[test]
fn an_exception_takes_two_approvals_and_what_can_be_kept_is_kept_all_the_same() {
    let mut scene = asked(exception());
    let kept = Volume { reclaim: foureyes_core::domain::inventory::Reclaim::Delete, kept_claim: None, ..volume(2) };
    let with = |kept: &Volume| {
        Inventory::of([(&claim(1), Some(&Volume { going: true, ..volume(1) })), (&claim(2), Some(kept))])
    };
    scene.live = with(&kept);
    scene.reconciled(TargetState::Live, 2);
    scene.approves(&named("bob"), 10);
    assert_eq!(is(&scene.reconciled(TargetState::Live, 11)), (Phase::Pending, "sign-off by 1 person"));
    assert_eq!(scene.confirmed(&named("eve"), 12).unwrap_err().code, Code::SignOffMissing);
    scene.approves(&named("carol"), 13);
    let plan = scene.reconciled(TargetState::Live, 14);
    assert_eq!(is(&plan), (Phase::Approved, "1 volume to be put on Retain"));
    assert_eq!(plan.keep.iter().map(|keep| &*keep.volume).collect::<Vec<_>>(), ["pv-2"]);
    scene.live = with(&volume(2));
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(is(&plan).0, Phase::Executable);
    assert!(scene.confirmed(&named("eve"), 21).is_ok());
    let kept = plan.status.conditions.iter().find(|condition| condition.type_ == "DataKept").unwrap();
    assert_eq!((kept.status.as_str(), kept.message.as_str()), ("False", "nothing can keep pv-1"));
    scene.live = with(&kept_no_more());
    assert_eq!(scene.confirmed(&named("eve"), 22).unwrap_err().code, Code::NotYetExecutable);
}

fn kept_no_more() -> Volume {
    Volume { reclaim: foureyes_core::domain::inventory::Reclaim::Delete, ..volume(2) }
}

/// Nobody asked by name: two sign off, or somebody else executes after two.
fn as_two(scenario: &Scenario) -> Scenario {
    Scenario { min: scenario.min.max(2), ..scenario.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever else is said: with an exception it goes exactly where two approvals let it go.
    #[test]
    fn an_exception_lets_nothing_go_without_two_approvals(scenario in scenario()) {
        let scene = scenario.scene_wishing(Some(exception()));
        let goes = scene.confirmed(&scenario.executor.author(), scenario.now).is_ok();
        prop_assert_eq!(goes, may_go(&as_two(&scenario)));
    }

    /// A shorter retention lets nothing go that would not go without, and nothing without the customer.
    #[test]
    fn fewer_days_let_nothing_go_without_the_customer(scenario in scenario(), second in 1..HOUR) {
        let mut scene = scenario.scene_wishing(Some(days(10)));
        let executor = scenario.executor.author();
        prop_assert!(scene.confirmed(&executor, scenario.now).is_err());
        prop_assert!(scene.cascaded(scenario.now).is_err());
        let digest = scene.request.status.as_ref().and_then(|status| status.subject_digest.clone());
        let subject = subject_of(&scene.request);
        let zoe = named("zoe");
        scene.sign_offs.push(sign_off("so-zoe", subject, Says::CustomerAgreed, digest.as_deref(), &zoe, second));
        prop_assert_eq!(scene.confirmed(&executor, scenario.now).is_ok(), may_go(&scenario) && second <= scenario.now);
    }
}
