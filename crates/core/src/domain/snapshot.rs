//! Snapshots as decisions see them: with a namespace go its `VolumeSnapshot`s, and with those what is behind them, unless
//! their contents are on Retain.

use serde_json::Value;

use crate::domain::inventory::Reclaim;

/// The group of the snapshot API, which not every cluster has.
pub const GROUP: &str = "snapshot.storage.k8s.io";
pub const SNAPSHOT: &str = "VolumeSnapshot";
pub const CONTENT: &str = "VolumeSnapshotContent";

/// A `VolumeSnapshot`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    pub size: Option<Box<str>>,
    /// Name of what is behind it, once something is.
    pub content: Option<Box<str>>,
}

/// A `VolumeSnapshotContent`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub name: Box<str>,
    pub uid: Box<str>,
    /// Where the bytes are.
    pub handle: Option<Box<str>>,
    /// What becomes of them when its snapshot goes.
    pub deletion: Reclaim,
    /// UID of the snapshot that it is bound to.
    pub snapshot: Option<Box<str>>,
    /// It is being deleted.
    pub going: bool,
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

impl Snapshot {
    /// Reads one as the API server has it.
    pub fn of(object: &Value) -> Self {
        let bound = text(object, "/status/boundVolumeSnapshotContentName");
        Self {
            namespace: text(object, "/metadata/namespace").unwrap_or_default().into(),
            name: text(object, "/metadata/name").unwrap_or_default().into(),
            uid: text(object, "/metadata/uid").unwrap_or_default().into(),
            size: text(object, "/status/restoreSize").map(Into::into),
            // Whoever gives it a content that is there already is bound to that in a moment.
            content: bound.or_else(|| text(object, "/spec/source/volumeSnapshotContentName")).map(Into::into),
        }
    }
}

impl Content {
    /// Reads one as the API server has it; a policy that is unknown counts as the worst.
    pub fn of(object: &Value) -> Self {
        let driver = text(object, "/spec/driver").unwrap_or_default();
        let handle = text(object, "/status/snapshotHandle").or_else(|| text(object, "/spec/source/snapshotHandle"));
        Self {
            name: text(object, "/metadata/name").unwrap_or_default().into(),
            uid: text(object, "/metadata/uid").unwrap_or_default().into(),
            handle: handle.map(|handle| format!("{driver}/{handle}").into()),
            deletion: match text(object, "/spec/deletionPolicy") {
                Some("Retain") => Reclaim::Retain,
                _ => Reclaim::Delete,
            },
            snapshot: text(object, "/spec/volumeSnapshotRef/uid").map(Into::into),
            going: text(object, "/metadata/deletionTimestamp").is_some(),
        }
    }

    /// Whether it is what is behind this snapshot, so that it goes with it.
    pub fn is_behind(&self, snapshot: &Snapshot) -> bool {
        snapshot.content.as_deref() == Some(&*self.name)
            && self.snapshot.as_ref().is_none_or(|uid| *uid == snapshot.uid)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(source: &Value, bound: Option<&str>) -> Snapshot {
        Snapshot::of(&json!({
            "metadata": {"namespace": "shop", "name": "daily", "uid": "s-1"}, "spec": {"source": source},
            "status": {"boundVolumeSnapshotContentName": bound, "restoreSize": "1Gi"},
        }))
    }

    fn content(policy: &str, of: &Value) -> Content {
        Content::of(&json!({
            "metadata": {"name": "content-1", "uid": "c-1"},
            "spec": {"deletionPolicy": policy, "driver": "csi.example.org", "source": {"volumeHandle": "vol-1"},
                     "volumeSnapshotRef": of},
            "status": {"snapshotHandle": "snap-1"},
        }))
    }

    #[test]
    fn a_content_is_behind_the_snapshot_that_it_is_bound_to() {
        let bound = snapshot(&json!({"persistentVolumeClaimName": "data"}), Some("content-1"));
        let named = snapshot(&json!({"volumeSnapshotContentName": "content-1"}), None);
        let new = snapshot(&json!({"persistentVolumeClaimName": "data"}), None);
        let (its, anothers) = (content("Delete", &json!({"uid": "s-1"})), content("Delete", &json!({"uid": "s-2"})));
        let unbound = content("Delete", &json!({"name": "daily"}));
        assert!(its.is_behind(&bound) && its.is_behind(&named) && unbound.is_behind(&named));
        assert!(!its.is_behind(&new) && !anothers.is_behind(&bound));
    }

    #[test]
    fn a_content_knows_where_its_bytes_are_and_what_becomes_of_them() {
        let kept = content("Retain", &json!({"uid": "s-1"}));
        assert_eq!((kept.handle.as_deref(), kept.deletion), (Some("csi.example.org/snap-1"), Reclaim::Retain));
        assert_eq!(content("Shred", &json!({})).deletion, Reclaim::Delete);
    }
}
