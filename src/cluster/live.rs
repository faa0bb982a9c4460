//! Reads that a decision rests on: always live, never from a cache, each with a deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::identity;
use std::future::Future;
use std::time::{Duration, Instant};

use foureyes_core::api::{
    APPROVED_BY_RECORD, ChangeRequest, DeletionRequest, RolloutRecord, SafetyPolicy, SignOff, Target, is_name,
};
use foureyes_core::domain::deletion::is_data;
use foureyes_core::domain::inventory::{Claim, Inventory, Volume};
use foureyes_core::domain::policy::PolicySet;
use foureyes_core::seal::{KeyRing, PublicKey};
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim};
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectList, ObjectMeta};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::{CallError, with_deadline};
use crate::manifests::names::{self, STATE_CONFIG};
use crate::metrics::Metrics;

/// ConfigMap in which `foureyes keys` publishes the public keys.
pub const KEYS: &str = "foureyes-keys";
/// Its data key with the UID of the namespace kube-system.
pub const KEYS_CLUSTER_ID: &str = "clusterId";
/// Its data key with the JSON list of public keys.
pub const KEYS_LIST: &str = "keys";

/// Objects of ours read in one call.
const PAGE: u32 = 500;
/// Claims read in one call: others fill them, up to 1.5 MB each.
const PAGE_OF_CLAIMS: u32 = 50;
/// Volumes read at a time.
const VOLUMES_AT_ONCE: usize = 16;
/// Above this many, listing all volumes takes less time than reading each.
const VOLUMES_ONE_BY_ONE: usize = 256;

/// Why something could not be read; nothing may be concluded from it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No answer in time.
    #[error("{what} could not be read: no answer within {after:?}")]
    Timeout {
        /// What was asked for, from a fixed vocabulary.
        what: &'static str,
        /// The deadline of the call.
        after: Duration,
    },
    /// An answer that says no, or a connection that broke.
    #[error("{what} could not be read: {source}")]
    Api {
        /// What was asked for, from a fixed vocabulary.
        what: &'static str,
        /// What the API server or the connection said.
        source: CallError,
    },
    /// The sealing keys were never published, so that no seal can be proven or disproven.
    #[error("ConfigMap {KEYS} holds no keys: run `foureyes keys`")]
    NoKeys,
    /// What was read makes no sense.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// What was asked for, from a fixed vocabulary.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl ReadError {
    fn of(what: &'static str, error: CallError) -> Self {
        match error {
            CallError::Deadline(after) => Self::Timeout { what, after },
            source @ CallError::Api(_) => Self::Api { what, source },
        }
    }

    /// The class of error from a fixed vocabulary, fit for a metric label.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "deadline",
            Self::Api { source, .. } => source.class(),
            Self::NoKeys => "no_keys",
            Self::Malformed { .. } => "malformed",
        }
    }
}

/// Reads the API server directly.
#[derive(Clone)]
pub struct Live {
    client: Client,
    /// Namespace of foureyes itself.
    own_namespace: String,
    /// Time for one call.
    deadline: Duration,
    metrics: Metrics,
}

impl Live {
    /// `deadline` is for one call; a caller with a deadline of its own puts that around the whole.
    pub fn new(client: Client, own_namespace: impl Into<String>, deadline: Duration, metrics: Metrics) -> Self {
        Self { client, own_namespace: own_namespace.into(), deadline, metrics }
    }

    /// The client behind it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The request of this name. Here and below: what can't be a name names nothing, and never becomes part of a path.
    pub async fn request(&self, name: &str) -> Result<Option<DeletionRequest>, ReadError> {
        if !is_name(name) {
            return Ok(None);
        }
        let api: Api<DeletionRequest> = Api::all(self.client.clone());
        self.call("DeletionRequest", api.get_opt(name)).await
    }

    /// The change of this name.
    pub async fn change(&self, namespace: &str, name: &str) -> Result<Option<ChangeRequest>, ReadError> {
        if !is_name(namespace) || !is_name(name) {
            return Ok(None);
        }
        let api: Api<ChangeRequest> = Api::namespaced(self.client.clone(), namespace);
        self.call("ChangeRequest", api.get_opt(name)).await
    }

    /// Of all changes in a namespace what `keep` makes of them, one after another.
    pub async fn changes<T>(
        &self,
        namespace: &str,
        keep: impl Fn(ChangeRequest) -> Option<T>,
    ) -> Result<Vec<T>, ReadError> {
        if !is_name(namespace) {
            return Ok(Vec::new());
        }
        let api: Api<ChangeRequest> = Api::namespaced(self.client.clone(), namespace);
        Ok(self.list("ChangeRequests", &api, ListParams::default(), keep).await?.into_iter().flatten().collect())
    }

    /// The record of this name.
    pub async fn record(&self, name: &str) -> Result<Option<RolloutRecord>, ReadError> {
        let api: Api<RolloutRecord> = Api::all(self.client.clone());
        self.call("RolloutRecord", api.get_opt(name)).await
    }

