//! Everything that a decision about one change rests on, read live.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foureyes_core::api::{ChangeRequest, ChangeTarget, SignOff, WorkloadIdentity};
use foureyes_core::domain::change::{Evidence, identity_of, rights_namespaces, rights_of_change};
use foureyes_core::domain::change_lifecycle::{Live as Target, Observed};
use foureyes_core::domain::judgement::Rights;
use foureyes_core::domain::policy::{Effective, PolicySet};
use foureyes_core::domain::rollout::location::locate;
use foureyes_core::domain::rollout::object::object_digest;
use foureyes_core::domain::rollout::progress::Progress;
use foureyes_core::seal::KeyRing;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use crate::cluster::access::Requests;
use crate::cluster::live::Live;
use crate::cluster::workloads::{Object, Workload, writer};
use crate::controllers::changes::place;
use crate::controllers::context::Shared;
use crate::controllers::error::ReconcileError;

/// Targets and namespaces read at a time.
const AT_ONCE: usize = 8;
/// Stands for the digest of what can't be read: equal to none.
const UNREADABLE: &str = "unknown";

/// What was read.
pub struct Facts {
    pub request: ChangeRequest,
    /// What the targets are, in the order of the spec; nothing where the request may not name them.
    pub identities: Vec<Option<WorkloadIdentity>>,
    sign_offs: Vec<SignOff>,
    ring: KeyRing,
    policies: Arc<PolicySet>,
    effective: Effective,
    rights: Rights,
    targets: Vec<Option<Target>>,
    own_namespace: String,
}

impl Facts {
    pub fn observed(&self) -> Observed<'_> {
        Observed { evidence: self.evidence(&self.effective), targets: &self.targets }
    }

    /// The evidence where this applies.
    pub fn evidence<'a>(&'a self, effective: &'a Effective) -> Evidence<'a> {
        Evidence {
            request: &self.request,
            sign_offs: &self.sign_offs,
            ring: &self.ring,
            policies: &self.policies,
            effective,
            rights: &self.rights,
            own_namespace: &self.own_namespace,
        }
    }
}

/// Reads it.
pub async fn gather(context: &Shared, request: ChangeRequest) -> Result<Facts, ReconcileError> {
    let (live, own) = (&context.live, context.namespace.as_str());
    let policies = context.policies.load_full();
    let uid = request.metadata.uid.as_deref().unwrap_or_default();
    let (ring, sign_offs) = tokio::try_join!(live.key_ring(), live.sign_offs(uid))?;
    let identities: Vec<Option<WorkloadIdentity>> =
        request.spec.targets.iter().map(|target| identity_of(&request, target, own)).collect();
    let home = request.metadata.namespace.as_deref().unwrap_or_default();
    let effective = effective(live, &policies, &identities, home).await?;
    let needed = rights_of_change(&request, &sign_offs);
    let places = rights_namespaces(&request, own);
    let rights = live.rights(&needed, Requests::Changes, &places).await?;
    let pairs: Vec<(ChangeTarget, Option<WorkloadIdentity>)> =
        request.spec.targets.iter().cloned().zip(identities.iter().cloned()).collect();
    let targets = stream::iter(pairs)
        .map(|(named, identity)| {
            let policies = &policies;
            async move { target(live, policies, &named, identity.as_ref()).await }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let own_namespace = own.to_owned();
    Ok(Facts { request, identities, sign_offs, ring, policies, effective, rights, targets, own_namespace })
}

/// As strict as the strictest place that the change reaches; of one that is gone only what holds everywhere is known.
async fn effective(
    live: &Live,
    policies: &PolicySet,
    identities: &[Option<WorkloadIdentity>],
    home: &str,
) -> Result<Effective, ReconcileError> {
    let mut places: BTreeSet<&str> = identities.iter().flatten().map(place).collect();
    if places.is_empty() {
        places.insert(home);
    }
    let places: Vec<String> = places.into_iter().map(str::to_owned).collect();
    let all: Vec<Effective> = stream::iter(places)
        .map(|place| async move {
            let namespace = live.namespace(&place).await?;
            let labels = namespace.and_then(|namespace| namespace.metadata.labels).unwrap_or_default();
            policies.effective(&labels).map_err(ReconcileError::Policy)
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let strictest = all.into_iter().reduce(|one, other| one.and(&other));
    strictest.map_or_else(|| policies.effective(&BTreeMap::new()).map_err(ReconcileError::Policy), Ok)
}

/// A target as it is now, with the digest by which its kind is named.
async fn target(
    live: &Live,
    policies: &PolicySet,
    named: &ChangeTarget,
    identity: Option<&WorkloadIdentity>,
) -> Result<Option<Target>, ReconcileError> {
    let Some(identity) = identity.filter(|_| named.is_well_formed()) else {
        return Ok(Some(unreadable()));
    };
    let version = named.api_version.rsplit('/').next().unwrap_or_default();
    let object = match live.object(identity, version).await? {
        Object::Gone => return Ok(None),
        Object::Unreadable => return Ok(Some(unreadable())),
        Object::Is(object) => object,
    };
    Ok(Some(reduced(policies, identity, &object)))
}

/// Something is there, and nothing follows from it: neither that it came nor that it went.
fn unreadable() -> Target {
    Target { digest: UNREADABLE.to_owned(), images: BTreeMap::new(), progress: Progress::Running, by: None }
}

fn reduced(policies: &PolicySet, identity: &WorkloadIdentity, object: &Value) -> Target {
    let resources = &policies.floor().rollout_resources;
    let Some(location) = locate(&identity.group, &identity.kind, resources) else {
        let digest = object_digest(object).unwrap_or_else(|_| UNREADABLE.to_owned());
        return Target { digest, images: BTreeMap::new(), progress: Progress::Complete, by: writer(object) };
    };
    // What has no digest was signed off by nobody.
    let read = Workload::of(&identity.kind, object, &location).ok();
    let target = read.and_then(|workload| {
        let Workload { template, progress, by, .. } = workload;
        Some(Target { digest: template.digest().ok()?, images: template.images(), progress, by })
    });
    target.unwrap_or_else(unreadable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn identity(group: &str, kind: &str) -> WorkloadIdentity {
        let [group, kind, namespace, name] = [group, kind, "shop", "web"].map(str::to_owned);
        WorkloadIdentity { group, kind, namespace, name }
    }

    #[test]
    fn each_kind_is_named_by_its_own_digest_and_what_has_none_by_nothing() {
        let policies = PolicySet::default();
        let template = json!({"spec": {"containers": [{"name": "web", "image": "web:1"}]}});
        let deployment = json!({"metadata": {"generation": 1}, "spec": {"template": template}});
        let target = reduced(&policies, &identity("apps", "Deployment"), &deployment);
        assert!(target.digest.starts_with("template/v1:"), "{}", target.digest);
        assert_eq!(target.images["web"], "web:1");
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}});
        assert!(reduced(&policies, &identity("", "ConfigMap"), &other).digest.starts_with("object/v1:"));
        let broken = json!({"spec": {"template": {"spec": {"priority": 9_007_199_254_740_993_u64}}}});
        assert_eq!(reduced(&policies, &identity("apps", "Deployment"), &broken), unreadable());
        assert_eq!(reduced(&policies, &identity("apps", "Deployment"), &json!({"spec": {}})), unreadable());
    }
}
