//! Data outlives its deletion (promise 3): what has to be changed so that a volume survives its claim, and how that is
//! put back when nothing was deleted after all.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::{
    Afterwards, BackupRetentionSpec, DeletionRequest, Keeper, ProtectedObject, Protection, RetentionMode,
    RetentionSource,
};
use crate::domain::inventory::{Inventory, Reclaim, Volume};
use crate::domain::policy::Effective;
use crate::domain::statement::stated;

/// The field of a volume that decides what becomes of its data.
pub const RECLAIM_POLICY: &str = "spec.persistentVolumeReclaimPolicy";
/// A deletion that was let pass before a request ended has happened after this time, or never will: the webhook's own
/// time, the API server's time for one request, and as much again (fact 15).
pub const SLOWEST_DELETION: SignedDuration = SignedDuration::from_secs(150);

/// A volume that has to be put on Retain, or that has to carry its claim as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    pub volume: String,
    pub volume_uid: String,
    /// Of the claim.
    pub namespace: String,
    pub claim: String,
    pub claim_uid: String,
}

/// The volumes that would not outlive their claims as they are, or that don't say how to bring them back.
pub fn unkept(live: &Inventory) -> Vec<Keep> {
    let volumes: BTreeMap<&str, _> =
        live.items().iter().filter_map(|item| Some((item.name.as_str(), (item, item.kept.as_ref()?)))).collect();
    let of_claim = live.items().iter().filter_map(|claim| {
        let (volume, kept) = volumes.get(claim.volume.as_deref()?)?;
        let is_kept = kept.reclaim == Reclaim::Retain && kept.claim.as_deref() == Some(claim.uid.as_str());
        (!is_kept).then(|| Keep {
            volume: volume.name.clone(),
            volume_uid: volume.uid.clone(),
            namespace: claim.namespace.clone().unwrap_or_default(),
            claim: claim.name.clone(),
            claim_uid: claim.uid.clone(),
        })
    });
    of_claim.collect()
}

/// Volumes whose data would go with their claims.
pub fn perishable(live: &Inventory) -> impl Iterator<Item = (&str, &str, Reclaim)> {
    live.items().iter().filter_map(|item| {
        let kept = item.kept.as_ref().filter(|kept| kept.reclaim != Reclaim::Retain)?;
        Some((item.name.as_str(), item.uid.as_str(), kept.reclaim))
    })
}

/// What will be changed, with its value before. Written down before anything is, so that whoever goes on knows it.
pub fn protected(mut before: Vec<Protection>, live: &Inventory) -> Vec<Protection> {
    for (name, uid, reclaim) in perishable(live) {
        if before.iter().any(|known| known.object.uid == uid && !known.settled) {
            continue;
        }
        before.retain(|known| known.object.uid != uid);
        before.push(Protection {
            object: ProtectedObject { kind: "PersistentVolume".to_owned(), name: name.to_owned(), uid: uid.to_owned() },
            field: RECLAIM_POLICY.to_owned(),
            before: reclaim.as_str().to_owned(),
            after: Reclaim::Retain.as_str().to_owned(),
            settled: false,
        });
    }
    before
}

/// Which of the changes are put back now, and which are done with. `live` is what the target is made of, read again after
/// [`SLOWEST_DELETION`]; of a target that is going or gone nothing is put back.
pub fn settled(before: &[Protection], live: Option<&Inventory>) -> (Vec<Protection>, Vec<Protection>) {
    let items: BTreeMap<&str, Reclaim> = live
        .iter()
        .flat_map(|live| live.items())
        .filter_map(|item| Some((item.uid.as_str(), item.kept.as_ref()?.reclaim)))
        .collect();
    let mut back = Vec::new();
    let after = before.iter().cloned().map(|mut protection| {
        let is = items.get(protection.object.uid.as_str());
        if !protection.settled && is.is_some_and(|is| is.as_str() == protection.after) {
            back.push(protection.clone());
        } else {
            protection.settled = true;
        }
        protection
    });
    let after = after.collect();
    (back, after)
}

/// What holds the volumes that outlived a deletion; nothing, if none did.
pub fn retention(
    request: &DeletionRequest,
    kept: &[Volume],
    effective: &Effective,
    now: Timestamp,
) -> Option<BackupRetentionSpec> {
    let keepers: Vec<Keeper> = kept
        .iter()
        .map(|volume| Keeper {
            kind: "PersistentVolume".to_owned(),
            namespace: None,
            name: volume.name.to_string(),
            uid: volume.uid.to_string(),
            handle: volume.handle.as_deref().map(str::to_owned),
        })
        .collect();
    if keepers.is_empty() {
        return None;
    }
    let wish = request.spec.retention.clone().unwrap_or_default();
    let floor = i32::try_from(effective.retain_days).unwrap_or(i32::MAX);
    let source = RetentionSource {
        request: request.metadata.name.clone()?,
        uid: request.metadata.uid.clone()?,
        target: request.spec.target.clone(),
        deleted_at: stated(now),
    };
    Some(BackupRetentionSpec {
        source: Some(source),
        keepers,
        retain_days: wish.days.unwrap_or(floor).max(floor),
        mode: RetentionMode::Governance,
        afterwards: wish.afterwards.unwrap_or(Afterwards::Keep),
        reason: None,
    })
}
