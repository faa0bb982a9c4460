//! The six points of design §6, each accepted and refused, and what a refusal says.

use foureyes_core::api::{How, Pin, Says, SeenOutcome};
use foureyes_core::domain::inventory::Controller;
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::rollout::decide::Asked;
use foureyes_core::domain::rollout::location::locate;
use foureyes_core::domain::rollout::template::Template;
use foureyes_core::reason::Code;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use crate::binding::mutations;
use crate::changes::{OWN, Rollout, by_digest, by_images, change, change_of, known, removal, version, web, workload};
use crate::support::{DAY, HOUR, named, time};
use crate::templates::template;

const ALICE: &str = "alice";
const BOT: &str = "system:serviceaccount:ops:updater";

pub fn word(verdict: Result<Proof, Refusal>) -> String {
    match verdict {
        Ok(proof) => proof.as_str().to_owned(),
        Err(refusal) => refusal.code.to_string(),
    }
}

/// A change of version 1 that bob has signed off.
pub fn approved(target: Value) -> Rollout {
    Rollout::of(Some(change("Normal", &[target], Some(&named(ALICE))))).approved_by(&named("bob"), 10)
}

// Point 1.

#[rstest]
#[case("/spec/containers/0/image", json!("registry.example.org/web:2"), "RolloutNotRequested")]
#[case("/spec/containers/0/env/0/value", json!("debug"), "RolloutNotRequested")]
#[case("/metadata/labels/app", json!("other"), "RolloutNotRequested")]
#[case("/metadata/annotations/checksum~1config", json!("2"), "Unchanged")]
#[case("/metadata/annotations", json!({"checksum/config": "1", "kubectl.kubernetes.io/restartedAt": "now"}), "Unchanged")]
#[case("/metadata/annotations", json!({"checksum/config": "1", "team": "a"}), "RolloutNotRequested")]
#[case("/metadata/annotations", json!({"checksum/config": "1", "linkerd.io/inject": "enabled"}), "RolloutNotRequested")]
#[case("/metadata/annotations", json!({}), "Unchanged")]
fn only_free_changes_need_nobody(#[case] place: &str, #[case] value: Value, #[case] expected: &str) {
    let rollout = Rollout::of(None).with(&json!({"freeChanges": [{"annotation": "checksum/config"}]}));
    let mut new = version(1);
    *new.pointer_mut(place).unwrap() = value;
    assert_eq!(word(rollout.applied(&new, &named("eve"), 1)), expected);
}

#[test]
fn without_a_policy_no_annotation_is_free() {
    let mut new = version(1);
    new["metadata"]["annotations"]["checksum/config"] = json!("2");
    assert_eq!(word(Rollout::of(None).applied(&new, &named("eve"), 1)), "RolloutNotRequested");
}

#[test]
fn what_runs_already_is_unchanged_whether_it_was_ever_authorised_or_not() {
    let mut rollout = Rollout::of(None);
    rollout.known = None;
    assert_eq!(word(rollout.applied(&version(1), &named("eve"), 1)), "Unchanged");
    rollout.known = Some(known(&[(&version(1), How::Unreviewed, SeenOutcome::Seen)]));
    assert_eq!(word(rollout.applied(&version(1), &named("eve"), 1)), "Unchanged");
}

/// Unpausing, a lower partition and another strategy are judged like the revision that they let go.
#[test]
fn a_pending_revision_is_let_go_only_when_it_may_run() {
    let two = template(&version(2));
    let asked = Asked::Rollout { old: &two, new: &two, releases: true };
    let mut rollout = Rollout::of(None);
    assert_eq!(word(rollout.decided(asked, &named("eve"), 1)), "RolloutNotRequested");
    rollout.known = Some(known(&[(&version(2), How::Change, SeenOutcome::Seen)]));
    assert_eq!(word(rollout.decided(asked, &named("eve"), 1)), "Recorded");
    assert_eq!(word(approved(by_digest(&version(2))).decided(asked, &named("eve"), 20)), "Confirmed");
    let held = Asked::Rollout { old: &two, new: &two, releases: false };
    assert_eq!(word(Rollout::of(None).decided(held, &named("eve"), 1)), "Unchanged");
}

