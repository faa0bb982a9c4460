//! Workloads read for who uses a target, and scaled: through their `scale` subresource, and `CronJob`s by `suspend`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foureyes_core::api::{Author, is_name};
use foureyes_core::domain::inventory::Controller;
use foureyes_core::domain::shutdown::{Change, Field, Users, Workload};
use futures::future::try_join_all;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use super::client::{CallError, with_deadline};
use super::live::{Live, ReadError};
use super::pods::Running;
use super::workloads::{BUILT_IN, ROLLOUT, Recorded};

/// Rights asked for at a time.
const AT_ONCE: usize = 8;
/// Objects read in one call: a page of the largest templates stays below what the controller has.
const PAGE: u32 = 100;
/// Verbs of which one suffices.
const VERBS: [&str; 2] = ["patch", "update"];

static REPLICA_SET: Recorded = Recorded { group: "apps", version: "v1", kind: "ReplicaSet", plural: "replicasets" };
/// What scales others, as it is called in paths.
static AUTOSCALERS: [Recorded; 2] = [
    Recorded {
        group: "autoscaling",
        version: "v2",
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
    },
    Recorded { group: "keda.sh", version: "v1alpha1", kind: "ScaledObject", plural: "scaledobjects" },
];

/// Whatever can be scaled to zero, or suspended.
fn scalable() -> impl Iterator<Item = &'static Recorded> {
    BUILT_IN.iter().filter(|kind| kind.kind != "DaemonSet").chain([&REPLICA_SET, &ROLLOUT])
}

fn field_of(kind: &Recorded) -> Field {
    if kind.kind == "CronJob" { Field::Suspend } else { Field::Replicas }
}

/// One that was read, with what is asked of it before it concerns anybody.
#[derive(Clone)]
struct Found {
    kind: &'static Recorded,
    workload: Workload,
    controller: Option<Controller>,
    /// Claims that its pods will mount, by its template.
    claims: Vec<String>,
}

impl Found {
    fn of(kind: &'static Recorded, object: &DynamicObject) -> Self {
        let field = field_of(kind);
        let (meta, data) = (&object.metadata, &object.data);
        let template = match field {
            Field::Suspend => "/spec/jobTemplate/spec/template/spec/volumes",
            Field::Replicas => "/spec/template/spec/volumes",
        };
        let volumes = data.pointer(template).and_then(Value::as_array).into_iter().flatten();
        let claim = |volume: &Value| Some(volume.pointer("/persistentVolumeClaim/claimName")?.as_str()?.to_owned());
        let (set_by, set_at) = set(object, field);
        let deletes = data.pointer("/spec/persistentVolumeClaimRetentionPolicy/whenScaled");
        Self {
            kind,
            claims: volumes.filter_map(claim).collect(),
            controller: Controller::of(meta.owner_references.as_deref().unwrap_or_default()),
            workload: Workload {
                api_version: kind.api_version(),
                kind: kind.kind.to_owned(),
                name: meta.name.clone().unwrap_or_default(),
                uid: meta.uid.clone().unwrap_or_default(),
                resource_version: meta.resource_version.clone().unwrap_or_default(),
                field,
                value: value(data, field),
                set_by,
                set_at,
                takes_claims_along: deletes.and_then(Value::as_str) == Some("Delete"),
                ..Workload::default()
            },
        }
    }

    /// It has its number of pods from another of these.
    fn is_part(&self) -> bool {
        self.controller.as_ref().is_some_and(|owner| scalable().any(|kind| is_of(owner, kind)))
    }
}

fn is_of(owner: &Controller, kind: &Recorded) -> bool {
    *owner.group == *kind.group && *owner.kind == *kind.kind
}

/// What is left out is one replica, and not suspended.
fn value(data: &Value, field: Field) -> String {
    let said = |pointer: &str| data.pointer(pointer).filter(|value| !value.is_null()).map(Value::to_string);
    match field {
        Field::Replicas => said("/spec/replicas").unwrap_or_else(|| "1".to_owned()),
        Field::Suspend => said("/spec/suspend").unwrap_or_else(|| "false".to_owned()),
    }
}

