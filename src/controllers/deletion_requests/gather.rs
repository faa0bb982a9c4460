//! Everything that a decision about one request rests on, read live.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use foureyes_core::api::{DeletionRequest, Keeper, NamedBackup, Phase, SignOff, TargetKind};
use foureyes_core::domain::backup;
use foureyes_core::domain::catalogue::handle_of;
use foureyes_core::domain::inventory::{ApprovedItems, Claim, Inventory};
use foureyes_core::domain::judgement::{Rights, rights_needed};
use foureyes_core::domain::kept::{content_keeper, keeper};
use foureyes_core::domain::lifecycle::{Observed, TargetState};
use foureyes_core::domain::policy::{Effective, PolicySet};
use foureyes_core::domain::quiet::Usage;
use foureyes_core::domain::shutdown::Users;
use foureyes_core::domain::statement::ApprovalRecord;
use foureyes_core::domain::supervision::Found;
use foureyes_core::seal::KeyRing;
use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use kube::api::{DynamicObject, ObjectMeta};

use super::{compare, shutdown};
use crate::cluster::access::Requests;
use crate::cluster::live::{Live, ReadError, record as record_of};
use crate::cluster::pods::Running;
use crate::controllers::context::Shared;
use crate::controllers::error::ReconcileError;
use crate::controllers::uses::Used;

/// What was read.
pub struct Facts {
    pub request: DeletionRequest,
    sign_offs: Vec<SignOff>,
    record: Option<ApprovalRecord>,
    ring: KeyRing,
    policies: Arc<PolicySet>,
    effective: Effective,
    rights: Rights,
    target: TargetState,
    labels: BTreeMap<String, String>,
    inventory: Inventory,
    usage: Usage,
    users: Option<Users>,
    outlived: Vec<Keeper>,
    found: Found,
    bills: Vec<String>,
    asked_elsewhere: bool,
    scaled_elsewhere: BTreeSet<Box<str>>,
    backups: Vec<(NamedBackup, backup::Found)>,
    born: Option<Timestamp>,
}

impl Facts {
    pub fn observed(&self) -> Observed<'_> {
        Observed {
            request: &self.request,
            sign_offs: &self.sign_offs,
            record: self.record.as_ref(),
            ring: &self.ring,
            policies: &self.policies,
            effective: &self.effective,
            rights: &self.rights,
            target: self.target,
            labels: &self.labels,
            live: &self.inventory,
            usage: &self.usage,
            users: self.users.as_ref(),
            outlived: &self.outlived,
            found: &self.found,
            bills: &self.bills,
            asked_elsewhere: self.asked_elsewhere,
            scaled_elsewhere: &self.scaled_elsewhere,
            backups: &self.backups,
            born: self.born,
        }
    }
}