#[test]
fn of_a_pod_its_images_are_judged_and_nothing_else() {
    let location = locate("", "Pod", &[]).unwrap();
    let pod = |image: &str, more: Value| {
        let mut spec = json!({"containers": [{"name": "web", "image": image}], "tolerations": []});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Template::of_value(&location, &spec).unwrap()
    };
    let old = pod("web:1", json!({}));
    let rollout = Rollout::of(None);
    let ask =
        |new: &Template| word(rollout.decided(Asked::Rollout { old: &old, new, releases: false }, &named("eve"), 1));
    assert_eq!(ask(&pod("web:1", json!({"tolerations": [{"key": "a"}]}))), "Unchanged");
    assert_eq!(ask(&pod("web:2", json!({}))), "RolloutNotRequested");
    let debug = json!({"ephemeralContainers": [{"name": "debug", "image": "busybox"}]});
    assert_eq!(ask(&pod("web:1", debug)), "RolloutNotRequested");
}

// Point 2.

#[rstest]
#[case::digest(by_digest(&version(2)), version(2), "Confirmed")]
#[case::another_digest(by_digest(&version(3)), version(2), "RolloutNotRequested")]
#[case::images(by_images(&json!({"web": "registry.example.org/web:2"})), version(2), "Confirmed")]
#[case::other_images(by_images(&json!({"web": "registry.example.org/web:3"})), version(2), "RolloutNotRequested")]
#[case::more_images(by_images(&json!({"web": "registry.example.org/web:2", "log": "l:2"})), version(2), "RolloutNotRequested")]
#[case::all_images(by_images(&json!({"web": "w:2", "log": "l:2"})), web("w:2", "l:2", "info"), "Confirmed")]
#[case::another_container(by_images(&json!({"other": "registry.example.org/web:2"})), version(2), "RolloutNotRequested")]
#[case::more_than_images(by_images(&json!({"web": "w:2"})), web("w:2", "registry.example.org/log:1", "debug"), "RolloutNotRequested")]
#[case::removal(removal(), version(2), "RolloutNotRequested")]
fn a_change_covers_exactly_what_it_names(#[case] target: Value, #[case] applied: Value, #[case] expected: &str) {
    assert_eq!(word(approved(target).applied(&applied, &named("eve"), 20)), expected);
}

#[test]
fn named_images_are_exchanged_in_what_was_authorised_and_not_in_what_runs() {
    let target = by_images(&json!({"web": "registry.example.org/web:2"}));
    // Somebody has slipped another environment past the guard; the change does not cover it.
    let slipped = web("registry.example.org/web:2", "registry.example.org/log:1", "slipped");
    assert_eq!(word(approved(target.clone()).applied(&slipped, &named("eve"), 20)), "RolloutNotRequested");
    for how in [How::Unreviewed, How::Unauthorised] {
        let mut rollout = approved(target.clone());
        rollout.known = Some(known(&[(&version(1), how, SeenOutcome::Seen)]));
        assert_eq!(word(rollout.applied(&version(2), &named("eve"), 20)), "RolloutNotRequested");
    }
    let mut without = approved(target.clone());
    without.known = None;
    assert_eq!(word(without.applied(&version(2), &named("eve"), 20)), "RolloutNotRequested");
    let strict = approved(target).with(&json!({"pin": "Template"}));
    assert_eq!(strict.effective().pin, Pin::Template);
    assert_eq!(word(strict.applied(&version(2), &named("eve"), 20)), "RolloutNotRequested");
    let whole = approved(by_digest(&version(2))).with(&json!({"pin": "Template"}));
    assert_eq!(word(whole.applied(&version(2), &named("eve"), 20)), "Confirmed");
}

#[test]
fn named_images_leave_annotations_as_they_were_but_for_free_ones() {
    let target = by_images(&json!({"web": "registry.example.org/web:2"}));
    let mut new = version(2);
    new["metadata"]["annotations"]["checksum/config"] = json!("2");
    assert_eq!(word(approved(target.clone()).applied(&new, &named("eve"), 20)), "RolloutNotRequested");
    let free = approved(target).with(&json!({"freeChanges": [{"annotation": "checksum/config"}]}));
    assert_eq!(word(free.applied(&new, &named("eve"), 20)), "Confirmed");
    new["metadata"]["annotations"]["sidecar.istio.io/inject"] = json!("true");
    assert_eq!(word(free.applied(&new, &named("eve"), 20)), "RolloutNotRequested");
}

