//! After a deletion: what went is compared with what was signed off, and somebody who did not ask for it closes it.

use foureyes_testbed::get;
use serde_json::{Value, json};

use crate::leftovers::SlowCommit;
use crate::support::changes::Change;
use crate::support::floor::{add_to_floor, in_force};
use crate::support::objects::{
    LONG, claim_approved, claim_of, eventually, names, place_approved, place_asked, production_with, tighten, web,
    within,
};
use crate::support::requests::{Asked, asks, deletes_claim, request, target};
use crate::support::{
    Who, account, acting, cluster, denied, denied_in_words, exists, field, me, responder, storage_operator, wait_gone,
    went,
};

fn supervised(asked: &Asked) -> Value {
    let mut said = asked.sign_off("Supervised");
    said["spec"]["verified"] = json!("the volume is Released, and the shop answers");
    said
}

#[track_caller]
fn cannot_supervise(asked: &Asked, who: &Who, code: &str) -> String {
    let before = asked.statements();
    let text = who.cannot_create(code, &supervised(asked));
    assert_eq!(asked.statements(), before, "a refused sign-off was written");
    text
}

/// Gives somebody a role in one namespace.
fn binds(namespace: &str, role: &str, who: &str) {
    let name = format!("{role}-{who}");
    let role = format!("--clusterrole={role}");
    me("admin").does(&["-n", namespace, "create", "rolebinding", &name, &role, &format!("--user={who}")]);
}

