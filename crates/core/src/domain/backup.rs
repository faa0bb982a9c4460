//! Backups that a request names: whether one keeps what goes, for as long as it has to be kept. What is not seen in the
//! objects that its tool writes counts for nothing, and so does what would die with the deletion.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::api::{BackupKind, Keeper, NamedBackup, SeenBackup, Target, TargetKind};
use crate::domain::inventory::Reclaim;
use crate::domain::kept::content_keeper;
use crate::domain::snapshot::{self, Content};

/// What was read of a named backup.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The object itself.
    pub object: Option<Value>,
    /// Of Velero: where it is stored.
    pub location: Option<Value>,
    /// Of Velero: claims whose data it has taken from the file systems of their pods, by UID.
    pub files_of: BTreeSet<String>,
    /// Of a `VolumeSnapshot`: what is behind it.
    pub content: Option<Content>,
}

/// What a backup has to keep.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub target: &'a Target,
    /// When the target came into being: what was taken before is of something else.
    pub born: Option<Timestamp>,
    /// UIDs of the claims that go.
    pub claims: &'a BTreeSet<String>,
    /// For how many days it has to be kept from now on.
    pub days: i32,
    pub now: Timestamp,
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer)?.parse().ok()
}

fn number(object: &Value, pointer: &str) -> u64 {
    object.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

fn names<'a>(object: &'a Value, pointer: &str) -> Vec<&'a str> {
    let list = object.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// As it stands in a status.
pub fn seen(named: &NamedBackup, found: &Found, wanted: &Wanted<'_>) -> SeenBackup {
    let judged = judge(named, found, wanted);
    SeenBackup {
        kind: named.kind,
        namespace: named.namespace.clone(),
        name: named.name.clone(),
        uid: found.object.as_ref().and_then(|object| text(object, "/metadata/uid")).map(str::to_owned),
        counts: judged.is_ok(),
        because: judged.err(),
    }
}

/// What is held of a backup that counted when it was seen last, if it is there still.
pub fn keeper(seen: &SeenBackup, found: &Found) -> Option<Keeper> {
    let object = found.object.as_ref().filter(|_| seen.counts)?;
    let uid = text(object, "/metadata/uid").filter(|uid| seen.uid.as_deref() == Some(*uid))?;
    let (kind, handle) = match seen.kind {
        BackupKind::VolumeSnapshot => return found.content.as_ref().map(content_keeper),
        BackupKind::VeleroBackup => {
            let stored = text(object, "/spec/storageLocation").unwrap_or_default();
            ("Backup", Some(format!("{stored}/{}", seen.name)))
        }
        BackupKind::K8upSnapshot => ("Snapshot", text(object, "/spec/id").map(str::to_owned)),
    };
    let (namespace, name) = (Some(seen.namespace.clone()), seen.name.clone());
    Some(Keeper { kind: kind.to_owned(), namespace, name, uid: uid.to_owned(), handle })
}

/// Why it does not keep the data, if so.
fn judge(named: &NamedBackup, found: &Found, wanted: &Wanted<'_>) -> Result<(), String> {
    if wanted.claims.is_empty() {
        return Err("there is no claim whose data it could have".to_owned());
    }
    let object = found.object.as_ref().ok_or("it is not there")?;
    if named.uid.as_deref().is_some_and(|uid| text(object, "/metadata/uid") != Some(uid)) {
        return Err("another object has its name now".to_owned());
    }
    if text(object, "/metadata/deletionTimestamp").is_some() {
        return Err("it is being deleted itself".to_owned());
    }
    if wanted.target.kind == TargetKind::Namespace && named.namespace == wanted.target.name {
        return Err("it goes with the namespace".to_owned());
    }
    match named.kind {
        BackupKind::VeleroBackup => velero(object, found, wanted),
        BackupKind::K8upSnapshot => k8up(object, named, wanted),
        BackupKind::VolumeSnapshot => volume_snapshot(object, found, named, wanted),
    }
}

fn after_birth(taken: Option<Timestamp>, wanted: &Wanted<'_>) -> Result<(), String> {
    match (taken, wanted.born) {
        (Some(taken), Some(born)) if taken >= born => Ok(()),
        (Some(_), Some(_)) => Err("it was taken before what is to be deleted came into being".to_owned()),
        (None, _) => Err("it does not say when it was taken".to_owned()),
        (_, None) => Err("it is not known when what is to be deleted came into being".to_owned()),
    }
}

/// Beyond all time nothing is kept.
fn now_and(now: Timestamp, days: i32) -> Timestamp {
    now.saturating_add(SignedDuration::from_hours(i64::from(days) * 24)).unwrap_or(Timestamp::MAX)
}

fn velero(object: &Value, found: &Found, wanted: &Wanted<'_>) -> Result<(), String> {
    let phase = text(object, "/status/phase").unwrap_or("New");
    if phase != "Completed" {
        return Err(format!("it is {phase}, not Completed"));
    }
    after_birth(time(object, "/status/startTimestamp"), wanted)?;
    let expires = time(object, "/status/expiration").ok_or("it does not say when it expires")?;
    let until = now_and(wanted.now, wanted.days);
    if expires < until {
        return Err(format!("it expires {expires}, sooner than in {} days", wanted.days));
    }
    let stored = text(object, "/spec/storageLocation").ok_or("it names no storage location")?;
    let location = found.location.as_ref().ok_or_else(|| format!("its storage location {stored} is not there"))?;
    if text(location, "/metadata/deletionTimestamp").is_some() {
        return Err(format!("its storage location {stored} is being deleted"));
    }
    if text(location, "/status/phase") != Some("Available") {
        return Err(format!("its storage location {stored} is not Available"));
    }
    covers(object, wanted.target.rights_namespace())?;
    takes_volumes(object, found, wanted)
}

