//! The guard as it is shipped, over an index that is filled here: its runtime, TLS, limits, counting and log.

use std::sync::Arc;

use foureyes::metrics::Metrics;
use foureyes::server::process::runtime;
use foureyes::server::readiness::Readiness;
use foureyes::server::serve::{ServeOptions, serve};
use foureyes::server::shutdown::Shutdown;
use foureyes::server::tls::{ServerTls, ServingCertificate};
use foureyes::telemetry;
use rcgen::{CertificateParams, KeyPair};
use tokio::net::TcpListener;

use crate::child::{announce, unwanted};
use crate::{Result, index, process};

/// `options` may name the one core to run on.
pub fn run(requests: usize, options: &[&str]) -> Result<()> {
    if let [core] = options {
        process::pin(core.parse()?)?;
    }
    let _logs = telemetry::init("info")?;
    runtime()?.block_on(async {
        let metrics = Metrics::new(None);
        let router = index::routes(requests, &metrics)?;
        let (tls, pem) = certificate()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?.port(), &pem);
        let (readiness, shutdown) = (Readiness::default(), Shutdown::default());
        let serving = serve(listener, tls, router, ServeOptions::default(), &readiness, &metrics, &shutdown);
        tokio::select! {
            served = serving => Ok(served?),
            () = unwanted() => Ok(()),
        }
    })
}

/// The TLS side of a server with a new certificate of its own, and that certificate as PEM.
pub fn certificate() -> Result<(ServerTls, String)> {
    let key = KeyPair::generate()?;
    let pem = CertificateParams::new(["127.0.0.1".to_owned()])?.self_signed(&key)?.pem();
    let certificate = Arc::new(ServingCertificate::default());
    certificate.replace(pem.as_bytes(), key.serialize_pem().as_bytes())?;
    Ok((ServerTls::new(certificate, None)?, pem))
}
