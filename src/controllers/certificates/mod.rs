//! The webhook's certificates: an authority that foureyes keeps itself, or cert-manager's, and the bundles in the webhook
//! configurations.

pub mod ca;
mod configurations;
pub mod plan;
mod recent;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio_util::sync::CancellationToken;

use self::ca::{Authority, CaError, Certificate, serving_names};
use self::configurations::Configuration;
use self::plan::{Facts, Serving, bundle, plan, retired};
use self::recent::Recent;
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

fn calling(what: &'static str) -> impl FnOnce(CallError) -> CertificatesError {
    move |source| CertificatesError::Call { what, source }
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
    let mut keeper = Keeper { client, ns: ns.to_owned(), names, recent: Recent::default() };
    loop {
        let pause = match keeper.pass(clock::now()).await {
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

struct Keeper {
    client: Client,
    ns: String,
    /// The names that the webhook is reached by.
    names: BTreeSet<String>,
    recent: Recent,
}

impl Keeper {
    /// One look at everything, and what follows from it. Harmless to repeat; each write is conditional on what was read.
    async fn pass(&mut self, now: Timestamp) -> Result<(), CertificatesError> {
        let configurations = configurations::read(&self.client).await;
        let configurations = configurations.map_err(calling("the webhook configurations can't be read"))?;
        let tls = self.secret(TLS_SECRET).await?;
        let trusted: Vec<Vec<Certificate>> = configurations
            .iter()
            .flat_map(Configuration::bundles)
            .map(|bundle| Certificate::read_all(&bundle).unwrap_or_default())
            .collect();
        let mut issuer = None;
        let wanted = if tls.annotations.contains_key(CERT_MANAGER) {
            let foreign = tls.value("ca.crt").ok_or(CertificatesError::NoForeignAuthority)?;
            String::from_utf8_lossy(foreign).into_owned()
        } else {
            let kept = self.secret(CA_SECRET).await?;
            let (wanted, authority) = self.authority(&tls, &kept, &trusted, now).await?;
            issuer = authority;
            wanted
        };
        let text = self.recent.with(&wanted, &trusted, now);
        for configuration in &configurations {
            let written = configuration.trust(&self.client, &text).await;
            written.map_err(calling("a webhook configuration can't be given the authority"))?;
        }
        match issuer {
            Some(authority) => self.issue(&tls, &authority, now).await,
            None => Ok(()),
        }
    }

    /// Makes another authority if one is due. What the configurations are to trust, and who is to issue a serving
    /// certificate once they do, if one is due.
    async fn authority(
        &self,
        tls: &Held,
        kept: &Held,
        trusted: &[Vec<Certificate>],
        now: Timestamp,
    ) -> Result<(String, Option<Authority>), CertificatesError> {
        let certificate = |key: &str| Certificate::read(tls.value(key)?).ok();
        let previous = kept.value("previous.crt").and_then(|pem| Certificate::read_all(pem).ok()).unwrap_or_default();
        let serving_authority = certificate("ca.crt");
        let serving = certificate("tls.crt").filter(|leaf| {
            let key = tls.value("tls.key").and_then(|key| std::str::from_utf8(key).ok());
            key.is_some_and(|key| leaf.has_key(key))
        });
        let mut authority = usable(kept);
        let facts = Facts {
            authority: authority.as_ref().map(|authority| &authority.certificate),
            previous: &previous,
            serving: serving.as_ref(),
            serving_authority: serving_authority.as_ref(),
            trusted,
            names: &self.names,
        };
        let due = plan(&facts, now);
        let mut wanted = bundle(&facts, now);
        if due.new_authority {
            let earlier: String = retired(&facts, now).iter().map(|ca| ca.pem.as_str()).collect();
            let new = Authority::make(now)?;
            wanted = format!("{}{earlier}", new.certificate.pem);
            self.keep(kept, &new, earlier).await?;
            authority = Some(new);
        }
        Ok((wanted, authority.filter(|_| due.serving == Serving::Issue)))
    }

    async fn secret(&self, name: &'static str) -> Result<Held, CertificatesError> {
        let held = secrets::get(&self.client, &self.ns, name).await;
        held.map_err(calling("a Secret can't be read"))?.ok_or(CertificatesError::NoSecret(name))
    }

    async fn keep(&self, kept: &Held, new: &Authority, earlier: String) -> Result<(), CertificatesError> {
        let data = Data::from([
            ("ca.crt".to_owned(), new.certificate.pem.clone().into_bytes()),
            ("ca.key".to_owned(), new.key_pem.clone().into_bytes()),
            ("previous.crt".to_owned(), earlier.into_bytes()),
        ]);
        let written = secrets::update(&self.client, &self.ns, CA_SECRET, kept, &data).await;
        written.map_err(calling("the authority can't be written"))?;
        tracing::info!(not_after = %new.certificate.not_after, "made a new authority for the webhook");
        Ok(())
    }

    async fn issue(&self, tls: &Held, authority: &Authority, now: Timestamp) -> Result<(), CertificatesError> {
        let leaf = authority.issue(&self.names, now)?;
        let data = Data::from([
            ("tls.crt".to_owned(), leaf.certificate.pem.into_bytes()),
            ("tls.key".to_owned(), leaf.key_pem.into_bytes()),
            ("ca.crt".to_owned(), authority.certificate.pem.clone().into_bytes()),
        ]);
        let written = secrets::update(&self.client, &self.ns, TLS_SECRET, tls, &data).await;
        written.map_err(calling("the webhook's certificate can't be written"))?;
        tracing::info!(not_after = %leaf.certificate.not_after, "issued a new certificate for the webhook");
        Ok(())
    }
}

/// The authority that is kept; one that can't be read is as good as none, and is replaced.
fn usable(kept: &Held) -> Option<Authority> {
    let (certificate, key) = (kept.value("ca.crt")?, kept.value("ca.key")?);
    let read = Authority::read(certificate, key);
    if let Err(error) = &read {
        tracing::warn!(%error, "the kept authority can't be used; making another");
    }
    read.ok()
}