/// What Velero takes for claims and for volumes.
const CLAIMS: [&str; 4] = ["persistentvolumeclaims", "persistentvolumeclaim", "pvc", "*"];
const VOLUMES: [&str; 4] = ["persistentvolumes", "persistentvolume", "pv", "*"];

/// Whether it includes the claims of this namespace, all of them, and their volumes.
fn covers(object: &Value, namespace: &str) -> Result<(), String> {
    let included = names(object, "/spec/includedNamespaces");
    if !included.is_empty() && !included.iter().any(|name| [namespace, "*"].contains(name)) {
        return Err(format!("it does not include the namespace {namespace}"));
    }
    if names(object, "/spec/excludedNamespaces").iter().any(|name| [namespace, "*"].contains(name)) {
        return Err(format!("it excludes the namespace {namespace}"));
    }
    let lists = |field: &str, words: &[&str]| names(object, field).iter().any(|name| words.contains(name));
    for field in ["/spec/includedResources", "/spec/includedNamespacedResources"] {
        if !names(object, field).is_empty() && !lists(field, &CLAIMS) {
            return Err("it does not include claims".to_owned());
        }
    }
    for (field, words) in [
        ("/spec/excludedResources", [CLAIMS, VOLUMES].concat()),
        ("/spec/excludedNamespacedResources", CLAIMS.to_vec()),
        ("/spec/excludedClusterScopedResources", VOLUMES.to_vec()),
    ] {
        if lists(field, &words) {
            return Err("it excludes claims or volumes".to_owned());
        }
    }
    if object.pointer("/spec/includeClusterResources") == Some(&Value::Bool(false)) {
        return Err("it includes no volumes".to_owned());
    }
    let selects = |field: &str| object.pointer(field).is_some_and(|value| !value.is_null());
    if selects("/spec/labelSelector") || selects("/spec/orLabelSelectors") {
        return Err("it takes only what its labels select".to_owned());
    }
    Ok(())
}

/// Whether it took the data of every claim: a snapshot of each volume, or the files of each.
fn takes_volumes(object: &Value, found: &Found, wanted: &Wanted<'_>) -> Result<(), String> {
    let count = |field: &str| number(object, &format!("/status/{field}"));
    let (attempted, taken) = (
        count("volumeSnapshotsAttempted") + count("csiVolumeSnapshotsAttempted"),
        count("volumeSnapshotsCompleted") + count("csiVolumeSnapshotsCompleted"),
    );
    if taken < attempted {
        return Err(format!("it took {taken} of {attempted} snapshots of volumes"));
    }
    let rest = wanted.claims.iter().filter(|uid| !found.files_of.contains(*uid)).count();
    let snapshots = usize::try_from(taken).unwrap_or(usize::MAX);
    if snapshots < rest {
        return Err(format!(
            "of {} claims it has the data of {} at most",
            wanted.claims.len(),
            wanted.claims.len() - rest + snapshots
        ));
    }
    Ok(())
}

/// Where the restic snapshots of k8up have the claims of a pod.
const K8UP_DATA: &str = "/data/";

fn k8up(object: &Value, named: &NamedBackup, wanted: &Wanted<'_>) -> Result<(), String> {
    of_claim(named, wanted)?;
    text(object, "/spec/id").ok_or("it has no id in its repository")?;
    after_birth(time(object, "/spec/date"), wanted)?;
    let path = format!("{K8UP_DATA}{}", wanted.target.name);
    if !names(object, "/spec/paths").contains(&path.as_str()) {
        return Err(format!("it has no {path}"));
    }
    Ok(())
}

fn volume_snapshot(object: &Value, found: &Found, named: &NamedBackup, wanted: &Wanted<'_>) -> Result<(), String> {
    of_claim(named, wanted)?;
    if text(object, "/spec/source/persistentVolumeClaimName") != Some(&wanted.target.name) {
        return Err(format!("it is not of the claim {}", wanted.target.name));
    }
    after_birth(time(object, "/status/creationTime"), wanted)?;
    if object.pointer("/status/readyToUse") != Some(&Value::Bool(true)) {
        return Err("it is not ready to use".to_owned());
    }
    let is_behind = |content: &&Content| content.is_behind(&snapshot::Snapshot::of(object));
    let content = found.content.as_ref().filter(is_behind).ok_or("nothing is behind it")?;
    if content.going {
        return Err(format!("what is behind it, {}, is being deleted", content.name));
    }
    if content.deletion != Reclaim::Retain {
        return Err(format!("what is behind it, {}, is not on Retain", content.name));
    }
    Ok(())
}

/// Snapshots of one claim lie beside it.
fn of_claim(named: &NamedBackup, wanted: &Wanted<'_>) -> Result<(), String> {
    if wanted.target.kind == TargetKind::Namespace {
        return Err("it is of one claim, and not of a namespace".to_owned());
    }
    if wanted.target.rights_namespace() == named.namespace {
        Ok(())
    } else {
        Err("it lies in another namespace".to_owned())
    }
}
