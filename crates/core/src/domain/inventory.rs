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

/// One data item. Its size, the name of a claim's volume, and whether that is kept, are for reading; everything else is in
/// the digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataItem {
    pub kind: &'static str,
    pub namespace: Option<String>,
    pub name: String,
    pub uid: String,
    pub handle: Option<String>,
    pub size: Option<String>,
    /// The volume of a claim, where it is an item itself.
    pub volume: Option<String>,
    /// Of a volume as it is now: whether its data would outlive its claim.
    pub kept: Option<Kept>,
}

/// See [`DataItem::kept`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    pub reclaim: Reclaim,
    /// UID of the claim that it could bring back.
    pub claim: Option<String>,
    /// It is being deleted, so that it goes with its claim whatever its policy says.
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
        going.then_some("it is being deleted already, and goes with its claim")
    }

    /// It is no claim and no claim's volume.
    fn is_keeper(&self) -> bool {
        self.kind != CLAIM && self.kept.is_none()
    }

    fn text(&self) -> String {
        let volume = self.volume.as_deref().map(|volume| format!("volume {volume}"));
        let about: Vec<&str> = self.size.as_deref().into_iter().chain(volume.as_deref()).collect();
        let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
        let kind = match self.kind {
            CLAIM => "claim",
            VOLUME => "volume",
            kind => kind,
        };
        match &self.namespace {
            Some(namespace) => format!("{kind} {namespace}/{}{about}", self.name),
            None => format!("{kind} {}{about}", self.name),
        }
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

    pub fn items(&self) -> &[DataItem] {
        &self.0
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
        if let Some(keeper) = self.0.iter().find(|item| item.is_keeper()) {
            return format!("1 {}, which nothing can keep", keeper.kind);
        }
        let claims = self.0.iter().filter(|item| item.kind == CLAIM).count();
        let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let volumes = self.0.len() - claims;
        let items = match (claims, volumes) {
            (0, 0) => "no data".to_owned(),
            (claims, 0) => plural(claims, "claim"),
            (claims, volumes) => format!("{}, {}", plural(claims, "claim"), plural(volumes, "volume")),
        };
        match self.0.iter().filter(|item| item.not_kept().is_some()).count() {
            0 => items,
            lost => format!("{items}; nothing can keep {}", plural(lost, "volume")),
        }
    }

    /// The first few claims in words, each with its volume.
    pub fn sentence(&self, most: usize) -> String {
        // Where volumes come with their claims, it is the claims that people know.
        let claims = self.0.iter().filter(|item| item.kind == CLAIM || item.is_keeper());
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::selector::Selector;
    use proptest::prelude::*;

    fn claim(name: &str, uid: u128) -> Claim {
        let hex = format!("{uid:032x}");
        let uid = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        Claim { namespace: "shop".into(), name: name.into(), uid: uid.into(), ..Claim::default() }
    }

    fn owned(name: &str, kind: &str, owner: &str) -> Claim {
        let controller = Controller { group: "".into(), kind: kind.into(), name: owner.into() };
        Claim { controller: Some(controller), ..claim(name, 1) }
    }

    /// Anybody who may write claims could fill the memory of every webhook.
    #[test]
    fn little_is_kept_of_a_large_claim() {
        let long = "x".repeat(250_000);
        let labels: BTreeMap<_, _> = (0..5_000).map(|at| (format!("foureyes.dev/{at}"), "yes")).collect();
        let claim = serde_json::json!({
            "metadata": {
                "name": "data", "namespace": "shop", "labels": labels,
                "annotations": {"foureyes.dev/approved-by-record": long, "foureyes.dev/approved-by": long, "note": long},
                "finalizers": [format!("example.com/{long}")],
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": long, "uid": "u", "controller": true}],
            },
            "spec": {"volumeName": long},
        });
        let claim = Claim::of(&serde_json::from_value(claim).unwrap());
        assert!(format!("{claim:?}").len() < 1_000);
        assert!(
            claim.too_many_labels && claim.labels.is_empty() && claim.controller.is_none() && claim.volume.is_none()
        );
    }

    #[test]
    fn of_too_many_labels_none_exempts_nor_does_its_absence() {
        let exempt = |claim: &Claim, operator: &str, key: &str| {
            let selector = serde_json::json!({"matchExpressions": [{"key": key, "operator": operator}]});
            let claims = Selector::compile(&serde_json::from_value(selector).unwrap()).unwrap();
            claim.is_exempt(&Exemption { claims: Some(claims), ..Exemption::default() })
        };
        for (count, expected) in [(MOST_LABELS, true), (MOST_LABELS + 1, false)] {
            let ours = (0..count).map(|at| (format!("foureyes.dev/{at}"), "yes"));
            let claim = Claim::default().labelled(ours.chain((0..100).map(|at| (format!("another.dev/{at}"), "yes"))));
            assert_eq!(exempt(&claim, "Exists", "foureyes.dev/0"), expected);
            assert_eq!(exempt(&claim, "DoesNotExist", "foureyes.dev/keep"), expected);
        }
    }

    #[test]
    fn the_digest_does_not_depend_on_order_or_size() {
        let (a, b) = (claim("a", 1), claim("b", 2));
        let bigger = Claim { size: Some("9Gi".into()), ..a.clone() };
        let one = Inventory::of([(&a, None), (&b, None)]).digest().unwrap();
        assert_eq!(one, Inventory::of([(&b, None), (&bigger, None)]).digest().unwrap());
        assert_ne!(one, Inventory::of([(&a, None)]).digest().unwrap());
    }

    #[test]
    fn claims_are_listed_each_with_its_volume() {
        let volume =
            |name: &str, uid: u128| Volume { name: name.into(), uid: claim("v", uid).uid, ..Volume::default() };
        let (a, b, c) = (claim("a", 1), Claim { size: Some("2Gi".into()), ..claim("b", 2) }, claim("c", 3));
        let (va, vb) = (volume("pv-2", 4), volume("pv-1", 5));
        let inventory = Inventory::of([(&c, None), (&b, Some(&vb)), (&a, Some(&va))]);
        let listed = "claim shop/a (volume pv-2), claim shop/b (2Gi, volume pv-1)";
        assert_eq!(inventory.sentence(8), format!("{listed}, claim shop/c"));
        assert_eq!(inventory.sentence(3), format!("{listed}, claim shop/c"));
        assert_eq!(inventory.sentence(2), format!("{listed}, and 1 more"));
        assert_eq!(Inventory::default().sentence(2), "");
    }

    #[test]
    fn a_claim_that_was_not_approved_is_beyond() {
        let (a, b) = (claim("a", 1), claim("b", 2));
        let approved = ApprovedItems::unpack(&Inventory::of([(&a, None)]).packed().unwrap()).unwrap();
        let live = Inventory::of([(&a, None), (&b, None)]);
        assert_eq!(live.beyond(&approved).unwrap(), [&DataItem::claim(&b, None)]);
    }

    #[test]
    fn what_is_no_uid_is_an_error() {
        let odd = Claim { uid: "not-a-uid".into(), ..claim("a", 1) };
        assert!(Inventory::of([(&odd, None)]).packed().is_err());
        assert!(ApprovedItems::default().contains("+0000001-0000-0000-0000-000000000000").is_err());
        assert!(ApprovedItems::unpack("AAAA").is_err());
    }

    #[test]
    fn ephemeral_claims_are_told_from_those_of_a_stateful_set() {
        assert!(owned("web-1-scratch", "Pod", "web-1").is_ephemeral());
        assert!(!owned("data-db-0", "Pod", "db-0").is_ephemeral());
        assert!(!owned("db-0-db-0", "Pod", "db-0").is_ephemeral());
        assert!(!owned("web-1-scratch", "Job", "web-1").is_ephemeral());
        assert!(!claim("web-1-scratch", 1).is_ephemeral());
    }

    proptest! {
        #[test]
        fn the_digest_is_the_one_over_a_sorted_tree(
            items in proptest::collection::vec((any::<String>(), any::<String>(), any::<String>(), any::<Option<String>>()), 0..6),
            size in any::<Option<String>>(),
        ) {
            let item = |(name, uid, namespace, handle): (String, String, String, Option<String>)| match handle {
                None => DataItem { kind: CLAIM, namespace: Some(namespace), name, uid, handle, size: size.clone(), volume: size.clone(), kept: None },
                Some(_) => DataItem { kind: VOLUME, namespace: None, name, uid, handle, size: None, volume: None, kept: None },
            };
            let items: Vec<DataItem> = items.into_iter().map(item).collect();
            let trees = items.iter().map(|item| {
                let mut tree = serde_json::json!({"kind": item.kind, "name": item.name, "uid": item.uid});
                let rest = [("namespace", &item.namespace), ("handle", &item.handle)];
                rest.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).for_each(|(key, value)| tree[key] = value.as_str().into());
                tree
            });
            let tree: serde_json::Value = trees.collect();
            let wanted = crate::digest::digest(Encoding::Inventory, &tree).unwrap();
            let seen = Inventory(items).items_digest().unwrap();
            prop_assert_eq!(format!("{}:{seen}", Encoding::Inventory.as_str()), wanted);
        }

        #[test]
        fn packing_keeps_every_uid(uids in proptest::collection::btree_set(any::<u128>(), 0..50)) {
            let claims: Vec<Claim> = uids.iter().map(|uid| claim("x", *uid)).collect();
            let inventory = Inventory::of(claims.iter().map(|claim| (claim, None)));
            let approved = ApprovedItems::unpack(&inventory.packed().unwrap()).unwrap();
            prop_assert!(inventory.beyond(&approved).unwrap().is_empty());
            prop_assert_eq!(approved.0.len(), uids.len());
        }
    }
}
