//! One protection a file; here only which of them judges a review.

mod annotations;
mod catalogue;
mod changes;
mod claims;
mod definitions;
mod deletions;
mod namespaces;
mod opened;
mod policies;
mod requests;
mod retentions;
mod sign_offs;
mod volumes;
mod workloads;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use foureyes_core::api::{Author, BREAK_GLASS_GROUP, GROUP};
use foureyes_core::domain::policy::{Effective, PolicySet};
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::rollout::decide::collected;
use foureyes_core::index::{NamespaceEntry, Snapshot};
use foureyes_core::reason::Code;
use jiff::Timestamp;

use super::confirm::unread;
use super::review::{Operation, Request};
use super::verdict::{Verdict, both};
use crate::cluster::live::Live;

/// What every rule can look at.
pub struct Scene<'a> {
    pub request: &'a Request<'a>,
    /// The review that it is in, for rules that need all of an object.
    pub body: &'a [u8],
    /// Copied only where a rule needs more than the name.
    pub author: OnceLock<Author>,
    pub index: &'a Snapshot,
    pub live: &'a Live,
    /// Namespace of foureyes itself.
    pub own_namespace: &'a str,
    pub now: Timestamp,
}

impl Scene<'_> {
    pub fn author(&self) -> &Author {
        self.author.get_or_init(|| self.request.user_info.author())
    }

    pub fn dry_run(&self) -> bool {
        self.request.dry_run == Some(true)
    }

    /// Whether the caller is the controller of this installation.
    pub fn is_controller(&self) -> bool {
        let rest = self.request.user_info.username.strip_prefix("system:serviceaccount:");
        rest.and_then(|rest| rest.split_once(':')) == Some((self.own_namespace, "foureyes-controller"))
    }

    /// Whether the controller asks, every few seconds, only to see that deletions in `namespace` are judged: that is
    /// counted by itself, and stands in no log.
    fn is_probe(&self, namespace: &str) -> bool {
        self.dry_run() && namespace == self.own_namespace && self.is_controller()
    }

    /// Whatever is in a namespace that is going goes with it: its deletion was judged itself. Read live where the index
    /// says so.
    async fn gone_with_namespace(&self, name: &str) -> Result<Option<Proof>, Refusal> {
        if self.index.namespace(name).is_none_or(|entry| entry.going_since.is_none()) {
            return Ok(None);
        }
        let live = self.live.namespace(name).await.map_err(|error| unread(&error))?;
        Ok(live.filter(|live| live.metadata.deletion_timestamp.is_some()).map(|_| collected()))
    }

    /// Every namespace with its labels.
    fn namespaces(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, String>)> {
        self.index.namespaces().map(|entry| (&*entry.name, &entry.labels))
    }

    /// What applies in foureyes' own namespace, by which changes of what has no namespace are judged. Policies that
    /// can't be read are left out, for they are repaired by such a change.
    fn effective_here(&self, policies: &PolicySet) -> Result<Effective, Refusal> {
        let labels = self.index.namespace(self.own_namespace).map(|entry| entry.labels.clone()).unwrap_or_default();
        policies.readable().effective(&labels).map_err(|policy| {
            Refusal::new(Code::PolicyUndecodable, format!("the SafetyPolicy {} can't be read", policy.name))
        })
    }

    /// The namespace as the index has it, or as it is: what comes with a namespace comes at once after it.
    async fn place(&self, name: &str) -> Result<Cow<'_, NamespaceEntry>, Refusal> {
        if let Some(entry) = self.index.namespace(name) {
            return Ok(Cow::Borrowed(entry));
        }
        let live = self.live.namespace(name).await.map_err(|error| unread(&error))?;
        match live {
            Some(live) => Ok(Cow::Owned(NamespaceEntry::of(&live))),
            None => self.namespace(name).map(Cow::Borrowed),
        }
    }

    /// The namespace as the index has it; one that it has not is not judged.
    fn namespace(&self, name: &str) -> Result<&NamespaceEntry, Refusal> {
        self.index.namespace(name).ok_or_else(|| {
            Refusal::new(Code::NotReady, format!("nothing was decided: namespace {name} has not been seen yet"))
        })
    }
}

/// A StatefulSet runs pods and owns claims, so that two rules judge it. Break-glass passes what runs, and nothing that keeps
/// data.
async fn stateful_set(scene: &Scene<'_>) -> Verdict {
    let claims = match catalogue::row_of(scene) {
        Some(row) => catalogue::judged(scene, row).await?,
        None => return Err(unexpected(scene)),
    };
    if scene.author().groups.iter().any(|group| group == BREAK_GLASS_GROUP) {
        return Ok(claims);
    }
    let runs = match scene.request.operation {
        Operation::Create | Operation::Update => workloads::written(scene).await?,
        Operation::Delete => workloads::deleted(scene).await?,
        Operation::Connect => return Err(unexpected(scene)),
    };
    Ok(both(claims, runs))
}