/// Who set the field last, and when. Of what was scaled through `scale` the API server tells no time, and once that was to
/// zero nobody either.
fn set(object: &DynamicObject, field: Field) -> (Option<String>, Option<Timestamp>) {
    let owned = match field {
        Field::Replicas => "/f:spec/f:replicas",
        Field::Suspend => "/f:spec/f:suspend",
    };
    let Some(entries) = object.metadata.managed_fields.as_ref().filter(|entries| !entries.is_empty()) else {
        return (None, object.metadata.creation_timestamp.as_ref().map(|time| time.0));
    };
    let owns =
        |entry: &&ManagedFieldsEntry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer(owned).is_some());
    let at = |entry: &ManagedFieldsEntry| entry.time.as_ref().map(|time| time.0);
    // Nothing known is the latest: it may have been just now.
    let last = entries.iter().filter(owns).max_by_key(|entry| at(entry).unwrap_or(Timestamp::MAX));
    (last.and_then(|entry| entry.manager.clone()), last.and_then(at))
}

/// What is to be looked at.
pub struct Looked<'a> {
    pub namespace: &'a str,
    /// Nothing for the namespace as a whole.
    pub claim: Option<&'a str>,
    /// The pods that use it.
    pub running: Vec<&'a Running>,
    /// What was scaled down for it, by UID: no pod tells of it any more.
    pub scaled_down: BTreeSet<&'a str>,
    /// Of these, what was seen at zero: if it runs again, who scales it is looked up.
    pub seen: BTreeSet<&'a str>,
    /// In whose name something may be scaled down; nobody, if nothing is.
    pub asker: Option<&'a Author>,
}

