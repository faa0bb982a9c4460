//! Who may ask for which change, and what is said about it.

use foureyes_core::api::{Author, ChangePhase, ChangeRequest, ChangeRequestStatus, Requester, Says};
use foureyes_core::domain::change::rights_namespaces;
use foureyes_core::domain::change_asked::change_created;
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::domain::request::Request as _;
use foureyes_core::domain::speaking::{request_deleted, sign_off_created, sign_off_deleted};
use foureyes_core::domain::statement::request_digest;
use foureyes_core::reason::Code;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rstest::rstest;
use serde_json::{Value, json};

use crate::changes::{OWN, by_digest, by_images, change, change_of, floor, removal, version};
use crate::speaking::Knowledge;
use crate::support::{at, identities, named, ring, sign_off, time};

fn asked(request: &ChangeRequest, known: &Knowledge) -> Result<(), Code> {
    let policies = floor(&json!({}));
    let asked = change_created(&known.speaker(), request, policies.floor(), OWN, ring(), at(1));
    asked.map(drop).map_err(|refusal| refusal.code)
}

fn with(target: &Value, field: &str, value: Value) -> Value {
    let mut target = target.clone();
    target[field] = value;
    target
}

fn object(kind: &str, name: &str, version: &str) -> Value {
    let digest = json!({"encoding": "object/v1", "value": format!("sha256:{}", "0".repeat(64))});
    json!({"apiVersion": version, "kind": kind, "name": name, "action": "Apply", "digest": digest})
}

#[rstest]
#[case::digest("shop", vec![by_digest(&version(2))], true)]
#[case::images("shop", vec![by_images(&json!({"web": "w:2"}))], true)]
#[case::removal("shop", vec![removal()], true)]
#[case::of_two("shop", vec![by_digest(&version(2)), with(&by_digest(&version(2)), "name", json!("other"))], true)]
#[case::twice("shop", vec![by_digest(&version(2)), by_digest(&version(3))], false)]
#[case::twice_spelled("shop", vec![by_digest(&version(2)), with(&removal(), "namespace", json!("shop"))], false)]
#[case::elsewhere("shop", vec![with(&by_digest(&version(2)), "namespace", json!("other"))], false)]
#[case::from_home(OWN, vec![with(&by_digest(&version(2)), "namespace", json!("other"))], true)]
#[case::own_namespace_object("shop", vec![object("Namespace", "shop", "v1")], true)]
#[case::other_namespace_object("shop", vec![object("Namespace", "other", "v1")], false)]
#[case::policy("shop", vec![object("SafetyPolicy", "default", "foureyes.dev/v1alpha1")], false)]
#[case::policy_from_home(OWN, vec![object("SafetyPolicy", "default", "foureyes.dev/v1alpha1")], true)]
#[case::secret("shop", vec![object("Secret", "key", "v1")], true)]
#[case::object_digest_of_a_workload("shop", vec![object("Deployment", "web", "apps/v1")], false)]
#[case::images_of_a_secret("shop", vec![with(&by_images(&json!({"a": "b"})), "kind", json!("Secret"))], false)]
#[case::path("shop", vec![with(&by_digest(&version(2)), "name", json!("../secrets/key"))], false)]
#[case::no_version("shop", vec![with(&by_digest(&version(2)), "apiVersion", json!("apps/"))], false)]
fn a_change_names_what_it_can_be_used_for(#[case] home: &str, #[case] targets: Vec<Value>, #[case] goes: bool) {
    let spec = json!({"type": "Normal", "title": "t", "targets": targets});
    let request = change_of(home, serde_json::from_value(spec).unwrap(), Some(&named("alice")));
    let expected = if goes { Ok(()) } else { Err(Code::ChangeInvalid) };
    assert_eq!(asked(&request, &Knowledge::of(&named("alice"))), expected);
}

#[test]
fn who_asks_is_who_stamp_says_and_has_the_right() {
    let alice = named("alice");
    let known = || Knowledge::of(&alice);
    let request = change("Normal", &[by_digest(&version(2))], Some(&alice));
    assert_eq!(asked(&request, &known()), Ok(()));
    assert_eq!(asked(&request, &Knowledge::of(&named("eve"))), Err(Code::IdentityForged));
    assert_eq!(asked(&request, &Knowledge { may_request: false, ..known() }), Err(Code::RightMissing));
    assert_eq!(asked(&request, &Knowledge { open: 100, ..known() }), Err(Code::TooManyOpen));
    let mut unsealed = request.clone();
    unsealed.spec.requester.as_mut().unwrap().seal = None;
    assert_eq!(asked(&unsealed, &known()), Err(Code::IdentityForged));
    let mut moved = request.clone();
    moved.metadata.namespace = Some("other".to_owned());
    assert_eq!(asked(&moved, &known()), Err(Code::IdentityForged));
    let unauthorized = change("Unauthorized", &[by_digest(&version(2))], Some(&alice));
    assert_eq!(asked(&unauthorized, &known()), Err(Code::ChangeInvalid));
    assert_eq!(asked(&unauthorized, &Knowledge { is_controller: true, ..known() }), Ok(()));
    let spec = json!({
        "type": "Normal", "title": "t", "targets": [removal()], "window": {"start": time(9), "end": time(9)},
    });
    let backwards = change_of("shop", serde_json::from_value(spec).unwrap(), Some(&alice));
    assert_eq!(asked(&backwards, &known()), Err(Code::ChangeInvalid));
}

