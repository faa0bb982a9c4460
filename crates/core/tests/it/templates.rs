//! What a digest binds (design §2): every byte of a template but restarts and null timestamps, whatever its spelling;
//! and what else of an object counts.

use std::collections::BTreeMap;

use foureyes_core::api::RolloutResource;
use foureyes_core::domain::rollout::location::locate;
use foureyes_core::domain::rollout::object::object_digest;
use foureyes_core::domain::rollout::template::{Template, TemplateError, differing};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use crate::binding::mutations;

/// A template with everything that is treated specially.
pub fn rich() -> Value {
    json!({
        "metadata": {
            "creationTimestamp": null,
            "labels": {"app": "web"},
            "annotations": {"checksum/config": "1", "kubectl.kubernetes.io/restartedAt": "2026-11-23T10:00:00Z"},
        },
        "spec": {
            "initContainers": [{"name": "migrate", "image": "registry.example.org/migrate:1"}],
            "containers": [
                {"name": "web", "image": "registry.example.org/web:1", "env": [{"name": "LEVEL", "value": "info"}]},
                {"name": "log", "image": "registry.example.org/log:1", "ports": [{"containerPort": 80}]},
            ],
            "volumes": [{
                "name": "scratch",
                "ephemeral": {"volumeClaimTemplate": {"metadata": {"creationTimestamp": null}, "spec": {"x": 1}}},
            }],
            "terminationGracePeriodSeconds": 30,
        },
    })
}

/// The template as the Deployment's location finds it.
pub fn template(value: &Value) -> Template {
    let location = locate("apps", "Deployment", &[]).unwrap();
    Template::of_value(&location, &json!({"template": value})).unwrap()
}

fn digest(value: &Value) -> String {
    template(value).digest().unwrap()
}

#[test]
fn restarts_and_null_timestamps_are_no_content() {
    let mut bare = rich();
    bare["metadata"].as_object_mut().unwrap().remove("creationTimestamp");
    bare["metadata"]["annotations"].as_object_mut().unwrap().remove("kubectl.kubernetes.io/restartedAt");
    bare["spec"]["volumes"][0]["ephemeral"]["volumeClaimTemplate"]["metadata"] = json!({});
    assert_eq!(digest(&bare), digest(&rich()));
    let mut other = bare.clone();
    other["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = json!("another time");
    assert_eq!(digest(&other), digest(&bare));
    // A timestamp that says something is content.
    other["metadata"]["creationTimestamp"] = json!("2026-11-23T10:00:00Z");
    assert_ne!(digest(&other), digest(&bare));
}

/// A template that never had metadata and one that was restarted are one template.
#[rstest]
#[case(json!({"spec": {}}))]
#[case(json!({"metadata": null, "spec": {}}))]
#[case(json!({"metadata": {}, "spec": {}}))]
#[case(json!({"metadata": {"creationTimestamp": null}, "spec": {}}))]
#[case(json!({"metadata": {"annotations": {}, "labels": null}, "spec": {}}))]
#[case(json!({"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}, "spec": {}}))]
fn nothing_is_spelled_in_many_ways(#[case] value: Value) {
    assert_eq!(digest(&value), digest(&json!({"spec": {}})));
    assert_eq!(template(&value).shape().unwrap(), template(&json!({"spec": {}})).shape().unwrap());
}

/// Whether a value lost only what is no content.
fn without_what_is_free(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove("kubectl.kubernetes.io/restartedAt");
    }
    // What is null in metadata says nothing.
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null());
    }
    without_null_timestamps(&value)
}

fn without_null_timestamps(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(without_null_timestamps).collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, value)| *key != "creationTimestamp" || !value.is_null())
            .map(|(key, value)| (key.clone(), without_null_timestamps(value)))
            .collect(),
        other => other.clone(),
    }
}

