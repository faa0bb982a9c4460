//! Where a request stands: every phase with every event as one table (design §5), and what is written and said.

use foureyes_core::api::{Phase, Says};
use foureyes_core::domain::lifecycle::{Plan, TargetState};
use foureyes_core::domain::statement::seal_sign_off;

use crate::support::{APPROVAL_CLOCK, CLUSTER, Scene, USE_CLOCK, at, inventory, key, named, request, second, time};

const STATES: [&str; 10] = [
    "pending",
    "held",
    "executable",
    "approved",
    "second",
    "executing",
    "executed",
    "rejected",
    "cancelled",
    "expired",
];
const EVENTS: [&str; 12] = [
    "nothing",
    "approve",
    "withdraw",
    "hold",
    "reject",
    "cancel",
    "taken",
    "day",
    "fortnight",
    "going",
    "gone",
    "grown",
];

const PENDING: &str = "Pending WaitingForSignOff";
const ON_HOLD: &str = "Pending OnHold";
const APPROVED: &str = "Approved OnHold";
const EXECUTABLE: &str = "Executable SignedOff";
const SECOND: &str = "Executable WaitingForSecondPerson";
const EXECUTING: &str = "Executing SignedOff";
const EXECUTED: &str = "Executed Ended";
const REJECTED: &str = "Rejected Rejected";
const CANCELLED: &str = "Cancelled Cancelled";
const TARGET_GONE: &str = "Cancelled TargetGone";
const EXPIRED: &str = "Expired Expired";

/// A row for each state, a column for each event.
#[rustfmt::skip]
const TABLE: [[&str; 12]; 10] = [
    // nothing   approve     withdraw    hold      reject    cancel     taken      day        fortnight going        gone         grown
    [PENDING,    EXECUTABLE, PENDING,    ON_HOLD,  REJECTED, CANCELLED, CANCELLED, PENDING,   EXPIRED,  TARGET_GONE, TARGET_GONE, PENDING],
    [ON_HOLD,    APPROVED,   PENDING,    ON_HOLD,  REJECTED, CANCELLED, CANCELLED, ON_HOLD,   EXPIRED,  TARGET_GONE, TARGET_GONE, ON_HOLD],
    [EXECUTABLE, EXECUTABLE, PENDING,    APPROVED, REJECTED, CANCELLED, CANCELLED, EXPIRED,   EXPIRED,  EXECUTING,   EXECUTED,    EXECUTABLE],
    [APPROVED,   APPROVED,   EXECUTABLE, APPROVED, REJECTED, CANCELLED, CANCELLED, EXPIRED,   EXPIRED,  EXECUTING,   EXECUTED,    APPROVED],
    [SECOND,     EXECUTABLE, PENDING,    APPROVED, REJECTED, SECOND,    CANCELLED, EXPIRED,   EXPIRED,  EXECUTING,   EXECUTED,    SECOND],
    [EXECUTING,  EXECUTING,  EXECUTING,  EXECUTING,EXECUTING,EXECUTING, EXECUTING, EXECUTING, EXECUTING,EXECUTING,   EXECUTED,    EXECUTING],
    [EXECUTED;   12],
    [REJECTED;   12],
    [CANCELLED;  12],
    [EXPIRED;    12],
];

/// Alice asked (nobody in `second`), bob approved at 10 where somebody has, carol holds at 20 where somebody does.
fn in_state(state: &str) -> Scene {
    let mut scene = Scene::of_claim(Some(&named("alice")).filter(|_| state != "second"));
    if !matches!(state, "pending" | "held" | "rejected" | "cancelled" | "expired") {
        scene.approves(&named("bob"), 10);
    }
    scene.reconciled(TargetState::Live, 15);
    match state {
        "held" | "approved" => scene.says(&named("carol"), Says::Hold, 20),
        "rejected" => scene.says(&named("carol"), Says::Reject, 20),
        "cancelled" => scene.says(&named("alice"), Says::Cancel, 20),
        _ => {}
    }
    let (target, now) = match state {
        "executing" => (TargetState::Going(at(25)), 30),
        "executed" => (TargetState::Gone, 30),
        "expired" => (TargetState::Live, APPROVAL_CLOCK + 1),
        _ => (TargetState::Live, 30),
    };
    scene.reconciled(target, now);
    scene
}

