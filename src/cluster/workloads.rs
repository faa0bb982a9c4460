//! Workloads, and whatever else a change may name, read live and reduced at once to what is decided by.

use std::collections::{BTreeMap, BTreeSet};

use foureyes_core::api::{WorkloadIdentity, is_name};
use foureyes_core::domain::inventory::Controller;
use foureyes_core::domain::rollout::location::Location;
use foureyes_core::domain::rollout::progress::{Progress, progress};
use foureyes_core::domain::rollout::template::{Template, TemplateError};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::core::{PartialObjectMeta, Selector};
use serde_json::Value;

use super::live::{Live, ReadError};

/// Pods looked at for the digests that run: enough to show a tag that moved, and bounded.
const PODS: u32 = 100;
/// Digests of one image that are told.
const IDS: usize = 8;

/// A kind of which records are kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Recorded {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
}

/// Argo's kind, which not every cluster has.
pub static ROLLOUT: Recorded =
    Recorded { group: "argoproj.io", version: "v1alpha1", kind: "Rollout", plural: "rollouts" };
/// Those that every cluster has.
pub static BUILT_IN: [Recorded; 4] = [
    Recorded { group: "apps", version: "v1", kind: "Deployment", plural: "deployments" },
    Recorded { group: "apps", version: "v1", kind: "StatefulSet", plural: "statefulsets" },
    Recorded { group: "apps", version: "v1", kind: "DaemonSet", plural: "daemonsets" },
    Recorded { group: "batch", version: "v1", kind: "CronJob", plural: "cronjobs" },
];

/// All of them.
pub fn recorded() -> impl Iterator<Item = &'static Recorded> {
    BUILT_IN.iter().chain(std::iter::once(&ROLLOUT))
}

