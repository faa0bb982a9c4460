//! Argo CD's way of working, as docs/gitops.md shows it: one ServiceAccount asks, applies, retries and prunes.

use serde_json::{Value, json};

use crate::support::objects::eventually;
use crate::support::{Who, account, denied, denied_in_words, field, me, paste, production, went};

fn version(namespace: &str, version: u32) -> Value {
    let container = json!({"name": "web", "image": format!("registry.example.org/web:{version}")});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": namespace, "name": "web"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    })
}

fn request(namespace: &str, version: u32) -> Value {
    let images = json!({"web": format!("registry.example.org/web:{version}")});
    json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "ChangeRequest",
        "metadata": {"namespace": namespace, "name": format!("web-{version}"),
                     "annotations": {"argocd.argoproj.io/sync-wave": "-1"}},
        "spec": {
            "type": "Normal", "title": format!("web {version}"),
            "source": {"repository": "https://git.example.com/shop.git", "revision": "3f1c2ab"},
            "targets": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "action": "Apply", "images": images}],
        },
    })
}

/// A production namespace in which a Deployment runs by an approved change, and in which argocd may ask for changes.
fn shop(name: &str) -> (String, Who) {
    let namespace = production(name);
    me("eve").creates_with_four_eyes(&version(&namespace, 1));
    let bind = ["-n", &namespace, "create", "rolebinding", "argocd-requester", "--clusterrole=foureyes-requester"];
    me("admin").does(&[&bind[..], &["--serviceaccount=argocd:argocd"]].concat());
    (namespace, account("argocd", "argocd"))
}

fn applies(who: &Who, object: &Value) -> foureyes_testbed::Output {
    who.kubectl_with(&["apply", "-f", "-"], Some(object))
}

fn signs_off(person: &str, namespace: &str, name: &str) {
    let mut line = String::new();
    eventually("the line to sign it off with", || {
        line = field(namespace, "changerequest", name, "{.status.signOffCommand}");
        !line.is_empty()
    });
    went(&paste(person, &line));
}

#[test]
fn a_version_in_git_waits_for_two_people_and_is_pruned_afterwards() {
    let (namespace, argocd) = shop("gitops");
    let (asked, wanted) = (request(&namespace, 2), version(&namespace, 2));
    went(&applies(&argocd, &asked));
    let refusal = denied("SignOffMissing", &applies(&argocd, &wanted));
    assert!(refusal.contains("0 of 2 sign-offs"), "{refusal}");
    signs_off("bob", &namespace, "web-2");
    eventually("one of two", || applies(&argocd, &wanted).text().contains("1 of 2 sign-offs"));
    // The same manifests again are no change, and another content under the same name is refused kindly.
    went(&applies(&argocd, &asked));
    let mut another = request(&namespace, 3);
    another["metadata"]["name"] = json!("web-2");
    denied_in_words("create another one, named after its version", &applies(&argocd, &another));
    signs_off("alice", &namespace, "web-2");
    eventually("the retried sync", || applies(&argocd, &wanted).ok());
    eventually("the change to end", || field(&namespace, "changerequest", "web-2", "{.status.phase}") == "Succeeded");
    argocd.does(&["-n", &namespace, "delete", "changerequest", "web-2"]);
    // What Git says now is what runs, and drift goes back to it.
    me("eve").does(&["-n", &namespace, "rollout", "undo", "deployment/web"]);
    eventually("drift to be corrected", || applies(&argocd, &wanted).ok());
    eventually("the record", || {
        let path = "-o=jsonpath={.items[?(@.spec.workload.namespace==\"NAMESPACE\")].status.runs}";
        went(&me("admin").kubectl(&["get", "rolloutrecords", &path.replace("NAMESPACE", &namespace)])).ends_with(":2")
    });
}
