//! Sealed changes and what is asked about the Deployment shop/web, for the tables and properties about rollouts.

use foureyes_core::api::{
    Author, ChangeRequest, ChangeRequestSpec, How, Requester, RolloutEntry, RolloutRecordStatus, Says, SeenOutcome,
    SignOff, WorkloadIdentity,
};
use foureyes_core::domain::change::{Evidence, Standing, rights_of_change, standing};
use foureyes_core::domain::inventory::Controller;
use foureyes_core::domain::judgement::Rights;
use foureyes_core::domain::policy::{Effective, PolicySet};
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::request::Request as _;
use foureyes_core::domain::rollout::decide::{Asked, Question, decide};
use foureyes_core::domain::rollout::known::Known;
use foureyes_core::domain::rollout::template::Template;
use foureyes_core::domain::statement::{request_digest, seal_requester, sealed_name};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::support::{CLUSTER, at, identities, key, labels, policies, ring, sign_off, time, uid};
use crate::templates::template;

/// The namespace of foureyes in these tests.
pub const OWN: &str = "foureyes-system";

/// A template of the workload with these images and this level of logging.
pub fn web(web: &str, log: &str, level: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}, "annotations": {"checksum/config": "1"}},
        "spec": {"containers": [
            {"name": "web", "image": web, "env": [{"name": "LEVEL", "value": level}]},
            {"name": "log", "image": log},
        ]},
    })
}

/// Version `n` of the web container.
pub fn version(n: u32) -> Value {
    web(&format!("registry.example.org/web:{n}"), "registry.example.org/log:1", "info")
}

pub fn workload() -> WorkloadIdentity {
    let [group, kind, namespace, name] = ["apps", "Deployment", "shop", "web"].map(str::to_owned);
    WorkloadIdentity { group, kind, namespace, name }
}

/// An entry about a template that ran.
pub fn entry(template: &Template, how: How, outcome: SeenOutcome) -> RolloutEntry {
    RolloutEntry {
        template: template.digest().unwrap(),
        shape: Some(template.shape().unwrap()),
        images: template.images(),
        annotations: template.annotations(),
        image_ids: std::collections::BTreeMap::new(),
        generation: Some(1),
        at: time(0),
        executor: None,
        how,
        outcome,
        change: None,
        people: Vec::new(),
        would_refuse: false,
    }
}

/// What the record vouches for, the last first.
pub fn known(entries: &[(&Value, How, SeenOutcome)]) -> Known {
    let entries = entries.iter().map(|(value, how, outcome)| entry(&template(value), *how, *outcome)).collect();
    Known::of(&RolloutRecordStatus { entries, ..RolloutRecordStatus::default() })
}

/// A target that names the digest of a template.
pub fn by_digest(value: &Value) -> Value {
    let digest = template(value).digest().unwrap();
    let value = digest.strip_prefix("template/v1:").unwrap();
    target(&json!({"digest": {"encoding": "template/v1", "value": value}}))
}

/// A target that names images.
pub fn by_images(images: &Value) -> Value {
    target(&json!({"images": images}))
}

fn target(more: &Value) -> Value {
    let mut target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "action": "Apply"});
    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    target
}

pub fn removal() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "action": "Remove"})
}

/// A change in `shop`, created at second 0 and sealed if somebody asked.
pub fn change(change_type: &str, targets: &[Value], requester: Option<&Author>) -> ChangeRequest {
    let spec = json!({"type": change_type, "title": "new version", "targets": targets});
    change_of("shop", serde_json::from_value(spec).unwrap(), requester)
}

pub fn change_of(namespace: &str, mut spec: ChangeRequestSpec, requester: Option<&Author>) -> ChangeRequest {
    if let Some(author) = requester {
        let name = sealed_name(Some(namespace), "web-2");
        let seal = seal_requester(key(), CLUSTER, &name, &spec, author, &time(0)).unwrap();
        spec.requester = Some(Requester { author: author.clone(), at: time(0), seal: Some(seal) });
    }
    let metadata = ObjectMeta {
        name: Some("web-2".to_owned()),
        namespace: Some(namespace.to_owned()),
        uid: Some(uid(0xc4a_0000)),
        creation_timestamp: Some(time(0)),
        generation: Some(1),
        ..ObjectMeta::default()
    };
    ChangeRequest { metadata, spec, status: None }
}

