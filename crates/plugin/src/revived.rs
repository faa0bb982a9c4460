//! The claim that a kept volume becomes again.

use std::collections::BTreeMap;

use foureyes_core::api::{APPROVED_BY, KEPT_CLAIM};
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::ObjectMeta;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::kept::{Kept, Place};
use crate::output::plain;

/// What the binder and the provisioner note on a claim: true of the binding that is over.
const OF_THE_BINDING: [&str; 3] = ["pv.kubernetes.io/", "volume.beta.kubernetes.io/", "volume.kubernetes.io/"];
/// How a class was named before claims and volumes had a field for it; it still goes before the field.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const STORAGE: &str = "storage";

/// From where it is known what the claim was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was written down before the deletion.
    Recorded,
    /// Only the volume tells; why nothing else does.
    Volume(&'static str),
}

impl Kept {
    /// The claim as it is created again, bound to this very volume.
    pub fn claim(&self) -> Result<(PersistentVolumeClaim, Origin)> {
        let (was, origin) = self.was()?;
        let volume = self.volume.spec.clone().unwrap_or_default();
        let spec = was.spec;
        // Class and attributes have to be the volume's own, or it is not bound to it. An empty class is one, too: without
        // it, the cluster's default would be filled in.
        let spec = PersistentVolumeClaimSpec {
            access_modes: spec.access_modes,
            resources: spec.resources.map(|asked| within(asked, &volume)),
            storage_class_name: Some(self.class(&volume)),
            volume_attributes_class_name: volume.volume_attributes_class_name,
            volume_mode: spec.volume_mode,
            volume_name: Some(self.name.clone()),
            // What it was filled from is in it, and nothing has to be selected any more.
            ..PersistentVolumeClaimSpec::default()
        };
        let metadata = ObjectMeta {
            namespace: Some(self.place.namespace.clone()),
            name: Some(self.place.name.clone()),
            labels: was.metadata.labels,
            annotations: was.metadata.annotations.map(lasting),
            ..ObjectMeta::default()
        };
        Ok((PersistentVolumeClaim { metadata, spec: Some(spec), status: None }, origin))
    }

    fn class(&self, volume: &PersistentVolumeSpec) -> String {
        let annotation = self.volume.metadata.annotations.as_ref().and_then(|all| all.get(CLASS_ANNOTATION));
        annotation.or(volume.storage_class_name.as_ref()).cloned().unwrap_or_default()
    }

    /// UID of the claim that was written down.
    pub fn recorded_uid(&self) -> Option<String> {
        serde_json::from_str::<Was>(self.recorded()?).ok()?.metadata.uid
    }

    fn was(&self) -> Result<(Was, Origin)> {
        let Some(recorded) = self.recorded() else {
            return Ok((Was::of(&self.volume), Origin::Volume("nobody has written them down")));
        };
        let Ok(was) = serde_json::from_str::<Was>(recorded) else {
            return Ok((Was::of(&self.volume), Origin::Volume("what was written down can't be read")));
        };
        let named = (was.metadata.namespace.as_deref(), was.metadata.name.as_deref());
        if named != (Some(&self.place.namespace), Some(&self.place.name)) {
            let (namespace, name) = (named.0.unwrap_or_default(), named.1.unwrap_or_default());
            return Err(Error::Refused(plain(&format!(
                "volume {} was kept for pvc/{namespace}/{name}, and is for {} now: nothing was changed; see `kubectl get pv {} -o yaml`",
                self.name,
                self.place.text(),
                self.name
            ))));
        }
        Ok((was, Origin::Recorded))
    }
}

/// A claim as it was.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Was {
    metadata: ObjectMeta,
    spec: PersistentVolumeClaimSpec,
}

impl Was {
    /// As much of it as the volume tells.
    fn of(volume: &PersistentVolume) -> Self {
        let spec = volume.spec.clone().unwrap_or_default();
        let requests = spec.capacity.filter(|capacity| !capacity.is_empty());
        let spec = PersistentVolumeClaimSpec {
            access_modes: spec.access_modes,
            resources: Some(VolumeResourceRequirements { requests, ..VolumeResourceRequirements::default() }),
            volume_mode: spec.volume_mode,
            ..PersistentVolumeClaimSpec::default()
        };
        Self { metadata: ObjectMeta::default(), spec }
    }
}

/// Which claim a volume was kept for, as it was written down, whatever it is for now.
pub fn noted(volume: &PersistentVolume) -> Option<Place> {
    let note = volume.metadata.annotations.as_ref()?.get(KEPT_CLAIM)?;
    let metadata = serde_json::from_str::<Was>(note).ok()?.metadata;
    Some(Place { namespace: metadata.namespace?, name: metadata.name? })
}

