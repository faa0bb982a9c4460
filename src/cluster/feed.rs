//! Keeps the index current: one watch a kind, each object reduced to its projection as it arrives. While a kind is
//! read anew the old content stays readable, and is replaced as a whole when the new is complete.

use std::fmt::Debug;

use foureyes_core::api::{API_VERSION, ChangeRequest, DeletionRequest, GROUP, RolloutRecord, SignOff, VERSION};
use foureyes_core::domain::inventory::{Claim, Volume};
use foureyes_core::index::{
    Change, ChangeEntry, Kind, NamespaceEntry, RecordEntry, RequestEntry, SignOffEntry, policy_entry,
};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::watch::{PAGE, Pauses};

/// Name of the ConfigMap in which the controller notes that the first start is over.
const STATE: &str = "foureyes-state";
const STARTED: &str = "started";

/// Starts a watch for every kind, for as long as the process runs; `learned` takes each change in.
pub fn start(client: &Client, own_namespace: &str, learned: impl Fn(Change) + Clone + Send + 'static) {
    let all = watcher::Config::default().page_size(PAGE);
    let spawn = |feed: Feed| drop(tokio::spawn(feed));
    spawn(follow(
        Api::<Namespace>::all(client.clone()),
        all.clone(),
        learned.clone(),
        Kind::Namespaces,
        |namespace| Some(Change::Namespace(NamespaceEntry::of(namespace))),
        |namespace| Change::NamespaceGone(namespace.name_any().into()),
    ));
    spawn(follow(
        Api::<PersistentVolumeClaim>::all(client.clone()),
        all.clone(),
        learned.clone(),
        Kind::Claims,
        |claim| Some(Change::Claim(Box::new(Claim::of(claim)))),
        |claim| Change::ClaimGone {
            namespace: claim.namespace().unwrap_or_default().into(),
            name: claim.name_any().into(),
        },
    ));
    spawn(follow(
        Api::<PersistentVolume>::all(client.clone()),
        all.clone(),
        learned.clone(),
        Kind::Volumes,
        |volume| Some(Change::Volume(Volume::of(volume))),
        |volume| Change::VolumeGone(volume.name_any().into()),
    ));
    spawn(follow(
        ours(client, "DeletionRequest", "deletionrequests"),
        all.clone(),
        learned.clone(),
        Kind::Requests,
        |object| typed::<DeletionRequest>(object).map(|request| Change::Request(RequestEntry::of(&request))),
        |object| Change::RequestGone(object.name_any().into()),
    ));
    spawn(follow(
        ours(client, "SignOff", "signoffs"),
        all.clone(),
        learned.clone(),
        Kind::SignOffs,
        |object| typed::<SignOff>(object).map(|sign_off| Change::SignOff(SignOffEntry::of(&sign_off))),
        |object| Change::SignOffGone(object.name_any().into()),
    ));
    spawn(follow(
        ours(client, "SafetyPolicy", "safetypolicies"),
        all.clone(),
        learned.clone(),
        Kind::Policies,
        |object| serde_json::to_value(object).ok().map(|value| Change::Policy(Box::new(policy_entry(&value)))),
        |object| Change::PolicyGone(object.name_any().into()),
    ));
    let own = own_namespace.to_owned();
    spawn(follow(
        ours(client, "ChangeRequest", "changerequests"),
        all.clone(),
        learned.clone(),
        Kind::Changes,
        move |object| {
            typed::<ChangeRequest>(object).map(|change| Change::ChangeRequest(ChangeEntry::of(&change, &own)))
        },
        |object| {
            let name = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
            Change::ChangeRequestGone(name.into())
        },
    ));
    spawn(follow(
        ours(client, "RolloutRecord", "rolloutrecords"),
        all.clone(),
        learned.clone(),
        Kind::Records,
        |object| typed::<RolloutRecord>(object).map(|record| Change::Record(RecordEntry::of(&record))),
        |object| Change::RecordGone(object.name_any().into()),
    ));
    spawn(follow(
        Api::<ConfigMap>::namespaced(client.clone(), own_namespace),
        all.fields(&format!("metadata.name={STATE}")),
        learned,
        Kind::State,
        |map| map.data.as_ref()?.get(STARTED).filter(|at| !at.is_empty()).map(|_| Change::Started),
        // Once started, always started: its absence is no change.
        |_| Change::Reset(Kind::State, Vec::new()),
    ));
}

type Feed = futures::future::BoxFuture<'static, ()>;

/// Our kinds are read untyped, so that one object that can't be decoded does not end the watch of all.
fn ours(client: &Client, kind: &str, plural: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural);
    Api::all_with(client.clone(), &resource)
}

fn typed<K: DeserializeOwned>(object: &DynamicObject) -> Option<K> {
    let parsed = serde_json::to_value(object).and_then(serde_json::from_value);
    parsed
        .inspect_err(|_| {
            tracing::warn!(
                api = API_VERSION,
                name = object.name_any(),
                "an object can't be decoded and counts for nothing"
            );
        })
        .ok()
}

/// Follows one kind for ever.
fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    learned: impl Fn(Change) + Send + 'static,
    kind: Kind,
    learn: impl Fn(&K) -> Option<Change> + Send + 'static,
    forget: impl Fn(&K) -> Change + Send + 'static,
) -> Feed
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    Box::pin(async move {
        let mut events = watcher(api, config).backoff(Pauses::default()).boxed();
        let mut anew: Vec<Change> = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => anew.clear(),
                // What can't be decoded is forgotten, never kept as it was.
                Ok(Event::InitApply(object)) => anew.extend(learn(&object)),
                Ok(Event::InitDone) => learned(Change::Reset(kind, std::mem::take(&mut anew))),
                Ok(Event::Apply(object)) => learned(learn(&object).unwrap_or_else(|| forget(&object))),
                Ok(Event::Delete(object)) => learned(forget(&object)),
                Err(error) => tracing::warn!(kind = kind.as_str(), %error, "a watch broke and starts again"),
            }
        }
    })
}
