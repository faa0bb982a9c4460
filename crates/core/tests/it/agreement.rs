//! The guard agrees with the reference model, and never allows what the controller did not release (I 1, I 2, I 8).

use foureyes_core::api::{Phase, Says};
use foureyes_core::domain::lifecycle::TargetState;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::scenario::{Actor, actor, may_cascade, may_go, scenario};
use crate::support::{APPROVAL_CLOCK, DAY, HOUR, Scene, policies_with_min};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_deletion_is_confirmed_when_the_model_says_so_and_only_then(scenario in scenario()) {
        prop_assert_eq!(scenario.allowed(), may_go(&scenario));
    }

    #[test]
    fn a_cascade_is_confirmed_when_the_model_says_so_and_only_then(scenario in scenario()) {
        prop_assert_eq!(scenario.cascade_allowed(), may_cascade(&scenario));
    }
}

/// A property over scenarios that are always refused would say nothing.
#[test]
fn scenarios_lead_to_both_answers() {
    let mut runner = TestRunner::deterministic();
    let (mut goes, mut cascades) = (0, 0);
    for _ in 0..1000 {
        let scenario = scenario().new_tree(&mut runner).unwrap().current();
        goes += u32::from(may_go(&scenario));
        cascades += u32::from(may_cascade(&scenario));
    }
    assert!((50..900).contains(&goes) && (50..900).contains(&cascades), "{goes} and {cascades} of 1000 were allowed");
}

/// One thing that happens to a request.
#[derive(Clone, Debug)]
enum Step {
    Says(Actor, Says),
    Annotates(Actor),
    Withdraws(Actor, Says),
    Min(u32),
    Grows(u8),
    Passes(i64),
    Reconciles,
}

fn steps(actors: impl Strategy<Value = Actor> + Clone) -> impl Strategy<Value = Vec<Step>> {
    let says =
        prop_oneof![6 => Just(Says::Approve), 1 => Just(Says::Hold), 1 => Just(Says::Reject), 1 => Just(Says::Cancel)];
    let step = prop_oneof![
        4 => (actors.clone(), says.clone()).prop_map(|(actor, says)| Step::Says(actor, says)),
        1 => actors.clone().prop_map(Step::Annotates),
        2 => (actors, says).prop_map(|(actor, says)| Step::Withdraws(actor, says)),
        1 => (1..4_u32).prop_map(Step::Min),
        1 => (4..6_u8).prop_map(Step::Grows),
        1 => prop_oneof![1..HOUR, HOUR..DAY, DAY..APPROVAL_CLOCK].prop_map(Step::Passes),
        5 => Just(Step::Reconciles),
    ];
    proptest::collection::vec(step, 1..24)
}

/// Plays the steps; `each` sees the scene after each of them, with the time and whether it ever was Executable.
fn play(scene: &mut Scene, steps: &[Step], mut each: impl FnMut(&Scene, i64, bool)) {
    let (mut now, mut released) = (1, false);
    for step in steps {
        now += 1;
        match step {
            Step::Says(actor, says) => scene.says(&actor.author(), *says, now),
            Step::Annotates(actor) => scene.annotates(&actor.author(), now),
            Step::Withdraws(actor, says) => scene.withdraws(&actor.author(), *says),
            Step::Min(min) => scene.policies = policies_with_min(*min),
            Step::Grows(n) => scene.live = crate::support::inventory((1..=u128::from(*n)).collect::<Vec<_>>()),
            Step::Passes(seconds) => now += seconds,
            Step::Reconciles => {
                let plan = scene.reconciled(TargetState::Live, now);
                released |= plan.status.phase == Some(Phase::Executable);
            }
        }
        each(scene, now, released);
    }
}

/// Some of each kind: people, a machine, a shared account.
fn executors() -> impl Iterator<Item = Actor> {
    Actor::all().step_by(2)
}

fn one_person() -> impl Strategy<Value = Actor> + Clone {
    proptest::sample::select(Actor::all().filter(|actor| actor.human() == Some(0)).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_is_confirmed_that_never_was_executable(
        requester in proptest::option::of(actor()), steps in steps(actor().boxed()),
    ) {
        let mut scene = Scene::of_namespace(requester.map(Actor::author).as_ref());
        play(&mut scene, &steps, |scene, now, released| {
            for executor in executors().filter(|_| !released) {
                assert!(scene.confirmed(&executor.author(), now).is_err());
            }
            assert!(released || scene.cascaded(now).is_err());
        });
    }

    #[test]
    fn one_person_reaches_nothing_however_they_call_themselves(
        requester in one_person(), steps in steps(one_person().boxed()),
    ) {
        let mut scene = Scene::of_claim(Some(&requester.author()));
        play(&mut scene, &steps, |scene, now, released| {
            // Where the requester is the shared account that carries their address, nobody has asked.
            assert!(!released);
            for executor in executors() {
                assert!(scene.confirmed(&executor.author(), now).is_err());
            }
        });
    }

    #[test]
    fn one_person_with_a_machine_or_nobody_asking_deletes_nothing(
        machine in any::<bool>(), steps in steps(one_person().boxed()),
    ) {
        let argocd = Actor::all().find(|actor| actor.human().is_none()).unwrap();
        let requester = machine.then(|| argocd.author());
        let mut scene = Scene::of_claim(requester.as_ref());
        play(&mut scene, &steps, |scene, now, _| {
            for executor in executors().filter(|actor| actor.human().is_none_or(|human| human == 0)) {
                assert!(scene.confirmed(&executor.author(), now).is_err());
            }
        });
    }
}
