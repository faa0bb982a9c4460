//! An approval is good for exactly this object with exactly this content, and only as it was sealed (I 3, I 8;
//! bypasses 26, 31, 32; fact 7).

use foureyes_core::api::{Says, SignOff, Target};
use foureyes_core::domain::inventory::{Claim, Inventory};
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::domain::statement::{ApprovalRecord, prove_requester, prove_sign_off};
use foureyes_core::reason::Code;
use foureyes_core::seal::{KeyRing, SealError};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{
    CLUSTER, DAY, Scene, claim, inventory, key, named, record, ring, second, sign_off, subject_of, time, uid, volume,
};

/// alice asked, bob signed off, and it is released.
fn released() -> Scene {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.approves(&named("bob"), 10);
    scene.reconciled(TargetState::Live, 60);
    assert!(scene.confirmed(&named("carol"), 90).is_ok());
    scene
}

fn refused(scene: &Scene) -> Code {
    scene.confirmed(&named("carol"), 90).unwrap_err().code
}

#[test]
fn an_approval_is_useless_for_another_object() {
    let mut scene = released();
    scene.target = Target { name: "data-2".to_owned(), uid: claim(2).uid.to_string(), ..scene.target };
    assert_eq!(refused(&scene), Code::SubjectUnknown);
}

#[test]
fn an_approval_is_useless_for_a_new_object_of_the_same_name() {
    let mut scene = released();
    scene.target.uid = uid(0x2e_c4ea_7ed0);
    assert_eq!(refused(&scene), Code::SubjectUnknown);
    // Nor when its UID is written into the request: that is another content.
    scene.request.spec.target.uid.clone_from(&scene.target.uid);
    assert_eq!(refused(&scene), Code::InventoryUnknown);
    // Nor when the status is made to match: the sign-off named another digest.
    scene.request.status.as_mut().unwrap().subject_digest = Some(scene.digest());
    assert_eq!(refused(&scene), Code::SignOffMissing);
}

#[test]
fn an_approval_is_useless_for_another_request() {
    let mut scene = released();
    scene.request.metadata.uid = Some(uid(0x0de1_ffff));
    assert_eq!(refused(&scene), Code::SignOffMissing);
    let mut scene = released();
    let mut moved = scene.sign_offs.remove(0);
    scene.request.metadata.uid = Some(uid(0x0de1_ffff));
    moved.spec.subject = subject_of(&scene.request);
    scene.sign_offs.push(moved);
    assert_eq!(refused(&scene), Code::SignOffMissing);
}

#[test]
fn a_sign_off_names_its_request_by_name_and_uid() {
    let mut scene = released();
    let subject = foureyes_core::api::Subject { name: "del-9".to_owned(), ..subject_of(&scene.request) };
    let digest = scene.digest();
    scene.sign_offs = vec![sign_off("so-9", subject, Says::Approve, Some(&digest), &named("bob"), 10)];
    assert_eq!(refused(&scene), Code::SignOffMissing);
}

#[test]
fn what_was_not_frozen_was_not_signed_off() {
    let mut scene = released();
    scene.request.status.as_mut().unwrap().inventory.as_mut().unwrap().frozen = false;
    assert_eq!(refused(&scene), Code::NotYetExecutable);
    assert_eq!(scene.cascaded(90).unwrap_err().code, Code::SignOffMissing);
}

/// A finalizer may keep what was deleted in storage; it counts no more, from the very second.
#[test]
fn a_sign_off_that_was_deleted_is_withdrawn() {
    let mut scene = released();
    scene.sign_offs[0].metadata.deletion_timestamp = Some(time(80));
    assert_eq!(refused(&scene), Code::SignOffMissing);
    assert_eq!(scene.cascaded(80).unwrap_err().code, Code::SignOffMissing);
    assert_eq!(scene.cascaded(81).unwrap_err().code, Code::SignOffMissing);
    assert!(scene.cascaded(79).is_ok());
    let mut taken_back = released();
    taken_back.request.metadata.deletion_timestamp = Some(time(80));
    assert_eq!(refused(&taken_back), Code::RequestEnded);
}

