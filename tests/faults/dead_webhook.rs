//! The shipped rules and policies on a real API server while no webhook answers: what runs by itself goes on, what
//! is guarded stays refused, and what proofs rest on stays protected.

use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;

use foureyes_testbed::{Cluster, Environment, Output, root, wait_until};
use serde::Deserialize;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const SYSTEM: &str = "foureyes-system";
const AS_RESPONDER: [&str; 2] = ["--as=dave", "--as-group=foureyes:breakglass"];

/// `config/default` with nobody behind its webhooks: port 1 refuses at once.
/// A StatefulSet whose claims would go when it is scaled down, as it was before anybody guarded them.
fn stateful_set(namespace: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": { "name": "db", "namespace": namespace },
        "spec": {
            "replicas": 2,
            "serviceName": "db",
            "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Delete", "whenScaled": "Delete" },
            "selector": { "matchLabels": { "app": "db" } },
            "template": {
                "metadata": { "labels": { "app": "db" } },
                "spec": { "containers": [{ "name": "c", "image": "example/db:1",
                                           "volumeMounts": [{ "name": "data", "mountPath": "/data" }] }] },
            },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
            } }],
        },
    })
}

const STATEFUL: &str = "stateful";

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let cluster = Cluster::bare("dead-webhook").unwrap();
    let rendered = cluster
        .kubectl("admin", &["kustomize", &root().join("config/default").to_string_lossy()])
        .unwrap()
        .success("kubectl kustomize")
        .unwrap();
    let mut text = String::new();
    for document in serde_yaml_ng::Deserializer::from_str(&rendered) {
        let mut object = Value::deserialize(document).unwrap();
        for webhook in object.get_mut("webhooks").and_then(Value::as_array_mut).into_iter().flatten() {
            let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap().to_owned();
            webhook["clientConfig"] = json!({ "url": format!("https://127.0.0.1:1{path}") });
        }
        writeln!(text, "---\n{object}").unwrap();
    }
    let place = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": STATEFUL } });
    cluster.apply(&place.to_string()).unwrap();
    cluster.apply(&stateful_set(STATEFUL).to_string()).unwrap();
    cluster.apply(&text).unwrap();
    // policies and webhooks reach the API server's memory a moment after they are stored
    wait_until("the rules to be in force", PATIENCE, || {
        let webhook = cluster.kubectl("admin", &["delete", "namespace", "kube-node-lease", "--dry-run=server"]);
        let state = ["-n", SYSTEM, "delete", "configmap", "foureyes-state", "--dry-run=server"];
        let policy = cluster.kubectl("admin", &state);
        let definition = ["delete", "crd", "signoffs.foureyes.dev", "--dry-run=server"];
        let definitions = cluster.kubectl("admin", &definition);
        !webhook.unwrap().ok() && !policy.unwrap().ok() && definitions.unwrap().text().contains("foureyes-definitions")
    })
    .unwrap();
    // a second apply, as GitOps tools do all the time, is no change
    cluster.apply(&text).unwrap();
    cluster
});

fn admin(args: &[&str]) -> Output {
    CLUSTER.kubectl("admin", args).unwrap()
}

#[track_caller]
fn goes(args: &[&str]) -> String {
    admin(args).success(&format!("kubectl {args:?}")).unwrap()
}

/// Refused, with this word in what is said: the name of a webhook entry or of a policy.
#[track_caller]
fn refused(by: &str, args: &[&str]) {
    let output = admin(args);
    assert!(!output.ok(), "kubectl {args:?} was not refused:\n{}", output.text());
    assert!(output.text().contains(by), "kubectl {args:?} was not refused by {by}:\n{}", output.text());
}

#[track_caller]
fn create(object: &Value) -> Output {
    CLUSTER.kubectl_with("admin", &["create", "-f", "-"], Some(&object.to_string())).unwrap()
}

fn production() -> String {
    CLUSTER.namespace("dead", Environment::Production).unwrap()
}

fn field(namespace: &str, object: &str, path: &str) -> String {
    goes(&["-n", namespace, "get", object, &format!("-o=jsonpath={path}")])
}

#[track_caller]
fn eventually(what: &str, probe: impl FnMut() -> bool) {
    wait_until(what, PATIENCE, probe).unwrap();
}

fn claim(namespace: &str, name: &str, more: &Value) -> Value {
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": name, "namespace": namespace, "finalizers": ["example.com/keep"] },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    if let Some(annotations) = more.get("annotations") {
        claim["metadata"]["annotations"] = annotations.clone();
    }
    claim
}

fn bound_claim(namespace: &str, name: &str) {
    create(&claim(namespace, name, &Value::Null)).success("kubectl create").unwrap();
    eventually("the claim to be bound", || field(namespace, &format!("pvc/{name}"), "{.status.phase}") == "Bound");
}

