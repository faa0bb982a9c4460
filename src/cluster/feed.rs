//! Keeps the index current: one watch a kind, each object reduced to its projection as it arrives. While a kind is
//! read anew the old content stays readable, and is replaced as a whole when the new is complete.

use std::fmt::Debug;

use foureyes_core::api::{
    API_VERSION, BackupRetention, ChangeRequest, DeletionRequest, GROUP, RolloutRecord, SignOff, VERSION,
};
use foureyes_core::domain::inventory::{Claim, Volume};
use foureyes_core::index::{
    Change, ChangeEntry, Kind, NamespaceEntry, RecordEntry, RequestEntry, RetentionEntry, SignOffEntry, policy_entry,
};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::lasting::{OVER, Trouble};
use super::watch::{PAGE, Pauses};

/// Name of the ConfigMap in which the controller notes that the first start is over.
const STATE: &str = "foureyes-state";
const STARTED: &str = "started";

/// What a watch has to tell.
pub enum Told {
    /// This is so now.
    Learned(Change),
    /// The kind has not been followed for a while, so that what is known of it may be out of date; or it is again.
    Follows(Kind, bool),
}

/// Starts a watch for every kind, for as long as the process runs; `tell` takes in what each has to tell.
pub fn start(client: &Client, own_namespace: &str, tell: impl Fn(Told) + Clone + Send + 'static) {
    let all = watcher::Config::default().page_size(PAGE);
    let spawn = |feed: Feed| drop(tokio::spawn(feed));
    spawn(follow(
        Api::<Namespace>::all(client.clone()),
        all.clone(),
        tell.clone(),
        Kind::Namespaces,
        |namespace| Some(Change::Namespace(NamespaceEntry::of(namespace))),
        |namespace| Change::NamespaceGone(namespace.name_any().into()),
    ));
    spawn(follow(
        Api::<PersistentVolumeClaim>::all(client.clone()),
        all.clone(),
        tell.clone(),
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
        tell.clone(),
        Kind::Volumes,
        |volume| Some(Change::Volume(Volume::of(volume))),
        |volume| Change::VolumeGone(volume.name_any().into()),
    ));
    spawn(follow(
        ours(client, "DeletionRequest", "deletionrequests"),
        all.clone(),
        tell.clone(),
        Kind::Requests,
        |object| typed::<DeletionRequest>(object).map(|request| Change::Request(RequestEntry::of(&request))),
        |object| Change::RequestGone(object.name_any().into()),
    ));
    spawn(follow(
        ours(client, "SignOff", "signoffs"),
        all.clone(),
        tell.clone(),
        Kind::SignOffs,
        |object| typed::<SignOff>(object).map(|sign_off| Change::SignOff(SignOffEntry::of(&sign_off))),
        |object| Change::SignOffGone(object.name_any().into()),
    ));
    spawn(follow(
        ours(client, "SafetyPolicy", "safetypolicies"),
        all.clone(),
        tell.clone(),
        Kind::Policies,
        |object| serde_json::to_value(object).ok().map(|value| Change::Policy(Box::new(policy_entry(&value)))),
        |object| Change::PolicyGone(object.name_any().into()),
    ));
    let own = own_namespace.to_owned();
    spawn(follow(
        ours(client, "ChangeRequest", "changerequests"),
        all.clone(),
        tell.clone(),
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
        tell.clone(),
        Kind::Records,
        |object| typed::<RolloutRecord>(object).map(|record| Change::Record(RecordEntry::of(&record))),
        |object| Change::RecordGone(object.name_any().into()),
    ));
    spawn(follow(
        ours(client, "BackupRetention", "backupretentions"),
        all.clone(),
        tell.clone(),
        Kind::Retentions,
        |object| typed::<BackupRetention>(object).map(|retention| Change::Retention(RetentionEntry::of(&retention))),
        |object| Change::RetentionGone(object.name_any().into()),
    ));
    spawn(follow(
        Api::<ConfigMap>::namespaced(client.clone(), own_namespace),
        all.fields(&format!("metadata.name={STATE}")),
        tell,
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
    tell: impl Fn(Told) + Send + 'static,
    kind: Kind,
    learn: impl Fn(&K) -> Option<Change> + Send + 'static,
    forget: impl Fn(&K) -> Change + Send + 'static,
) -> Feed
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    Box::pin(followed(watcher(api, config).backoff(Pauses::default()).boxed(), tell, kind, learn, forget))
}

async fn followed<K>(
    mut events: BoxStream<'static, watcher::Result<Event<K>>>,
    tell: impl Fn(Told),
    kind: Kind,
    learn: impl Fn(&K) -> Option<Change>,
    forget: impl Fn(&K) -> Change,
) {
    let mut anew: Vec<Change> = Vec::new();
    let (mut trouble, mut told) = (Trouble::default(), false);
    loop {
        let event = if trouble.is_there() { timeout(OVER, events.next()).await } else { Ok(events.next().await) };
        let lasting = match event {
            Ok(None) => return,
            // It has begun to read, which says nothing yet.
            Ok(Some(Ok(Event::Init))) => {
                anew.clear();
                continue;
            }
            Ok(Some(Err(error))) => {
                tracing::warn!(kind = kind.as_str(), %error, "a watch broke and starts again");
                trouble.again(Instant::now())
            }
            Ok(Some(Ok(event))) => {
                trouble.over();
                match event {
                    // What can't be decoded is forgotten, never kept as it was.
                    Event::InitApply(object) => anew.extend(learn(&object)),
                    Event::InitDone => tell(Told::Learned(Change::Reset(kind, std::mem::take(&mut anew)))),
                    Event::Apply(object) => tell(Told::Learned(learn(&object).unwrap_or_else(|| forget(&object)))),
                    Event::Delete(object) => tell(Told::Learned(forget(&object))),
                    Event::Init => {}
                }
                false
            }
            Err(_) => {
                trouble.over();
                false
            }
        };
        if lasting != told {
            told = lasting;
            tell(Told::Follows(kind, !lasting));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use futures::stream;

    use super::*;

    /// Errors every 5 s for so many seconds, and what comes after them.
    fn errors(seconds: u64, then: Vec<Event<Namespace>>) -> BoxStream<'static, watcher::Result<Event<Namespace>>> {
        let broken = stream::iter(0..=seconds / 5).then(|_| async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Err(watcher::Error::NoResourceVersion)
        });
        broken.chain(stream::iter(then).map(Ok)).chain(stream::pending()).boxed()
    }

    async fn told(events: BoxStream<'static, watcher::Result<Event<Namespace>>>) -> Vec<(u64, bool)> {
        let (seen, begun) = (mpsc::channel(), Instant::now());
        let tell = |told| {
            if let Told::Follows(Kind::Namespaces, follows) = told {
                seen.0.send((begun.elapsed().as_secs(), follows)).ok();
            }
        };
        let learn = |namespace: &Namespace| Some(Change::Namespace(NamespaceEntry::of(namespace)));
        let forget = |namespace: &Namespace| Change::NamespaceGone(namespace.name_any().into());
        let following = followed(events, tell, Kind::Namespaces, learn, forget);
        assert!(timeout(Duration::from_secs(600), following).await.is_err());
        seen.1.try_iter().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_keeps_failing_is_told_of_and_so_is_its_end() {
        assert_eq!(told(errors(20, Vec::new())).await, []);
        // The last error comes after 65 s; nothing comes for 15 s.
        assert_eq!(told(errors(60, Vec::new())).await, [(35, false), (80, true)]);
        // Beginning to read is no success; having read is.
        assert_eq!(told(errors(60, vec![Event::Init])).await, [(35, false), (80, true)]);
        assert_eq!(told(errors(60, vec![Event::Init, Event::InitDone])).await, [(35, false), (65, true)]);
    }
}
