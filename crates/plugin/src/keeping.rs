//! What would keep the data of claims that go: their volumes, what holds those, snapshots and backups.

use std::collections::BTreeMap;

use foureyes_core::api::{BackupRetention, Target, TargetKind};
use foureyes_core::domain::inventory::{Reclaim, Volume};
use jiff::Timestamp;
use kube::core::{ApiResource, DynamicObject};
use serde::Serialize;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::losing::Losing;
use crate::output::time;

/// Backups shown, the newest first.
const BACKUPS: usize = 5;

/// One thing that keeps data, or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Keeper {
    /// `PersistentVolume pvc-1`.
    pub keeper: String,
    /// What of: a claim, or a namespace.
    pub of: String,
    pub state: String,
}

/// Reads it; what can't be read is added to what is not known.
pub async fn keeping(cluster: &Cluster, target: &Target, losing: &mut Losing) -> Vec<Keeper> {
    let mut keepers = volumes(losing);
    keepers.extend(retentions(cluster, losing).await);
    keepers.extend(snapshots(cluster, target, losing).await);
    keepers.extend(backups(cluster, target, losing).await);
    keepers
}

fn volumes(losing: &Losing) -> Vec<Keeper> {
    let of_claim = losing.claims.iter().filter_map(|lost| {
        let volume = Volume::of(lost.volume.as_ref()?);
        let state = match (volume.going, volume.reclaim) {
            (true, _) => "is being deleted itself".to_owned(),
            (false, Reclaim::Retain) => "on Retain: outlives the claim".to_owned(),
            (false, policy) => {
                format!("on {}: goes with the claim, but is put on Retain once that is signed off", policy.as_str())
            }
        };
        let of = format!("pvc/{}/{}", lost.claim.namespace, lost.claim.name);
        Some(Keeper { keeper: format!("PersistentVolume {}", volume.name), of, state })
    });
    of_claim.collect()
}