#[test]
fn a_change_is_about_its_own_namespace_unless_it_lives_with_foureyes() {
    let targets = |namespace: Value| {
        let mut target = by_digest(&version(2));
        if !namespace.is_null() {
            target["namespace"] = namespace;
        }
        serde_json::from_value(json!({"type": "Normal", "title": "t", "targets": [target]})).unwrap()
    };
    for (home, named_namespace, expected) in [
        ("shop", Value::Null, "Confirmed"),
        ("shop", json!("shop"), "Confirmed"),
        ("elsewhere", json!("shop"), "RolloutNotRequested"),
        ("elsewhere", Value::Null, "RolloutNotRequested"),
        ("shop", json!("elsewhere"), "RolloutNotRequested"),
        (OWN, json!("shop"), "Confirmed"),
        (OWN, Value::Null, "RolloutNotRequested"),
    ] {
        let request = change_of(home, targets(named_namespace), Some(&named(ALICE)));
        let rollout = Rollout::of(Some(request)).approved_by(&named("bob"), 10);
        assert_eq!(word(rollout.applied(&version(2), &named("eve"), 20)), expected, "{home}");
    }
}

#[test]
fn a_change_is_about_one_kind_and_name_in_any_version() {
    for (field, value, expected) in [
        ("apiVersion", "apps/v1beta1", "Confirmed"),
        ("apiVersion", "extensions/v1beta1", "RolloutNotRequested"),
        ("kind", "StatefulSet", "RolloutNotRequested"),
        ("name", "web-2", "RolloutNotRequested"),
    ] {
        let mut target = by_digest(&version(2));
        target[field] = json!(value);
        assert_eq!(word(approved(target).applied(&version(2), &named("eve"), 20)), expected, "{value}");
    }
}

