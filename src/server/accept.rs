//! From an accepted TCP connection to one that requests can come over: counted, by TLS where wanted, within a deadline.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::Request;
use axum_server::accept::Accept;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tower::Service;

use super::tls::{CallerAuth, ServerTls};
use crate::metrics::Metrics;

type Accepting<Stream, S> = Pin<Box<dyn Future<Output = io::Result<(Stream, OnConnection<S>)>> + Send>>;

/// What is read from a socket at once, in bytes: a whole record of TLS and a bit. rustls by itself reads 4 KiB at a time,
/// so that a usual review takes five calls of the kernel and not two.
const READ_AHEAD: usize = 20 * 1024;

/// How many connections may be open at once; one more is closed at once, so that they can't eat the memory.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    free: Arc<Semaphore>,
    metrics: Option<Metrics>,
}

impl Connections {
    /// `metrics` is absent for the admin port, whose connections are not counted.
    pub fn at_most(limit: usize, metrics: Option<Metrics>) -> Self {
        Self { free: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))), metrics }
    }

    fn open(&self, caller: CallerAuth, permit: OwnedSemaphorePermit) -> Arc<Connection> {
        if let Some(metrics) = &self.metrics {
            metrics.connections().inc();
        }
        Arc::new(Connection { caller, metrics: self.metrics.clone(), _permit: permit })
    }

    fn permit(&self) -> io::Result<OwnedSemaphorePermit> {
        Arc::clone(&self.free)
            .try_acquire_owned()
            .map_err(|_| io::Error::new(io::ErrorKind::QuotaExceeded, "too many connections"))
    }
}

/// Lives as long as the connection and the requests on it.
#[derive(Debug)]
struct Connection {
    caller: CallerAuth,
    metrics: Option<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(metrics) = &self.metrics {
            metrics.connections().dec();
        }
    }
}

/// Accepts plain HTTP, for the admin port.
#[derive(Clone, Debug)]
pub(super) struct PlainAcceptor {
    pub connections: Connections,
}

impl<S: Send + 'static> Accept<TcpStream, S> for PlainAcceptor {
    type Stream = TcpStream;
    type Service = OnConnection<S>;
    type Future = std::future::Ready<io::Result<(TcpStream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        std::future::ready(self.connections.permit().map(|permit| {
            let connection = self.connections.open(CallerAuth::NotConfigured, permit);
            (stream, OnConnection { service, connection })
        }))
    }
}

/// Accepts TLS, for the webhook port.
#[derive(Clone, Debug)]
pub(super) struct TlsAcceptor {
    pub connections: Connections,
    pub tls: ServerTls,
    /// A peer that has not finished its handshake by then is dropped; slow-loris protection belongs here, not into an
    /// idle time, because the API server keeps idle connections for 90 s.
    pub handshake: Duration,
}

impl<S: Send + 'static> Accept<TcpStream, S> for TlsAcceptor {
    type Stream = TlsStream<BufReader<TcpStream>>;
    type Service = OnConnection<S>;
    type Future = Accepting<Self::Stream, S>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Self { connections, tls, handshake } = self.clone();
        Box::pin(async move {
            let permit = connections.permit()?;
            stream.set_nodelay(true)?;
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&tls.config));
            let stream = BufReader::with_capacity(READ_AHEAD, stream);
            let stream = timeout(handshake, acceptor.accept(stream)).await??;
            let caller = tls.caller(stream.get_ref().1.peer_certificates());
            let connection = connections.open(caller, permit);
            Ok((stream, OnConnection { service, connection }))
        })
    }
}

/// Tells each request who the peer of its connection is, and holds the connection's place.
#[derive(Clone, Debug)]
pub(super) struct OnConnection<S> {
    service: S,
    connection: Arc<Connection>,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for OnConnection<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.connection.caller);
        self.service.call(request)
    }
}
