//! A policy is tightened by whoever may write it, and loosened by nobody alone.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::changes::{asked, line, opened, opened_by};
use crate::support::floor::add_to_floor;
use crate::support::requests::{asks, delete_claim, deletes_claim, stays};
use crate::support::spelling::{OF_NAMESPACES, OF_RECORDS, Spelling, arrange, namespace, record};
use crate::support::{PATIENCE, acting, claim, denied, denied_in_words, me, production, wait_gone, went};

/// Where changes of what has no namespace are asked for.
const OWN: &str = "foureyes-system";

fn policy(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": {"name": name}, "spec": spec})
}

/// A namespace in a tier of its own and a policy of the same name that tightens it.
fn tightened(prefix: &str) -> (String, String) {
    let name = production(prefix);
    let key = format!("example.com/tier-{name}");
    arrange(&namespace(&name), &json!({"metadata": {"labels": {&key: "gold"}}}));
    let spec = json!({
        "selector": {"matchLabels": {&key: "gold"}},
        "approvals": {"min": 2},
        "expiry": {"approval": "24h", "use": "1h"},
        "enforcement": {"deletions": "Deny"},
    });
    me("admin").creates(&policy(&name, &spec));
    let leave = json!({"metadata": {"labels": {&key: null}}});
    foureyes_testbed::wait_until("the policy to be in force", PATIENCE, || {
        namespace(&name).change(&me("admin"), Spelling::Merge, &leave, &["--dry-run=server"]).text().contains("[Env")
    })
    .unwrap();
    (name, key)
}

#[test]
fn each_field_of_the_floor_is_loosened_by_nobody_alone() {
    let name = production("floor");
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
    for list in ["machines", "shared"] {
        add_to_floor(&format!("/identities/{list}"), &json!({"username": format!("{name}-{list}")}));
    }
    let account = json!({"namespace": name, "name": "operator"});
    let owner = json!({"group": "example.com", "kind": "Database"});
    let floor = record("safetypolicies", "default");
    let glass = acting("dave", &["foureyes:breakglass", "system:masters"]);
    for spec in [
        json!({"enforcement": {"deletions": "Warn"}}),
        json!({"enforcement": {"deletions": "Off"}}),
        json!({"enforcement": {"rollouts": "Warn"}}),
        json!({"enforcement": {"creations": "Off"}}),
        json!({"enforcement": {"removals": "Off"}}),
        json!({"expiry": {"approval": "337h"}}),
        json!({"expiry": {"use": "24h1s"}}),
        json!({"environments": [{"selector": here, "environment": "NonProduction"}]}),
        json!({"environments": [{"selector": {}, "environment": "NonProduction"}]}),
        json!({"identities": {"people": [{"username": "system:serviceaccount:*"}]}}),
        json!({"identities": {"machines": [{"username": "*"}]}}),
        json!({"identities": {"machines": null}}),
        json!({"identities": {"shared": []}}),
        json!({"delegations": [{"serviceAccount": account, "ownerKind": owner, "may": ["DeleteClaims"]}]}),
        json!({"deletion": {"exempt": {"storageClasses": ["kwok-volume"]}}}),
        json!({"deletion": {"exempt": {"claimSelector": {"matchLabels": {"foureyes.dev/x": "y"}}}}}),
    ] {
        let before = floor.live()["spec"]["enforcement"].clone();
        let patch = json!({"spec": spec});
        let text =
            denied("PolicyLoosened", &floor.change(&me("admin"), Spelling::Merge, &patch, &["--dry-run=server"]));
        let (_, asks) = line(&text);
        assert_eq!(
            (&asks["metadata"]["namespace"], &asks["spec"]["targets"][0]["name"]),
            (&json!(OWN), &json!("default"))
        );
        denied("PolicyLoosened", &floor.change(&me("admin"), Spelling::Merge, &patch, &[]));
        denied("PolicyLoosened", &floor.change(&glass, Spelling::Merge, &patch, &["--dry-run=server"]));
        denied_in_words("cannot patch", &floor.change(&me("alice"), Spelling::Merge, &patch, &[]));
        assert_eq!(floor.live()["spec"]["enforcement"], before);
    }
    me("admin").cannot("PolicyLoosened", &["delete", "safetypolicy", "default", "--dry-run=server"]);
    let all = "/apis/foureyes.dev/v1alpha1/safetypolicies?dryRun=All&fieldSelector=metadata.name%3Ddefault";
    me("admin").cannot("PolicyLoosened", &["delete", "--raw", all]);
    opened("PolicyLoosened", || me("admin").kubectl(&["delete", "safetypolicy", "default", "--dry-run=server"]));
}

