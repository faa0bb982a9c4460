//! One protection a file; here only which of them judges a review.

mod annotations;
mod claims;
mod definitions;
mod deletions;
mod namespaces;
mod policies;
mod requests;
mod sign_offs;

use std::sync::OnceLock;

use foureyes_core::api::{Author, GROUP};
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::index::{NamespaceEntry, Snapshot};
use foureyes_core::reason::Code;
use jiff::Timestamp;

use super::review::{Operation, Request};
use super::verdict::Verdict;
use crate::cluster::live::Live;

/// What every rule can look at.
pub struct Scene<'a> {
    pub request: &'a Request<'a>,
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

    /// The namespace as the index has it; one that it has not is not judged.
    fn namespace(&self, name: &str) -> Result<&NamespaceEntry, Refusal> {
        self.index.namespace(name).ok_or_else(|| {
            Refusal::new(Code::NotReady, format!("nothing was decided: namespace {name} has not been seen yet"))
        })
    }
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
        (GROUP, "signoffs", "", Operation::Create) => Box::pin(sign_offs::created(scene)).await,
        (GROUP, "signoffs", "", Operation::Update) => requests::updated(scene, "SignOff"),
        (GROUP, "signoffs", "", Operation::Delete) => Box::pin(sign_offs::deleted(scene)).await,
        (GROUP, "safetypolicies", "", _) => policies::written(scene),
        ("apiextensions.k8s.io", "customresourcedefinitions", "" | "status", Operation::Update) => {
            definitions::updated(scene)
        }
        ("apiextensions.k8s.io", "customresourcedefinitions", "", Operation::Delete) => definitions::deleted(scene),
        (group, resource, subresource, operation) => Err(Refusal::new(
            Code::ReviewUnexpected,
            format!("{} of {resource}.{group}/{subresource} is nothing that foureyes judges", operation.as_str()),
        )),
    }
}
