//! The floor: a bare server of the same stack, which reads the body and echoes its uid. Nothing that answers reviews over
//! axum-server can cost less.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum_server::Server;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use foureyes::server::process::runtime;
use tokio::net::TcpListener;

use crate::child::{announce, unwanted};
use crate::served::certificate;
use crate::{Result, process};

/// `options` may name the one core to run on.
pub fn run(options: &[&str]) -> Result<()> {
    if let [core] = options {
        process::pin(core.parse()?)?;
    }
    runtime()?.block_on(async {
        let (tls, pem) = certificate()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?.port(), &pem);
        let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(tls.config())).acceptor(NoDelayAcceptor::new());
        let router = Router::new().route("/guard", post(echo));
        let server = Server::<SocketAddr>::from_listener(listener).acceptor(acceptor);
        tokio::select! {
            ended = server.serve(router.into_make_service()) => Ok(ended?),
            () = unwanted() => Ok(()),
        }
    })
}

async fn echo(body: Bytes) -> Response {
    let Some(uid) = uid(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let answer = format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{{"uid":"{uid}","allowed":true}}}}"#
    );
    ([(header::CONTENT_TYPE, "application/json")], answer).into_response()
}

/// The first uid in the body, which is the request's.
fn uid(body: &[u8]) -> Option<&str> {
    const KEY: &[u8] = br#""uid":""#;
    let begin = body.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let length = body[begin..].iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&body[begin..begin + length]).ok()
}
