//! What would be lost: the data items behind a deletion, their digest, and the subset rule (bypasses 31, 32).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Serialize;

use crate::api::{InventoryStatus, ListedItem, METADATA_PREFIX, Target, TargetKind, is_name};
use crate::digest::{DigestError, Encoding, digest_sorted, hash_sorted};
use crate::domain::policy::Exemption;
use crate::domain::snapshot::{self, Content, Snapshot};
pub use crate::domain::volume::{Reclaim, Volume};

/// Labels of ours that a claim can have and be exempt by one of them. Every claim is kept in memory.
const MOST_LABELS: usize = 32;
/// What names a group, kind or object is never longer.
const LONGEST_NAME: usize = 253;

/// Why an inventory can't be established.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    #[error("{0:?} is not a UID")]
    Uid(String),
    #[error("the approved items can't be read")]
    Packed,
    #[error("the approved items are not those that were signed off")]
    Mismatch,
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// What decisions need to know about a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    pub volume: Option<Box<str>>,
    pub storage_class: Option<Box<str>>,
    pub size: Option<Box<str>>,
    /// Labels that begin with `foureyes.dev/`: the only ones that can exempt a claim.
    pub labels: BTreeMap<String, String>,
    /// There were more such labels than are kept: none is, and none exempts it, nor does the absence of one.
    pub too_many_labels: bool,
    /// The object that controls it, if any.
    pub controller: Option<Controller>,
    /// UIDs of the objects with which it is collected, as many as are kept.
    pub owners: Box<[Box<str>]>,
    /// Since when it is being deleted.
    pub going_since: Option<Timestamp>,
}

/// The controlling owner of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Empty for the core group.
    pub group: Box<str>,
    pub kind: Box<str>,
    pub name: Box<str>,
}

impl Controller {
    /// Nothing, if no object can have this name.
    pub fn new(group: &str, kind: &str, name: &str) -> Option<Self> {
        let fits = [group, kind, name].iter().all(|text| text.len() <= LONGEST_NAME);
        fits.then(|| Self { group: group.into(), kind: kind.into(), name: name.into() })
    }

    /// The owner that is the controller, if any is.
    pub fn of(owners: &[OwnerReference]) -> Option<Self> {
        let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        Self::new(group, &owner.kind, &owner.name)
    }
}

impl Claim {
    /// Reads what matters from a claim as the API server has it.
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        let (meta, spec) = (&claim.metadata, claim.spec.clone().unwrap_or_default());
        let size = claim.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage").cloned());
        let asked = || spec.resources.as_ref().and_then(|asked| asked.requests.as_ref()?.get("storage").cloned());
        Self {
            namespace: meta.namespace.clone().unwrap_or_default().into(),
            name: meta.name.clone().unwrap_or_default().into(),
            uid: meta.uid.clone().unwrap_or_default().into(),
            volume: spec.volume_name.as_deref().filter(|name| is_name(name)).map(Into::into),
            storage_class: spec.storage_class_name.as_deref().map(Into::into),
            size: size.or_else(asked).map(|quantity| quantity.0.into()),
            controller: Controller::of(meta.owner_references.as_deref().unwrap_or_default()),
            owners: owners(meta.owner_references.iter().flatten().map(|owner| owner.uid.as_str())),
            going_since: meta.deletion_timestamp.as_ref().map(|time| time.0),
            ..Self::default()
        }
        .labelled(meta.labels.iter().flatten())
    }

    /// The same with those of these labels that can exempt it.
    #[must_use]
    pub fn labelled<K: AsRef<str>, V: AsRef<str>>(self, labels: impl Iterator<Item = (K, V)>) -> Self {
        let ours = labels.filter(|(key, _)| key.as_ref().starts_with(METADATA_PREFIX)).take(MOST_LABELS + 1);
        let labels: BTreeMap<_, _> =
            ours.map(|(key, value)| (key.as_ref().to_owned(), value.as_ref().to_owned())).collect();
        let too_many_labels = labels.len() > MOST_LABELS;
        Self { labels: if too_many_labels { BTreeMap::new() } else { labels }, too_many_labels, ..self }
    }

    /// Whether it is exempt, by its storage class or its labels.
    pub fn is_exempt(&self, exemption: &Exemption) -> bool {
        exemption.covers_class(self.storage_class.as_deref())
            || (!self.too_many_labels && exemption.covers_labels(&self.labels))
    }

    /// A generic ephemeral claim, which is meant to go with its pod (bypass 19): controlled by a Pod and named
    /// `<pod>-<volume>`. A StatefulSet's claim `<template>-<pod>` may be controlled by a pod too, through its
    /// retention policy, and is not ephemeral (bypass 18).
    pub fn is_ephemeral(&self) -> bool {
        self.controller.as_ref().is_some_and(|owner| {
            let after_pod = self.name.strip_prefix(&*owner.name).is_some_and(|rest| rest.starts_with('-'));
            let before_pod = self.name.strip_suffix(&*owner.name).is_some_and(|rest| rest.ends_with('-'));
            owner.group.is_empty() && &*owner.kind == "Pod" && after_pod && !before_pod
        })
    }
}

