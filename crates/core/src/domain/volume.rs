//! A volume as decisions see it, and the note on it by which it brings its claim back.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::{APPROVED_BY, APPROVED_BY_RECORD, KEPT_CLAIM};

/// Bytes of a note. Annotations may have 256 KiB in all, and a status shows many notes.
const LONGEST_NOTE: usize = 32 * 1024;

/// What decisions need to know about a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    pub name: Box<str>,
    pub uid: Box<str>,
    /// Where the bytes are.
    pub handle: Option<Box<str>>,
    /// What becomes of them when its claim goes.
    pub reclaim: Reclaim,
    /// UID of the claim that it could bring back.
    pub kept_claim: Option<Box<str>>,
    /// It is being deleted, and goes once nothing is bound to it, whatever its policy says.
    pub going: bool,
}

/// What a rule about a volume itself needs to know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeFacts {
    pub volume: Volume,
    /// The claim that it is reserved for, or bound to, or was.
    pub claim: Option<ClaimRef>,
    pub storage_class: Option<Box<str>>,
    /// It is bound now.
    pub bound: bool,
}

/// The claim that a volume names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimRef {
    pub namespace: Box<str>,
    pub name: Box<str>,
    /// Absent where it is only reserved (fact 16).
    pub uid: Option<Box<str>>,
}

impl VolumeFacts {
    pub fn of(volume: &PersistentVolume) -> Self {
        let spec = volume.spec.as_ref();
        let text = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Box::from);
        let claim = spec.and_then(|spec| spec.claim_ref.as_ref()).map(|claim| ClaimRef {
            namespace: text(&claim.namespace).unwrap_or_default(),
            name: text(&claim.name).unwrap_or_default(),
            uid: text(&claim.uid),
        });
        Self {
            volume: Volume::of(volume),
            claim,
            storage_class: spec.and_then(|spec| text(&spec.storage_class_name)),
            bound: volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound"),
        }
    }
}

/// What becomes of a volume's data when its claim goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reclaim {
    /// It stays.
    Retain,
    /// The API server's default for volumes that people make is Retain, but that of classes is this.
    #[default]
    Delete,
    Recycle,
}

impl Reclaim {
    /// As the API has it; what is unknown counts as the worst.
    fn of(policy: Option<&str>) -> Self {
        match policy {
            Some("Retain") => Self::Retain,
            Some("Recycle") => Self::Recycle,
            _ => Self::Delete,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
            Self::Recycle => "Recycle",
        }
    }
}

/// Which claim the note on a volume is about.
#[derive(Deserialize)]
struct KeptClaim {
    metadata: KeptMetadata,
}

#[derive(Deserialize)]
struct KeptMetadata {
    uid: Box<str>,
}

impl Volume {
    pub fn of(volume: &PersistentVolume) -> Self {
        Self {
            name: volume.metadata.name.clone().unwrap_or_default().into(),
            uid: volume.metadata.uid.clone().unwrap_or_default().into(),
            handle: handle(volume).map(Into::into),
            reclaim: Reclaim::of(
                volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()),
            ),
            kept_claim: volume.metadata.annotations.as_ref().and_then(|annotations| {
                let kept: KeptClaim = serde_json::from_str(annotations.get(KEPT_CLAIM)?).ok()?;
                Some(kept.metadata.uid)
            }),
            going: volume.metadata.deletion_timestamp.is_some(),
        }
    }
}

fn handle(volume: &PersistentVolume) -> Option<String> {
    let spec = volume.spec.as_ref()?;
    let csi = spec.csi.as_ref().map(|csi| format!("{}/{}", csi.driver, csi.volume_handle));
    let nfs = || spec.nfs.as_ref().map(|nfs| format!("nfs/{}:{}", nfs.server, nfs.path));
    let local = || spec.local.as_ref().map(|local| format!("local/{}", local.path));
    let host = || spec.host_path.as_ref().map(|host| format!("hostPath/{}", host.path));
    csi.or_else(nfs).or_else(local).or_else(host)
}

