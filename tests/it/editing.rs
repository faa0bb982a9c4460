//! Two ways in which people change one field of what is there: `kubectl edit`, and a manager of their own by server-side
//! apply. Each is judged by what would run.

use foureyes_testbed::Output;
use serde_json::{Value, json};

use crate::support::changes::opened;
use crate::support::objects::{IMAGE, web};
use crate::support::spelling::merge;
use crate::support::{cluster, denied, denied_in_words, field, me, paste, production, went};

const NEW: &str = "RolloutNotRequested";

/// A production namespace in which version 1 runs with everybody's consent.
fn running(prefix: &str) -> String {
    let namespace = production(prefix);
    me("alice").creates_with_four_eyes(&web(&namespace, 1));
    namespace
}

#[track_caller]
fn is(namespace: &str, expected: &str) {
    let path = "{.spec.template.spec.containers[*].image}*{.spec.replicas}";
    assert_eq!(field(namespace, "deployment", "web", path), format!("{IMAGE}:{expected}"));
}

/// eve opens it in her editor, which changes it as `sed` does.
fn edits(namespace: &str, script: &str) -> Output {
    // what it does not take stays in a file
    let folder = cluster().layout().dir.display();
    let line =
        format!("TMPDIR={folder} KUBE_EDITOR=\"sed -i -E '{script}'\" kubectl -n {namespace} edit deployment/web");
    paste("eve", &line)
}

#[test]
fn in_an_editor_replicas_change_and_images_do_not() {
    let namespace = running("editor");
    let to_version = |version: u32| format!("s|{IMAGE}:[0-9]+|{IMAGE}:{version}|");
    let refusal = denied(NEW, &edits(&namespace, &to_version(2)));
    assert!(refusal.contains(&format!("web {IMAGE}:1 → {IMAGE}:2")), "{refusal}");
    is(&namespace, "1*1");
    went(&edits(&namespace, "s|^  replicas: 1$|  replicas: 2|"));
    is(&namespace, "1*2");
    // together they are one change, and neither happens
    denied(NEW, &edits(&namespace, &format!("{}; s|^  replicas: 2$|  replicas: 3|", to_version(2))));
    is(&namespace, "1*2");
    opened(NEW, || edits(&namespace, &to_version(2))).is("Succeeded");
    is(&namespace, "2*2");
    // back, as anybody may go
    went(&edits(&namespace, &to_version(1)));
    is(&namespace, "1*2");
}

/// What a second manager says of the Deployment.
fn applies(namespace: &str, says: &Value, flags: &[&str]) -> Output {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
                            "metadata": {"namespace": namespace, "name": "web"}});
    merge(&mut object, says);
    let manager = ["apply", "--server-side", "--field-manager=second", "-f", "-"];
    me("eve").kubectl_with(&[&manager[..], flags].concat(), Some(&object))
}

fn containers(containers: &Value) -> Value {
    json!({"spec": {"replicas": 2, "template": {"spec": {"containers": containers}}}})
}

#[test]
fn a_second_manager_labels_and_scales_and_forces_no_image() {
    let namespace = running("second");
    let force = ["--force-conflicts"];
    let image = |version: u32| containers(&json!([{"name": "web", "image": format!("{IMAGE}:{version}")}]));
    denied_in_words("conflict", &applies(&namespace, &image(2), &[]));
    denied(NEW, &applies(&namespace, &image(2), &force));
    denied(NEW, &applies(&namespace, &image(2), &["--force-conflicts", "--dry-run=server"]));
    is(&namespace, "1*1");

    let team = json!({"metadata": {"labels": {"team": "a"}}});
    went(&applies(&namespace, &team, &[]));
    assert_eq!(field(&namespace, "deployment", "web", "{.metadata.labels.team}"), "a");
    // what runs already may be anybody's, and that does not let anybody change it
    went(&applies(&namespace, &image(1), &force));
    is(&namespace, "1*2");
    denied(NEW, &applies(&namespace, &image(2), &force));
    // nor is a container beside it one's own
    let proxy = json!([{"name": "proxy", "image": "registry.example.org/proxy:1"}]);
    denied(NEW, &applies(&namespace, &containers(&proxy), &force));
    is(&namespace, "1*2");
    opened(NEW, || applies(&namespace, &image(2), &force)).is("Succeeded");
    is(&namespace, "2*2");
}
