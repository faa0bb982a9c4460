//! Who uses claims that would go: what runs, what is switched off and would need them again, and what reaches the same
//! storage from elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use foureyes_core::api::{Target, TargetKind};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Resource as _};
use serde::Serialize;
use serde_json::Value;

use crate::cluster::{Cluster, call};
use crate::elsewhere::{Does, Elsewhere};
use crate::losing::Losing;

/// Pods named in one line.
const NAMED: usize = 3;
/// Kinds that run pods by themselves: plural, kind, group.
const WORKLOADS: [(&str, &str, &str); 4] = [
    ("deployments", "Deployment", "apps"),
    ("statefulsets", "StatefulSet", "apps"),
    ("daemonsets", "DaemonSet", "apps"),
    ("cronjobs", "CronJob", "batch"),
];

/// One user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// `Deployment shop/reports`.
    pub user: String,
    /// Claims, or the volume that it reaches the same storage by.
    pub uses: String,
    pub state: String,
}

/// What is known of a workload, or of a pod that nobody owns.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    claims: BTreeSet<String>,
    /// Names of pods that run.
    pods: Vec<String>,
}

/// A kind and a name in the namespace.
type Named = (String, String);

/// Reads it; what can't be read is added to what is not known.
pub async fn using(cluster: &Cluster, target: &Target, losing: &mut Losing) -> Vec<User> {
    let namespace = target.rights_namespace();
    let claims: BTreeSet<String> = losing.claims.iter().map(|lost| lost.claim.name.to_string()).collect();
    // With a namespace goes all that runs in it.
    let any = target.kind == TargetKind::Namespace;
    let mut known: BTreeMap<Named, Known> = BTreeMap::new();
    for (plural, kind, group) in WORKLOADS {
        match cluster.installed(&resource(plural, kind, group), Some(namespace)).await {
            Ok(objects) => {
                for object in objects.unwrap_or_default() {
                    let name = object.metadata.name.clone().unwrap_or_default();
                    let mounts: BTreeSet<String> = mounted(&object, &name, &claims);
                    if any || !mounts.is_empty() {
                        known.entry((kind.to_owned(), name)).or_default().claims.extend(mounts);
                    }
                }
            }
            Err(error) => losing.unknown.push(format!("which {plural} use it: {}", error.why())),
        }
    }
    match cluster.all::<Pod>(Some(namespace)).await {
        Ok(pods) => {
            let mut owners = Owners::default();
            for pod in pods.iter().filter(|pod| is_running(pod)) {
                let uses: BTreeSet<String> =
                    claims_of(pod).into_iter().filter(|claim| claims.contains(claim)).collect();
                if any || !uses.is_empty() {
                    let entry = known.entry(owners.of(cluster, namespace, pod).await).or_default();
                    entry.claims.extend(uses);
                    entry.pods.push(pod.metadata.name.clone().unwrap_or_default());
                }
            }
        }
        Err(error) => losing.unknown.push(format!("which pods use it: {}", error.why())),
    }
    let mut users: Vec<User> = known.iter().map(|(named, known)| user(namespace, named, known)).collect();
    users.extend(from_elsewhere(cluster, losing).await);
    users
}

fn resource(plural: &str, kind: &str, group: &str) -> ApiResource {
    ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version: format!("{group}/v1"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

fn user(namespace: &str, (kind, name): &Named, known: &Known) -> User {
    let state = match &known.pods[..] {
        [] => "runs no pod now".to_owned(),
        [pod] if kind == "Pod" && pod == name => "runs".to_owned(),
        pods => {
            let more = pods.len().saturating_sub(NAMED);
            let named = pods.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            format!("runs {named}{}", if more > 0 { format!(" and {more} more") } else { String::new() })
        }
    };
    let claims: Vec<String> = known.claims.iter().map(|claim| format!("pvc/{namespace}/{claim}")).collect();
    let uses = if claims.is_empty() { format!("namespace/{namespace}") } else { claims.join(", ") };
    User { user: format!("{kind} {namespace}/{name}"), uses, state }
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

fn claims_of(pod: &Pod) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claims = volumes.filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{name}-{}", volume.name)),
        (None, None) => None,
    });
    claims.collect()
}

/// Which of these claims the pods of a workload mount.
fn mounted(object: &DynamicObject, name: &str, claims: &BTreeSet<String>) -> BTreeSet<String> {
    let volumes = ["/spec/template/spec/volumes", "/spec/jobTemplate/spec/template/spec/volumes"]
        .iter()
        .filter_map(|path| object.data.pointer(path).and_then(Value::as_array))
        .flatten()
        .filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str));
    let mut mounts: BTreeSet<String> = volumes.filter(|claim| claims.contains(*claim)).map(str::to_owned).collect();
    let templates = object.data.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    for template in templates.into_iter().flatten() {
        let Some(template) = template.pointer("/metadata/name").and_then(Value::as_str) else { continue };
        let of_it = claims.iter().filter(|claim| {
            let ordinal = claim.strip_prefix(&format!("{template}-{name}-"));
            ordinal.is_some_and(|ordinal| !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit()))
        });
        mounts.extend(of_it.cloned());
    }
    mounts
}

/// Who stands behind a `ReplicaSet` or a Job, each asked once.
#[derive(Default)]
struct Owners(BTreeMap<Named, Named>);

