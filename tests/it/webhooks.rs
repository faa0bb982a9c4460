//! The webhook configurations of foureyes lose nothing before two people have signed that off (bypasses 1 and 12): the API
//! server asks no webhook about webhooks, so an admission policy refuses.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::support::changes::{Change, asked_with};
use crate::support::objects::within;
use crate::support::who::Who;
use crate::support::{PATIENCE, denied_in_words, me, went};

/// Where changes of what has no namespace are asked for.
const OWN: &str = "foureyes-system";
const POLICY: &str = "foureyes-webhooks";
const GUARD: &str = "validatingwebhookconfiguration/foureyes-guard";
const STAMP: &str = "mutatingwebhookconfiguration/foureyes-stamp";
const DRY: &str = "--dry-run=server";

/// There is one of each configuration: while one test has them released, no other finds them kept.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn patch(who: &Who, configuration: &str, operations: &Value) -> foureyes_testbed::Output {
    who.kubectl(&["patch", configuration, "--type=json", "-p", &operations.to_string(), DRY])
}

fn marker(configuration: &str) -> String {
    me("admin").does(&["get", configuration, "-o=jsonpath={.metadata.annotations.foureyes\\.dev/released}"])
}

fn uid(configuration: &str) -> String {
    me("admin").does(&["get", configuration, "-o=jsonpath={.metadata.uid}"])
}

#[test]
fn nobody_takes_anything_off_them_alone() {
    let _alone = alone();
    let admin = me("admin");
    for configuration in [GUARD, STAMP] {
        denied_in_words(POLICY, &admin.kubectl(&["delete", configuration, DRY]));
        let (kind, name) = configuration.split_once('/').unwrap();
        let selector = format!("--field-selector=metadata.name={name}");
        denied_in_words(POLICY, &admin.kubectl(&["delete", kind, &selector, DRY]));
        let nobody = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": uid(configuration)}]);
        for operation in [
            json!({"op": "remove", "path": "/webhooks/0"}),
            json!({"op": "replace", "path": "/webhooks", "value": []}),
            json!({"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}),
            json!({"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CONNECT"]}),
            json!({"op": "replace", "path": "/webhooks/0/rules/0/resources/0", "value": "endpoints"}),
            json!({"op": "replace", "path": "/webhooks/0/rules/0/apiGroups", "value": ["example.com"]}),
            json!({"op": "replace", "path": "/webhooks/0/rules/0/apiVersions", "value": ["v0"]}),
            json!({"op": "replace", "path": "/webhooks/0/rules/0/scope", "value": "Cluster"}),
            json!({"op": "add", "path": "/webhooks/0/namespaceSelector",
                   "value": {"matchLabels": {"never": "there"}}}),
            json!({"op": "add", "path": "/webhooks/0/objectSelector", "value": {"matchLabels": {"never": "there"}}}),
            json!({"op": "add", "path": "/webhooks/0/matchConditions",
                   "value": [{"name": "never", "expression": "false"}]}),
            json!({"op": "replace", "path": "/webhooks/0/matchPolicy", "value": "Exact"}),
            json!({"op": "replace", "path": "/webhooks/0/name", "value": "other.foureyes.dev"}),
            json!({"op": "replace", "path": "/webhooks/0/clientConfig",
                   "value": {"url": "https://elsewhere.example.com/guard"}}),
            json!({"op": "add", "path": "/metadata/ownerReferences", "value": nobody}),
            json!({"op": "add", "path": "/metadata/annotations",
                   "value": {"foureyes.dev/released": uid(configuration)}}),
        ] {
            denied_in_words(POLICY, &patch(&admin, configuration, &json!([operation])));
        }
    }
    // stamp is never asked again about what another webhook changed after it
    let again = json!([{"op": "replace", "path": "/webhooks/0/reinvocationPolicy", "value": "IfNeeded"}]);
    denied_in_words(POLICY, &patch(&admin, STAMP, &again));
}

#[test]
fn more_may_be_added_and_certificates_rotate() {
    let admin = me("admin");
    for configuration in [GUARD, STAMP] {
        for operation in [
            json!({"op": "add", "path": "/metadata/labels/team", "value": "platform"}),
            json!({"op": "add", "path": "/webhooks/0/rules/-",
                   "value": {"apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["DELETE"],
                             "resources": ["databases"]}}),
            json!({"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}),
        ] {
            went(&patch(&admin, configuration, &json!([operation])));
        }
    }
    // of others nothing is asked
    let other = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                       "metadata": {"name": "of-somebody-else"}, "webhooks": []});
    went(&admin.create(&other, &[]));
    went(&admin.kubectl(&["delete", "validatingwebhookconfiguration", "of-somebody-else"]));
}

/// Deletes nothing: others are protected meanwhile.
#[test]
fn an_approved_change_lets_them_go_until_it_is_held_or_taken_back() {
    let _alone = alone();
    let admin = me("admin");
    let refusal = denied_in_words(POLICY, &admin.kubectl(&["delete", GUARD, DRY]));
    let line = &refusal[refusal.find("echo '").unwrap()..];
    let change: Change = asked_with("alice", line.trim());
    assert_eq!(change.namespace, OWN);
    assert_eq!(marker(GUARD), "");
    change.signed_off(&[me("bob")]);
    let released = || [GUARD, STAMP].iter().all(|configuration| marker(configuration) == uid(configuration));
    let kept = || [GUARD, STAMP].iter().all(|configuration| marker(configuration).is_empty());
    assert!(released(), "it is noted before anybody is told");
    within(PATIENCE, "the guard may go", || admin.kubectl(&["delete", GUARD, DRY]).ok());
    went(&admin.kubectl(&["delete", STAMP, DRY]));
    // the note is about this object, and nobody but the controller writes another
    let other = json!([{"op": "replace", "path": "/metadata/annotations/foureyes.dev~1released", "value": "another"}]);
    denied_in_words(POLICY, &patch(&admin, GUARD, &other));

    let hold = me("bob").creates(&change.statement("Hold"));
    within(PATIENCE, "a question keeps them", kept);
    denied_in_words(POLICY, &admin.kubectl(&["delete", GUARD, DRY]));
    me("bob").does(&["delete", "signoff", hold["metadata"]["name"].as_str().unwrap()]);
    within(PATIENCE, "they may go again", released);

    me("alice").does(&["-n", OWN, "delete", "changerequest", &change.name]);
    within(PATIENCE, "they stay", kept);
    denied_in_words(POLICY, &admin.kubectl(&["delete", STAMP, DRY]));
}
