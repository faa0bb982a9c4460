//! Proof (ring 3): whatever takes the edge off what asks foureyes is said within 10 s, and so is its end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{BED, Saved, Who, runtime, until};

const DEFAULT: &str = "/apis/foureyes.dev/v1alpha1/safetypolicies/default";
const GUARD: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/foureyes-guard";
const BELT: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/foureyes-webhooks";
/// What is promised, and a little for the test's own looks.
const SAID: Duration = Duration::from_secs(11);

/// Status and reason of the condition, and what is said of the entry for claims.
async fn said(admin: &Who) -> (String, String, Value) {
    let policy = admin.get(DEFAULT).await.unwrap();
    let conditions = policy["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let proof = conditions.into_iter().find(|condition| condition["type"] == "EnforcementVerified");
    let text = |key: &str| proof.as_ref().and_then(|proof| proof[key].as_str()).unwrap_or_default().to_owned();
    let entries = policy["status"]["enforcement"].as_array().cloned().unwrap_or_default();
    let claims = entries.into_iter().find(|entry| entry["kind"] == "claims.guard.foureyes.dev");
    (text("status"), text("reason"), claims.unwrap_or_default())
}

async fn becomes(admin: &Who, status: &str, reason: &str) {
    let since = Instant::now();
    until(reason, async || {
        let (is, why, _) = said(admin).await;
        (is.as_str(), why.as_str()) == (status, reason)
    })
    .await;
    assert!(since.elapsed() < SAID, "{reason} was said after {:?}", since.elapsed());
}

async fn verified(admin: &Who) {
    until("enforcement to be verified", async || said(admin).await.0 == "True").await;
}

/// F11, F12.
#[test]
fn every_gap_is_said_within_ten_seconds() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let webhooks = ["webhook-a", "webhook-b"].map(|name| cluster.process(name));
    runtime().block_on(async {
        let admin = Who::is(cluster, "admin").await;
        verified(&admin).await;
        assert_eq!(said(&admin).await.2, json!({"kind": "claims.guard.foureyes.dev", "verified": true}));

        for webhook in &webhooks {
            webhook.stop().unwrap();
        }
        becomes(&admin, "False", "WebhookUnreachable").await;
        for webhook in &webhooks {
            webhook.start_ready().unwrap();
        }
        verified(&admin).await;

        let saved = Saved::guard_and_belt(cluster, &admin).await;
        until("the belt to go", async || admin.delete(BELT).await.is_ok()).await;
        let excluded = json!({"matchExpressions": [{"key": "control-plane", "operator": "DoesNotExist"}]});
        let changes: [(&str, Value); 4] = [
            ("failurePolicy", json!("Ignore")),
            ("timeoutSeconds", json!(1)),
            ("objectSelector", excluded.clone()),
            ("namespaceSelector", excluded),
        ];
        for (field, value) in changes {
            let whole = admin.get(GUARD).await.unwrap();
            let mut entries = whole["webhooks"].clone();
            let claims = entries.as_array_mut().unwrap().iter_mut();
            claims.filter(|entry| entry["name"] == "claims.guard.foureyes.dev").for_each(|entry| {
                entry[field] = value.clone();
            });
            // The policy goes a moment after its binding.
            until("the change", async || admin.merge(GUARD, &json!({"webhooks": entries})).await.is_ok()).await;
            becomes(&admin, "False", "WebhookChanged").await;
            assert!(said(&admin).await.2["message"].as_str().unwrap().contains(field));
            admin.merge(GUARD, &json!({"webhooks": whole["webhooks"]})).await.unwrap();
            verified(&admin).await;
        }
        admin.delete(GUARD).await.unwrap();
        becomes(&admin, "False", "WebhookMissing").await;
        saved.back(&admin).await;
        verified(&admin).await;
    });
}
