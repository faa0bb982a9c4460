//! The authority of the webhook's certificate: made, read back, and what it signs. No I/O; the time is an argument.

use std::collections::BTreeSet;
use std::time::Duration as StdDuration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::GeneralName;

/// Life of an authority.
pub const CA_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Life of a serving certificate.
pub const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Certificates are valid from this long before they are made, for API servers whose clock is behind.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// What can't be done with a key or certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A name for the certificate is neither a DNS name nor an address.
    #[error("{0:?} can't be a name of the webhook")]
    Name(String),
    /// Making or signing failed.
    #[error("a certificate can't be made: {0}")]
    Make(#[from] rcgen::Error),
    /// What is stored is not what was written.
    #[error("a stored certificate can't be read: {0}")]
    Read(&'static str),
    /// The clock stands outside of what a certificate can say.
    #[error("the clock stands at {0}, which no certificate can carry")]
    Clock(Timestamp),
}

/// A certificate and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// As PEM, with a newline at its end.
    pub pem: String,
    der: CertificateDer<'static>,
    /// Valid from here.
    pub not_before: Timestamp,
    /// Valid to here.
    pub not_after: Timestamp,
    /// DNS names and addresses.
    pub names: BTreeSet<String>,
    public_key: Vec<u8>,
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    pub fn read(pem: &[u8]) -> Result<Self, CaError> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|_| CaError::Read("not PEM"))?;
        Self::from_der(der)
    }

    /// Reads every certificate of a PEM text.
    pub fn read_all(pem: &[u8]) -> Result<Vec<Self>, CaError> {
        CertificateDer::pem_slice_iter(pem)
            .map(|der| Self::from_der(der.map_err(|_| CaError::Read("not PEM"))?))
            .collect()
    }

    fn from_der(der: CertificateDer<'static>) -> Result<Self, CaError> {
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| CaError::Read("not X.509"))?;
        let second = |second: i64| Timestamp::from_second(second).map_err(|_| CaError::Read("a date beyond time"));
        let mut names = BTreeSet::new();
        let alternative = parsed.subject_alternative_name();
        if let Some(san) = alternative.map_err(|_| CaError::Read("names"))? {
            names.extend(san.value.general_names.iter().filter_map(name_text));
        }
        Ok(Self {
            not_before: second(parsed.validity().not_before.timestamp())?,
            not_after: second(parsed.validity().not_after.timestamp())?,
            names,
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
            pem: pem_text(&der),
            der,
        })
    }

    /// Whether it is valid at `now`.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether a third or less of its life is left at `now`, or it is not valid at all: time for the next one.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let life = self.not_after.duration_since(self.not_before);
        let spent = now.duration_since(self.not_before);
        !self.holds_at(now) || spent >= life.saturating_mul(2).checked_div(3).unwrap_or_default()
    }

    /// Whether this leaf would be accepted at `now` by a client that trusts `authorities` alone (the name aside).
    pub fn is_trusted_by(&self, authorities: &[&Certificate], now: Timestamp) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().map(|ca| ca.der.clone()));
        let Ok(leaf) = ParsedCertificate::try_from(&self.der) else {
            return false;
        };
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(StdDuration::from_secs(seconds));
        let provider = rustls::crypto::ring::default_provider();
        let algorithms = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &[], now, algorithms).is_ok()
    }

    /// Whether `key` is the private half of this certificate's key.
    pub fn has_key(&self, key_pem: &str) -> bool {
        KeyPair::from_pem(key_pem).is_ok_and(|key| key.public_key_raw() == self.public_key)
    }
}

/// An authority with its key.
pub struct Authority {
    /// Its own certificate.
    pub certificate: Certificate,
    /// Its private key, PKCS#8 PEM.
    pub key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A serving certificate with its key.
pub struct Leaf {
    /// The certificate.
    pub certificate: Certificate,
    /// Its private key, PKCS#8 PEM.
    pub key_pem: String,
}

impl Authority {
    /// A new one (ECDSA P-256) that starts now and lives [`CA_LIFE`].
    pub fn make(now: Timestamp) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        // Unlike names let a reader of the bundle tell the authorities apart.
        let name = format!("foureyes webhook authority of {}", now.strftime("%Y-%m-%dT%H:%M:%SZ"));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_life(&mut params, now, span_end(now, CA_LIFE)?)?;
        let certificate = Certificate::from_der(params.self_signed(&key)?.into())?;
        Ok(Self { certificate, key_pem: key.serialize_pem(), issuer: Issuer::new(params, key) })
    }

    /// The one that was written down, if certificate and key belong together.
    pub fn read(cert_pem: &[u8], key_pem: &[u8]) -> Result<Self, CaError> {
        let certificate = Certificate::read(cert_pem)?;
        let key_pem = std::str::from_utf8(key_pem).map_err(|_| CaError::Read("key"))?;
        if !certificate.has_key(key_pem) {
            return Err(CaError::Read("the key is not the certificate's"));
        }
        let key = KeyPair::from_pem(key_pem)?;
        Ok(Self { issuer: Issuer::from_ca_cert_der(&certificate.der, key)?, certificate, key_pem: key_pem.to_owned() })
    }

    /// A serving certificate for `names` that lives [`LEAF_LIFE`], but no longer than this authority.
    pub fn issue(&self, names: &BTreeSet<String>, now: Timestamp) -> Result<Leaf, CaError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "foureyes webhook");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let end = span_end(now, LEAF_LIFE)?.min(self.certificate.not_after);
        set_life(&mut params, now, end)?;
        Ok(Leaf {
            certificate: Certificate::from_der(params.signed_by(&key, &self.issuer)?.into())?,
            key_pem: key.serialize_pem(),
        })
    }
}

/// The names of a serving certificate: those of the Service, and `extra` DNS names or addresses.
pub fn serving_names(namespace: &str, extra: &[String]) -> Result<BTreeSet<String>, CaError> {
    let service = format!("foureyes-webhook.{namespace}.svc");
    let mut names = BTreeSet::from([format!("{service}.cluster.local"), service]);
    for name in extra {
        let text = match name.parse::<std::net::IpAddr>() {
            Ok(address) => address.to_string(),
            Err(_) if rustls_pki_types::DnsName::try_from(name.as_str()).is_ok() => name.to_ascii_lowercase(),
            Err(_) => return Err(CaError::Name(name.clone())),
        };
        names.insert(text);
    }
    Ok(names)
}

fn span_end(now: Timestamp, life: SignedDuration) -> Result<Timestamp, CaError> {
    now.checked_add(life).map_err(|_| CaError::Clock(now))
}

fn set_life(params: &mut CertificateParams, now: Timestamp, end: Timestamp) -> Result<(), CaError> {
    let date = |at: Timestamp| {
        let seconds = u64::try_from(at.as_second()).map_err(|_| CaError::Clock(at))?;
        Ok::<_, CaError>(rcgen::date_time_ymd(1970, 1, 1) + StdDuration::from_secs(seconds))
    };
    params.not_before = date(now.checked_sub(BACKDATE).map_err(|_| CaError::Clock(now))?)?;
    params.not_after = date(end)?;
    Ok(())
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(four) => Some(std::net::IpAddr::from(four).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|sixteen| std::net::IpAddr::from(sixteen).to_string()),
        },
        _ => None,
    }
}

fn pem_text(der: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
