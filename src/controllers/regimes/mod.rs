//! What becomes of records when a namespace begins to be governed, or is governed more strictly: everything in it is
//! looked at once for that, and only then is it noted that this was done. The note is small: a namespace in which
//! rollouts are refused is not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foureyes_core::api::WorkloadIdentity;
use foureyes_core::domain::rollout::regime::{Regime, Regimes};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::time::Instant;

use super::context::{Context, Everywhere, Shared};
use super::error::ReconcileError;
use super::queue::Next;
use super::rollout_records;
use crate::cluster::live::ReadError;
use crate::cluster::{config_maps, workloads};
use crate::manifests::names::STATE_CONFIG;

/// Key of the note in the ConfigMap that says what the controller has begun.
const ROLLOUTS: &str = "rollouts";
/// Workloads looked at a time.
const AT_ONCE: usize = 8;
/// What is not done by then is done in another round, and what was done is noted before it.
const ROUND: Duration = Duration::from_secs(30);
const NOT_STARTED: Duration = Duration::from_secs(2);

/// What was noted; nothing while the installation goes on.
pub fn noted(state: &ConfigMap) -> Result<Option<Regimes>, ReadError> {
    let text = state.data.as_ref().and_then(|data| data.get(ROLLOUTS));
    let read = text.map(|text| serde_json::from_str(text)).transpose();
    read.map_err(|error| ReadError::Malformed { what: "ConfigMap foureyes-state", why: error.to_string() })
}

/// A namespace as it is now.
struct Namespace {
    name: String,
    uid: String,
    /// Nothing where a policy that applies can't be read.
    regime: Option<Regime>,
}

/// Reconciles all namespaces at once.
pub async fn reconcile(context: Context, _: Everywhere) -> Result<Next, ReconcileError> {
    if !context.is_started() {
        return Ok(Next::After(NOT_STARTED));
    }
    let state = context.live.state().await?;
    let before = noted(&state)?;
    let namespaces = namespaces(&context).await?;
    let is_new = |namespace: &&Namespace| {
        namespace.regime.is_some_and(|regime| Regimes::is_new(before.as_ref(), &namespace.uid, regime))
    };
    let new: BTreeMap<&str, &str> =
        namespaces.iter().filter(is_new).map(|namespace| (&*namespace.name, &*namespace.uid)).collect();
    let unfinished = act(&context, &new).await?;
    let now = namespaces.iter().map(|namespace| (namespace.uid.clone(), namespace.regime)).collect();
    let after = Regimes::next(before.as_ref(), &now, &unfinished);
    if before.as_ref() != Some(&after) {
        let text = serde_json::to_string(&after)
            .map_err(|error| ReadError::Malformed { what: "ConfigMap foureyes-state", why: error.to_string() })?;
        let set = BTreeMap::from([(ROLLOUTS, text)]);
        config_maps::update(context.live.client(), &context.namespace, STATE_CONFIG, &state, &set)
            .await
            .map_err(ReconcileError::write("how rollouts are governed can't be noted"))?;
        tracing::info!(namespaces = new.len(), unfinished = unfinished.len(), "what runs was looked at anew");
    }
    if unfinished.is_empty() { Ok(Next::Wait) } else { Err(ReconcileError::Overtaken("a round of looks")) }
}

async fn namespaces(context: &Shared) -> Result<Vec<Namespace>, ReconcileError> {
    let policies = context.policies.load_full();
    let read = context.live.namespaces(|meta| {
        let name = meta.name.unwrap_or_default();
        let labels = meta.labels.unwrap_or_default();
        let regime = Regime::of(&policies, &name, &labels).ok();
        Namespace { name, uid: meta.uid.unwrap_or_default(), regime }
    });
    Ok(read.await?)
}

/// Looks at everything in these namespaces, by name and UID; returns the UIDs of those in which something is left.
async fn act(context: &Shared, namespaces: &BTreeMap<&str, &str>) -> Result<BTreeSet<String>, ReconcileError> {
    let until = Instant::now() + ROUND;
    let mut all: Vec<WorkloadIdentity> = Vec::new();
    if !namespaces.is_empty() {
        for kind in workloads::recorded() {
            let found = context.live.workloads(kind).await?;
            all.extend(found.into_iter().filter(|workload| namespaces.contains_key(&*workload.namespace)));
        }
    }
    // One namespace after another, so that what is left is left in as few as possible.
    all.sort_unstable_by(|one, other| one.namespace.cmp(&other.namespace));
    let looks = stream::iter(all).map(|workload| async move {
        let looked = if Instant::now() < until {
            Box::pin(rollout_records::look(context, &workload, None)).await.map(|()| true)
        } else {
            Ok(false)
        };
        (workload, looked)
    });
    let mut unfinished = BTreeSet::new();
    let mut looks = std::pin::pin!(looks.buffer_unordered(AT_ONCE));
    while let Some((workload, looked)) = looks.next().await {
        let done = match looked {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%workload, class = error.class(), %error, "a workload could not be looked at");
                error.is_for_good()
            }
        };
        if !done && let Some(uid) = namespaces.get(&*workload.namespace) {
            unfinished.insert((*uid).to_owned());
        }
    }
    Ok(unfinished)
}
