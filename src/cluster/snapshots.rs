//! The snapshot API, which not every cluster has: what is not installed has no objects, and it is asked each time, so that
//! it is noticed once it is.

use std::collections::BTreeMap;
use std::time::Duration;

use foureyes_core::api::is_name;
use foureyes_core::domain::inventory::{ApprovedItems, Reclaim};
use foureyes_core::domain::kept::KeepContent;
use foureyes_core::domain::snapshot::{CONTENT, Content, GROUP, SNAPSHOT, Snapshot};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use serde_json::{Value, json};

use super::apply;
use super::client::CallError;
use super::live::{Live, ReadError};

/// Contents read at a time.
const AT_ONCE: usize = 16;
/// Above this many, listing all contents takes less time than reading each.
const ONE_BY_ONE: usize = 256;

fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1", kind), plural)
}

/// Contents of snapshots, in the whole cluster.
pub fn contents(live: &Live) -> Api<DynamicObject> {
    Api::all_with(live.client().clone(), &resource(CONTENT, "volumesnapshotcontents"))
}

pub(super) fn whole(object: &DynamicObject) -> Value {
    let mut whole = object.data.clone();
    whole["metadata"] = serde_json::to_value(&object.metadata).unwrap_or_default();
    whole
}

/// Where a kind is not installed there is none of it.
pub(super) fn installed<T>(read: Result<Vec<T>, ReadError>) -> Result<Vec<T>, ReadError> {
    match read {
        Err(ReadError::Api { source, .. }) if source.is_not_found() => Ok(Vec::new()),
        read => read,
    }
}

impl Live {
    /// What is behind a snapshot, if something is.
    pub(super) async fn content_of(&self, snapshot: &Snapshot) -> Result<Option<Content>, ReadError> {
        let contents = self.contents(snapshot.content.iter().cloned().collect()).await?;
        Ok(contents.into_values().next())
    }

    /// The snapshots of a namespace, each with what is behind it.
    pub async fn snapshots(&self, namespace: &str) -> Result<Vec<(Snapshot, Option<Content>)>, ReadError> {
        if !is_name(namespace) {
            return Ok(Vec::new());
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client().clone(), namespace, &resource(SNAPSHOT, "volumesnapshots"));
        let keep = |object: DynamicObject| Snapshot::of(&whole(&object));
        let snapshots = installed(self.list("VolumeSnapshots", &api, ListParams::default(), keep).await)?;
        let names: Vec<Box<str>> = snapshots.iter().filter_map(|snapshot| snapshot.content.clone()).collect();
        let contents = self.contents(names).await?;
        let behind = |snapshot: &Snapshot| {
            let content = contents.get(snapshot.content.as_deref()?)?;
            content.is_behind(snapshot).then(|| content.clone())
        };
        Ok(snapshots
            .into_iter()
            .map(|snapshot| (behind(&snapshot), snapshot))
            .map(|(content, of)| (of, content))
            .collect())
    }

    async fn contents(&self, names: Vec<Box<str>>) -> Result<BTreeMap<Box<str>, Content>, ReadError> {
        let api = contents(self);
        let found = if names.len() > ONE_BY_ONE {
            self.all_contents().await?
        } else {
            let read = stream::iter(names.into_iter().filter(|name| is_name(name))).map(|name| {
                let api = api.clone();
                async move { self.call("VolumeSnapshotContent", api.get_opt(&name)).await }
            });
            let read: Vec<Option<DynamicObject>> = read.buffer_unordered(AT_ONCE).try_collect().await?;
            read.into_iter().flatten().map(|object| Content::of(&whole(&object))).collect()
        };
        Ok(found.into_iter().map(|content| (content.name.clone(), content)).collect())
    }

    async fn all_contents(&self) -> Result<Vec<Content>, ReadError> {
        let keep = |object: DynamicObject| Content::of(&whole(&object));
        installed(self.list("VolumeSnapshotContents", &contents(self), ListParams::default(), keep).await)
    }

    /// Of the items that were signed off, the contents that there are.
    pub async fn contents_among(&self, items: &ApprovedItems) -> Result<Vec<Content>, ReadError> {
        let all = self.all_contents().await?;
        Ok(all.into_iter().filter(|content| items.contains(&content.uid).unwrap_or(false)).collect())
    }

    /// Puts what is behind a snapshot on Retain.
    pub async fn keep_content(&self, keep: &KeepContent, limit: Duration) -> Result<(), CallError> {
        let patch = json!({"metadata": {"uid": keep.uid}, "spec": {"deletionPolicy": Reclaim::Retain.as_str()}});
        apply::merge(&contents(self), &keep.content, &patch, limit).await
    }
}
