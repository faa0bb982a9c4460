//! After the deletion: what went is compared with what was signed off, and somebody who did not ask for it closes it.

use foureyes_core::api::{ConditionReason, ListedItem, Phase, Says};
use foureyes_core::domain::inventory::Reclaim;
use foureyes_core::domain::lifecycle::{Plan, TargetState};
use foureyes_core::domain::supervising::{Held, Word, owes_nothing, supervised};
use rstest::rstest;
use serde_json::json;

use crate::speaking::Knowledge;
use crate::support::{
    HOUR, Scene, at, claim, identities, named, policies, ring, second, sign_off, subject_of, volume, with_email,
};

/// alice asked for a namespace, bob approved it, and it is gone; its three volumes are kept.
fn executed() -> Scene {
    let mut scene = released();
    scene.found.volumes = vec![volume(1), volume(2), volume(3)];
    scene.reconciled(TargetState::Gone, 30);
    scene
}

fn released() -> Scene {
    let mut scene = Scene::of_namespace(Some(&named("alice")));
    scene.reconciled(TargetState::Live, 1);
    scene.approves(&named("bob"), 10);
    scene.reconciled(TargetState::Live, 20);
    scene.reconciled(TargetState::Going(at(25)), 26);
    scene.found.place_gone = true;
    scene
}

fn late(n: u128) -> ListedItem {
    let claim = claim(n);
    ListedItem {
        kind: "PersistentVolumeClaim".to_owned(),
        namespace: Some(claim.namespace.to_string()),
        name: claim.name.to_string(),
        uid: claim.uid.to_string(),
        handle: None,
        size: None,
        not_kept: None,
    }
}

fn condition(plan: &Plan) -> (String, String) {
    let found = plan.status.conditions.iter().find(|condition| condition.type_ == "Supervised").unwrap();
    (found.status.clone(), found.reason.clone())
}

fn is(plan: &Plan, reason: ConditionReason) -> bool {
    let holds = if reason == ConditionReason::Supervised { "True" } else { "False" };
    condition(plan) == (holds.to_owned(), reason.as_str().to_owned())
}

#[test]
fn what_went_is_counted_and_whoever_approved_it_is_asked_to_look() {
    let mut scene = released();
    scene.found.volumes = vec![volume(1), volume(2), volume(3)];
    let plan = scene.reconciled(TargetState::Gone, 30);
    let status = &plan.status;
    let deleted = status.deleted.clone().unwrap();
    assert_eq!((status.phase, deleted.expected), (Some(Phase::Executed), 3), "three claims, and the volumes stay");
    assert!(deleted.unexpected.is_empty() && deleted.remaining.is_empty());
    assert_eq!(deleted.checked_at.as_ref().map(second), Some(30));
    assert_eq!(status.waiting_for.as_deref(), Some("supervision by bob, or somebody else who may supervise"));
    assert_eq!(status.supervise_by.as_ref().map(second), Some(30 + 72 * HOUR));
    assert_eq!(plan.look_again, Some(at(30 + 72 * HOUR)));
    assert!(is(&plan, ConditionReason::WaitingForSupervision));
    let told: Vec<&str> = plan.events.iter().map(|event| event.reason).collect();
    assert_eq!(told, ["Executed", "WaitingForSupervision"]);
    let again = scene.reconciled(TargetState::Gone, 40);
    assert_eq!((again.status, again.events), (plan.status, Vec::new()), "nothing is written while nothing changes");
}

#[test]
fn whoever_approved_it_closes_it_though_the_namespace_with_their_rights_is_gone() {
    let mut scene = executed();
    scene.without_rights = vec!["bob".to_owned()];
    scene.says(&named("bob"), Says::Supervised, 40);
    let plan = scene.reconciled(TargetState::Gone, 41);
    assert_eq!(plan.status.phase, Some(Phase::Closed));
    assert_eq!((plan.status.supervised_by.as_slice(), plan.status.waiting_for), (&["bob".to_owned()][..], None));
    assert_eq!(plan.status.closed_at.as_ref().map(second), Some(41));
    assert!(plan.look_again.is_none());
    let entries = plan.status.sign_offs.unwrap().entries;
    assert_eq!(
        entries.iter().map(|entry| (&*entry.says, entry.counts)).collect::<Vec<_>>(),
        [("Approve", true), ("Supervised", true)]
    );
}

