//! The policy `default` belongs to all tests: what one adds to its lists the others keep.

use std::sync::{Mutex, PoisonError};

use foureyes_testbed::{wait_for, with_four_eyes};
use serde_json::Value;

use super::objects::eventually;
use super::spelling::record;
use super::{PATIENCE, cluster, me};

static TURN: Mutex<()> = Mutex::new(());

/// Changes the spec of `default`, from what it is now, with four eyes where that loosens it. The change must concern
/// nobody else's namespaces, claims and people.
#[track_caller]
pub fn edit_floor(change: impl Fn(&mut Value)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = String::new();
    let written = wait_for("the policy default to be written", PATIENCE, || {
        let mut policy = record("safetypolicies", "default").live();
        change(&mut policy["spec"]);
        let replace = || Ok(me("admin").kubectl_with(&["replace", "-f", "-"], Some(&policy)));
        let output = with_four_eyes(cluster(), "the policy default", replace)?;
        last = output.text();
        Ok(output.ok().then_some(()))
    });
    assert!(written.is_ok(), "the policy default was not written:\n{last}");
}

/// Adds an entry to one of its lists, by a JSON pointer such as `/identities/shared`.
#[track_caller]
pub fn add_to_floor(list: &str, entry: &Value) {
    edit_floor(|spec| {
        let mut place = spec;
        for key in list.split('/').skip(1) {
            place = &mut place[key];
        }
        if place.is_null() {
            *place = Value::Array(Vec::new());
        }
        let entries = place.as_array_mut().unwrap();
        if !entries.contains(entry) {
            entries.push(entry.clone());
        }
    });
}

/// Waits until what follows from a policy, a configuration or a label is seen by both webhooks: calls alternate between
/// them.
#[track_caller]
pub fn in_force(what: &str, mut probe: impl FnMut() -> bool) {
    let mut in_a_row = 0;
    eventually(what, || {
        in_a_row = if probe() { in_a_row + 1 } else { 0 };
        in_a_row == 6
    });
}
