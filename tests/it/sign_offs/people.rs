//! Who counts as a second person: not the requester under any name, no machine, no shared account, and nobody without
//! the right in the target's namespace, neither when they speak nor when it is used.

use serde_json::{Value, json};

use super::asked_by_alice;
use crate::support::floor::add_to_floor;
use crate::support::requests::{asks, delete_claim, deletes_claim, request, stays, target};
use crate::support::{
    PATIENCE, Who, acting, claim, denied, exists, me, paste, production, succeeds_with, wait_gone, went,
};

/// Gives somebody a verb on `deletionrequests/signoff` by a plain Role and its binding in one namespace (fact 4).
fn grant(namespace: &str, verb: &str, subject: &Value) {
    let resources = if verb == "*" { "deletionrequests" } else { "deletionrequests/signoff" };
    let name = format!("may-{}", if verb == "*" { "all" } else { verb });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": name, "namespace": namespace},
        "rules": [{"apiGroups": ["foureyes.dev"], "resources": [resources], "verbs": [verb]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [subject],
    });
    for object in [role, binding] {
        succeeds_with("admin", &["apply", "-f", "-"], &object.to_string());
    }
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

/// A right that was just granted reaches the authorizer a moment later.
#[track_caller]
fn eventually_says(asked: &crate::support::requests::Asked, who: &Who, says: &str) {
    let mut last = String::new();
    let said = foureyes_testbed::wait_until("the sign-off to be taken", PATIENCE, || {
        let output = who.create(&asked.sign_off(says), &[]);
        last = output.text();
        output.ok()
    });
    assert!(said.is_ok(), "{last}");
}

#[test]
fn nobody_signs_off_their_own_request() {
    let (namespace, asked) = asked_by_alice("self");
    asked.cannot_be(&me("alice"), "Approve", "SelfApproval");
    // a certificate's name is the name, whatever groups come with it
    asked.cannot_be(&acting("alice", &["ops", "others"]), "Approve", "SelfApproval");
    asked.cannot_be(&acting("ALICE", &["ops"]), "Approve", "SelfApproval");
    denied("SignOffMissing", &delete_claim(&me("alice"), &namespace, "data"));
    stays(&namespace, "data");
}

#[test]
fn one_person_under_two_names_is_one_person() {
    let namespace = production("alias");
    let uid = claim(&namespace, "data");
    let mail = "example.org/email";
    let asked = asks(&acting("u-4711", &["ops"]).extra(mail, "Alice@example.org"), &namespace, "data", &uid);
    for alias in [
        acting("alice-admin", &["ops"]).extra(mail, "alice@example.org"),
        acting("oidc:alice@example.org", &["ops"]),
        acting("U-4711", &["ops"]),
    ] {
        asked.cannot_be(&alias, "Approve", "SelfApproval");
    }
    denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
    asked.said(&acting("bert", &["ops"]).extra(mail, "bert@example.org"), "Approve");
    asked.wait_phase("Executable");
    deletes_claim(&me("eve"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
}

#[test]
fn nobody_approves_twice_under_no_name() {
    let namespace = production("twice");
    let uid = claim(&namespace, "data");
    // a shared account asks, so two people are needed for everybody to execute
    let asked = asks(&me("admin"), &namespace, "data", &uid);
    let bobs = asked.said(&me("bob"), "Approve");
    asked.wait_field("{.status.signOffs.text}", "1/2");
    for name in [me("bob"), acting("BOB", &["ops"]), acting("bob-phone", &["ops"]).extra("example.org/email", "bob")] {
        let refusal = name.cannot_create("AlreadySaid", &asked.sign_off("Approve"));
        assert!(refusal.contains(&format!("bob has approved it already by sign-off {bobs}")), "{refusal}");
        let dry = name.create(&asked.sign_off("Approve"), &["--dry-run=server"]);
        let withdraws = denied("AlreadySaid", &dry).lines().last().unwrap().to_owned();
        assert_eq!(withdraws, format!("kubectl delete signoff {bobs}"));
    }
    // the line in the refusal withdraws it, and then the same person may look again
    went(&paste("bob", &format!("kubectl delete signoff {bobs}")));
    asked.wait_field("{.status.signOffs.text}", "0/2");
    asked.said(&me("bob"), "Approve");
    asked.wait_field("{.status.signOffs.text}", "1/2");
    denied("SecondPersonNeeded", &delete_claim(&me("bob"), &namespace, "data"));
    denied("SecondPersonNeeded", &delete_claim(&me("argocd"), &namespace, "data"));
    stays(&namespace, "data");
    asked.said(&me("alice"), "Approve");
    asked.wait_field("{.status.signOffs.text}", "2/2");
    deletes_claim(&me("argocd"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
}

#[test]
fn machines_and_shared_accounts_are_no_second_person() {
    let (namespace, asked) = asked_by_alice("no-person");
    let argocd = json!({"kind": "ServiceAccount", "namespace": "argocd", "name": "argocd"});
    grant(&namespace, "approve", &argocd);
    asked.cannot_be(&me("argocd"), "Approve", "NotAPerson");
    asked.cannot_be(&me("admin"), "Approve", "NotAPerson");
    asked.cannot_be(&acting("system:node:node-1", &["ops"]), "Approve", "NotAPerson");

    // the policy knows more of both, and says who is a person after all
    let matcher = |name: &str| json!({"username": name});
    add_to_floor("/identities/shared", &matcher(&format!("{namespace}-on-call")));
    add_to_floor("/identities/machines", &matcher(&format!("{namespace}-ci-*")));
    add_to_floor("/identities/people", &matcher(&format!("system:serviceaccount:{namespace}:real")));
    let on_call = acting(&format!("{namespace}-on-call"), &["ops"]);
    foureyes_testbed::wait_until("the policy to be in force", PATIENCE, || {
        on_call.create(&asked.sign_off("Approve"), &["--dry-run=server"]).text().contains("[NotAPerson]")
    })
    .unwrap();
    asked.cannot_be(&on_call, "Approve", "NotAPerson");
    asked.cannot_be(&acting(&format!("{namespace}-ci-7"), &["ops"]), "Approve", "NotAPerson");
    denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
    asked.said(&acting(&format!("system:serviceaccount:{namespace}:real"), &["ops"]), "Approve");
    asked.wait_phase("Executable");
}

#[test]
fn the_right_to_approve_is_one_in_the_targets_namespace() {
    let (here, asked) = asked_by_alice("right-here");
    let (_, elsewhere) = asked_by_alice("right-there");
    grant(&here, "approve", &user("nina"));
    grant(&here, "approve-not", &user("nils"));
    grant(&here, "*", &user("nora"));
    let nina = acting("nina", &[]);
    eventually_says(&asked, &nina, "Approve");
    elsewhere.cannot_be(&nina, "Approve", "RightMissing");
    // another verb, and every verb on the kind but not on its subresource (fact 5)
    asked.cannot_be(&acting("nils", &[]), "Approve", "RightMissing");
    asked.cannot_be(&acting("nora", &[]), "Approve", "RightMissing");
    asked.cannot_be(&me("carol"), "Approve", "RightMissing");
    asked.cannot_be(&me("dave"), "Approve", "RightMissing");
    asked.wait_phase("Executable");
    elsewhere.wait_phase("Pending");
}

#[test]
fn the_right_may_come_from_a_group() {
    let (namespace, asked) = asked_by_alice("right-group");
    let team = format!("{namespace}-team");
    grant(&namespace, "approve", &group(&team));
    eventually_says(&asked, &acting("gina", &[&team]), "Approve");
    asked.cannot_be(&acting("gina", &["another-team"]), "Approve", "RightMissing");
    asked.cannot_be(&acting("gina", &[]), "Approve", "RightMissing");
    // at use it is asked again with the groups that were recorded (fact 3)
    asked.wait_phase("Executable");
    deletes_claim(&me("eve"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
}

#[test]
fn a_right_that_was_taken_away_counts_no_more_when_it_is_used() {
    let (namespace, asked) = asked_by_alice("right-lost");
    grant(&namespace, "approve", &user("lena"));
    eventually_says(&asked, &acting("lena", &[]), "Approve");
    asked.wait_phase("Executable");
    me("admin").does(&["-n", &namespace, "delete", "rolebinding", "may-approve"]);
    foureyes_testbed::wait_until("the right to be gone", PATIENCE, || {
        let args =
            ["auth", "can-i", "approve", "deletionrequests.foureyes.dev", "--subresource=signoff", "-n", &namespace];
        acting("lena", &[]).kubectl(&args).stdout.trim() == "no"
    })
    .unwrap();
    denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
    stays(&namespace, "data");
}

#[test]
fn the_right_to_request_is_one_in_the_targets_namespace() {
    let (here, there) = (production("ask-here"), production("ask-there"));
    let (uid, other) = (claim(&here, "data"), claim(&there, "data"));
    grant(&here, "request", &user("rita"));
    let rita = acting("rita", &[]);
    let wish = request(&here, &target(&here, "data", &uid));
    let mut created = Value::Null;
    foureyes_testbed::wait_until("the right to be granted", PATIENCE, || {
        let output = rita.create(&wish, &[]);
        created = serde_json::from_str(&output.stdout).unwrap_or_default();
        output.ok()
    })
    .unwrap();
    assert!(exists("", "deletionrequest", created["metadata"]["name"].as_str().unwrap()));
    rita.cannot_create("RightMissing", &request(&there, &target(&there, "data", &other)));
    for who in [me("eve"), me("argocd")] {
        who.cannot_create("RightMissing", &wish);
    }
    // whoever may not ask learns nothing of what is there
    let nothing = request(&there, &target(&there, "nothing", &other));
    let (known, unknown) = (
        me("eve").cannot_create("RightMissing", &request(&there, &target(&there, "data", &other))),
        me("eve").cannot_create("RightMissing", &nothing),
    );
    assert_eq!(known.replace("/data", ""), unknown.replace("/nothing", ""));
}