#[test]
fn rights_are_asked_for_wherever_a_target_is() {
    let spec = |targets: Value| {
        let spec = json!({"type": "Normal", "title": "t", "targets": targets});
        change_of(OWN, serde_json::from_value(spec).unwrap(), None)
    };
    let request = spec(json!([
        with(&by_digest(&version(2)), "namespace", json!("shop")),
        object("Namespace", "other", "v1"),
        object("SafetyPolicy", "default", "foureyes.dev/v1alpha1"),
    ]));
    let places: Vec<String> = rights_namespaces(&request, OWN).into_iter().collect();
    assert_eq!(places, ["", "other", "shop"]);
}

fn in_phase(phase: ChangePhase) -> ChangeRequest {
    let mut request = change("Normal", &[by_digest(&version(2))], Some(&named("alice")));
    let digest = request_digest(&request.spec).unwrap();
    request.status = Some(ChangeRequestStatus {
        phase: Some(phase),
        request_digest: Some(digest),
        ..ChangeRequestStatus::default()
    });
    request
}

#[rstest]
#[case("bob", Says::Approve, ChangePhase::Pending, None)]
#[case("alice", Says::Approve, ChangePhase::Pending, Some(Code::SelfApproval))]
#[case("admin", Says::Approve, ChangePhase::Pending, Some(Code::NotAPerson))]
#[case("bob", Says::Hold, ChangePhase::InProgress, None)]
#[case("bob", Says::Approve, ChangePhase::Succeeded, Some(Code::RequestEnded))]
#[case("bob", Says::Reject, ChangePhase::Expired, Some(Code::RequestEnded))]
#[case("bob", Says::Cancel, ChangePhase::Approved, Some(Code::StatementNotYours))]
#[case("alice", Says::Cancel, ChangePhase::Approved, None)]
fn what_is_said_about_a_change(
    #[case] who: &str,
    #[case] says: Says,
    #[case] phase: ChangePhase,
    #[case] expected: Option<Code>,
) {
    let (request, author) = (in_phase(phase), named(who));
    let digest = request.current_digest().map(str::to_owned).filter(|_| says == Says::Approve);
    let made = sign_off("so-1", request.subject().unwrap(), says, digest.as_deref(), &author, 1);
    let known = Knowledge::of(&author);
    let said = sign_off_created(&known.speaker(), &made, Some(&request), &identities(), ring(), at(1));
    assert_eq!(said.err().map(|refusal| refusal.code), expected);
    let mut elsewhere = request;
    elsewhere.metadata.namespace = Some("other".to_owned());
    let said = sign_off_created(&known.speaker(), &made, Some(&elsewhere), &identities(), ring(), at(1));
    assert_eq!(said.err().map(|refusal| refusal.code), Some(Code::SubjectUnknown));
}

#[test]
fn an_approval_of_another_content_is_stale_and_the_refusal_shows_the_current() {
    let request = in_phase(ChangePhase::Pending);
    let stale = format!("request/v1:sha256:{}", "0".repeat(64));
    let made = sign_off("so-1", request.subject().unwrap(), Says::Approve, Some(&stale), &named("bob"), 1);
    let known = Knowledge::of(&named("bob"));
    let refusal = sign_off_created(&known.speaker(), &made, Some(&request), &identities(), ring(), at(1)).unwrap_err();
    assert_eq!(refusal.code, Code::DigestStale);
    assert!(refusal.next.unwrap().command.contains(request.current_digest().unwrap()));
}

#[test]
fn a_reject_stays_as_the_reason_and_a_hold_is_taken_back_while_it_rolls_out() {
    let bob = named("bob");
    let deleted = |says, phase| {
        let request = in_phase(phase);
        let made = sign_off("so-1", request.subject().unwrap(), says, None, &bob, 1);
        sign_off_deleted(&bob, false, &made, Some(&request), false).map(drop).map_err(|refusal| refusal.code)
    };
    assert_eq!(deleted(Says::Reject, ChangePhase::Rejected), Err(Code::RequestEnded));
    assert_eq!(deleted(Says::Hold, ChangePhase::InProgress), Ok(()));
}

#[test]
fn a_change_in_use_or_with_an_open_bill_is_deleted_by_nobody() {
    let deleted = |who: &str, request: &ChangeRequest| {
        let known = Knowledge::of(&named(who));
        request_deleted(&known.speaker(), request, TargetState::Gone, at(1)).map(drop).map_err(|refusal| refusal.code)
    };
    assert_eq!(deleted("alice", &in_phase(ChangePhase::Pending)), Ok(()));
    assert_eq!(deleted("bob", &in_phase(ChangePhase::Approved)), Err(Code::StatementNotYours));
    assert_eq!(deleted("alice", &in_phase(ChangePhase::InProgress)), Err(Code::RequestInUse));
    let mut ended = in_phase(ChangePhase::Succeeded);
    assert_eq!(deleted("bob", &ended), Ok(()));
    let mut bill = |status: &str| {
        ended.status.as_mut().unwrap().conditions = vec![Condition {
            type_: "ReviewOwed".to_owned(),
            status: status.to_owned(),
            reason: "Expedited".to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: time(1),
        }];
        deleted("bob", &ended)
    };
    assert_eq!(bill("True"), Err(Code::RequestInUse));
    assert_eq!(bill("False"), Ok(()));
}

#[test]
fn a_requester_is_sealed_with_the_namespace() {
    let author = Author { uid: Some("u-1".to_owned()), ..named("alice") };
    let request = change("Normal", &[removal()], Some(&author));
    let requester: Requester = request.spec.requester.clone().unwrap();
    assert_eq!(requester.author, author);
    let known = Knowledge::of(&author);
    assert_eq!(asked(&request, &known), Ok(()));
}
