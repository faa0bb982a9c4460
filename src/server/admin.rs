//! The admin port, plain HTTP: `/livez`, `/readyz` and `/metrics`. It answers until the process is gone.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::accept::{Connections, PlainAcceptor};
use super::readiness::Readiness;
use crate::metrics::Metrics;

/// Scrapers and probes are few; more than this is a mistake or worse.
const MAX_CONNECTIONS: usize = 64;
/// Idle connections of scrapers live this long.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
struct Admin {
    readiness: Readiness,
    metrics: Metrics,
}

/// The pages of the admin port.
pub fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .with_state(Admin { readiness, metrics })
}

/// Serves the admin port until the future is dropped.
pub async fn serve(listener: TcpListener, readiness: Readiness, metrics: Metrics) -> io::Result<()> {
    let acceptor = PlainAcceptor { connections: Connections::at_most(MAX_CONNECTIONS, None) };
    let mut server = axum_server::Server::<SocketAddr>::from_listener(listener).acceptor(acceptor).http1_only();
    server.http_builder().http1().header_read_timeout(IDLE);
    let server = server.first_request_timeout(IDLE);
    server.serve(router(readiness, metrics).into_make_service()).await
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    let status = if admin.readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, admin.readiness.text())
}

async fn metrics_page(State(admin): State<Admin>) -> Response {
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match admin.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, format)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
