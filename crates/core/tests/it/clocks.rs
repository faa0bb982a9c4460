//! Clock steps never extend an approval (I 21): however `now` jumps, what was promised only comes nearer.

use foureyes_core::api::{DeletionRequestStatus, Phase};
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::reason::Code;
use proptest::prelude::*;
use serde_json::json;

use crate::support::{APPROVAL_CLOCK, DAY, HOUR, Scene, USE_CLOCK, identities, named, policies, second, time};

fn moments() -> impl Strategy<Value = Vec<i64>> {
    let moment = prop_oneof![60..HOUR, HOUR..DAY, DAY..3 * DAY, 12 * DAY..APPROVAL_CLOCK + DAY];
    proptest::collection::vec(moment, 2..12)
}

/// alice asked, bob signed off at 10.
fn signed_off() -> Scene {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.approves(&named("bob"), 10);
    scene
}

fn clocks(status: &DeletionRequestStatus) -> [Option<i64>; 2] {
    [&status.approval_deadline, &status.valid_until].map(|time| time.as_ref().map(second))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn deadlines_only_ever_come_nearer(moments in moments()) {
        let mut scene = signed_off();
        let (mut before, mut from) = ([None, None], None);
        for now in moments {
            let status = scene.reconciled(TargetState::Live, now).status;
            let after = clocks(&status);
            for (before, after) in before.iter().zip(after) {
                prop_assert!(before.is_none_or(|before| after.is_some_and(|after| after <= before)));
            }
            // The use begins once, and begins no second time by itself.
            let begun = status.usable_from.as_ref().map(second);
            prop_assert!(from.is_none() || from == begun);
            (before, from) = (after, begun);
        }
    }

    /// A request is Executable no longer than its clock, counted from any moment at which it was.
    #[test]
    fn no_moment_promises_more_than_the_clock(moments in moments()) {
        let mut scene = signed_off();
        let mut released = Vec::new();
        for now in moments {
            let status = scene.reconciled(TargetState::Live, now).status;
            if status.phase == Some(Phase::Executable) {
                released.push(now);
                let until = second(status.valid_until.as_ref().unwrap());
                prop_assert!(released.iter().all(|at| until <= at + USE_CLOCK));
                prop_assert!(scene.confirmed(&named("carol"), until + 1).is_err());
                prop_assert!(scene.confirmed(&named("carol"), second(status.usable_from.as_ref().unwrap()) - 1).is_err());
            }
        }
    }

    /// The guard's own clock may jump as well: it allows between both ends and nowhere else.
    #[test]
    fn the_guard_allows_within_both_ends_only(begin in 60..DAY, moments in moments()) {
        let mut scene = signed_off();
        scene.reconciled(TargetState::Live, begin);
        for now in moments {
            let within = (begin..=begin + USE_CLOCK).contains(&now);
            prop_assert_eq!(scene.confirmed(&named("carol"), now).is_ok(), within);
            prop_assert_eq!(scene.cascaded(now).is_ok(), within);
        }
    }

    #[test]
    fn loosening_the_clocks_revives_nothing(hours in 1..23_i64, later in 1..1000_i64) {
        let clocks = |hours: i64| {
            let spec = json!({"identities": identities(), "expiry": {"use": format!("{hours}h"), "approval": format!("{hours}h")}});
            policies(&[("default", spec)])
        };
        let mut scene = signed_off();
        scene.policies = clocks(hours);
        let short = scene.reconciled(TargetState::Live, 60).status;
        scene.policies = clocks(hours + later);
        let long = scene.reconciled(TargetState::Live, 61).status;
        prop_assert_eq!(super::clocks::clocks(&long), super::clocks::clocks(&short));
        prop_assert!(scene.confirmed(&named("carol"), 60 + hours * HOUR + 1).is_err());
        let ended = scene.reconciled(TargetState::Live, 60 + hours * HOUR + 1).status;
        prop_assert_eq!(ended.phase, Some(Phase::Expired));
    }
}

#[test]
fn a_clock_that_was_ahead_gives_no_more_time_once_it_is_right() {
    let mut scene = signed_off();
    let ahead = scene.reconciled(TargetState::Live, 10 * HOUR).status;
    assert_eq!(second(ahead.valid_until.as_ref().unwrap()), 10 * HOUR + USE_CLOCK);
    let right = scene.reconciled(TargetState::Live, 60).status;
    assert_eq!(second(right.valid_until.as_ref().unwrap()), 60 + USE_CLOCK);
    assert_eq!(scene.confirmed(&named("carol"), 60).unwrap_err().code, Code::NotYetExecutable);
    assert!(scene.confirmed(&named("carol"), 60 + USE_CLOCK).is_ok());
    assert_eq!(scene.confirmed(&named("carol"), 61 + USE_CLOCK).unwrap_err().code, Code::RequestEnded);
}

#[test]
fn tightening_the_use_clock_ends_what_has_been_usable_for_longer() {
    let mut scene = signed_off();
    scene.reconciled(TargetState::Live, 60);
    let spec = json!({"identities": identities(), "expiry": {"use": "1h"}});
    scene.policies = policies(&[("default", spec)]);
    assert_eq!(scene.confirmed(&named("carol"), 2 * HOUR).unwrap_err().code, Code::RequestEnded);
    assert_eq!(scene.reconciled(TargetState::Live, 2 * HOUR).status.phase, Some(Phase::Expired));
}

/// The guard asks the policy itself, whatever deadline the status promised.
#[test]
fn tightening_the_approval_clock_ends_what_was_signed_off_too_late_for_it() {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.approves(&named("bob"), 2 * HOUR);
    scene.reconciled(TargetState::Live, 2 * HOUR + 1);
    assert!(scene.confirmed(&named("carol"), 3 * HOUR).is_ok());
    let spec = json!({"identities": identities(), "expiry": {"approval": "1h"}});
    scene.policies = policies(&[("default", spec)]);
    assert_eq!(scene.confirmed(&named("carol"), 3 * HOUR).unwrap_err().code, Code::SignOffMissing);
    assert_eq!(scene.cascaded(3 * HOUR).unwrap_err().code, Code::SignOffMissing);
}

#[test]
fn an_approval_after_the_deadline_counts_for_nothing() {
    for (second, counts) in [(APPROVAL_CLOCK, 1), (APPROVAL_CLOCK + 1, 0)] {
        let mut scene = Scene::of_claim(Some(&named("alice")));
        scene.approves(&named("bob"), second);
        assert_eq!(scene.judged().counted.len(), counts);
    }
}

#[test]
fn a_deletion_stamp_has_whole_seconds_and_may_be_the_first_usable_one() {
    let mut scene = signed_off();
    scene.reconciled(TargetState::Live, 60);
    scene.request.status.as_mut().unwrap().usable_from = Some(time(60));
    assert!(scene.cascaded(60).is_ok());
    assert!(scene.cascaded(59).is_err());
}
