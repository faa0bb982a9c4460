//! What was written while no webhook looked counts for nothing (fact 7, I 3): only the controller says where a request
//! stands, sign-offs and records without a seal are nobody's, and a forged requester is nobody proven.

use foureyes_core::domain::statement::stated;
use foureyes_testbed::Environment;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{
    Asked, BED, Refused, Who, claim, claim_path, description, found, refused, request, request_path, runtime, until,
    without_webhooks,
};

const VALUE: &str = "foureyes.dev/approved-by";
const RECORD: &str = "foureyes.dev/approved-by-record";
/// A seal of the right form, by a key that nobody has.
const SEAL: &str =
    "v1.0123456789abcdef.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// Longer than may lie between a statement and its creation.
const LATE: SignedDuration = SignedDuration::from_secs(17);

struct People {
    admin: Who,
    alice: Who,
    bob: Who,
    carol: Who,
    eve: Who,
}

fn now() -> String {
    stated(Timestamp::now()).0.to_string()
}

fn bob() -> Value {
    json!({"username": "bob", "groups": ["ops", "system:authenticated"]})
}

/// What eve writes in bob's name.
async fn forged_sign_offs(people: &People, asked: &Asked, digest: &str) {
    for seal in [None, Some(SEAL)] {
        let mut forged = asked.statement("Approve", Some(digest));
        forged["spec"]["author"] = bob();
        forged["spec"]["at"] = json!(now());
        if let Some(seal) = seal {
            forged["spec"]["seal"] = json!(seal);
        }
        people.eve.create(&forged).await.unwrap();
    }
    // nothing forged at all, but nobody was there to write down who it is
    people.bob.create(&asked.statement("Approve", Some(digest))).await.unwrap();
}

/// Words of a refusal by the admission policy, which holds without any webhook.
fn by_policy(answer: Result<Value, Refused>) {
    let message = refused("foureyes-status", answer);
    assert!(message.contains("only system:serviceaccount:foureyes-system:foureyes-controller"), "{message}");
}

/// Everything that could release a request by its status.
async fn status_is_the_controllers(people: &People, cluster: &foureyes_testbed::Cluster, asked: &Asked) {
    let system = ["system:serviceaccounts", "system:masters"];
    let webhook = Who::acting(cluster, "system:serviceaccount:foureyes-system:foureyes-webhook", &system).await;
    let responder = Who::acting(cluster, "dave", &["foureyes:breakglass", "system:masters"]).await;
    let path = format!("{}/status", request_path(&asked.name));
    let forged = json!({"status": {"phase": "Executable", "usableFrom": now(), "validUntil": "2126-01-01T00:00:00Z"}});
    for who in [&people.admin, &webhook, &responder] {
        by_policy(who.merge(&path, &forged).await);
    }
    let default = "/apis/foureyes.dev/v1alpha1/safetypolicies/default/status";
    by_policy(people.admin.merge(default, &json!({"status": {"observedGeneration": 7}})).await);
    // written with the object, a status is dropped
    let mut born = request("gap", Some("data"), "11111111-1111-1111-1111-111111111111");
    born["status"] = forged["status"].clone();
    let born = people.eve.tries_to_create(&born).await.unwrap();
    assert_eq!(born["status"], Value::Null);
}

/// The request that alice seems to have made.
async fn forged_request(people: &People, namespace: &str, uid: &str) -> Asked {
    let mut forged = request(namespace, Some("forged"), uid);
    let groups = ["ops", "system:authenticated"];
    forged["spec"]["requester"] = json!({"username": "alice", "groups": groups, "at": now(), "seal": SEAL});
    Asked::by(&people.eve, &people.admin, &forged).await
}

