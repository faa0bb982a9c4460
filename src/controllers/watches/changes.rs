//! Changes, and the workloads that they are about.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use foureyes_core::api::{ChangeRequest, WorkloadIdentity};
use futures::StreamExt as _;
use kube::Api;
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;

use super::{GATHER, Latch, untyped};
use crate::cluster::watch::{Seen, watch, watch_untyped};
use crate::cluster::workloads::{ROLLOUT, Recorded};
use crate::controllers::changes::Known;
use crate::controllers::context::{Context, Shared};
use crate::controllers::{releases, sign_offs};

/// Pods come and go without a new generation; what their images turned out to be is looked at once for many.
const PODS: Duration = Duration::from_secs(60);
/// Between two looks whether a kind has come to be served.
const SERVED: Duration = Duration::from_secs(60);

/// Follows changes for ever; `read` happens once all have been read.
pub async fn changes(context: Context, read: Latch) {
    let api: Api<DynamicObject> = untyped::<ChangeRequest>(context.live.client());
    let own = context.namespace.clone();
    let mut seen = pin!(watch_untyped(api, "ChangeRequest", move |request: ChangeRequest| Known::of(&request, &own)));
    while let Some(seen) = seen.next().await {
        match seen {
            Seen::Applied(known) => {
                if known.open {
                    context.queues.change_requests.soon(known.key.clone());
                }
                let ended = !known.open;
                // A review that is owed, or no longer is, keeps its namespace or lets it go.
                let around = context.requests().about_namespace(&known.key.namespace);
                for name in around {
                    context.queues.deletion_requests.within(name, GATHER);
                }
                let before = context.changes().learn(known);
                // Its targets are known from when it was open.
                for target in before.into_iter().filter(|_| ended).flat_map(|before| before.targets) {
                    concerns(&context, target);
                }
            }
            Seen::Gone(known) => {
                context.changes().forget(&known.key);
                gone(&context, known);
            }
            Seen::All(all) => {
                let missing = context.changes().replace(all);
                for known in missing {
                    gone(&context, known);
                }
                context.look_at_all_requests();
                releases::configurations().for_each(|configuration| context.queues.releases.soon(configuration));
                read.happens();
            }
        }
    }
}

/// What a change that is over was about.
fn concerns(context: &Shared, target: WorkloadIdentity) {
    if releases::is_one(&target) {
        context.queues.releases.soon(target);
    } else {
        context.queues.rollout_records.soon(target);
    }
}

/// What it promised is good for nothing any more, and what was said about it goes with it.
fn gone(context: &Shared, known: Known) {
    for target in known.targets {
        concerns(context, target);
    }
    context.queues.sign_offs.within(known.uid, sign_offs::GRACE);
}

/// What is kept in memory of a workload.
struct Workload {
    identity: WorkloadIdentity,
    state: State,
}

/// While it is the same, the same runs.
#[derive(PartialEq, Eq)]
struct State {
    uid: Box<str>,
    generation: i64,
}

/// Follows the workloads of a kind for ever, their metadata alone.
pub async fn workloads(context: Context, kind: &'static Recorded) {
    if *kind == ROLLOUT {
        until_served(&context, kind).await;
    }
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(context.live.client().clone(), &kind.resource());
    let keep = move |found: PartialObjectMeta<DynamicObject>| {
        let identity = kind.identity(&found);
        let meta = found.metadata;
        let state = State { uid: meta.uid.unwrap_or_default().into(), generation: meta.generation.unwrap_or_default() };
        Some(Workload { identity, state })
    };
    let mut known: HashMap<WorkloadIdentity, State> = HashMap::new();
    let mut seen = pin!(watch(api, kind.kind, None, keep));
    while let Some(seen) = seen.next().await {
        match seen {
            Seen::Applied(Workload { identity, state }) => {
                let same = known.get(&identity) == Some(&state);
                known.insert(identity.clone(), state);
                changed(&context, identity, same);
            }
            Seen::Gone(Workload { identity, .. }) => {
                known.remove(&identity);
                changed(&context, identity, false);
            }
            Seen::All(all) => {
                let mut before = std::mem::take(&mut known);
                for Workload { identity, state } in all {
                    if before.remove(&identity).as_ref() != Some(&state) {
                        changed(&context, identity.clone(), false);
                    }
                    known.insert(identity, state);
                }
                for gone in before.into_keys() {
                    changed(&context, gone, false);
                }
                context.look_at_all_requests();
            }
        }
    }
}

/// A change about it always wants to know, and so does a request about its namespace or anything in it, which may have
/// scaled it down. Its record is looked at for what runs, and now and then for its pods.
fn changed(context: &Shared, workload: WorkloadIdentity, same: bool) {
    let about = context.changes().about(&workload);
    for key in about {
        context.queues.change_requests.soon(key);
    }
    if !same {
        let within = context.requests().within(&workload.namespace);
        for name in within {
            context.queues.deletion_requests.within(name, GATHER);
        }
    }
    context.queues.rollout_records.within(workload, if same { PODS } else { Duration::ZERO });
}

/// A kind that not every cluster has may come later, and its absence is nothing to warn about.
async fn until_served(context: &Shared, kind: &Recorded) {
    loop {
        match context.live.serves(kind).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::debug!(kind = kind.kind, class = error.class(), "whether it is served is not known"),
        }
        tokio::time::sleep(SERVED).await;
    }
}
