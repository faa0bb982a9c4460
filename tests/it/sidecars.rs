//! Containers that admission itself puts into a template (a service mesh, say): the guard comes after whatever changes
//! objects, so that people sign off what would really run.

use foureyes_testbed::Output;
use serde_json::{Value, json};

use crate::support::changes::asked;
use crate::support::injector::Injector;
use crate::support::objects::{eventually, web};
use crate::support::{decisions, denied, field, me, production, went};

const NEW: &str = "RolloutNotRequested";

/// Whoever runs the platform has the API server itself put a proxy of this version into every Deployment of the namespace.
fn by_policy(namespace: &str, version: u32) {
    let container =
        format!("Object.spec.template.spec.containers{{name: 'proxy', image: 'registry.example.org/proxy:{version}'}}");
    let expression = format!(
        "Object{{spec: Object.spec{{template: Object.spec.template{{spec: Object.spec.template.spec{{containers: [{container}]}}}}}}}}"
    );
    let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                      "resources": ["deployments"]});
    let here = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    let of = |kind: &str, spec: Value| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": namespace},
               "spec": spec})
    };
    let policy = json!({
        "matchConstraints": {"resourceRules": [rule]}, "reinvocationPolicy": "IfNeeded",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
    });
    for object in [
        of("MutatingAdmissionPolicy", policy),
        of("MutatingAdmissionPolicyBinding", json!({"policyName": namespace, "matchResources": here})),
    ] {
        went(&me("admin").kubectl_with(&["apply", "-f", "-"], Some(&object)));
    }
}

/// It is in force when the API server says so.
#[track_caller]
fn injected(namespace: &str, version: u32) {
    let mut probe = web(namespace, 1);
    probe["metadata"]["name"] = json!("probe");
    let proxy = format!("proxy registry.example.org/proxy:{version} (new)");
    eventually("the proxy to be injected", || me("eve").create(&probe, &["--dry-run=server"]).text().contains(&proxy));
}

fn applies(namespace: &str, version: u32) -> Output {
    me("eve").kubectl_with(&["apply", "-f", "-"], Some(&web(namespace, version)))
}

fn runs(namespace: &str) -> String {
    let images = field(namespace, "deployment", "web", "{.spec.template.spec.containers[*].image}");
    images.replace("registry.example.org/", "")
}

#[test]
fn what_is_signed_off_is_what_runs_after_every_mutation() {
    let namespace = production("injected");
    is_signed_off_as_it_runs(&namespace, |version| by_policy(&namespace, version));
}

#[test]
fn what_another_webhook_puts_in_is_signed_off_with_the_rest() {
    let namespace = production("mesh");
    let injector = Injector::of(&namespace);
    is_signed_off_as_it_runs(&namespace, |version| injector.injects(version));
}

fn is_signed_off_as_it_runs(namespace: &str, inject: impl Fn(u32)) {
    inject(1);
    injected(namespace, 1);
    let refusal = denied(NEW, &applies(namespace, 1));
    assert!(
        refusal.contains("proxy registry.example.org/proxy:1 (new), web registry.example.org/web:1 (new)"),
        "{refusal}"
    );
    let change = asked("alice", &refusal);
    change.signed_off(&[me("bob")]);
    eventually("it to be let go", || applies(namespace, 1).ok());
    change.is("Succeeded");
    assert_eq!(runs(namespace), "web:1 proxy:1");
    went(&applies(namespace, 1));
    me("eve").does(&["-n", namespace, "rollout", "restart", "deployment/web"]);

    // the platform's next proxy comes with nobody's unrelated change
    let change = asked("alice", &denied(NEW, &applies(namespace, 2)));
    change.signed_off(&[me("bob")]);
    inject(2);
    injected(namespace, 2);
    let refusal = denied(NEW, &applies(namespace, 2));
    assert!(refusal.contains("proxy registry.example.org/proxy:1 → registry.example.org/proxy:2"), "{refusal}");
    me("eve").cannot(NEW, &["-n", namespace, "rollout", "restart", "deployment/web"]);
    assert_eq!(runs(namespace), "web:1 proxy:1");
    me("eve").does(&["-n", namespace, "scale", "deployment/web", "--replicas=2"]);
    eventually("the second pod", || field(namespace, "deployment", "web", "{.status.availableReplicas}") == "2");

    // once it is what was asked for, it goes
    let change = asked("alice", &refusal);
    change.signed_off(&[me("bob")]);
    eventually("it to be let go", || applies(namespace, 2).ok());
    change.is("Succeeded");
    assert_eq!(runs(namespace), "web:2 proxy:2");
    let confirmed = decisions::by("eve", namespace, "web");
    assert_eq!(confirmed.iter().filter(|line| line["code"] == "Confirmed").count(), 2, "{confirmed:#?}");
}
