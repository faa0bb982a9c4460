//! What retentions hold, in reviews of what would destroy it.

use foureyes_core::api::BackupRetention;
use foureyes_core::domain::inventory::Claim;
use foureyes_core::domain::volume::Volume;
use foureyes_core::index::{Change, NamespaceEntry, RetentionEntry, Snapshot};
use serde_json::{Value, json};

use super::story::{keys, with_policy};
use super::support::{Answer, Api, CLAIM, SHOP, allowed, build, judge, refused, request, synced};

const VOLUME: &str = "00000000-0000-0000-0000-0000000000f1";
const VOLUMES: (&str, &str, &str) = ("", "persistentvolumes", "PersistentVolume");
const CONTENT: &str = "00000000-0000-0000-0000-0000000000f2";

/// A retention of a volume and a snapshot's content, since this day for 30 days, after which it was agreed to let go.
fn retention(since: &str, phase: &str) -> Value {
    let target = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "reports", "uid": CLAIM});
    json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "BackupRetention",
        "metadata": {"name": "one", "uid": "00000000-0000-0000-0000-0000000000f3", "creationTimestamp": since},
        "spec": {
            "source": {"request": "one", "uid": SHOP, "target": target, "deletedAt": since},
            "keepers": [{"kind": "PersistentVolume", "name": "pv-1", "uid": VOLUME, "handle": "csi/1"},
                        {"kind": "VolumeSnapshotContent", "name": "content-1", "uid": CONTENT}],
            "retainDays": 30, "mode": "Governance", "afterwards": "Purge",
        },
        "status": {"phase": phase},
    })
}

fn holding() -> Value {
    retention("2026-01-01T00:00:00Z", "Holding")
}

fn over() -> Value {
    retention("2025-11-01T00:00:00Z", "Expired")
}

fn index(retention: &Value) -> Snapshot {
    let mut index = synced();
    let retention: BackupRetention = serde_json::from_value(retention.clone()).unwrap();
    index.apply(Change::Retention(RetentionEntry::of(&retention)));
    index
}

fn api(retention: &Value) -> Api {
    let none = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOffList", "metadata": {}, "items": []});
    keys(Api::default())
        .answers("subjectaccessreviews", Answer::Rights(Vec::new()))
        .answers("backupretentions/one", Answer::Json(retention.clone()))
        .answers("signoffs?", Answer::Json(none))
}

fn volume(phase: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-1", "uid": VOLUME},
        "spec": {"persistentVolumeReclaimPolicy": "Retain", "storageClassName": "fast",
                 "csi": {"driver": "csi", "volumeHandle": "1"},
                 "claimRef": {"namespace": "shop", "name": "reports", "uid": CLAIM}},
        "status": {"phase": phase},
    })
}

fn deleted((group, resource, kind): (&str, &str, &str), who: &str, was: &Value) -> Value {
    let mut review = request("DELETE", group, resource, None);
    review["request"]["kind"]["kind"] = json!(kind);
    review["request"]["userInfo"]["username"] = json!(who);
    review["request"]["oldObject"] = was.clone();
    review
}

fn flipped(was: &Value) -> Value {
    let mut review = request("UPDATE", "", "persistentvolumes", None);
    review["request"]["oldObject"] = was.clone();
    review["request"]["object"] = was.clone();
    review["request"]["object"]["spec"]["persistentVolumeReclaimPolicy"] = json!("Delete");
    review
}

/// The claim came back from the volume that was kept of it: its data is in production again.
#[tokio::test]
async fn what_was_let_go_of_and_brought_back_goes_with_its_claim_alone() {
    let router = build(index(&over()), &api(&over()));
    assert_eq!(judge(&router, &deleted(VOLUMES, "eve", &volume("Released"))).await, allowed("Confirmed"));
    assert_eq!(judge(&router, &flipped(&volume("Released"))).await, allowed("Confirmed"));
    for (was, code) in [(volume("Bound"), "VolumeInUse"), (volume("Released"), "VolumeHasData")] {
        let mut index = index(&over());
        if was["status"]["phase"] == "Released" {
            // whoever writes the status of a volume does not unbind it
            let claim =
                Claim { namespace: "shop".into(), name: "reports".into(), uid: CLAIM.into(), ..Claim::default() };
            index.apply(Change::Claim(Box::new(claim)));
        }
        let router = build(index, &api(&over()));
        for review in [deleted(VOLUMES, "eve", &was), flipped(&was)] {
            assert_eq!(judge(&router, &review).await, refused(code), "{review}");
        }
    }
}