impl Recorded {
    /// The kind of an object, if records are kept of it.
    pub fn of(object: &WorkloadIdentity) -> Option<&'static Self> {
        recorded().find(|kind| kind.group == object.group && kind.kind == object.kind)
    }

    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    pub fn resource(&self) -> ApiResource {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(self.group, self.version, self.kind), self.plural)
    }

    /// One of this kind.
    pub fn identity(&self, object: &impl kube::ResourceExt) -> WorkloadIdentity {
        WorkloadIdentity {
            group: self.group.to_owned(),
            kind: self.kind.to_owned(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }
}

/// Other kinds that the controller may read, by group, kind and plural. What else a change names may be readable or not.
const READABLE: [(&str, &str, &str); 9] = [
    ("", "Namespace", "namespaces"),
    ("foureyes.dev", "SafetyPolicy", "safetypolicies"),
    ("apps", "ReplicaSet", "replicasets"),
    ("", "ReplicationController", "replicationcontrollers"),
    ("", "Pod", "pods"),
    ("", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "PersistentVolume", "persistentvolumes"),
    (REGISTRATION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
    (REGISTRATION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
];
const REGISTRATION: &str = "admissionregistration.k8s.io";

/// An object that a change names.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Is(Value),
    Gone,
    /// The controller may not read it: nothing follows from that.
    Unreadable,
}

/// A workload, reduced.
#[derive(Clone, Debug)]
pub struct Workload {
    pub uid: String,
    pub generation: i64,
    pub template: Template,
    pub progress: Progress,
    pub controller: Option<Controller>,
    pub by: Option<String>,
    /// Its pods; of what has none of its own, none.
    selector: Option<Selector>,
}

impl Workload {
    /// Reduces an object as the API server has it.
    pub fn of(kind: &str, object: &Value, location: &Location) -> Result<Self, TemplateError> {
        let spec = object.get("spec").ok_or(TemplateError::Missing)?;
        let status = object.get("status").unwrap_or(&Value::Null);
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let generation = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
        let owners = object.pointer("/metadata/ownerReferences").cloned().unwrap_or_default();
        let selector: Option<LabelSelector> =
            spec.get("selector").and_then(|selector| serde_json::from_value(selector.clone()).ok());
        Ok(Self {
            uid: text("/metadata/uid"),
            generation,
            template: Template::of_value(location, spec)?,
            progress: progress(kind, generation, spec, status),
            controller: serde_json::from_value(owners).ok().and_then(|owners: Vec<_>| Controller::of(&owners)),
            by: writer(object),
            selector: selector.and_then(|selector| Selector::try_from(selector).ok()).filter(|all| !all.selects_all()),
        })
    }
}

/// Who wrote what runs last, as whoever wrote it calls itself: the API server keeps no more than that.
pub fn writer(object: &Value) -> Option<String> {
    const RUNS: [&str; 3] = ["f:template", "f:jobTemplate", "f:workloadRef"];
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let whole: Vec<&Value> = entries.iter().filter(|entry| entry.get("subresource").is_none()).collect();
    let about = |entry: &&&Value| {
        let spec = entry.pointer("/fieldsV1/f:spec");
        RUNS.iter().any(|field| spec.is_some_and(|spec| spec.get(field).is_some()))
    };
    let time = |entry: &&&Value| entry.get("time").and_then(Value::as_str).unwrap_or_default().to_owned();
    let last = whole.iter().filter(about).max_by_key(time).or_else(|| whole.iter().max_by_key(time))?;
    Some(format!("field manager {}", last.get("manager")?.as_str()?))
}

impl Live {
    /// Any object, in the version that is asked for.
    pub async fn object(&self, object: &WorkloadIdentity, version: &str) -> Result<Object, ReadError> {
        let placed = object.namespace.is_empty() || is_name(&object.namespace);
        if !placed || !is_name(&object.name) {
            return Ok(Object::Gone);
        }
        let known = READABLE.iter().find(|(group, kind, _)| *group == object.group && *kind == object.kind);
        let of_version = |plural: &str| {
            let kind = GroupVersionKind::gvk(&object.group, version, &object.kind);
            ApiResource::from_gvk_with_plural(&kind, plural)
        };
        let (resource, may_read) = match (Recorded::of(object), known) {
            // What runs is the same in every version.
            (Some(kind), _) => (kind.resource(), true),
            (None, Some((.., plural))) => (of_version(plural), true),
            (None, None) => match self.plural(&object.group, version, &object.kind).await? {
                Some(plural) => (of_version(&plural), false),
                None => return Ok(Object::Gone),
            },
        };
        let client = self.client().clone();
        let api: Api<DynamicObject> = if object.namespace.is_empty() {
            Api::all_with(client, &resource)
        } else {
            Api::namespaced_with(client, &object.namespace, &resource)
        };
        match self.call("target", api.get_opt(&object.name)).await {
            Ok(None) => Ok(Object::Gone),
            Ok(Some(read)) => serde_json::to_value(read)
                .map(Object::Is)
                .map_err(|error| ReadError::Malformed { what: "target", why: error.to_string() }),
            Err(error) if !may_read && error.class() == "forbidden" => Ok(Object::Unreadable),
            Err(error) => Err(error),
        }
    }

    /// What a kind is called in paths; `None` where it is not served.
    async fn plural(&self, group: &str, version: &str, kind: &str) -> Result<Option<String>, ReadError> {
        let group_version = format!("{group}/{version}");
        let asked = async {
            if group.is_empty() {
                return self.client().list_core_api_resources(version).await;
            }
            self.client().list_api_group_resources(&group_version).await
        };
        let served = match self.call("discovery", asked).await {
            Err(error) if error.class() == "not_found" => return Ok(None),
            served => served?,
        };
        let mut resources = served.resources.into_iter();
        Ok(resources.find(|resource| resource.kind == kind && !resource.name.contains('/')).map(|found| found.name))
    }

    /// Whether the API server has this kind.
    pub async fn serves(&self, kind: &Recorded) -> Result<bool, ReadError> {
        Ok(self.plural(kind.group, kind.version, kind.kind).await?.is_some())
    }

    /// All of a kind, by name; none where it is not served.
    pub async fn workloads(&self, kind: &Recorded) -> Result<Vec<WorkloadIdentity>, ReadError> {
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(self.client().clone(), &kind.resource());
        match self.list("workloads", &api, ListParams::default(), |found| kind.identity(&found)).await {
            Err(error) if error.class() == "not_found" => Ok(Vec::new()),
            listed => listed,
        }
    }

    /// What the images of a workload's containers turned out to be, by those of its pods that have these very images.
    pub async fn image_ids(
        &self,
        namespace: &str,
        workload: &Workload,
    ) -> Result<BTreeMap<String, Vec<String>>, ReadError> {
        let Some(selector) = workload.selector.as_ref().filter(|_| is_name(namespace)) else {
            return Ok(BTreeMap::new());
        };
        let api: Api<Pod> = Api::namespaced(self.client().clone(), namespace);
        let pods = self.call("Pods", api.list(&ListParams::default().labels_from(selector).limit(PODS))).await?;
        let images = workload.template.images();
        let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for pod in &pods.items {
            for (container, id) in running(pod, &images) {
                let ids = ids.entry(container.to_owned()).or_default();
                if ids.len() < IDS {
                    ids.insert(id.to_owned());
                }
            }
        }
        Ok(ids.into_iter().map(|(container, ids)| (container, ids.into_iter().collect())).collect())
    }
}

/// Containers of a pod that have the image of this name, and the digest that it turned out to be.
fn running<'a>(pod: &'a Pod, images: &BTreeMap<String, String>) -> Vec<(&'a str, &'a str)> {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else { return Vec::new() };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let statuses = || status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    containers
        .filter(|container| container.image.is_some() && container.image.as_ref() == images.get(&container.name))
        .filter_map(|container| {
            let status = statuses().find(|status| status.name == container.name)?;
            let id = status.image_id.rsplit('@').next().filter(|id| !id.is_empty())?;
            Some((container.name.as_str(), id))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use foureyes_core::domain::rollout::location::locate;
    use serde_json::json;

    use super::*;

    #[test]
    fn whoever_wrote_the_template_last_is_told_as_what_it_calls_itself() {
        let entry = |manager: &str, time: &str, field: &str| json!({"manager": manager, "time": time, "fieldsV1": {"f:spec": {field: {}}}});
        let mut scaler = entry("scaler", "2026-11-23T12:00:00Z", "f:replicas");
        let mut object = json!({"metadata": {"managedFields": [
            entry("kubectl-set", "2026-11-23T11:00:00Z", "f:template"),
            entry("helm", "2026-11-23T10:00:00Z", "f:template"),
            scaler,
        ]}});
        assert_eq!(writer(&object).as_deref(), Some("field manager kubectl-set"));
        scaler = entry("scaler", "2026-11-23T12:00:00Z", "f:template");
        scaler["subresource"] = json!("scale");
        object["metadata"]["managedFields"].as_array_mut().unwrap().push(scaler);
        assert_eq!(writer(&object).as_deref(), Some("field manager kubectl-set"));
        assert_eq!(writer(&json!({"metadata": {}})), None);
    }

    #[test]
    fn only_containers_with_the_image_of_the_template_tell_what_it_is() {
        let pod: Pod = serde_json::from_value(json!({
            "spec": {"containers": [{"name": "web", "image": "web:1"}, {"name": "old", "image": "old:0"}]},
            "status": {"containerStatuses": [
                {"name": "web", "image": "web:1", "imageID": "docker.io/web@sha256:aa", "ready": true, "restartCount": 0},
                {"name": "old", "image": "old:0", "imageID": "docker.io/old@sha256:bb", "ready": true, "restartCount": 0},
            ]},
        }))
        .unwrap();
        let images = BTreeMap::from([("web", "web:1"), ("old", "old:1")]);
        let images = images.into_iter().map(|(name, image)| (name.to_owned(), image.to_owned())).collect();
        assert_eq!(running(&pod, &images), [("web", "sha256:aa")]);
    }

    #[test]
    fn a_selector_that_selects_everything_selects_no_pods() {
        let location = locate("apps", "Deployment", &[]).unwrap();
        let of = |selector: Value| {
            let template = json!({"spec": {"containers": [{"name": "web", "image": "web:1"}]}});
            let object = json!({"metadata": {"uid": "u", "generation": 2}, "spec": {"selector": selector, "template": template}});
            Workload::of("Deployment", &object, &location).unwrap()
        };
        assert!(of(json!({})).selector.is_none());
        assert!(of(json!({"matchLabels": {"app": "web"}})).selector.is_some());
        assert!(Workload::of("Deployment", &json!({"spec": {}}), &location).is_err());
    }
}