/// What stops a change stops what would rest on it, and the refusal says which request and what next.
#[test]
fn objections_and_clocks_stop_a_change() {
    let base = || approved(by_digest(&version(2)));
    let code = |rollout: &Rollout, second: i64| rollout.applied(&version(2), &named("eve"), second).unwrap_err();
    let mut held = base();
    held.says(&named("carol"), Says::Hold, 15);
    assert_eq!(code(&held, 20).code, Code::OnHold);
    let mut rejected = base();
    rejected.says(&named("carol"), Says::Reject, 15);
    assert_eq!(code(&rejected, 20).code, Code::RequestEnded);
    let mut cancelled = base();
    cancelled.says(&named(ALICE), Says::Cancel, 15);
    assert_eq!(code(&cancelled, 20).code, Code::RequestEnded);
    let mut taken_back = base();
    taken_back.request.as_mut().unwrap().metadata.deletion_timestamp = Some(time(15));
    assert_eq!(code(&taken_back, 20).code, Code::RequestEnded);
    // A day from the approval at second 10 on.
    assert!(base().applied(&version(2), &named("eve"), 10 + DAY).is_ok());
    assert_eq!(code(&base(), 11 + DAY).code, Code::RequestEnded);
    let unsigned = Rollout::of(Some(change("Normal", &[by_digest(&version(2))], Some(&named(ALICE)))));
    let refusal = code(&unsigned, 20);
    assert_eq!(refusal.code, Code::SignOffMissing);
    assert!(refusal.sentence.contains("ChangeRequest shop/web-2 has 0 of 1 sign-offs"), "{refusal}");
    let command = refusal.next.unwrap().command;
    assert!(command.contains(r#""kind":"ChangeRequest""#) && command.contains(r#""namespace":"shop""#), "{command}");
    assert!(command.contains("request/v1:sha256:"), "{command}");
}

#[test]
fn the_clock_starts_when_the_window_opens_and_ends_with_it() {
    let windowed = |window: Value| {
        let spec = json!({"type": "Normal", "title": "t", "targets": [by_digest(&version(2))], "window": window});
        let request = change_of("shop", serde_json::from_value(spec).unwrap(), Some(&named(ALICE)));
        Rollout::of(Some(request)).approved_by(&named("bob"), 10)
    };
    let applied = |rollout: &Rollout, second| word(rollout.applied(&version(2), &named("eve"), second));
    let later = windowed(json!({"start": time(2 * DAY)}));
    assert_eq!(applied(&later, DAY), "WindowClosed");
    assert_eq!(applied(&later, 2 * DAY - 1), "WindowClosed");
    assert_eq!(applied(&later, 2 * DAY), "Confirmed");
    assert_eq!(applied(&later, 3 * DAY), "Confirmed");
    assert_eq!(applied(&later, 3 * DAY + 1), "RequestEnded");
    let short = windowed(json!({"end": time(HOUR)}));
    assert_eq!(applied(&short, HOUR), "Confirmed");
    assert_eq!(applied(&short, HOUR + 1), "RequestEnded");
}

#[test]
fn whoever_approves_anew_gets_no_new_clock() {
    let mut rollout = approved(by_digest(&version(2)));
    let status = rollout.request.as_mut().unwrap().status.get_or_insert_default();
    status.usable_from = Some(time(10));
    status.valid_until = Some(time(10 + DAY));
    rollout.sign_offs.clear();
    let again = rollout.approved_by(&named("carol"), 2 * DAY);
    assert_eq!(word(again.applied(&version(2), &named("eve"), 2 * DAY + 1)), "RequestEnded");
    // A policy that was tightened meanwhile counts from the first moment, too.
    let mut soon = again.with(&json!({"expiry": {"use": "1h"}}));
    soon.sign_offs.clear();
    let soon = soon.approved_by(&named("carol"), 20 * HOUR);
    assert_eq!(word(soon.applied(&version(2), &named("eve"), 20 * HOUR + 1)), "RequestEnded");
}

// Point 3.

#[test]
fn what_ran_under_authorisation_may_run_again_within_reach() {
    let versions: Vec<Value> = (1..=7).map(version).collect();
    let entries: Vec<_> = versions.iter().rev().map(|value| (value, How::Change, SeenOutcome::Seen)).collect();
    let mut rollout = Rollout::of(None);
    rollout.known = Some(known(&entries));
    let reached = |rollout: &Rollout| -> Vec<usize> {
        let all = versions.iter().enumerate().skip(1);
        all.filter(|(_, value)| rollout.applied(value, &named("eve"), 1).is_ok()).map(|(at, _)| at + 1).collect()
    };
    assert_eq!(reached(&rollout), [4, 5, 6, 7]);
    assert_eq!(reached(&rollout.clone().with(&json!({"rollback": {"revisions": 0}}))), [7]);
    assert_eq!(reached(&rollout.with(&json!({"rollback": {"revisions": 20}}))), [2, 3, 4, 5, 6, 7]);
}

#[rstest]
#[case(How::Baseline, SeenOutcome::Seen, true)]
#[case(How::Change, SeenOutcome::Seen, true)]
#[case(How::Change, SeenOutcome::Missed, true)]
#[case(How::Change, SeenOutcome::NotSeen, false)]
#[case(How::Change, SeenOutcome::Unused, false)]
#[case(How::Standard, SeenOutcome::Seen, true)]
#[case(How::Rollback, SeenOutcome::Seen, true)]
#[case(How::Emergency, SeenOutcome::Seen, true)]
#[case(How::Delegated, SeenOutcome::Seen, true)]
#[case(How::Unreviewed, SeenOutcome::Seen, false)]
#[case(How::Unauthorised, SeenOutcome::Seen, false)]
fn only_what_was_authorised_and_ran_is_gone_back_to(
    #[case] how: How,
    #[case] outcome: SeenOutcome,
    #[case] goes: bool,
) {
    let mut rollout = Rollout::of(None);
    rollout.known = Some(known(&[(&version(1), How::Baseline, SeenOutcome::Seen), (&version(2), how, outcome)]));
    let expected = if goes { "Recorded" } else { "RolloutNotRequested" };
    assert_eq!(word(rollout.applied(&version(2), &named("eve"), 1)), expected);
    let expected = if goes { "Recorded" } else { "RolloutNotRequested" };
    assert_eq!(word(rollout.created(&version(2), &named("eve"), 1)), expected);
}

#[test]
fn restarts_and_free_changes_push_nothing_out_of_reach() {
    let mut values = vec![version(3)];
    for checksum in 0..10 {
        let mut other = version(2);
        other["metadata"]["annotations"]["checksum/config"] = json!(checksum.to_string());
        values.push(other);
    }
    values.push(version(1));
    let entries: Vec<_> = values.iter().map(|value| (value, How::Change, SeenOutcome::Seen)).collect();
    let known = known(&entries);
    assert!(known.allows(&template(&version(1)).digest().unwrap(), 2));
    assert!(!known.allows(&template(&version(1)).digest().unwrap(), 1));
}

// Points 4 and 5.

fn standard() -> Value {
    let target = json!({"group": "apps", "kind": "Deployment", "namespace": "sh*", "name": "web"});
    json!({"standardChanges": [{
        "targets": [target], "imagePattern": "registry.example.org/web:*", "actors": [{"username": BOT}],
    }]})
}

#[rstest]
#[case(BOT, version(2), "Standard")]
#[case("eve", version(2), "RolloutNotRequested")]
#[case(BOT, web("evil.example.org/web:2", "registry.example.org/log:1", "info"), "RolloutNotRequested")]
#[case(BOT, web("registry.example.org/web:2", "registry.example.org/log:2", "info"), "RolloutNotRequested")]
#[case(BOT, web("registry.example.org/web:2", "registry.example.org/log:1", "debug"), "RolloutNotRequested")]
fn a_standard_change_is_images_within_a_pattern(#[case] actor: &str, #[case] new: Value, #[case] expected: &str) {
    let rollout = Rollout::of(None).with(&standard());
    assert_eq!(word(rollout.applied(&new, &named(actor), 1)), expected);
    let mut elsewhere = rollout;
    elsewhere.workload.name = "other".to_owned();
    assert_eq!(word(elsewhere.applied(&new, &named(actor), 1)), "RolloutNotRequested");
}

#[test]
fn a_standard_change_rests_on_what_was_authorised() {
    let mut rollout = Rollout::of(None).with(&standard());
    rollout.known = Some(known(&[(&version(1), How::Unreviewed, SeenOutcome::Seen)]));
    assert_eq!(word(rollout.applied(&version(2), &named(BOT), 1)), "RolloutNotRequested");
}

#[test]
fn an_operator_rolls_out_what_it_owns_by_delegation() {
    let delegations = json!({"delegations": [{
        "serviceAccount": {"namespace": "ops", "name": "updater"},
        "ownerKind": {"group": "example.org", "kind": "Shop"}, "may": ["Roll"],
    }]});
    let mut rollout = Rollout::of(None).with(&delegations);
    let owner = |kind: &str| Controller { group: "example.org".into(), kind: kind.into(), name: "main".into() };
    assert_eq!(word(rollout.applied(&version(2), &named(BOT), 1)), "RolloutNotRequested");
    rollout.controller = Some(owner("Shop"));
    assert_eq!(word(rollout.applied(&version(2), &named(BOT), 1)), "Delegated");
    assert_eq!(word(rollout.created(&version(2), &named(BOT), 1)), "Delegated");
    assert_eq!(word(rollout.removed(&named(BOT), 1)), "Delegated");
    assert_eq!(word(rollout.applied(&version(2), &named("eve"), 1)), "RolloutNotRequested");
    rollout.controller = Some(owner("Other"));
    assert_eq!(word(rollout.applied(&version(2), &named(BOT), 1)), "RolloutNotRequested");
}

#[test]
fn an_emergency_needs_somebody_who_may_expedite_and_is_soon_over() {
    let emergency = |requester: &str, expedites: &[&str]| {
        let request = change("Emergency", &[by_digest(&version(2))], Some(&named(requester)));
        let mut rollout = Rollout::of(Some(request));
        rollout.may_expedite = expedites.iter().map(|name| (*name).to_owned()).collect();
        rollout
    };
    let dave = emergency("dave", &["dave"]);
    assert!(dave.standing().expedited);
    assert_eq!(word(dave.applied(&version(2), &named("dave"), 1)), "Confirmed");
    assert_eq!(word(dave.applied(&version(2), &named("eve"), 4 * HOUR)), "Confirmed");
    assert_eq!(word(dave.applied(&version(2), &named("dave"), 4 * HOUR + 1)), "RequestEnded");
    assert_eq!(word(dave.applied(&version(3), &named("dave"), 1)), "RolloutNotRequested");
    for (who, expedites) in [("eve", "dave"), (BOT, BOT), ("admin", "admin")] {
        let other = emergency(who, &[expedites]);
        assert!(!other.standing().expedited);
        assert_eq!(word(other.applied(&version(2), &named(who), 1)), "SignOffMissing", "{who}");
    }
    // With sign-offs it is as good as any other.
    let signed = emergency("eve", &[]).approved_by(&named("bob"), 10);
    assert_eq!(word(signed.applied(&version(2), &named("eve"), 20)), "Confirmed");
    // The right helps no change of another type.
    let mut normal = emergency("dave", &["dave"]);
    normal.request = Some(change("Normal", &[by_digest(&version(2))], Some(&named("dave"))));
    assert_eq!(word(normal.applied(&version(2), &named("dave"), 1)), "SignOffMissing");
    let mut held = emergency("dave", &["dave"]);
    held.says(&named("carol"), Says::Hold, 1);
    assert_eq!(word(held.applied(&version(2), &named("dave"), 2)), "OnHold");
}

/// What protects data is opened by two people, whatever the hurry and whoever is trusted with rollouts: else one of them
/// could take the protection away first, and the data then.
#[rstest]
#[case::namespace("shop", vec![protection("Namespace", "shop", "v1")], false)]
#[case::policy(OWN, vec![protection("SafetyPolicy", "default", "foureyes.dev/v1alpha1")], false)]
#[case::policy_removed(OWN, vec![gone("SafetyPolicy", "strict", "foureyes.dev/v1alpha1")], false)]
#[case::definition(OWN, vec![gone("CustomResourceDefinition", "x.foureyes.dev", "apiextensions.k8s.io/v1")], false)]
#[case::beside_a_rollout("shop", vec![by_digest(&version(2)), protection("Namespace", "shop", "v1")], false)]
#[case::rollout("shop", vec![by_digest(&version(2))], true)]
fn nobody_alone_opens_what_protects_data(#[case] home: &str, #[case] targets: Vec<Value>, #[case] alone: bool) {
    let policy = json!({"approvals": {"machineSubmitters": [
        {"serviceAccount": {"namespace": "ops", "name": "updater"}, "approvals": 0},
    ]}});
    for (change_type, who, required) in [("Emergency", "dave", 1), ("Normal", BOT, 2)] {
        let spec = json!({"type": change_type, "title": "t", "targets": targets});
        let request = change_of(home, serde_json::from_value(spec).unwrap(), Some(&named(who)));
        let mut rollout = Rollout::of(Some(request)).with(&policy);
        rollout.may_expedite = vec![who.to_owned()];
        let standing = rollout.standing();
        assert_eq!(standing.judgement.required, if alone { 0 } else { required }, "{who}");
        assert_eq!((standing.judgement.suffices(), standing.usable.is_some()), (alone, alone), "{who}");
        assert_eq!(standing.expedited, alone && who == "dave");
    }
}

fn gone(kind: &str, name: &str, version: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "name": name, "action": "Remove"})
}

