//! Whether the bytes of a volume are those of another volume, too: two claims that write to one disk destroy it, and a
//! volume that is on its way out takes the disk along.

use std::collections::BTreeMap;

use foureyes_core::domain::inventory::{Reclaim, Volume};
use k8s_openapi::api::core::v1::PersistentVolume;

use crate::output::plain;

/// All volumes by where their bytes are.
#[derive(Debug, Default)]
pub struct Elsewhere<'a>(BTreeMap<String, Vec<&'a PersistentVolume>>);

/// What another volume with the same bytes is doing with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// Its name.
    pub volume: String,
    pub does: Does,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    /// It is for this claim, as `pvc/NAMESPACE/NAME`. Whether both may write at the same time.
    Serves { claim: String, is_shared: bool },
    /// It is released or being deleted, and its reclaim policy destroys the bytes.
    Destroys,
    /// It is for nobody, and destroys nothing.
    Nothing,
}

impl<'a> Elsewhere<'a> {
    pub fn of(volumes: &'a [PersistentVolume]) -> Self {
        let mut all: BTreeMap<String, Vec<&PersistentVolume>> = BTreeMap::new();
        for volume in volumes {
            if let Some(place) = bytes(volume) {
                all.entry(place).or_default().push(volume);
            }
        }
        all.retain(|_, volumes| volumes.len() > 1);
        Self(all)
    }

    /// The other volumes with the same bytes.
    pub fn twins(&self, volume: &PersistentVolume) -> Vec<Twin> {
        let all = bytes(volume).and_then(|place| self.0.get(&place));
        let others = all.into_iter().flatten().filter(|other| other.metadata.uid != volume.metadata.uid);
        others
            .map(|other| Twin { volume: other.metadata.name.clone().unwrap_or_default(), does: does(other, volume) })
            .collect()
    }

    /// Why a claim had better not get this volume now.
    pub fn danger(&self, volume: &PersistentVolume) -> Option<String> {
        self.twins(volume).into_iter().find_map(|twin| {
            let why = match &twin.does {
                Does::Serves { claim, is_shared: false } => format!("{claim} may be writing to it"),
                Does::Destroys => "it is about to be destroyed with that one".to_owned(),
                Does::Serves { is_shared: true, .. } | Does::Nothing => return None,
            };
            Some(plain(&format!("volume {} has the same storage, and {why}", twin.volume)))
        })
    }
}

/// Where the bytes are. What lies on a node is told apart by the node, too.
fn bytes(volume: &PersistentVolume) -> Option<String> {
    let handle = Volume::of(volume).handle?;
    let spec = volume.spec.as_ref()?;
    if spec.local.is_none() && spec.host_path.is_none() {
        return Some(handle.into());
    }
    let node = spec.node_affinity.as_ref().and_then(|affinity| serde_json::to_string(affinity).ok());
    Some(format!("{handle} {}", node.unwrap_or_default()))
}

fn does(other: &PersistentVolume, mine: &PersistentVolume) -> Does {
    let phase = other.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_released = matches!(phase, Some("Released" | "Failed"));
    let is_going = other.metadata.deletion_timestamp.is_some();
    let spec = other.spec.as_ref();
    if (is_released || is_going) && Volume::of(other).reclaim != Reclaim::Retain {
        return Does::Destroys;
    }
    match spec.and_then(|spec| spec.claim_ref.as_ref()).filter(|_| !is_released) {
        Some(claim) => {
            let (namespace, name) = (claim.namespace.as_deref(), claim.name.as_deref());
            let claim = format!("pvc/{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default());
            Does::Serves { claim, is_shared: is_shared(other) && is_shared(mine) }
        }
        None => Does::Nothing,
    }
}

/// It is meant to be used in several places at once.
fn is_shared(volume: &PersistentVolume) -> bool {
    let modes = volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    modes.iter().any(|mode| mode == "ReadWriteMany" || mode == "ReadOnlyMany")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kept::tests::volume;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn disk(extra: &Value) -> PersistentVolume {
        let mut object = json!({"spec": {"csi": {"driver": "csi.example.org", "volumeHandle": "vol-1"}}});
        json_patch::merge(&mut object, extra);
        volume(&object)
    }

    /// Another volume, of the claim bank/ledger.
    fn other(extra: &Value) -> PersistentVolume {
        let mut object = serde_json::to_value(disk(&json!({}))).unwrap();
        let bound = json!({"metadata": {"name": "pvc-2", "uid": "v-2"}, "status": {"phase": "Bound"},
            "spec": {"claimRef": {"namespace": "bank", "name": "ledger", "uid": "c-9"}}});
        json_patch::merge(&mut object, &bound);
        json_patch::merge(&mut object, extra);
        serde_json::from_value(object).unwrap()
    }

    #[rstest]
    #[case(json!({}), Some("volume pvc-2 has the same storage, and pvc/bank/ledger may be writing to it"))]
    #[case(json!({"status": {"phase": "Available"}, "spec": {"claimRef": {"uid": null}}}),
           Some("volume pvc-2 has the same storage, and pvc/bank/ledger may be writing to it"))]
    #[case(json!({"status": {"phase": "Released"}, "spec": {"persistentVolumeReclaimPolicy": "Delete"}}),
           Some("volume pvc-2 has the same storage, and it is about to be destroyed with that one"))]
    #[case(json!({"status": {"phase": "Released"}}), None)]
    #[case(json!({"status": {"phase": "Available"}, "spec": {"claimRef": null}}), None)]
    #[case(json!({"spec": {"csi": {"volumeHandle": "vol-2"}}}), None)]
    #[case(json!({"metadata": {"uid": "v-1"}}), None)]
    fn two_claims_never_get_one_disk(#[case] extra: Value, #[case] why: Option<&str>) {
        let all = [disk(&json!({})), other(&extra)];
        assert_eq!(Elsewhere::of(&all).danger(&all[0]).as_deref(), why);
    }

    #[test]
    fn what_is_meant_to_be_shared_may_be() {
        let shared = json!({"spec": {"accessModes": ["ReadWriteMany"]}});
        let all = [disk(&shared), other(&shared)];
        let elsewhere = Elsewhere::of(&all);
        assert_eq!(elsewhere.danger(&all[0]), None);
        let serves = Does::Serves { claim: "pvc/bank/ledger".to_owned(), is_shared: true };
        assert_eq!(elsewhere.twins(&all[0]), [Twin { volume: "pvc-2".to_owned(), does: serves }]);
        let all = [disk(&json!({})), other(&shared)];
        assert!(Elsewhere::of(&all).danger(&all[0]).is_some());
    }

    #[test]
    fn the_same_path_on_another_node_is_another_disk() {
        let on = |node: &str| {
            let terms =
                json!([{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]);
            json!({"spec": {"csi": null, "local": {"path": "/disks/1"}, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}})
        };
        let all = [disk(&on("a")), other(&on("b"))];
        assert_eq!(Elsewhere::of(&all).danger(&all[0]), None);
        let all = [disk(&on("a")), other(&on("a"))];
        assert!(Elsewhere::of(&all).danger(&all[0]).is_some());
    }
}