    /// Every request, open or ended, about the object with this UID.
    pub async fn requests_about(&self, target_uid: &str) -> Result<Vec<DeletionRequest>, ReadError> {
        let api: Api<DeletionRequest> = Api::all(self.client.clone());
        let params = ListParams::default().fields(&format!("spec.target.uid={target_uid}"));
        self.list("DeletionRequests", &api, params, identity).await
    }

    /// The policy of this name as it is, readable or not.
    pub async fn policy(&self, name: &str) -> Result<Option<Value>, ReadError> {
        let kind = ApiResource::erase::<SafetyPolicy>(&());
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
        let policy = self.call("SafetyPolicy", api.get_opt(name)).await?;
        let json = policy.map(serde_json::to_value).transpose();
        json.map_err(|error| ReadError::Malformed { what: "SafetyPolicy", why: error.to_string() })
    }

    /// Every statement about the request with this UID.
    pub async fn sign_offs(&self, subject_uid: &str) -> Result<Vec<SignOff>, ReadError> {
        let api: Api<SignOff> = Api::all(self.client.clone());
        let params = ListParams::default().fields(&format!("spec.subject.uid={subject_uid}"));
        self.list("SignOffs", &api, params, identity).await
    }

    /// The claim of this name.
    pub async fn claim(&self, namespace: &str, name: &str) -> Result<Option<PersistentVolumeClaim>, ReadError> {
        if !is_name(namespace) || !is_name(name) {
            return Ok(None);
        }
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        self.call("PersistentVolumeClaim", api.get_opt(name)).await
    }

    /// Every claim of a namespace.
    pub async fn claims(&self, namespace: &str) -> Result<Vec<Claim>, ReadError> {
        if !is_name(namespace) {
            return Ok(Vec::new());
        }
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        self.list("PersistentVolumeClaims", &api, ListParams::default().limit(PAGE_OF_CLAIMS), |claim| {
            Claim::of(&claim)
        })
        .await
    }

    /// The volume of this name.
    pub async fn volume(&self, name: &str) -> Result<Option<Volume>, ReadError> {
        Ok(self.whole_volume(name).await?.as_ref().map(Volume::of))
    }

    async fn whole_volume(&self, name: &str) -> Result<Option<PersistentVolume>, ReadError> {
        if !is_name(name) {
            return Ok(None);
        }
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        self.call("PersistentVolume", api.get_opt(name)).await
    }