fn protection(kind: &str, name: &str, version: &str) -> Value {
    let digest = json!({"encoding": "object/v1", "value": format!("sha256:{}", "0".repeat(64))});
    json!({"apiVersion": version, "kind": kind, "name": name, "action": "Apply", "digest": digest})
}

// What a refusal says.

#[test]
fn a_refusal_shows_what_would_run_and_the_line_that_asks_for_it() {
    let refusal = Rollout::of(None).applied(&version(2), &named("eve"), 1).unwrap_err();
    assert_eq!(
        refusal.sentence,
        "Deployment shop/web was not rolled out: what would run is new, and no approved change names it"
    );
    let digest = template(&version(2)).digest().unwrap();
    assert_eq!(
        refusal.details,
        [format!(
            "Would run: log registry.example.org/log:1, web registry.example.org/web:1 → registry.example.org/web:2 ({digest})"
        )]
    );
    // What the line creates covers exactly what was refused.
    let command = refusal.next.unwrap().command;
    let object = command.strip_prefix("echo '").and_then(|rest| rest.strip_suffix("' | kubectl create -f -")).unwrap();
    let object: Value = serde_json::from_str(object).unwrap();
    assert_eq!(object["metadata"], json!({"generateName": "web-", "namespace": "shop"}));
    assert_eq!(
        object["spec"]["description"],
        "log registry.example.org/log:1, web registry.example.org/web:1 → registry.example.org/web:2"
    );
    let request = change_of("shop", serde_json::from_value(object["spec"].clone()).unwrap(), Some(&named("eve")));
    let rollout = Rollout::of(Some(request)).approved_by(&named("bob"), 10);
    assert_eq!(word(rollout.applied(&version(2), &named("eve"), 20)), "Confirmed");
    assert_eq!(word(rollout.applied(&version(3), &named("eve"), 20)), "RolloutNotRequested");
}

