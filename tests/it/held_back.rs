//! Revisions that a `StatefulSet` holds back: what was signed off goes on when somebody lets go of it, and what nobody
//! signed off stays where it is.

use foureyes_testbed::Output;
use serde_json::{Value, json};

use crate::support::changes::{asked, opened};
use crate::support::floor::in_force;
use crate::support::objects::{LONG, enter_production, eventually, within};
use crate::support::{denied, field, me, non_production, production, went};

const IMAGE: &str = "registry.example.org/web";
const NEW: &str = "RolloutNotRequested";
const HELD: &str = "a revision that nobody has signed off would go on";

fn rolling(partition: u32) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}})
}

fn set(namespace: &str, strategy: &Value) -> Value {
    let container = json!({"name": "web", "image": format!("{IMAGE}:1")});
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"namespace": namespace, "name": "web"},
        "spec": {
            "replicas": 2, "serviceName": "web", "podManagementPolicy": "Parallel", "updateStrategy": strategy,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    })
}

fn image(version: u32) -> Value {
    json!({"spec": {"containers": [{"name": "web", "image": format!("{IMAGE}:{version}")}]}})
}

/// eve changes a part of its spec.
fn patches(namespace: &str, spec: &Value, flags: &[&str]) -> Output {
    let patch = json!({"spec": spec}).to_string();
    let args = ["-n", namespace, "patch", "statefulset", "web", "--type=strategic", "-p", &patch];
    me("eve").kubectl(&[&args[..], flags].concat())
}

fn sets(namespace: &str, version: u32) -> Output {
    patches(namespace, &json!({"template": image(version)}), &[])
}

fn strategy(namespace: &str, strategy: &Value) -> Output {
    patches(namespace, &json!({"updateStrategy": strategy}), &[])
}

/// Its pods, in the order of their numbers.
#[track_caller]
fn pods_run(namespace: &str, versions: [u32; 2]) {
    let expected = versions.map(|version| format!("{IMAGE}:{version} True")).join(";");
    let mut last = String::new();
    within(LONG, &format!("pods of {versions:?}"), || {
        let ready = "{.status.conditions[?(@.type==\"Ready\")].status}";
        let each = format!("{{range .items[*]}}{{.spec.containers[*].image}} {ready};{{end}}");
        last = field(namespace, "pods", "--selector=app=web", &each);
        last.trim_end_matches(';') == expected
    });
}

/// Its controller has seen this partition, and let no further pod go.
#[track_caller]
fn observed(namespace: &str) {
    eventually("the spec to be observed", || {
        let path = "{.metadata.generation} {.status.observedGeneration}";
        let generations = field(namespace, "statefulset", "web", path);
        generations.split_once(' ').is_some_and(|(wanted, observed)| wanted == observed)
    });
}

/// A namespace that becomes production while version 2 waits in it for somebody to let it go.
fn pending(prefix: &str, holding: &Value, letting_go: &Value) -> String {
    let namespace = non_production(prefix);
    me("eve").creates(&set(&namespace, holding));
    pods_run(&namespace, [1, 1]);
    went(&sets(&namespace, 2));
    observed(&namespace);
    enter_production(&namespace);
    in_force("letting go to be refused", || {
        patches(&namespace, &json!({"updateStrategy": letting_go}), &["--dry-run=server"]).text().contains(NEW)
    });
    namespace
}

/// The template is there, so that its change is in use as soon as it is signed off.
#[track_caller]
fn let_go_with_four_eyes(namespace: &str, letting_go: &Value) {
    let change = asked("alice", &denied(NEW, &strategy(namespace, letting_go)));
    eventually("the change to be known", || strategy(namespace, letting_go).text().contains("[SignOffMissing]"));
    me("bob").creates(&change.statement("Approve"));
    eventually("it to be let go", || strategy(namespace, letting_go).ok());
    pods_run(namespace, [2, 2]);
    change.is("Succeeded");
}

