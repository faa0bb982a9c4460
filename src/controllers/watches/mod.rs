//! What is watched, and whom each change concerns. Watches only say that something happened: what is decided from is
//! read live.

mod changes;
mod retentions;
mod volumes;

pub use changes::{changes, workloads};
pub use retentions::retentions;
pub use volumes::volumes;

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foureyes_core::api::{APPROVED_BY_RECORD, ChangeRequest, DeletionRequest, SafetyPolicy, SignOff, TargetKind};
use foureyes_core::domain::request::Request as _;
use foureyes_core::domain::retention::judge;
use foureyes_core::index::{PolicyEntry, policy_entry, policy_set};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim};
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};

use crate::cluster::live::KEYS;
use crate::cluster::pods::{self, PodUse};
use crate::cluster::watch::{Seen, watch, watch_untyped};
use crate::controllers::Latch;
use crate::controllers::changes::ChangeKey;
use crate::controllers::context::{Context, Everywhere, ObjectKey, Shared};
use crate::controllers::kept_volumes::{self, Volumes};
use crate::controllers::requests;
use crate::controllers::sign_offs;
use crate::controllers::uses::Used;

/// Claims come and go together; a request about their whole namespace is looked at once for all of them.
const GATHER: Duration = Duration::from_millis(500);

/// Follows requests for ever; `read` happens once all have been read.
pub async fn requests(context: Context, read: Latch) {
    let api: Api<DynamicObject> = untyped::<DeletionRequest>(context.live.client());
    let mut seen =
        pin!(watch_untyped(api, "DeletionRequest", |request: DeletionRequest| requests::Known::of(&request)));
    while let Some(seen) = seen.next().await {
        match seen {
            Seen::Applied(known) => {
                if known.open || known.unfinished {
                    context.queues.deletion_requests.soon(known.name.clone());
                }
                context.requests().learn(known);
                context.count_unsupervised();
            }
            Seen::Gone(known) => {
                context.requests().forget(&known.name);
                context.count_unsupervised();
                context.queues.sign_offs.within(known.uid, sign_offs::GRACE);
            }
            Seen::All(all) => {
                let gone = context.requests().replace(all);
                context.count_unsupervised();
                for known in gone {
                    context.queues.sign_offs.within(known.uid, sign_offs::GRACE);
                }
                context.look_at_all_requests();
                read.happens();
            }
        }
    }
}

/// What a sign-off is about.
enum About {
    Change(ChangeKey),
    Retention(Box<str>),
    Deletion(Box<str>),
}

/// Follows sign-offs for ever: each concerns its subject.
pub async fn sign_offs(context: Context) {
    let api: Api<DynamicObject> = untyped::<SignOff>(context.live.client());
    let subject = |sign_off: SignOff| {
        let subject = sign_off.spec.subject;
        let (name, uid) = (Box::<str>::from(subject.name), Box::<str>::from(subject.uid));
        let about = match &*subject.kind {
            ChangeRequest::KIND => {
                About::Change(ChangeKey { namespace: subject.namespace.unwrap_or_default().into(), name })
            }
            judge::KIND => About::Retention(name),
            _ => About::Deletion(name),
        };
        (about, uid)
    };
    let mut seen = pin!(watch_untyped(api, "SignOff", subject));
    while let Some(seen) = seen.next().await {
        let subjects = match seen {
            Seen::Applied(subject) | Seen::Gone(subject) => vec![subject],
            Seen::All(subjects) => subjects,
        };
        for (about, uid) in subjects {
            if !sign_offs::has_subject(&context, &uid) {
                context.queues.sign_offs.within(uid, sign_offs::GRACE);
            }
            match about {
                About::Change(key) => context.queues.change_requests.soon(key),
                About::Retention(name) => context.queues.backup_retentions.soon(name),
                About::Deletion(name) => context.queues.deletion_requests.soon(name),
            }
        }
    }
}

