//! Kinds that a policy names: what their objects say shall run is guarded like the template of a workload.

use foureyes_testbed::Output;
use serde_json::{Value, json};

use crate::support::changes::opened;
use crate::support::floor::{add_to_floor, in_force};
use crate::support::kinds::define;
use crate::support::objects::{LONG, within};
use crate::support::spelling::{self, Object, Spelling};
use crate::support::{decisions, denied, me, production, went};

const IMAGE: &str = "registry.example.org/web";
const NEW: &str = "RolloutNotRequested";

fn runs(version: u32) -> Value {
    let resources = json!({"limits": {"cpu": "500m"}});
    let container = json!({"name": "web", "image": format!("{IMAGE}:{version}"), "resources": resources});
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}})
}

/// Its template where no kind of Kubernetes has one.
fn spec(version: u32) -> Value {
    json!({"spec": {"replicas": 1, "app": {"pods": runs(version)}}})
}

fn born(head: &Value, version: u32) -> Value {
    let mut object = head.clone();
    object["spec"] = spec(version)["spec"].clone();
    object
}

fn eve(object: &Object, patch: &Value) -> Output {
    object.change(&me("eve"), Spelling::Merge, patch, &[])
}

fn tries(object: &Object, patch: &Value) -> Output {
    object.change(&me("eve"), Spelling::Merge, patch, &["--dry-run=server"])
}

#[test]
fn the_template_of_a_named_kind_is_guarded_where_the_policy_says_it_is() {
    const GROUP: &str = "apps.kruise.io";
    let namespace = production("named-kind");
    define(GROUP, "CloneSet", "clonesets", &namespace);
    let set = spelling::custom(GROUP, "CloneSet", "clonesets", &namespace, "web");
    let head = |name: &str| {
        json!({"apiVersion": "apps.kruise.io/v1", "kind": "CloneSet",
               "metadata": {"namespace": namespace, "name": name}})
    };
    // nobody has said yet where its template is
    me("eve").creates(&born(&head("web"), 1));
    went(&tries(&set, &spec(2)));
    add_to_floor("/rolloutResources", &json!({"group": GROUP, "kind": "CloneSet", "template": ".spec.app.pods"}));
    in_force("the kind to be governed", || tries(&set, &spec(2)).text().contains(NEW));

    for dry in [&[][..], &["--dry-run=server"]] {
        for spelling in spelling::OF_RECORDS {
            let refusal = denied(NEW, &set.change(&me("eve"), *spelling, &spec(2), dry));
            assert!(refusal.contains(&format!("web {IMAGE}:1 → {IMAGE}:2")), "{spelling:?}: {refusal}");
        }
        denied(NEW, &set.change(&me("admin"), Spelling::Merge, &spec(2), dry));
        denied(NEW, &me("eve").create(&born(&head("other"), 1), dry));
        // without a template it would run nothing that could be compared
        denied("TemplateUnreadable", &set.change(&me("eve"), Spelling::Json, &json!({"spec": {"app": null}}), dry));
    }

    // the same template goes: beside another number, again, in another spelling, restarted
    went(&eve(&set, &json!({"spec": {"replicas": 3}})));
    went(&eve(&set, &json!({"metadata": {"labels": {"team": "a"}}})));
    let mut respelled = spec(1);
    respelled["spec"]["app"]["pods"]["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": 0.5}, "requests": {}});
    went(&eve(&set, &respelled));
    let restart = json!({"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}});
    went(&eve(&set, &json!({"spec": {"app": {"pods": {"metadata": restart}}}})));

    // a change opens exactly what it names, and ends once the controller may see what came of it
    let change = opened(NEW, || eve(&set, &spec(2)));
    assert_eq!(set.live()["spec"]["app"]["pods"]["spec"], runs(2)["spec"]);
    denied(NEW, &eve(&set, &spec(3)));
    opened(NEW, || me("eve").create(&born(&head("other"), 1), &[]));
    assert_eq!(change.field("{.status.phase}"), "Approved");
    let role = ["create", "clusterrole", "see-clonesets", "--verb=get", "--resource=clonesets.apps.kruise.io"];
    me("admin").does(&role);
    let controller = ["--clusterrole=see-clonesets", "--serviceaccount=foureyes-system:foureyes-controller"];
    me("admin").does(&[&["create", "clusterrolebinding", "see-clonesets"], &controller[..]].concat());
    within(LONG, "the change to end", || change.field("{.status.phase}") == "Succeeded");

    let mut allowed = decisions::by("eve", &namespace, "web");
    allowed.retain(|line| line["verdict"] == "allowed" && line["dry_run"] != true);
    let codes: Vec<&str> = allowed.iter().map(|line| line["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"Unchanged") && codes.contains(&"Confirmed"), "{codes:?}");
}

/// The shipped rules know some groups; an entry beside them has foureyes asked about another.
#[test]
fn a_kind_of_ones_own_is_guarded_with_an_entry_of_its_own() {
    const GROUP: &str = "sites.example.org";
    let namespace = production("own-kind");
    define(GROUP, "Site", "sites", &namespace);
    let site = spelling::custom(GROUP, "Site", "sites", &namespace, "web");
    let head = json!({"apiVersion": "sites.example.org/v1", "kind": "Site",
                      "metadata": {"namespace": namespace, "name": "web"}});
    add_to_floor("/rolloutResources", &json!({"group": GROUP, "kind": "Site", "template": ".spec.app.pods"}));
    me("eve").creates(&born(&head, 1));
    asked_about(GROUP, "sites");
    in_force("the kind to be governed", || tries(&site, &spec(2)).text().contains(NEW));
    denied(NEW, &eve(&site, &spec(2)));
    went(&eve(&site, &json!({"spec": {"replicas": 2}})));
    opened(NEW, || eve(&site, &spec(2)));
    denied(NEW, &eve(&site, &spec(3)));
}

/// Adds what `further-rollouts` says, for a group that it does not name. It stays, and concerns nobody else.
fn asked_about(group: &str, plural: &str) {
    let guard = ["validatingwebhookconfiguration", "foureyes-guard"];
    let names = me("admin").does(&[&["get"], &guard[..], &["-o=jsonpath={.webhooks[*].name}"]].concat());
    let names: Vec<&str> = names.split_whitespace().collect();
    let model = names.iter().position(|name| *name == "further-rollouts.guard.foureyes.dev").unwrap();
    let at = |field: &str| format!("/webhooks/{}{field}", names.len());
    let rule = json!({"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
                      "resources": [plural], "scope": "*"});
    let patch = json!([
        {"op": "copy", "from": format!("/webhooks/{model}"), "path": "/webhooks/-"},
        {"op": "replace", "path": at("/name"), "value": format!("{plural}.{group}")},
        {"op": "replace", "path": at("/rules"), "value": [rule]},
    ]);
    me("admin").does(&[&["patch"], &guard[..], &["--type=json", "-p", &patch.to_string()]].concat());
}
