//! Nothing that takes an approval away, or adds an objection or a policy, turns a refusal into an allow (I 12); order
//! and repetition change nothing (I 9, I 11).

use foureyes_core::api::Says;
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::domain::policy::{PolicySet, compile};
use proptest::prelude::*;
use serde_json::json;

use crate::scenario::{Scenario, actor, may_go, scenario};
use crate::support::{HOUR, Scene, identities, policy, sign_off, subject_of};

fn goes() -> impl Strategy<Value = Scenario> {
    scenario().prop_filter("the deletion may go", may_go)
}

fn refused() -> impl Strategy<Value = Scenario> {
    scenario().prop_filter("the deletion is refused", |scenario| !may_go(scenario))
}

fn objection() -> impl Strategy<Value = Says> {
    prop_oneof![Just(Says::Hold), Just(Says::Reject), Just(Says::Cancel)]
}

fn tightening() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        (1..5_u32).prop_map(|min| json!({"approvals": {"min": min}})),
        (1..48_u32).prop_map(|hours| json!({"expiry": {"use": format!("{hours}h")}})),
        (1..400_u32).prop_map(|hours| json!({"expiry": {"approval": format!("{hours}h")}})),
        Just(json!({"enforcement": {"deletions": "Warn"}})),
        Just(json!({})),
    ]
}

/// With one more statement about the current content.
fn and_says(mut scene: Scene, says: Says, by: &foureyes_core::api::Author, second: i64) -> Scene {
    let digest = scene.request.status.as_ref().and_then(|status| status.subject_digest.clone());
    let digest = digest.filter(|_| says == Says::Approve);
    let subject = subject_of(&scene.request);
    scene.sign_offs.push(sign_off("so-more", subject, says, digest.as_deref(), by, second));
    scene
}

fn with_policy(scene: &Scene, min: u32, spec: &serde_json::Value) -> PolicySet {
    let floor = json!({"identities": identities(), "approvals": {"min": min}});
    let compiled = [("default", floor), ("more", spec.clone())];
    let compiled = compiled.iter().map(|(name, spec)| compile(&policy(name, spec)).unwrap()).collect();
    let set = PolicySet::new(compiled, Vec::new());
    assert_eq!(set.floor(), scene.policies.floor());
    set
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Read backwards: where it goes without this approval, it goes with it.
    #[test]
    fn removing_an_approval_allows_nothing(scenario in goes(), by in actor(), second in 1..2 * HOUR) {
        let more = and_says(scenario.scene(), Says::Approve, &by.author(), second);
        prop_assert!(more.confirmed(&scenario.executor.author(), scenario.now).is_ok());
    }

    #[test]
    fn an_objection_allows_nothing(scenario in refused(), says in objection(), by in actor(), second in 1..2 * HOUR) {
        let more = and_says(scenario.scene(), says, &by.author(), second);
        prop_assert!(more.confirmed(&scenario.executor.author(), scenario.now).is_err());
        prop_assert_eq!(more.cascaded(scenario.now).is_ok() && !scenario.cascade_allowed(), false);
    }

    #[test]
    fn a_hold_stops_whatever_was_going(scenario in goes(), by in actor(), second in 1..2 * HOUR) {
        let held = and_says(scenario.scene(), Says::Hold, &by.author(), second);
        prop_assert!(held.confirmed(&scenario.executor.author(), scenario.now).is_err());
    }

    #[test]
    fn one_more_policy_allows_nothing(scenario in refused(), spec in tightening()) {
        let mut scene = scenario.scene();
        scene.policies = with_policy(&scene, scenario.min, &spec);
        prop_assert!(scene.confirmed(&scenario.executor.author(), scenario.now).is_err());
    }

    #[test]
    fn one_more_policy_is_no_way_into_a_cascade(scenario in scenario(), spec in tightening()) {
        let mut scene = scenario.scene();
        scene.policies = with_policy(&scene, scenario.min, &spec);
        prop_assert!(scene.cascaded(scenario.now).is_err() || scenario.cascade_allowed());
    }

    #[test]
    fn a_right_less_allows_nothing(scenario in refused(), by in actor()) {
        let mut less = scenario.clone();
        // A Reject needs the right, too: whoever loses it stops objecting, as they stop approving.
        less.statements.retain(|statement| statement.says != Says::Reject || statement.by != by);
        prop_assume!(!less.allowed());
        less.without_rights.insert(by);
        prop_assert!(!less.allowed());
    }

    #[test]
    fn more_data_allows_nothing(scenario in refused(), claim in 1..6_u8) {
        let mut more = scenario;
        more.live.insert(claim);
        prop_assert!(!more.allowed());
    }

    #[test]
    fn order_and_repetition_change_nothing(
        (scenario, shuffled) in scenario().prop_flat_map(|scenario| {
            let sign_offs = scenario.scene().sign_offs;
            (Just(scenario), Just(sign_offs).prop_shuffle())
        }),
        twice in any::<bool>(),
    ) {
        let scene = scenario.scene();
        let mut other = scene.clone();
        other.sign_offs.clone_from(&shuffled);
        prop_assert_eq!(scene.judged(), other.judged());
        prop_assert_eq!(scene.cascaded(scenario.now), other.cascaded(scenario.now));
        if twice {
            // The API server may deliver one object twice; it says no more by that.
            other.sign_offs.extend(shuffled);
        }
        let executor = scenario.executor.author();
        let (one, other_answer) = (scene.confirmed(&executor, scenario.now), other.confirmed(&executor, scenario.now));
        prop_assert_eq!(one.is_ok(), other_answer.is_ok());
        prop_assert_eq!(one.map_err(|refusal| refusal.code), other_answer.map_err(|refusal| refusal.code));
        if !twice {
            let decided = |scene: &Scene| scene.decided(TargetState::Live, scenario.now);
            prop_assert_eq!(decided(&scene), decided(&other));
        }
    }
}