/// Follows pods for ever, what they use alone: each concerns requests about what it uses. `read` happens once all have
/// been read: before, nothing would seem to be out of use, and what was signed off would be taken back for a moment.
pub async fn pods(context: Context, read: Latch) {
    let api = pods::everywhere(context.live.client());
    let mut seen = pin!(watch(api, "Pod", None, |pod| Some(PodUse::of(&pod))));
    while let Some(seen) = seen.next().await {
        let now = Instant::now();
        match seen {
            Seen::Applied(pod) => {
                let namespace = pod.namespace.clone();
                context.uses().learn(pod, now);
                used_otherwise(&context, &namespace);
            }
            Seen::Gone(pod) => {
                context.uses().forget(&pod.uid, now);
                used_otherwise(&context, &pod.namespace);
            }
            Seen::All(pods) => {
                context.uses().replace(pods, now);
                context.look_at_all_requests();
                read.happens();
            }
        }
    }
}

fn used_otherwise(context: &Shared, namespace: &str) {
    let requests = context.requests().within(namespace);
    for name in requests {
        context.queues.deletion_requests.within(name, GATHER);
    }
}

struct ObjectSeen {
    key: ObjectKey,
    uid: Box<str>,
    going: bool,
    annotated: bool,
}

impl ObjectSeen {
    fn used(&self) -> Used {
        match &self.key.namespace {
            Some(namespace) => Used { namespace: namespace.clone(), claim: Some(self.key.name.clone()) },
            None => Used { namespace: self.key.name.clone(), claim: None },
        }
    }
}

fn object_seen(kind: TargetKind, meta: kube::api::ObjectMeta) -> ObjectSeen {
    let annotations = meta.annotations.as_ref();
    ObjectSeen {
        going: meta.deletion_timestamp.is_some(),
        annotated: annotations.is_some_and(|annotations| annotations.contains_key(APPROVED_BY_RECORD)),
        uid: meta.uid.unwrap_or_default().into(),
        key: ObjectKey { kind, namespace: meta.namespace.map(Into::into), name: meta.name.unwrap_or_default().into() },
    }
}

/// Which objects of a kind there are, to notice which of them come into being.
#[derive(Default)]
struct Known(HashSet<Box<str>>);

impl Known {
    fn learn(&mut self, context: &Shared, object: &ObjectSeen) {
        if self.0.insert(object.uid.clone()) {
            context.uses().born(object.uid.clone());
        }
    }

    fn forget(&mut self, context: &Shared, object: &ObjectSeen) {
        self.0.remove(&object.uid);
        context.uses().gone(&object.used(), &object.uid);
    }

    fn replace(&mut self, all: &[ObjectSeen]) {
        self.0 = all.iter().map(|object| object.uid.clone()).collect();
    }
}

/// Follows claims for ever, their metadata alone: each concerns requests about it or about its namespace.
pub async fn claims(context: Context) {
    let api: Api<PartialObjectMeta<PersistentVolumeClaim>> = Api::all(context.live.client().clone());
    let keep = |claim: PartialObjectMeta<_>| Some(object_seen(TargetKind::PersistentVolumeClaim, claim.metadata));
    let mut seen = pin!(watch(api, "PersistentVolumeClaim", None, keep));
    let mut known = Known::default();
    while let Some(seen) = seen.next().await {
        match seen {
            Seen::Applied(claim) => {
                known.learn(&context, &claim);
                claim_changed(&context, claim);
            }
            Seen::Gone(claim) => {
                known.forget(&context, &claim);
                claim_changed(&context, claim);
            }
            Seen::All(claims) => {
                known.replace(&claims);
                claims.into_iter().filter(|claim| claim.annotated).for_each(|claim| claim_changed(&context, claim));
                context.look_at_all_requests();
            }
        }
    }
}

fn claim_changed(context: &Shared, claim: ObjectSeen) {
    let namespace = claim.key.namespace.as_deref().unwrap_or_default();
    let (about, around) = {
        let requests = context.requests();
        (requests.about(&claim.uid), requests.about_namespace(namespace))
    };
    for name in about {
        context.queues.deletion_requests.soon(name);
    }
    for name in around {
        context.queues.deletion_requests.within(name, GATHER);
    }
    if claim.annotated {
        context.queues.approvals.soon(claim.key);
    }
}

