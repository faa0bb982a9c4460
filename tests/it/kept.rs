//! What outlives a deletion: for how long, on whose word for less, and what nothing can keep.

use std::sync::Once;

use foureyes_testbed::Output;
use serde_json::{Value, json};

use crate::support::exempt::disposable_claim;
use crate::support::floor::{add_to_floor, edit_floor, in_force};
use crate::support::kinds::define;
use crate::support::objects::{
    bound, claim_of, enter_production, eventually, outlived, production_with, tighten, within,
};
use crate::support::requests::{Asked, asked, delete_claim, deletes_claim, request, target};
use crate::support::{
    PATIENCE, Who, account, denied, denied_in_words, field, me, non_production, production, wait_gone, went,
};

const GROUP: &str = "ledgers.example.org";

fn policy_of(volume: &str) -> String {
    field("", "pv", volume, "{.spec.persistentVolumeReclaimPolicy}")
}

fn volume_of(namespace: &str, claim: &str) -> String {
    field(namespace, "pvc", claim, "{.spec.volumeName}")
}

fn note_of(volume: &str) -> String {
    field("", "pv", volume, r"{.metadata.annotations.foureyes\.dev/kept-claim}")
}

/// The wish of a request for a claim's deletion.
fn wishing(namespace: &str, claim: &str, wish: &Value) -> Value {
    let uid = field(namespace, "pvc", claim, "{.metadata.uid}");
    let mut object = request(namespace, &target(namespace, claim, &uid));
    object["spec"]["retention"] = wish.clone();
    object
}

#[track_caller]
fn asks(who: &Who, namespace: &str, claim: &str, wish: &Value) -> Asked {
    let created = who.creates(&wishing(namespace, claim, wish));
    asked(created["metadata"]["name"].as_str().unwrap())
}

fn agreed(asked: &Asked) -> Value {
    let mut object = asked.sign_off("CustomerAgreed");
    object["spec"]["digest"] = json!(asked.digest);
    object["spec"]["reference"] = json!("Ms Example, mail of 12 March, CRM-4711");
    object
}

static FLOOR: Once = Once::new();

/// Lets requests ask for fewer days, seven at least. That needs two people, too.
fn floor_of_seven_days() {
    FLOOR.call_once(|| {
        let patch = json!({"spec": {"deletion": {"minRetainDays": 7}}}).to_string();
        let patch = ["patch", "safetypolicy", "default", "--type=merge", "-p", &patch];
        denied("PolicyLoosened", &me("admin").kubectl(&patch));
        edit_floor(|spec| spec["deletion"]["minRetainDays"] = json!(7));
    });
}

#[test]
fn fewer_days_than_the_policy_demands_take_the_word_of_somebody_who_knows_that_the_customer_agreed() {
    let namespace = production_with("fewer", &["data"]);
    floor_of_seven_days();
    let refused =
        |days: u32| me("alice").create(&wishing(&namespace, "data", &json!({"days": days})), &["--dry-run=server"]);
    in_force("the floor to be known", || refused(7).ok());
    let refusal = denied("RetentionTooShort", &refused(6));
    assert!(refusal.contains("the policy demands 7 at least"), "{refusal}");

    let asked = asks(&me("alice"), &namespace, "data", &json!({"days": 10}));
    asked.wait_field("{.status.retainDays}", "30");
    asked.said(&me("bob"), "Approve");
    asked.wait_field("{.status.waitingFor}", "a sign-off CustomerAgreed to 10 days instead of 30");
    asked.wait_phase("Pending");
    let refusal = denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
    assert!(refusal.contains("CustomerAgreed"), "{refusal}");

    denied("NotAPerson", &me("argocd").create(&agreed(&asked), &[]));
    denied("RightMissing", &me("eve").create(&agreed(&asked), &[]));
    let mut stale = agreed(&asked);
    stale["spec"]["digest"] = json!(format!("subject/v1:sha256:{}", "0".repeat(64)));
    denied("DigestStale", &me("carol").create(&stale, &[]));
    let mut unsaid = agreed(&asked);
    unsaid["spec"].as_object_mut().unwrap().remove("reference");
    denied_in_words("CustomerAgreed needs spec.digest", &me("carol").create(&unsaid, &[]));
    assert_eq!(asked.field("{.status.phase}"), "Pending");

    me("carol").creates(&agreed(&asked));
    asked.wait_phase("Executable");
    asked.wait_field("{.status.retainDays}", "10");
    let volume = volume_of(&namespace, "data");
    deletes_claim(&me("eve"), &namespace, "data");
    asked.wait_phase("Executed");
    outlived(&volume, &asked);
    assert_eq!(field("", "backupretention", &asked.name, "{.spec.retainDays}"), "10");
}

