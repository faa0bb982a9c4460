//! Volumes that are kept from their first binding on, where a policy says so; and what holds them once their claims went
//! without a request. Everything that is known stands in the volume itself: its policy, its claim, and the note by which
//! it brings that back.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use foureyes_core::api::BackupRetention;
use foureyes_core::domain::inventory::Claim;
use foureyes_core::domain::kept::Keep;
use foureyes_core::domain::kept_always::{Bond, BoundVolume, is_kept_always};
use foureyes_core::domain::volume::note_of;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;

use super::context::{CALL, Context, Shared};
use super::error::ReconcileError;
use super::queue::Next;
use crate::cluster::apply;
use crate::cluster::events::Told;

/// Whoever takes a volume off Retain has it put back after this time, not at once: two that fight would write for ever.
pub const FOUGHT: Duration = Duration::from_secs(60);
const NOT_STARTED: Duration = Duration::from_secs(2);
/// Between two looks at what a request that goes on may yet hold itself.
const ASKED_FOR: Duration = Duration::from_secs(60);
/// Namespaces and policies change together; all volumes are looked at once for all of them.
pub const GATHER: Duration = Duration::from_secs(2);

/// A volume by its name, or all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Volumes {
    All,
    One(Box<str>),
}

impl fmt::Display for Volumes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::One(name) => f.write_str(name),
        }
    }
}

/// Reconciles a volume, or sees which of them there is something to do with.
pub async fn reconcile(context: Context, volumes: Volumes) -> Result<Next, ReconcileError> {
    let name = match volumes {
        Volumes::All => return all(&context).await,
        Volumes::One(name) => name,
    };
    let Some(volume) = context.live.bound_volume(&name).await? else { return Ok(Next::Wait) };
    match volume.bond {
        Bond::Bound if volume.is_unkept() => keep(&context, &volume).await,
        Bond::Released if volume.is_left() => hold(&context, &volume, &context.live.retentions().await?).await,
        Bond::Bound | Bond::Released | Bond::Other => Ok(Next::Wait),
    }
}

/// At the start, and when policies or what namespaces are have changed.
async fn all(context: &Shared) -> Result<Next, ReconcileError> {
    let always = context.policies.load().keeps_always_somewhere();
    let matters = |volume: &BoundVolume| volume.is_left() || always && volume.is_unkept();
    let volumes = context.live.bound_volumes(matters).await?;
    let left = volumes.iter().any(BoundVolume::is_left);
    let retentions = if left { context.live.retentions().await? } else { Vec::new() };
    let mut next = Next::Wait;
    for volume in volumes {
        if volume.is_unkept() {
            context.queues.kept_volumes.soon(Volumes::One(volume.volume.name));
        } else if hold(context, &volume, &retentions).await? != Next::Wait {
            next = Next::After(ASKED_FOR);
        }
    }
    Ok(next)
}

async fn keep(context: &Shared, volume: &BoundVolume) -> Result<Next, ReconcileError> {
    if !context.policies.load().keeps_always_somewhere() {
        return Ok(Next::Wait);
    }
    if !context.is_started() {
        return Ok(Next::After(NOT_STARTED));
    }
    let (claim, namespace) = tokio::try_join!(
        context.live.claim(&volume.namespace, &volume.claim),
        context.live.namespace(&volume.namespace)
    )?;
    let claim = claim.filter(|claim| claim.metadata.uid.as_deref() == Some(&volume.claim_uid));
    let (Some(claim), Some(namespace)) = (claim, namespace) else { return Ok(Next::Wait) };
    let labels = namespace.metadata.labels.unwrap_or_default();
    if !is_kept_always(&context.policies.load(), context.is_started(), &labels, &Claim::of(&claim)) {
        return Ok(Next::Wait);
    }
    let Some(note) = note_of(&claim) else { return Ok(Next::Wait) };
    let keep = Keep {
        volume: volume.volume.name.to_string(),
        volume_uid: volume.volume.uid.to_string(),
        namespace: volume.namespace.to_string(),
        claim: volume.claim.to_string(),
        claim_uid: volume.claim_uid.to_string(),
    };
    if let Err(error) = context.live.keep(&keep, &note, CALL).await {
        let error = ReconcileError::write("a volume can't be put on Retain")(error);
        tell(context, &claim, &keep.volume, &error).await;
        return Err(error);
    }
    tracing::info!(
        volume = keep.volume,
        claim = keep.claim,
        namespace = keep.namespace,
        "a volume is kept from now on"
    );
    Ok(Next::Wait)
}

async fn tell(context: &Shared, claim: &PersistentVolumeClaim, volume: &str, error: &ReconcileError) {
    let note =
        format!("volume {volume} could not be put on Retain, as the policy has it from the first binding on: {error}");
    let told = Told { warning: true, reason: "VolumeNotKept", action: "Keep", note: &note };
    if let Err(error) = context.events.tell(claim, told).await {
        tracing::warn!(class = error.class(), %error, "an event could not be written");
    }
}

/// Whatever a request may yet hold is left to it.
async fn hold(context: &Shared, volume: &BoundVolume, retentions: &[BackupRetention]) -> Result<Next, ReconcileError> {
    let asked = {
        let requests = context.requests();
        !requests.about(&volume.claim_uid).is_empty() || !requests.about_namespace(&volume.namespace).is_empty()
    };
    if asked {
        context.queues.kept_volumes.within(Volumes::All, ASKED_FOR);
        return Ok(Next::Wait);
    }
    let namespace = context.live.namespace(&volume.namespace).await?;
    let place = namespace.as_ref().and_then(|namespace| namespace.metadata.uid.as_deref());
    let is_held = |retentions: &[BackupRetention]| retentions.iter().any(|there| volume.is_held_by(there, place));
    // A request that has ended in this moment has left one that the list may not have yet.
    if is_held(retentions) || is_held(&context.live.retentions().await?) {
        return Ok(Next::Wait);
    }
    let days =
        days(context, namespace.as_ref().map(|namespace| namespace.metadata.labels.clone().unwrap_or_default()))?;
    let now = context.clock.now();
    if volume.is_over(days, now) {
        return Ok(Next::Wait);
    }
    let api: Api<BackupRetention> = Api::all(context.live.client().clone());
    for name in volume.names() {
        let retention = BackupRetention::new(&name, volume.retention(days, now));
        let created = apply::create(&api, &retention, CALL).await;
        if created.map_err(ReconcileError::write("a BackupRetention can't be created"))? {
            let (volume, claim) = (&volume.volume.name, volume.target().text());
            tracing::info!(retention = name, %volume, claim, days, "what went without a request is held");
            return Ok(Next::Wait);
        }
        // Written by a process before this one, or somebody else's.
        let there = context.live.retention(&name).await?;
        if there.is_some_and(|there| volume.is_held_by(&there, place)) {
            return Ok(Next::Wait);
        }
    }
    Err(ReconcileError::Overtaken("holding a volume"))
}

/// Of a namespace that is gone nobody knows which policies applied.
fn days(context: &Shared, labels: Option<BTreeMap<String, String>>) -> Result<u32, ReconcileError> {
    let policies = context.policies.load();
    match labels {
        Some(labels) => Ok(policies.effective(&labels).map_err(ReconcileError::Policy)?.retain_days),
        None => Ok(policies.longest_days()),
    }
}
