//! One author floods nobody: at most 100 open requests and 50 sign-offs on open requests.

use serde_json::{Value, json};

use super::asked_by_alice;
use crate::support::requests::{request, target};
use crate::support::{PATIENCE, Who, acting, claim, denied, production, went};

/// Creates many objects with one command.
fn all_at_once(who: &Who, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    went(&who.kubectl_with(&["create", "-f", "-", "-o=name"], Some(&list)));
}

/// What was created reaches the webhooks a moment later.
#[track_caller]
fn eventually_too_many(who: &Who, object: &Value) {
    foureyes_testbed::wait_until("the limit to be reached", PATIENCE, || {
        who.create(object, &["--dry-run=server"]).text().contains("[TooManyOpen]")
    })
    .unwrap();
    who.cannot_create("TooManyOpen", object);
}

#[test]
fn fifty_sign_offs_on_open_requests() {
    let (namespace, asked) = asked_by_alice("limit-sign-offs");
    let (_, other) = asked_by_alice("limit-other");
    let author = format!("{namespace}-author");
    let who = acting(&author, &["ops"]);
    all_at_once(&who, &vec![asked.sign_off("Hold"); 50]);
    eventually_too_many(&who, &asked.sign_off("Hold"));
    eventually_too_many(&who, &other.sign_off("Approve"));
    // a name in capitals is the same author, and others are not limited by it
    denied("TooManyOpen", &acting(&author.to_uppercase(), &["ops"]).create(&asked.sign_off("Hold"), &[]));
    other.said(&crate::support::me("bob"), "Approve");
    assert_eq!(asked.statements().lines().count(), 50);

    // what is said about ended requests does not count
    asked.said(&crate::support::me("alice"), "Cancel");
    asked.wait_phase("Cancelled");
    foureyes_testbed::wait_until("the limit to be free again", PATIENCE, || {
        who.create(&other.sign_off("Approve"), &[]).ok()
    })
    .unwrap();
}

#[test]
fn a_hundred_open_requests() {
    let namespace = production("limit-requests");
    let uid = claim(&namespace, "data");
    let who = acting(&format!("{namespace}-author"), &["ops"]);
    let wish = request(&namespace, &target(&namespace, "data", &uid));
    all_at_once(&who, &vec![wish.clone(); 100]);
    eventually_too_many(&who, &wish);
    let mine = ["get", "deletionrequests", &format!("--field-selector=spec.target.uid={uid}"), "-o=name"];
    let names = who.does(&mine);
    assert_eq!(names.lines().count(), 100);
    who.does(&["delete", names.lines().next().unwrap()]);
    foureyes_testbed::wait_until("the limit to be free again", PATIENCE, || who.create(&wish, &[]).ok()).unwrap();
}