#[test]
fn an_approval_is_useless_when_the_request_or_the_data_changed() {
    for change in [
        |scene: &mut Scene| "another reason".clone_into(&mut scene.request.spec.reason),
        |scene: &mut Scene| scene.request.spec.ticket = Some("T-1".to_owned()),
        |scene: &mut Scene| "v2".clone_into(&mut scene.request.spec.target.api_version),
    ] {
        let mut scene = released();
        change(&mut scene);
        scene.target = scene.request.spec.target.clone();
        assert_eq!(refused(&scene), Code::InventoryUnknown);
        scene.request.status.as_mut().unwrap().subject_digest = Some(scene.digest());
        assert_eq!(refused(&scene), Code::SignOffMissing);
    }
    let mut grown = released();
    grown.live = inventory([1, 2]);
    assert_eq!(refused(&grown), Code::InventoryGrown);
    let mut other = released();
    let again = Claim { uid: claim(9).uid, ..claim(1) };
    other.live = Inventory::of([(&again, Some(&volume(1)))]);
    assert_eq!(refused(&other), Code::InventoryGrown);
    let mut rebound = released();
    rebound.live = Inventory::of([(&claim(1), Some(&volume(7)))]);
    assert_eq!(refused(&rebound), Code::InventoryGrown);
}

#[test]
fn what_is_gone_already_does_not_stand_in_the_way() {
    let mut scene = released();
    scene.live = Inventory::of([(&claim(1), None)]);
    assert!(scene.confirmed(&named("carol"), 90).is_ok());
}

#[test]
fn packed_items_that_were_made_up_approve_nothing() {
    for packed in ["", "AAAA", "not base64", "////////////////////////////////"] {
        let mut scene = released();
        let status = scene.request.status.as_mut().unwrap();
        packed.clone_into(&mut status.inventory.as_mut().unwrap().packed_uids);
        let code = refused(&scene);
        assert!(matches!(code, Code::InventoryGrown | Code::InventoryUnknown), "{packed}: {code}");
    }
}

/// Nor into one of which not every item is listed.
#[test]
fn items_that_were_slipped_into_a_long_inventory_are_noticed() {
    let mut scene = Scene::of_namespace(Some(&named("alice")));
    scene.live = inventory(1..=80);
    scene.reconciled(TargetState::Live, 1);
    scene.approves(&named("bob"), 10);
    scene.reconciled(TargetState::Live, 60);
    assert!(scene.confirmed(&named("carol"), 90).is_ok());
    let taken = scene.request.status.as_mut().unwrap().inventory.as_mut().unwrap();
    assert!(taken.items.len() < usize::try_from(taken.total).unwrap());
    taken.packed_uids = inventory(1..=81).packed().unwrap();
    assert_eq!(refused(&scene), Code::InventoryUnknown);
    scene.live = inventory(1..=81);
    assert_eq!(refused(&scene), Code::InventoryUnknown);
    assert_eq!(scene.cascaded(90).unwrap_err().code, Code::InventoryUnknown);
}

/// Somebody who could write a status could not smuggle an item in: the list has the digest that was signed off.
#[test]
fn items_that_were_slipped_in_are_noticed() {
    type Change = fn(&mut foureyes_core::api::InventoryStatus);
    let changes: [Change; 4] = [
        |taken| taken.packed_uids = inventory([1, 2]).packed().unwrap(),
        |taken| taken.items[0].uid = claim(2).uid.to_string(),
        |taken| "data-2".clone_into(&mut taken.items[0].name),
        |taken| "Secret".clone_into(&mut taken.items[0].kind),
    ];
    for change in changes {
        let mut scene = released();
        scene.live = inventory([1, 2]);
        change(scene.request.status.as_mut().unwrap().inventory.as_mut().unwrap());
        assert_eq!(refused(&scene), Code::InventoryUnknown);
        assert_eq!(scene.cascaded(90).unwrap_err().code, Code::InventoryUnknown);
    }
}

#[test]
fn the_annotation_is_good_for_its_object_and_its_inventory() {
    let mut scene = Scene::of_claim(None);
    scene.annotates(&named("bob"), -5);
    let text = serde_json::to_string(scene.record.as_ref().unwrap()).unwrap();
    assert!(ApprovalRecord::prove(ring(), &text, &scene.target.uid).is_ok());
    assert_eq!(ApprovalRecord::prove(ring(), &text, &uid(7)), Err(SealError::Mismatch));
    // Anybody may write it outside production, so that nothing long is even read.
    let long = |bytes| format!("{text}{}", " ".repeat(bytes - text.len()));
    assert!(ApprovalRecord::prove(ring(), &long(64 * 1024), &scene.target.uid).is_ok());
    assert_eq!(ApprovalRecord::prove(ring(), &long(64 * 1024 + 1), &scene.target.uid), Err(SealError::Malformed));
    scene.live = inventory([1, 2]);
    scene.reconciled(TargetState::Live, 60);
    assert_eq!(refused(&scene), Code::SignOffMissing);
}

