//! The webhook's certificates: an authority that foureyes keeps itself, or cert-manager's, and the bundles in the webhook
//! configurations.

pub mod ca;
mod configurations;
pub mod plan;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio_util::sync::CancellationToken;

use self::ca::{Authority, CaError, Certificate, serving_names};
use self::configurations::Configuration;
use self::plan::{Facts, Serving, bundle, plan, retired};
use crate::clock;
use crate::cluster::client::CallError;
use crate::cluster::secrets::{self, Data, Held};

/// The Secret with the authority: `ca.crt`, `ca.key`, and `previous.crt` once it was rotated.
pub const CA_SECRET: &str = "foureyes-ca";
/// The Secret that the webhook serves from: `tls.crt`, `tls.key`, `ca.crt`.
pub const TLS_SECRET: &str = "foureyes-webhook-tls";
/// cert-manager puts this on the Secrets that it writes.
const CERT_MANAGER: &str = "cert-manager.io/certificate-name";
/// Between two looks: how soon a removed bundle is back, and far below the minute that a renewal may be late.
const EVERY: Duration = Duration::from_secs(10);
/// After a failed look.
const RETRY: Duration = Duration::from_secs(2);

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The API server.
    #[error("{what}: {source}")]
    Call {
        /// What was being done.
        what: &'static str,
        /// What it said.
        source: CallError,
    },
    /// A Secret that is installed empty is not there; the controller may not create it.
    #[error("the Secret {0} is missing; install it again (it is part of config/default)")]
    NoSecret(&'static str),
    /// cert-manager has not written its authority yet.
    #[error("the Secret {TLS_SECRET} belongs to cert-manager and has no ca.crt yet")]
    NoForeignAuthority,
    /// Keys and certificates.
    #[error(transparent)]
    Ca(#[from] CaError),
}

/// Keeps the certificates and bundles in order until `shutdown`. Fails only on a name in `extra_names` that no
/// certificate can carry; everything else is logged and tried again.
pub async fn run(
    client: Client,
    ns: &str,
    extra_names: Vec<String>,
    shutdown: CancellationToken,
) -> Result<(), CertificatesError> {
    let names = serving_names(ns, &extra_names)?;
    loop {
        let pause = match pass(&client, ns, &names, clock::now()).await {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "the webhook's certificates can't be kept in order");
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

/// One look at everything, and what follows from it. Harmless to repeat; each write is conditional on what was read.
pub async fn pass(
    client: &Client,
    ns: &str,
    names: &BTreeSet<String>,
    now: Timestamp,
) -> Result<(), CertificatesError> {
    let configurations = configurations::read(client)
        .await
        .map_err(|source| CertificatesError::Call { what: "the webhook configurations can't be read", source })?;
    let tls = secret(client, ns, TLS_SECRET).await?;
    if tls.annotations.contains_key(CERT_MANAGER) {
        let foreign = tls.value("ca.crt").ok_or(CertificatesError::NoForeignAuthority)?;
        let text = String::from_utf8_lossy(foreign);
        return trust(client, &configurations, &text).await;
    }
    let kept = secret(client, ns, CA_SECRET).await?;
    keep(client, ns, names, now, &configurations, &tls, &kept).await
}

async fn keep(
    client: &Client,
    ns: &str,
    names: &BTreeSet<String>,
    now: Timestamp,
    configurations: &[Configuration],
    tls: &Held,
    kept: &Held,
) -> Result<(), CertificatesError> {
    let certificate = |held: &Held, key: &str| Certificate::read(held.value(key)?).ok();
    let mut authority = authority(kept);
    let mut previous = kept.value("previous.crt").and_then(|pem| Certificate::read_all(pem).ok()).unwrap_or_default();
    let serving_authority = certificate(tls, "ca.crt");
    let serving = certificate(tls, "tls.crt").filter(|leaf| {
        let key = tls.value("tls.key").and_then(|key| std::str::from_utf8(key).ok());
        key.is_some_and(|key| leaf.has_key(key))
    });
    let trusted: Vec<Vec<Certificate>> = configurations
        .iter()
        .flat_map(Configuration::bundles)
        .map(|bundle| Certificate::read_all(&bundle).unwrap_or_default())
        .collect();
    let read = Facts {
        authority: authority.as_ref().map(|authority| &authority.certificate),
        previous: &previous,
        serving: serving.as_ref(),
        serving_authority: serving_authority.as_ref(),
        trusted: &trusted,
        names,
    };
    let due = plan(&read, now);
    let mut wanted = bundle(&read, now);
    if due.new_authority {
        let new = Authority::make(now)?;
        previous = retired(&read, now);
        write_authority(client, ns, kept, &new, &previous).await?;
        wanted = new.certificate.pem.clone();
        wanted.extend(previous.iter().map(|ca| ca.pem.as_str()));
        authority = Some(new);
    }
    trust(client, configurations, &wanted).await?;
    if due.serving == Serving::Issue
        && let Some(authority) = &authority
    {
        write_serving(client, ns, tls, authority, names, now).await?;
    }
    Ok(())
}

async fn secret(client: &Client, ns: &str, name: &'static str) -> Result<Held, CertificatesError> {
    let held = secrets::get(client, ns, name).await;
    let held = held.map_err(|source| CertificatesError::Call { what: "a Secret can't be read", source })?;
    held.ok_or(CertificatesError::NoSecret(name))
}

/// The authority that is kept; one that can't be read is as good as none, and is replaced.
fn authority(kept: &Held) -> Option<Authority> {
    let (certificate, key) = (kept.value("ca.crt")?, kept.value("ca.key")?);
    let read = Authority::read(certificate, key);
    if let Err(error) = &read {
        tracing::warn!(%error, "the kept authority can't be used; making another");
    }
    read.ok()
}

async fn trust(client: &Client, configurations: &[Configuration], bundle: &str) -> Result<(), CertificatesError> {
    for configuration in configurations {
        let written = configuration.trust(client, bundle).await;
        written.map_err(|source| CertificatesError::Call {
            what: "a webhook configuration can't be given the authority",
            source,
        })?;
    }
    Ok(())
}

async fn write_authority(
    client: &Client,
    ns: &str,
    kept: &Held,
    new: &Authority,
    previous: &[Certificate],
) -> Result<(), CertificatesError> {
    let previous: String = previous.iter().map(|ca| ca.pem.as_str()).collect();
    let data = Data::from([
        ("previous.crt".to_owned(), previous.into_bytes()),
        ("ca.crt".to_owned(), new.certificate.pem.clone().into_bytes()),
        ("ca.key".to_owned(), new.key_pem.clone().into_bytes()),
    ]);
    let written = secrets::update(client, ns, CA_SECRET, kept, &data).await;
    written.map_err(|source| CertificatesError::Call { what: "the authority can't be written", source })?;
    tracing::info!(not_after = %new.certificate.not_after, "made a new authority for the webhook");
    Ok(())
}

async fn write_serving(
    client: &Client,
    ns: &str,
    tls: &Held,
    authority: &Authority,
    names: &BTreeSet<String>,
    now: Timestamp,
) -> Result<(), CertificatesError> {
    let leaf = authority.issue(names, now)?;
    let data = Data::from([
        ("tls.crt".to_owned(), leaf.certificate.pem.into_bytes()),
        ("tls.key".to_owned(), leaf.key_pem.into_bytes()),
        ("ca.crt".to_owned(), authority.certificate.pem.clone().into_bytes()),
    ]);
    let written = secrets::update(client, ns, TLS_SECRET, tls, &data).await;
    written.map_err(|source| CertificatesError::Call { what: "the webhook's certificate can't be written", source })?;
    tracing::info!(not_after = %leaf.certificate.not_after, "issued a new certificate for the webhook");
    Ok(())
}