/// Of more owners than these a claim is not said to be theirs; it goes only after the last of them.
const MOST_OWNERS: usize = 8;

/// UIDs of owners, as they are kept.
pub fn owners<'a>(uids: impl Iterator<Item = &'a str>) -> Box<[Box<str>]> {
    uids.filter(|uid| uid.len() <= LONGEST_NAME).take(MOST_OWNERS).map(Into::into).collect()
}

const CLAIM: &str = TargetKind::PersistentVolumeClaim.as_str();
const VOLUME: &str = TargetKind::PersistentVolume.as_str();

/// One data item. Its size, the name of what is behind it, and whether that is kept, are for reading; everything else is
/// in the digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataItem {
    pub kind: &'static str,
    pub namespace: Option<String>,
    pub name: String,
    pub uid: String,
    pub handle: Option<String>,
    pub size: Option<String>,
    /// The volume of a claim, or the content of a snapshot, where it is an item itself.
    pub volume: Option<String>,
    /// Of a volume or a content as it is now: whether its data would outlive its claim or its snapshot.
    pub kept: Option<Kept>,
}

/// See [`DataItem::kept`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    pub reclaim: Reclaim,
    /// UID of the claim that it could bring back.
    pub claim: Option<String>,
    /// It is being deleted, so that it goes with its claim or its snapshot whatever its policy says.
    pub going: bool,
}

impl DataItem {
    fn claim(claim: &Claim, volume: Option<&Volume>) -> Self {
        Self {
            kind: CLAIM,
            namespace: Some(claim.namespace.to_string()),
            name: claim.name.to_string(),
            uid: claim.uid.to_string(),
            handle: None,
            size: claim.size.as_deref().map(str::to_owned),
            volume: volume.map(|volume| volume.name.to_string()),
            kept: None,
        }
    }

    fn volume(volume: &Volume) -> Self {
        Self {
            kind: VOLUME,
            namespace: None,
            name: volume.name.to_string(),
            uid: volume.uid.to_string(),
            handle: volume.handle.as_deref().map(str::to_owned),
            size: None,
            volume: None,
            kept: Some(Kept {
                reclaim: volume.reclaim,
                claim: volume.kept_claim.as_deref().map(str::to_owned),
                going: volume.going,
            }),
        }
    }

    /// An object that keeps data and is data by itself.
    fn keeper(target: &Target, handle: Option<&str>) -> Self {
        Self {
            kind: target.kind.as_str(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            uid: target.uid.clone(),
            handle: handle.map(str::to_owned),
            size: None,
            volume: None,
            kept: None,
        }
    }

    fn snapshot(snapshot: &Snapshot, content: &Content) -> Self {
        Self {
            kind: snapshot::SNAPSHOT,
            namespace: Some(snapshot.namespace.to_string()),
            name: snapshot.name.to_string(),
            uid: snapshot.uid.to_string(),
            handle: None,
            size: snapshot.size.as_deref().map(str::to_owned),
            volume: Some(content.name.to_string()),
            kept: None,
        }
    }

    fn content(content: &Content) -> Self {
        Self {
            kind: snapshot::CONTENT,
            namespace: None,
            name: content.name.to_string(),
            uid: content.uid.to_string(),
            handle: content.handle.as_deref().map(str::to_owned),
            size: None,
            volume: None,
            kept: Some(Kept { reclaim: content.deletion, claim: None, going: content.going }),
        }
    }

    /// What people call its kind.
    pub fn word(&self) -> &'static str {
        match self.kind {
            CLAIM => "claim",
            VOLUME => "volume",
            kind if self.is_keeper() => kind,
            snapshot::SNAPSHOT => "snapshot",
            snapshot::CONTENT => "snapshot content",
            kind => kind,
        }
    }

    /// Whether it is a volume, which a note brings back.
    pub fn is_volume(&self) -> bool {
        self.kind == VOLUME
    }