#[test]
fn an_annotation_older_than_a_request_may_wait_counts_for_no_new_request() {
    for (second, counts) in [(-14 * DAY, true), (-14 * DAY - 1, false), (-400 * DAY, false)] {
        let mut scene = Scene::of_claim(None);
        scene.annotates(&named("bob"), second);
        assert_eq!(scene.judged().suffices(), counts, "{second}");
    }
}

#[test]
fn an_annotation_counts_for_no_request_that_a_person_made() {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.annotates(&named("bob"), 10);
    let judged = scene.judged();
    assert!(!judged.suffices() && judged.entries[0].because.as_deref().unwrap().contains("a person asked"));
}

#[test]
fn an_annotation_that_was_seen_gone_counts_no_more_whoever_puts_its_record_back() {
    let mut scene = Scene::of_claim(None);
    scene.annotates(&named("bob"), 10);
    let made = scene.record.clone();
    scene.reconciled(TargetState::Live, 60);
    assert!(scene.confirmed(&named("eve"), 90).is_ok());
    scene.record = None;
    scene.reconciled(TargetState::Live, 100);
    scene.record.clone_from(&made);
    // At once, and after the controller has looked again.
    for second in [110, 120] {
        assert_eq!(scene.confirmed(&named("eve"), second).unwrap_err().code, Code::SignOffMissing);
        scene.reconciled(TargetState::Live, second);
    }
    // Whoever has looked again approves again; the older one counts no more after that either.
    scene.annotates(&named("bob"), 200);
    scene.reconciled(TargetState::Live, 210);
    assert!(scene.confirmed(&named("eve"), 220).is_ok());
    scene.record = made;
    assert_eq!(scene.confirmed(&named("eve"), 230).unwrap_err().code, Code::SignOffMissing);
    scene.reconciled(TargetState::Live, 240);
    assert_eq!(scene.confirmed(&named("eve"), 250).unwrap_err().code, Code::SignOffMissing);
}

/// Whoever takes an approval back may give it again at once: its time is told to the microsecond.
#[test]
fn an_annotation_in_the_same_second_as_one_that_was_withdrawn_counts() {
    let mut scene = Scene::of_claim(None);
    let again = |scene: &Scene, micros: i64| {
        let record = scene.record.clone().unwrap();
        let at = MicroTime(record.at.0 + SignedDuration::from_micros(micros));
        ApprovalRecord { at, seal: None, ..record }.sealed(key(), CLUSTER).unwrap()
    };
    scene.annotates(&named("bob"), 10);
    scene.reconciled(TargetState::Live, 60);
    let next = again(&scene, 1);
    scene.record = None;
    scene.reconciled(TargetState::Live, 61);
    scene.record = Some(next);
    scene.reconciled(TargetState::Live, 62);
    assert!(scene.confirmed(&named("eve"), 63).is_ok());
}

#[test]
fn keys_of_another_cluster_or_another_time_prove_nothing() {
    let scene = released();
    let made = &scene.sign_offs[0];
    let elsewhere = KeyRing { cluster_id: uid(1), ..ring().clone() };
    assert_eq!(prove_sign_off(&elsewhere, made), Err(SealError::Mismatch));
    assert_eq!(prove_sign_off(&KeyRing::default(), made), Err(SealError::UnknownKey));
    let late = KeyRing { keys: vec![key().public(time(DAY).0)], ..ring().clone() };
    assert_eq!(prove_sign_off(&late, made), Err(SealError::KeyNotActive));
}

#[test]
fn a_statement_must_have_been_created_when_it_says() {
    for (shift, holds) in [(15, true), (-15, true), (16, false), (-16, false)] {
        let mut made = released().sign_offs.remove(0);
        let said = second(made.spec.at.as_ref().unwrap());
        made.metadata.creation_timestamp = Some(time(said + shift));
        assert_eq!(prove_sign_off(ring(), &made).is_ok(), holds, "{shift}");
        let mut request = released().request;
        request.metadata.creation_timestamp = Some(time(shift));
        assert_eq!(prove_requester(ring(), &request).is_ok(), holds, "{shift}");
    }
}