#[test]
fn a_refusal_is_short_whatever_is_refused() {
    let mut many = version(2);
    let container = |n: usize| json!({"name": format!("c{n}"), "image": format!("é{}:{n}", "x".repeat(400))});
    many["spec"]["containers"] = (0..2000).map(container).collect();
    let refusal = Rollout::of(None).created(&many, &named("eve"), 1).unwrap_err();
    assert!(refusal.to_string().len() < 10_000, "{}", refusal.to_string().len());
    assert!(refusal.details[0].contains("… (template/v1:sha256:"), "{}", refusal.details[0]);
}

#[test]
fn the_line_for_a_removal_covers_the_removal() {
    let refusal = Rollout::of(None).removed(&named("eve"), 1).unwrap_err();
    let command = refusal.next.unwrap().command;
    let object = command.strip_prefix("echo '").and_then(|rest| rest.strip_suffix("' | kubectl create -f -")).unwrap();
    let object: Value = serde_json::from_str(object).unwrap();
    let request = change_of("shop", serde_json::from_value(object["spec"].clone()).unwrap(), Some(&named("eve")));
    let rollout = Rollout::of(Some(request)).approved_by(&named("bob"), 10);
    assert_eq!(word(rollout.removed(&named("eve"), 20)), "Confirmed");
}