fn after(scene: &mut Scene, state: &str, event: &str) -> Plan {
    let (mut target, mut now) = (TargetState::Live, 100);
    match event {
        "approve" => scene.approves(&named("dave"), 90),
        "withdraw" if matches!(state, "held" | "approved") => scene.withdraws(&named("carol"), Says::Hold),
        "withdraw" => scene.withdraws(&named("bob"), Says::Approve),
        "hold" => scene.says(&named("dave"), Says::Hold, 90),
        "reject" => scene.says(&named("dave"), Says::Reject, 90),
        "cancel" => scene.says(&named("alice"), Says::Cancel, 90),
        "taken" => scene.request.metadata.deletion_timestamp = Some(time(90)),
        "day" => now = 30 + USE_CLOCK + 1,
        "fortnight" => now = APPROVAL_CLOCK + 1,
        "going" => target = TargetState::Going(at(90)),
        "gone" => target = TargetState::Gone,
        "grown" => scene.live = inventory([1, 2]),
        _ => {}
    }
    if state == "executing" && target == TargetState::Live {
        target = TargetState::Going(at(25));
    }
    scene.reconciled(target, now)
}

fn standing(plan: &Plan) -> String {
    let approved = plan.status.conditions.iter().find(|condition| condition.type_ == "Approved").unwrap();
    format!("{} {}", plan.status.phase.unwrap().as_str(), approved.reason)
}