    fn of_listed(listed: &ListedItem) -> Result<Self, InventoryError> {
        let mut kinds = TargetKind::ALL.into_iter().map(TargetKind::as_str);
        let kind = kinds.find(|kind| *kind == listed.kind).ok_or(InventoryError::Mismatch)?;
        Ok(Self {
            kind,
            namespace: listed.namespace.clone(),
            name: listed.name.clone(),
            uid: listed.uid.clone(),
            handle: listed.handle.clone(),
            size: listed.size.clone(),
            volume: None,
            kept: None,
        })
    }

    /// As it stands in a status.
    pub fn listed(&self) -> ListedItem {
        ListedItem {
            kind: self.kind.to_owned(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            handle: self.handle.clone(),
            size: self.size.clone(),
            not_kept: self.not_kept().map(str::to_owned),
        }
    }

    /// Why nothing can keep its data, if so.
    pub fn not_kept(&self) -> Option<&'static str> {
        if self.is_keeper() {
            return Some("it is itself what keeps data");
        }
        let going = self.kept.as_ref().is_some_and(|kept| kept.going);
        going.then_some(match self.kind {
            snapshot::CONTENT => "it is being deleted already, and goes with its snapshot",
            _ => "it is being deleted already, and goes with its claim",
        })
    }

    /// It is no claim and no snapshot, and nothing that is behind one.
    fn is_keeper(&self) -> bool {
        self.kind != CLAIM && self.kept.is_none() && self.volume.is_none()
    }

    fn text(&self) -> String {
        let behind = if self.kind == snapshot::SNAPSHOT { "content" } else { "volume" };
        let volume = self.volume.as_deref().map(|volume| format!("{behind} {volume}"));
        let about: Vec<&str> = self.size.as_deref().into_iter().chain(volume.as_deref()).collect();
        let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
        let place = self.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        format!("{} {place}{}{about}", self.word(), self.name)
    }
}

/// What the digest is over: all that an item is but its size. The fields stand in the order of their names.
#[derive(Serialize)]
struct Hashed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<&'a str>,
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    uid: &'a str,
}

impl<'a> Hashed<'a> {
    fn of(item: &'a DataItem) -> Self {
        Self {
            handle: item.handle.as_deref(),
            kind: item.kind,
            name: &item.name,
            namespace: item.namespace.as_deref(),
            uid: &item.uid,
        }
    }
}

/// The data items behind a deletion, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory(Vec<DataItem>);

impl Inventory {
    /// Claims, each with its volume where there is one.
    pub fn of<'a>(claims: impl IntoIterator<Item = (&'a Claim, Option<&'a Volume>)>) -> Self {
        let mut items: Vec<DataItem> = claims
            .into_iter()
            .flat_map(|(claim, volume)| [Some(DataItem::claim(claim, volume)), volume.map(DataItem::volume)])
            .flatten()
            .collect();
        items.sort();
        items.dedup();
        Self(items)
    }

    /// What is lost with an object that keeps data: the object, whose data is where `handle` says.
    pub fn of_keeper(target: &Target, handle: Option<&str>) -> Self {
        Self(vec![DataItem::keeper(target, handle)])
    }

    /// With the snapshots that go as well, each with what is behind it. What nothing is behind holds no data yet.
    #[must_use]
    pub fn and_snapshots<'a>(
        mut self,
        snapshots: impl IntoIterator<Item = (&'a Snapshot, Option<&'a Content>)>,
    ) -> Self {
        let taken = snapshots.into_iter().filter_map(|(snapshot, content)| Some((snapshot, content?)));
        let items =
            taken.flat_map(|(snapshot, content)| [DataItem::snapshot(snapshot, content), DataItem::content(content)]);
        self.0.extend(items);
        self.0.sort();
        self.0.dedup();
        self
    }

    pub fn items(&self) -> &[DataItem] {
        &self.0
    }

    /// UIDs of the claims.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|item| item.kind == CLAIM).map(|item| item.uid.as_str())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `inventory/v1:sha256:…`, over the items and over their UIDs as they are packed: what is packed in a status can be
    /// held against the digest that people signed off, however many items there are.
    pub fn digest(&self) -> Result<String, InventoryError> {
        digest_of(&self.items_digest()?, &self.packed()?)
    }

    /// `sha256:…` over the items alone.
    pub fn items_digest(&self) -> Result<String, InventoryError> {
        let items: Vec<Hashed<'_>> = self.0.iter().map(Hashed::of).collect();
        Ok(hash_sorted(&items)?)
    }

    /// Counts, for example `2 claims, 2 volumes`.
    pub fn summary(&self) -> String {
        if self.0.is_empty() {
            return "no data".to_owned();
        }
        if let Some(keeper) = self.0.iter().find(|item| item.is_keeper()) {
            return format!("1 {}, which nothing can keep", keeper.kind);
        }
        let items = counted(&self.0.iter());
        match counted(&self.0.iter().filter(|item| item.not_kept().is_some())) {
            lost if lost.is_empty() => items,
            lost => format!("{items}; nothing can keep {lost}"),
        }
    }

    /// The first few claims and snapshots in words, each with what is behind it.
    pub fn sentence(&self, most: usize) -> String {
        // Where volumes and contents come with them, it is claims and snapshots that people know.
        let claims = self.0.iter().filter(|item| item.kept.is_none());
        let mut words: Vec<String> = claims.clone().take(most).map(DataItem::text).collect();
        if let Some(more @ 1..) = claims.count().checked_sub(most) {
            words.push(format!("and {more} more"));
        }
        words.join(", ")
    }

    /// UIDs of all items, 16 bytes each, sorted, base64: 2,000 claims and volumes fit into 86 KB.
    pub fn packed(&self) -> Result<String, InventoryError> {
        let mut uids = self.0.iter().map(|item| parse_uid(&item.uid)).collect::<Result<Vec<_>, _>>()?;
        uids.sort_unstable();
        let bytes: Vec<u8> = uids.iter().flat_map(|uid| uid.to_be_bytes()).collect();
        Ok(STANDARD.encode(bytes))
    }

    /// The items that are among the approved ones.
    #[must_use]
    pub fn among(&self, approved: &ApprovedItems) -> Self {
        let known = self.0.iter().filter(|item| approved.contains(&item.uid).unwrap_or(false));
        Self(known.cloned().collect())
    }

    /// Items that are not among the approved ones.
    pub fn beyond(&self, approved: &ApprovedItems) -> Result<Vec<&DataItem>, InventoryError> {
        let mut beyond = Vec::new();
        for item in &self.0 {
            if !approved.contains(&item.uid)? {
                beyond.push(item);
            }
        }
        Ok(beyond)
    }
}

