//! Whatever breaks is a refusal: bodies that can't be read, and an API server that fails, hangs or talks nonsense.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use foureyes_core::api::Phase;
use foureyes_core::index::{Change, RequestEntry};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{Answer, Api, CLAIM, build, claim, delete_claim, judge, post, synced};

fn with_candidate() -> foureyes_core::index::Snapshot {
    let mut index = synced();
    index.apply(Change::Request(RequestEntry {
        name: "del".into(),
        uid: "u".into(),
        target_uid: CLAIM.into(),
        author: "alice".into(),
        phase: Phase::Executable,
        created: 0,
        supervise_by: None,
    }));
    index
}

#[tokio::test]
async fn an_api_server_that_fails_is_a_refusal() {
    for answer in [Answer::Status(500), Answer::Status(403), Answer::Status(429), Answer::Json(json!({"kind": 5}))] {
        let api = Api::default().answers("/", answer);
        let verdict = judge(&build(with_candidate(), &api), &delete_claim(&claim())).await;
        assert_eq!(verdict, Err("ClusterUnreadable".to_owned()));
    }
}

#[tokio::test]
async fn an_api_server_that_hangs_is_a_refusal_before_the_callers_deadline() {
    let api = Api::default().answers("/", Answer::Hang);
    let router = build(with_candidate(), &api);
    let began = Instant::now();
    let (status, body) = post(&router, "/guard?timeout=1s", serde_json::to_vec(&delete_claim(&claim())).unwrap()).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["response"]["allowed"], false);
    assert_eq!(answer["response"]["auditAnnotations"]["decision"], "DeadlineExceeded");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused_with_its_uid() {
    let router = build(synced(), &Api::default());
    let body = serde_json::to_vec(&delete_claim(&claim())).unwrap();
    let known = String::from_utf8(body.clone()).unwrap().find("\"userInfo\"").unwrap();
    for cut in [known, body.len() / 2 + 200, body.len() - 1] {
        let (status, answer) = post(&router, "/guard", body[..cut].to_vec()).await;
        let answer: Option<Value> = serde_json::from_slice(&answer).ok();
        match answer {
            Some(answer) => {
                assert_eq!(answer["response"]["allowed"], false);
                assert_eq!(answer["response"]["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
            }
            None => assert_eq!(status, StatusCode::BAD_REQUEST),
        }
    }
    assert_eq!(post(&router, "/guard", b"nonsense".to_vec()).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(post(&router, "/guard", Vec::new()).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(post(&router, "/nothing", body).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_review_without_its_object_is_refused() {
    let router = build(synced(), &Api::default());
    let mut without = delete_claim(&claim());
    without["request"]["oldObject"] = Value::Null;
    assert_eq!(judge(&router, &without).await, Err("ReviewUnreadable".to_owned()));
    let mut nameless = delete_claim(&claim());
    nameless["request"]["oldObject"]["metadata"]["name"] = Value::Null;
    assert_eq!(judge(&router, &nameless).await, Err("ReviewUnreadable".to_owned()));
    let mut odd = delete_claim(&claim());
    odd["request"]["oldObject"]["spec"]["volumeName"] = json!({});
    assert_eq!(judge(&router, &odd).await, Err("ReviewUnreadable".to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// The bypass oracle: whatever bytes become of a governed deletion, none of them is an allow (I 5, F 20).
    #[test]
    fn no_mangled_deletion_is_allowed(at in 0usize..2000, byte in any::<u8>(), cut in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut body = serde_json::to_vec(&delete_claim(&claim())).unwrap();
        let at = at % body.len();
        if cut { body.remove(at); } else { body[at] = byte; }
        let (_, answer) = runtime.block_on(async { post(&build(synced(), &Api::default()), "/guard", body).await });
        let allowed = serde_json::from_slice::<Value>(&answer).is_ok_and(|answer| answer["response"]["allowed"] == true);
        prop_assert!(!allowed);
    }
}