/// No more than the volume has: a claim that was deleted while it grew would never be bound to it.
fn within(mut asked: VolumeResourceRequirements, volume: &PersistentVolumeSpec) -> VolumeResourceRequirements {
    let capacity = volume.capacity.as_ref().and_then(|capacity| capacity.get(STORAGE));
    let request = asked.requests.as_mut().and_then(|requests| requests.get_mut(STORAGE));
    if let (Some(capacity), Some(request)) = (capacity, request)
        && let (Some(has), Some(asks)) = (amount(capacity), amount(request))
        && asks > has
    {
        request.clone_from(capacity);
    }
    asked
}

/// A quantity as a number, near enough to be compared.
fn amount(quantity: &Quantity) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 14] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
        ("", 1.0),
    ];
    let parsed =
        |suffix: &str| quantity.0.strip_suffix(suffix)?.parse::<f64>().ok().filter(|number| number.is_finite());
    SUFFIXES.iter().find_map(|(suffix, factor)| Some(parsed(suffix)? * factor))
}

/// Annotations without those of the binding that is over, and without an approval of the deletion that is done.
fn lasting(annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_over =
        |key: &str| key.starts_with(APPROVED_BY) || OF_THE_BINDING.iter().any(|prefix| key.starts_with(prefix));
    annotations.into_iter().filter(|(key, _)| !is_over(key)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kept::tests::{annotated, kept};
    use rstest::rstest;
    use serde_json::json;

    #[test]
    fn the_claim_is_made_again_as_it_was_but_for_its_binding() {
        let kept = annotated(&json!({
            "metadata": {"namespace": "shop", "name": "reports", "labels": {"app": "reports"}, "annotations": {
                "team": "warehouse", "pv.kubernetes.io/bind-completed": "yes", "foureyes.dev/approved-by": "bob@1",
                "volume.beta.kubernetes.io/storage-provisioner": "x", "volume.kubernetes.io/selected-node": "n",
                "foureyes.dev/approved-by-record": "sealed"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "4Gi"}},
                "storageClassName": "fast", "volumeMode": "Filesystem", "volumeName": "pvc-0",
                "dataSource": {"kind": "VolumeSnapshot", "name": "s"}, "selector": {"matchLabels": {"a": "b"}}},
        }));
        let (claim, origin) = kept.claim().unwrap();
        assert_eq!(origin, Origin::Recorded);
        let expected = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"namespace": "shop", "name": "reports", "labels": {"app": "reports"},
                "annotations": {"team": "warehouse"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "4Gi"}},
                "storageClassName": "fast", "volumeMode": "Filesystem", "volumeName": "pvc-1"},
        });
        assert_eq!(serde_json::to_value(claim).unwrap(), expected);
    }

    #[test]
    fn without_a_record_the_volume_tells_and_that_is_said() {
        for extra in [json!({}), json!({"metadata": {"annotations": {KEPT_CLAIM: "{"}}})] {
            let (claim, origin) = kept(&extra).claim().unwrap();
            assert!(matches!(origin, Origin::Volume(_)), "{origin:?}");
            let expected = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"namespace": "shop", "name": "reports"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}},
                    "storageClassName": "fast", "volumeMode": "Filesystem", "volumeName": "pvc-1"},
            });
            assert_eq!(serde_json::to_value(claim).unwrap(), expected);
        }
    }

    #[rstest]
    #[case("4Gi", "4Gi")]
    #[case("5368709120", "5368709120")]
    #[case("6Gi", "5Gi")]
    #[case("6G", "5Gi")]
    #[case("1e12", "5Gi")]
    fn a_claim_that_was_growing_asks_for_no_more_than_there_is(#[case] asked: &str, #[case] asks: &str) {
        let kept = annotated(&json!({"metadata": {"namespace": "shop", "name": "reports"},
            "spec": {"resources": {"requests": {"storage": asked}}}}));
        let requests = kept.claim().unwrap().0.spec.unwrap().resources.unwrap().requests.unwrap();
        assert_eq!(requests["storage"].0, asks);
    }

    #[test]
    fn a_volume_says_whom_it_was_kept_for_even_if_it_is_for_nobody() {
        let note = json!({"metadata": {"namespace": "shop", "name": "reports"}, "spec": {}}).to_string();
        let extra = json!({"metadata": {"annotations": {KEPT_CLAIM: note}}, "spec": {"claimRef": null}});
        let volume = crate::kept::tests::volume(&extra);
        assert_eq!(noted(&volume).unwrap().text(), "pvc/shop/reports");
        assert_eq!(noted(&crate::kept::tests::volume(&json!({}))), None);
    }

    /// Else the cluster's default class would be filled in, and the claim never bound.
    #[test]
    fn a_volume_without_a_class_makes_a_claim_of_no_class() {
        let kept = kept(&json!({"spec": {"storageClassName": null}}));
        assert_eq!(kept.claim().unwrap().0.spec.unwrap().storage_class_name.as_deref(), Some(""));
    }

    #[test]
    fn what_was_kept_for_another_claim_becomes_none() {
        let other = annotated(&json!({"metadata": {"namespace": "bank", "name": "reports"}, "spec": {}}));
        let error = other.claim().unwrap_err();
        assert!(error.to_string().contains("pvc/bank/reports") && error.exit_code() == 1, "{error}");
    }
}