    /// The target as it is, whatever its kind; nothing if there is no such object.
    pub async fn target(&self, target: &Target) -> Result<Option<DynamicObject>, ReadError> {
        if !target.is_well_formed() {
            return Ok(None);
        }
        let (group, version) = target.api_version.split_once('/').unwrap_or(("", &target.api_version));
        let kind = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: target.api_version.clone(),
            kind: target.kind.as_str().to_owned(),
            plural: target.kind.plural().to_owned(),
        };
        let api: Api<DynamicObject> = match &target.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind),
            None => Api::all_with(self.client.clone(), &kind),
        };
        self.call(target.kind.as_str(), api.get_opt(&target.name)).await
    }

    /// The namespace of this name.
    pub async fn namespace(&self, name: &str) -> Result<Option<Namespace>, ReadError> {
        if !is_name(name) {
            return Ok(None);
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        self.call("Namespace", api.get_opt(name)).await
    }

    /// Every namespace, reduced to what `keep` makes of its metadata.
    pub async fn namespaces<T>(&self, keep: impl Fn(ObjectMeta) -> T) -> Result<Vec<T>, ReadError> {
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(self.client.clone());
        self.list("Namespaces", &api, ListParams::default(), |namespace| keep(namespace.metadata)).await
    }

    /// What the controller has noted about itself.
    pub async fn state(&self) -> Result<ConfigMap, ReadError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.own_namespace);
        let map = self.call("ConfigMap foureyes-state", api.get_opt(STATE_CONFIG)).await?;
        // Without it nobody could tell an installation from one whose notes were lost.
        map.ok_or_else(|| ReadError::Malformed { what: "ConfigMap foureyes-state", why: "it is gone".to_owned() })
    }

    /// The public keys that seals are proven with. Without any it is an error: "no seal holds" would be a conclusion.
    pub async fn key_ring(&self) -> Result<KeyRing, ReadError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.own_namespace);
        let map = self.call("ConfigMap foureyes-keys", api.get_opt(KEYS)).await?;
        map.map_or(Err(ReadError::NoKeys), |map| key_ring(&map))
    }

    /// What would be lost with a claim: itself and its volume.
    pub async fn inventory_of_claim(&self, claim: &Claim) -> Result<Inventory, ReadError> {
        let volume = self.volume_of(claim).await?;
        Ok(Inventory::of([(claim, volume.as_ref())]))
    }

    /// What would be lost with a namespace: every claim in it that holds data, each with its volume, and its snapshots,
    /// each with its content.
    pub async fn inventory_of_namespace(&self, name: &str, policies: &PolicySet) -> Result<Inventory, ReadError> {
        let (mut claims, snapshots) = tokio::try_join!(self.claims(name), self.snapshots(name))?;
        claims.retain(|claim| is_data(policies, claim) && !names::is_canary(&self.own_namespace, claim));
        let names: BTreeSet<Box<str>> = claims.iter().filter_map(|claim| claim.volume.clone()).collect();
        let volumes = self.volumes(names, Volume::of).await?;
        let volume = |claim: &Claim| claim.volume.as_deref().and_then(|name| volumes.get(name));
        let claims = Inventory::of(claims.iter().map(|claim| (claim, volume(claim))));
        Ok(claims.and_snapshots(snapshots.iter().map(|(snapshot, content)| (snapshot, content.as_ref()))))
    }

    /// Of the volumes of these names what `keep` makes of them: a few one by one, many out of all there are.
    pub async fn volumes<T>(
        &self,
        names: BTreeSet<Box<str>>,
        keep: impl Fn(&PersistentVolume) -> T,
    ) -> Result<BTreeMap<Box<str>, T>, ReadError> {
        let title = |volume: &PersistentVolume| Box::<str>::from(volume.metadata.name.as_deref().unwrap_or_default());
        if names.len() > VOLUMES_ONE_BY_ONE {
            let api: Api<PersistentVolume> = Api::all(self.client.clone());
            let wanted = |volume: PersistentVolume| {
                Some(title(&volume)).filter(|name| names.contains(name)).map(|name| (name, keep(&volume)))
            };
            let all = self.list("PersistentVolumes", &api, ListParams::default(), wanted).await?;
            return Ok(all.into_iter().flatten().collect());
        }
        let read = stream::iter(names)
            .map(|name| async move { self.whole_volume(&name).await })
            .buffer_unordered(VOLUMES_AT_ONCE);
        let volumes: Vec<Option<PersistentVolume>> = read.try_collect().await?;
        Ok(volumes.iter().flatten().map(|volume| (title(volume), keep(volume))).collect())
    }

    async fn volume_of(&self, claim: &Claim) -> Result<Option<Volume>, ReadError> {
        match &claim.volume {
            Some(name) => self.volume(name).await,
            None => Ok(None),
        }
    }

    /// Reads all pages, keeping of each object only what `keep` makes of it.
    pub(super) async fn list<K, T>(
        &self,
        what: &'static str,
        api: &Api<K>,
        params: ListParams,
        keep: impl Fn(K) -> T,
    ) -> Result<Vec<T>, ReadError>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let mut params = ListParams { limit: params.limit.or(Some(PAGE)), ..params };
        let mut all = Vec::new();
        loop {
            let page: ObjectList<K> = self.call(what, api.list(&params)).await?;
            let next = page.metadata.continue_.clone().filter(|token| !token.is_empty());
            all.extend(page.items.into_iter().map(&keep));
            match next {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(all),
            }
        }
    }

    /// One call with its deadline, counted. Boxed, because a call's state is large, and every review would carry it
    /// about though most make no call.
    pub(super) fn call<'a, T: 'a>(
        &'a self,
        what: &'static str,
        call: impl Future<Output = Result<T, kube::Error>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, ReadError>> {
        Box::pin(async move {
            let began = Instant::now();
            let result = with_deadline(self.deadline, call).await;
            let outcome = result.as_ref().map_or_else(CallError::class, |_| "ok");
            self.metrics.called(what, outcome, began.elapsed());
            result.map_err(|error| ReadError::of(what, error))
        })
    }
}

/// The sealed record behind the approval annotation of a claim or a namespace, as text.
pub fn record(metadata: &ObjectMeta) -> Option<&str> {
    metadata.annotations.as_ref()?.get(APPROVED_BY_RECORD).map(String::as_str)
}

/// Reads the public keys from their ConfigMap.
pub fn key_ring(map: &ConfigMap) -> Result<KeyRing, ReadError> {
    let value = |key: &str| {
        let value = map.data.as_ref().and_then(|data| data.get(key));
        value.map(String::as_str).filter(|value| !value.is_empty())
    };
    let (Some(cluster_id), Some(list)) = (value(KEYS_CLUSTER_ID), value(KEYS_LIST)) else {
        return Err(ReadError::NoKeys);
    };
    let keys: Vec<PublicKey> = serde_json::from_str(list)
        .map_err(|error| ReadError::Malformed { what: "ConfigMap foureyes-keys", why: error.to_string() })?;
    if keys.is_empty() {
        return Err(ReadError::NoKeys);
    }
    Ok(KeyRing { cluster_id: cluster_id.to_owned(), keys })
}