#[test]
fn what_was_written_while_no_webhook_looked_counts_for_nothing() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("gap", Environment::Production).unwrap();
    runtime().block_on(async {
        let who = async |person| Who::is(cluster, person).await;
        let people = People {
            admin: who("admin").await,
            alice: who("alice").await,
            bob: who("bob").await,
            carol: who("carol").await,
            eve: who("eve").await,
        };
        let mut uids = Vec::new();
        for name in ["asked", "forged", "annotated", "replayed", "unsaid"] {
            uids.push(claim(&people.admin, &namespace, name).await);
        }
        let [asked_uid, forged_uid, annotated_uid, replayed_uid, unsaid_uid] = uids.try_into().unwrap();
        let path = |name: &str| claim_path(&namespace, name);

        // bob's own word, withdrawn again: eve keeps a copy
        let replayed =
            Asked::by(&people.carol, &people.admin, &request(&namespace, Some("replayed"), &replayed_uid)).await;
        let approval = replayed.said(&people.bob, "Approve").await.unwrap();
        let copy = people.eve.get(&approval).await.unwrap();
        replayed.is("Executable").await;
        people.bob.delete(&approval).await.unwrap();
        replayed.is("Pending").await;
        let unsaid = withdrawn_annotation(&people, &path("unsaid"), &unsaid_uid).await;
        let asked = Asked::by(&people.alice, &people.admin, &request(&namespace, Some("asked"), &asked_uid)).await;
        let digest = asked.digest().await;
        let short = short_digest(&people, &path("annotated")).await;
        let said: Timestamp = copy["spec"]["at"].as_str().unwrap().parse().unwrap();
        until("bob's word to be old", async || Timestamp::now().duration_since(said) > LATE).await;

        let opened = without_webhooks(cluster, &people.admin, async || {
            status_is_the_controllers(&people, cluster, &asked).await;
            forged_sign_offs(&people, &asked, &digest).await;
            let record = json!({"author": bob(), "at": now(), "uid": annotated_uid, "digest": short, "seal": SEAL});
            let annotations = json!({VALUE: format!("bob@{short}"), RECORD: record.to_string()});
            people.eve.merge(&path("annotated"), &json!({"metadata": {"annotations": annotations}})).await.unwrap();
            let mut born = description(&namespace, "born");
            born["metadata"]["annotations"] = annotations;
            people.eve.create(&born).await.unwrap();
            people.eve.merge(&path("unsaid"), &json!({"metadata": {"annotations": unsaid}})).await.unwrap();
            let mut replay = copy.clone();
            replay["metadata"] = json!({"name": copy["metadata"]["name"]});
            people.eve.create(&replay).await.unwrap();
            forged_request(&people, &namespace, &forged_uid).await
        })
        .await;

        three_statements_and_none_counts(&asked).await;
        let entry = found("the replayed sign-off to be seen", async || {
            replayed.now().await["status"]["signOffs"]["entries"].get(0).cloned()
        });
        assert_eq!(entry.await["counts"], false);
        for name in ["asked", "replayed", "forged", "unsaid"] {
            refused("SignOffMissing", people.eve.delete(&path(name)).await);
        }
        for name in ["annotated", "born"] {
            let refusal = people.eve.delete(&path(name)).await.unwrap_err();
            assert_eq!(refusal.code, 403, "{refusal}");
        }
        nobody_asked(&people, &opened, &path("forged")).await;
        for uid in [&annotated_uid, &uid_of(&people.admin, &path("born")).await] {
            let requests = Asked::about(&people.admin, uid).await;
            assert!(requests.is_empty(), "a forged record opened a request: {requests:?}");
        }
        // what is said with the webhooks there counts as ever
        asked.said(&people.bob, "Approve").await.unwrap();
        asked.is("Executable").await;
        until("the deletion to be allowed", async || people.eve.tries_to_delete(&path("asked")).await.is_ok()).await;
    });
}

/// What bob annotated and took away again, for eve to put back.
async fn withdrawn_annotation(people: &People, path: &str, uid: &str) -> Value {
    let digest = short_digest(people, path).await;
    people.bob.merge(path, &json!({"metadata": {"annotations": {VALUE: format!("me@{digest}")}}})).await.unwrap();
    let opened = Asked::opened(&people.admin, uid).await;
    opened.is("Executable").await;
    let copy = people.eve.get(path).await.unwrap()["metadata"]["annotations"].clone();
    people.bob.merge(path, &json!({"metadata": {"annotations": {VALUE: null}}})).await.unwrap();
    opened.is("Pending").await;
    json!({VALUE: copy[VALUE], RECORD: copy[RECORD]})
}

/// As the refusal shows it.
async fn short_digest(people: &People, path: &str) -> String {
    let refusal = refused("DeletionNotRequested", people.eve.tries_to_delete(path).await);
    refusal[refusal.find("=me@").unwrap() + 4..].chars().take(12).collect()
}

async fn three_statements_and_none_counts(asked: &Asked) {
    let entries = found("the sign-offs to be seen", async || {
        let entries = asked.now().await["status"]["signOffs"]["entries"].as_array().cloned().unwrap_or_default();
        (entries.len() == 3).then_some(entries)
    });
    for entry in entries.await {
        assert_eq!(entry["counts"], false, "{entry}");
        assert!(entry["because"].is_string(), "{entry}");
    }
    let status = asked.now().await["status"].clone();
    assert_eq!((&status["phase"], &status["signOffs"]["granted"]), (&json!("Pending"), &json!(0)));
}

/// The rule for no human requester: two approvals, or one and another person who deletes.
async fn nobody_asked(people: &People, opened: &Asked, path: &str) {
    let digest = opened.digest().await;
    let status = opened.now().await["status"].clone();
    assert_eq!(status["requestedBy"], "nobody proven");
    assert_eq!(status["signOffs"]["text"], "0/2");
    assert!(!digest.is_empty());
    opened.said(&people.bob, "Approve").await.unwrap();
    opened.is("Executable").await;
    until("bob to be refused for being alone", async || {
        people.bob.tries_to_delete(path).await.is_err_and(|refused| refused.message.contains("SecondPersonNeeded"))
    })
    .await;
    until("another person to be let go", async || people.eve.tries_to_delete(path).await.is_ok()).await;
    // alice did not ask, whatever was written: hers is a second approval
    opened.said(&people.alice, "Approve").await.unwrap();
    until("bob to be let go", async || people.bob.tries_to_delete(path).await.is_ok()).await;
    until("both to be seen", async || opened.now().await["status"]["signOffs"]["text"] == "2/2").await;
}

async fn uid_of(admin: &Who, path: &str) -> String {
    admin.get(path).await.unwrap()["metadata"]["uid"].as_str().unwrap().to_owned()
}