/// What the policy `default` says in these tests, with more.
pub fn floor(more: &Value) -> PolicySet {
    let mut spec = json!({"identities": identities()});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    policies(&[("default", spec)])
}

/// Everything that one decision about shop/web rests on.
#[derive(Clone)]
pub struct Rollout {
    pub request: Option<ChangeRequest>,
    pub sign_offs: Vec<SignOff>,
    pub policies: PolicySet,
    pub known: Option<Known>,
    pub controller: Option<Controller>,
    pub workload: WorkloadIdentity,
    pub without_rights: Vec<String>,
    pub may_expedite: Vec<String>,
}

impl Rollout {
    /// Version 1 runs, and is on record.
    pub fn of(request: Option<ChangeRequest>) -> Self {
        Self {
            request,
            sign_offs: Vec::new(),
            policies: floor(&json!({})),
            known: Some(known(&[(&version(1), How::Baseline, SeenOutcome::Seen)])),
            controller: None,
            workload: workload(),
            without_rights: Vec::new(),
            may_expedite: Vec::new(),
        }
    }

    pub fn with(mut self, policy: &Value) -> Self {
        self.policies = floor(policy);
        self
    }

    pub fn effective(&self) -> Effective {
        self.policies.effective(&labels(&[])).unwrap()
    }

    pub fn says(&mut self, author: &Author, says: Says, second: i64) {
        let request = self.request.as_ref().unwrap();
        let digest = (says == Says::Approve).then(|| request_digest(&request.spec).unwrap());
        let name = format!("so-{}-{second}", self.sign_offs.len());
        let made = sign_off(&name, request.subject().unwrap(), says, digest.as_deref(), author, second);
        self.sign_offs.push(made);
    }

    pub fn approved_by(mut self, author: &Author, second: i64) -> Self {
        self.says(author, Says::Approve, second);
        self
    }

    pub fn rights(&self) -> Rights {
        let mut rights = Rights::default();
        let Some(request) = &self.request else { return rights };
        for (author, right) in rights_of_change(request, &self.sign_offs) {
            let held = match right {
                foureyes_core::domain::judgement::Right::Expedite => self.may_expedite.contains(&author.username),
                _ => !self.without_rights.contains(&author.username),
            };
            rights.record(&author, right, held);
        }
        rights
    }

    /// Gives the evidence to whoever asks.
    pub fn with_evidence<T>(&self, ask: impl FnOnce(&Evidence<'_>) -> T) -> Option<T> {
        let request = self.request.as_ref()?;
        Some(ask(&Evidence {
            request,
            sign_offs: &self.sign_offs,
            ring: ring(),
            policies: &self.policies,
            effective: &self.effective(),
            rights: &self.rights(),
            own_namespace: OWN,
        }))
    }

    pub fn standing(&self) -> Standing {
        self.with_evidence(|evidence| standing(evidence).unwrap()).unwrap()
    }

    /// What the guard says to `asked`.
    pub fn decided(&self, asked: Asked<'_>, author: &Author, second: i64) -> Result<Proof, Refusal> {
        let effective = self.effective();
        let question = Question {
            workload: &self.workload,
            api_version: "apps/v1",
            asked,
            author,
            controller: self.controller.as_ref(),
            known: self.known.as_ref(),
            policies: &self.policies,
            effective: &effective,
            own_namespace: OWN,
        };
        let rights = self.rights();
        let evidence = self.request.as_ref().map(|request| Evidence {
            request,
            sign_offs: &self.sign_offs,
            ring: ring(),
            policies: &self.policies,
            effective: &effective,
            rights: &rights,
            own_namespace: OWN,
        });
        decide(&question, evidence.as_slice(), at(second))
    }

    /// `author` applies a template where version 1 runs.
    pub fn applied(&self, value: &Value, author: &Author, second: i64) -> Result<Proof, Refusal> {
        let (old, new) = (template(&version(1)), template(value));
        self.decided(Asked::Rollout { old: &old, new: &new, releases: false }, author, second)
    }

    pub fn created(&self, value: &Value, author: &Author, second: i64) -> Result<Proof, Refusal> {
        self.decided(Asked::Creation { new: &template(value) }, author, second)
    }

    pub fn removed(&self, author: &Author, second: i64) -> Result<Proof, Refusal> {
        self.decided(Asked::Removal, author, second)
    }
}
