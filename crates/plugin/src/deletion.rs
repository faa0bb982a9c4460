//! What somebody wants deleted: exactly which object, who has asked for that already, and whether anybody has to.

use std::cmp::Reverse;
use std::str::FromStr;

use foureyes_core::api::{DeletionRequest, Phase, Target, TargetKind};
use foureyes_core::domain::ready;
use foureyes_core::domain::request::Request as _;
use foureyes_core::reason::Code;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use kube::core::{ApiResource, GroupVersionKind};

use crate::cluster::{Cluster, Tried, call};
use crate::dry_run;
use crate::error::{Error, Result};
use crate::kinds::{Known, Named};
use crate::output::plain;
use crate::refusal::{code, would_be_lost};
use crate::wish::{not_needed, said};

const NAMING: &str = "name a claim as pvc/NAME, a namespace as ns/NAME, or what keeps data as volumesnapshot/NAME or backup.velero.io/NAME";

/// An object as somebody names it: `pvc/reports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    pub kind: TargetKind,
    pub name: String,
}

impl FromStr for Doomed {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let named: Named = text.parse().map_err(|_| NAMING)?;
        let kind = match named.kind.as_str() {
            "pvc" | "persistentvolumeclaim" | "persistentvolumeclaims" => TargetKind::PersistentVolumeClaim,
            "ns" | "namespace" | "namespaces" => TargetKind::Namespace,
            other => keeper(other).ok_or_else(|| {
                format!("{NAMING}; what runs is asked to go with `kubectl foureyes request change {text} --remove`")
            })?,
        };
        Ok(Self { kind, name: named.name })
    }
}

/// A kind that keeps data, as kubectl takes it: `volumesnapshot`, or `backups.velero.io` where others have such a name.
fn keeper(text: &str) -> Option<TargetKind> {
    let (name, group) = text.split_once('.').map_or((text, None), |(name, group)| (name, Some(group)));
    let kinds = TargetKind::ALL.into_iter().filter(|kind| !kind.is_in_use());
    let mut named = kinds.filter(|kind| {
        let short = match kind {
            TargetKind::PersistentVolume => "pv",
            TargetKind::VolumeSnapshot => "vs",
            TargetKind::VolumeSnapshotContent => "vsc",
            _ => kind.plural(),
        };
        let called = [kind.plural(), &kind.as_str().to_lowercase(), short].contains(&name);
        called && group.is_none_or(|group| group == kind.group())
    });
    named.next()
}

/// An object that is there.
#[derive(Debug)]
pub struct There {
    pub target: Target,
    pub created: Option<Timestamp>,
    /// It is being deleted.
    pub is_going: bool,
    known: Known,
}

impl There {
    pub async fn read(cluster: &Cluster, doomed: &Doomed) -> Result<Self> {
        let known = known(doomed.kind);
        let mut target = Target {
            api_version: known.resource.api_version.clone(),
            kind: doomed.kind,
            namespace: known.namespaced.then(|| cluster.namespace.clone()),
            name: doomed.name.clone(),
            uid: String::new(),
        };
        if !target.is_well_formed() {
            return Err(Error::Usage(format!("nothing can be called {}: {NAMING}", plain(&target.text()))));
        }
        let what = format!("the UID of {}, by which it is asked for, could not be read", target.text());
        let api = known.api(cluster.client.clone(), &cluster.namespace);
        let object = call(&what, api.get_opt(&doomed.name)).await?.ok_or_else(|| missing(&target))?;
        target.uid = object.metadata.uid.ok_or_else(|| Error::unreadable(target.text(), "it has no UID"))?;
        let created = object.metadata.creation_timestamp.map(|time| time.0);
        Ok(Self { target, created, is_going: object.metadata.deletion_timestamp.is_some(), known })
    }

    /// Deletes it as a dry run: whether the guard wants a request for it, it says itself.
    pub async fn tried(&self, cluster: &Cluster) -> Result<Tried> {
        let place = self.target.namespace.as_deref().unwrap_or(&cluster.namespace);
        let cluster = cluster.in_namespace(place);
        dry_run::removal(&cluster, &self.known, &self.target.name).await
    }
}

fn known(kind: TargetKind) -> Known {
    match kind {
        TargetKind::PersistentVolumeClaim => {
            Known { resource: ApiResource::erase::<PersistentVolumeClaim>(&()), namespaced: true }
        }
        TargetKind::Namespace => Known { resource: ApiResource::erase::<Namespace>(&()), namespaced: false },
        _ => {
            let (group, version) = (kind.group(), "v1");
            let gvk = GroupVersionKind::gvk(group, version, kind.as_str());
            Known { resource: ApiResource::from_gvk_with_plural(&gvk, kind.plural()), namespaced: kind.is_namespaced() }
        }
    }
}

