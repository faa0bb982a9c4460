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
    assert!(claim.too_many_labels && claim.labels.is_empty() && claim.controller.is_none() && claim.volume.is_none());
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
    let volume = |name: &str, uid: u128| Volume { name: name.into(), uid: claim("v", uid).uid, ..Volume::default() };
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
