//! Changes and what was said about them, sealed as stamp does it, on the API server and in the index.

use foureyes_core::api::{
    Author, ChangeRequest, ChangeRequestSpec, Requester, RolloutRecord, Says, SignOff, SignOffSpec, Subject,
};
use foureyes_core::domain::rollout::location::locate;
use foureyes_core::domain::rollout::template::Template;
use foureyes_core::domain::statement::{request_digest, seal_requester, seal_sign_off, sealed_name, stated};
use foureyes_core::index::{Change, ChangeEntry, RecordEntry, Snapshot, policy_entry};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::support::{Answer, Api, key, now, request};

const CLUSTER: &str = "cluster-a";
pub const OWN: &str = "foureyes-system";

pub fn named(username: &str) -> Author {
    Author { username: username.to_owned(), groups: vec!["dev".to_owned()], ..Author::default() }
}

/// What was said was said an hour ago.
fn then() -> Timestamp {
    now() - SignedDuration::from_hours(1)
}

/// One change, what is said about it, and who holds which right.
#[derive(Clone)]
pub struct Story {
    pub request: ChangeRequest,
    pub sign_offs: Vec<SignOff>,
    pub rights: Vec<String>,
}

impl Story {
    /// alice asks in `shop`; alice and bob hold the usual rights there.
    pub fn of(change_type: &str, targets: &[Value]) -> Self {
        Self::by("alice", "shop", &json!({"type": change_type, "title": "new version", "targets": targets}))
    }

    pub fn by(requester: &str, namespace: &str, spec: &Value) -> Self {
        let mut spec: ChangeRequestSpec = serde_json::from_value(spec.clone()).unwrap();
        let (author, at) = (named(requester), stated(then()));
        let seal = seal_requester(&key(), CLUSTER, &sealed_name(Some(namespace), "web-2"), &spec, &author, &at);
        spec.requester = Some(Requester { author, at: at.clone(), seal: Some(seal.unwrap()) });
        let metadata = ObjectMeta {
            name: Some("web-2".to_owned()),
            namespace: Some(namespace.to_owned()),
            uid: Some("00000000-0000-0000-0000-00000000c4a0".to_owned()),
            creation_timestamp: Some(at),
            ..ObjectMeta::default()
        };
        let request = ChangeRequest { metadata, spec, status: None };
        let held = |user, verb| format!("{user} {verb} changerequests {namespace}");
        let rights = vec![held("alice", "request"), held("alice", "approve"), held("bob", "approve")];
        Self { request, sign_offs: Vec::new(), rights }
    }

    pub fn said(mut self, author: &str, says: Says) -> Self {
        let metadata = &self.request.metadata;
        let mut spec = SignOffSpec {
            subject: Subject {
                kind: "ChangeRequest".to_owned(),
                namespace: metadata.namespace.clone(),
                name: metadata.name.clone().unwrap(),
                uid: metadata.uid.clone().unwrap(),
            },
            says,
            digest: Some(request_digest(&self.request.spec).unwrap()),
            verified: None,
            comment: None,
            reference: None,
            author: Some(named(author)),
            at: Some(stated(then())),
            seal: None,
        };
        let name = format!("so-{}", self.sign_offs.len());
        spec.seal = Some(seal_sign_off(&key(), CLUSTER, &name, &spec).unwrap());
        let mut sign_off = SignOff::new(&name, spec);
        sign_off.metadata.creation_timestamp = Some(Time(then()));
        self.sign_offs.push(sign_off);
        self
    }

    pub fn approved(self) -> Self {
        self.said("bob", Says::Approve)
    }

    pub fn holding(mut self, right: &str) -> Self {
        self.rights.push(right.to_owned());
        self
    }

    pub fn with_status(mut self, status: &Value) -> Self {
        self.request.status = serde_json::from_value(status.clone()).unwrap();
        self
    }

    /// The index as it knows of it.
    pub fn index(&self, mut index: Snapshot) -> Snapshot {
        index.apply(Change::ChangeRequest(ChangeEntry::of(&self.request, OWN)));
        index
    }

    /// An API server that has it.
    pub fn api(&self) -> Api {
        let path = format!("changerequests/{}", self.request.metadata.name.as_deref().unwrap());
        keys(Api::default())
            .answers("subjectaccessreviews", Answer::Rights(self.rights.clone()))
            .answers(&path, Answer::Json(wire(&self.request)))
            .answers("signoffs?", Answer::Json(list(&self.sign_offs)))
    }
}