#[test]
fn whatever_is_changed_in_a_template_changes_its_digest() {
    let (whole, mut tried) = (digest(&rich()), 0);
    let location = locate("apps", "Deployment", &[]).unwrap();
    for changed in mutations(&rich()) {
        if without_what_is_free(&changed) == without_what_is_free(&rich()) {
            assert_eq!(digest(&changed), whole, "{changed}");
            continue;
        }
        tried += 1;
        let read = Template::of_value(&location, &json!({"template": changed}));
        assert!(read.is_err() || read.unwrap().digest().unwrap() != whole, "{changed}");
    }
    assert!(tried > 150, "{tried}");
}

/// Blanks what shape/v1 leaves out, by another way than the code under test.
fn shaped(value: &Value) -> Value {
    let mut value = without_what_is_free(value);
    if let Some(metadata) = value.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("annotations");
    }
    for (list, at) in [("initContainers", 0), ("containers", 0), ("containers", 1), ("containers", 2)] {
        let container = value.pointer_mut(&format!("/spec/{list}/{at}"));
        if let Some(container) = container.and_then(Value::as_object_mut) {
            container.remove("image");
        }
    }
    value
}

#[test]
fn a_shape_is_all_but_images_and_annotations() {
    let whole = template(&rich()).shape().unwrap();
    let (mut same, mut other) = (0, 0);
    for changed in mutations(&rich()).iter().filter(|changed| changed.is_object()) {
        let shape = template(changed).shape().unwrap();
        let expected = shaped(changed) == shaped(&rich());
        assert_eq!(shape == whole, expected, "{changed}");
        if expected { same += 1 } else { other += 1 }
    }
    assert!(same > 50 && other > 80, "{same} and {other}");
}

/// Equal but for images and annotations: then both together say whether two templates are the same.
#[test]
fn shape_images_and_annotations_are_the_whole_template() {
    let parts = |value: &Value| {
        let template = template(value);
        (template.shape().unwrap(), template.images(), template.annotations())
    };
    for changed in mutations(&rich()).iter().filter(|changed| changed.is_object()) {
        // Annotations that are no map are refused by the API server; they are not told apart here.
        if changed.pointer("/metadata/annotations").is_some_and(|annotations| !annotations.is_object()) {
            continue;
        }
        assert_eq!(parts(changed) == parts(&rich()), digest(changed) == digest(&rich()), "{changed}");
    }
}

#[test]
fn images_are_named_by_container_in_every_list_and_none_hides_another() {
    let images = |spec: Value| template(&json!({"spec": spec})).images();
    let named = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, image)| ((*name).to_owned(), (*image).to_owned())).collect()
    };
    let seen = images(json!({
        "initContainers": [{"name": "a", "image": "1"}],
        "containers": [{"name": "b", "image": "2"}, {"name": "c"}],
        "ephemeralContainers": [{"name": "d", "image": "3"}],
    }));
    assert_eq!(seen, named(&[("a", "1"), ("b", "2"), ("d", "3")]));
    let twice =
        images(json!({"initContainers": [{"name": "a", "image": "1"}], "containers": [{"name": "a", "image": "2"}]}));
    assert_eq!(twice, named(&[("a", "1"), ("containers[0]", "2")]));
    let unnamed = images(json!({"containers": [{"name": "containers[1]", "image": "1"}, {"image": "2"}]}));
    assert_eq!(unnamed, named(&[("containers[0]", "1"), ("containers[1]", "2")]));
}

/// The same without what is empty, which kinds that the cluster defines may keep or not.
fn settled() -> Value {
    let mut settled = rich();
    let claim = settled["spec"]["volumes"][0]["ephemeral"]["volumeClaimTemplate"].as_object_mut().unwrap();
    claim.remove("metadata");
    settled
}