#[test]
fn whoever_approved_it_closes_it_and_nobody_who_took_part() {
    let namespace = production_with("closed", &["data"]);
    let asked = claim_approved(&namespace, "data");
    cannot_supervise(&asked, &me("bob"), "NotExecuted");
    deletes_claim(&me("eve"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
    asked.wait_phase("Executed");
    asked.wait_field("{.status.deleted.expected}", "1");
    assert!(!asked.field("{.status.deleted.checkedAt}").is_empty());
    assert_eq!(asked.field("{.status.deleted.unexpected}{.status.deleted.remaining}"), "");
    let waits = "supervision by bob, or somebody else who may supervise";
    assert_eq!(asked.field("{.status.waitingFor}"), waits);
    assert_eq!(asked.field("{.status.conditions[?(@.type=='Supervised')].reason}"), "WaitingForSupervision");

    cannot_supervise(&asked, &me("alice"), "SelfSupervision");
    cannot_supervise(&asked, &acting("Alice", &["ops"]), "SelfSupervision");
    let text = cannot_supervise(&asked, &me("carol"), "RightMissing");
    assert!(text.contains("create rolebinding foureyes-approver-carol"), "{text}");
    cannot_supervise(&asked, &acting("system:serviceaccount:ops:robot", &["ops"]), "NotAPerson");
    cannot_supervise(&asked, &me("admin"), "NotAPerson");
    let silent = me("bob").create(&asked.sign_off("Supervised"), &[]);
    denied_in_words("needs spec.verified", &silent);
    let mut blank = supervised(&asked);
    blank["spec"]["verified"] = json!(" ");
    me("bob").cannot_create("RequestInvalid", &blank);
    asked.cannot_be(&me("bob"), "Hold", "RequestEnded");
    // it is nobody's to clear away
    for who in ["alice", "bob", "admin"] {
        me(who).cannot("RequestInUse", &["delete", "deletionrequest", &asked.name]);
    }
    went(&me("bob").create(&supervised(&asked), &["--dry-run=server"]));
    assert_eq!(asked.field("{.status.phase}"), "Executed");

    let said = me("bob").creates(&supervised(&asked));
    asked.wait_phase("Closed");
    assert_eq!(asked.field("{.status.conditions[?(@.type=='Supervised')].status}"), "True");
    assert_eq!(asked.field("{.status.supervisedBy[*]} {.status.waitingFor}"), "bob ");
    assert!(!asked.field("{.status.closedAt}").is_empty());
    cannot_supervise(&asked, &acting("frank", &["ops"]), "RequestEnded");
    let name = said["metadata"]["name"].as_str().unwrap();
    me("bob").cannot("RequestEnded", &["delete", "signoff", name]);
    me("bob").does(&["delete", "deletionrequest", &asked.name]);
}

#[test]
fn it_is_closed_though_the_namespace_with_every_right_in_it_is_gone() {
    let namespace = production_with("closed-place", &["data"]);
    for who in ["ned", "erin"] {
        binds(&namespace, "foureyes-approver", who);
    }
    let asked = place_asked(&namespace);
    asked.said(&acting("ned", &[]), "Approve");
    asked.wait_phase("Executable");
    went(&me("eve").kubectl(&["delete", "namespace", &namespace, "--wait=false"]));
    within(LONG, "the namespace to end", || !exists("", "namespace", &namespace));
    asked.wait_phase("Executed");
    let text = cannot_supervise(&asked, &acting("erin", &[]), "RightMissing");
    assert!(text.contains("is gone") && text.contains("create clusterrolebinding foureyes-approver-erin"), "{text}");
    acting("ned", &[]).creates(&supervised(&asked));
    asked.wait_phase("Closed");
    assert_eq!(asked.field("{.status.supervisedBy[*]}"), "ned");
}

/// Whoever may supervise everywhere does not need to have approved it.
#[test]
fn another_person_with_the_right_closes_it_too() {
    let namespace = production_with("closed-other", &["data"]);
    let asked = claim_approved(&namespace, "data");
    deletes_claim(&me("eve"), &namespace, "data");
    asked.wait_phase("Executed");
    acting("frank", &["ops"]).creates(&supervised(&asked));
    asked.wait_phase("Closed");
    assert_eq!(asked.field("{.status.supervisedBy[*]}"), "frank");
}

/// A claim that came after the sign-off, and that its operator took away itself while the namespace was going.
#[test]
fn what_went_without_sign_off_takes_two_to_close() {
    let namespace = production_with("unexpected", &["data"]);
    storage_operator();
    let operator = account("supervised", "operator");
    let bind = ["create", "clusterrolebinding", "supervised", "--clusterrole=storage"];
    me("admin").does(&[&bind[..], &["--serviceaccount=supervised:operator"]].concat());
    add_to_floor(
        "/delegations",
        &json!({"serviceAccount": {"namespace": "supervised", "name": "operator"},
                "ownerKind": {"group": "", "kind": "ConfigMap"}, "may": ["DeleteClaims"]}),
    );
    let owner = me("admin").creates(
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": "owner"}}),
    );
    let mut late = claim_of(&namespace, "late");
    late["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"], "controller": true,
    }]);
    let root = place_approved(&namespace);
    SlowCommit::of(&namespace).meanwhile(&namespace, || drop(me("admin").creates(&late)));
    root.wait_phase("Executing");
    eventually("the late claim to be seen", || root.field("{.status.inventory.added[*].name}").contains("late"));
    went(&operator.kubectl(&["-n", &namespace, "delete", "pvc", "late", "--wait=false"]));
    within(LONG, "the namespace to end", || !exists("", "namespace", &namespace));
    root.wait_phase("Executed");
    assert!(root.field("{.status.deleted.unexpected[*].name}").contains("late"));
    assert_eq!(root.field("{.status.conditions[?(@.type=='Supervised')].reason}"), "Unexpected");
    let about = format!("regarding.name={},reason=Unexpected,type=Warning", root.name);
    let events =
        ["get", "events.v1.events.k8s.io", "-n", "default", "--field-selector", &about, "-o=jsonpath={.items[*].note}"];
    eventually("the event", || me("admin").does(&events).contains(&format!("claim {namespace}/late")));

    me("bob").creates(&supervised(&root));
    root.wait_field("{.status.supervisedBy[*]}", "bob");
    assert_eq!(root.field("{.status.phase}"), "Executed");
    me("bob").cannot_create("AlreadySaid", &supervised(&root));
    acting("frank", &["ops"]).creates(&supervised(&root));
    root.wait_phase("Closed");
}

