//! What the webhook holds and exchanges by content while it runs: its certificate and its sealing key.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use foureyes_core::seal::{PRIVATE_KEY, SigningKey};
use tokio::sync::watch;

use super::readiness::Condition;
use super::tls::{ServingCertificate, TlsError};
use crate::clock::Clock;
use crate::cluster::secrets::Seen;
use crate::metrics::Metrics;

/// How often a certificate that has not changed is asked whether it is still valid.
const RECHECK: Duration = Duration::from_secs(10);

/// The sealing key in use; empty until it was read.
pub type SealingKey = Arc<ArcSwapOption<SigningKey>>;

/// Serves what `seen` (the Secret with `tls.crt` and `tls.key`) shows, until the Secret is no longer polled. What can't
/// be used does not replace what is in use; the condition tells whether that is valid by `clock`.
pub async fn keep_certificate(
    mut seen: watch::Receiver<Seen>,
    certificate: Arc<ServingCertificate>,
    condition: Condition,
    metrics: Metrics,
    clock: Clock,
) {
    let mut trouble = take_certificate(&seen.borrow_and_update().clone(), &certificate).err();
    loop {
        let now = clock.now();
        match (certificate.validity(), &trouble) {
            (Some(validity), _) if validity.holds_at(now) => {
                metrics.certificate_ends(validity.not_after);
                condition.met();
            }
            (Some(validity), None) if now < validity.not_before => {
                condition.missing(format!("not valid before {}", validity.not_before));
            }
            (Some(validity), None) => condition.missing(format!("expired at {}", validity.not_after)),
            (_, Some(why)) => condition.missing(why.clone()),
            (None, None) => condition.missing("not read yet"),
        }
        tokio::select! {
            changed = seen.changed() => {
                if changed.is_err() {
                    return;
                }
                trouble = take_certificate(&seen.borrow_and_update().clone(), &certificate).err();
                if let Some(why) = &trouble {
                    tracing::warn!(why, "the certificate in the Secret can't be used; keeping the one in use");
                }
            }
            () = tokio::time::sleep(RECHECK) => {}
        }
    }
}

fn take_certificate(seen: &Seen, certificate: &ServingCertificate) -> Result<(), String> {
    let held = match seen {
        Seen::Unread(None) => return Err("not yet".to_owned()),
        Seen::Unread(Some(class)) => return Err(format!("its Secret can't be read ({class})")),
        Seen::Absent => return Err("its Secret is missing".to_owned()),
        Seen::Present(held) => held,
    };
    let (Some(chain), Some(key)) = (held.value("tls.crt"), held.value("tls.key")) else {
        return Err("its Secret is still empty: the controller or cert-manager fills it".to_owned());
    };
    let replaced = certificate.replace(chain, key);
    if replaced.map_err(|error: TlsError| error.to_string())? {
        let until = certificate.validity().map(|validity| validity.not_after.to_string());
        tracing::info!(until, "serving another certificate");
    }
    Ok(())
}

/// Holds the sealing key that `seen` shows, until the Secret is no longer polled. A key that was taken away or became
/// unreadable is not used any more: rotation always leaves one.
pub async fn keep_sealing_key(mut seen: watch::Receiver<Seen>, slot: SealingKey, condition: Condition) {
    loop {
        match signing_key(&seen.borrow_and_update().clone()) {
            Ok(key) => {
                tracing::info!(key = key.id(), "sealing with this key");
                slot.store(Some(Arc::new(key)));
                condition.met();
            }
            Err(why) => {
                slot.store(None);
                condition.missing(why);
            }
        }
        if seen.changed().await.is_err() {
            return;
        }
    }
}

fn signing_key(seen: &Seen) -> Result<SigningKey, String> {
    match seen {
        Seen::Unread(None) => Err("not yet".to_owned()),
        Seen::Unread(Some(class)) => Err(format!("its Secret can't be read ({class})")),
        Seen::Absent => Err("there is none: run `foureyes keys`".to_owned()),
        Seen::Present(held) => {
            let document = held.value(PRIVATE_KEY).ok_or("its Secret is empty: run `foureyes keys`")?;
            SigningKey::from_pkcs8(document).map_err(|error| error.to_string())
        }
    }
}