fn unexpected(scene: &Scene<'_>) -> Refusal {
    let request = scene.request;
    let subresource = request.sub_resource.as_deref().unwrap_or_default();
    let (group, resource, operation) = (&*request.resource.group, &*request.resource.resource, request.operation);
    Refusal::new(
        Code::ReviewUnexpected,
        format!("{} of {resource}.{group}/{subresource} is nothing that foureyes judges", operation.as_str()),
    )
}

/// Judges a review. What no rule knows is refused.
pub async fn judge(scene: &Scene<'_>) -> Verdict {
    let request = scene.request;
    let subresource = request.sub_resource.as_deref().unwrap_or_default();
    // Boxed, because every review would carry the state of all their live reads about.
    match (&*request.resource.group, &*request.resource.resource, subresource, request.operation) {
        ("", "persistentvolumeclaims", "", Operation::Delete) => deletions::of_claim(scene).await,
        ("", "namespaces", "", Operation::Delete) => Box::pin(deletions::of_namespace(scene)).await,
        ("", "persistentvolumeclaims", "" | "status", Operation::Update) => Box::pin(claims::updated(scene)).await,
        ("", "namespaces", "" | "status" | "finalize", Operation::Update) => Box::pin(namespaces::updated(scene)).await,
        (GROUP, "deletionrequests", "", Operation::Create) => Box::pin(requests::created(scene)).await,
        (GROUP, "deletionrequests", "", Operation::Update) => requests::updated(scene, "DeletionRequest"),
        (GROUP, "deletionrequests", "", Operation::Delete) => Box::pin(requests::deleted(scene)).await,
        ("", "persistentvolumes", "", Operation::Create) => Box::pin(volumes::created(scene)).await,
        ("", "persistentvolumes", "" | "status", Operation::Update) => Box::pin(volumes::updated(scene)).await,
        ("", "persistentvolumes", "", Operation::Delete) => Box::pin(volumes::deleted(scene)).await,
        (GROUP, "backupretentions", "", Operation::Create) => Box::pin(retentions::created(scene)).await,
        (GROUP, "backupretentions", "", Operation::Update) => requests::updated(scene, "BackupRetention"),
        (GROUP, "backupretentions", "", Operation::Delete) => Box::pin(retentions::deleted(scene)).await,
        (GROUP, "changerequests", "", Operation::Create) => Box::pin(changes::created(scene)).await,
        (GROUP, "changerequests", "", Operation::Update) => requests::updated(scene, "ChangeRequest"),
        (GROUP, "changerequests", "", Operation::Delete) => Box::pin(changes::deleted(scene)).await,
        (GROUP, "signoffs", "", Operation::Create) => Box::pin(sign_offs::created(scene)).await,
        (GROUP, "signoffs", "", Operation::Update) => requests::updated(scene, "SignOff"),
        (GROUP, "signoffs", "", Operation::Delete) => Box::pin(sign_offs::deleted(scene)).await,
        (GROUP, "safetypolicies", "", _) => Box::pin(policies::written(scene)).await,
        ("apiextensions.k8s.io", "customresourcedefinitions", "" | "status", Operation::Update) => {
            Box::pin(definitions::updated(scene)).await
        }
        ("apiextensions.k8s.io", "customresourcedefinitions", "", Operation::Delete) => {
            Box::pin(definitions::deleted(scene)).await
        }
        ("apps", "statefulsets", "", _) => Box::pin(stateful_set(scene)).await,
        (_, _, "" | "status", _) if let Some(row) = catalogue::row_of(scene) => {
            Box::pin(catalogue::judged(scene, row)).await
        }
        ("", "pods", "" | "ephemeralcontainers", Operation::Update) => Box::pin(workloads::pod_updated(scene)).await,
        ("apps", "replicasets", "", Operation::Update) => {
            Box::pin(workloads::replica_set_updated(scene, ("apps", "ReplicaSet"))).await
        }
        ("", "replicationcontrollers", "", Operation::Update) => {
            Box::pin(workloads::replica_set_updated(scene, ("", "ReplicationController"))).await
        }
        (_, _, "", Operation::Create | Operation::Update) if workloads::is_one(scene) => {
            Box::pin(workloads::written(scene)).await
        }
        (_, _, "", Operation::Delete) if catalogue::is_additional(scene) => {
            Box::pin(catalogue::additional_deleted(scene)).await
        }
        (_, _, "", Operation::Delete) if workloads::is_one(scene) => Box::pin(workloads::deleted(scene)).await,
        _ => Err(unexpected(scene)),
    }
}
