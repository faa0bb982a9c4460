//! Retentions, and the volumes that they keep.

use std::pin::pin;

use foureyes_core::api::{BackupRetention, RetentionPhase};
use futures::StreamExt as _;

use super::untyped;
use crate::cluster::watch::{Seen, watch_untyped};
use crate::controllers::Latch;
use crate::controllers::context::{Context, Shared};
use crate::controllers::retentions::Known;
use crate::controllers::sign_offs;

/// Follows retentions for ever; `read` happens once all have been read.
pub async fn retentions(context: Context, read: Latch) {
    let api = untyped::<BackupRetention>(context.live.client());
    let mut seen = pin!(watch_untyped(api, "BackupRetention", |retention: BackupRetention| Known::of(&retention)));
    while let Some(seen) = seen.next().await {
        match seen {
            Seen::Applied(known) => {
                context.queues.backup_retentions.soon(known.name.clone());
                context.retentions().learn(known);
            }
            Seen::Gone(known) => {
                context.retentions().forget(&known.name);
                context.queues.sign_offs.within(known.uid, sign_offs::GRACE);
            }
            Seen::All(all) => {
                let gone = context.retentions().replace(all);
                for known in gone {
                    context.queues.sign_offs.within(known.uid, sign_offs::GRACE);
                }
                context.look_at_all_retentions();
                read.happens();
            }
        }
        counted(&context);
    }
}

fn counted(context: &Shared) {
    let retentions = context.retentions();
    for phase in RetentionPhase::ALL {
        context.metrics.retentions(phase.as_str(), retentions.count(phase));
    }
}