/// Reads it.
pub async fn gather(context: &Shared, request: DeletionRequest) -> Result<Facts, ReconcileError> {
    let live = &context.live;
    let place = request.spec.target.rights_namespace();
    let uid = request.metadata.uid.as_deref().unwrap_or_default();
    let (ring, sign_offs, namespace, annotated) =
        tokio::try_join!(live.key_ring(), live.sign_offs(uid), live.namespace(place), claim(live, &request),)?;
    let claim = annotated.as_ref().map(Claim::of);
    let policies = context.policies.load_full();
    // Of a namespace that is gone nothing is known but what holds everywhere; nothing is released by that.
    let labels = namespace.as_ref().and_then(|namespace| namespace.metadata.labels.clone()).unwrap_or_default();
    let effective = policies.effective(&labels).map_err(ReconcileError::Policy)?;
    let keeper = match request.spec.target.kind {
        kind if kind.is_in_use() => None,
        _ => live.target(&request.spec.target).await?,
    };
    let target = match request.spec.target.kind {
        TargetKind::PersistentVolumeClaim => claim_state(claim.as_ref(), &request.spec.target.uid),
        TargetKind::Namespace => {
            state(namespace.as_ref().map(|namespace| &namespace.metadata), &request.spec.target.uid)
        }
        _ => state(keeper.as_ref().map(|keeper| &keeper.metadata), &request.spec.target.uid),
    };
    let annotated = match request.spec.target.kind {
        TargetKind::PersistentVolumeClaim => annotated.as_ref().map(|claim| &claim.metadata),
        TargetKind::Namespace => namespace.as_ref().map(|namespace| &namespace.metadata),
        // Only claims and namespaces are annotated: that is one approval, and this takes two.
        _ => None,
    };
    // A record that does not prove is none; it is not said who seems to have made it.
    let record = annotated
        .and_then(record_of)
        .and_then(|text| ApprovalRecord::prove(&ring, text, &request.spec.target.uid).ok());
    let is_signed_off = !sign_offs.is_empty() || record.is_some();
    let born = annotated.and_then(|meta| meta.creation_timestamp.as_ref()).map(|time| time.0);
    let (rights, inventory, (usage, running), outlived, bills, backups) = tokio::try_join!(
        rights(live, target, namespace.as_ref(), &sign_offs, record.as_ref(), place),
        inventory(live, &request, target, (claim.as_ref(), keeper.as_ref()), &policies),
        usage(context, &request, target, is_signed_off),
        outlived(live, &request, target),
        compare::bills(live, &request, target),
        live.named_backups(&request.spec.backups),
    )?;
    let users = shutdown::users(context, &request, target, &ring, &policies, &running).boxed().await?;
    let found = compare::found(live, &request, target, &inventory, (namespace.is_some(), &sign_offs)).await?;
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let scaled_elsewhere = context.requests().scaled_elsewhere(name, &request.spec.target);
    let asked_elsewhere = context.requests().asked_elsewhere(name, &request.spec.target);
    Ok(Facts {
        request,
        sign_offs,
        record,
        ring,
        policies,
        effective,
        rights,
        target,
        labels,
        inventory,
        usage,
        users,
        outlived,
        found,
        bills,
        asked_elsewhere,
        scaled_elsewhere,
        backups,
        born,
    })
}

/// Who uses the target: pods are read live, so that what the watch has not told yet is not missed.
async fn usage(
    context: &Shared,
    request: &DeletionRequest,
    target: TargetState,
    is_signed_off: bool,
) -> Result<(Usage, Vec<Running>), ReadError> {
    let about = &request.spec.target;
    // Whatever an earlier process has counted is taken over before this one writes anything.
    let uid = request.metadata.uid.as_deref().unwrap_or_default();
    let counted = || {
        let quiet = request.status.as_ref().and_then(|status| status.quiet.as_ref());
        quiet.and_then(|quiet| quiet.observed.parse().ok()).unwrap_or_default()
    };
    context.uses().carry(uid, counted);
    if target != TargetState::Live || !is_signed_off {
        return Ok((Usage::default(), Vec::new()));
    }
    if !about.kind.is_in_use() {
        // No pod uses a snapshot or a backup.
        let unused = Usage { idle: Some(SignedDuration::ZERO), never_used: true, ..Usage::default() };
        return Ok((unused, Vec::new()));
    }
    let claim = (about.kind == TargetKind::PersistentVolumeClaim).then_some(about.name.as_str());
    let mut pods = context.live.pods(about.rights_namespace()).await?;
    pods.retain(|pod| pod.uses.uses(claim));
    let running = pods.iter().map(|pod| pod.uses.name.to_string()).collect();
    let used = Used { namespace: about.rights_namespace().into(), claim: claim.map(Into::into) };
    Ok((context.uses().usage(&used, &about.uid, uid, running, Instant::now()), pods))
}

