//! Volumes that outlived the deletion of their claim, and the claim that each of them was.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use foureyes_core::api::{KEPT_CLAIM, is_name};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PersistentVolume;
use serde::Serialize;
use serde_json::json;

use crate::error::{Error, Result};
use crate::output::plain;

/// The reclaim policy under which a volume outlives its claim.
pub const RETAIN: &str = "Retain";
/// Which claim, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    pub namespace: String,
    pub name: String,
}

impl Place {
    /// `pvc/shop/reports`.
    pub fn text(&self) -> String {
        format!("pvc/{}/{}", self.namespace, self.name)
    }
}

/// How far a volume is on its way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The claim with this UID is gone.
    Released(String),
    /// Reserved for a claim of that name which is yet to come.
    Reserved,
    /// Bound to the claim with this UID, or about to be, as far as the binder knows.
    Bound(String),
}

/// A volume and the claim that it is or was for.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub name: String,
    pub uid: String,
    pub place: Place,
    pub standing: Standing,
    /// Since when it stands so, as far as it is known.
    pub since: Option<Timestamp>,
    /// Its reclaim policy lets it outlive a claim.
    pub is_retained: bool,
    /// It is being deleted itself.
    pub is_going: bool,
    /// Why its data may be in use, or about to be destroyed, behind another volume.
    pub elsewhere: Option<String>,
    pub(crate) volume: PersistentVolume,
}

impl Kept {
    /// `None` for a volume that is for no claim, or for one that can't exist.
    pub fn of(volume: PersistentVolume) -> Option<Self> {
        let spec = volume.spec.as_ref()?;
        let claim = spec.claim_ref.as_ref()?;
        let place = Place { namespace: claim.namespace.clone()?, name: claim.name.clone()? };
        // Both become parts of paths.
        if !is_name(&place.namespace) || place.namespace.contains('.') || !is_name(&place.name) {
            return None;
        }
        let status = volume.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        let standing = match claim.uid.clone().filter(|uid| !uid.is_empty()) {
            None => Standing::Reserved,
            Some(uid) if matches!(phase, Some("Released" | "Failed")) => Standing::Released(uid),
            Some(uid) => Standing::Bound(uid),
        };
        let since = status.and_then(|status| status.last_phase_transition_time.as_ref());
        let since = since.or(volume.metadata.creation_timestamp.as_ref()).map(|time| time.0);
        Some(Self {
            name: volume.metadata.name.clone()?,
            uid: volume.metadata.uid.clone()?,
            place,
            standing,
            since,
            is_retained: spec.persistent_volume_reclaim_policy.as_deref() == Some(RETAIN),
            is_going: volume.metadata.deletion_timestamp.is_some(),
            elsewhere: None,
            volume,
        })
    }

    /// What foureyes wrote down of its claim.
    pub(crate) fn recorded(&self) -> Option<&String> {
        self.volume.metadata.annotations.as_ref()?.get(KEPT_CLAIM)
    }

    /// Whether it can become a claim again, or is one already.
    pub fn is_usable(&self) -> bool {
        self.is_retained && !self.is_going
    }

    /// It is some claim's now.
    pub fn is_bound(&self) -> bool {
        matches!(self.standing, Standing::Bound(_))
    }

    /// Somebody has begun to bring it back, or is done.
    pub fn is_under_way(&self) -> bool {
        match &self.standing {
            Standing::Reserved => true,
            // Whose claim is still the one that was written down has only been signed off.
            Standing::Bound(uid) => self.recorded_uid().is_some_and(|recorded| recorded != *uid),
            Standing::Released(_) => false,
        }
    }

    /// What reserves the volume for the claim of that name: only if it is still this volume as it was read, kept, and for
    /// the claim that is gone. The reference is never empty, so that no claim elsewhere can take it (fact 16).
    pub fn reservation(&self) -> Option<serde_json::Value> {
        let Standing::Released(gone) = &self.standing else { return None };
        Some(json!([
            {"op": "test", "path": "/metadata/uid", "value": self.uid},
            {"op": "test", "path": "/metadata/resourceVersion", "value": self.volume.metadata.resource_version},
            {"op": "test", "path": "/spec/persistentVolumeReclaimPolicy", "value": RETAIN},
            {"op": "test", "path": "/spec/claimRef/uid", "value": gone},
            {"op": "replace", "path": "/spec/claimRef", "value": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "namespace": self.place.namespace, "name": self.place.name,
            }},
        ]))
    }

    /// `pvc-0f1e (20Gi, kept since 2026-11-20T10:00:00Z)`.
    pub fn text(&self) -> String {
        let capacity = self.volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()?.get("storage"));
        let size = capacity.map(|quantity| quantity.0.clone());
        let since = self.since.map(|since| format!("kept since {}", crate::output::time(since)));
        let about: Vec<String> = size.into_iter().chain(since).collect();
        if about.is_empty() { self.name.clone() } else { format!("{} ({})", self.name, about.join(", ")) }
    }
}