/// Argo's controller reads what was written into its own types, and writes it back with the number of the revision.
#[test]
fn a_rollout_that_its_own_controller_wrote_back_runs_the_same() {
    let location = locate("argoproj.io", "Rollout", &[]).unwrap();
    let of = |template: Value| Template::of_value(&location, &json!({"template": template})).unwrap();
    let with = |fields: Value| {
        let mut template = json!({"spec": {"containers": [{"name": "web", "image": "web:1"}]}});
        template["spec"]["containers"][0].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        template
    };
    let written = of(with(json!({"env": [], "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}})));
    let mut back = with(json!({"resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}));
    back["metadata"] = json!({"creationTimestamp": null});
    assert!(written.runs_as(&of(back.clone())).unwrap());
    assert_eq!(written.digest().unwrap(), of(back).digest().unwrap());
    assert!(of(with(json!({}))).runs_as(&of(with(json!({"resources": {}})))).unwrap());
    let other = of(with(json!({"resources": {"limits": {"cpu": "501m", "memory": "1Gi"}}})));
    assert!(!written.runs_as(&other).unwrap());
}

/// The raw bytes and the value read from them are one template.
#[rstest]
#[case("apps", "Deployment", json!({"replicas": 3, "template": rich()}))]
#[case("apps", "StatefulSet", json!({"serviceName": "db", "template": rich()}))]
#[case("apps", "DaemonSet", json!({"template": rich()}))]
#[case("apps", "ReplicaSet", json!({"template": rich()}))]
#[case("", "ReplicationController", json!({"template": rich()}))]
#[case("batch", "CronJob", json!({"schedule": "* * * * *", "jobTemplate": {"spec": {"completions": 2, "template": rich()}}}))]
#[case("argoproj.io", "Rollout", json!({"strategy": {"canary": {}}, "template": rich()}))]
#[case("example.org", "Service", json!({"a": {"b": rich()}}))]
fn a_template_is_found_where_its_kind_keeps_it(#[case] group: &str, #[case] kind: &str, #[case] spec: Value) {
    let more = [RolloutResource {
        group: "example.org".to_owned(),
        kind: "Service".to_owned(),
        template: ".spec.a.b".to_owned(),
    }];
    let location = locate(group, kind, &more).unwrap();
    let text = serde_json::to_string_pretty(&spec).unwrap();
    let read = Template::of_json(&location, &text).unwrap();
    assert_eq!(read, Template::of_value(&location, &spec).unwrap());
    let settled = if ["", "apps", "batch"].contains(&group) { rich() } else { settled() };
    assert_eq!(read.digest().unwrap(), digest(&settled));
    // A key may be spelled with an escape.
    let escaped = text.replace("\"template\"", "\"templ\\u0061te\"");
    assert_eq!(Template::of_json(&location, &escaped).unwrap(), read);
    assert!(matches!(Template::of_json(&location, "{}"), Err(TemplateError::Missing)));
}

#[test]
fn a_pod_runs_its_spec_and_a_rollout_may_name_another_workload() {
    let pod = locate("", "Pod", &[]).unwrap();
    let spec = rich()["spec"].clone();
    let read = Template::of_value(&pod, &spec).unwrap();
    assert_eq!(read.images().len(), 3);
    let rollout = locate("argoproj.io", "Rollout", &[]).unwrap();
    let reference = |name: &str| json!({"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}});
    let of = |spec: &Value| Template::of_value(&rollout, spec).unwrap().digest().unwrap();
    assert_ne!(of(&reference("web")), of(&reference("other")));
    // The reference is what counts where both are given, so no template hides behind it or in front of it.
    let mut both = reference("web");
    both["template"] = rich();
    assert_eq!(of(&both), of(&reference("web")));
    assert_eq!(of(&json!({"workloadRef": null, "template": rich()})), digest(&settled()));
    assert!(locate("", "ConfigMap", &[]).is_none());
    assert!(locate("extensions", "Deployment", &[]).is_none());
}

#[rstest]
#[case("[]")]
#[case("null")]
#[case("7")]
#[case(r#"{"template": null}"#)]
#[case(r#"{"template": []}"#)]
#[case(r#"{"template": "x"}"#)]
#[case(r#"{"template": {"#)]
fn what_has_no_template_is_an_error(#[case] spec: &str) {
    let location = locate("apps", "Deployment", &[]).unwrap();
    assert!(Template::of_json(&location, spec).is_err(), "{spec}");
}

#[test]
fn numbers_that_two_readers_would_read_differently_have_no_digest() {
    for number in ["9007199254740993", "-9007199254740993", "99999999999999999999999"] {
        let location = locate("apps", "Deployment", &[]).unwrap();
        let text = format!(r#"{{"template": {{"spec": {{"activeDeadlineSeconds": {number}}}}}}}"#);
        let template = Template::of_json(&location, &text).unwrap();
        assert!(template.digest().is_err() && template.shape().is_err(), "{number}");
    }
}

#[test]
fn annotations_are_compared_by_all_of_their_values() {
    let of = |value: &str| template(&json!({"metadata": {"annotations": {"a": value, "b": "1"}}})).annotations();
    assert_eq!(differing(&of("1"), &of("1")).len(), 0);
    assert_eq!(differing(&of("1"), &of("2")).into_iter().collect::<Vec<_>>(), ["a"]);
    assert_eq!(differing(&of("1"), &BTreeMap::new()).into_iter().collect::<Vec<_>>(), ["a", "b"]);
    assert!(of(&"x".repeat(100_000))["a"].len() == 32);
}

#[rstest]
#[case("/status/phase", false)]
#[case("/metadata/uid", false)]
#[case("/metadata/resourceVersion", false)]
#[case("/metadata/generation", false)]
#[case("/metadata/creationTimestamp", false)]
#[case("/metadata/managedFields", false)]
#[case("/metadata/name", true)]
#[case("/metadata/namespace", true)]
#[case("/metadata/labels/team", true)]
#[case("/metadata/annotations/note", true)]
#[case("/metadata/finalizers", true)]
#[case("/metadata/ownerReferences", true)]
#[case("/spec/approvals/min", true)]
#[case("/data/key", true)]
#[case("/kind", true)]
#[case("/apiVersion", true)]
fn an_object_is_what_somebody_wrote(#[case] place: &str, #[case] counts: bool) {
    let object = json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy",
        "metadata": {
            "name": "default", "namespace": "x", "uid": "u", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-11-23T10:00:00Z", "managedFields": [{}], "labels": {"team": "a"},
            "annotations": {"note": "n"}, "finalizers": ["f"], "ownerReferences": [{}],
        },
        "spec": {"approvals": {"min": 2}}, "data": {"key": "v"}, "status": {"phase": "x"},
    });
    let mut changed = object.clone();
    *changed.pointer_mut(place).unwrap() = json!("changed");
    assert_eq!(object_digest(&changed).unwrap() != object_digest(&object).unwrap(), counts);
}

#[test]
fn of_a_namespace_its_labels_count_and_of_a_webhook_all_but_certificates() {
    let namespace = |labels: Value, note: &str| {
        let metadata = json!({"name": "shop", "labels": labels, "annotations": {"note": note}});
        object_digest(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "spec": {"finalizers": [note]}}),
        )
        .unwrap()
    };
    assert_eq!(namespace(json!({"a": "1"}), "x"), namespace(json!({"a": "1"}), "y"));
    assert_ne!(namespace(json!({"a": "1"}), "x"), namespace(json!({"a": "2"}), "x"));
    assert_eq!(namespace(json!({}), "x"), namespace(Value::Null, "x"));
    let webhook = |bundle: &str, url: &str| {
        let webhooks = json!([{"name": "a.b.c", "clientConfig": {"caBundle": bundle, "url": url}}]);
        let version = "admissionregistration.k8s.io/v1";
        object_digest(&json!({"apiVersion": version, "kind": "ValidatingWebhookConfiguration", "webhooks": webhooks}))
            .unwrap()
    };
    assert_eq!(webhook("one", "u"), webhook("two", "u"));
    assert_ne!(webhook("one", "u"), webhook("one", "v"));
}

proptest! {
    /// A byte replaced anywhere in what is sent: another digest, or nothing that could be judged.
    #[test]
    fn a_mutated_byte_is_another_template(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let location = locate("apps", "Deployment", &[]).unwrap();
        let spec = json!({"template": rich()});
        let mut bytes = serde_json::to_vec(&spec).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        let Ok(read) = Template::of_json(&location, &text) else { return Ok(()) };
        let changed: Value = serde_json::from_str(&text).unwrap();
        let same = without_what_is_free(&changed["template"]) == without_what_is_free(&rich());
        prop_assert_eq!(read.digest().ok() == Some(digest(&rich())), same, "{}", text);
    }
}