impl Owners {
    async fn of(&mut self, cluster: &Cluster, namespace: &str, pod: &Pod) -> Named {
        let Some(owner) = controller(pod.metadata.owner_references.as_deref()) else {
            return ("Pod".to_owned(), pod.metadata.name.clone().unwrap_or_default());
        };
        if let Some(known) = self.0.get(&owner) {
            return known.clone();
        }
        // Who may not read it is shown what stands nearer.
        let behind = behind(cluster, namespace, &owner).await.unwrap_or_else(|| owner.clone());
        self.0.insert(owner, behind.clone());
        behind
    }
}

async fn behind(cluster: &Cluster, namespace: &str, (kind, name): &Named) -> Option<Named> {
    let what = format!("{kind} {name} could not be read");
    let metadata = match kind.as_str() {
        "ReplicaSet" => {
            let api: Api<ReplicaSet> = Api::namespaced(cluster.client.clone(), namespace);
            call(&what, api.get_opt(name)).await.ok()??.meta().clone()
        }
        "Job" => {
            let api: Api<Job> = Api::namespaced(cluster.client.clone(), namespace);
            call(&what, api.get_opt(name)).await.ok()??.meta().clone()
        }
        _ => return None,
    };
    controller(metadata.owner_references.as_deref())
}

fn controller(owners: Option<&[OwnerReference]>) -> Option<Named> {
    let owner = owners.unwrap_or_default().iter().find(|owner| owner.controller == Some(true))?;
    Some((owner.kind.clone(), owner.name.clone()))
}

/// The same storage behind another volume, and who runs on that.
async fn from_elsewhere(cluster: &Cluster, losing: &mut Losing) -> Vec<User> {
    let Some(volumes) = losing.volumes.take() else { return Vec::new() };
    let elsewhere = Elsewhere::of(&volumes);
    let mut found = Vec::new();
    let lost = losing.claims.iter().filter_map(|lost| lost.volume.as_ref());
    let twins: Vec<(String, crate::elsewhere::Twin)> = lost
        .flat_map(|volume| {
            let name = volume.metadata.name.clone().unwrap_or_default();
            elsewhere.twins(volume).into_iter().map(move |twin| (name.clone(), twin))
        })
        .collect();
    for (volume, twin) in twins {
        let uses = format!("the storage of {volume}");
        let state = match &twin.does {
            Does::Serves { claim, .. } => {
                let mut state = format!("is for {claim}");
                if let [_, namespace, name] = claim.split('/').collect::<Vec<_>>()[..] {
                    match cluster.all::<Pod>(Some(namespace)).await {
                        Ok(pods) => {
                            let runs =
                                pods.iter().filter(|pod| is_running(pod) && claims_of(pod).iter().any(|of| of == name));
                            let runs: Vec<String> = runs.filter_map(|pod| pod.metadata.name.clone()).collect();
                            if !runs.is_empty() {
                                state = format!("{state}, which pod {} uses", runs.join(", "));
                            }
                        }
                        Err(error) => losing.unknown.push(format!("which pods use {claim}: {}", error.why())),
                    }
                }
                state
            }
            Does::Destroys => "is about to destroy it".to_owned(),
            Does::Nothing => "is for no claim".to_owned(),
        };
        found.push(User { user: format!("PersistentVolume {}", twin.volume), uses, state });
    }
    losing.volumes = Some(volumes);
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn claims(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn workload(spec: &Value) -> DynamicObject {
        let object = json!({"apiVersion": "apps/v1", "kind": "X", "metadata": {"name": "db"}, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_is_switched_off_is_known_by_its_template() {
        let volumes =
            json!([{"name": "v", "persistentVolumeClaim": {"claimName": "reports"}}, {"name": "tmp", "emptyDir": {}}]);
        let template = json!({"spec": {"volumes": volumes}});
        let wanted = claims(&["reports", "other"]);
        assert_eq!(mounted(&workload(&json!({"template": template})), "db", &wanted), claims(&["reports"]));
        let job = json!({"jobTemplate": {"spec": {"template": template}}});
        assert_eq!(mounted(&workload(&job), "db", &wanted), claims(&["reports"]));
        let set = json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}}]});
        let wanted = claims(&["data-db-0", "data-db-12", "data-db-x", "data-db2-0", "data-db-"]);
        assert_eq!(mounted(&workload(&set), "db", &wanted), claims(&["data-db-0", "data-db-12"]));
    }

    #[test]
    fn a_user_says_what_runs() {
        let known =
            |pods: &[&str]| Known { claims: claims(&["a"]), pods: pods.iter().map(|&pod| pod.to_owned()).collect() };
        let state = |kind: &str, pods: &[&str]| user("shop", &(kind.to_owned(), "db".to_owned()), &known(pods)).state;
        assert_eq!(state("StatefulSet", &[]), "runs no pod now");
        assert_eq!(state("StatefulSet", &["db-0"]), "runs db-0");
        assert_eq!(state("StatefulSet", &["1", "2", "3", "4", "5"]), "runs 1, 2, 3 and 2 more");
        assert_eq!(state("Pod", &["db"]), "runs");
        let whole = user("shop", &("Pod".to_owned(), "x".to_owned()), &Known::default());
        assert_eq!((whole.user.as_str(), whole.uses.as_str()), ("Pod shop/x", "namespace/shop"));
    }
}