/// The volume of one claim that comes back: the one that somebody names, the one that is under way, or the only one.
pub fn chosen(place: &Place, volumes: Vec<Kept>, named: Option<&str>) -> Result<Kept> {
    let mut of_it: Vec<Kept> = volumes.into_iter().filter(|kept| kept.place == *place).collect();
    if let Some(named) = named {
        of_it.retain(|kept| kept.name == named);
    }
    let going = of_it.iter().find(|kept| !kept.is_usable()).map(|kept| kept.name.clone());
    of_it.retain(Kept::is_usable);
    if let Some(at) = of_it.iter().position(Kept::is_under_way) {
        return Ok(of_it.swap_remove(at));
    }
    let released = of_it.iter().filter(|kept| matches!(kept.standing, Standing::Released(_))).count();
    if released > 1 {
        return Err(several(place, &of_it));
    }
    of_it.sort_by_key(Kept::is_bound);
    of_it.into_iter().next().ok_or_else(|| nothing(place, named, going.as_deref()))
}

/// One volume for each claim: of several, the one that is under way, or the one whose claim went last.
pub fn newest(volumes: Vec<Kept>) -> Vec<Kept> {
    let mut best: BTreeMap<Place, Kept> = BTreeMap::new();
    for kept in volumes.into_iter().filter(Kept::is_usable) {
        let rank = |kept: &Kept| {
            let released = matches!(kept.standing, Standing::Released(_));
            (Reverse(kept.is_under_way()), Reverse(released), Reverse(kept.since))
        };
        match best.get(&kept.place) {
            Some(other) if rank(other) <= rank(&kept) => {}
            _ => {
                best.insert(kept.place.clone(), kept);
            }
        }
    }
    best.into_values().collect()
}

fn several(place: &Place, volumes: &[Kept]) -> Error {
    let mut newest: Vec<&Kept> = volumes.iter().filter(|kept| matches!(kept.standing, Standing::Released(_))).collect();
    newest.sort_by_key(|kept| Reverse(kept.since));
    let list = crate::output::lines(newest.iter().map(|kept| kept.text()), "  ");
    let first = newest.first().map(|kept| kept.name.as_str()).unwrap_or_default();
    Error::Usage(format!(
        "several volumes were kept of {}, the newest first:\n{list}Say which one comes back, for example:\n  kubectl foureyes undo pvc/{} -n {} --volume {first}",
        place.text(),
        place.name,
        place.namespace
    ))
}

