//! What stamp writes, and what it leaves for the guard to refuse.

use serde_json::{Value, json};

use super::support::{Api, CLAIM, build, claim, request, review, synced};

pub fn patch(answer: &Value) -> Vec<Value> {
    use base64::Engine as _;
    let Some(text) = answer["patch"].as_str() else { return Vec::new() };
    assert_eq!(answer["patchType"], "JSONPatch");
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn sign_off(spec: &Value) -> Value {
    let mut review = request("CREATE", "foureyes.dev", "signoffs", None);
    review["request"]["object"] = json!({"metadata": {"generateName": "del-"}, "spec": spec});
    review
}

fn spec() -> Value {
    json!({"subject": {"kind": "DeletionRequest", "name": "del", "uid": CLAIM}, "says": "Hold"})
}

#[tokio::test]
async fn a_sign_off_gets_its_name_author_time_and_seal() {
    let router = build(synced(), &Api::default());
    let answer = review(&router, "/stamp", &sign_off(&spec())).await;
    let operations = patch(&answer);
    let paths: Vec<&str> = operations.iter().map(|operation| operation["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/metadata/name", "/spec/author", "/spec/at", "/spec/seal"]);
    assert_eq!(operations[1]["value"]["username"], "eve");
    assert_eq!(operations[2]["value"], "2026-01-02T03:04:05Z");
    let again = review(&router, "/stamp", &sign_off(&spec())).await;
    assert_eq!(patch(&again), operations, "a repeated review gets the same answer");
}

#[tokio::test]
async fn a_dry_run_leaves_nothing_that_counts() {
    let mut dry = sign_off(&spec());
    dry["request"]["dryRun"] = json!(true);
    let operations = patch(&review(&build(synced(), &Api::default()), "/stamp", &dry).await);
    assert!(operations.iter().all(|operation| operation["path"] != "/spec/seal"));
    assert_eq!(operations.len(), 3);
}

#[tokio::test]
async fn what_is_filled_in_already_is_left_for_the_guard() {
    let mut forged = spec();
    forged["author"] = json!({"username": "bob"});
    let router = build(synced(), &Api::default());
    assert_eq!(patch(&review(&router, "/stamp", &sign_off(&forged)).await), Vec::<Value>::new());
}

/// The schema names the field in words of its own; it is applied after stamp and before guard.
#[tokio::test]
async fn what_can_not_be_read_is_left_for_the_schema_and_guard_names_the_field() {
    let router = build(synced(), &Api::default());
    let target = json!({"apiVersion": "v1", "kind": "Namespace", "name": "shop", "uid": CLAIM});
    let with = |spec: Value, path: &str, value: Value| {
        let mut spec = spec;
        *spec.pointer_mut(path).unwrap() = value;
        spec
    };
    let asked_for = json!({"target": target, "reason": "r"});
    for (resource, spec, field) in [
        ("deletionrequests", with(asked_for.clone(), "/target/kind", json!("ConfigMap")), "spec.target.kind: unknown"),
        ("deletionrequests", with(asked_for.clone(), "/reason", json!(7)), "spec.reason: invalid type"),
        ("deletionrequests", json!({"target": target}), "spec: missing field `reason`"),
        ("deletionrequests", Value::Null, "spec: invalid type"),
        (
            "changerequests",
            json!({"type": "normal", "title": "t", "targets": []}),
            "spec.type: unknown variant `normal`",
        ),
        ("changerequests", json!({"type": "Normal", "title": "t"}), "spec: missing field `targets`"),
        ("signoffs", with(spec(), "/says", json!("approve")), "spec.says: unknown variant `approve`"),
        ("signoffs", with(spec(), "/subject", json!("del")), "spec.subject: invalid type"),
        ("signoffs", json!({"says": "Hold"}), "spec: missing field `subject`"),
    ] {
        let mut asked = request("CREATE", "foureyes.dev", resource, (resource == "changerequests").then_some("shop"));
        asked["request"]["object"] = json!({"metadata": {"name": "del-1"}, "spec": spec});
        let stamped = review(&router, "/stamp", &asked).await;
        assert_eq!((&stamped["allowed"], patch(&stamped)), (&json!(true), Vec::new()), "{spec}");
        let guarded = review(&router, "/guard", &asked).await;
        let message = guarded["status"]["message"].as_str().unwrap();
        assert!(message.contains(&format!(" del-1 was not written: {field}")), "{message}");
        assert!(message.contains("[RequestInvalid]") && !message.contains(" at line "), "{message}");
        assert_eq!(message.lines().last(), Some(&*format!("kubectl explain {}.spec", &resource[..resource.len() - 1])));
    }
}

fn annotated(old: &Value, new: &Value) -> Value {
    let mut review = request("UPDATE", "", "persistentvolumeclaims", Some("shop"));
    let with = |annotations: &Value| {
        let mut claim = claim();
        claim["metadata"]["annotations"] = annotations.clone();
        claim
    };
    review["request"]["oldObject"] = with(old);
    review["request"]["object"] = with(new);
    review
}

#[tokio::test]
async fn me_becomes_the_author_and_another_name_is_left() {
    let router = build(synced(), &Api::default());
    let me = annotated(&json!({}), &json!({"foureyes.dev/approved-by": "me@1f3a9c0b22de"}));
    let operations = patch(&review(&router, "/stamp", &me).await);
    assert_eq!(operations[0]["value"], "eve@1f3a9c0b22de");
    let record: Value = serde_json::from_str(operations[1]["value"].as_str().unwrap()).unwrap();
    assert_eq!((&record["uid"], &record["digest"]), (&json!(CLAIM), &json!("1f3a9c0b22de")));
    let bob = annotated(&json!({}), &json!({"foureyes.dev/approved-by": "bob@1f3a9c0b22de"}));
    assert_eq!(patch(&review(&router, "/stamp", &bob).await), Vec::<Value>::new());
}

#[tokio::test]
async fn without_the_annotation_its_record_goes_and_nothing_is_born_approved() {
    let router = build(synced(), &Api::default());
    let both = json!({"foureyes.dev/approved-by": "bob@1f3a9c0b22de", "foureyes.dev/approved-by-record": "{}"});
    let record = json!({"foureyes.dev/approved-by-record": "{}"});
    let operations = patch(&review(&router, "/stamp", &annotated(&both, &record)).await);
    assert_eq!(operations, [json!({"op": "remove", "path": "/metadata/annotations/foureyes.dev~1approved-by-record"})]);
    let mut born = request("CREATE", "", "persistentvolumeclaims", Some("shop"));
    born["request"]["object"] = claim();
    born["request"]["object"]["metadata"]["annotations"] = both;
    assert_eq!(patch(&review(&router, "/stamp", &born).await).len(), 2);
}