/// Every value below `value` replaced by something else, removed, or joined by another.
pub fn mutations(value: &Value) -> Vec<Value> {
    let mut all: Vec<Value> = match value {
        Value::Null => vec![json!("x")],
        Value::Bool(_) | Value::Number(_) => vec![json!(4711)],
        Value::String(text) => {
            let mut all: Vec<Value> =
                vec![json!(format!("{text}x")), json!(format!("x{text}")), json!(text.to_uppercase()), json!("")];
            all.extend(text.char_indices().map(|(at, old)| {
                let new = if old == '0' { '1' } else { '0' };
                json!(format!("{}{new}{}", &text[..at], &text[at + old.len_utf8()..]))
            }));
            all
        }
        Value::Array(items) => {
            let mut all = vec![json!([])];
            for (at, item) in items.iter().enumerate() {
                for changed in mutations(item) {
                    let mut items = items.clone();
                    items[at] = changed;
                    all.push(Value::Array(items));
                }
                let mut more = items.clone();
                more.push(item.clone());
                all.push(Value::Array(more));
            }
            all
        }
        Value::Object(map) => {
            let mut all = Vec::new();
            for (key, item) in map {
                let mut less = map.clone();
                less.remove(key);
                all.push(Value::Object(less));
                for changed in mutations(item) {
                    let mut map = map.clone();
                    map.insert(key.clone(), changed);
                    all.push(Value::Object(map));
                }
            }
            all
        }
    };
    all.retain(|changed| changed != value);
    all
}

fn rich_author() -> foureyes_core::api::Author {
    let extra = [("example.org/email".to_owned(), vec!["bob@example.org".to_owned()])].into();
    foureyes_core::api::Author { uid: Some("u-4711".to_owned()), extra, ..named("bob") }
}

#[test]
fn whatever_is_changed_in_a_sign_off_makes_it_worthless() {
    let scene = released();
    let made = sign_off("so-x", subject_of(&scene.request), Says::Approve, Some(&scene.digest()), &rich_author(), 10);
    let spec = serde_json::to_value(&made.spec).unwrap();
    let mut tried = 0;
    for changed in mutations(&spec) {
        let Ok(spec) = serde_json::from_value(changed) else { continue };
        let changed = SignOff { spec, ..made.clone() };
        if changed.spec == made.spec {
            continue; // Another spelling of the same time.
        }
        tried += 1;
        assert!(prove_sign_off(ring(), &changed).is_err(), "{:?}", changed.spec);
        let mut scene = scene.clone();
        scene.sign_offs = vec![changed];
        assert_eq!(scene.judged().counted, []);
    }
    assert!(tried > 200, "{tried}");
    let mut renamed = made.clone();
    renamed.metadata.name = Some("so-y".to_owned());
    assert_eq!(prove_sign_off(ring(), &renamed), Err(SealError::Mismatch));
    let mut later = made;
    later.spec.at =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-11-23T10:00:10.5Z".parse().unwrap()));
    assert!(prove_sign_off(ring(), &later).is_err());
}

#[test]
fn whatever_is_changed_in_a_requester_or_the_request_makes_it_nobodys() {
    let asked = crate::support::request("del-1", crate::support::claim_target(), Some(&rich_author()));
    assert!(prove_requester(ring(), &asked).is_ok());
    let mut tried = 0;
    for changed in mutations(&serde_json::to_value(&asked.spec).unwrap()) {
        let Ok(spec) = serde_json::from_value(changed) else { continue };
        let mut changed = asked.clone();
        changed.spec = spec;
        if changed.spec == asked.spec {
            continue;
        }
        tried += 1;
        assert!(prove_requester(ring(), &changed).is_err(), "{:?}", changed.spec);
    }
    assert!(tried > 200, "{tried}");
}

#[test]
fn whatever_is_changed_in_the_record_of_an_annotation_makes_it_worthless() {
    let object = crate::support::claim_target().uid;
    let made = record(&rich_author(), 10, &object, "1f3a9c0b22de");
    for changed in mutations(&serde_json::to_value(&made).unwrap()) {
        let same = serde_json::from_value::<ApprovalRecord>(changed.clone()).is_ok_and(|changed| changed == made);
        assert!(same || ApprovalRecord::prove(ring(), &changed.to_string(), &object).is_err(), "{changed}");
    }
    let mut more = serde_json::to_value(&made).unwrap();
    more["counts"] = json!(true);
    assert_eq!(ApprovalRecord::prove(ring(), &more.to_string(), &object), Err(SealError::Malformed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A byte replaced anywhere in what is stored.
    #[test]
    fn a_mutated_byte_counts_for_nothing(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let scene = released();
        let made = &scene.sign_offs[0];
        let mut bytes = serde_json::to_vec(made).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let Ok(changed) = serde_json::from_slice::<SignOff>(&bytes) else { return Ok(()) };
        prop_assume!(changed.spec != made.spec || changed.metadata.name != made.metadata.name);
        let mut scene = scene.clone();
        scene.sign_offs = vec![changed];
        prop_assert!(scene.judged().counted.is_empty());
        prop_assert!(scene.confirmed(&named("carol"), 90).is_err());
    }
}