fn nothing(place: &Place, named: Option<&str>, going: Option<&str>) -> Error {
    let which = named.map(|named| format!(" in volume {}", plain(named))).unwrap_or_default();
    let going = going.map(|going| format!(" (volume {} is not on Retain, or is being deleted)", plain(going)));
    Error::Refused(format!(
        "nothing is kept of {}{which}{}: see `kubectl get pv`, and whether a backup has it",
        place.text(),
        going.unwrap_or_default()
    ))
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rstest::rstest;
    use serde_json::Value;

    /// A volume that is kept of shop/reports.
    pub fn volume(extra: &Value) -> PersistentVolume {
        let mut volume = json!({
            "metadata": {"name": "pvc-1", "uid": "v-1", "resourceVersion": "41", "creationTimestamp": "2026-11-01T10:00:00Z"},
            "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                "volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop",
                    "name": "reports", "uid": "c-1", "resourceVersion": "7"}},
            "status": {"phase": "Released", "lastPhaseTransitionTime": "2026-11-20T10:00:00Z"},
        });
        json_patch::merge(&mut volume, extra);
        serde_json::from_value(volume).unwrap()
    }

    pub fn kept(extra: &Value) -> Kept {
        Kept::of(volume(extra)).unwrap()
    }

    pub fn annotated(claim: &Value) -> Kept {
        kept(&json!({"metadata": {"annotations": {KEPT_CLAIM: claim.to_string()}}}))
    }

    fn place() -> Place {
        Place { namespace: "shop".to_owned(), name: "reports".to_owned() }
    }

    #[rstest]
    #[case(json!({}), Standing::Released("c-1".to_owned()))]
    #[case(json!({"status": {"phase": "Failed"}}), Standing::Released("c-1".to_owned()))]
    #[case(json!({"status": {"phase": "Bound"}}), Standing::Bound("c-1".to_owned()))]
    #[case(json!({"status": {"phase": "Available"}}), Standing::Bound("c-1".to_owned()))]
    #[case(json!({"status": {"phase": "Bound"}, "spec": {"claimRef": {"uid": null}}}), Standing::Reserved)]
    #[case(json!({"status": {"phase": "Available"}, "spec": {"claimRef": {"uid": ""}}}), Standing::Reserved)]
    fn how_far_it_is_is_told_by_the_reference(#[case] extra: Value, #[case] standing: Standing) {
        assert_eq!(kept(&extra).standing, standing);
    }

    #[rstest]
    #[case(json!({"spec": {"claimRef": null}}))]
    #[case(json!({"spec": {"claimRef": {"name": "../secrets"}}}))]
    #[case(json!({"spec": {"claimRef": {"namespace": "a.b"}}}))]
    fn what_is_for_no_claim_that_can_exist_is_left_out(#[case] extra: Value) {
        assert!(Kept::of(volume(&extra)).is_none());
    }

    #[test]
    fn the_volume_is_reserved_and_never_let_go() {
        let reservation = kept(&json!({})).reservation().unwrap();
        let patch: json_patch::Patch = serde_json::from_value(reservation).unwrap();
        let mut live = serde_json::to_value(volume(&json!({}))).unwrap();
        json_patch::patch(&mut live, &patch).unwrap();
        let reference =
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "reports"});
        assert_eq!(live["spec"]["claimRef"], reference);
        for changed in [
            json!({"metadata": {"uid": "v-2"}}),
            json!({"metadata": {"resourceVersion": "42"}}),
            json!({"spec": {"claimRef": {"uid": "c-2"}}}),
            json!({"spec": {"claimRef": null}}),
            json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}}),
        ] {
            let mut live = serde_json::to_value(volume(&changed)).unwrap();
            assert!(json_patch::patch(&mut live, &patch).is_err(), "{changed}");
        }
        assert_eq!(kept(&json!({"spec": {"claimRef": {"uid": null}}})).reservation(), None);
    }

    fn named(name: &str, since: &str, extra: &Value) -> Kept {
        let mut object = json!({"metadata": {"name": name}, "status": {"lastPhaseTransitionTime": since}});
        json_patch::merge(&mut object, extra);
        kept(&object)
    }

    const OLD: &str = "2026-11-10T10:00:00Z";
    const NEW: &str = "2026-11-20T10:00:00Z";

    #[test]
    fn of_several_somebody_says_which() {
        let two = || vec![named("old", OLD, &json!({})), named("new", NEW, &json!({}))];
        let error = chosen(&place(), two(), None).unwrap_err().to_string();
        let expected = "\
several volumes were kept of pvc/shop/reports, the newest first:
  new (5Gi, kept since 2026-11-20T10:00:00Z)
  old (5Gi, kept since 2026-11-10T10:00:00Z)
Say which one comes back, for example:
  kubectl foureyes undo pvc/reports -n shop --volume new";
        assert_eq!(error, expected);
        assert_eq!(chosen(&place(), two(), Some("old")).unwrap().name, "old");
        let error = chosen(&place(), two(), Some("other")).unwrap_err();
        assert!(error.exit_code() == 1 && error.to_string().contains("in volume other"), "{error}");
    }

    #[test]
    fn what_somebody_has_begun_is_finished() {
        let reserved = named("begun", OLD, &json!({"spec": {"claimRef": {"uid": ""}}}));
        let both = vec![named("new", NEW, &json!({})), reserved];
        assert_eq!(chosen(&place(), both.clone(), None).unwrap().name, "begun");
        assert_eq!(newest(both)[0].name, "begun");
        // A claim that was made anew meanwhile is in the way, and not what was kept.
        let fresh = named("fresh", NEW, &json!({"status": {"phase": "Bound"}}));
        let both = vec![fresh, named("old", OLD, &json!({}))];
        assert_eq!(chosen(&place(), both.clone(), None).unwrap().name, "old");
        assert_eq!(newest(both)[0].name, "old");
    }

    #[test]
    fn a_claim_whose_deletion_was_signed_off_was_not_brought_back() {
        let noted = |uid: &str| {
            let note =
                json!({"metadata": {"namespace": "shop", "name": "reports", "uid": uid}, "spec": {}}).to_string();
            json!({"metadata": {"annotations": {KEPT_CLAIM: note}}, "status": {"phase": "Bound"}})
        };
        let old = named("old", OLD, &json!({}));
        let signed_off = vec![named("fresh", NEW, &noted("c-1")), old.clone()];
        assert_eq!(chosen(&place(), signed_off, None).unwrap().name, "old");
        let brought_back = vec![named("back", NEW, &noted("c-0")), old];
        assert_eq!(chosen(&place(), brought_back, None).unwrap().name, "back");
    }

    #[test]
    fn what_is_not_kept_is_nothing_to_bring_back() {
        let gone = json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}});
        let going = json!({"metadata": {"deletionTimestamp": NEW}});
        let other = json!({"spec": {"claimRef": {"namespace": "bank"}}});
        for extra in [gone, going, other] {
            let error = chosen(&place(), vec![named("a", NEW, &extra)], None).unwrap_err();
            assert!(error.to_string().starts_with("nothing is kept of pvc/shop/reports"), "{error}");
        }
    }

    #[test]
    fn of_each_claim_of_a_namespace_the_newest_comes_back() {
        let orders = json!({"spec": {"claimRef": {"name": "orders"}}});
        let all = vec![named("old", OLD, &json!({})), named("new", NEW, &json!({})), named("o", OLD, &orders)];
        let names: Vec<String> = newest(all).into_iter().map(|kept| kept.name).collect();
        assert_eq!(names, ["o", "new"]);
    }
}
