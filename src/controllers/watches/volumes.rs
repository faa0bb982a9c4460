//! Volumes, for what a policy has kept from their first binding on.

use std::pin::pin;

use foureyes_core::domain::kept_always::BoundVolume;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;

use crate::cluster::watch::{Seen, watch};
use crate::controllers::context::{Context, Shared};
use crate::controllers::kept_volumes::{FOUGHT, GATHER, Volumes};

/// Follows volumes for ever.
pub async fn volumes(context: Context) {
    let api: Api<PersistentVolume> = Api::all(context.live.client().clone());
    let keep = |volume: PersistentVolume| {
        let volume = BoundVolume::of(&volume)?;
        (volume.is_unkept() || volume.is_left()).then_some(volume)
    };
    let mut seen = pin!(watch(api, "PersistentVolume", None, keep));
    while let Some(seen) = seen.next().await {
        match seen {
            Seen::Applied(volume) => volume_changed(&context, volume),
            Seen::Gone(_) => {}
            Seen::All(_) => context.queues.kept_volumes.within(Volumes::All, GATHER),
        }
    }
}

fn volume_changed(context: &Shared, volume: BoundVolume) {
    let always = context.policies.load().keeps_always_somewhere();
    let queue = &context.queues.kept_volumes;
    match volume {
        volume if volume.was_kept() && always => queue.within(Volumes::One(volume.volume.name), FOUGHT),
        volume if volume.is_left() || always => queue.soon(Volumes::One(volume.volume.name)),
        _ => {}
    }
}
