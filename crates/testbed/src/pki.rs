//! Certificates of a cluster: one authority, the API server's certificate, one for every identity.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

use crate::error::{Result, While};

/// A certificate with its private key, both PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Identity {
    /// Writes `<name>.crt` and `<name>.key` into `dir`.
    pub fn write(&self, dir: &Path, name: &str) -> Result<()> {
        let (certificate, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        fs::write(&certificate, &self.certificate).at("writing", &certificate)?;
        write_secret(&key, &self.key)
    }
}

/// Writes a file that only its owner may read.
pub fn write_secret(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).at("writing", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).at("closing", path)
}

pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// For a client: `user` becomes the user name, `group` its group.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Identity> {
        let mut params = leaf(user, ExtendedKeyUsagePurpose::ClientAuth);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        self.sign(&params)
    }

    /// For a server on the loopback address.
    pub fn server(&self, name: &str, dns: &[&str]) -> Result<Identity> {
        let mut params = leaf(name, ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        for dns in dns {
            params.subject_alt_names.push(SanType::DnsName((*dns).try_into()?));
        }
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Identity> {
        let key = KeyPair::generate()?;
        Ok(Identity { certificate: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem() })
    }
}

fn leaf(name: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params
}