/// An API server with the published keys.
pub fn keys(api: Api) -> Api {
    let public = key().public("2026-01-01T00:00:00Z".parse().unwrap());
    let data = json!({"clusterId": CLUSTER, "keys": serde_json::to_string(&[public]).unwrap()});
    api.answers("configmaps/foureyes-keys", Answer::Json(json!({"metadata": {"name": "foureyes-keys"}, "data": data})))
}

fn wire<K: serde::Serialize>(object: &K) -> Value {
    serde_json::to_value(object).unwrap()
}

fn list(sign_offs: &[SignOff]) -> Value {
    let items: Vec<Value> = sign_offs.iter().map(wire).collect();
    json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOffList", "metadata": {}, "items": items})
}

/// The policy `default` says this.
pub fn with_policy(mut index: Snapshot, spec: &Value) -> Snapshot {
    let policy = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": {"name": "default"}, "spec": spec});
    index.apply(Change::Policy(Box::new(policy_entry(&policy))));
    index
}

/// A pod template with this image.
pub fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}, "creationTimestamp": null},
        "spec": {"containers": [{"name": "web", "image": image, "env": [{"name": "PASSWORD", "value": "hunter2"}]}]},
    })
}

/// A Deployment that runs, with all its pods.
pub fn deployment(template: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-web", "generation": 3},
        "spec": {"replicas": 2, "strategy": {"type": "RollingUpdate"}, "template": template},
        "status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2},
    })
}

/// The same, called otherwise.
pub fn workload(group: &str, version: &str, kind: &str, spec: &Value) -> Value {
    let mut object = deployment(&Value::Null);
    object["apiVersion"] = json!(if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") });
    object["kind"] = json!(kind);
    object["spec"] = spec.clone();
    object
}

/// The digest of a template, `sha256:…`.
pub fn digest(template: &Value) -> String {
    let spec = json!({"template": template});
    let template = Template::of_value(&locate("apps", "Deployment", &[]).unwrap(), &spec).unwrap();
    template.digest().unwrap().strip_prefix("template/v1:").unwrap().to_owned()
}

/// A target of a change: the Deployment shop/web becomes this.
pub fn by_digest(template: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "action": "Apply",
        "digest": {"encoding": "template/v1", "value": digest(template)}})
}

/// The record of a workload says that these ran, the last first, each with how and outcome.
pub fn with_record(mut index: Snapshot, group: &str, kind: &str, ran: &[(&Value, &str, &str)]) -> Snapshot {
    let entries: Vec<Value> = ran
        .iter()
        .map(|(value, how, outcome)| {
            let spec = json!({"template": value});
            let template = Template::of_value(&locate("apps", "Deployment", &[]).unwrap(), &spec).unwrap();
            json!({
                "template": template.digest().unwrap(), "shape": template.shape().unwrap(),
                "images": template.images(), "annotations": template.annotations(),
                "at": "2026-01-01T00:00:00Z", "how": how, "outcome": outcome,
            })
        })
        .collect();
    let identity = json!({"group": group, "kind": kind, "namespace": "shop", "name": "web"});
    let mut record: RolloutRecord = serde_json::from_value(json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "RolloutRecord", "metadata": {},
        "spec": {"workload": identity}, "status": {"entries": entries},
    }))
    .unwrap();
    record.metadata.name = Some(record.spec.workload.record_name());
    index.apply(Change::Record(RecordEntry::of(&record)));
    index
}

fn about(operation: &str, resource: &str, object: &Value) -> Value {
    let (group, version) = object["apiVersion"].as_str().unwrap().split_once('/').unwrap_or(("", "v1"));
    let mut review = request(operation, group, resource, Some("shop"));
    review["request"]["kind"] = json!({"group": group, "version": version, "kind": object["kind"]});
    review["request"]["name"] = object["metadata"]["name"].clone();
    review
}

pub fn created(resource: &str, object: &Value) -> Value {
    let mut review = about("CREATE", resource, object);
    review["request"]["object"] = object.clone();
    review
}

pub fn updated(resource: &str, old: &Value, new: &Value) -> Value {
    let mut review = about("UPDATE", resource, new);
    review["request"]["oldObject"] = old.clone();
    review["request"]["object"] = new.clone();
    review
}

pub fn deleted(resource: &str, object: &Value) -> Value {
    let mut review = about("DELETE", resource, object);
    review["request"]["oldObject"] = object.clone();
    review
}

/// The same review by somebody else.
pub fn as_user(mut review: Value, username: &str) -> Value {
    review["request"]["userInfo"]["username"] = json!(username);
    review
}