#[test]
fn what_was_signed_off_goes_on_pod_by_pod_as_its_partition_is_lowered() {
    let namespace = production("partition");
    me("eve").creates_with_four_eyes(&set(&namespace, &rolling(0)));
    pods_run(&namespace, [1, 1]);
    went(&strategy(&namespace, &rolling(2)));
    let change = opened(NEW, || sets(&namespace, 2));
    observed(&namespace);
    change.is("InProgress");
    pods_run(&namespace, [1, 1]);
    // what was signed off is version 2, and none beside it
    denied(NEW, &sets(&namespace, 3));
    denied(NEW, &patches(&namespace, &json!({"template": image(3), "updateStrategy": rolling(0)}), &[]));
    went(&strategy(&namespace, &rolling(1)));
    pods_run(&namespace, [1, 2]);
    assert_eq!(change.field("{.status.phase}"), "InProgress");
    went(&strategy(&namespace, &rolling(0)));
    pods_run(&namespace, [2, 2]);
    change.is("Succeeded");
}

#[test]
fn a_partition_is_not_lowered_while_a_revision_waits_that_nobody_signed_off() {
    let namespace = pending("waits", &rolling(2), &rolling(1));
    let replaced = || {
        let raw = format!("/apis/apps/v1/namespaces/{namespace}/statefulsets/web");
        let mut live: Value = serde_json::from_str(&me("eve").does(&["get", "--raw", &raw])).unwrap();
        live["spec"]["updateStrategy"] = rolling(0);
        me("eve").kubectl_with(&["replace", "-f", "-"], Some(&live))
    };
    for lowered in
        [rolling(1), rolling(0), json!({"rollingUpdate": null}), json!({"type": "OnDelete", "rollingUpdate": null})]
    {
        let refusal = denied(NEW, &strategy(&namespace, &lowered));
        assert!(refusal.contains(HELD), "{refusal}");
    }
    denied(NEW, &replaced());
    denied(NEW, &patches(&namespace, &json!({"template": image(3), "updateStrategy": rolling(0)}), &[]));
    went(&strategy(&namespace, &rolling(3)));
    me("eve").does(&["-n", &namespace, "rollout", "restart", "statefulset/web"]);
    observed(&namespace);
    pods_run(&namespace, [1, 1]);
    let_go_with_four_eyes(&namespace, &rolling(0));
    // nothing waits any more, and the partition is nobody's business
    went(&strategy(&namespace, &rolling(2)));
    went(&strategy(&namespace, &rolling(0)));
}

#[test]
fn a_revision_that_waits_for_deletions_is_not_rolled_by_another_strategy() {
    let namespace = pending("on-delete", &json!({"type": "OnDelete"}), &rolling(0));
    for partition in [0, 2] {
        let refusal = denied(NEW, &strategy(&namespace, &rolling(partition)));
        assert!(refusal.contains(HELD), "{refusal}");
    }
    went(&patches(&namespace, &json!({"minReadySeconds": 1}), &[]));
    pods_run(&namespace, [1, 1]);
    let_go_with_four_eyes(&namespace, &rolling(0));
}

#[test]
fn a_template_and_its_release_in_one_patch_are_one_change() {
    let namespace = production("at-once");
    me("eve").creates_with_four_eyes(&set(&namespace, &rolling(2)));
    pods_run(&namespace, [1, 1]);
    let both = || patches(&namespace, &json!({"template": image(2), "updateStrategy": rolling(0)}), &[]);
    let refusal = denied(NEW, &both());
    assert!(refusal.contains(&format!("web {IMAGE}:1 → {IMAGE}:2")), "{refusal}");
    assert_eq!(field(&namespace, "statefulset", "web", "{.spec.updateStrategy.rollingUpdate.partition}"), "2");
    opened(NEW, both).is("Succeeded");
    pods_run(&namespace, [2, 2]);
}
