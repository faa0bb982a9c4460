//! Proof (ring 3): whatever takes the edge off what asks foureyes is said within 10 s, and so is its end.

use foureyes_testbed::Cluster;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{BED, Saved, Who, runtime, until};

const DEFAULT: &str = "/apis/foureyes.dev/v1alpha1/safetypolicies/default";
const GUARD: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/foureyes-guard";
const STAMP: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/foureyes-stamp";
const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
const BELT: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/foureyes-webhooks";
const CLAIMS: &str = "claims.guard.foureyes.dev";
/// What is promised, and a second for times that have none smaller.
const SAID: SignedDuration = SignedDuration::from_secs(11);

/// The condition.
struct Said {
    status: String,
    reason: String,
    since: Option<Timestamp>,
    entries: Vec<Value>,
}

impl Said {
    /// What is said of one entry or policy.
    fn of(&self, kind: &str) -> Value {
        self.entries.iter().find(|entry| entry["kind"] == kind).cloned().unwrap_or_default()
    }
}

async fn said(admin: &Who) -> Said {
    let policy = admin.get(DEFAULT).await.unwrap();
    let conditions = policy["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let proof = conditions.into_iter().find(|condition| condition["type"] == "EnforcementVerified");
    let text = |key: &str| proof.as_ref().and_then(|proof| proof[key].as_str()).unwrap_or_default().to_owned();
    let entries = policy["status"]["enforcement"].as_array().cloned().unwrap_or_default();
    Said { status: text("status"), reason: text("reason"), since: text("lastTransitionTime").parse().ok(), entries }
}

/// The gap is there since `since`, and said by the controller's own clock; what is said of `kind`.
async fn told(admin: &Who, since: Timestamp, reason: &str, kind: &str) -> String {
    until(reason, async || {
        let said = said(admin).await;
        (said.status.as_str(), said.reason.as_str()) == ("False", reason)
    })
    .await;
    let said = said(admin).await;
    let after = said.since.unwrap().duration_since(since);
    assert!(after < SAID, "{reason} was said after {after}");
    assert_eq!(said.of(kind)["verified"], false, "{kind}");
    said.of(kind)["message"].as_str().unwrap_or_default().to_owned()
}

async fn verified(admin: &Who) {
    until("enforcement to be verified", async || said(admin).await.status == "True").await;
}

/// Does something while nothing keeps the configurations and the controller sees nothing; when it did see.
async fn unseen(cluster: &Cluster, admin: &Who, saved: &Saved<'_>, change: impl AsyncFn() -> bool) -> Timestamp {
    let controller = cluster.process("controller");
    controller.pause().unwrap();
    until("the belt to go", async || admin.delete(BELT).await.is_ok()).await;
    // The policy goes a moment after its binding.
    until("the change", change).await;
    saved.put_back_belt();
    controller.resume().unwrap();
    Timestamp::now()
}

/// One field of one entry, as a provider changes it.
async fn weaken(admin: &Who, path: &str, kind: &str, field: &str, value: &Value) -> bool {
    let mut entries = admin.get(path).await.unwrap()["webhooks"].clone();
    let entry = entries.as_array_mut().unwrap().iter_mut().find(|entry| entry["name"] == kind).unwrap();
    entry[field] = value.clone();
    admin.merge(path, &json!({"webhooks": entries})).await.is_ok()
}

/// F11, F12: what asks foureyes.
#[test]
fn every_gap_of_the_webhooks_is_said_within_ten_seconds() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let webhooks = ["webhook-a", "webhook-b"].map(|name| cluster.process(name));
    runtime().block_on(async {
        let admin = Who::is(cluster, "admin").await;
        verified(&admin).await;
        assert_eq!(said(&admin).await.of(CLAIMS), json!({"kind": CLAIMS, "verified": true}));

        let since = Timestamp::now();
        for webhook in &webhooks {
            webhook.stop().unwrap();
        }
        told(&admin, since, "WebhookUnreachable", CLAIMS).await;
        for webhook in &webhooks {
            webhook.start_ready().unwrap();
        }
        verified(&admin).await;

        let saved = Saved::webhooks_and_belt(cluster, &admin).await;
        let excluded = json!({"matchExpressions": [{"key": "control-plane", "operator": "DoesNotExist"}]});
        let less =
            json!([{"apiGroups": [""], "apiVersions": ["*"], "operations": ["DELETE"], "resources": ["endpoints"]}]);
        let ca = admin.get(GUARD).await.unwrap()["webhooks"][0]["clientConfig"]["caBundle"].clone();
        let elsewhere = json!({"url": "https://127.0.0.1:1/guard", "caBundle": ca});
        let changes: [(&str, &str, &str, Value); 7] = [
            (GUARD, CLAIMS, "failurePolicy", json!("Ignore")),
            (GUARD, CLAIMS, "timeoutSeconds", json!(1)),
            (GUARD, CLAIMS, "objectSelector", excluded.clone()),
            (GUARD, CLAIMS, "namespaceSelector", excluded.clone()),
            (GUARD, "namespaces.guard.foureyes.dev", "rules", less),
            (GUARD, "namespaces.guard.foureyes.dev", "clientConfig", elsewhere),
            (STAMP, "claims.stamp.foureyes.dev", "namespaceSelector", excluded),
        ];
        for (path, kind, field, value) in changes {
            let whole = json!({"webhooks": admin.get(path).await.unwrap()["webhooks"]});
            let change = async || weaken(&admin, path, kind, field, &value).await;
            let since = unseen(cluster, &admin, &saved, change).await;
            let message = told(&admin, since, "WebhookChanged", kind).await;
            assert!(message.contains(field), "{message}");
            unseen(cluster, &admin, &saved, async || admin.merge(path, &whole).await.is_ok()).await;
            verified(&admin).await;
        }
        let since = unseen(cluster, &admin, &saved, async || admin.delete(GUARD).await.is_ok()).await;
        told(&admin, since, "WebhookMissing", CLAIMS).await;
        saved.back(&admin).await;
        verified(&admin).await;
    });
}

/// Nothing in the API guards policies and their bindings (fact 21): so it is said.
#[test]
fn every_gap_of_the_belt_is_said_within_ten_seconds() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    runtime().block_on(async {
        let admin = Who::is(cluster, "admin").await;
        verified(&admin).await;
        let policy = |name: &str| format!("{POLICIES}/{name}");
        let binding = |name: &str| format!("{BINDINGS}/{name}");
        let saved = Saved::policies(cluster, &admin, &["foureyes-data", "foureyes-status"]).await;
        for (path, name) in
            [(binding("foureyes-data"), "foureyes-data"), (policy("foureyes-status"), "foureyes-status")]
        {
            let since = Timestamp::now();
            admin.delete(&path).await.unwrap();
            let message = told(&admin, since, "PolicyMissing", name).await;
            assert!(message.ends_with("is not there"), "{message}");
            saved.put_back();
            verified(&admin).await;
        }
        for (path, name, spec, field) in [
            (binding("foureyes-data"), "foureyes-data", json!({"validationActions": ["Audit"]}), "validationActions"),
            (policy("foureyes-data"), "foureyes-data", json!({"failurePolicy": "Ignore"}), "failurePolicy"),
            (
                policy("foureyes-status"),
                "foureyes-status",
                json!({"validations": [{"expression": "true"}]}),
                "validations",
            ),
        ] {
            let since = Timestamp::now();
            admin.merge(&path, &json!({"spec": spec})).await.unwrap();
            let message = told(&admin, since, "PolicyChanged", name).await;
            assert!(message.contains(field), "{message}");
            saved.put_back();
            verified(&admin).await;
        }
    });
}
