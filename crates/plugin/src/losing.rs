//! What a deletion would take along, as it is now, with the digest that somebody would sign off.

use foureyes_core::api::{SafetyPolicy, Target, TargetKind};
use foureyes_core::domain::deletion::is_data;
use foureyes_core::domain::inventory::{Claim, Inventory, Volume};
use foureyes_core::domain::policy::{PolicySet, compile};
use foureyes_core::domain::snapshot::{CONTENT, Content, GROUP, SNAPSHOT, Snapshot};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

use crate::cluster::{Cluster, Tried, call};
use crate::deletion::There;
use crate::error::Result;

/// A claim that would go, and its volume where that can be read.
#[derive(Clone, Debug)]
pub struct Lost {
    pub claim: Claim,
    pub volume: Option<PersistentVolume>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Losing {
    pub claims: Vec<Lost>,
    /// Snapshots that would go, each with what is behind it.
    pub snapshots: Vec<(Snapshot, Option<Content>)>,
    /// Every volume of the cluster; nothing where they can't be read.
    pub volumes: Option<Vec<PersistentVolume>>,
    /// `inventory/v1:sha256:…`, or the beginning of its hash as the guard said it.
    pub digest: Option<String>,
    /// What could not be read, one line each.
    pub unknown: Vec<String>,
}

/// Reads it.
pub async fn losing(cluster: &Cluster, there: &There) -> Result<Losing> {
    let mut losing = without_digest(cluster, &there.target).await?;
    losing.digest = match &losing.volumes {
        Some(_) => match inventory(&losing.claims, &losing.snapshots).digest() {
            Ok(digest) => Some(digest),
            Err(error) => {
                losing.unknown.push(format!("the digest: {error}"));
                None
            }
        },
        None => by_the_guard(cluster, there, &mut losing.unknown).await,
    };
    Ok(losing)
}

/// The same without its digest.
pub async fn without_digest(cluster: &Cluster, target: &Target) -> Result<Losing> {
    let mut unknown = Vec::new();
    let claims = claims(cluster, target, &mut unknown).await?;
    let snapshots = snapshots(cluster, target).await.unwrap_or_else(|error| {
        unknown.push(format!("the snapshots that would go, so that the digest may be another: {error}"));
        Vec::new()
    });
    let volumes: Option<Vec<PersistentVolume>> = match cluster.all(None).await {
        Ok(volumes) => Some(volumes),
        Err(error) => {
            unknown.push(format!("size, storage and reclaim policy of the volumes: {}", error.why()));
            None
        }
    };
    let volume_of = |claim: &Claim| {
        let name = claim.volume.as_deref()?;
        volumes.iter().flatten().find(|volume| volume.metadata.name.as_deref() == Some(name)).cloned()
    };
    let claims: Vec<Lost> = claims.into_iter().map(|claim| Lost { volume: volume_of(&claim), claim }).collect();
    Ok(Losing { claims, snapshots, volumes, digest: None, unknown })
}

/// What would be signed off, as the guard reckons it.
pub fn inventory(claims: &[Lost], snapshots: &[(Snapshot, Option<Content>)]) -> Inventory {
    let volumes: Vec<Option<Volume>> = claims.iter().map(|lost| lost.volume.as_ref().map(Volume::of)).collect();
    let claims = Inventory::of(claims.iter().zip(&volumes).map(|(lost, volume)| (&lost.claim, volume.as_ref())));
    claims.and_snapshots(snapshots.iter().map(|(snapshot, content)| (snapshot, content.as_ref())))
}

/// The snapshots that go with a namespace.
async fn snapshots(cluster: &Cluster, target: &Target) -> Result<Vec<(Snapshot, Option<Content>)>> {
    if target.kind != TargetKind::Namespace {
        return Ok(Vec::new());
    }
    let kind = |kind, plural| ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1", kind), plural);
    let whole = |objects: Option<Vec<DynamicObject>>| -> Vec<Value> {
        objects.into_iter().flatten().filter_map(|object| serde_json::to_value(object).ok()).collect()
    };
    let snapshots = cluster.installed(&kind(SNAPSHOT, "volumesnapshots"), Some(&target.name)).await?;
    let snapshots: Vec<Snapshot> = whole(snapshots).iter().map(Snapshot::of).collect();
    if snapshots.is_empty() {
        return Ok(Vec::new());
    }
    let contents = cluster.installed(&kind(CONTENT, "volumesnapshotcontents"), None).await?;
    let contents: Vec<Content> = whole(contents).iter().map(Content::of).collect();
    let behind = |snapshot: &Snapshot| contents.iter().find(|content| content.is_behind(snapshot)).cloned();
    Ok(snapshots.into_iter().map(|snapshot| (behind(&snapshot), snapshot)).map(|(content, of)| (of, content)).collect())
}

async fn claims(cluster: &Cluster, target: &Target, unknown: &mut Vec<String>) -> Result<Vec<Claim>> {
    let namespace = target.rights_namespace();
    if target.kind == TargetKind::PersistentVolumeClaim {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), namespace);
        let claim = call(&format!("{} could not be read", target.text()), api.get_opt(&target.name)).await?;
        return Ok(claim.iter().map(Claim::of).filter(|claim| *claim.uid == *target.uid).collect());
    }
    let all: Vec<PersistentVolumeClaim> = cluster.all(Some(namespace)).await?;
    let policies = policies(cluster).await.unwrap_or_else(|error| {
        unknown.push(format!("what is exempt, so that the digest may be another: {}", error.why()));
        PolicySet::default()
    });
    let mut claims: Vec<Claim> = all.iter().map(Claim::of).filter(|claim| is_data(&policies, claim)).collect();
    claims.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(claims)
}

/// The policy `default`: what is exempt says no other.
async fn policies(cluster: &Cluster) -> Result<PolicySet> {
    let api: Api<SafetyPolicy> = Api::all(cluster.client.clone());
    let policy = call("the policy could not be read", api.get_opt("default")).await?;
    let compiled = policy.as_ref().map(compile).transpose();
    let compiled = compiled.map_err(|error| crate::error::Error::unreadable("the policy", error))?;
    Ok(PolicySet::new(compiled.into_iter().collect(), Vec::new()))
}

/// The guard shows the beginning of the digest to whoever may delete, as a dry run.
async fn by_the_guard(cluster: &Cluster, there: &There, unknown: &mut Vec<String>) -> Option<String> {
    let said = match there.tried(cluster).await {
        Ok(Tried::Refused(text)) => text,
        Ok(Tried::Allowed { warnings, .. }) => warnings.join("\n"),
        Ok(Tried::Forbidden(why)) => why,
        Err(error) => error.to_string(),
    };
    let digest = short_digest(&said);
    if digest.is_none() {
        let why = said.lines().next().unwrap_or("the guard asks for none");
        unknown.push(format!("the digest: without the volumes it takes a dry run of the deletion to know it ({why})"));
    }
    digest
}

/// `… (inventory 61a4bd4cfaa6)`.
fn short_digest(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("(inventory ")?;
    let (digest, _) = rest.split_once(')')?;
    (!digest.is_empty() && digest.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| digest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_shows_the_beginning_of_the_digest() {
        let text = "Would be lost: claim shop/reports (5Gi, volume pvc-1) (inventory 61a4bd4cfaa6)\nNext:";
        assert_eq!(short_digest(text).as_deref(), Some("61a4bd4cfaa6"));
        assert_eq!(short_digest("(inventory )"), None);
        assert_eq!(short_digest("cannot delete"), None);
    }
}