#[rstest]
#[case::another_with_the_right("dora", true, None)]
#[case::without("dora", false, Some("its author may not supervise here"))]
#[case::requester("alice", true, Some("its author is the requester"))]
#[case::requester_by_another_spelling("Alice", true, Some("its author is the requester"))]
#[case::machine("ci:deploy", true, Some("its author is a machine"))]
#[case::shared("admin", true, Some("its author is a shared account"))]
fn whose_word_counts(#[case] who: &str, #[case] may: bool, #[case] because: Option<&str>) {
    let mut scene = executed();
    if !may {
        scene.without_rights = vec![who.to_owned()];
    }
    scene.says(&named(who), Says::Supervised, 40);
    let plan = scene.reconciled(TargetState::Gone, 41);
    let phase = if because.is_none() { Phase::Closed } else { Phase::Executed };
    assert_eq!(plan.status.phase, Some(phase));
    let entries = plan.status.sign_offs.unwrap().entries;
    assert_eq!(entries.last().unwrap().because.as_deref(), because);
}

#[test]
fn what_was_said_before_withdrawn_about_another_or_without_a_word_counts_for_nothing() {
    let bob = named("bob");
    let counts = |change: &dyn Fn(&mut Scene)| {
        let mut scene = executed();
        scene.says(&bob, Says::Supervised, 40);
        change(&mut scene);
        scene.reconciled(TargetState::Gone, 41).status.phase == Some(Phase::Closed)
    };
    assert!(counts(&|_| {}));
    let last = |scene: &mut Scene, change: &dyn Fn(&mut foureyes_core::api::SignOff)| {
        change(scene.sign_offs.last_mut().unwrap());
    };
    assert!(!counts(&|scene| last(scene, &|said| said.spec.verified = Some("  ".to_owned()))));
    assert!(!counts(&|scene| last(scene, &|said| said.spec.seal = None)));
    assert!(!counts(&|scene| last(scene, &|said| said.metadata.deletion_timestamp = Some(crate::support::time(40)))));
    assert!(!counts(&|scene| {
        let subject = subject_of(&crate::support::request("del-2", crate::support::namespace_target(), None));
        *scene.sign_offs.last_mut().unwrap() = sign_off("so-x", subject, Says::Supervised, None, &bob, 40);
    }));
    assert!(!counts(&|scene| {
        let subject = subject_of(&scene.request);
        *scene.sign_offs.last_mut().unwrap() = sign_off("so-x", subject, Says::Supervised, None, &bob, 5);
    }));
}

#[test]
fn rights_in_a_namespace_that_stands_are_asked_for_and_having_approved_does_not_do() {
    let mut scene = executed();
    scene.found.place_gone = false;
    scene.without_rights = vec!["bob".to_owned()];
    scene.says(&named("bob"), Says::Supervised, 40);
    assert_eq!(scene.reconciled(TargetState::Gone, 41).status.phase, Some(Phase::Executed));
    scene.without_rights.clear();
    assert_eq!(scene.reconciled(TargetState::Gone, 42).status.phase, Some(Phase::Closed));
}

#[test]
fn what_went_without_having_been_signed_off_is_shouted_about_and_takes_two() {
    let mut scene = released();
    scene.found.unapproved = vec![late(9)];
    let going = scene.reconciled(TargetState::Going(at(25)), 27).status.deleted.unwrap();
    assert_eq!((going.unexpected.len(), going.checked_at), (1, None));
    scene.found.unapproved.clear();
    scene.found.volumes = vec![volume(1), volume(2), volume(3)];
    let plan = scene.reconciled(TargetState::Gone, 30);
    assert!(is(&plan, ConditionReason::Unexpected));
    let shout = plan.events.last().unwrap();
    assert!(shout.warning && shout.note.contains("claim shop/data-9"), "{}", shout.note);
    assert_eq!(plan.status.waiting_for.as_deref(), Some("supervision by 2 people who may supervise"));
    scene.says(&named("bob"), Says::Supervised, 40);
    let plan = scene.reconciled(TargetState::Gone, 41);
    assert_eq!(plan.status.phase, Some(Phase::Executed));
    assert_eq!(plan.status.waiting_for.as_deref(), Some("supervision by somebody who may supervise"));
    // The same person under another name is no second one.
    scene.says(&named("BOB"), Says::Supervised, 42);
    assert_eq!(scene.reconciled(TargetState::Gone, 43).status.phase, Some(Phase::Executed));
    scene.says(&with_email("dora", "dora@example.org"), Says::Supervised, 44);
    let plan = scene.reconciled(TargetState::Gone, 45);
    assert_eq!(plan.status.phase, Some(Phase::Closed));
    assert_eq!(plan.status.deleted.unwrap().unexpected.len(), 1, "it stays on record");
}