fn merge(namespace: &str, object: &str, patch: &Value) -> Vec<String> {
    ["-n", namespace, "patch", object, "--type=merge", "-p", &patch.to_string()].map(str::to_owned).to_vec()
}

fn with(args: &[String], more: &[&'static str]) -> Vec<String> {
    args.iter().cloned().chain(more.iter().map(|&arg| arg.to_owned())).collect()
}

#[track_caller]
fn refused_patch(by: &str, args: &[String]) {
    refused(by, &args.iter().map(String::as_str).collect::<Vec<_>>());
}

#[track_caller]
fn goes_patch(args: &[String]) {
    goes(&args.iter().map(String::as_str).collect::<Vec<_>>());
}

fn owner(api_version: &str, kind: &str) -> Value {
    json!({ "metadata": { "ownerReferences": [{
        "apiVersion": api_version, "kind": kind, "name": "nobody", "uid": "11111111-1111-1111-1111-111111111111",
    }] } })
}

#[test]
fn deletions_of_claims_are_refused_in_every_spelling() {
    let ns = production();
    bound_claim(&ns, "data");
    refused("claims.guard.foureyes.dev", &["-n", &ns, "delete", "pvc", "data"]);
    refused("claims.guard.foureyes.dev", &["-n", &ns, "delete", "pvc", "data", "--dry-run=server"]);
    let collection = format!("/api/v1/namespaces/{ns}/persistentvolumeclaims");
    refused("claims.guard.foureyes.dev", &["delete", "--raw", &collection]);
    refused("namespaces.guard.foureyes.dev", &["delete", "namespace", &ns]);
    refused("namespaces.guard.foureyes.dev", &["delete", "namespace", SYSTEM]);
}

#[test]
fn what_scopes_a_claims_protection_is_refused_and_the_rest_goes() {
    let ns = production();
    bound_claim(&ns, "data");
    for patch in [
        json!({ "metadata": { "labels": { "team": "a" }, "annotations": { "note": "b" } } }),
        json!({ "metadata": { "finalizers": ["example.com/keep", "kubernetes.io/pvc-protection", "example.com/more"] } }),
        json!({ "metadata": { "finalizers": ["example.com/keep", "example.com/more"] } }),
    ] {
        goes_patch(&merge(&ns, "pvc/data", &patch));
    }
    for patch in [
        json!({ "metadata": { "labels": { "foureyes.dev/exempt": "true" } } }),
        json!({ "metadata": { "annotations": { "foureyes.dev/note": "x" } } }),
        json!({ "metadata": { "finalizers": null } }),
        owner("v1", "ConfigMap"),
        owner("apps/v1", "StatefulSet"),
    ] {
        refused_patch("claim-updates.guard.foureyes.dev", &merge(&ns, "pvc/data", &patch));
    }
    // metadata goes through the status of a claim, too (fact 8)
    for patch in [owner("v1", "ConfigMap"), json!({ "metadata": { "annotations": { "foureyes.dev/note": "x" } } })] {
        let args = with(&merge(&ns, "pvc/data", &patch), &["--subresource=status"]);
        refused_patch("claim-updates.guard.foureyes.dev", &args);
    }
    let approval = json!({ "metadata": { "annotations": { "foureyes.dev/approved-by": "me@1f3a9c0b22de" } } });
    refused_patch("claims.stamp.foureyes.dev", &merge(&ns, "pvc/data", &approval));
    let forged = create(&claim(&ns, "forged", &approval["metadata"]));
    assert!(forged.text().contains("new-claims.stamp.foureyes.dev"), "{}", forged.text());
}

#[test]
fn what_scopes_a_namespaces_protection_is_refused_and_the_rest_goes() {
    let ns = production();
    let object = format!("namespace/{ns}");
    let by = "namespace-updates.guard.foureyes.dev";
    let loosen = json!({ "metadata": { "labels": { "foureyes.dev/environment": "non-production" } } });
    goes_patch(&merge(&ns, &object, &json!({ "metadata": { "annotations": { "note": "b" } } })));
    refused_patch(by, &merge(&ns, &object, &loosen));
    refused_patch(by, &with(&merge(&ns, &object, &loosen), &["--subresource=status"]));
    refused_patch(by, &merge(&ns, &object, &owner("v1", "Node")));
    let approval = json!({ "metadata": { "annotations": { "foureyes.dev/approved-by": "me@1f3a9c0b22de" } } });
    refused_patch("namespaces.stamp.foureyes.dev", &merge(&ns, &object, &approval));

    // through finalize: neither the label nor the end of what the namespace controller has still to do
    let live: Value = serde_json::from_str(&goes(&["get", &object, "-o", "json"])).unwrap();
    let finalize = format!("/api/v1/namespaces/{ns}/finalize");
    let (mut labelled, mut emptied) = (live.clone(), live);
    labelled["metadata"]["labels"]["foureyes.dev/environment"] = json!("non-production");
    emptied["spec"]["finalizers"] = json!([]);
    for changed in [labelled, emptied] {
        let args = ["replace", "--raw", &finalize, "-f", "-"];
        let output = CLUSTER.kubectl_with("admin", &args, Some(&changed.to_string())).unwrap();
        assert!(!output.ok() && output.text().contains(by), "{}", output.text());
    }
}

#[test]
fn non_production_needs_no_webhook_and_is_left_freely_but_not_entered() {
    let ns = CLUSTER.namespace("free", Environment::NonProduction).unwrap();
    bound_claim(&ns, "data");
    goes_patch(&merge(&ns, "pvc/data", &json!({ "metadata": { "finalizers": null } })));
    goes(&["-n", &ns, "delete", "pvc", "data"]);
    goes(&["label", "namespace", &ns, "team=a"]);
    let other = CLUSTER.namespace("free", Environment::NonProduction).unwrap();
    goes(&["label", "namespace", &other, "foureyes.dev/environment-"]);
    refused(
        "namespace-updates.guard.foureyes.dev",
        &["label", "namespace", &other, "foureyes.dev/environment=non-production"],
    );
    goes(&["delete", "namespace", &ns, "--timeout=60s"]);
}

#[test]
fn jobs_with_ephemeral_volumes_come_and_go() {
    let ns = production();
    for (name, cascade) in [("background", "--cascade=background"), ("foreground", "--cascade=foreground")] {
        let job = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": name, "namespace": ns },
            "spec": { "template": { "spec": {
                "restartPolicy": "Never",
                "containers": [{ "name": "c", "image": "example/job:1",
                                 "volumeMounts": [{ "name": "scratch", "mountPath": "/scratch" }] }],
                "volumes": [{ "name": "scratch", "ephemeral": { "volumeClaimTemplate": { "spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
                } } } }],
            } } },
        });
        create(&job).success("kubectl create").unwrap();
        goes(&["-n", &ns, "wait", &format!("job/{name}"), "--for=condition=Complete", "--timeout=60s"]);
        goes(&["-n", &ns, "delete", "job", name, cascade, "--timeout=60s"]);
        eventually("the ephemeral claim to go", || goes(&["-n", &ns, "get", "pvc", "-o", "name"]).is_empty());
    }
}

