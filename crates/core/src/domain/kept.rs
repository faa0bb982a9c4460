//! Data outlives its deletion (promise 3): what has to be changed so that a volume survives its claim, and how that is
//! put back when nothing was deleted after all.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::{
    Afterwards, BackupRetentionSpec, DeletionRequest, Keeper, ProtectedObject, Protection, RetentionMode,
    RetentionSource, Target, TargetKind,
};
use crate::domain::inventory::{DataItem, Inventory, Reclaim, Volume};
use crate::domain::snapshot::{self, Content};
use crate::domain::statement::stated;

/// The field of a volume that decides what becomes of its data.
pub const RECLAIM_POLICY: &str = "spec.persistentVolumeReclaimPolicy";
/// The field of a snapshot's content that does so.
pub const DELETION_POLICY: &str = "spec.deletionPolicy";
/// A deletion that was let pass before a request ended has happened after this time, or never will: the webhook's own
/// time, the API server's time for one request, and as much again (fact 15).
pub const SLOWEST_DELETION: SignedDuration = SignedDuration::from_secs(150);
/// Labels of a namespace that are written down, each of at most 380 bytes.
const LABELS: usize = 64;

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

/// What is behind a snapshot and has to be put on Retain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepContent {
    pub content: String,
    pub uid: String,
}

/// The contents that would not outlive their snapshots as they are.
pub fn unkept_contents(live: &Inventory) -> Vec<KeepContent> {
    let contents = perishable(live).filter(|item| !item.is_volume());
    contents.map(|item| KeepContent { content: item.name.clone(), uid: item.uid.clone() }).collect()
}

/// How much is not on Retain yet and has to be, in words; nothing, if all of it is.
pub fn unkept_in_words(live: &Inventory, backed_up: bool) -> Option<String> {
    let plural = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{count} {word}s")),
    };
    let both = [
        plural(if backed_up { 0 } else { unkept(live).len() }, "volume"),
        plural(unkept_contents(live).len(), "snapshot"),
    ];
    let words: Vec<String> = both.into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(" and "))
}

/// The volumes that would not outlive their claims as they are, or that don't say how to bring them back.
pub fn unkept(live: &Inventory) -> Vec<Keep> {
    let volumes = live.items().iter().filter(|item| item.is_volume());
    let volumes: BTreeMap<&str, _> =
        volumes.filter_map(|item| Some((item.name.as_str(), (item, item.kept.as_ref()?)))).collect();
    let of_claim = live.items().iter().filter(|item| item.word() == "claim").filter_map(|claim| {
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

/// Volumes and contents whose data would go with their claims and snapshots.
pub fn perishable(live: &Inventory) -> impl Iterator<Item = &DataItem> {
    live.items().iter().filter(|item| item.kept.as_ref().is_some_and(|kept| kept.reclaim != Reclaim::Retain))
}

/// What nothing can keep: the name of each, and why. Where a backup has the data of all claims, that keeps volumes.
pub fn lost(live: &Inventory, backed_up: bool) -> impl Iterator<Item = (&str, &'static str)> {
    let items = live.items().iter().filter(move |item| !(backed_up && item.is_volume()));
    items.filter_map(|item| Some((item.name.as_str(), item.not_kept()?)))
}

/// Whether a request asks for what nothing can keep, too.
pub fn is_excepted(request: &DeletionRequest) -> bool {
    request.spec.retention.as_ref().is_some_and(|wish| wish.exception)
}

/// What will be changed, with its value before. Written down before anything is, so that whoever goes on knows it.
pub fn protected(mut before: Vec<Protection>, live: &Inventory) -> Vec<Protection> {
    for item in perishable(live) {
        if before.iter().any(|known| known.object.uid == item.uid && !known.settled) {
            continue;
        }
        before.retain(|known| known.object.uid != item.uid);
        let field = if item.is_volume() { RECLAIM_POLICY } else { DELETION_POLICY };
        before.push(Protection {
            object: ProtectedObject { kind: item.kind.to_owned(), name: item.name.clone(), uid: item.uid.clone() },
            field: field.to_owned(),
            before: item.kept.as_ref().map(|kept| kept.reclaim).unwrap_or_default().as_str().to_owned(),
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

/// The labels with which a namespace that goes is created again: what scopes protection is among them.
pub fn labels(target: &Target, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let of_it = labels.iter().filter(|_| target.kind == TargetKind::Namespace);
    of_it.take(LABELS).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What holds what outlived a deletion, for so many days; nothing, if nothing did.
pub fn retention(
    request: &DeletionRequest,
    keepers: Vec<Keeper>,
    retain_days: i32,
    now: Timestamp,
) -> Option<BackupRetentionSpec> {
    let source = RetentionSource {
        request: Some(request.metadata.name.clone()?),
        uid: Some(request.metadata.uid.clone()?),
        target: request.spec.target.clone(),
        deleted_at: stated(now),
    };
    let afterwards = request.spec.retention.as_ref().and_then(|wish| wish.afterwards);
    let held = BackupRetentionSpec {
        source: Some(source),
        keepers,
        retain_days,
        mode: RetentionMode::Governance,
        afterwards: afterwards.unwrap_or(Afterwards::Keep),
        reason: None,
    };
    (!held.keepers.is_empty()).then_some(held)
}

/// What is behind a snapshot, for as long as it is exactly this one.
pub fn content_keeper(content: &Content) -> Keeper {
    Keeper {
        kind: snapshot::CONTENT.to_owned(),
        namespace: None,
        name: content.name.to_string(),
        uid: content.uid.to_string(),
        handle: content.handle.as_deref().map(str::to_owned),
    }
}

/// A volume, for as long as it is exactly this one.
pub fn keeper(volume: &Volume) -> Keeper {
    Keeper {
        kind: "PersistentVolume".to_owned(),
        namespace: None,
        name: volume.name.to_string(),
        uid: volume.uid.to_string(),
        handle: volume.handle.as_deref().map(str::to_owned),
    }
}
