//! A review that does not come from the API server (bypass 9, F 22): whoever can reach the port and has not its client
//! certificate gets no decision, no seal, and learns nothing; nor does the API server itself get a seal by a dry-run.

use foureyes_testbed::{Environment, get};
use serde_json::{Value, json};

use crate::support::{Asked, BED, Webhook, Who, claim, claim_path, delete_review, request, runtime};

/// What bob would have to say for it, as a review of its creation.
fn sign_off_review(asked: &Asked, digest: &str, dry_run: bool) -> Value {
    let mut object = asked.statement("Approve", Some(digest));
    object["metadata"]["name"] = json!("forged");
    let kind = json!({"group": "foureyes.dev", "version": "v1alpha1", "kind": "SignOff"});
    let resource = json!({"group": "foureyes.dev", "version": "v1alpha1", "resource": "signoffs"});
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "resource": resource, "name": "forged",
            "operation": "CREATE", "userInfo": {"username": "bob", "groups": ["ops", "system:authenticated"]},
            "object": object, "oldObject": null, "dryRun": dry_run,
        },
    })
}

/// bob's annotation on a claim, as a review of the update.
fn annotation_review(claim: &Value, digest: &str, dry_run: bool) -> Value {
    let mut review = delete_review(claim, "bob");
    review["request"]["operation"] = json!("UPDATE");
    review["request"]["dryRun"] = json!(dry_run);
    review["request"]["object"] = claim.clone();
    review["request"]["object"]["metadata"]["annotations"]["foureyes.dev/approved-by"] = json!(format!("me@{digest}"));
    review
}

/// Calls to the API server that this process has made for decisions.
fn calls(admin_port: u16) -> Vec<String> {
    let metrics = get(admin_port, "/metrics").unwrap();
    let count = |line: &&str| line.starts_with("foureyes_api_call_duration_seconds_count");
    metrics.lines().filter(count).map(str::to_owned).collect()
}

/// The patch of an answer, as text.
fn patch(response: &Value) -> String {
    let bytes: k8s_openapi::ByteString = serde_json::from_value(response["patch"].clone()).unwrap();
    String::from_utf8(bytes.0).unwrap()
}

#[test]
fn without_the_api_servers_certificate_there_is_no_decision_no_seal_and_no_call() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("forged", Environment::Production).unwrap();
    let ports = cluster.ports().webhooks[0];
    runtime().block_on(async {
        let admin = Who::is(cluster, "admin").await;
        let uid = claim(&admin, &namespace, "data").await;
        let asked = Asked::approved(cluster, &request(&namespace, Some("data"), &uid)).await;
        let (digest, status) = (asked.digest().await, asked.now().await["status"].clone());
        let inventory = status["inventory"]["digest"].as_str().unwrap().to_owned();
        let short = inventory.rsplit(':').next().unwrap()[..12].to_owned();
        let live = admin.get(&claim_path(&namespace, "data")).await.unwrap();
        let volume = live["spec"]["volumeName"].as_str().unwrap().to_owned();
        let reviews = [
            ("/guard", delete_review(&live, "eve")),
            ("/guard", delete_review(&live, "system:serviceaccount:foureyes-system:foureyes-controller")),
            ("/stamp", sign_off_review(&asked, &digest, false)),
            ("/stamp", sign_off_review(&asked, &digest, true)),
            ("/guard", sign_off_review(&asked, &digest, false)),
            ("/stamp", annotation_review(&live, &short, false)),
            ("/guard", annotation_review(&live, &short, false)),
        ];

        let before = calls(ports.admin);
        let anonymous = Webhook::anonymous(cluster, ports.serving).await;
        for (path, review) in &reviews {
            let answer = anonymous.review(path, review).await.unwrap();
            let response = answer.response();
            assert_eq!(response["allowed"], false, "{response}");
            assert_eq!(response["patch"], Value::Null);
            assert_eq!(response["uid"], review["request"]["uid"]);
            assert!(answer.text.contains("CallerUnverified"), "{}", answer.text);
            for secret in [&volume, &short, &digest, &asked.name, &asked.uid] {
                assert!(!answer.text.contains(secret), "{secret} in {}", answer.text);
            }
        }
        // another authority's certificate is none
        let eve = Webhook::person(cluster, ports.serving, "eve").await;
        for (path, review) in &reviews {
            let answer = eve.review(path, review).await;
            assert!(answer.is_err(), "{answer:?}");
        }
        assert_eq!(calls(ports.admin), before, "a call was made for somebody who is not the API server");

        // as the API server the same reviews are decided
        let trusted = Webhook::trusted(cluster, ports.serving).await;
        let deletion = trusted.review("/guard", &reviews[0].1).await.unwrap().response();
        assert_eq!(deletion["allowed"], true, "{deletion}");
        assert_ne!(calls(ports.admin), before);
        for (real, review) in [
            (true, sign_off_review(&asked, &digest, false)),
            (false, sign_off_review(&asked, &digest, true)),
            (true, annotation_review(&live, &short, false)),
            (false, annotation_review(&live, &short, true)),
        ] {
            let response = trusted.review("/stamp", &review).await.unwrap().response();
            assert_eq!(response["allowed"], true, "{response}");
            let patch = patch(&response);
            assert!(patch.contains("bob"), "{patch}");
            // a dry-run leaves nothing, and what it returns must be good for nothing
            assert_eq!(patch.contains("seal"), real, "{patch}");
        }
        // and none of it has changed anything
        assert_eq!(asked.now().await["status"], status);
    });
}
