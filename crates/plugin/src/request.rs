//! The request that a name means, of either kind, and the digest that a sign-off of it names.

use std::collections::BTreeSet;
use std::str::FromStr;

use foureyes_core::api::{
    ChangePhase, ChangeRequest, DeletionRequest, Phase, Requester, SignOffSummary, Subject, is_name,
};
use foureyes_core::domain::change::rights_namespaces;
use foureyes_core::domain::inventory::prove_items;
use foureyes_core::domain::request::{Request as _, Stage};
use foureyes_core::domain::statement::{request_digest, subject_digest};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;

use crate::cluster::{Cluster, call};
use crate::error::{Error, Result};

/// Of which kind a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Change,
    Deletion,
}

/// A request as somebody names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub kind: Option<Kind>,
    pub name: String,
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            None => (None, text),
            Some((kind, name)) => {
                let kind = kind.strip_suffix(".foureyes.dev").unwrap_or(kind).to_ascii_lowercase();
                let kind = match kind.as_str() {
                    "chg" | "change" | "changerequest" | "changerequests" => Kind::Change,
                    "del" | "deletion" | "deletionrequest" | "deletionrequests" => Kind::Deletion,
                    _ => return Err("name a request as NAME, chg/NAME or del/NAME".to_owned()),
                };
                (Some(kind), name)
            }
        };
        if !is_name(name) {
            return Err("no request can be called so: names have lower-case letters, digits, '-' and '.'".to_owned());
        }
        Ok(Self { kind, name: name.to_owned() })
    }
}

/// A request of either kind, as it was read.
#[derive(Clone, Debug)]
pub enum Request {
    Change(Box<ChangeRequest>),
    Deletion(Box<DeletionRequest>),
}

/// Reads the request that a name means.
pub async fn find(cluster: &Cluster, reference: &Reference) -> Result<Request> {
    let name = &reference.name;
    let change = async {
        let api: Api<ChangeRequest> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        call(&format!("ChangeRequest {name} could not be read"), api.get_opt(name)).await
    };
    let deletion = async {
        let api: Api<DeletionRequest> = Api::all(cluster.client.clone());
        call(&format!("DeletionRequest {name} could not be read"), api.get_opt(name)).await
    };
    let (change, deletion) = match reference.kind {
        Some(Kind::Change) => (change.await?, None),
        Some(Kind::Deletion) => (None, deletion.await?),
        None => tokio::try_join!(change, deletion)?,
    };
    choose(reference, &cluster.namespace, change, deletion)
}

fn choose(
    reference: &Reference,
    namespace: &str,
    change: Option<ChangeRequest>,
    deletion: Option<DeletionRequest>,
) -> Result<Request> {
    let name = &reference.name;
    match (change, deletion) {
        (Some(change), None) => Ok(Request::Change(Box::new(change))),
        (None, Some(deletion)) => Ok(Request::Deletion(Box::new(deletion))),
        (Some(_), Some(_)) => {
            Err(Error::Usage(format!("there are two requests called {name}: say chg/{name} or del/{name}")))
        }
        (None, None) => {
            let changes = format!("no ChangeRequest {name} in namespace {namespace}");
            let missing = match reference.kind {
                Some(Kind::Change) => changes,
                Some(Kind::Deletion) => format!("no DeletionRequest {name}"),
                None => format!("{changes}, and no DeletionRequest {name}"),
            };
            Err(Error::Usage(format!("there is {missing}: see `kubectl foureyes status -A` for what is open")))
        }
    }
}

impl Request {
    /// `chg/web-1`, as the plugin takes it.
    pub fn label(&self) -> String {
        match self {
            Self::Change(_) => format!("chg/{}", self.name()),
            Self::Deletion(_) => format!("del/{}", self.name()),
        }
    }