#[test]
fn a_statefulset_that_deletes_its_claims_grows_and_shrinks_and_its_claims_stay() {
    let ns = STATEFUL.to_owned();
    eventually("both replicas", || field(&ns, "sts/db", "{.status.readyReplicas}") == "2");
    // it has the same owner as the claim will have, and is guarded by nobody
    let mut pod = owner("v1", "Pod")["metadata"]["ownerReferences"][0].clone();
    pod["name"] = json!("db-1");
    pod["uid"] = json!(field(&ns, "pod/db-1", "{.metadata.uid}"));
    let metadata = json!({ "name": "witness", "namespace": ns, "ownerReferences": [pod] });
    let witness = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata });
    create(&witness).success("kubectl create").unwrap();
    goes(&["-n", &ns, "scale", "sts/db", "--replicas=1"]);
    eventually("one replica", || field(&ns, "sts/db", "{.status.replicas}") == "1");
    // the claim is a pod's now, like an ephemeral one, but for its name; and the pod is gone
    let owner = field(&ns, "pvc/data-db-1", "{.metadata.ownerReferences[0].kind}");
    assert_eq!(owner, "Pod");
    eventually("the collector to have looked", || {
        goes(&["-n", &ns, "get", "configmap/witness", "--ignore-not-found"]).is_empty()
    });
    assert_eq!(field(&ns, "pvc/data-db-1", "{.metadata.deletionTimestamp}"), "");
}

