use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::support::*;
use crate::metrics::Metrics;
use crate::server::admin;
use crate::server::readiness::Readiness;
use crate::server::serve::ServeOptions;

fn slow(release: &Arc<Notify>) -> Router {
    let release = Arc::clone(release);
    let wait = post(move || {
        let release = Arc::clone(&release);
        async move {
            release.notified().await;
            "done"
        }
    });
    Router::new().route("/", post(|| async { "hello" })).route("/slow", wait)
}

fn quick() -> ServeOptions {
    ServeOptions { lame_duck: Duration::from_millis(400), drain: Duration::from_secs(5), ..ServeOptions::default() }
}

#[tokio::test]
async fn a_leaving_server_serves_on_and_asks_http1_clients_to_go() {
    let server = start(slow(&Arc::default()), quick()).await;
    let mut one = server.client(Http::One).await;
    let mut two = server.client(Http::Two).await;
    let before = one.post("/", "x").await.unwrap();
    assert!(!before.headers.contains_key("connection"));
    assert_eq!(two.post("/", "x").await.unwrap().body, "hello");
    assert!(server.readiness.is_ready());

    server.shutdown.begin();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.readiness.text(), "[-] bound: shutting down\n");
    let answer = one.post("/", "x").await.unwrap();
    assert_eq!((answer.body.as_str(), &answer.headers["connection"]), ("hello", &"close".parse().unwrap()));
    timeout(Duration::from_secs(1), &mut one.closed).await.unwrap().unwrap();
    let answer = two.post("/", "x").await.unwrap();
    assert!(!answer.headers.contains_key("connection"));
    let mut late = server.client(Http::One).await;
    assert_eq!(late.post("/", "x").await.unwrap().body, "hello");

    timeout(Duration::from_secs(2), server.ended).await.unwrap().unwrap().unwrap();
    timeout(Duration::from_secs(1), &mut two.closed).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_being_answered_at_the_end_is_answered() {
    let release = Arc::new(Notify::new());
    for http in [Http::One, Http::Two] {
        let server = start(slow(&release), quick()).await;
        let mut client = server.client(http).await;
        let asked = tokio::spawn(async move { client.post("/slow", "x").await });
        while !server.metrics.text().unwrap().contains("requests_in_flight 1") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        server.shutdown.begin();
        server.shutdown.begin();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!server.ended.is_finished());
        assert!(TcpStream::connect(server.address).await.is_err());
        release.notify_one();
        assert_eq!(asked.await.unwrap().unwrap().body, "done", "{http:?}");
        timeout(Duration::from_secs(2), server.ended).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_does_not_hold_up_the_end() {
    let options =
        ServeOptions { drain: Duration::from_millis(200), lame_duck: Duration::ZERO, ..ServeOptions::default() };
    let server = start(slow(&Arc::default()), options).await;
    let mut client = server.client(Http::One).await;
    let asked = tokio::spawn(async move { client.post("/slow", "x").await.map(|_| ()) });
    while !server.metrics.text().unwrap().contains("requests_in_flight 1") {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    server.shutdown.begin();
    timeout(Duration::from_secs(2), server.ended).await.unwrap().unwrap().unwrap();
    assert!(asked.await.unwrap().is_err());
}

/// A replica leaves under steady calls, as in a rolling update: every call gets its answer, here or from the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_callers_of_a_leaving_server_move_on_without_losing_a_call() {
    let old = start(slow(&Arc::default()), quick()).await;
    let new = start(slow(&Arc::default()), quick()).await;
    let places = [(old.address, old.ca.pem.clone()), (new.address, new.ca.pem.clone())];
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (places, leaving) = (places.clone(), old.shutdown.token());
            tokio::spawn(async move {
                let mut client = None;
                for _ in 0..150 {
                    if client.is_none() {
                        let (to, ca) = &places[usize::from(leaving.is_cancelled())];
                        client = connect(*to, ca, Http::One, None).await.ok();
                    }
                    let mut open = client.take().expect("a connection");
                    let answer = open.post("/", "x").await.expect("an answer");
                    assert_eq!(answer.body, "hello");
                    if !answer.headers.contains_key("connection") {
                        client = Some(open);
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    old.shutdown.begin();
    for caller in callers {
        caller.await.unwrap();
    }
    timeout(Duration::from_secs(3), old.ended).await.unwrap().unwrap().unwrap();
}

async fn fetch(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn the_admin_port_says_what_is_missing() {
    let readiness = Readiness::default();
    let key = readiness.condition("sealing key");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(admin::serve(listener, readiness.clone(), Metrics::new(None)));
    assert!(fetch(address, "/livez").await.starts_with("HTTP/1.1 200"));
    let unready = fetch(address, "/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
    assert!(unready.ends_with("[-] sealing key: not yet\n"), "{unready}");
    key.met();
    let ready = fetch(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("ok\n"), "{ready}");
    let metrics = fetch(address, "/metrics").await;
    assert!(metrics.contains("application/openmetrics-text") && metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(fetch(address, "/").await.starts_with("HTTP/1.1 404"));
}