    /// `changerequest.foureyes.dev/web-1`, as kubectl takes it.
    pub fn full_name(&self) -> String {
        format!("{}.foureyes.dev/{}", self.kind().to_lowercase(), self.name())
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Change(_) => ChangeRequest::KIND,
            Self::Deletion(_) => DeletionRequest::KIND,
        }
    }

    /// The resource on whose subresource `signoff` rights are held.
    pub const fn resource(&self) -> &'static str {
        match self {
            Self::Change(_) => "changerequests",
            Self::Deletion(_) => "deletionrequests",
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Change(request) => request.name(),
            Self::Deletion(request) => request.name(),
        }
    }

    pub fn uid(&self) -> &str {
        match self {
            Self::Change(request) => request.uid(),
            Self::Deletion(request) => request.uid(),
        }
    }

    /// The request's own namespace, of a deletion its target's.
    pub fn place(&self) -> &str {
        match self {
            Self::Change(request) => request.place(),
            Self::Deletion(request) => request.place(),
        }
    }

    /// The namespaces in which a sign-off needs its right.
    pub fn rights_namespaces(&self, own_namespace: &str) -> BTreeSet<String> {
        match self {
            Self::Change(request) => rights_namespaces(request, own_namespace),
            Self::Deletion(request) => BTreeSet::from([request.place().to_owned()]),
        }
    }

    pub fn created(&self) -> Option<Timestamp> {
        match self {
            Self::Change(request) => request.created(),
            Self::Deletion(request) => request.created(),
        }
    }

    pub fn subject(&self) -> Result<Subject> {
        let subject = match self {
            Self::Change(request) => request.subject(),
            Self::Deletion(request) => request.subject(),
        };
        subject.ok_or_else(|| Error::unreadable(self.label(), "it has no UID"))
    }

    pub fn stage(&self) -> Stage {
        match self {
            Self::Change(request) => request.stage(),
            Self::Deletion(request) => request.stage(),
        }
    }

    pub fn phase(&self) -> &'static str {
        match self {
            Self::Change(request) => request.phase(),
            Self::Deletion(request) => request.phase(),
        }
    }

    /// Whether it still waits for people to sign it off.
    pub fn is_pending(&self) -> bool {
        self.phase() == ChangePhase::Pending.as_str()
    }

    /// Whether it waits only for somebody to do it.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Change(_) => self.phase() == ChangePhase::Approved.as_str(),
            Self::Deletion(_) => self.phase() == Phase::Executable.as_str(),
        }
    }

    pub fn requester(&self) -> Option<&Requester> {
        match self {
            Self::Change(request) => request.spec.requester.as_ref(),
            Self::Deletion(request) => request.spec.requester.as_ref(),
        }
    }

    /// Who asked, as the controller has proven it, else as it is stated.
    pub fn asked_by(&self) -> String {
        let proven = match self {
            Self::Change(request) => request.status.as_ref().and_then(|status| status.requested_by.clone()),
            Self::Deletion(request) => request.status.as_ref().and_then(|status| status.requested_by.clone()),
        };
        let stated = || self.requester().map(|requester| requester.author.username.clone());
        proven.or_else(stated).unwrap_or_else(|| "nobody".to_owned())
    }

    pub fn title(&self) -> &str {
        match self {
            Self::Change(request) => &request.spec.title,
            Self::Deletion(request) => &request.spec.reason,
        }
    }

    /// `deployment/web`, `pvc/shop/reports`.
    pub fn target(&self) -> String {
        match self {
            Self::Change(request) => foureyes_core::domain::change_asked::text(request),
            Self::Deletion(request) => request.spec.target.text(),
        }
    }

    pub fn sign_offs(&self) -> Option<&SignOffSummary> {
        match self {
            Self::Change(request) => request.status.as_ref()?.sign_offs.as_ref(),
            Self::Deletion(request) => request.status.as_ref()?.sign_offs.as_ref(),
        }
    }

    pub fn waiting_for(&self) -> Option<&str> {
        match self {
            Self::Change(request) => request.status.as_ref()?.waiting_for.as_deref(),
            Self::Deletion(request) => request.status.as_ref()?.waiting_for.as_deref(),
        }
    }

    pub fn conditions(&self) -> &[Condition] {
        match self {
            Self::Change(request) => request.status.as_ref().map(|status| status.conditions.as_slice()),
            Self::Deletion(request) => request.status.as_ref().map(|status| status.conditions.as_slice()),
        }
        .unwrap_or_default()
    }

    /// The digest that a sign-off names, made here from what was read: only when it is the one that the controller
    /// states is what is shown also what is signed.
    pub fn digest(&self) -> Result<String> {
        let unknown = || {
            Error::Refused(format!(
                "{} can't be signed off yet: the controller has not said what it comes to; repeat in a moment",
                self.label()
            ))
        };
        let differs = || {
            Error::Refused(format!(
                "{} was not signed off: its status states another digest than its content has; look at it with `kubectl get {} -o yaml`",
                self.label(),
                self.full_name()
            ))
        };
        let unreadable = |error: foureyes_core::digest::DigestError| Error::unreadable(self.label(), error);
        let (made, stated) = match self {
            Self::Change(request) => {
                (request_digest(&request.spec).map_err(unreadable)?, request.current_digest().ok_or_else(unknown)?)
            }
            Self::Deletion(request) => {
                let stated = request.current_digest().ok_or_else(unknown)?;
                let inventory = request.status.as_ref().and_then(|status| status.inventory.as_ref());
                let inventory = inventory.ok_or_else(unknown)?;
                prove_items(inventory).map_err(|_| differs())?;
                let asked = request_digest(&request.spec).map_err(unreadable)?;
                (subject_digest(&asked, &inventory.digest).map_err(unreadable)?, stated)
            }
        };
        if made == stated { Ok(made) } else { Err(differs()) }
    }

    pub fn json(&self) -> Result<serde_json::Value> {
        let value = match self {
            Self::Change(request) => serde_json::to_value(request),
            Self::Deletion(request) => serde_json::to_value(request),
        };
        value.map_err(|error| Error::unreadable(self.label(), error))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    pub(crate) fn change(extra: &serde_json::Value) -> ChangeRequest {
        let mut object = json!({
            "apiVersion": "foureyes.dev/v1alpha1",
            "kind": "ChangeRequest",
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "00000000-0000-4000-8000-000000000001",
                "creationTimestamp": "2026-11-20T10:00:00Z"},
            "spec": {
                "type": "Normal", "title": "roll out Deployment web",
                "targets": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "action": "Apply",
                    "images": {"web": "registry/web:2"}}],
                "requester": {"username": "alice", "at": "2026-11-20T10:00:00Z"},
            },
        });
        json_patch::merge(&mut object, extra);
        serde_json::from_value(object).unwrap()
    }

    pub(crate) fn deletion(extra: &serde_json::Value) -> DeletionRequest {
        let mut object = json!({
            "apiVersion": "foureyes.dev/v1alpha1",
            "kind": "DeletionRequest",
            "metadata": {"name": "web-1", "uid": "00000000-0000-4000-8000-000000000002",
                "creationTimestamp": "2026-11-20T10:00:00Z"},
            "spec": {
                "target": {"apiVersion": "v1", "kind": "Namespace", "name": "old-shop",
                    "uid": "00000000-0000-4000-8000-000000000003"},
                "reason": "the new shop runs",
            },
        });
        json_patch::merge(&mut object, extra);
        serde_json::from_value(object).unwrap()
    }

    pub(crate) fn boxed(change: ChangeRequest) -> Request {
        Request::Change(Box::new(change))
    }

    #[rstest]
    #[case("web-1", None)]
    #[case("chg/web-1", Some(Kind::Change))]
    #[case("changerequest.foureyes.dev/web-1", Some(Kind::Change))]
    #[case("ChangeRequest/web-1", Some(Kind::Change))]
    #[case("del/web-1", Some(Kind::Deletion))]
    #[case("deletionrequests/web-1", Some(Kind::Deletion))]
    fn names(#[case] text: &str, #[case] kind: Option<Kind>) {
        assert_eq!(text.parse(), Ok(Reference { kind, name: "web-1".to_owned() }));
    }

    #[rstest]
    #[case("")]
    #[case("deploy/web")]
    #[case("chg/")]
    #[case("chg/a/b")]
    #[case("Web")]
    #[case("a?x=y")]
    fn what_is_no_name(#[case] text: &str) {
        assert!(text.parse::<Reference>().is_err());
    }

    #[test]
    fn a_bare_name_is_looked_up_among_both_and_must_mean_one() {
        let bare: Reference = "web-1".parse().unwrap();
        let (chg, del) = (|| Some(change(&json!({}))), || Some(deletion(&json!({}))));
        assert_eq!(choose(&bare, "shop", chg(), None).unwrap().label(), "chg/web-1");
        assert_eq!(choose(&bare, "shop", None, del()).unwrap().label(), "del/web-1");
        let two = choose(&bare, "shop", chg(), del()).unwrap_err();
        assert!(two.to_string().contains("chg/web-1 or del/web-1"));
        assert_eq!(two.exit_code(), 2);
        let none = choose(&bare, "shop", None, None).unwrap_err().to_string();
        assert!(none.contains("namespace shop") && none.contains("status -A"), "{none}");
    }

    #[test]
    fn what_is_signed_is_the_digest_of_what_was_read() {
        let bare = boxed(change(&json!({})));
        assert!(bare.digest().unwrap_err().to_string().contains("repeat in a moment"));
        let Request::Change(request) = &bare else { return };
        let digest = request_digest(&request.spec).unwrap();
        let stated = boxed(change(&json!({"status": {"requestDigest": digest}})));
        assert_eq!(stated.digest().unwrap(), digest);
        // A status that states another digest than the spec has makes nobody sign it.
        let other = json!({"status": {"requestDigest": digest}, "spec": {"title": "something else"}});
        let error = boxed(change(&other)).digest().unwrap_err();
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn an_inventory_that_does_not_come_to_its_digest_is_not_signed() {
        let status = json!({"status": {"subjectDigest": "subject/v1:sha256:00", "inventory": {
            "digest": "inventory/v1:sha256:00", "total": 0, "summary": "no data"}}});
        assert!(Request::Deletion(Box::new(deletion(&status))).digest().is_err());
    }
}