async fn retentions(cluster: &Cluster, losing: &mut Losing) -> Vec<Keeper> {
    let retentions: Vec<BackupRetention> = match cluster.all(None).await {
        Ok(retentions) => retentions,
        Err(error) => {
            losing.unknown.push(format!("what is held: {}", error.why()));
            return Vec::new();
        }
    };
    let claims: BTreeMap<&str, String> = losing
        .claims
        .iter()
        .filter_map(|lost| {
            let uid = lost.volume.as_ref()?.metadata.uid.as_deref()?;
            Some((uid, format!("pvc/{}/{}", lost.claim.namespace, lost.claim.name)))
        })
        .collect();
    let held = retentions.iter().flat_map(|retention| {
        let status = retention.status.as_ref();
        let until = status.and_then(|status| status.retain_until.as_ref()).map(|until| time(until.0));
        let until =
            until.map_or_else(|| format!("for {} days", retention.spec.retain_days), |until| format!("until {until}"));
        let phase =
            status.and_then(|status| status.phase).map(|phase| format!("{}, ", phase.as_str())).unwrap_or_default();
        let claims = &claims;
        retention.spec.keepers.iter().filter_map(move |keeper| {
            let of = claims.get(keeper.uid.as_str())?.clone();
            let name = retention.metadata.name.as_deref().unwrap_or_default();
            let state = format!("{phase}holds volume {} {until}", keeper.name);
            Some(Keeper { keeper: format!("BackupRetention {name}"), of, state })
        })
    });
    held.collect()
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

async fn snapshots(cluster: &Cluster, target: &Target, losing: &mut Losing) -> Vec<Keeper> {
    let kind = resource("snapshot.storage.k8s.io", "v1", "VolumeSnapshot", "volumesnapshots");
    let snapshots = match cluster.installed(&kind, Some(target.rights_namespace())).await {
        Ok(snapshots) => snapshots.unwrap_or_default(),
        Err(error) => {
            losing.unknown.push(format!("snapshots: {}", error.why()));
            return Vec::new();
        }
    };
    let with_namespace = target.kind == TargetKind::Namespace;
    let of_claim = snapshots.iter().filter_map(|snapshot| {
        let claim = snapshot.data.pointer("/spec/source/persistentVolumeClaimName")?.as_str()?;
        losing.claims.iter().find(|lost| &*lost.claim.name == claim)?;
        Some(snapshot_state(snapshot, target.rights_namespace(), claim, with_namespace))
    });
    of_claim.collect()
}

fn snapshot_state(snapshot: &DynamicObject, namespace: &str, claim: &str, with_namespace: bool) -> Keeper {
    let name = snapshot.metadata.name.as_deref().unwrap_or_default();
    let is_ready = snapshot.data.pointer("/status/readyToUse") == Some(&Value::Bool(true));
    let made = snapshot.data.pointer("/status/creationTime").and_then(Value::as_str);
    let made = made.map(|made| format!(", of {made}")).unwrap_or_default();
    let goes = if with_namespace { "; goes with the namespace" } else { "" };
    let state = format!("{}{made}{goes}", if is_ready { "ready" } else { "not ready: keeps nothing yet" });
    Keeper { keeper: format!("VolumeSnapshot {namespace}/{name}"), of: format!("pvc/{namespace}/{claim}"), state }
}

async fn backups(cluster: &Cluster, target: &Target, losing: &mut Losing) -> Vec<Keeper> {
    let kind = resource("velero.io", "v1", "Backup", "backups");
    let mut backups = match cluster.installed(&kind, None).await {
        Ok(backups) => backups.unwrap_or_default(),
        Err(error) => {
            losing.unknown.push(format!("Velero's backups: {}", error.why()));
            return Vec::new();
        }
    };
    let namespace = target.rights_namespace();
    backups.retain(|backup| covers(&backup.data, namespace));
    backups.sort_by_key(|backup| std::cmp::Reverse(completed(&backup.data)));
    let more = backups.len().saturating_sub(BACKUPS);
    let mut keepers: Vec<Keeper> = backups.iter().take(BACKUPS).map(|backup| backup_state(backup, namespace)).collect();
    if let Some(last) = keepers.last_mut().filter(|_| more > 0) {
        last.state = format!("{} (and {more} older ones)", last.state);
    }
    keepers
}

fn backup_state(backup: &DynamicObject, namespace: &str) -> Keeper {
    let text = |path: &str| backup.data.pointer(path).and_then(Value::as_str);
    let phase = text("/status/phase").unwrap_or("New");
    let at = text("/status/completionTimestamp").map(|at| format!(", of {at}")).unwrap_or_default();
    let until = text("/status/expiration").map(|until| format!(", expires {until}")).unwrap_or_default();
    let meta = &backup.metadata;
    let (place, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let says = if phase == "Completed" {
        "covers the namespace, if volumes were backed up with it"
    } else {
        "is not complete"
    };
    Keeper {
        keeper: format!("Velero Backup {place}/{name}"),
        of: format!("namespace/{namespace}"),
        state: format!("{phase}{at}{until}: {says}"),
    }
}

fn completed(backup: &Value) -> Option<Timestamp> {
    backup.pointer("/status/completionTimestamp")?.as_str()?.parse().ok()
}

/// By Velero's own lists of what to include: empty is everything.
fn covers(backup: &Value, namespace: &str) -> bool {
    let list = |key: &str| {
        let list = backup.pointer(&format!("/spec/{key}")).and_then(Value::as_array);
        list.map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>()).unwrap_or_default()
    };
    let has = |list: &[&str], names: &[&str]| list.iter().any(|one| names.contains(one));
    let includes = |key: &str, names: &[&str]| {
        let list = list(key);
        list.is_empty() || has(&list, &["*"]) || has(&list, names)
    };
    let claims = ["persistentvolumeclaims", "persistentvolumeclaim", "pvc"];
    let is_partial = ["labelSelector", "orLabelSelectors"].iter().any(|key| {
        let selector = backup.pointer(&format!("/spec/{key}"));
        selector.is_some_and(|selector| !selector.is_null())
    });
    includes("includedNamespaces", &[namespace])
        && !has(&list("excludedNamespaces"), &[namespace, "*"])
        && includes("includedResources", &claims)
        && !has(&list("excludedResources"), &claims)
        && !is_partial
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!({}), true)]
    #[case(json!({"includedNamespaces": ["*"]}), true)]
    #[case(json!({"includedNamespaces": ["bank", "shop"]}), true)]
    #[case(json!({"includedNamespaces": ["bank"]}), false)]
    #[case(json!({"excludedNamespaces": ["shop"]}), false)]
    #[case(json!({"includedResources": ["deployments"]}), false)]
    #[case(json!({"includedResources": ["persistentvolumeclaims", "pods"]}), true)]
    #[case(json!({"excludedResources": ["pvc"]}), false)]
    #[case(json!({"labelSelector": {"matchLabels": {"app": "web"}}}), false)]
    fn a_backup_covers_what_its_lists_say(#[case] spec: Value, #[case] covered: bool) {
        assert_eq!(covers(&json!({"spec": spec}), "shop"), covered);
    }

    fn object(value: &Value) -> DynamicObject {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn a_snapshot_says_whether_it_is_ready_and_whether_it_stays() {
        let ready = object(&json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
            "metadata": {"name": "monday"}, "status": {"readyToUse": true, "creationTime": "2026-11-20T10:00:00Z"}}));
        let keeper = snapshot_state(&ready, "shop", "reports", true);
        assert_eq!(keeper.keeper, "VolumeSnapshot shop/monday");
        assert_eq!(keeper.state, "ready, of 2026-11-20T10:00:00Z; goes with the namespace");
        let mut waiting = ready;
        waiting.data = json!({});
        assert_eq!(snapshot_state(&waiting, "shop", "reports", false).state, "not ready: keeps nothing yet");
    }

    #[test]
    fn a_backup_says_until_when() {
        let backup = object(&json!({"apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": {"name": "daily", "namespace": "velero"},
            "status": {"phase": "Completed", "completionTimestamp": "2026-11-20T10:00:00Z",
                "expiration": "2026-12-20T10:00:00Z"}}));
        let state = backup_state(&backup, "shop").state;
        assert!(
            state.starts_with("Completed, of 2026-11-20T10:00:00Z, expires 2026-12-20T10:00:00Z: covers"),
            "{state}"
        );
    }
}