fn missing(target: &Target) -> Error {
    let kind = target.kind.as_str();
    Error::Usage(match &target.namespace {
        Some(namespace) => format!(
            "there is no {kind} {} in namespace {namespace}: name another with -n, and see `kubectl -n {namespace} get pvc`",
            target.name
        ),
        None => format!("there is no {kind} {}: see `kubectl get namespaces`", target.name),
    })
}

/// The open requests about exactly one object.
#[derive(Debug, Default)]
pub struct Asked {
    /// The one that is nearest to the deletion.
    pub open: Option<DeletionRequest>,
    /// One that was signed off for less than is there now, so that it lets nothing go any more.
    pub outgrown: Option<DeletionRequest>,
}

impl Asked {
    pub async fn read(cluster: &Cluster, target: &Target) -> Result<Self> {
        Ok(Self::of(cluster.deletion_requests(&target.uid).await?, target))
    }

    fn of(requests: Vec<DeletionRequest>, target: &Target) -> Self {
        let is_open = |request: &DeletionRequest| {
            let taken_back = request.metadata.deletion_timestamp.is_some();
            request.spec.target == *target && !taken_back && !request.stage().is_over()
        };
        let open = requests.into_iter().filter(is_open);
        let (outgrown, open): (Vec<_>, Vec<_>) = open.partition(is_outgrown);
        Self { open: nearest(open), outgrown: nearest(outgrown) }
    }
}

fn is_outgrown(request: &DeletionRequest) -> bool {
    let inventory = request.status.as_ref().and_then(|status| status.inventory.as_ref());
    inventory.is_some_and(|inventory| inventory.frozen && !inventory.added.is_empty())
}

/// Of several as near as each other, the one that has waited longest.
fn nearest(requests: Vec<DeletionRequest>) -> Option<DeletionRequest> {
    let steps = |request: &DeletionRequest| match request.status.as_ref().and_then(|status| status.phase) {
        Some(Phase::Executing | Phase::Executable) => 2,
        Some(Phase::Approved) => 1,
        _ => 0,
    };
    requests.into_iter().min_by_key(|request| (Reverse(steps(request)), request.created()))
}

/// What the dry run of a deletion came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Judged {
    /// Why nobody has to be asked.
    pub not_needed: Option<String>,
    /// What is to be said before somebody asks.
    pub notes: Vec<String>,
}

/// Whether a request is what the deletion lacks; any other no is passed on, since no request would help.
pub fn judged(tried: Tried, target: &Target, has_outgrown: bool, anyway: bool) -> Result<Judged> {
    let text = target.text();
    match tried {
        Tried::Refused(refusal) if is_lacking(code(&refusal), has_outgrown) => {
            Ok(Judged { not_needed: None, notes: would_be_lost(&refusal).map(str::to_owned).into_iter().collect() })
        }
        Tried::Refused(refusal) => Err(Error::Refused(refusal)),
        Tried::Forbidden(why) => {
            let note = format!(
                "note: you may not delete {text} yourself, so it could not be tried whether it needs a request ({})",
                plain(&why)
            );
            Ok(Judged { not_needed: None, notes: vec![note] })
        }
        Tried::Allowed { warnings, .. } if anyway => Ok(Judged { not_needed: None, notes: said(warnings) }),
        Tried::Allowed { warnings, .. } => {
            let why = not_needed(&format!("request to delete {text}"), &warnings);
            let why = format!("{why}\nWhat deletes it:\n  {}", ready::delete(target));
            Ok(Judged { not_needed: Some(why), notes: said(warnings) })
        }
    }
}

