//! What decisions look up is what arrived, whatever the order (I 11): the snapshot against a model of plain maps.

use std::collections::BTreeMap;

use foureyes_core::api::{
    ChangePhase, How, Phase, RolloutRecord, RolloutRecordSpec, RolloutRecordStatus, SeenOutcome, WorkloadIdentity,
};
use foureyes_core::domain::inventory::{Claim, Inventory, Volume};
use foureyes_core::index::{
    Change, ChangeEntry, Kind, NamespaceEntry, RecordEntry, RequestEntry, SignOffEntry, Snapshot, Uid,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::{claim, labels, volume};

const PHASES: [Phase; 8] = [
    Phase::Pending,
    Phase::Approved,
    Phase::Executable,
    Phase::Executing,
    Phase::Executed,
    Phase::Rejected,
    Phase::Cancelled,
    Phase::Expired,
];

const CHANGE_PHASES: [ChangePhase; 5] = [
    ChangePhase::Pending,
    ChangePhase::Scheduled,
    ChangePhase::InProgress,
    ChangePhase::Succeeded,
    ChangePhase::Expired,
];

fn object(n: u8) -> WorkloadIdentity {
    WorkloadIdentity { name: format!("web-{n}"), ..crate::changes::workload() }
}

/// What was last said about each object.
#[derive(Clone, Default)]
struct Model {
    requests: BTreeMap<String, RequestEntry>,
    changes: BTreeMap<String, ChangeEntry>,
    sign_offs: BTreeMap<String, SignOffEntry>,
    claims: BTreeMap<(String, String), Claim>,
    volumes: BTreeMap<String, Volume>,
}

impl Model {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Request(entry) => drop(self.requests.insert(entry.name.to_string(), entry.clone())),
            Change::RequestGone(name) => drop(self.requests.remove(&**name)),
            Change::ChangeRequest(entry) => drop(self.changes.insert(entry.name.to_string(), entry.clone())),
            Change::ChangeRequestGone(name) => drop(self.changes.remove(&**name)),
            Change::SignOff(entry) => drop(self.sign_offs.insert(entry.name.to_string(), entry.clone())),
            Change::SignOffGone(name) => drop(self.sign_offs.remove(&**name)),
            Change::Claim(claim) => {
                let key = (claim.namespace.to_string(), claim.name.to_string());
                self.claims.insert(key, (**claim).clone());
            }
            Change::ClaimGone { namespace, name } => {
                self.claims.remove(&(namespace.to_string(), name.to_string()));
            }
            Change::Volume(volume) => drop(self.volumes.insert(volume.name.to_string(), volume.clone())),
            Change::VolumeGone(name) => drop(self.volumes.remove(&**name)),
            Change::Reset(kind, changes) => {
                match kind {
                    Kind::Requests => self.requests.clear(),
                    Kind::Changes => self.changes.clear(),
                    Kind::SignOffs => self.sign_offs.clear(),
                    Kind::Claims => self.claims.clear(),
                    Kind::Volumes => self.volumes.clear(),
                    _ => {}
                }
                for change in changes {
                    self.apply(change);
                }
            }
            _ => {}
        }
    }

    fn open_requests_of(&self, author: &str) -> usize {
        let deletions = self.requests.values().filter(|entry| &*entry.author == author && !entry.phase.is_ended());
        let changes = self.changes.values().filter(|entry| &*entry.author == author && !entry.phase.is_ended());
        deletions.count() + changes.count()
    }

    fn open_sign_offs_of(&self, author: &str) -> usize {
        let open = |uid: &Uid| {
            self.requests.values().any(|entry| entry.uid == *uid && !entry.phase.is_ended())
                || self.changes.values().any(|entry| entry.uid == *uid && !entry.phase.is_ended())
        };
        self.sign_offs.values().filter(|entry| &*entry.author == author && open(&entry.subject_uid)).count()
    }

    fn candidates(&self, target: &str, ended_too: bool) -> Vec<String> {
        let about = self.requests.values().filter(|entry| entry.target_uid == Uid::from(target));
        let mut names: Vec<String> =
            about.filter(|entry| ended_too || !entry.phase.is_ended()).map(|entry| entry.name.to_string()).collect();
        names.sort();
        names
    }

    fn changes_of(&self, object: &WorkloadIdentity) -> Vec<String> {
        let key = object.key();
        let about = self.changes.values().filter(|entry| entry.targets.iter().any(|target| **target == *key));
        let mut names: Vec<String> =
            about.filter(|entry| !entry.phase.is_ended()).map(|entry| entry.name.to_string()).collect();
        names.sort();
        names
    }

    fn inventory(&self, namespace: &str) -> Inventory {
        let claims = self.claims.values().filter(|claim| &*claim.namespace == namespace);
        Inventory::of(claims.map(|claim| (claim, claim.volume.as_deref().and_then(|name| self.volumes.get(name)))))
    }
}