/// The note on a volume: its claim as it is, without what belongs to this one life of it (managed fields, resource
/// version, approvals). Annotations are left out where they are too long.
pub fn note_of(claim: &PersistentVolumeClaim) -> Option<String> {
    let whole = note(claim, true)?;
    if whole.len() <= LONGEST_NOTE { Some(whole) } else { note(claim, false) }
}

#[derive(Serialize)]
struct Note<'a> {
    metadata: NoteMetadata<'a>,
    spec: Value,
}

#[derive(Serialize)]
struct NoteMetadata<'a> {
    namespace: &'a str,
    name: &'a str,
    uid: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

fn note(claim: &PersistentVolumeClaim, annotated: bool) -> Option<String> {
    let meta = &claim.metadata;
    let pairs = |map: &Option<BTreeMap<String, String>>, stays: &dyn Fn(&str) -> bool| {
        let pairs = map.iter().flatten().filter(|(key, _)| stays(key));
        pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let of_this_life = [APPROVED_BY, APPROVED_BY_RECORD];
    let note = Note {
        metadata: NoteMetadata {
            namespace: meta.namespace.as_deref()?,
            name: meta.name.as_deref()?,
            uid: meta.uid.as_deref()?,
            labels: pairs(&meta.labels, &|_| true),
            annotations: pairs(&meta.annotations, &|key| annotated && !of_this_life.contains(&key)),
        },
        spec: serde_json::to_value(&claim.spec).ok()?,
    };
    serde_json::to_string(&note).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn claim(annotations: &Value) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "reports", "uid": "u-1", "resourceVersion": "7",
                         "labels": {"app": "reports"}, "annotations": annotations,
                         "managedFields": [{"manager": "kubectl"}], "finalizers": ["kubernetes.io/pvc-protection"]},
            "spec": {"volumeName": "pv-1", "accessModes": ["ReadWriteOnce"]},
            "status": {"phase": "Bound"},
        }))
        .unwrap()
    }

    #[test]
    fn a_note_has_what_brings_the_claim_back_and_nothing_of_its_life() {
        let note = note_of(&claim(&json!({"team": "web", APPROVED_BY: "bob@0123456789ab", APPROVED_BY_RECORD: "{}"})));
        let note: Value = serde_json::from_str(&note.unwrap()).unwrap();
        let expected = json!({
            "metadata": {"namespace": "shop", "name": "reports", "uid": "u-1", "labels": {"app": "reports"},
                         "annotations": {"team": "web"}},
            "spec": {"volumeName": "pv-1", "accessModes": ["ReadWriteOnce"]},
        });
        assert_eq!(note, expected);
    }

    #[test]
    fn long_annotations_are_left_out() {
        let note = note_of(&claim(&json!({"long": "x".repeat(LONGEST_NOTE)}))).unwrap();
        assert!(note.len() < 300 && note.contains("\"app\""));
    }

    #[test]
    fn a_volume_knows_its_policy_and_whose_note_it_carries() {
        let volume = |policy: Value, note: &str| {
            let volume = json!({"metadata": {"name": "pv-1", "uid": "v-1", "annotations": {KEPT_CLAIM: note}},
                                "spec": {"persistentVolumeReclaimPolicy": policy}});
            Volume::of(&serde_json::from_value(volume).unwrap())
        };
        let kept = volume(json!("Retain"), &note_of(&claim(&json!({}))).unwrap());
        assert_eq!((kept.reclaim, kept.kept_claim.as_deref()), (Reclaim::Retain, Some("u-1")));
        assert_eq!(volume(json!("Delete"), "no note").kept_claim, None);
        // What is not said, or unknown, is the worst.
        assert_eq!(volume(json!(null), "{}").reclaim, Reclaim::Delete);
        assert_eq!(volume(json!("Shred"), "{}").reclaim, Reclaim::Delete);
        assert_eq!(volume(json!("Recycle"), "{}").reclaim.as_str(), "Recycle");
    }
}