/// Nothing holds the data of a claim that is there; a second volume must not be the way to it (bypass 21).
#[tokio::test]
async fn data_in_production_gets_no_second_name_by_which_it_goes() {
    let mut index = synced();
    let labels = [("foureyes.dev/environment".to_owned(), "non-production".to_owned())].into();
    index.apply(Change::Namespace(NamespaceEntry { name: "dev".into(), labels, ..NamespaceEntry::default() }));
    for (namespace, handle) in [("shop", "1"), ("dev", "2")] {
        let name = format!("pv-{handle}");
        let handle = Some(format!("csi/{handle}").into());
        index.apply(Change::Volume(Volume { name: name.clone().into(), handle, ..Volume::default() }));
        let uid = if namespace == "shop" { CLAIM } else { SHOP }.into();
        let (namespace, volume) = (namespace.into(), Some(name.into()));
        let claim = Claim { namespace, name: "reports".into(), uid, volume, ..Claim::default() };
        index.apply(Change::Claim(Box::new(claim)));
    }
    let router = build(index, &dev_since("2025-01-01T00:00:00Z"));
    let second = |handle: &str, policy: &str| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "second", "uid": "u-second", "creationTimestamp": "2025-06-01T00:00:00Z"},
            "spec": {"persistentVolumeReclaimPolicy": policy, "csi": {"driver": "csi", "volumeHandle": handle},
                     "claimRef": {"namespace": "dev", "name": "mine", "uid": "u-mine"}},
            "status": {"phase": "Released"},
        })
    };
    let created = |who: &str, volume: Value| {
        let mut review = request("CREATE", "", "persistentvolumes", None);
        review["request"]["userInfo"]["username"] = json!(who);
        review["request"]["object"] = volume;
        review
    };
    let inuse = refused("VolumeInUse");
    for policy in ["Delete", "Recycle"] {
        assert_eq!(judge(&router, &created("eve", second("1", policy))).await, inuse);
    }
    assert_eq!(judge(&router, &flipped(&second("1", "Retain"))).await, inuse);
    assert_eq!(judge(&router, &deleted(VOLUMES, "eve", &second("1", "Delete"))).await, inuse);
    let provisioner = "system:serviceaccount:csi:provisioner";
    for free in [
        created("eve", second("1", "Retain")),
        created("eve", second("2", "Delete")),
        created("eve", second("3", "Delete")),
        created(provisioner, second("1", "Delete")),
        deleted(VOLUMES, "eve", &second("1", "Retain")),
        flipped(&second("2", "Retain")),
    ] {
        assert!(judge(&router, &free).await.is_ok(), "{free}");
    }
}

/// An API server that has the namespace `dev` since then.
fn dev_since(time: &str) -> Api {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dev", "uid": "dev", "creationTimestamp": time}});
    Api::default().answers("namespaces/dev", Answer::Json(namespace))
}

/// Whoever may create namespaces could call the one that is gone non-production.
#[tokio::test]
async fn a_namespace_made_anew_says_nothing_of_volumes_that_were_left_before() {
    let mut left = volume("Released");
    left["metadata"]["creationTimestamp"] = json!("2025-06-01T00:00:00Z");
    left["spec"]["claimRef"]["namespace"] = json!("dev");
    let mut index = synced();
    let labels = [("foureyes.dev/environment".to_owned(), "non-production".to_owned())].into();
    index.apply(Change::Namespace(NamespaceEntry { name: "dev".into(), labels, ..NamespaceEntry::default() }));
    for (since, verdict) in
        [("2025-01-01T00:00:00Z", allowed("NonProduction")), ("2025-12-01T00:00:00Z", refused("VolumeHasData"))]
    {
        let router = build(index.clone(), &dev_since(since));
        for review in [deleted(VOLUMES, "eve", &left), flipped(&left)] {
            assert_eq!(judge(&router, &review).await, verdict, "{since}");
        }
    }
    // its claim is there: so is its namespace
    let claim = Claim { namespace: "dev".into(), name: "reports".into(), uid: CLAIM.into(), ..Claim::default() };
    index.apply(Change::Claim(Box::new(claim)));
    let router = build(index, &dev_since("2025-12-01T00:00:00Z"));
    assert_eq!(judge(&router, &flipped(&left)).await, allowed("NonProduction"));
}

/// What is held does not go because policies no longer refuse other deletions.
#[tokio::test]
async fn what_is_held_is_held_whatever_policies_say() {
    const KIND: (&str, &str, &str) = ("snapshot.storage.k8s.io", "volumesnapshotcontents", "VolumeSnapshotContent");
    let content = json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
        "metadata": {"name": "content-1", "uid": CONTENT}, "spec": {"deletionPolicy": "Retain", "driver": "csi"},
    });
    let mut worse = deleted(KIND, "eve", &content);
    worse["request"]["operation"] = json!("UPDATE");
    worse["request"]["object"] = content.clone();
    worse["request"]["object"]["spec"]["deletionPolicy"] = json!("Delete");
    for mode in ["Deny", "Warn", "Off"] {
        let policy = json!({"enforcement": {"deletions": mode}});
        let router = build(with_policy(index(&holding()), &policy), &api(&holding()));
        for who in ["eve", "system:serviceaccount:velero:velero"] {
            assert_eq!(judge(&router, &deleted(KIND, who, &content)).await, refused("DataHeld"), "{mode} {who}");
        }
        assert_eq!(judge(&router, &worse).await, refused("DataHeld"), "{mode}");
    }
}

/// A namespace with nothing but backups holds no data of its own, and they would go with it.
#[tokio::test]
async fn a_namespace_does_not_go_with_backups_that_are_held() {
    const KIND: (&str, &str, &str) = ("", "namespaces", "Namespace");
    let namespace =
        |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": name}});
    let holding_a_backup = |retention: Value| {
        let mut retention = retention;
        retention["spec"]["keepers"][1] =
            json!({"kind": "Backup", "namespace": "velero", "name": "nightly", "uid": CONTENT});
        retention
    };
    for (retention, verdict) in [(holding(), Err("DataHeld".to_owned())), (over(), Ok("Empty".to_owned()))] {
        let retention = holding_a_backup(retention);
        let empty = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": []});
        let api = api(&retention).answers("persistentvolumeclaims", Answer::Json(empty));
        let router = build(index(&retention), &api);
        assert_eq!(judge(&router, &deleted(KIND, "eve", &namespace("velero"))).await, verdict);
        assert_eq!(judge(&router, &deleted(KIND, "eve", &namespace("other"))).await, allowed("Empty"));
    }
}
