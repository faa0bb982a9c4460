//! The certificate that is served and can be exchanged between two handshakes, and the callers' own certificates.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use ::ring::digest;
use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why TLS material was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No PEM certificate, or one that is no X.509.
    #[error("the certificate can't be read: {0}")]
    Certificate(String),
    /// No PEM private key, or of a kind that is not supported.
    #[error("the private key can't be read")]
    Key,
    /// The two parts of the pair are not of one pair.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// The file of `--client-ca` holds no usable authority.
    #[error("the client authority can't be used: {0}")]
    ClientCa(String),
    /// rustls refuses the combination.
    #[error("TLS can't be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Valid from this second on.
    pub not_before: Timestamp,
    /// Valid to this second.
    pub not_after: Timestamp,
}

impl Validity {
    /// Whether a certificate with this validity may be served at `now`.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// What is in use: for comparing the next one by content.
#[derive(Debug)]
struct InUse {
    digest: Vec<u8>,
    validity: Validity,
}

/// The certificate of the webhook port. Empty at first: then every handshake is refused.
#[derive(Debug, Default)]
pub struct ServingCertificate {
    pair: ArcSwapOption<CertifiedKey>,
    in_use: RwLock<Option<InUse>>,
}

impl ServingCertificate {
    /// Takes over a PEM chain and its PEM key; `Ok(true)` if they differ from what was in use. Handshakes from now on
    /// get the new certificate, open connections live on. On an error what was in use stays in use.
    pub fn replace(&self, chain_pem: &[u8], key_pem: &[u8]) -> Result<bool, TlsError> {
        let digest = content_digest(chain_pem, key_pem);
        if self.in_use().as_ref().is_some_and(|in_use| in_use.digest == digest) {
            return Ok(false);
        }
        let chain = certificates(chain_pem).map_err(TlsError::Certificate)?;
        let leaf = chain.first().ok_or_else(|| TlsError::Certificate("no CERTIFICATE block".to_owned()))?;
        let validity = validity(leaf).map_err(TlsError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| TlsError::Key)?;
        let key = ring::sign::any_supported_type(&key).map_err(|_| TlsError::Key)?;
        let pair = CertifiedKey::new(chain, key);
        pair.keys_match().map_err(|_| TlsError::Mismatch)?;
        self.pair.store(Some(Arc::new(pair)));
        *self.in_use.write().unwrap_or_else(PoisonError::into_inner) = Some(InUse { digest, validity });
        Ok(true)
    }

    /// Validity of the certificate in use; `None` while there is none.
    pub fn validity(&self) -> Option<Validity> {
        self.in_use().as_ref().map(|in_use| in_use.validity)
    }

    fn in_use(&self) -> RwLockReadGuard<'_, Option<InUse>> {
        self.in_use.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pair.load_full()
    }
}

/// What the caller's own certificate says; an extension of every request on the webhook port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerAuth {
    /// No client authority was configured: nobody can be told from anybody else.
    NotConfigured,
    /// The caller showed a certificate of the configured authority, with a wanted name if names were configured.
    Verified,
    /// A client authority is configured, and the caller showed nothing, or another name.
    Unverified,
}

/// Who is accepted as the API server.
#[derive(Clone, Debug)]
pub struct ClientAuthority {
    roots: Arc<RootCertStore>,
    names: Arc<[String]>,
}

impl ClientAuthority {
    /// Callers whose certificate chains to one of the PEM certificates and, unless `names` is empty, has one of `names`
    /// as its common name or as a DNS name.
    pub fn new(ca_pem: &[u8], names: Vec<String>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for ca in certificates(ca_pem).map_err(TlsError::ClientCa)? {
            roots.add(ca).map_err(|e| TlsError::ClientCa(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(TlsError::ClientCa("no CERTIFICATE block".to_owned()));
        }
        Ok(Self { roots: Arc::new(roots), names: names.into() })
    }
}

/// The whole TLS side of the webhook port.
#[derive(Clone, Debug)]
pub struct ServerTls {
    pub(super) config: Arc<ServerConfig>,
    client_names: Option<Arc<[String]>>,
}

impl ServerTls {
    /// TLS 1.2 and 1.3, `h2` and `http/1.1`. A caller without a certificate is let in even where `clients` is given, so
    /// that probes and health tools keep working; what it may do there is decided by its [`CallerAuth`].
    pub fn new(certificate: Arc<ServingCertificate>, clients: Option<ClientAuthority>) -> Result<Self, TlsError> {
        // Named, never the process default: two providers in one build would make the default a matter of luck.
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let mut client_names = None;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                client_names = Some(clients.names);
                let verifier = WebPkiClientVerifier::builder_with_provider(clients.roots, provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|e| TlsError::ClientCa(e.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(certificate);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), client_names })
    }

    /// As rustls takes it.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What `peer`, the chain that the handshake has already verified, says about the caller.
    pub(super) fn caller(&self, peer: Option<&[CertificateDer<'_>]>) -> CallerAuth {
        let Some(names) = &self.client_names else {
            return CallerAuth::NotConfigured;
        };
        match peer.and_then(<[_]>::first) {
            Some(leaf) if names.is_empty() || has_a_name(leaf, names) => CallerAuth::Verified,
            _ => CallerAuth::Unverified,
        }
    }
}

fn has_a_name(leaf: &CertificateDer<'_>, names: &[String]) -> bool {
    let wanted = |name: &str| names.iter().any(|n| n == name);
    let common_name = x509_parser::parse_x509_certificate(leaf)
        .is_ok_and(|(_, parsed)| parsed.subject().iter_common_name().any(|cn| cn.as_str().is_ok_and(wanted)));
    common_name
        || names.iter().any(|name| {
            let Ok(name) = rustls_pki_types::ServerName::try_from(name.as_str()) else {
                return false;
            };
            ParsedCertificate::try_from(leaf)
                .is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, &name).is_ok())
        })
}

/// All certificates of a PEM text.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| e.to_string())
}

fn validity(certificate: &CertificateDer<'_>) -> Result<Validity, String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|e| e.to_string())?;
    let second = |t: x509_parser::time::ASN1Time| Timestamp::from_second(t.timestamp()).map_err(|e| e.to_string());
    Ok(Validity { not_before: second(parsed.validity().not_before)?, not_after: second(parsed.validity().not_after)? })
}

fn content_digest(chain: &[u8], key: &[u8]) -> Vec<u8> {
    let mut content = digest::Context::new(&digest::SHA256);
    content.update(&chain.len().to_be_bytes());
    content.update(chain);
    content.update(key);
    content.finish().as_ref().to_vec()
}
