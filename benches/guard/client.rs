//! The API server's side of a connection: HTTP/1.1 over TLS, kept alive, one review after another.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::Result;

/// Where a server listens on the loopback address, and the PEM authority of its certificate.
pub struct Endpoint {
    pub port: u16,
    pub roots: String,
}

pub struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    answer: Vec<u8>,
}

impl Connection {
    pub fn open(endpoint: &Endpoint) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(endpoint.roots.as_bytes()) {
            roots.add(certificate.map_err(|error| error.to_string())?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, endpoint.port))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
        let name = ServerName::try_from("127.0.0.1")?;
        let stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name)?, tcp);
        Ok(Self { stream, answer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a request and reads the whole answer, which must hold `expected`; how long both took.
    pub fn call(&mut self, request: &[u8], expected: &str) -> Result<Duration> {
        let began = Instant::now();
        self.stream.write_all(request)?;
        self.stream.flush()?;
        self.answer.clear();
        let mut whole = usize::MAX;
        let mut piece = [0; 16 * 1024];
        while self.answer.len() < whole {
            let read = self.stream.read(&mut piece)?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            self.answer.extend_from_slice(&piece[..read]);
            if whole == usize::MAX {
                whole = length(&self.answer)?.unwrap_or(usize::MAX);
            }
        }
        let took = began.elapsed();
        let text = std::str::from_utf8(&self.answer)?;
        if text.starts_with("HTTP/1.1 200") && text.contains(expected) {
            return Ok(took);
        }
        Err(format!("no {expected} in {text}").into())
    }
}

/// Head and body together, once the head is there.
fn length(answer: &[u8]) -> Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end])?;
    let stated = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    Ok(Some(end + 4 + stated.ok_or("no content-length")?.parse::<usize>()?))
}

/// A review as the API server posts it, head and body.
pub fn request(review: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /guard?timeout=5s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: kube-apiserver-admission\r\n\
         Content-Length: {}\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\n\
         Accept-Encoding: gzip\r\n\r\n",
        review.len()
    )
    .into_bytes();
    request.extend_from_slice(review);
    request
}