#[test]
fn what_should_be_gone_keeps_it_open_until_it_is() {
    let mut scene = released();
    let mut doomed = volume(1);
    doomed.reclaim = Reclaim::Delete;
    scene.found.volumes = vec![doomed, volume(2), volume(3)];
    scene.found.left = vec![late(2)];
    let left = std::mem::take(&mut scene.found.left);
    let plan = scene.reconciled(TargetState::Gone, 10);
    assert!(plan.status.deleted.is_none(), "a volume that nobody keeps goes a moment after its claim");
    assert_eq!(plan.look_again, Some(at(30)));
    scene.found.left = left;
    let plan = scene.reconciled(TargetState::Gone, 30);
    let deleted = plan.status.deleted.clone().unwrap();
    assert_eq!((deleted.expected, deleted.remaining.len()), (2, 2));
    assert!(is(&plan, ConditionReason::Remaining) && plan.events.last().unwrap().warning);
    assert_eq!(plan.status.waiting_for.as_deref(), Some("the end of claim shop/data-2, volume pv-1"));
    assert_eq!(plan.look_again, Some(at(60)));
    scene.says(&named("bob"), Says::Supervised, 40);
    assert_eq!(scene.reconciled(TargetState::Gone, 41).status.phase, Some(Phase::Executed));
    scene.found.left.clear();
    scene.found.volumes = vec![volume(2), volume(3)];
    let plan = scene.reconciled(TargetState::Gone, 60);
    let deleted = plan.status.deleted.clone().unwrap();
    assert_eq!((deleted.expected, deleted.checked_at.as_ref().map(second)), (4, Some(60)));
    assert_eq!(plan.status.phase, Some(Phase::Closed));
}

#[test]
fn what_nobody_supervises_in_time_is_overdue() {
    let mut scene = executed();
    let by = 30 + 72 * HOUR;
    assert!(is(&scene.reconciled(TargetState::Gone, by), ConditionReason::WaitingForSupervision));
    let plan = scene.reconciled(TargetState::Gone, by + 1);
    assert!(is(&plan, ConditionReason::Overdue));
    assert!(plan.events.len() == 1 && plan.events[0].warning && plan.events[0].reason == "Overdue");
    assert!(plan.look_again.is_none());
    assert!(scene.reconciled(TargetState::Gone, by + 60).events.is_empty(), "once");
    scene.says(&named("bob"), Says::Supervised, by + 70);
    assert_eq!(scene.reconciled(TargetState::Gone, by + 71).status.phase, Some(Phase::Closed));
}

#[test]
fn the_policy_of_a_namespace_says_for_how_long_also_when_it_is_gone() {
    let mut scene = Scene::of_namespace(Some(&named("alice")));
    scene.policies = policies(&[
        ("default", json!({"identities": identities()})),
        ("strict", json!({"deletion": {"closeWithin": "1h"}})),
    ]);
    scene.reconciled(TargetState::Live, 1);
    scene.approves(&named("bob"), 10);
    scene.reconciled(TargetState::Live, 20);
    scene.policies = policies(&[("default", json!({"identities": identities()}))]);
    let plan = scene.reconciled(TargetState::Gone, 30);
    assert_eq!(plan.status.supervise_by.as_ref().map(second), Some(30 + HOUR));
}

#[test]
fn an_owed_review_keeps_the_namespace_and_the_guard_names_it() {
    let mut scene = Scene::of_namespace(Some(&named("alice")));
    scene.reconciled(TargetState::Live, 1);
    scene.approves(&named("bob"), 10);
    scene.bills = vec!["change web-1".to_owned()];
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(plan.status.phase, Some(Phase::Approved));
    assert_eq!(plan.status.waiting_for.as_deref(), Some("the review of change web-1"));
    assert!(plan.status.usable_from.is_none());
    let refusal = scene.confirmed(&named("carol"), 21).unwrap_err();
    assert_eq!(refusal.code.as_str(), "NotYetExecutable");
    assert!(refusal.sentence.contains("waits for the review of change web-1"), "{}", refusal.sentence);
    scene.bills.clear();
    assert_eq!(scene.reconciled(TargetState::Live, 22).status.phase, Some(Phase::Executable));
    assert!(scene.confirmed(&named("carol"), 23).is_ok());
    // One that comes later takes it back.
    scene.bills = vec!["change web-2".to_owned()];
    assert_eq!(scene.reconciled(TargetState::Live, 24).status.phase, Some(Phase::Approved));
    assert_eq!(scene.confirmed(&named("carol"), 25).unwrap_err().code.as_str(), "NotYetExecutable");
}