#[test]
fn every_phase_with_every_event() {
    let mut wrong = Vec::new();
    for (state, row) in STATES.iter().zip(TABLE) {
        for (event, expected) in EVENTS.iter().zip(row) {
            let seen = standing(&after(&mut in_state(state), state, event));
            if seen != expected {
                wrong.push(format!("{state} + {event}: {seen}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The guard keeps the claims of such a namespace, so the request must not be what it waits for.
#[test]
fn a_namespace_that_was_stopped_before_it_was_going_did_not_go_by_its_request() {
    for (says, at_second, phase) in [
        (Says::Hold, 24, Phase::Cancelled),
        (Says::Hold, 25, Phase::Cancelled),
        (Says::Hold, 26, Phase::Executing),
        (Says::Reject, 24, Phase::Cancelled),
        (Says::Reject, 26, Phase::Executing),
    ] {
        let mut scene = Scene::of_namespace(Some(&named("alice")));
        scene.approves(&named("bob"), 10);
        scene.reconciled(TargetState::Live, 15);
        scene.says(&named("carol"), says, at_second);
        let going = scene.reconciled(TargetState::Going(at(25)), 30);
        assert_eq!(going.status.phase, Some(phase), "{says:?} at {at_second}");
        assert_eq!(scene.cascaded(25).is_ok(), phase == Phase::Executing, "{says:?} at {at_second}");
    }
}

#[test]
fn an_ended_request_never_changes() {
    for state in &STATES[6..] {
        for event in EVENTS {
            let mut scene = in_state(state);
            let before = scene.request.status.clone();
            let plan = after(&mut scene, state, event);
            if before.as_ref().is_some_and(|status| status.phase == Some(Phase::Executed)) {
                // It waits for somebody to look at it, and for nothing else.
                assert_eq!(plan.status.phase, Some(Phase::Executed), "{state} + {event}");
            } else {
                assert_eq!(
                    (Some(plan.status), plan.events, plan.look_again),
                    (before, Vec::new(), None),
                    "{state} + {event}"
                );
            }
            assert!(scene.confirmed(&named("carol"), 200).is_err(), "{state} + {event}");
        }
    }
}

#[test]
fn to_decide_again_changes_and_says_nothing_more() {
    for state in STATES {
        for event in EVENTS {
            let mut scene = in_state(state);
            let first = after(&mut scene, state, event);
            let (target, now) = match event {
                "day" => (TargetState::Live, 30 + USE_CLOCK + 1),
                "fortnight" => (TargetState::Live, APPROVAL_CLOCK + 1),
                "going" => (TargetState::Going(at(90)), 100),
                "gone" => (TargetState::Gone, 100),
                _ => (TargetState::Live, 100),
            };
            let going = state == "executing" && target == TargetState::Live;
            let again = scene.reconciled(if going { TargetState::Going(at(25)) } else { target }, now);
            assert_eq!(again.status, first.status, "{state} + {event}");
            assert_eq!(again.events, [], "{state} + {event}");
        }
    }
}

#[test]
fn the_inventory_is_taken_anew_until_an_approval_counts_and_frozen_then() {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    let first = scene.reconciled(TargetState::Live, 5).status;
    assert!(!first.inventory.as_ref().unwrap().frozen);
    scene.live = inventory([1, 2]);
    let grown = scene.reconciled(TargetState::Live, 6).status;
    assert_ne!(grown.subject_digest, first.subject_digest);
    assert_eq!(grown.inventory.as_ref().unwrap().summary, "2 claims, 2 volumes");

    // Who looked at the first inventory has not looked at this one.
    let old = first.subject_digest.unwrap();
    let subject = crate::support::subject_of(&scene.request);
    scene.sign_offs.push(crate::support::sign_off("so-old", subject, Says::Approve, Some(&old), &named("bob"), 7));
    let stale = scene.reconciled(TargetState::Live, 8).status;
    assert_eq!(stale.phase, Some(Phase::Pending));
    let entry = &stale.sign_offs.unwrap().entries[0];
    assert_eq!(
        (entry.counts, entry.because.as_deref()),
        (false, Some("it names another content than the current one"))
    );

    scene.approves(&named("bob"), 9);
    let frozen = scene.reconciled(TargetState::Live, 10).status;
    assert!(frozen.inventory.as_ref().unwrap().frozen);
    scene.live = inventory([1, 2, 3]);
    let later = scene.reconciled(TargetState::Live, 11).status;
    assert_eq!(later.subject_digest, frozen.subject_digest);
    let later = later.inventory.unwrap();
    let names: Vec<&str> = later.added.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"data-3") && names.contains(&"pv-3"));
    assert_eq!(later.packed_uids, frozen.inventory.unwrap().packed_uids);
    assert_eq!(scene.confirmed(&named("carol"), 12).unwrap_err().code.as_str(), "InventoryGrown");

    // Frozen it stays, although the approval is withdrawn.
    scene.withdraws(&named("bob"), Says::Approve);
    let withdrawn = scene.reconciled(TargetState::Live, 13).status;
    assert!(withdrawn.inventory.unwrap().frozen);
    assert_eq!(withdrawn.subject_digest, Some(scene.digest()));
}

#[test]
fn growth_is_a_condition_that_names_what_is_not_covered() {
    let mut scene = in_state("executable");
    let plan = after(&mut scene, "executable", "grown");
    let current = plan.status.conditions.iter().find(|condition| condition.type_ == "InventoryCurrent").unwrap();
    assert_eq!((current.status.as_str(), current.reason.as_str()), ("False", "Grown"));
    assert!(current.message.contains("data-2"));
}

#[test]
fn execution_is_dated_by_the_target_itself() {
    let mut scene = in_state("executable");
    let plan = scene.reconciled(TargetState::Going(at(90)), 95);
    assert_eq!(plan.status.executing_since, Some(time(90)));
    let plan = scene.reconciled(TargetState::Gone, 120);
    assert_eq!((plan.status.executing_since, plan.status.executed_at), (Some(time(90)), Some(time(120))));
    assert_eq!(plan.status.sign_off_command, None);
}

#[test]
fn two_clocks_run_and_it_is_looked_again_when_one_ends() {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    let waiting = scene.reconciled(TargetState::Live, 5);
    assert_eq!(second(waiting.status.approval_deadline.as_ref().unwrap()), APPROVAL_CLOCK);
    assert_eq!(waiting.look_again, Some(at(APPROVAL_CLOCK)));
    assert_eq!(waiting.status.valid_until, None);
    scene.approves(&named("bob"), 1000);
    let usable = scene.reconciled(TargetState::Live, 2000);
    assert_eq!(usable.status.usable_from, Some(time(2000)));
    assert_eq!(usable.status.valid_until, Some(time(2000 + USE_CLOCK)));
    assert_eq!(usable.look_again, Some(at(2000 + USE_CLOCK)));
    assert!(scene.confirmed(&named("carol"), 2000 + USE_CLOCK).is_ok());
    assert!(scene.confirmed(&named("carol"), 2000 + USE_CLOCK + 1).is_err());
}

#[test]
fn the_event_of_a_waiting_request_carries_the_line_that_signs_it_off() {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    let plan = scene.reconciled(TargetState::Live, 5);
    let line = plan.status.sign_off_command.clone().unwrap();
    assert_eq!(plan.events.len(), 1);
    assert_eq!((plan.events[0].warning, plan.events[0].reason), (false, "Pending"));
    assert!(plan.events[0].note.ends_with(&line), "{}", plan.events[0].note);
    let json = line.strip_prefix("echo '").and_then(|rest| rest.strip_suffix("' | kubectl create -f -")).unwrap();
    let made: foureyes_core::api::SignOff = serde_json::from_str(json).unwrap();
    assert_eq!(made.spec.subject, crate::support::subject_of(&scene.request));
    assert_eq!(made.spec.digest, plan.status.subject_digest);
    assert_eq!((made.spec.says, made.spec.author, made.spec.seal), (Says::Approve, None, None));
}

/// An event's note has at most 1,024 characters; a line that is cut off can't be pasted.
#[test]
fn the_line_fits_into_an_event_whatever_the_name() {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.request = request(&"n".repeat(253), scene.target.clone(), Some(&named("alice")));
    scene.policies = crate::support::policies_with_min(10);
    let plan = scene.reconciled(TargetState::Live, 5);
    let note = &plan.events[0].note;
    assert!(note.len() <= 1024 && note.ends_with(&plan.status.sign_off_command.unwrap()), "{note}");
}

#[test]
fn the_event_of_a_reject_says_why_in_one_line() {
    let said = |comment: Option<&str>| {
        let mut scene = Scene::of_claim(Some(&named("alice")));
        scene.says(&named("bob"), Says::Reject, 10);
        let made = &mut scene.sign_offs[0];
        made.spec.comment = comment.map(str::to_owned);
        made.spec.seal = None;
        made.spec.seal = Some(seal_sign_off(key(), CLUSTER, "so-0-10", &made.spec).unwrap());
        scene.reconciled(TargetState::Live, 11).events.remove(0).note
    };
    assert_eq!(said(None), "rejected by bob");
    assert_eq!(said(Some(" \n\t ")), "rejected by bob");
    assert_eq!(said(Some("The audit\n needs\tMarch\u{1b}[2K.\n")), "rejected by bob: The audit needs March [2K.");
    assert_eq!(said(Some(&"é".repeat(4096))).chars().count(), "rejected by bob: ".len() + 300);
}

#[test]
fn what_is_waited_for_is_said_once_and_again_when_it_changes() {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    assert_eq!(scene.reconciled(TargetState::Live, 5).events.len(), 1);
    assert_eq!(scene.reconciled(TargetState::Live, 6).events, []);
    scene.says(&named("carol"), Says::Hold, 7);
    let held = scene.reconciled(TargetState::Live, 8);
    assert_eq!(held.status.waiting_for.as_deref(), Some("the question of carol (hold)"));
    assert_eq!(held.events.len(), 1);
    scene.withdraws(&named("carol"), Says::Hold);
    scene.approves(&named("bob"), 9);
    let released = scene.reconciled(TargetState::Live, 10);
    assert_eq!(released.events[0].reason, "Executable");
    let expired = scene.reconciled(TargetState::Live, 10 + USE_CLOCK + 1);
    assert_eq!((expired.events[0].reason, expired.events[0].warning), ("Expired", true));
}

#[test]
fn conditions_keep_the_time_of_their_last_change() {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    let transition = |plan: &Plan| second(&plan.status.conditions[0].last_transition_time);
    assert_eq!(transition(&scene.reconciled(TargetState::Live, 5)), 5);
    assert_eq!(transition(&scene.reconciled(TargetState::Live, 50)), 5);
    scene.approves(&named("bob"), 60);
    assert_eq!(transition(&scene.reconciled(TargetState::Live, 70)), 70);
}

#[test]
fn the_status_shows_a_long_list_shortened_and_packs_all_of_it() {
    let mut scene = Scene::of_namespace(Some(&named("alice")));
    scene.live = inventory(1..=80);
    for n in 0..60 {
        scene.says(&named(&format!("p{n}")), Says::Hold, 2);
    }
    let status = scene.reconciled(TargetState::Live, 5).status;
    let taken = status.inventory.unwrap();
    assert_eq!((taken.total, taken.items.len()), (160, 100));
    assert_eq!(taken.packed_uids.len(), (160_usize * 16).div_ceil(3) * 4);
    assert_eq!(status.sign_offs.unwrap().entries.len(), 50);
}