/// Whether the refusal is one that another request can answer. What lacks a word about a request is about one that is
/// outgrown, or about one that was opened just now.
fn is_lacking(code: Option<&str>, has_outgrown: bool) -> bool {
    let is = |one: &Code| code == Some(one.as_str());
    [Code::DeletionNotRequested, Code::InventoryGrown, Code::RequestEnded].iter().any(is)
        || has_outgrown
            && [Code::SignOffMissing, Code::OnHold, Code::NotYetExecutable, Code::SecondPersonNeeded].iter().any(is)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::tests::deletion;
    use foureyes_core::domain::refusal::Refusal;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case("pvc/reports", Some(TargetKind::PersistentVolumeClaim))]
    #[case("PersistentVolumeClaim/reports", Some(TargetKind::PersistentVolumeClaim))]
    #[case("ns/reports", Some(TargetKind::Namespace))]
    #[case("namespaces/reports", Some(TargetKind::Namespace))]
    #[case("reports", None)]
    #[case("pvc/", None)]
    #[case("pv/reports", Some(TargetKind::PersistentVolume))]
    #[case("volumesnapshots/reports", Some(TargetKind::VolumeSnapshot))]
    #[case("VolumeSnapshotContent/reports", Some(TargetKind::VolumeSnapshotContent))]
    #[case("backup.velero.io/reports", Some(TargetKind::Backup))]
    #[case("backup.k8up.io/reports", None)]
    #[case("snapshots.k8up.io/reports", Some(TargetKind::Snapshot))]
    #[case("pvc/../reports", None)]
    fn claims_and_namespaces_are_named_by_their_kind(#[case] text: &str, #[case] kind: Option<TargetKind>) {
        assert_eq!(text.parse().ok(), kind.map(|kind| Doomed { kind, name: "reports".to_owned() }));
    }

    #[test]
    fn another_kind_is_told_where_it_is_asked_for() {
        let error = "deploy/web".parse::<Doomed>().unwrap_err();
        assert!(error.contains("pvc/NAME") && error.contains("request change deploy/web --remove"), "{error}");
    }

    fn open(name: &str, phase: &str, extra: &Value) -> DeletionRequest {
        let mut object = json!({"metadata": {"name": name}, "status": {"phase": phase}});
        json_patch::merge(&mut object, extra);
        deletion(&object)
    }

    fn chosen(requests: Vec<DeletionRequest>) -> (Option<String>, Option<String>) {
        let asked = Asked::of(requests, &deletion(&json!({})).spec.target);
        let name = |request: Option<DeletionRequest>| request.and_then(|request| request.metadata.name);
        (name(asked.open), name(asked.outgrown))
    }

    #[test]
    fn the_open_request_that_is_nearest_is_found() {
        let younger = json!({"metadata": {"creationTimestamp": "2026-11-21T10:00:00Z"}});
        let none = json!({});
        let pending = vec![open("b", "Pending", &younger), open("a", "Pending", &none)];
        assert_eq!(chosen(pending).0.as_deref(), Some("a"));
        let further =
            vec![open("a", "Pending", &none), open("b", "Executable", &younger), open("c", "Approved", &none)];
        assert_eq!(chosen(further).0.as_deref(), Some("b"));
        let new = deletion(&json!({"metadata": {"name": "new"}}));
        assert_eq!(chosen(vec![new]).0.as_deref(), Some("new"), "the controller has not seen it yet");
    }

    #[test]
    fn what_has_ended_or_is_about_another_object_is_none() {
        let other = json!({"spec": {"target": {"uid": "00000000-0000-4000-8000-000000000009"}}});
        let taken_back = json!({"metadata": {"deletionTimestamp": "2026-11-21T10:00:00Z"}});
        let requests = ["Executed", "Rejected", "Cancelled", "Expired"].map(|phase| open("x", phase, &json!({})));
        let more = [open("x", "Pending", &other), open("x", "Pending", &taken_back)];
        assert_eq!(chosen(requests.into_iter().chain(more).collect()), (None, None));
    }

    #[test]
    fn what_was_signed_off_for_less_does_not_stand_in_the_way() {
        let added = json!([{"kind": "PersistentVolumeClaim", "namespace": "old-shop", "name": "late", "uid": "w"}]);
        let inventory = json!({"digest": "d", "total": 1, "summary": "1 claim", "frozen": true, "added": added});
        let outgrown = open("old", "Executable", &json!({"status": {"inventory": inventory}}));
        assert_eq!(chosen(vec![outgrown.clone()]), (None, Some("old".to_owned())));
        let both = vec![outgrown, open("new", "Pending", &json!({}))];
        assert_eq!(chosen(both), (Some("new".to_owned()), Some("old".to_owned())));
    }

    fn refused(code: Code) -> Tried {
        let refusal = Refusal::new(code, "namespace/old-shop was not deleted").detail("Would be lost: claim a/b");
        Tried::Refused(refusal.to_string())
    }

    #[rstest]
    #[case(Code::DeletionNotRequested, false, true)]
    #[case(Code::InventoryGrown, false, true)]
    #[case(Code::RequestEnded, false, true)]
    #[case(Code::SignOffMissing, true, true)]
    #[case(Code::OnHold, true, true)]
    #[case(Code::SignOffMissing, false, false)]
    #[case(Code::NotYetExecutable, false, false)]
    #[case(Code::OwnNamespaceProtected, true, false)]
    #[case(Code::NotReady, true, false)]
    fn only_what_a_request_would_answer_is_asked_for(
        #[case] code: Code,
        #[case] has_outgrown: bool,
        #[case] asks: bool,
    ) {
        let target = deletion(&json!({})).spec.target;
        match judged(refused(code), &target, has_outgrown, false) {
            Ok(judged) => {
                assert!(asks);
                assert_eq!(judged, Judged { not_needed: None, notes: vec!["Would be lost: claim a/b".to_owned()] });
            }
            Err(error) => assert!(!asks && error.exit_code() == 1, "{error}"),
        }
    }

    #[test]
    fn another_webhooks_no_is_passed_on() {
        let target = deletion(&json!({})).spec.target;
        let error = judged(Tried::Refused("not on a Friday".to_owned()), &target, true, true).unwrap_err();
        assert_eq!(error.to_string(), "not on a Friday");
    }
}