#[test]
fn who_owes_supervision_asks_for_nothing_else_where_the_policy_says_so() {
    let namespace = production_with("overdue", &["one", "two", "three"]);
    tighten(&namespace, &json!({"deletion": {"closeWithin": "1s", "refuseUnsupervised": true}}));
    for who in ["hans", "greta"] {
        binds(&namespace, "foureyes-requester", who);
    }
    let uid = |claim: &str| field(&namespace, "pvc", claim, "{.metadata.uid}");
    let hans = acting("hans", &[]);
    let asked = asks(&hans, &namespace, "one", &uid("one"));
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    // while it is not executed, nothing is owed
    asks(&hans, &namespace, "two", &uid("two")).said(&hans, "Cancel");
    deletes_claim(&me("eve"), &namespace, "one");
    asked.wait_phase("Executed");
    asked.wait_field("{.status.conditions[?(@.type=='Supervised')].reason}", "Overdue");
    let overdue = || {
        let metrics = get(cluster().ports().controller_admin, "/metrics").unwrap();
        let line = metrics.lines().find(|line| line.contains(r#"deletions_unsupervised{reason="Overdue"}"#));
        line.and_then(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).unwrap_or_default()
    };
    eventually("the metric", || overdue() > 0);
    let next = request(&namespace, &target(&namespace, "three", &uid("three")));
    in_force("the debt to be known", || !hans.create(&next, &["--dry-run=server"]).ok());
    let text = denied("SupervisionOwed", &hans.create(&next, &[]));
    assert!(text.contains(&asked.name) && text.contains(&format!("get deletionrequest {}", asked.name)), "{text}");
    // others owe nothing, and neither does he elsewhere
    went(&acting("greta", &[]).create(&next, &["--dry-run=server"]));
    me("bob").creates(&supervised(&asked));
    asked.wait_phase("Closed");
    in_force("it to be known as closed", || hans.create(&next, &["--dry-run=server"]).ok());
    asks(&hans, &namespace, "three", &uid("three"));
}

/// What ran on nobody's word, and nobody has looked at, would go with its namespace.
#[test]
fn a_change_that_nobody_has_looked_at_keeps_its_namespace() {
    let namespace = production_with("billed", &["data"]);
    went(&responder().kubectl_with(&["create", "-f", "-"], Some(&web(&namespace, 1))));
    eventually("the bill", || !names(&namespace, "changerequests").is_empty());
    let bill = names(&namespace, "changerequests").remove(0);
    let change = Change { namespace: namespace.clone(), name: bill.clone() };
    me("alice").does(&["-n", &namespace, "scale", "deployment/web", "--replicas=0"]);
    let asked = place_asked(&namespace);
    asked.said(&me("bob"), "Approve");
    asked.wait_field("{.status.waitingFor}", &format!("the review of change {bill}"));
    let deletes = || me("eve").kubectl(&["delete", "namespace", &namespace, "--wait=false"]);
    let text = denied("NotYetExecutable", &deletes());
    assert!(text.contains(&format!("waits for the review of change {bill}")), "{text}");
    for who in ["bob", "alice"] {
        me(who).creates(&change.statement("Approve"));
    }
    asked.wait_phase("Executable");
    eventually("it to be let go", || deletes().ok());
}

#[test]
fn the_plugin_shows_whom_it_waits_for_closes_it_and_prints_the_record() {
    let namespace = production_with("closed-plugin", &["data"]);
    let asked = claim_approved(&namespace, "data");
    let label = format!("del/{}", asked.name);
    let supervise = ["foureyes", "supervise", &label, "--verified", "the volume is Released | and the shop answers"];
    assert_eq!(me("bob").kubectl(&supervise).code, 1, "it is not executed yet");
    deletes_claim(&me("eve"), &namespace, "data");
    asked.wait_phase("Executed");
    let waits = |who: &'static str| {
        let shown = me(who).does(&["foureyes", "status", "-n", &namespace]);
        let line = shown.lines().find(|line| line.contains(&label)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{label} is not in\n{shown}"))
    };
    assert!(waits("bob").starts_with("you ") && waits("alice").starts_with("others "), "{}", waits("alice"));
    denied("SelfSupervision", &me("alice").kubectl(&supervise));
    me("bob").does(&supervise);
    asked.wait_phase("Closed");
    let record = me("carol").does(&["foureyes", "export", &label]);
    for part in [
        format!("# Deletion of pvc/{namespace}/data"),
        "| requested | alice |".to_owned(),
        "| approved | bob |".to_owned(),
        r"the volume is Released \| and the shop answers |".to_owned(),
        "1 of the items that were signed off are gone".to_owned(),
        format!("BackupRetention {}", asked.name),
    ] {
        assert!(record.contains(&part), "{part:?} is not in\n{record}");
    }
}