/// What is signed off is one content of it, and whoever may write it applies that.
#[test]
fn a_loosening_is_asked_for_with_what_the_refusal_shows() {
    let name = production("loosened");
    let with = |spec: Value| {
        let mut spec = spec;
        spec["selector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
        policy(&name, &spec)
    };
    me("admin").creates(&with(json!({"expiry": {"use": "1h"}})));
    let apply = |hours: &str| {
        let looser = with(json!({"expiry": {"use": hours}}));
        me("admin").kubectl_with(&["apply", "-f", "-"], Some(&looser))
    };
    let refusal = denied("PolicyLoosened", &apply("2h"));
    assert!(refusal.contains(&format!("SafetyPolicy {name} was not changed: ")), "{refusal}");
    let change = asked("alice", &refusal);
    assert_eq!(change.namespace, OWN);
    denied("SignOffMissing", &apply("2h"));
    change.signed_off(&[me("bob")]);
    me("bob").cannot_create("AlreadySaid", &change.statement("Approve"));
    denied("PolicyLoosened", &apply("3h"));
    foureyes_testbed::wait_until("it to be let go", PATIENCE, || apply("2h").ok()).unwrap();
    change.is("Succeeded");
    // used up: the same once more is another wish
    me("admin").does(&["patch", "safetypolicy", &name, "--type=merge", "-p", r#"{"spec":{"expiry":{"use":"1h"}}}"#]);
    denied("PolicyLoosened", &apply("2h"));
    opened("PolicyLoosened", || me("admin").kubectl(&["delete", "safetypolicy", &name])).is("Succeeded");
}

#[test]
fn tightening_needs_nobody_else() {
    let floor = record("safetypolicies", "default");
    for spec in [
        json!({"approvals": {"min": 3}}),
        json!({"expiry": {"approval": "24h", "use": "1h"}}),
        json!({"identities": {"shared": [{"username": "somebody"}, {"group": "everybody"}]}}),
        json!({"delegations": null}),
    ] {
        // the lists of the floor are shared: what the others added stays
        let shared = spec.pointer("/identities/shared").is_some();
        let mut spec = spec;
        if shared {
            let live = floor.live();
            let mut all = live["spec"]["identities"]["shared"].as_array().cloned().unwrap_or_default();
            all.extend(spec["identities"]["shared"].as_array().unwrap().clone());
            spec["identities"]["shared"] = json!(all);
        }
        went(&floor.change(&me("admin"), Spelling::Merge, &json!({"spec": spec}), &["--dry-run=server"]));
    }
}

#[test]
fn a_second_policy_tightens_what_it_selects() {
    let (name, _) = tightened("second");
    let uid = claim(&name, "data");
    let asked = asks(&me("alice"), &name, "data", &uid);
    let applied = asked.field("{.status.policies[*].name}");
    assert!(applied.contains("default") && applied.contains(&name), "{applied}");
    let time = |path: &str| asked.field(path).parse::<Timestamp>().unwrap();
    let wait = time("{.status.approvalDeadline}").duration_since(time("{.metadata.creationTimestamp}"));
    assert_eq!(wait, SignedDuration::from_hours(24));
    asked.said(&me("bob"), "Approve");
    asked.wait_field("{.status.signOffs.text}", "1/2");
    denied("SignOffMissing", &delete_claim(&me("eve"), &name, "data"));
    stays(&name, "data");
    asked.said(&acting("bella", &["ops"]), "Approve");
    asked.wait_phase("Executable");
    let usable = time("{.status.validUntil}").duration_since(time("{.status.usableFrom}"));
    assert_eq!(usable, SignedDuration::from_hours(1));
    deletes_claim(&me("eve"), &name, "data");
    wait_gone(&name, "pvc", "data");
}

#[test]
fn a_second_policy_is_loosened_or_left_by_nobody_alone() {
    let (name, key) = tightened("kept-policy");
    let object = record("safetypolicies", &name);
    let glass = acting("dave", &["foureyes:breakglass", "system:masters"]);
    let before = object.live()["spec"].clone();
    for spec in [
        json!({"approvals": {"min": 1}}),
        json!({"expiry": {"approval": "25h"}}),
        json!({"expiry": {"use": "2h"}}),
        json!({"selector": {"matchLabels": {&key: "silver"}}}),
    ] {
        for spelling in OF_RECORDS {
            denied("PolicyLoosened", &object.change(&me("admin"), *spelling, &json!({"spec": spec}), &[]));
        }
        denied("PolicyLoosened", &object.change(&glass, Spelling::Merge, &json!({"spec": spec}), &[]));
    }
    for field in ["approvals", "expiry"] {
        for spelling in [Spelling::Merge, Spelling::Json, Spelling::Put] {
            let gone = json!({"spec": {field: null}});
            denied("PolicyLoosened", &object.change(&me("admin"), spelling, &gone, &[]));
        }
    }
    me("admin").cannot("PolicyLoosened", &["delete", "safetypolicy", &name]);
    me("admin").cannot("PolicyLoosened", &["delete", "safetypolicy", &name, "--dry-run=server"]);
    assert_eq!(object.live()["spec"], before);

    let place = namespace(&name);
    for spelling in OF_NAMESPACES {
        let other = json!({"metadata": {"labels": {&key: "silver"}}});
        denied("EnvironmentLoosened", &place.change(&me("admin"), *spelling, &other, &[]));
    }
    for spelling in [Spelling::Merge, Spelling::Json, Spelling::Put, Spelling::StatusPut, Spelling::FinalizePut] {
        let gone = json!({"metadata": {"labels": {&key: null}}});
        denied("EnvironmentLoosened", &place.change(&me("admin"), spelling, &gone, &[]));
    }
    assert_eq!(place.metadata()["labels"][&key], "gold");
    // more of it is free, and a change ends it: of the namespace by as many as the policy wants, who look at nothing else
    went(&object.change(&me("admin"), Spelling::Merge, &json!({"spec": {"approvals": {"min": 3}}}), &[]));
    let three = [me("bob"), acting("bella", &["ops"]), acting("boris", &["ops"])];
    let silver = json!({"metadata": {"labels": {&key: "silver"}}});
    opened_by(&three, "EnvironmentLoosened", || place.change(&me("admin"), Spelling::Merge, &silver, &[]));
    // without a namespace it protects nothing
    me("admin").does(&["delete", "safetypolicy", &name]);
}

#[test]
fn nonsense_is_no_policy() {
    let name = production("nonsense");
    let admin = me("admin");
    admin.cannot_create("PolicyInvalid", &policy(&name, &json!({"expiry": {"use": "0h"}})));
    admin.cannot_create(
        "PolicyInvalid",
        &policy(
            &name,
            &json!({"selector": {"matchExpressions": [
        {"key": "a", "operator": "Gt", "values": ["1"]}]}}),
        ),
    );
    for (spec, words) in [
        (json!({"enforcement": {"deletions": "Perhaps"}}), "Unsupported value"),
        (json!({"approvals": {"min": 0}}), "should be greater than or equal to 1"),
        (json!({"expiry": {"use": "tomorrow"}}), "spec.expiry.use"),
        (json!({"identities": {"people": [{"username": "eve"}]}}), "only the policy named default"),
        (json!({"deletion": {"exempt": {"storageClasses": ["kwok-volume"]}}}), "only the policy named default"),
        (json!({"environments": [{"selector": {}, "environment": "NonProduction"}]}), "only the policy named default"),
        (json!({"delegations": []}), "only the policy named default"),
    ] {
        denied_in_words(words, &admin.create(&policy(&name, &spec), &[]));
    }
    assert!(!crate::support::exists("", "safetypolicy", &name));
    let floor = record("safetypolicies", "default");
    let foreign = json!({"spec": {"deletion": {"exempt": {"claimSelector": {"matchLabels": {"team": "a"}}}}}});
    denied_in_words("begin with foureyes.dev/", &floor.change(&me("admin"), Spelling::Merge, &foreign, &[]));
    let narrow = json!({"spec": {"selector": {"matchLabels": {"team": "a"}}}});
    denied_in_words("takes no selector", &floor.change(&me("admin"), Spelling::Merge, &narrow, &[]));
}
