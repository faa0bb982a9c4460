//! Volumes, for what keeps them, and for what a policy has kept from their first binding on.

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
        let bound = BoundVolume::of(&volume).filter(|volume| volume.is_unkept() || volume.is_left());
        Some((Box::<str>::from(volume.metadata.uid.unwrap_or_default()), bound))
    };
    let mut seen = pin!(watch(api, "PersistentVolume", None, keep));
    while let Some(seen) = seen.next().await {
        match seen {
            Seen::Applied((uid, bound)) => {
                look_at_what_keeps(&context, &uid);
                if let Some(bound) = bound {
                    volume_changed(&context, bound);
                }
            }
            Seen::Gone((uid, _)) => look_at_what_keeps(&context, &uid),
            Seen::All(_) => {
                // What went meanwhile is not among them.
                context.look_at_all_retentions();
                context.queues.kept_volumes.within(Volumes::All, GATHER);
            }
        }
    }
}

fn look_at_what_keeps(context: &Shared, uid: &str) {
    let keeping = context.retentions().keeping(uid);
    for name in keeping {
        context.queues.backup_retentions.soon(name);
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
