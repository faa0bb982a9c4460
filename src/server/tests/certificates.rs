use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::routing::post;
use axum::{Extension, Router};

use super::support::*;
use crate::server::serve::ServeOptions;
use crate::server::tls::{CallerAuth, ClientAuthority, ServerTls, ServingCertificate, TlsError};

fn hello() -> Router {
    Router::new().route("/", post(|| async { "hello" }))
}

fn who() -> Router {
    Router::new().route("/", post(|Extension(caller): Extension<CallerAuth>| async move { format!("{caller:?}") }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_swapped_under_load_without_a_tls_error() {
    let server = start(hello(), ServeOptions::default()).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut callers = Vec::new();
    for http in [Http::One, Http::Two, Http::One, Http::Two] {
        let (done, address, ca) = (Arc::clone(&done), server.address, server.ca.pem.clone());
        callers.push(tokio::spawn(async move {
            let mut leaves = BTreeSet::new();
            let mut calls = 0_u32;
            while !done.load(Ordering::Relaxed) {
                let mut client = connect(address, &ca, http, None).await.expect("handshake");
                for _ in 0..3 {
                    assert_eq!(client.post("/", "x").await.expect("answer").body, "hello");
                    calls += 1;
                }
                leaves.insert(client.leaf.clone());
            }
            (leaves, calls)
        }));
    }
    let mut kept = server.client(Http::One).await;
    for _ in 0..60 {
        let pair = server.ca.server();
        let changed = server.certificate.replace(pair.cert.as_bytes(), pair.key.as_bytes());
        assert!(changed.unwrap());
        assert_eq!(kept.post("/", "x").await.unwrap().body, "hello");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    done.store(true, Ordering::Relaxed);
    let (mut leaves, mut calls) = (BTreeSet::new(), 0);
    for caller in callers {
        let (seen, made) = caller.await.unwrap();
        leaves.extend(seen);
        calls += made;
    }
    assert!(leaves.len() >= 10, "only {} certificates seen in {calls} calls", leaves.len());
}

#[tokio::test]
async fn without_a_certificate_every_handshake_is_refused() {
    let certificate = Arc::new(ServingCertificate::default());
    let server = start(hello(), ServeOptions::default()).await;
    let tls = ServerTls::new(Arc::clone(&certificate), None).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (readiness, metrics, shutdown) = (server.readiness.clone(), server.metrics.clone(), server.shutdown.clone());
    tokio::spawn(async move {
        let options = ServeOptions::default();
        crate::server::serve::serve(listener, tls, hello(), options, &readiness, &metrics, &shutdown).await
    });
    assert!(connect(address, &server.ca.pem, Http::One, None).await.is_err());
    let pair = server.ca.server();
    certificate.replace(pair.cert.as_bytes(), pair.key.as_bytes()).unwrap();
    assert!(connect(address, &server.ca.pem, Http::One, None).await.is_ok());
}

#[test]
fn what_is_no_pair_leaves_the_old_one_in_use() {
    let ca = Ca::new();
    let (one, two) = (ca.server(), ca.server());
    let certificate = ServingCertificate::default();
    assert!(certificate.validity().is_none());
    assert!(certificate.replace(one.cert.as_bytes(), one.key.as_bytes()).unwrap());
    assert!(!certificate.replace(one.cert.as_bytes(), one.key.as_bytes()).unwrap());
    let validity = certificate.validity().unwrap();
    assert!(validity.holds_at("2026-11-23T00:00:00Z".parse().unwrap()));
    assert!(!validity.holds_at("1970-01-01T00:00:00Z".parse().unwrap()));
    for (cert, key) in [
        (one.cert.as_str(), two.key.as_str()),
        ("", one.key.as_str()),
        ("nonsense", "nonsense"),
        (one.cert.as_str(), ""),
    ] {
        assert!(certificate.replace(cert.as_bytes(), key.as_bytes()).is_err());
    }
    assert!(matches!(certificate.replace(one.cert.as_bytes(), two.key.as_bytes()), Err(TlsError::Mismatch)));
    assert!(!certificate.replace(one.cert.as_bytes(), one.key.as_bytes()).unwrap());
}

async fn caller(server: &Running, own: Option<&Pair>) -> Result<String, ClientError> {
    let mut client = connect(server.address, &server.ca.pem, Http::Two, own).await?;
    Ok(client.post("/", "x").await?.body)
}

#[tokio::test]
async fn callers_are_told_apart_by_certificate_where_an_authority_is_configured() {
    let (clients, foreign) = (Ca::new(), Ca::new());
    let apiserver = clients.client("kube-apiserver");
    let other = clients.client("somebody");

    let open = start(who(), ServeOptions::default()).await;
    assert_eq!(caller(&open, None).await.unwrap(), "NotConfigured");

    let authority = ClientAuthority::new(clients.pem.as_bytes(), vec![]).unwrap();
    let any = start_with(who(), ServeOptions::default(), Some(authority)).await;
    assert_eq!(caller(&any, None).await.unwrap(), "Unverified");
    assert_eq!(caller(&any, Some(&apiserver)).await.unwrap(), "Verified");
    assert_eq!(caller(&any, Some(&other)).await.unwrap(), "Verified");
    let unknown = foreign.client("kube-apiserver");
    assert!(caller(&any, Some(&unknown)).await.is_err());

    let authority = ClientAuthority::new(clients.pem.as_bytes(), vec!["kube-apiserver".to_owned()]).unwrap();
    let named = start_with(who(), ServeOptions::default(), Some(authority)).await;
    assert_eq!(caller(&named, Some(&apiserver)).await.unwrap(), "Verified");
    assert_eq!(caller(&named, Some(&other)).await.unwrap(), "Unverified");
    assert_eq!(caller(&named, None).await.unwrap(), "Unverified");
    let mut params = rcgen::CertificateParams::new(["kube-apiserver".to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(caller(&named, Some(&clients.sign(&params))).await.unwrap(), "Verified");
}

#[test]
fn an_authority_file_without_a_certificate_is_refused() {
    assert!(ClientAuthority::new(b"", vec![]).is_err());
    assert!(ClientAuthority::new(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", vec![]).is_err());
}

/// With two providers in one build rustls panics at its first use of the default.
#[test]
fn the_build_has_one_rustls_and_one_provider() {
    let lock = include_str!("../../../Cargo.lock");
    let count = |name: &str| lock.lines().filter(|line| *line == format!("name = \"{name}\"")).count();
    assert_eq!((count("rustls"), count("ring"), count("aws-lc-rs")), (1, 1, 0));
}
