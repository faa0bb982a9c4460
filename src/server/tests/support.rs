//! An authority, a server, and a client that looks at what really comes over the wire.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::metrics::Metrics;
use crate::server::readiness::Readiness;
use crate::server::serve::{ServeOptions, serve};
use crate::server::shutdown::Shutdown;
use crate::server::tls::{ClientAuthority, ServerTls, ServingCertificate};

pub const NAME: &str = "foureyes-webhook.foureyes-system.svc";

/// A certificate authority of the test.
pub struct Ca {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A PEM certificate and its PEM key.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Ca {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub fn server(&self) -> Pair {
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    pub fn client(&self, common_name: &str) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    pub fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { cert, key: key.serialize_pem() }
    }
}

/// A server that listens on loopback.
pub struct Running {
    pub address: SocketAddr,
    pub ca: Ca,
    pub certificate: Arc<ServingCertificate>,
    pub readiness: Readiness,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
    pub ended: JoinHandle<std::io::Result<()>>,
}

pub async fn start(router: Router, options: ServeOptions) -> Running {
    start_with(router, options, None).await
}

pub async fn start_with(router: Router, options: ServeOptions, clients: Option<ClientAuthority>) -> Running {
    let ca = Ca::new();
    let certificate = Arc::new(ServingCertificate::default());
    let pair = ca.server();
    certificate.replace(pair.cert.as_bytes(), pair.key.as_bytes()).unwrap();
    let tls = ServerTls::new(Arc::clone(&certificate), clients).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (readiness, metrics, shutdown) = (Readiness::default(), Metrics::new(None), Shutdown::default());
    let ended = tokio::spawn({
        let (readiness, metrics, shutdown) = (readiness.clone(), metrics.clone(), shutdown.clone());
        async move { serve(listener, tls, router, options, &readiness, &metrics, &shutdown).await }
    });
    Running { address, ca, certificate, readiness, metrics, shutdown, ended }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

enum Sender {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

/// One connection.
pub struct Client {
    sender: Sender,
    /// The certificate that the server showed.
    pub leaf: Vec<u8>,
    pub closed: JoinHandle<()>,
}

pub type ClientError = Box<dyn std::error::Error + Send + Sync>;

impl Running {
    pub async fn client(&self, http: Http) -> Client {
        connect(self.address, &self.ca.pem, http, None).await.unwrap()
    }
}

pub async fn connect(to: SocketAddr, ca_pem: &str, http: Http, own: Option<&Pair>) -> Result<Client, ClientError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes())?];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?)?
        }
    };
    config.alpn_protocols = match http {
        Http::One => vec![b"http/1.1".to_vec()],
        Http::Two => vec![b"h2".to_vec()],
    };
    let tcp = TcpStream::connect(to).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from(NAME)?, tcp).await?;
    client_on(stream, http).await
}

async fn client_on(stream: TlsStream<TcpStream>, http: Http) -> Result<Client, ClientError> {
    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let io = TokioIo::new(stream);
    let (sender, closed) = match http {
        Http::One => {
            let (sender, connection) = http1::handshake(io).await?;
            let closed = tokio::spawn(async move { drop(connection.await) });
            (Sender::One(sender), closed)
        }
        Http::Two => {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            let closed = tokio::spawn(async move { drop(connection.await) });
            (Sender::Two(sender), closed)
        }
    };
    Ok(Client { sender, leaf, closed })
}

impl Client {
    pub async fn post(&mut self, path: &str, body: impl Into<Body>) -> Result<Answer, ClientError> {
        let request = Request::post(format!("https://{NAME}{path}")).header("host", NAME);
        let request = request.body(body.into())?;
        let response = match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (parts, body) = response.into_parts();
        let body: Bytes = body.collect().await?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec())? })
    }
}
