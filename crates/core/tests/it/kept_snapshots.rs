//! Snapshots that go with their namespace: what is behind them is on Retain first, and is held like volumes.

use foureyes_core::api::{Phase, Says};
use foureyes_core::domain::inventory::{Inventory, Reclaim};
use foureyes_core::domain::kept::{SLOWEST_DELETION, content_keeper};
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::domain::snapshot::{Content, Snapshot};
use foureyes_core::reason::Code;

use crate::support::{Scene, inventory, named, second, uid};

fn snapshot(n: u128) -> Snapshot {
    Snapshot {
        namespace: "shop".into(),
        name: format!("daily-{n}").into(),
        uid: uid(0x54a_0000 + n).into(),
        size: Some("1Gi".into()),
        content: Some(format!("content-{n}").into()),
    }
}

fn content(n: u128, deletion: Reclaim) -> Content {
    Content {
        name: format!("content-{n}").into(),
        uid: uid(0xc0_0000 + n).into(),
        handle: Some(format!("csi.example.org/snap-{n}").into()),
        deletion,
        snapshot: Some(snapshot(n).uid),
        going: false,
    }
}

/// A claim with its volume, and a snapshot with this behind it.
fn with(content: &Content) -> Inventory {
    inventory([1]).and_snapshots([(&snapshot(1), Some(content))])
}

fn signed_off(content: &Content) -> Scene {
    let mut scene = Scene::of_namespace(Some(&named("alice")));
    scene.live = with(content);
    scene.reconciled(TargetState::Live, 1);
    scene.approves(&named("bob"), 10);
    scene
}

#[test]
fn snapshots_are_items_with_what_is_behind_them() {
    let live = with(&content(1, Reclaim::Delete));
    assert_eq!(live.summary(), "1 claim, 1 volume, 1 snapshot, 1 snapshot content");
    let words = live.sentence(8);
    assert_eq!(words, "claim shop/data-1 (1Gi, volume pv-1), snapshot shop/daily-1 (1Gi, content content-1)");
    let kept = content(2, Reclaim::Retain);
    assert!(!Inventory::default().and_snapshots([(&snapshot(2), Some(&kept))]).is_empty());
    assert!(Inventory::default().and_snapshots([(&snapshot(2), None)]).is_empty(), "nothing was taken yet");
    // whether it is kept changes by itself, and is in no digest
    assert_eq!(live.digest().unwrap(), with(&content(1, Reclaim::Retain)).digest().unwrap());
    assert_ne!(live.digest().unwrap(), inventory([1]).digest().unwrap());
}

#[test]
fn what_is_behind_a_snapshot_is_kept_before_it_may_go() {
    let mut scene = signed_off(&content(1, Reclaim::Delete));
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(plan.status.waiting_for.as_deref(), Some("1 snapshot to be put on Retain"));
    assert_eq!(plan.keep_contents.iter().map(|keep| &*keep.content).collect::<Vec<_>>(), ["content-1"]);
    assert!(plan.keep.is_empty(), "its volume is kept already");
    let [protection] = &plan.status.protections[..] else { panic!("{:?}", plan.status.protections) };
    assert_eq!(
        (&*protection.object.kind, &*protection.field, &*protection.before),
        ("VolumeSnapshotContent", "spec.deletionPolicy", "Delete")
    );
    scene.live = with(&content(1, Reclaim::Retain));
    let plan = scene.reconciled(TargetState::Live, 30);
    assert_eq!((plan.status.phase, plan.keep_contents.len()), (Some(Phase::Executable), 0));
    assert!(scene.confirmed(&named("eve"), 31).is_ok());
    // somebody puts it back
    scene.live = with(&content(1, Reclaim::Delete));
    let refusal = scene.confirmed(&named("eve"), 32).unwrap_err();
    assert_eq!(refusal.code, Code::NotYetExecutable);
    assert!(refusal.sentence.contains("the snapshot content content-1 is not on Retain"), "{}", refusal.sentence);
}

#[test]
fn a_volume_and_a_content_of_one_name_are_two_things() {
    let mut scene = signed_off(&Content { name: "pv-1".into(), ..content(1, Reclaim::Delete) });
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!((plan.keep.len(), plan.keep_contents.len()), (0, 1));
}

#[test]
fn a_content_that_is_going_is_kept_by_nothing() {
    let going = Content { going: true, ..content(1, Reclaim::Retain) };
    let mut scene = signed_off(&going);
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(plan.status.phase, Some(Phase::Approved));
    assert_eq!(scene.confirmed(&named("eve"), 21).unwrap_err().code, Code::DataNotKept);
    assert!(with(&going).summary().ends_with("; nothing can keep 1 snapshot content"));
}

#[test]
fn a_snapshot_that_came_later_is_not_covered() {
    let mut scene = signed_off(&content(1, Reclaim::Retain));
    scene.reconciled(TargetState::Live, 20);
    scene.live = scene.live.clone().and_snapshots([(&snapshot(2), Some(&content(2, Reclaim::Delete)))]);
    assert_eq!(scene.confirmed(&named("eve"), 21).unwrap_err().code, Code::InventoryGrown);
    assert!(scene.decided(TargetState::Live, 22).keep_contents.is_empty(), "nobody signed it off");
}

#[test]
fn it_is_put_back_when_nothing_was_deleted() {
    let mut scene = signed_off(&content(1, Reclaim::Delete));
    scene.reconciled(TargetState::Live, 20);
    scene.live = with(&content(1, Reclaim::Retain));
    scene.says(&named("alice"), Says::Cancel, 30);
    scene.reconciled(TargetState::Live, 40);
    let ended = second(scene.request.status.as_ref().unwrap().ended_at.as_ref().unwrap());
    let plan = scene.reconciled(TargetState::Live, ended + SLOWEST_DELETION.as_secs());
    let [back] = &plan.put_back[..] else { panic!("{:?}", plan.put_back) };
    assert_eq!((&*back.object.name, &*back.before), ("content-1", "Delete"));
}

#[test]
fn what_outlived_its_namespace_is_held() {
    let kept = content(1, Reclaim::Retain);
    let keeper = content_keeper(&kept);
    assert_eq!((&*keeper.kind, keeper.handle.as_deref()), ("VolumeSnapshotContent", Some("csi.example.org/snap-1")));
    assert_eq!(keeper.uid, &*kept.uid);
}
