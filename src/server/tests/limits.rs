use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::routing::post;
use futures::stream;
use tokio::sync::Notify;

use super::support::*;
use crate::server::limits::MAX_BODY;
use crate::server::serve::{IDLE, ServeOptions};

fn length() -> Router {
    Router::new().route("/", post(|body: Bytes| async move { body.len().to_string() }))
}

/// A body whose length is not announced.
fn pieces(total: usize) -> Body {
    let piece = Bytes::from(vec![b'x'; 65_536]);
    let mut left = total;
    Body::from_stream(stream::iter(std::iter::from_fn(move || {
        let now = left.min(piece.len());
        left -= now;
        (now > 0).then(|| Ok::<_, std::io::Error>(piece.slice(..now)))
    })))
}

#[tokio::test]
async fn seven_mebibytes_are_taken_and_one_byte_more_is_413() {
    let server = start(length(), ServeOptions::default()).await;
    for http in [Http::One, Http::Two] {
        for announced in [true, false] {
            let body = |bytes: usize| {
                if announced { Body::from(vec![b'x'; bytes]) } else { pieces(bytes) }
            };
            for bytes in [0, 1, 17_000, MAX_BODY] {
                let mut client = server.client(http).await;
                let answer = client.post("/", body(bytes)).await.unwrap();
                assert_eq!(answer.body, bytes.to_string(), "{http:?} {announced}");
            }
            for bytes in [MAX_BODY + 1, 8 * 1024 * 1024] {
                let mut client = server.client(http).await;
                let answer = client.post("/", body(bytes)).await.unwrap();
                assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{http:?} {announced}");
                let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!(json["code"], "too_large");
            }
        }
    }
    let text = server.metrics.text().unwrap();
    assert!(text.contains(r#"foureyes_requests_shed_total{reason="too_large"} 8"#), "{text}");
    assert!(text.contains("foureyes_requests_in_flight 0"), "{text}");
}

#[tokio::test]
async fn more_than_can_be_answered_is_503_with_retry_after() {
    let release = Arc::new(Notify::new());
    let held = Arc::clone(&release);
    let wait = post(move || async move {
        held.notified().await;
        "done"
    });
    let options = ServeOptions { max_in_flight: 1, ..ServeOptions::default() };
    let server = start(Router::new().route("/", wait), options).await;
    let mut first = server.client(Http::Two).await;
    let slow = tokio::spawn(async move { first.post("/", "x").await });
    while !server.metrics.text().unwrap().contains("requests_in_flight 1") {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for http in [Http::One, Http::Two] {
        let answer = server.client(http).await.post("/", "x").await.unwrap();
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers["retry-after"], "1");
    }
    release.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().body, "done");
    release.notify_one();
    let answer = server.client(Http::One).await.post("/", "x").await.unwrap();
    assert_eq!(answer.body, "done");
}

#[tokio::test]
async fn a_caller_that_hangs_up_gives_its_place_back() {
    let options = ServeOptions { max_in_flight: 1, ..ServeOptions::default() };
    let router = Router::new().route("/hang", post(std::future::pending::<&'static str>));
    let server = start(router.merge(length()), options).await;
    let mut client = server.client(Http::Two).await;
    let hung = tokio::spawn(async move { client.post("/hang", "x").await.map(|_| ()) });
    while !server.metrics.text().unwrap().contains("requests_in_flight 1") {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    hung.abort();
    while !server.metrics.text().unwrap().contains("requests_in_flight 0") {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(server.client(Http::One).await.post("/", "xy").await.unwrap().body, "2");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_the_place_comes_back() {
    let options = ServeOptions { max_connections: 1, ..ServeOptions::default() };
    let server = start(length(), options).await;
    let mut first = server.client(Http::One).await;
    assert_eq!(first.post("/", "x").await.unwrap().body, "1");
    let refused = connect(server.address, &server.ca.pem, Http::One, None).await;
    assert!(refused.is_err());
    let text = server.metrics.text().unwrap();
    assert!(text.contains(r#"connections_refused_total{reason="too_many"} 1"#), "{text}");
    assert!(text.contains("foureyes_connections 1"), "{text}");
    drop(first);
    while !server.metrics.text().unwrap().contains("foureyes_connections 0") {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(server.client(Http::One).await.post("/", "x").await.unwrap().body, "1");
}

/// Lets the server's clock run on by `time` without waiting for it.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_api_servers_patience_of_90_seconds() {
    assert!(IDLE > Duration::from_secs(90));
    let server = start(length(), ServeOptions::default()).await;
    let mut used = server.client(Http::One).await;
    let mut fresh = server.client(Http::One).await;
    assert_eq!(used.post("/", "x").await.unwrap().body, "1");
    pass(Duration::from_secs(100)).await;
    assert_eq!(used.post("/", "x").await.unwrap().body, "1");
    assert_eq!(fresh.post("/", "x").await.unwrap().body, "1");
    pass(IDLE + Duration::from_secs(1)).await;
    assert!(used.closed.is_finished() && fresh.closed.is_finished());
}

#[tokio::test]
async fn a_handshake_that_is_never_finished_is_cut_off() {
    use tokio::io::AsyncReadExt;
    let server = start(length(), ServeOptions::default()).await;
    let mut silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    pass(Duration::from_secs(11)).await;
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
    let text = server.metrics.text().unwrap();
    assert!(text.contains(r#"connections_refused_total{reason="timeout"} 1"#), "{text}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let server = start(length(), ServeOptions::default()).await;
    let mut client = server.client(Http::One).await;
    let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let asked = tokio::spawn(async move { client.post("/", body).await });
    while !server.metrics.text().unwrap().contains("requests_in_flight 1") {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    pass(Duration::from_secs(5)).await;
    assert_eq!(asked.await.unwrap().unwrap().status, StatusCode::REQUEST_TIMEOUT);
}