#[test]
fn what_runs_goes_on_and_break_glass_rolls_out_what_is_new() {
    let ns = production();
    let by = "rollouts.guard.foureyes.dev";
    // dave himself, with the rights that `foureyes responder` has given him
    let glass = |args: &[&str]| {
        let args = [&["-n", &ns], args, &AS_RESPONDER].concat();
        CLUSTER.kubectl("dave", &args).unwrap().success(&format!("kubectl {args:?}")).unwrap();
    };
    let create = ["create", "deployment", "web", "--image=example/web:1"];
    refused(by, &[&["-n", &ns], &create[..]].concat());
    glass(&create);
    goes(&["-n", &ns, "rollout", "status", "deploy/web", "--timeout=60s"]);
    let uid = || field(&ns, "pods", "{.items[0].metadata.uid}");
    let before = uid();
    goes(&["-n", &ns, "delete", "pods", "--all"]);
    goes(&["-n", &ns, "rollout", "status", "deploy/web", "--timeout=60s"]);
    assert_ne!(uid(), before);
    goes(&["-n", &ns, "scale", "deploy/web", "--replicas=2"]);
    goes(&["-n", &ns, "label", "deploy/web", "team=a"]);
    goes(&["-n", &ns, "rollout", "status", "deploy/web", "--timeout=60s"]);
    // what is new, even if it is but a restart, and what would end what runs, waits for the webhook or a responder
    for change in [&["set", "image", "deploy/web", "web=example/web:2"][..], &["rollout", "restart", "deploy/web"]] {
        refused(by, &[&["-n", &ns], change].concat());
        glass(change);
        goes(&["-n", &ns, "rollout", "status", "deploy/web", "--timeout=60s"]);
    }
    refused("removals.guard.foureyes.dev", &["-n", &ns, "delete", "deploy/web"]);
    goes(&["-n", &ns, "scale", "deploy/web", "--replicas=0"]);
    goes(&["-n", &ns, "delete", "deploy/web", "--cascade=foreground", "--timeout=60s"]);
    goes(&["-n", &ns, "wait", "pods", "--all", "--for=delete", "--timeout=60s"]);
}

#[test]
fn requests_and_sign_offs_are_not_taken_unsealed() {
    let sign_off = json!({
        "apiVersion": "foureyes.dev/v1alpha1",
        "kind": "SignOff",
        "metadata": { "generateName": "x-" },
        "spec": { "says": "Hold", "subject": {
            "kind": "DeletionRequest", "name": "x", "uid": "11111111-1111-1111-1111-111111111111",
        } },
    });
    let output = create(&sign_off);
    assert!(!output.ok() && output.text().contains("requests.stamp.foureyes.dev"), "{}", output.text());
}

#[test]
fn definitions_change_only_by_break_glass() {
    let by = "ValidatingAdmissionPolicy 'foureyes-definitions'";
    let crd = "crd/signoffs.foureyes.dev";
    let rename = r#"[{"op":"add","path":"/spec/names/shortNames/-","value":"sign"}]"#;
    refused(by, &["delete", crd]);
    refused(by, &["delete", "--raw", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"]);
    refused(by, &["patch", crd, "--type=json", "-p", rename]);
    refused_patch(by, &merge("default", crd, &owner("v1", "Node")));
    goes(&["label", crd, "team=a"]);
    // with break-glass it is the webhook's turn, which is away
    let patch = [&["patch", crd, "--type=json", "-p", rename], &AS_RESPONDER[..]].concat();
    refused("definitions.guard.foureyes.dev", &patch);
}

#[test]
fn what_proofs_rest_on_is_written_by_its_writer_alone() {
    let put = |object: &str, key: &str| merge(SYSTEM, object, &json!({ "data": { key: "eA==" } }));
    let anchors = "ValidatingAdmissionPolicy 'foureyes-anchors'";
    for object in ["configmap/foureyes-keys", "configmap/foureyes-state"] {
        refused_patch(anchors, &put(object, "x"));
        refused_patch(anchors, &merge(SYSTEM, object, &json!({ "immutable": true })));
        refused(anchors, &["-n", SYSTEM, "delete", object]);
    }
    let collection = format!("/api/v1/namespaces/{SYSTEM}/configmaps?fieldSelector=metadata.name%3Dfoureyes-state");
    refused(anchors, &["delete", "--raw", &collection]);
    goes_patch(&put("configmap/foureyes-install", "x"));
    let keys = "--as=system:serviceaccount:foureyes-system:foureyes-keys";
    let controller = "--as=system:serviceaccount:foureyes-system:foureyes-controller";
    goes_patch(&with(&put("configmap/foureyes-keys", "x"), &[keys]));
    let noted = merge(SYSTEM, "configmap/foureyes-state", &json!({ "data": { "started": "2026-01-01T00:00:00Z" } }));
    goes_patch(&with(&noted, &[controller]));

    let secret = ["-n", SYSTEM, "create", "secret", "generic", "foureyes-sealing-key", "--from-literal=x=y"];
    let policy = "ValidatingAdmissionPolicy 'foureyes-sealing-key'";
    refused(policy, &secret);
    let by_controller: Vec<_> = secret.into_iter().chain([controller]).collect();
    refused("cannot create", &by_controller);
    let by_keys: Vec<_> = secret.into_iter().chain([keys]).collect();
    goes(&by_keys);
    refused_patch(policy, &put("secret/foureyes-sealing-key", "x"));
    refused("cannot", &["-n", SYSTEM, "get", "secret", "foureyes-sealing-key", controller]);
}