/// A volume that is being deleted goes with its claim, whatever its policy says.
#[test]
fn what_nothing_can_keep_goes_by_two_approvals_of_a_request_that_says_so() {
    let namespace = non_production("lost");
    bound(&claim_of(&namespace, "data"));
    let volume = volume_of(&namespace, "data");
    me("admin").does(&["delete", "pv", &volume, "--wait=false"]);
    enter_production(&namespace);

    let without = asks(&me("carol"), &namespace, "data", &json!({}));
    let why = without.field("{.status.inventory.items[?(@.kind=='PersistentVolume')].notKept}");
    assert_eq!(why, "it is being deleted already, and goes with its claim");
    without.said(&me("bob"), "Approve");
    let waits = format!("a request with retention.exception: nothing can keep {volume} ({why})");
    without.wait_field("{.status.waitingFor}", &waits);
    let refusal = denied("DataNotKept", &delete_claim(&me("eve"), &namespace, "data"));
    assert!(refusal.contains(r#""retention":{"exception":true}"#), "{refusal}");
    without.said(&me("alice"), "Reject");

    let with = asks(&me("carol"), &namespace, "data", &json!({"exception": true}));
    with.said(&me("bob"), "Approve");
    with.wait_field("{.status.signOffs.text}", "1/2");
    denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
    with.said(&me("alice"), "Approve");
    with.wait_phase("Executable");
    assert_eq!(policy_of(&volume), "Retain", "where its bytes are, they stay");
    with.wait_field("{.status.conditions[?(@.type=='DataKept')].status}", "False");
    deletes_claim(&me("eve"), &namespace, "data");
    with.wait_phase("Executed");
    wait_gone("", "pv", &volume);
    assert_eq!(with.field("{.status.backupRetention}"), "");
}

/// A namespace whose volumes are kept from their first binding on, and whose ServiceAccount `operator` may delete the
/// claims of a Ledger.
fn ledger(prefix: &str) -> (String, Who, Value) {
    let namespace = production(prefix);
    tighten(&namespace, &json!({"deletion": {"keepVolumes": "Always"}}));
    define(GROUP, "Ledger", "ledgers", &namespace);
    let operator = format!("--serviceaccount={namespace}:operator");
    me("admin").does(&["-n", &namespace, "create", "rolebinding", "operator", "--clusterrole=edit", &operator]);
    add_to_floor(
        "/delegations",
        &json!({
            "serviceAccount": {"namespace": namespace, "name": "operator"},
            "ownerKind": {"group": GROUP, "kind": "Ledger"}, "may": ["DeleteClaims"],
        }),
    );
    let owner = me("admin").creates(&json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Ledger",
                                            "metadata": {"namespace": namespace, "name": "owner"}}));
    let owner = json!({"apiVersion": owner["apiVersion"], "kind": "Ledger", "name": "owner",
                       "uid": owner["metadata"]["uid"], "controller": true});
    let operator = account(&namespace, "operator");
    (namespace, operator, owner)
}

/// Names of the retentions that hold this volume.
fn holding(volume: &str) -> Vec<String> {
    let uid = field("", "pv", volume, "{.metadata.uid}");
    let all: Value = serde_json::from_str(&me("admin").does(&["get", "backupretentions", "-o=json"])).unwrap();
    let holds = |item: &&Value| item["spec"]["keepers"].as_array().unwrap().iter().any(|keeper| keeper["uid"] == *uid);
    let items = all["items"].as_array().unwrap().iter().filter(holds);
    items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_an_operator_deletes_by_itself_is_held_where_volumes_are_always_kept() {
    let (namespace, operator, owner) = ledger("always");
    let mut claim = claim_of(&namespace, "owned");
    claim["metadata"]["ownerReferences"] = json!([owner]);
    let uid = bound(&claim);
    let volume = volume_of(&namespace, "owned");
    eventually("the volume to be kept", || policy_of(&volume) == "Retain");
    assert!(note_of(&volume).contains(&format!(r#""namespace":"{namespace}","name":"owned""#)));

    // others, in other places, are left alone
    let scratch = disposable_claim(&namespace, "scratch");
    bound(&scratch);
    let elsewhere = production_with("not-always", &["data"]);
    let outside = non_production("always-outside");
    tighten(&outside, &json!({"deletion": {"keepVolumes": "Always"}}));
    bound(&claim_of(&outside, "data"));

    let delete = |who: &Who| -> Output { delete_claim(who, &namespace, "owned") };
    denied("DeletionNotRequested", &delete(&me("eve")));
    in_force("the delegation to be known", || {
        operator.kubectl(&["-n", &namespace, "delete", "pvc", "owned", "--dry-run=server"]).ok()
    });
    went(&delete(&operator));
    wait_gone(&namespace, "pvc", "owned");
    eventually("what went to be held", || holding(&volume).len() == 1);
    let name = holding(&volume).remove(0);
    let held = |path: &str| field("", "backupretention", &name, path);
    assert_eq!(held("{.spec.source.target.uid}"), uid);
    assert_eq!((held("{.spec.source.request}"), held("{.spec.retainDays}")), (String::new(), "30".to_owned()));
    assert_eq!(field("", "pv", &volume, "{.status.phase}"), "Released");
    assert_eq!(policy_of(&volume), "Retain");

    for (place, claim) in [(&elsewhere, "data"), (&outside, "data")] {
        assert_eq!(policy_of(&volume_of(place, claim)), "Delete", "{place}/{claim}");
    }
    assert_eq!(note_of(&volume_of(&namespace, "scratch")), "");

    // and nobody lets it be otherwise alone
    let patch = json!({"spec": {"deletion": {"keepVolumes": "OnApproval"}}}).to_string();
    denied(
        "PolicyLoosened",
        &me("admin").kubectl(&["patch", "safetypolicy", &namespace, "--type=merge", "-p", &patch]),
    );
    // what enters production is kept from then on
    enter_production(&outside);
    within(PATIENCE, "the volume to be kept", || policy_of(&volume_of(&outside, "data")) == "Retain");
}

#[test]
fn what_was_asked_for_is_held_by_its_request_alone_where_volumes_are_always_kept() {
    let (namespace, ..) = ledger("always-asked");
    bound(&claim_of(&namespace, "data"));
    let volume = volume_of(&namespace, "data");
    eventually("the volume to be kept", || policy_of(&volume) == "Retain");
    let asked = asks(&me("alice"), &namespace, "data", &json!({}));
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    assert_eq!(asked.field("{.status.protections}"), "", "there was nothing to change");
    deletes_claim(&me("eve"), &namespace, "data");
    asked.wait_phase("Executed");
    outlived(&volume, &asked);
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(holding(&volume), std::slice::from_ref(&asked.name));
}