/// What the guard says to somebody who says Supervised, after a change of what is known.
fn says(who: &str, change: impl FnOnce(&mut Scene, &mut Knowledge, &mut Held)) -> &'static str {
    let author = named(who);
    let (mut scene, mut known) = (executed(), Knowledge::of(&author));
    let mut held = Held { right: true, place_gone: true };
    scene.says(&author, Says::Supervised, 40);
    change(&mut scene, &mut known, &mut held);
    let said = scene.sign_offs.pop().unwrap();
    let word = Word { sign_off: &said, request: Some(&scene.request), said: &scene.sign_offs, held };
    match supervised(&known.speaker(), word, &identities(), ring(), at(40)) {
        Ok(_) => "ok",
        Err(refusal) => {
            assert!(refusal.next.is_some() || refusal.code.as_str() == "IdentityForged", "{refusal}");
            refusal.code.as_str()
        }
    }
}

#[test]
fn who_may_say_it() {
    let without = |_: &mut Scene, _: &mut Knowledge, held: &mut Held| held.right = false;
    assert_eq!(says("bob", |_, _, _| {}), "ok");
    assert_eq!(says("bob", without), "ok", "who approved it, once the namespace is gone");
    assert_eq!(says("bob", |_, _, held| *held = Held { right: false, place_gone: false }), "RightMissing");
    assert_eq!(says("dora", |_, _, _| {}), "ok");
    assert_eq!(says("dora", without), "RightMissing");
    assert_eq!(says("alice", |_, _, _| {}), "SelfSupervision");
    assert_eq!(says("ALICE", |_, _, _| {}), "SelfSupervision");
    assert_eq!(says("ci:deploy", |_, _, _| {}), "NotAPerson");
    assert_eq!(says("admin", |_, _, _| {}), "NotAPerson");
    // An approval that did not count, or whose seal does not hold, is none.
    assert_eq!(
        says("bob", |scene, _, held| {
            held.right = false;
            scene.sign_offs[0].spec.seal = None;
        }),
        "RightMissing"
    );
    assert_eq!(
        says("bob", |scene, _, held| {
            held.right = false;
            let status = scene.request.status.as_mut().unwrap();
            status.sign_offs.as_mut().unwrap().entries[0].counts = false;
        }),
        "RightMissing"
    );
    assert_eq!(says("bob", |_, known, _| known.author = named("dora")), "IdentityForged");
    assert_eq!(says("bob", |_, known, _| known.dry_run = true), "IdentityForged");
}

#[test]
fn when_it_may_be_said() {
    let in_phase = |phase| move |scene: &mut Scene, _: &mut Knowledge, _: &mut Held| set_phase(scene, phase);
    for phase in [Phase::Pending, Phase::Approved, Phase::Executable, Phase::Executing] {
        assert_eq!(says("bob", in_phase(phase)), "NotExecuted");
    }
    for phase in [Phase::Closed, Phase::Cancelled, Phase::Rejected, Phase::Expired] {
        assert_eq!(says("bob", in_phase(phase)), "RequestEnded");
    }
    let deleted = |scene: &mut Scene| scene.request.status.as_mut().unwrap().deleted.clone().unwrap();
    assert_eq!(says("bob", |scene, _, _| scene.request.status.as_mut().unwrap().deleted = None), "NotExecuted");
    assert_eq!(
        says("bob", |scene, _, _| {
            let changed = foureyes_core::api::Deleted { remaining: vec![late(2)], ..deleted(scene) };
            scene.request.status.as_mut().unwrap().deleted = Some(changed);
        }),
        "StillThere"
    );
    assert_eq!(
        says("bob", |scene, _, _| {
            let changed = foureyes_core::api::Deleted { unexpected: vec![late(9)], ..deleted(scene) };
            scene.request.status.as_mut().unwrap().deleted = Some(changed);
        }),
        "ok"
    );
}

fn set_phase(scene: &mut Scene, phase: Phase) {
    scene.request.status.as_mut().unwrap().phase = Some(phase);
}

#[rstest]
#[case("alice", 73, "SupervisionOwed")]
#[case("ALICE", 73, "SupervisionOwed")]
#[case("alice", 72, "ok")]
#[case("carol", 73, "ok")]
fn who_owes_it_asks_for_nothing_else(#[case] who: &str, #[case] hours: i64, #[case] expected: &str) {
    let scene = executed();
    let asks = |requests: &[foureyes_core::api::DeletionRequest]| {
        let result = owes_nothing(&named(who), "the request", requests, ring(), at(hours * HOUR));
        result.map_or_else(|refusal| refusal.code.as_str(), |()| "ok")
    };
    assert_eq!(asks(std::slice::from_ref(&scene.request)), expected);
    let mut closed = scene.clone();
    set_phase(&mut closed, Phase::Closed);
    assert_eq!(asks(&[closed.request]), "ok");
    let mut forged = scene;
    forged.request.spec.requester.as_mut().unwrap().seal = None;
    assert_eq!(asks(&[forged.request]), "ok", "a requester that no seal proves owes nothing");
}
