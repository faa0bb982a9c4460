//! The webhook port: a router over TLS with HTTP/1.1 and HTTP/2, and an end that loses no accepted review.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum_server::{Handle, Server};
use tokio::net::TcpListener;

use super::accept::{Connections, TlsAcceptor};
use super::limits::Limits;
use super::readiness::Readiness;
use super::shutdown::Shutdown;
use super::tls::ServerTls;
use crate::metrics::Metrics;

/// How long a connection may be idle. The API server closes its idle ones after 90 s; who closes first makes the
/// other one's next review an error, so this is longer. hyper's header timeout counts idle time, too.
pub const IDLE: Duration = Duration::from_secs(120);
/// How long a TLS handshake may take; the API server's own limit.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// HTTP/2 streams at once on a connection; the API server queues or dials beyond it.
const STREAMS: u32 = 250;
/// What hyper may buffer of one HTTP/1 connection, in bytes.
const READ_BUFFER: usize = 64 * 1024;

/// Bounds and times of the webhook port.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// Requests being answered at a time; more get 503.
    pub max_in_flight: usize,
    /// Open connections; more are closed.
    pub max_connections: usize,
    /// After the signal: how long to serve on while the cluster learns that this process is leaving.
    pub lame_duck: Duration,
    /// After that: how long the last requests may take.
    pub drain: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            max_in_flight: 256,
            max_connections: 1024,
            lame_duck: Duration::from_secs(10),
            drain: Duration::from_secs(10),
        }
    }
}

/// Serves `router` until `shutdown` has been begun and run its course: unready at once; serve on for
/// [`ServeOptions::lame_duck`], asking HTTP/1 clients to go elsewhere after each answer; then tell HTTP/2 clients
/// (GOAWAY), close what is idle, and let what is being answered end.
pub async fn serve(
    listener: TcpListener,
    tls: ServerTls,
    router: Router,
    options: ServeOptions,
    readiness: &Readiness,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> io::Result<()> {
    let leaving = Leaving::default();
    let router = Limits::new(options.max_in_flight, metrics.clone()).around(router);
    let router = router.layer(from_fn_with_state(leaving.clone(), ask_to_leave));
    let acceptor = TlsAcceptor {
        connections: Connections::at_most(options.max_connections, Some(metrics.clone())),
        tls,
        handshake: HANDSHAKE,
    };
    let handle = Handle::<SocketAddr>::new();
    let counted = metrics.clone();
    let mut server = Server::<SocketAddr>::from_listener(listener)
        .acceptor(acceptor)
        .handle(handle.clone())
        .first_request_timeout(IDLE)
        .accept_error_handler(move |_, error| counted.connection_refused(reason(error)));
    let builder = server.http_builder();
    builder.http1().header_read_timeout(IDLE).max_buf_size(READ_BUFFER).keep_alive(true);
    builder
        .http2()
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));

    let bound = readiness.condition("bound");
    let end = async {
        if handle.listening().await.is_some() {
            bound.met();
        }
        shutdown.token().cancelled().await;
        bound.missing("shutting down");
        leaving.0.store(true, Ordering::Relaxed);
        tokio::select! {
            () = tokio::time::sleep(options.lame_duck) => {}
            () = shutdown.hurried().cancelled() => {}
        }
        handle.graceful_shutdown(Some(options.drain));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = server.serve(router.into_make_service()) => result,
        () = end => Ok(()),
    }
}

/// Set while this process serves on but wants its clients to go elsewhere.
#[derive(Clone, Debug, Default)]
struct Leaving(Arc<AtomicBool>);

async fn ask_to_leave(State(leaving): State<Leaving>, request: Request, next: Next) -> Response {
    let http1 = request.version() < Version::HTTP_2;
    let mut response = next.run(request).await;
    if http1 && leaving.0.load(Ordering::Relaxed) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::QuotaExceeded => "too_many",
        io::ErrorKind::TimedOut => "timeout",
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "hung_up",
        _ => "tls",
    }
}