#[test]
fn whoever_can_not_be_told_from_others_rolls_nothing_out() {
    for name in ["", " ", "bob\n"] {
        let rollout = approved(by_digest(&version(2)));
        assert_eq!(word(rollout.applied(&version(2), &named(name), 20)), "IdentityUnusable");
    }
}

/// An approved digest is good for exactly this template: whatever is changed in it is refused.
#[test]
fn an_approval_binds_every_part_of_a_template() {
    let rollout = approved(by_digest(&version(2)));
    let images = approved(by_images(&json!({"web": "registry.example.org/web:2"})));
    let (whole, mut tried) = (template(&version(2)).digest().unwrap(), 0);
    for changed in mutations(&version(2)).iter().filter(|changed| changed.is_object()) {
        let digest = template(changed).digest().unwrap();
        if digest == whole || digest == template(&version(1)).digest().unwrap() {
            continue;
        }
        tried += 1;
        for rollout in [&rollout, &images] {
            assert!(rollout.applied(changed, &named("eve"), 20).is_err(), "{changed}");
        }
    }
    assert!(tried > 100, "{tried}");
    assert_eq!(workload(), rollout.workload);
}

fn spelled() -> impl Strategy<Value = Value> {
    let nothing = prop_oneof![Just(json!({})), Just(json!({"creationTimestamp": null}))];
    (nothing, any::<bool>()).prop_map(|(metadata, restarted)| {
        let mut value = version(2);
        let fields = value["metadata"].as_object_mut().unwrap();
        fields.extend(metadata.as_object().unwrap().clone());
        if restarted {
            fields["annotations"]["kubectl.kubernetes.io/restartedAt"] = json!("2026-11-23T10:00:00Z");
        }
        value
    })
}

proptest! {
    #[test]
    fn two_spellings_of_a_template_get_one_answer(one in spelled(), other in spelled(), by_image in any::<bool>()) {
        let target = if by_image { by_images(&json!({"web": "registry.example.org/web:2"})) } else { by_digest(&one) };
        let rollout = approved(target);
        prop_assert_eq!(word(rollout.applied(&other, &named("eve"), 20)), "Confirmed");
    }
}