/// Follows namespaces for ever: each concerns requests about it and about what is in it.
pub async fn namespaces(context: Context) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(context.live.client().clone());
    let keep = |namespace: PartialObjectMeta<_>| Some(object_seen(TargetKind::Namespace, namespace.metadata));
    let mut seen = pin!(watch(api, "Namespace", None, keep));
    let mut known = Known::default();
    while let Some(seen) = seen.next().await {
        match seen {
            Seen::Applied(namespace) => {
                known.learn(&context, &namespace);
                namespace_changed(&context, namespace);
            }
            Seen::Gone(namespace) => {
                known.forget(&context, &namespace);
                namespace_changed(&context, namespace);
            }
            Seen::All(namespaces) => {
                known.replace(&namespaces);
                let matter = |namespace: &ObjectSeen| namespace.annotated || namespace.going;
                namespaces.into_iter().filter(matter).for_each(|namespace| namespace_changed(&context, namespace));
                context.look_at_all_requests();
                context.queues.regimes.soon(Everywhere);
            }
        }
    }
}

fn namespace_changed(context: &Shared, namespace: ObjectSeen) {
    let within = context.requests().within(&namespace.key.name);
    for name in within {
        context.queues.deletion_requests.soon(name);
    }
    let changes = context.changes().within(&namespace.key.name);
    for key in changes {
        context.queues.change_requests.soon(key);
    }
    context.queues.regimes.within(Everywhere, GATHER);
    if context.policies.load().keeps_always_somewhere() {
        context.queues.kept_volumes.within(Volumes::All, kept_volumes::GATHER);
    }
    if namespace.going {
        context.queues.leftovers.soon(namespace.key.name.clone());
    }
    if namespace.annotated {
        context.queues.approvals.soon(namespace.key);
    }
}

/// Follows policies for ever, readable or not; a change concerns every open request. `read` happens once all have been
/// read.
pub async fn policies(context: Context, read: Latch) {
    let api: Api<DynamicObject> = untyped::<SafetyPolicy>(context.live.client());
    let keep = |policy: DynamicObject| {
        let name: Box<str> = policy.metadata.name.as_deref()?.into();
        Some((name, policy_entry(&serde_json::to_value(&policy).ok()?)))
    };
    let mut seen = pin!(watch(api, "SafetyPolicy", None, keep));
    let mut known: BTreeMap<Box<str>, PolicyEntry> = BTreeMap::new();
    while let Some(seen) = seen.next().await {
        match seen {
            Seen::Applied((name, entry)) => {
                context.queues.safety_policies.soon(name.clone());
                known.insert(name, entry);
            }
            Seen::Gone((name, _)) => drop(known.remove(&name)),
            Seen::All(all) => {
                known = all.into_iter().collect();
                for name in known.keys() {
                    context.queues.safety_policies.soon(name.clone());
                }
            }
        }
        // The first that is seen is everything there is.
        let set = policy_set(known.values().cloned());
        if **context.policies.load() != set {
            context.policies.store(Arc::new(set));
            context.look_at_all_requests();
            context.queues.regimes.soon(Everywhere);
            context.queues.kept_volumes.within(Volumes::All, kept_volumes::GATHER);
        }
        read.happens();
    }
}

/// Follows the public keys for ever: with others, seals may hold that did not hold before.
pub async fn keys(context: Context) {
    let api: Api<ConfigMap> = Api::namespaced(context.live.client().clone(), &context.namespace);
    let mut seen = pin!(watch(api, "ConfigMap", Some(&format!("metadata.name={KEYS}")), |_| Some(())));
    while seen.next().await.is_some() {
        context.look_at_all_requests();
    }
}

/// Our kinds are read untyped, so that one object that can't be decoded does not end the watch of all.
fn untyped<K: kube::Resource<DynamicType = ()>>(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ApiResource::erase::<K>(&()))
}
