//! The part `foureyes webhook`: everything around the router that answers the reviews.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use kube::Client;

use super::admin;
use super::material::{SealingKey, keep_certificate, keep_sealing_key};
use super::process::{Beside, PartError, Process, at, listen};
use super::readiness::Readiness;
use super::serve::{ServeOptions, serve};
use super::tls::{ClientAuthority, ServerTls, ServingCertificate};
use crate::clock::Clock;
use crate::cluster::client::webhook_client;
use crate::cluster::secrets::watch_secret;
use crate::config::WebhookArgs;
use crate::manifests::names::{SEALING_KEY_SECRET, TLS_SECRET};
use crate::metrics::Metrics;

/// Between two reads of the Secrets.
const POLL: Duration = Duration::from_secs(10);

/// What the router of the reviews is built from.
#[derive(Clone)]
pub struct Parts {
    /// Without retries; each call needs a deadline.
    pub client: Client,
    /// The namespace of foureyes itself.
    pub namespace: String,
    /// The clock that reviews are judged by.
    pub clock: Clock,
    /// Where decisions are counted.
    pub metrics: Metrics,
    /// Where the router adds conditions of its own, such as `indexes synced`.
    pub readiness: Readiness,
    /// The key to seal with.
    pub sealing_key: SealingKey,
}

/// Runs the webhook until its `process` has been told to end and has done so. `router` starts what it needs (watches go on during the whole
/// shutdown, so that the last reviews are judged by what is true) and returns at once.
pub async fn run<F, R>(namespace: &str, args: &WebhookArgs, process: &Process, router: F) -> Result<(), PartError>
where
    F: FnOnce(Parts) -> R,
    R: Future<Output = Router>,
{
    let (metrics, shutdown) = (process.metrics.clone(), &process.shutdown);
    let clients = client_authority(args.client_ca.as_ref(), &args.client_name).await?;
    let client = webhook_client().await?;
    let readiness = Readiness::default();
    let mut beside = Beside::default();
    let admin = listen("--admin", args.admin).await?;
    beside.start("the admin port", admin::serve(admin, readiness.clone(), metrics.clone()));

    let poll = |name| watch_secret(client.clone(), namespace.to_owned(), name, POLL);
    let certificate = Arc::new(ServingCertificate::default());
    let valid = readiness.condition("certificate valid");
    let kept = Arc::clone(&certificate);
    let keep = keep_certificate(poll(TLS_SECRET), kept, valid, metrics.clone(), Clock::system());
    beside.start("the certificate", keep);
    let sealing_key = SealingKey::default();
    let (slot, present) = (Arc::clone(&sealing_key), readiness.condition("sealing key"));
    beside.start("the sealing key", keep_sealing_key(poll(SEALING_KEY_SECRET), slot, present));
    let router = router(Parts {
        client,
        namespace: namespace.to_owned(),
        clock: Clock::system(),
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        sealing_key,
    });
    let router = router.await;

    let listener = listen("--listen", args.listen).await?;
    let options = ServeOptions {
        max_in_flight: args.max_in_flight,
        max_connections: args.max_connections,
        lame_duck: args.lame_duck,
        drain: args.drain,
    };
    let tls = ServerTls::new(certificate, clients)?;
    let serving = serve(listener, tls, router, options, &readiness, &metrics, shutdown);
    let served = beside.none_ends(serving, shutdown).await?;
    at("the review port ended", served)
}

async fn client_authority(file: Option<&PathBuf>, names: &[String]) -> Result<Option<ClientAuthority>, PartError> {
    let Some(file) = file else {
        return Ok(None);
    };
    let pem = at(format!("--client-ca {}", file.display()), tokio::fs::read(file).await)?;
    Ok(Some(ClientAuthority::new(&pem, names.to_vec())?))
}
