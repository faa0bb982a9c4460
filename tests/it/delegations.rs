//! An operator that may roll out what its own objects control: it does so by itself, it is on record, and nobody else may.

use foureyes_testbed::Output;
use serde_json::{Value, json};

use crate::support::floor::{add_to_floor, in_force};
use crate::support::kinds::define;
use crate::support::objects::eventually;
use crate::support::{Who, account, decisions, denied, field, me, production, went};

const IMAGE: &str = "registry.example.org/web";
const NEW: &str = "RolloutNotRequested";
const GROUP: &str = "shops.example.org";

/// What an object of a shop runs.
fn deployment(namespace: &str, name: &str, owner: Option<&Value>) -> Value {
    let container = json!({"name": "web", "image": format!("{IMAGE}:1")});
    let owners: Vec<Value> = owner.into_iter().map(controller).collect();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name, "ownerReferences": owners},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}},
                 "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}},
    })
}

fn controller(owner: &Value) -> Value {
    json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
           "uid": owner["metadata"]["uid"], "controller": true})
}

/// An object that may own others.
fn owner(namespace: &str, api_version: &str, kind: &str) -> Value {
    me("admin").creates(
        &json!({"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace, "name": "owner"}}),
    )
}

/// A namespace whose ServiceAccount `operator` may roll out what a Shop controls, while `other` may not.
fn shop(prefix: &str) -> (String, Who, Who) {
    let namespace = production(prefix);
    define(GROUP, "Shop", "shops", &namespace);
    let accounts = ["operator", "other"].map(|name| format!("--serviceaccount={namespace}:{name}"));
    let bind = ["-n", &namespace, "create", "rolebinding", "operators", "--clusterrole=edit"];
    me("admin").does(&[&bind[..], &[&accounts[0], &accounts[1]]].concat());
    let delegation = json!({
        "serviceAccount": {"namespace": namespace, "name": "operator"},
        "ownerKind": {"group": GROUP, "kind": "Shop"}, "may": ["Roll"],
    });
    add_to_floor("/delegations", &delegation);
    let [operator, other] = ["operator", "other"].map(|name| account(&namespace, name));
    (namespace, operator, other)
}

fn sets(who: &Who, namespace: &str, name: &str, version: u32) -> Output {
    let image = format!("web={IMAGE}:{version}");
    who.kubectl(&["-n", namespace, "set", "image", &format!("deployment/{name}"), &image])
}

fn runs(namespace: &str, name: &str) -> String {
    field(namespace, "deployment", name, "{.spec.template.spec.containers[*].image}")
}

#[track_caller]
fn recorded(namespace: &str, expected: &str) {
    let of = format!("?(@.spec.workload.namespace==\"{namespace}\")");
    let path = format!("-o=jsonpath={{range .items[{of}].status.entries[*]}}{{.how}} {{.outcome}};{{end}}");
    let record = || me("admin").does(&["get", "rolloutrecords", &path]);
    eventually(&format!("the record to say {expected}, not {}", record()), || record() == expected);
}

#[test]
fn an_operator_rolls_out_what_its_own_kind_controls_and_it_is_on_record() {
    let (namespace, operator, other) = shop("rolling");
    let shop = owner(&namespace, &format!("{GROUP}/v1"), "Shop");
    let web = deployment(&namespace, "web", Some(&shop));
    in_force("the delegation to be known", || operator.create(&web, &["--dry-run=server"]).ok());
    for who in [&other, &me("eve"), &me("admin")] {
        denied(NEW, &who.create(&web, &[]));
    }
    operator.creates(&web);
    me("admin").does(&["-n", &namespace, "rollout", "status", "deployment/web", "--timeout=60s"]);
    recorded(&namespace, "Delegated Seen;");
    for who in [&other, &me("eve"), &me("admin")] {
        denied(NEW, &sets(who, &namespace, "web", 2));
    }
    assert_eq!(runs(&namespace, "web"), format!("{IMAGE}:1"));
    went(&sets(&operator, &namespace, "web", 2));
    recorded(&namespace, "Delegated Seen;Delegated Seen;");
    let by_operator = decisions::by(&format!("system:serviceaccount:{namespace}:operator"), &namespace, "web");
    assert!(by_operator.iter().any(|line| line["operation"] == "UPDATE"), "{by_operator:#?}");
    let delegated = |line: &Value| line["code"] == "Delegated" && line["verdict"] == "allowed";
    assert!(by_operator[..].iter().all(|line| delegated(line) || line["dry_run"] == true), "{by_operator:#?}");

    // what ran on its word is known, so that people can go back
    me("eve").does(&["-n", &namespace, "rollout", "undo", "deployment/web"]);
    recorded(&namespace, "Rollback Seen;Delegated Seen;Delegated Seen;");

    // and it takes away what it rolled out, which nobody else does without a word
    let delete = |who: &Who| who.kubectl(&["-n", &namespace, "delete", "deployment", "web", "--dry-run=server"]);
    for (who, warned) in [(&operator, false), (&other, true), (&me("eve"), true)] {
        let output = delete(who);
        went(&output);
        assert_eq!(output.text().contains("[RemovalNotRequested]"), warned, "{}", output.text());
    }
}

#[test]
fn an_operator_rolls_out_nothing_that_is_not_controlled_by_its_kind() {
    let (namespace, operator, _) = shop("not-its-own");
    let shop = owner(&namespace, &format!("{GROUP}/v1"), "Shop");
    let own = deployment(&namespace, "own", Some(&shop));
    in_force("the delegation to be known", || operator.create(&own, &["--dry-run=server"]).ok());

    let map = owner(&namespace, "v1", "ConfigMap");
    let (alone, mapped) = (deployment(&namespace, "alone", None), deployment(&namespace, "mapped", Some(&map)));
    // an owner that controls nothing is none
    let mut loose = deployment(&namespace, "loose", Some(&shop));
    loose["metadata"]["ownerReferences"][0]["controller"] = json!(false);
    // a kind of this name in another group
    let mut alike = deployment(&namespace, "alike", Some(&shop));
    alike["metadata"]["ownerReferences"][0]["apiVersion"] = json!("elsewhere.example.org/v1");
    for object in [&alone, &mapped, &loose, &alike] {
        denied(NEW, &operator.create(object, &[]));
    }
    for (name, object) in [("alone", &alone), ("mapped", &mapped)] {
        me("eve").creates_with_four_eyes(object);
        denied(NEW, &sets(&operator, &namespace, name, 2));
        // it is judged as what it was: naming the owner along with the image makes it nobody's own
        let containers = json!([{"name": "web", "image": format!("{IMAGE}:2")}]);
        let patch = json!({"metadata": {"ownerReferences": [controller(&shop)]},
                           "spec": {"template": {"spec": {"containers": containers}}}});
        let patch = patch.to_string();
        operator.cannot(NEW, &["-n", &namespace, "patch", "deployment", name, "--type=merge", "-p", &patch]);
        assert_eq!(runs(&namespace, name), format!("{IMAGE}:1"));
    }
}
