//! Volumes are put on Retain before their claims may go, and put back when they don't go after all; what outlived its claim
//! is held.

use foureyes_core::api::{BackupRetention, BackupRetentionSpec, DeletionRequest, Protection};
use foureyes_core::domain::kept::{Keep, KeepContent};
use foureyes_core::domain::volume::note_of;
use foureyes_core::reason::Code;
use futures::{StreamExt as _, stream};
use kube::Api;

use crate::cluster::apply;
use crate::cluster::client::CallError;
use crate::cluster::events::Told;
use crate::controllers::context::{CALL, Shared};
use crate::controllers::error::ReconcileError;

/// Volumes changed at a time.
const AT_ONCE: usize = 8;

/// Puts volumes on Retain, each with the note that brings its claim back. One that refuses is told about, and does not
/// hold up the others.
pub async fn keep(context: &Shared, request: &DeletionRequest, volumes: &[Keep]) -> Result<(), ReconcileError> {
    let results: Vec<(Keep, Result<(), ReconcileError>)> = stream::iter(volumes.to_vec())
        .map(|volume| async move {
            let kept = keep_one(context, &volume).await;
            (volume, kept)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut refused = None;
    for (volume, result) in results {
        let Err(error) = result else { continue };
        tell(context, request, "VolumeNotKept", &format!("volume {}", volume.volume), &error).await;
        refused = Some(error);
    }
    refused.map_or(Ok(()), Err)
}

/// Puts what is behind snapshots on Retain, likewise.
pub async fn keep_contents(
    context: &Shared,
    request: &DeletionRequest,
    contents: &[KeepContent],
) -> Result<(), ReconcileError> {
    let mut changes = stream::iter(contents.to_vec())
        .map(|keep| async move {
            let kept = context.live.keep_content(&keep, CALL).await;
            (keep, kept)
        })
        .buffer_unordered(AT_ONCE);
    let mut refused = None;
    while let Some((keep, kept)) = changes.next().await {
        let Err(error) = kept else {
            tracing::info!(content = keep.content, "what is behind a snapshot is kept");
            continue;
        };
        let error = ReconcileError::write("a snapshot's content can't be put on Retain")(error);
        tell(context, request, "SnapshotNotKept", &format!("snapshot content {}", keep.content), &error).await;
        refused = Some(error);
    }
    refused.map_or(Ok(()), Err)
}

async fn tell(context: &Shared, request: &DeletionRequest, reason: &str, what: &str, error: &ReconcileError) {
    let note = format!("{what} could not be put on Retain, and nothing is deleted until it is: {error}");
    let told = Told { warning: true, reason, action: "Keep", note: &note };
    if let Err(error) = context.events.tell(request, told).await {
        tracing::warn!(class = error.class(), %error, "an event could not be written");
    }
}

async fn keep_one(context: &Shared, keep: &Keep) -> Result<(), ReconcileError> {
    let claim = context.live.claim(&keep.namespace, &keep.claim).await?;
    let claim = claim.filter(|claim| claim.metadata.uid.as_deref() == Some(&keep.claim_uid));
    let note = claim.as_ref().and_then(note_of).ok_or(ReconcileError::Overtaken("keeping a volume"))?;
    context.live.keep(keep, &note, CALL).await.map_err(ReconcileError::write("a volume can't be put on Retain"))?;
    tracing::info!(volume = keep.volume, claim = keep.claim, namespace = keep.namespace, "a volume is kept");
    Ok(())
}

/// Gives volumes the policy that they had. One that has changed since is left alone.
pub async fn put_back(context: &Shared, protections: &[Protection]) -> Result<(), ReconcileError> {
    let mut changes = stream::iter(protections.to_vec())
        .map(|protection| async move {
            let done = context.live.put_back(&protection, CALL).await;
            (protection, done)
        })
        .buffer_unordered(AT_ONCE);
    let mut refused = None;
    while let Some((protection, result)) = changes.next().await {
        match result {
            Ok(done) => tracing::info!(volume = protection.object.name, done, policy = protection.before, "put back"),
            Err(error) if is_held(&error) => {
                tracing::info!(volume = protection.object.name, "not put back: a retention holds it");
            }
            Err(error) => refused = Some(error),
        }
    }
    refused.map_or(Ok(()), |error| Err(ReconcileError::write("a volume's policy can't be put back")(error)))
}

/// Somebody else has it kept for longer.
fn is_held(error: &CallError) -> bool {
    error.class() == "forbidden" && error.to_string().contains(&format!("[{}]", Code::DataHeld))
}

/// Holds what outlived a deletion, under the name of its request, or a longer one where another retention has that; the
/// name.
pub async fn hold(
    context: &Shared,
    request: &DeletionRequest,
    spec: &BackupRetentionSpec,
) -> Result<String, ReconcileError> {
    let api: Api<BackupRetention> = Api::all(context.live.client().clone());
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let uid = request.metadata.uid.as_deref().unwrap_or_default();
    let longer = format!("{}-{uid}", name.get(..200).unwrap_or(name).trim_end_matches(['.', '-']));
    for name in [name.to_owned(), longer] {
        let created = apply::create(&api, &BackupRetention::new(&name, spec.clone()), CALL).await;
        let created = created.map_err(ReconcileError::write("a BackupRetention can't be created"))?;
        if created || stands_for(context, &name, uid).await? {
            tracing::info!(retention = name, created, keepers = spec.keepers.len(), "what was kept is held");
            return Ok(name);
        }
    }
    Err(ReconcileError::Overtaken("holding what was kept"))
}

/// Whether the retention of this name stands for the deletion that the request with this UID asked for.
async fn stands_for(context: &Shared, name: &str, request_uid: &str) -> Result<bool, ReconcileError> {
    let retention = context.live.retention(name).await?;
    Ok(retention
        .and_then(|retention| retention.spec.source)
        .is_some_and(|source| source.uid.as_deref() == Some(request_uid)))
}
