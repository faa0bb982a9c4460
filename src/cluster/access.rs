//! Who holds a right on requests: SubjectAccessReviews with all that was recorded about the author (facts 3, 4).

use std::collections::BTreeSet;

use foureyes_core::api::{Author, GROUP};
use foureyes_core::domain::judgement::{Right, Rights};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;

use super::live::{Live, ReadError};

/// Reviews asked at a time.
const AT_ONCE: usize = 8;

/// The kinds on whose subresource `signoff` a right is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests {
    Deletions,
    Changes,
    Retentions,
}

impl Requests {
    const fn resource(self) -> &'static str {
        match self {
            Self::Deletions => "deletionrequests",
            Self::Changes => "changerequests",
            Self::Retentions => "backupretentions",
        }
    }
}

impl Live {
    /// Whether `author` holds `right` on the subresource `signoff` of this kind in `namespace`; the empty one
    /// stands for the whole cluster.
    pub async fn may(&self, author: &Author, right: Right, on: Requests, namespace: &str) -> Result<bool, ReadError> {
        let attributes = ResourceAttributes {
            group: Some(GROUP.to_owned()),
            resource: Some(on.resource().to_owned()),
            subresource: Some("signoff".to_owned()),
            verb: Some(right.verb().to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ResourceAttributes::default()
        };
        self.may_do(author, attributes).await
    }

    /// Whether `author` may do this, whatever it is.
    pub(super) async fn may_do(&self, author: &Author, attributes: ResourceAttributes) -> Result<bool, ReadError> {
        let api: Api<SubjectAccessReview> = Api::all(self.client().clone());
        let review = question(author, attributes);
        let answer = self.call("SubjectAccessReview", api.create(&PostParams::default(), &review)).await?;
        // `evaluationError` is no reason against it: RBAC sets it for a binding to a role that is gone.
        Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }

    /// Whether `author` holds `right` in every one of `namespaces`. In none is nowhere.
    pub async fn may_everywhere(
        &self,
        author: &Author,
        right: Right,
        on: Requests,
        namespaces: &BTreeSet<String>,
    ) -> Result<bool, ReadError> {
        let answers: Vec<bool> = stream::iter(namespaces.iter().cloned())
            .map(|namespace| async move { self.may(author, right, on, &namespace).await })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(!answers.is_empty() && answers.into_iter().all(|held| held))
    }

    /// The answers for everybody in `needed`, in all of `namespaces`; one question that can't be answered leaves all of
    /// them open.
    pub async fn rights(
        &self,
        needed: &[(Author, Right)],
        on: Requests,
        namespaces: &BTreeSet<String>,
    ) -> Result<Rights, ReadError> {
        let answers: Vec<bool> = stream::iter(needed.to_vec())
            .map(|(author, right)| async move { self.may_everywhere(&author, right, on, namespaces).await })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut rights = Rights::default();
        for ((author, right), held) in needed.iter().zip(answers) {
            rights.record(author, *right, held);
        }
        Ok(rights)
    }
}

fn question(author: &Author, attributes: ResourceAttributes) -> SubjectAccessReview {
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(author.username.clone()),
            uid: author.uid.clone(),
            groups: Some(author.groups.clone()),
            extra: Some(author.extra.clone()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}