fn change_of(kind: Kind) -> BoxedStrategy<Change> {
    let name = |prefix: &'static str| (0..6_u8).prop_map(move |n| format!("{prefix}-{n}").into_boxed_str());
    let author = select(vec!["alice", "bob"]);
    let namespaced = |n: u128, second: bool| {
        let namespace = if second { "other" } else { "shop" };
        Claim { namespace: namespace.into(), ..claim(n) }
    };
    match kind {
        Kind::Requests => {
            let entry = (0..6_u8, select(vec!["t1", "t2"]), author, select(PHASES.to_vec()));
            let entry = entry.prop_map(|(n, target, author, phase)| {
                Change::Request(RequestEntry {
                    name: format!("del-{n}").into(),
                    uid: format!("uid-{n}").into(),
                    target_uid: target.into(),
                    author: author.into(),
                    phase,
                    created: 0,
                    supervise_by: None,
                })
            });
            prop_oneof![4 => entry, 1 => name("del").prop_map(Change::RequestGone)].boxed()
        }
        Kind::Changes => {
            let targets = proptest::collection::btree_set(0..3_u8, 0..3);
            let entry = (0..6_u8, targets, author, select(CHANGE_PHASES.to_vec()));
            let entry = entry.prop_map(|(n, targets, author, phase)| {
                Change::ChangeRequest(ChangeEntry {
                    name: format!("shop/chg-{n}").into(),
                    uid: format!("uid-{}", n + 6).into(),
                    targets: targets.into_iter().map(|target| object(target).key().into()).collect(),
                    author: author.into(),
                    phase,
                })
            });
            prop_oneof![4 => entry, 1 => name("shop/chg").prop_map(Change::ChangeRequestGone)].boxed()
        }
        Kind::SignOffs => {
            let entry = (0..6_u8, author, 0..12_u8).prop_map(|(n, author, subject)| {
                Change::SignOff(SignOffEntry {
                    name: format!("so-{n}").into(),
                    author: author.into(),
                    subject_uid: format!("uid-{subject}").into(),
                })
            });
            prop_oneof![4 => entry, 1 => name("so").prop_map(Change::SignOffGone)].boxed()
        }
        Kind::Claims => {
            let here =
                (1..5_u128, any::<bool>()).prop_map(move |(n, second)| Change::Claim(Box::new(namespaced(n, second))));
            let gone = (1..5_u128, any::<bool>()).prop_map(move |(n, second)| {
                let Claim { namespace, name, .. } = namespaced(n, second);
                Change::ClaimGone { namespace, name }
            });
            prop_oneof![3 => here, 1 => gone].boxed()
        }
        _ => {
            let here = (1..5_u128).prop_map(|n| Change::Volume(volume(n)));
            let gone = (1..5_u128).prop_map(|n| Change::VolumeGone(volume(n).name));
            prop_oneof![3 => here, 1 => gone].boxed()
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let kinds = vec![Kind::Requests, Kind::Changes, Kind::SignOffs, Kind::Claims, Kind::Volumes];
    let one = select(kinds.clone()).prop_flat_map(change_of);
    let reset = select(kinds).prop_flat_map(|kind| {
        proptest::collection::vec(change_of(kind), 0..4).prop_map(move |changes| Change::Reset(kind, changes))
    });
    prop_oneof![9 => one, 1 => reset]
}

fn agree(snapshot: &Snapshot, model: &Model) {
    for author in ["alice", "bob", "carol"] {
        assert_eq!(snapshot.open_requests_of(author), model.open_requests_of(author));
        assert_eq!(snapshot.open_sign_offs_of(author), model.open_sign_offs_of(author));
    }
    for target in ["t1", "t2", "t3"] {
        for ended_too in [false, true] {
            let mut names: Vec<String> =
                snapshot.candidates(target, ended_too).iter().map(|candidate| candidate.name.to_string()).collect();
            names.sort();
            assert_eq!(names, model.candidates(target, ended_too));
        }
    }
    for n in 0..4 {
        let mut names: Vec<String> =
            snapshot.changes_of(&object(n)).iter().map(|candidate| candidate.name.to_string()).collect();
        names.sort();
        assert_eq!(names, model.changes_of(&object(n)));
    }
    for namespace in ["shop", "other", "none"] {
        assert_eq!(snapshot.inventory_of_namespace(namespace, |_| true), model.inventory(namespace));
    }
}

proptest! {
    #[test]
    fn a_snapshot_knows_what_was_said_last(changes in proptest::collection::vec(change(), 1..60), held in any::<proptest::sample::Index>()) {
        let (mut snapshot, mut model) = (Snapshot::default(), Model::default());
        let held = held.index(changes.len());
        let mut kept = None;
        for (number, change) in changes.into_iter().enumerate() {
            model.apply(&change);
            snapshot.apply(change);
            agree(&snapshot, &model);
            if number == held {
                kept = Some((snapshot.clone(), model.clone()));
            }
        }
        // A reader's snapshot is as it was, however much came after.
        if let Some((snapshot, model)) = kept {
            agree(&snapshot, &model);
        }
    }
}

#[test]
fn nothing_is_decided_until_every_kind_was_read() {
    let mut snapshot = Snapshot::default();
    for (read, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!(snapshot.missing().count(), Kind::ALL.len() - read);
        assert!(!snapshot.is_synced());
        snapshot.apply(Change::Reset(kind, Vec::new()));
        assert!(snapshot.missing().all(|missing| missing != kind));
    }
    assert!(snapshot.is_synced());
}

#[test]
fn once_started_always_started() {
    let mut snapshot = Snapshot::default();
    assert!(!snapshot.is_started());
    snapshot.apply(Change::Policy(Box::new(Ok(crate::merging::compiled("default", &serde_json::json!({}))))));
    assert!(snapshot.is_started());
    snapshot.apply(Change::PolicyGone("default".into()));
    assert!(!snapshot.is_started());
    snapshot.apply(Change::Started);
    snapshot.apply(Change::Reset(Kind::State, Vec::new()));
    assert!(snapshot.is_started());
}

#[test]
fn a_namespace_is_known_by_its_labels_until_it_is_gone() {
    let mut snapshot = Snapshot::default();
    let entry = NamespaceEntry { name: "shop".into(), labels: labels(&[("team", "a")]), ..NamespaceEntry::default() };
    snapshot.apply(Change::Namespace(entry.clone()));
    assert_eq!(snapshot.namespace("shop"), Some(&entry));
    assert_eq!(snapshot.namespaces().count(), 1);
    snapshot.apply(Change::NamespaceGone("shop".into()));
    assert_eq!(snapshot.namespace("shop"), None);
}

/// Not all changes of one object are read for a decision: nobody's many stand in front of somebody else's one.
#[test]
fn authors_of_changes_take_turns() {
    let target = object(1);
    let mut snapshot = Snapshot::default();
    let mut asks = |author: &str, name: &str, phase| {
        snapshot.apply(Change::ChangeRequest(ChangeEntry {
            name: name.into(),
            uid: name.into(),
            targets: [target.key().into()].into(),
            author: author.into(),
            phase,
        }));
    };
    for n in 0..100 {
        asks("carol", &format!("shop/a-{n}"), ChangePhase::Pending);
        asks("eve", &format!("shop/b-{n}"), ChangePhase::Pending);
    }
    asks("dave", "shop/z", ChangePhase::Pending);
    asks("carol", "shop/z-2", ChangePhase::Approved);
    let names: Vec<_> = snapshot.changes_of(&target).iter().map(|candidate| candidate.name.to_string()).collect();
    assert_eq!(names.len(), 202);
    assert_eq!(names[..4], ["shop/z-2", "shop/a-0", "shop/b-0", "shop/z"]);
}

#[test]
fn changes_are_found_by_any_of_their_targets_and_the_most_advanced_come_first() {
    let (one, two) = (object(1), object(2));
    let change = |name: &str, targets: &[&WorkloadIdentity], phase| {
        Change::ChangeRequest(ChangeEntry {
            name: name.into(),
            uid: name.into(),
            targets: targets.iter().map(|target| target.key().into()).collect(),
            author: "alice".into(),
            phase,
        })
    };
    let mut snapshot = Snapshot::default();
    snapshot.apply(change("shop/a", &[&one], ChangePhase::Pending));
    snapshot.apply(change("shop/b", &[&one, &two], ChangePhase::InProgress));
    snapshot.apply(change("shop/c", &[&one], ChangePhase::Approved));
    snapshot.apply(change("shop/d", &[&one], ChangePhase::Succeeded));
    let names = |snapshot: &Snapshot, object| -> Vec<String> {
        snapshot.changes_of(object).iter().map(|candidate| candidate.name.to_string()).collect()
    };
    assert_eq!(names(&snapshot, &one), ["shop/b", "shop/c", "shop/a"]);
    assert_eq!(names(&snapshot, &two), ["shop/b"]);
    snapshot.apply(change("shop/b", &[&one], ChangePhase::InProgress));
    assert!(snapshot.changes_of(&two).is_empty());
}

#[test]
fn a_change_is_indexed_by_what_it_may_name() {
    use crate::changes::{OWN, by_digest, change, removal, version, workload};
    let alice = crate::support::named("Alice");
    let mut request = change("Normal", &[by_digest(&version(2))], Some(&alice));
    let entry = ChangeEntry::of(&request, OWN);
    assert_eq!((&*entry.name, &*entry.author), ("shop/web-2", "alice"));
    assert_eq!(*entry.targets, [workload().key().into()]);
    let mut elsewhere = removal();
    elsewhere["namespace"] = serde_json::json!("other");
    request.spec.targets = vec![serde_json::from_value(elsewhere).unwrap()];
    assert!(ChangeEntry::of(&request, OWN).targets.is_empty());
}

#[test]
fn a_record_vouches_for_its_own_workload_alone() {
    let workload = crate::changes::workload();
    let two = crate::changes::version(2);
    let entries = vec![crate::changes::entry(&crate::templates::template(&two), How::Change, SeenOutcome::Seen)];
    let mut record = RolloutRecord::new(&workload.record_name(), RolloutRecordSpec { workload: workload.clone() });
    record.status = Some(RolloutRecordStatus { entries, ..RolloutRecordStatus::default() });
    let mut snapshot = Snapshot::default();
    snapshot.apply(Change::Record(RecordEntry::of(&record)));
    let digest = crate::templates::template(&two).digest().unwrap();
    assert!(snapshot.known(&workload).is_some_and(|known| known.allows(&digest, 0)));
    assert_eq!(snapshot.known(&object(1)), None);
    // A record that somebody made under the name of another workload's.
    record.metadata.name = Some(object(1).record_name());
    snapshot.apply(Change::Record(RecordEntry::of(&record)));
    assert_eq!(snapshot.known(&object(1)), None);
    snapshot.apply(Change::RecordGone(workload.record_name().into()));
    assert_eq!(snapshot.known(&workload), None);
}