impl Live {
    /// What uses a target and could be scaled down.
    pub async fn users(&self, looked: &Looked<'_>) -> Result<Users, ReadError> {
        if !is_name(looked.namespace) {
            return Ok(Users::default());
        }
        let read: Vec<_> = scalable().map(|kind| self.found(kind, looked.namespace).boxed()).collect();
        let found = try_join_all(read).await?;
        let found: Vec<Found> = found.into_iter().flatten().collect();
        let (using, others) = using(&found, looked);
        let mut workloads: Vec<Workload> = stream::iter(using.into_iter().cloned())
            .map(|found| async move {
                let Found { kind, workload, .. } = found;
                let runs = workload.value != workload.field.down();
                let may = match looked.asker.filter(|_| runs && !looked.seen.contains(&*workload.uid)) {
                    Some(asker) => self.may_scale(asker, kind, &workload, looked.namespace).await?,
                    None => false,
                };
                Ok::<_, ReadError>(Workload { may, ..workload })
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let again = |workload: &Workload| {
            workload.value != workload.field.down() && looked.seen.contains(workload.uid.as_str())
        };
        if workloads.iter().any(again) {
            let scalers = self.scalers(looked.namespace).await?;
            for workload in workloads.iter_mut().filter(|workload| again(workload)) {
                workload.scalers =
                    scalers.get(&(workload.kind.clone(), workload.name.clone())).cloned().unwrap_or_default();
            }
        }
        workloads.sort_by(|one, other| (&one.kind, &one.name).cmp(&(&other.kind, &other.name)));
        Ok(Users { workloads, others })
    }

    async fn found(&self, kind: &'static Recorded, namespace: &str) -> Result<Vec<Found>, ReadError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client().clone(), namespace, &kind.resource());
        let listed = self.list("workloads", &api, ListParams::default().limit(PAGE), |object| Found::of(kind, &object));
        served(listed.await)
    }

    /// Whether this person may do by hand what is done in their name.
    async fn may_scale(
        &self,
        asker: &Author,
        kind: &Recorded,
        workload: &Workload,
        namespace: &str,
    ) -> Result<bool, ReadError> {
        for verb in VERBS {
            let attributes = ResourceAttributes {
                group: Some(kind.group.to_owned()),
                resource: Some(kind.plural.to_owned()),
                subresource: (workload.field == Field::Replicas).then(|| "scale".to_owned()),
                verb: Some(verb.to_owned()),
                namespace: Some(namespace.to_owned()),
                name: Some(workload.name.clone()),
                ..ResourceAttributes::default()
            };
            if self.may_do(asker, attributes).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What scales others, by kind and name of those.
    async fn scalers(&self, namespace: &str) -> Result<BTreeMap<(String, String), Vec<String>>, ReadError> {
        let mut scalers: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for kind in &AUTOSCALERS {
            let api: Api<DynamicObject> = Api::namespaced_with(self.client().clone(), namespace, &kind.resource());
            let scaler = |object: DynamicObject| {
                let text = |key: &str| object.data.pointer(key).and_then(Value::as_str).map(str::to_owned);
                let of = text("/spec/scaleTargetRef/kind").unwrap_or_else(|| "Deployment".to_owned());
                Some(((of, text("/spec/scaleTargetRef/name")?), format!("{}/{}", kind.kind, object.metadata.name?)))
            };
            let listed = self.list("autoscalers", &api, ListParams::default(), scaler).await;
            for (of, scaler) in served(listed)?.into_iter().flatten() {
                scalers.entry(of).or_default().push(scaler);
            }
        }
        Ok(scalers)
    }

    /// Changes a workload that is as it was read; else the error [is a conflict](CallError::is_conflict). `false` if it
    /// is gone.
    pub async fn scale(&self, namespace: &str, change: &Change, limit: Duration) -> Result<bool, CallError> {
        let (group, version) = change.api_version.split_once('/').unwrap_or(("", &change.api_version));
        let Some(kind) = scalable().find(|kind| kind.group == group && kind.kind == change.kind) else {
            return Ok(false);
        };
        let gvk = GroupVersionKind::gvk(group, version, &change.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client().clone(), namespace, &resource);
        let value: Value =
            serde_json::from_str(&change.value).map_err(|error| CallError::Api(kube::Error::SerdeError(error)))?;
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let field = change.field.path().rsplit('.').next().unwrap_or_default();
        let patch = Patch::Merge(json!({
            "metadata": {"uid": change.uid, "resourceVersion": change.resource_version},
            "spec": {field: value},
        }));
        // Boxed, because the two are different futures with one result.
        let patched = match change.field {
            Field::Replicas => api.patch_subresource("scale", &change.name, &params, &patch).boxed(),
            Field::Suspend => api.patch(&change.name, &params, &patch).boxed(),
        };
        match with_deadline(limit, patched).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A kind that the cluster does not have has no objects.
fn served<T>(listed: Result<Vec<T>, ReadError>) -> Result<Vec<T>, ReadError> {
    match listed {
        Err(error) if error.class() == "not_found" => Ok(Vec::new()),
        listed => listed,
    }
}

/// Of what was found, what uses the target or was scaled down for it; and who else does.
fn using<'a>(found: &'a [Found], looked: &Looked<'_>) -> (Vec<&'a Found>, Vec<String>) {
    let by_owner =
        |owner: &Controller| found.iter().find(|found| is_of(owner, found.kind) && found.workload.name == *owner.name);
    let mut others = BTreeSet::new();
    let mut owners = BTreeSet::new();
    for pod in &looked.running {
        let owner = pod.controller.as_ref();
        let direct = owner.and_then(by_owner);
        let top = direct.map(|direct| direct.controller.as_ref().and_then(by_owner).unwrap_or(direct));
        let other = match (top, owner) {
            (Some(top), _) => {
                owners.insert(top.workload.uid.as_str());
                continue;
            }
            (None, Some(owner)) if *owner.kind != *"Node" => format!("{}/{}", owner.kind, owner.name),
            (None, _) => format!("Pod/{}", pod.uses.name),
        };
        others.insert(other);
    }
    let uses = |found: &&Found| {
        let uid = found.workload.uid.as_str();
        let mounts = |claim: &str| owners.contains(uid) || found.claims.iter().any(|mounted| mounted == claim);
        !found.is_part() && looked.claim.is_none_or(mounts) || looked.scaled_down.contains(uid)
    };
    (found.iter().filter(uses).collect(), others.into_iter().collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cluster::pods::PodUse;

    fn kind(name: &str) -> &'static Recorded {
        scalable().find(|kind| kind.kind == name).unwrap()
    }

    fn found(kind_name: &str, name: &str, more: &Value) -> Found {
        let kind = kind(kind_name);
        let mut metadata = json!({"name": name, "uid": name, "creationTimestamp": "2026-11-01T10:00:00Z"});
        for (key, value) in more["metadata"].as_object().into_iter().flatten() {
            metadata[key] = value.clone();
        }
        let object =
            json!({"apiVersion": kind.api_version(), "kind": kind_name, "metadata": metadata, "spec": more["spec"]});
        Found::of(kind, &serde_json::from_value(object).unwrap())
    }

    fn owned_by(kind: &str, api_version: &str, name: &str) -> Value {
        let owner = json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": "u", "controller": true});
        json!({"metadata": {"ownerReferences": [owner]}})
    }

    fn pod(name: &str, controller: Option<(&str, &str, &str)>) -> Running {
        let uses = PodUse { name: name.into(), ..PodUse::default() };
        Running { uses, controller: controller.and_then(|(group, kind, name)| Controller::new(group, kind, name)) }
    }

    fn looked<'a>(claim: Option<&'a str>, running: &'a [Running]) -> Looked<'a> {
        Looked {
            namespace: "shop",
            claim,
            running: running.iter().collect(),
            scaled_down: BTreeSet::new(),
            seen: BTreeSet::new(),
            asker: None,
        }
    }

    #[test]
    fn what_is_left_out_is_one_replica_and_not_suspended() {
        let of = |kind: &str, spec: Value| found(kind, "a", &json!({"spec": spec})).workload.value;
        assert_eq!(
            (of("Rollout", json!({})), of("Deployment", json!({"replicas": 0}))),
            ("1".to_owned(), "0".to_owned())
        );
        assert_eq!(
            (of("CronJob", json!({})), of("CronJob", json!({"suspend": true}))),
            ("false".to_owned(), "true".to_owned())
        );
    }

    #[test]
    fn whoever_set_the_field_last_is_known_by_the_fields_of_its_manager() {
        let entry = |manager: &str, time: &str, field: &str| json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": {"f:spec": {field: {}}}});
        let managed = json!({"metadata": {"managedFields": [
            entry("helm", "2026-11-23T10:00:00Z", "f:replicas"),
            entry("hpa", "2026-11-23T12:00:00Z", "f:replicas"),
            entry("kubectl", "2026-11-23T13:00:00Z", "f:template"),
        ]}});
        let workload = found("Deployment", "web", &managed).workload;
        let at = workload.set_at.map(|at| at.to_string());
        assert_eq!((workload.set_by.as_deref(), at.as_deref()), (Some("hpa"), Some("2026-11-23T12:00:00Z")));
        let mut scaled = entry("kubectl", "2026-11-23T11:00:00Z", "f:replicas");
        scaled.as_object_mut().unwrap().remove("time");
        scaled["subresource"] = json!("scale");
        let managed =
            json!({"metadata": {"managedFields": [scaled, entry("helm", "2026-11-23T10:00:00Z", "f:replicas")]}});
        let workload = found("Deployment", "web", &managed).workload;
        assert_eq!((workload.set_by.as_deref(), workload.set_at), (Some("kubectl"), None));
        let managed = json!({"metadata": {"managedFields": [entry("helm", "2026-11-23T10:00:00Z", "f:template")]}});
        let workload = found("Deployment", "web", &managed).workload;
        assert_eq!((workload.set_by, workload.set_at), (None, None));
        let workload = found("Deployment", "web", &json!({})).workload;
        let at = workload.set_at.map(|at| at.to_string());
        assert_eq!((workload.set_by, at.as_deref()), (None, Some("2026-11-01T10:00:00Z")));
    }

    #[test]
    fn a_claim_is_used_by_whoever_makes_the_pods_that_mount_it() {
        let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
        let template = json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"volumes": volumes}}}}}});
        let all = [
            found("Deployment", "web", &json!({})),
            found("ReplicaSet", "web-1", &owned_by("Deployment", "apps/v1", "web")),
            found("ReplicaSet", "bare", &json!({})),
            found(
                "StatefulSet",
                "db",
                &json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}}),
            ),
            found("CronJob", "report", &template),
        ];
        let running = [
            pod("web-1-a", Some(("apps", "ReplicaSet", "web-1"))),
            pod("db-0", Some(("apps", "StatefulSet", "db"))),
            pod("agent-a", Some(("apps", "DaemonSet", "agent"))),
            pod("static", Some(("", "Node", "node-1"))),
            pod("shell", None),
        ];
        let names = |using: Vec<&Found>| using.iter().map(|found| found.workload.name.clone()).collect::<Vec<_>>();
        let (of_claim, others) = using(&all, &looked(Some("data"), &running));
        assert!(of_claim[1].workload.takes_claims_along && !of_claim[0].workload.takes_claims_along);
        assert_eq!(names(of_claim), ["web", "db", "report"]);
        assert_eq!(others, ["DaemonSet/agent", "Pod/shell", "Pod/static"]);

        // In a namespace all of them are, but for what another one of them makes.
        assert_eq!(names(using(&all, &looked(None, &[])).0), ["web", "bare", "db", "report"]);
        // No pod tells any more what was scaled down.
        let looked = Looked { scaled_down: ["bare"].into(), ..looked(Some("data"), &[]) };
        assert_eq!(names(using(&all, &looked).0), ["bare", "report"]);
    }
}
