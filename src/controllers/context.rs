//! What every reconciliation needs.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use foureyes_core::api::{Target, TargetKind, WorkloadIdentity};
use foureyes_core::domain::policy::PolicySet;

use super::changes::{ChangeKey, Changes};
use super::enforcement::Enforcement;
use super::kept_volumes::Volumes;
use super::queue::Queue;
use super::requests::Requests;
use super::retentions::Retentions;
use super::uses::Uses;
use crate::clock::Clock;
use crate::cluster::events::Events;
use crate::cluster::live::Live;
use crate::manifests::names;
use crate::metrics::Metrics;

/// Time for one call to the API server.
pub const CALL: Duration = Duration::from_secs(3);

/// What every reconciliation needs; clones share it.
pub type Context = Arc<Shared>;

/// See [`Context`].
pub struct Shared {
    /// Reads, with their deadlines.
    pub live: Live,
    /// Tells people what they wait for.
    pub events: Events,
    /// What time it is.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
    /// The namespace of foureyes.
    pub namespace: String,
    /// The controller's own username.
    pub account: String,
    /// The policies as last seen; a change puts every open request into its queue again.
    pub policies: ArcSwap<PolicySet>,
    /// Whether deletions and rollouts are judged, as last seen.
    pub enforcement: ArcSwap<Enforcement>,
    /// Where keys are put.
    pub queues: Queues,
    requests: Mutex<Requests>,
    changes: Mutex<Changes>,
    retentions: Mutex<Retentions>,
    uses: Mutex<Uses>,
    started: AtomicBool,
}

impl Shared {
    /// With nothing known yet.
    pub fn new(live: Live, events: Events, clock: Clock, metrics: Metrics, namespace: String, queues: Queues) -> Self {
        Self {
            live,
            events,
            clock,
            metrics,
            account: names::Component::Controller.username_in(&namespace),
            namespace,
            policies: ArcSwap::default(),
            enforcement: ArcSwap::default(),
            queues,
            requests: Mutex::default(),
            changes: Mutex::default(),
            retentions: Mutex::default(),
            uses: Mutex::default(),
            started: AtomicBool::new(false),
        }
    }

    /// The requests; a panic elsewhere leaves the maps whole, so a poisoned lock is read on.
    pub fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The changes, as with requests.
    pub fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The retentions, as with requests.
    pub fn retentions(&self) -> MutexGuard<'_, Retentions> {
        self.retentions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who uses what, as with requests.
    pub fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the first start is over.
    pub fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// The first start is over, for good.
    pub fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Counts what waits for supervision.
    pub fn count_unsupervised(&self) {
        let counts = self.requests().unsupervised(self.clock.now());
        for (reason, count) in counts {
            self.metrics.unsupervised(reason, count);
        }
    }

    /// Puts every open request into its queue.
    pub fn look_at_all_requests(&self) {
        let open = self.requests().unfinished();
        for name in open {
            self.queues.deletion_requests.soon(name);
        }
        let open = self.changes().open();
        for key in open {
            self.queues.change_requests.soon(key);
        }
        self.look_at_all_retentions();
    }

    /// Puts every retention that keeps something into its queue.
    pub fn look_at_all_retentions(&self) {
        let open = self.retentions().open();
        for name in open {
            self.queues.backup_retentions.soon(name);
        }
    }
}

/// A queue for each controller.
#[derive(Clone, Debug)]
pub struct Queues {
    /// Names of DeletionRequests.
    pub deletion_requests: Queue<Box<str>>,
    /// Changes, by name.
    pub change_requests: Queue<ChangeKey>,
    /// Names of BackupRetentions.
    pub backup_retentions: Queue<Box<str>>,
    /// Workloads, whose records are kept.
    pub rollout_records: Queue<WorkloadIdentity>,
    /// Webhook configurations of ours.
    pub releases: Queue<WorkloadIdentity>,
    /// All namespaces at once.
    pub regimes: Queue<Everywhere>,
    /// Objects that carry an approval.
    pub approvals: Queue<ObjectKey>,
    /// Names of namespaces that are going.
    pub leftovers: Queue<Box<str>>,
    /// Volumes that are kept whoever deletes their claims.
    pub kept_volumes: Queue<Volumes>,
    /// UIDs of requests that sign-offs are about.
    pub sign_offs: Queue<Box<str>>,
    /// Names of policies.
    pub safety_policies: Queue<Box<str>>,
}

/// The one key of what is looked at as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Everywhere;

impl fmt::Display for Everywhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("everywhere")
    }
}

/// A claim or a namespace, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Which of the two.
    pub kind: TargetKind,
    /// Of a claim.
    pub namespace: Option<Box<str>>,
    /// Its name.
    pub name: Box<str>,
}

impl ObjectKey {
    /// As the target of a request, once its UID is known.
    pub fn target(&self, uid: &str) -> Target {
        Target {
            api_version: "v1".to_owned(),
            kind: self.kind,
            namespace: self.namespace.as_deref().map(str::to_owned),
            name: self.name.to_string(),
            uid: uid.to_owned(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{namespace}/{}", self.kind.as_str(), self.name),
            None => write!(f, "{}/{}", self.kind.as_str(), self.name),
        }
    }
}