/// Once the target is gone: what of it is still there.
async fn outlived(live: &Live, request: &DeletionRequest, target: TargetState) -> Result<Vec<Keeper>, ReadError> {
    let status = request.status.as_ref().filter(|status| !status.phase.is_some_and(Phase::is_ended));
    let inventory = status.and_then(|status| status.inventory.as_ref());
    let items =
        inventory.filter(|_| target == TargetState::Gone).map(|known| ApprovedItems::unpack(&known.packed_uids));
    match items {
        Some(Ok(items)) => {
            let (volumes, contents) = tokio::try_join!(live.volumes_among(&items), live.contents_among(&items))?;
            // What is going itself keeps nothing for long.
            let volumes = volumes.iter().filter(|volume| !volume.going).map(keeper);
            Ok(volumes.chain(contents.iter().filter(|content| !content.going).map(content_keeper)).collect())
        }
        _ => Ok(Vec::new()),
    }
}

async fn claim(live: &Live, request: &DeletionRequest) -> Result<Option<PersistentVolumeClaim>, ReadError> {
    let target = &request.spec.target;
    let (TargetKind::PersistentVolumeClaim, Some(namespace)) = (target.kind, &target.namespace) else {
        return Ok(None);
    };
    live.claim(namespace, &target.name).await
}

/// A target of another UID is another object: the one that was meant is gone.
fn claim_state(claim: Option<&Claim>, uid: &str) -> TargetState {
    match claim.filter(|claim| &*claim.uid == uid) {
        None => TargetState::Gone,
        Some(claim) => claim.going_since.map_or(TargetState::Live, TargetState::Going),
    }
}

fn state(meta: Option<&ObjectMeta>, uid: &str) -> TargetState {
    match meta.filter(|meta| meta.uid.as_deref() == Some(uid)) {
        None => TargetState::Gone,
        Some(meta) => meta.deletion_timestamp.as_ref().map_or(TargetState::Live, |time| TargetState::Going(time.0)),
    }
}

/// The guard asked for rights when it let the target go; a going namespace takes the role bindings away that
/// they rest on, so they are not asked for again.
async fn rights(
    live: &Live,
    target: TargetState,
    namespace: Option<&Namespace>,
    sign_offs: &[SignOff],
    record: Option<&ApprovalRecord>,
    place: &str,
) -> Result<Rights, ReadError> {
    let standing = namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none());
    if target != TargetState::Live && !standing {
        return Ok(Rights::latched());
    }
    live.rights(&rights_needed(sign_offs, record), Requests::Deletions, &[place.to_owned()].into()).await
}

async fn inventory(
    live: &Live,
    request: &DeletionRequest,
    target: TargetState,
    (claim, keeper): (Option<&Claim>, Option<&DynamicObject>),
    policies: &PolicySet,
) -> Result<Inventory, ReadError> {
    let about = &request.spec.target;
    match (target, claim, keeper) {
        (TargetState::Gone, ..) => Ok(Inventory::default()),
        (_, Some(claim), _) => live.inventory_of_claim(claim).await,
        (_, None, Some(keeper)) => Ok(Inventory::of_keeper(about, handle_of(about.kind, &keeper.data).as_deref())),
        (_, None, None) => live.inventory_of_namespace(&request.spec.target.name, policies).await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn another_object_of_the_same_name_is_not_the_target() {
        let claim = Claim { uid: "one".into(), ..Claim::default() };
        assert_eq!(claim_state(Some(&claim), "one"), TargetState::Live);
        assert_eq!(claim_state(Some(&claim), "two"), TargetState::Gone);
        assert_eq!(claim_state(None, "one"), TargetState::Gone);
        let since = "2026-11-23T10:00:00Z".parse().unwrap();
        let going = Claim { going_since: Some(since), ..claim };
        assert_eq!(claim_state(Some(&going), "one"), TargetState::Going(since));
        let namespace: Namespace = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "shop", "uid": "one", "deletionTimestamp": "2026-11-23T10:00:00Z"}
        }))
        .unwrap();
        assert_eq!(state(Some(&namespace.metadata), "one"), TargetState::Going(since));
        assert_eq!(state(Some(&namespace.metadata), "two"), TargetState::Gone);
    }
}
