//! The part `foureyes controller`: everything around the reconcilers.

use std::future::Future;

use kube::Client;

use super::admin;
use super::process::{PartError, Process, at, listen};
use super::readiness::Readiness;
use super::shutdown::Shutdown;
use crate::clock::Clock;
use crate::cluster::client::controller_client;
use crate::config::ControllerArgs;
use crate::controllers::certificates;
use crate::metrics::Metrics;

/// What the reconcilers are built from.
#[derive(Clone)]
pub struct Parts {
    /// With kube's retries; each call needs a deadline.
    pub client: Client,
    /// The namespace of foureyes itself.
    pub namespace: String,
    /// The clock that decisions are made by.
    pub clock: Clock,
    /// Where reconciliations are counted.
    pub metrics: Metrics,
    /// Where the reconcilers add conditions of their own, such as `indexes synced`.
    pub readiness: Readiness,
    /// Begun when the process is to end.
    pub shutdown: Shutdown,
}

/// Runs the certificates and `reconcilers` until `process` is told to end, or until one of them gives up.
pub async fn run<F, R>(
    namespace: &str,
    args: &ControllerArgs,
    process: &Process,
    reconcilers: F,
) -> Result<(), PartError>
where
    F: FnOnce(Parts) -> R,
    R: Future<Output = ()>,
{
    let (metrics, shutdown) = (process.metrics.clone(), &process.shutdown);
    let client = controller_client().await?;
    let readiness = Readiness::default();
    let bound = readiness.condition("bound");
    let admin = listen("--admin", args.admin).await?;
    let admin = admin::serve(admin, readiness.clone(), metrics.clone());
    let reconcilers = Box::pin(reconcilers(Parts {
        client: client.clone(),
        namespace: namespace.to_owned(),
        clock: Clock::system(),
        metrics,
        readiness,
        shutdown: shutdown.clone(),
    }));
    let names = args.serving_name.clone();
    let work = async {
        let certificates = certificates::run(client, namespace, names, shutdown.token());
        let (certificates, ()) = tokio::join!(certificates, reconcilers);
        certificates
    };
    bound.met();
    tokio::select! {
        served = admin => at("the admin port ended", served),
        worked = work => Ok(worked?),
    }
}