/// Items by what people call their kinds; what is behind snapshots is counted with them.
fn counted<'a>(items: &(impl Iterator<Item = &'a DataItem> + Clone)) -> String {
    let words = ["claim", "volume", "snapshot", "snapshot content"];
    let counts = words.map(|word| (word, items.clone().filter(|item| item.word() == word).count()));
    let plural = |(word, count): (&str, usize)| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let all: Vec<String> = counts.into_iter().filter(|(_, count)| *count > 0).map(plural).collect();
    all.join(", ")
}

/// What the digest of an inventory is over.
#[derive(Serialize)]
struct Digested<'a> {
    items: &'a str,
    uids: &'a str,
}

fn digest_of(items: &str, packed: &str) -> Result<String, InventoryError> {
    Ok(digest_sorted(Encoding::Inventory, &Digested { items, uids: packed })?)
}

/// The items that were signed off: what is packed must be what the digest is over, and a complete list must be theirs.
pub fn prove_items(stated: &InventoryStatus) -> Result<ApprovedItems, InventoryError> {
    if digest_of(&stated.items_digest, &stated.packed_uids)? != stated.digest {
        return Err(InventoryError::Mismatch);
    }
    if usize::try_from(stated.total) == Ok(stated.items.len()) {
        let listed = Inventory(stated.items.iter().map(DataItem::of_listed).collect::<Result<_, _>>()?);
        if listed.items_digest()? != stated.items_digest || listed.packed()? != stated.packed_uids {
            return Err(InventoryError::Mismatch);
        }
    }
    ApprovedItems::unpack(&stated.packed_uids)
}

/// The items that were signed off, by UID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovedItems(Vec<u128>);

impl ApprovedItems {
    pub fn unpack(packed: &str) -> Result<Self, InventoryError> {
        let bytes = STANDARD.decode(packed).map_err(|_| InventoryError::Packed)?;
        let (chunks, rest) = bytes.as_chunks::<16>();
        let uids: Vec<u128> = chunks.iter().map(|chunk| u128::from_be_bytes(*chunk)).collect();
        if rest.is_empty() && uids.is_sorted() { Ok(Self(uids)) } else { Err(InventoryError::Packed) }
    }

    pub fn contains(&self, uid: &str) -> Result<bool, InventoryError> {
        Ok(self.0.binary_search(&parse_uid(uid)?).is_ok())
    }
}

fn parse_uid(uid: &str) -> Result<u128, InventoryError> {
    let error = || InventoryError::Uid(uid.to_owned());
    let groups: Vec<&str> = uid.split('-').collect();
    let shape: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let hexadecimal = uid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    if shape != [8, 4, 4, 4, 12] || !hexadecimal {
        return Err(error());
    }
    u128::from_str_radix(&groups.concat(), 16).map_err(|_| error())
}

#[cfg(test)]
mod tests;
