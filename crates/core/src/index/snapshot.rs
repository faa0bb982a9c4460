//! One consistent state of everything that decisions look up.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::entries::{ChangeEntry, NamespaceEntry, RecordEntry, RequestEntry, SignOffEntry};
use super::pieces::{Order, Pieces};
use super::policies::{PolicyEntry, policy_set};
use super::retentions::{RetentionEntry, Retentions};
use super::uid::Uid;
use crate::api::{Phase, WorkloadIdentity};
use crate::domain::inventory::{Claim, Inventory, Volume};
use crate::domain::policy::PolicySet;
use crate::domain::rollout::known::Known;

/// The kinds that must have been read before anything is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Namespaces,
    Claims,
    Volumes,
    Requests,
    SignOffs,
    Policies,
    /// The note that the first start is over.
    State,
    Changes,
    Records,
    Retentions,
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::Namespaces,
        Self::Claims,
        Self::Volumes,
        Self::Requests,
        Self::SignOffs,
        Self::Policies,
        Self::State,
        Self::Changes,
        Self::Records,
        Self::Retentions,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Claims => "persistentvolumeclaims",
            Self::Volumes => "persistentvolumes",
            Self::Requests => "deletionrequests",
            Self::SignOffs => "signoffs",
            Self::Policies => "safetypolicies",
            Self::State => "install state",
            Self::Changes => "changerequests",
            Self::Records => "rolloutrecords",
            Self::Retentions => "backupretentions",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// One change of what is known. What is large is boxed: thousands of these wait while a kind is read anew.
#[derive(Clone, Debug)]
pub enum Change {
    Namespace(NamespaceEntry),
    NamespaceGone(Box<str>),
    Claim(Box<Claim>),
    ClaimGone {
        namespace: Box<str>,
        name: Box<str>,
    },
    Volume(Volume),
    VolumeGone(Box<str>),
    Request(RequestEntry),
    RequestGone(Box<str>),
    SignOff(SignOffEntry),
    SignOffGone(Box<str>),
    Policy(Box<PolicyEntry>),
    PolicyGone(Box<str>),
    Started,
    ChangeRequest(ChangeEntry),
    /// `namespace/name`.
    ChangeRequestGone(Box<str>),
    Record(RecordEntry),
    RecordGone(Box<str>),
    Retention(RetentionEntry),
    RetentionGone(Box<str>),
    /// Everything of one kind, read anew.
    Reset(Kind, Vec<Change>),
}

/// Requests that wait for people and are looked at nevertheless.
const MOST_WAITING: usize = 8;
/// Requests that nobody has supervised in time and are looked at, when somebody asks for another deletion.
const MOST_OVERDUE: usize = 16;

/// Entries by name.
type Map<T> = HashTrieMapSync<Box<str>, Arc<T>>;
/// A case-folded username and how many entries have it, so that it is in memory once.
type Authors = Pieces<(Arc<str>, usize)>;

/// A request worth a live read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub name: Arc<str>,
    /// As it was when the index last heard of it.
    pub uid: Uid,
}

/// What was known at one moment. Cloning shares everything.
#[derive(Clone, Default)]
pub struct Snapshot {
    namespaces: Map<NamespaceEntry>,
    claims: HashTrieMapSync<Box<str>, RedBlackTreeMapSync<Box<str>, Arc<Claim>>>,
    volumes: Map<Volume>,
    /// By name.
    requests: Pieces<RequestEntry>,
    /// UID of the target, name of the request.
    requests_by_target: Pieces<(Uid, Arc<str>)>,
    requesters: Authors,
    /// By name.
    changes: Pieces<ChangeEntry>,
    /// Key of a target, name of the change.
    changes_by_target: Pieces<(Arc<str>, Arc<str>)>,
    change_requesters: Authors,
    /// By name, which is made of the workload's identity.
    records: Map<RecordEntry>,
    retentions: Retentions,
    /// By name.
    sign_offs: Pieces<SignOffEntry>,
    signers: Authors,
    policies: RedBlackTreeMapSync<Box<str>, Arc<PolicyEntry>>,
    policy_set: Arc<PolicySet>,
    started: bool,
    synced: u16,
}

impl Snapshot {
    /// Kinds that have not been read yet.
    pub fn missing(&self) -> impl Iterator<Item = Kind> + '_ {
        Kind::ALL.into_iter().filter(|kind| self.synced & kind.bit() == 0)
    }

    /// Whether every kind has been read.
    pub fn is_synced(&self) -> bool {
        self.missing().next().is_none()
    }

    /// Whether the first start is over: from then on everything is enforced, for good.
    pub fn is_started(&self) -> bool {
        self.started || self.policies.contains_key(crate::domain::policy::DEFAULT)
    }

    pub fn policies(&self) -> &PolicySet {
        &self.policy_set
    }

    pub fn namespace(&self, name: &str) -> Option<&NamespaceEntry> {
        self.namespaces.get(name).map(|entry| &**entry)
    }

    pub fn namespaces(&self) -> impl Iterator<Item = &NamespaceEntry> {
        self.namespaces.values().map(|entry| &**entry)
    }

    /// What a deletion of this claim would lose.
    pub fn inventory_of_claim(&self, claim: &Claim) -> Inventory {
        Inventory::of([(claim, self.volume_of(claim))])
    }

    /// What a deletion of this namespace would lose; `is_data` says which claims count.
    pub fn inventory_of_namespace(&self, name: &str, is_data: impl Fn(&Claim) -> bool) -> Inventory {
        let claims = self.claims.get(name).into_iter().flat_map(RedBlackTreeMapSync::values);
        Inventory::of(claims.filter(|claim| is_data(claim)).map(|claim| (&**claim, self.volume_of(claim))))
    }

    /// The claims of a namespace.
    pub fn claims_in(&self, namespace: &str) -> impl Iterator<Item = &Claim> {
        self.claims.get(namespace).into_iter().flat_map(RedBlackTreeMapSync::values).map(|claim| &**claim)
    }

    /// The claims whose data has this handle under another volume's name than this. Looks at all.
    pub fn claims_on(&self, handle: &str, but: &str) -> impl Iterator<Item = &Claim> {
        let claims = self.claims.values().flat_map(RedBlackTreeMapSync::values).map(|claim| &**claim);
        claims.filter(move |claim| {
            let volume = self.volume_of(claim).filter(|volume| *volume.name != *but);
            volume.is_some_and(|volume| volume.handle.as_deref() == Some(handle))
        })
    }

    fn volume_of(&self, claim: &Claim) -> Option<&Volume> {
        self.volumes.get(claim.volume.as_deref()?).map(|volume| &**volume)
    }

    /// The requests about the object with this UID, the most advanced first: only these are worth a live read. Ended
    /// ones are left out unless asked for.
    pub fn candidates(&self, target_uid: &str, ended_too: bool) -> Vec<Candidate> {
        let target = Uid::from(target_uid);
        let about = self.about(&target);
        let mut candidates: Vec<_> = about.filter(|entry| ended_too || !entry.phase.is_ended()).collect();
        candidates.sort_by_key(|entry| (Reverse(advance(entry.phase)), &entry.name));
        // One that waits for people may have moved on by now, or tells what is awaited. A few of them will do: each costs
        // reads, and anybody who may ask can make a hundred.
        if !ended_too {
            let usable = candidates.partition_point(|entry| advance(entry.phase) >= advance(Phase::Executable));
            candidates.truncate(usable + MOST_WAITING);
        }
        candidates.into_iter().map(RequestEntry::candidate).collect()
    }

    /// The newest request about this object that has ended.
    pub fn newest_ended(&self, target_uid: &str) -> Option<Candidate> {
        let target = Uid::from(target_uid);
        let ended = self.about(&target).filter(|entry| entry.phase.is_ended());
        ended.max_by_key(|entry| (entry.created, &entry.name)).map(RequestEntry::candidate)
    }

    /// Executed requests that nobody has supervised in time, those of this author (case-folded username) first: whoever
    /// has several names may have asked for one of the others. Looks at all: asked only when a request is written.
    pub fn overdue(&self, author: &str, now: Timestamp) -> Vec<Candidate> {
        let over = |entry: &&RequestEntry| entry.supervise_by.is_some_and(|by| i64::from(by) < now.as_second());
        let mut overdue: Vec<_> = self.requests.iter().filter(over).collect();
        overdue.sort_by_key(|entry| (*entry.author != *author, entry.supervise_by));
        overdue.truncate(MOST_OVERDUE);
        overdue.into_iter().map(RequestEntry::candidate).collect()
    }

    fn about<'a>(&'a self, target: &'a Uid) -> impl Iterator<Item = &'a RequestEntry> {
        let about = self.requests_by_target.all(move |(other, _)| other.cmp(target));
        about.filter_map(|(_, name)| self.requests.get(request_named(name)))
    }

    /// The open changes of this object, the most advanced first: only these are worth a live read. Their authors take
    /// turns, for not all are read: whoever asks for much stands in nobody's way but their own.
    pub fn changes_of(&self, object: &WorkloadIdentity) -> Vec<Candidate> {
        let key = object.key();
        let mut open: Vec<&ChangeEntry> = self
            .changes_by_target
            .all(|(other, _)| (**other).cmp(&key))
            .filter_map(|(_, name)| self.changes.get(change_named(name)))
            .filter(|entry| !entry.phase.is_ended())
            .collect();
        open.sort_by_key(|entry| (Reverse(advance_of_change(entry.phase)), &entry.name));
        let mut turns: HashMap<(u8, &str), usize> = HashMap::new();
        open.sort_by_cached_key(|entry| {
            let advance = advance_of_change(entry.phase);
            let turn = turns.entry((advance, &*entry.author)).or_default();
            *turn += 1;
            (Reverse(advance), *turn)
        });
        let candidate = |entry: &ChangeEntry| Candidate { name: Arc::clone(&entry.name), uid: entry.uid.clone() };
        open.into_iter().map(candidate).collect()
    }

    /// What the record of a workload vouches for.
    pub fn known(&self, workload: &WorkloadIdentity) -> Option<&Known> {
        let entry = self.records.get(&*workload.record_name())?;
        (entry.workload == *workload).then_some(&entry.known)
    }

    /// The retentions that hold the object with this UID: only these are worth a live read.
    pub fn holds(&self, uid: &str) -> Vec<Candidate> {
        self.retentions.of(uid)
    }

    /// The retentions that hold the data behind this handle, whichever object of this kind has it.
    pub fn holds_handle(&self, kind: &str, handle: &str) -> Vec<Candidate> {
        self.retentions.of_handle(kind, handle)
    }

    /// The retentions that hold something in this namespace, which would go with it.
    pub fn holds_in(&self, namespace: &str) -> Vec<Candidate> {
        self.retentions.in_namespace(namespace)
    }

    /// How many open requests, for deletions and for changes, an author (case-folded username) has. Looks at all:
    /// asked only when one is written.
    pub fn open_requests_of(&self, author: &str) -> usize {
        let deletions = self.requests.iter().filter(|entry| &*entry.author == author && !entry.phase.is_ended());
        let changes = self.changes.iter().filter(|entry| &*entry.author == author && !entry.phase.is_ended());
        deletions.count() + changes.count()
    }

    /// The claim of this name, as the index has it.
    pub fn claim(&self, namespace: &str, name: &str) -> Option<&Claim> {
        self.claims.get(namespace)?.get(name).map(|claim| &**claim)
    }

    /// How many sign-offs about open requests an author (case-folded username) has. Looks at all, as above.
    pub fn open_sign_offs_of(&self, author: &str) -> usize {
        let own = self.sign_offs.iter().filter(|entry| &*entry.author == author);
        let subjects: Vec<&Uid> = own.map(|entry| &entry.subject_uid).collect();
        if subjects.is_empty() {
            return 0;
        }
        let deletions = self.requests.iter().filter(|entry| !entry.phase.is_ended()).map(|entry| &entry.uid);
        let changes = self.changes.iter().filter(|entry| !entry.phase.is_ended()).map(|entry| &entry.uid);
        let open: HashSet<&Uid> = deletions.chain(changes).collect();
        subjects.into_iter().filter(|uid| open.contains(uid)).count()
    }

    /// Takes a change in.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Namespace(entry) => self.namespaces.insert_mut(entry.name.clone(), Arc::new(entry)),
            Change::NamespaceGone(name) => drop(self.namespaces.remove_mut(&name)),
            Change::Claim(claim) => {
                let namespace = claim.namespace.clone();
                let mut claims = self.claims.get(&namespace).cloned().unwrap_or_default();
                claims.insert_mut(claim.name.clone(), Arc::from(claim));
                self.claims.insert_mut(namespace, claims);
            }
            Change::ClaimGone { namespace, name } => self.forget_claim(&namespace, &name),
            Change::Volume(volume) => self.volumes.insert_mut(volume.name.clone(), Arc::new(volume)),
            Change::VolumeGone(name) => drop(self.volumes.remove_mut(&name)),
            Change::Request(entry) => self.learn_request(entry),
            Change::RequestGone(name) => self.forget_request(&name),
            Change::SignOff(entry) => self.learn_sign_off(entry),
            Change::SignOffGone(name) => self.forget_sign_off(&name),
            Change::Policy(entry) => {
                let name = (*entry).as_ref().map_or_else(|policy| &policy.name, |policy| &policy.name).as_str().into();
                self.policies.insert_mut(name, Arc::from(entry));
                self.compile_policies();
            }
            Change::PolicyGone(name) => {
                self.policies.remove_mut(&name);
                self.compile_policies();
            }
            Change::Started => self.started = true,
            Change::ChangeRequest(entry) => self.learn_change(entry),
            Change::ChangeRequestGone(name) => self.forget_change(&name),
            Change::Record(entry) => self.records.insert_mut(entry.name.clone(), Arc::new(entry)),
            Change::RecordGone(name) => drop(self.records.remove_mut(&name)),
            Change::Retention(entry) => self.retentions.learn(entry),
            Change::RetentionGone(name) => self.retentions.forget(&name),
            Change::Reset(kind, changes) => {
                self.clear(kind);
                for change in changes {
                    self.apply(change);
                }
                self.synced |= kind.bit();
            }
        }
    }

    fn clear(&mut self, kind: Kind) {
        match kind {
            Kind::Namespaces => self.namespaces = Map::default(),
            Kind::Claims => self.claims = HashTrieMapSync::default(),
            Kind::Volumes => self.volumes = Map::default(),
            Kind::Requests => {
                self.requests = Pieces::default();
                self.requests_by_target = Pieces::default();
                self.requesters = Authors::default();
            }
            Kind::Changes => {
                self.changes = Pieces::default();
                self.changes_by_target = Pieces::default();
                self.change_requesters = Authors::default();
            }
            Kind::Records => self.records = Map::default(),
            Kind::Retentions => self.retentions = Retentions::default(),
            Kind::SignOffs => {
                self.sign_offs = Pieces::default();
                self.signers = Authors::default();
            }
            Kind::Policies => {
                self.policies = RedBlackTreeMapSync::default();
                self.compile_policies();
            }
            // Once started, always started.
            Kind::State => {}
        }
    }

    fn compile_policies(&mut self) {
        self.policy_set = Arc::new(policy_set(self.policies.values().map(|entry| (**entry).clone())));
    }

    fn forget_claim(&mut self, namespace: &str, name: &str) {
        let Some(claims) = self.claims.get(namespace).map(|claims| claims.remove(name)) else { return };
        if claims.is_empty() {
            self.claims.remove_mut(namespace);
        } else {
            self.claims.insert_mut(namespace.into(), claims);
        }
    }

    fn learn_request(&mut self, mut entry: RequestEntry) {
        self.forget_request(&entry.name);
        entry.author = seen(&mut self.requesters, entry.author);
        let about = (entry.target_uid.clone(), Arc::clone(&entry.name));
        self.requests_by_target.put(about.clone(), |other| other.cmp(&about));
        let name = Arc::clone(&entry.name);
        self.requests.put(entry, request_named(&name));
    }

    fn forget_request(&mut self, name: &str) {
        let Some(entry) = self.requests.take(request_named(name)) else { return };
        gone(&mut self.requesters, &entry.author);
        let about = (entry.target_uid, entry.name);
        self.requests_by_target.take(|other| other.cmp(&about));
    }

    fn learn_change(&mut self, mut entry: ChangeEntry) {
        self.forget_change(&entry.name);
        entry.author = seen(&mut self.change_requesters, entry.author);
        for target in &mut entry.targets {
            // Many changes name one object: its key is in memory once.
            let wanted = Arc::clone(target);
            let known = self.changes_by_target.all(|(other, _)| (**other).cmp(&*wanted)).next();
            *target = known.map_or_else(|| Arc::clone(&wanted), |(known, _)| Arc::clone(known));
            let about = (Arc::clone(target), Arc::clone(&entry.name));
            self.changes_by_target.put(about.clone(), |other| other.cmp(&about));
        }
        let name = Arc::clone(&entry.name);
        self.changes.put(entry, change_named(&name));
    }

    fn forget_change(&mut self, name: &str) {
        let Some(ChangeEntry { name, targets, author, .. }) = self.changes.take(change_named(name)) else { return };
        gone(&mut self.change_requesters, &author);
        for target in targets {
            let about = (target, Arc::clone(&name));
            self.changes_by_target.take(|other| other.cmp(&about));
        }
    }

    fn learn_sign_off(&mut self, mut entry: SignOffEntry) {
        self.forget_sign_off(&entry.name);
        entry.author = seen(&mut self.signers, entry.author);
        let name = Arc::clone(&entry.name);
        self.sign_offs.put(entry, sign_off_named(&name));
    }

    fn forget_sign_off(&mut self, name: &str) {
        let Some(entry) = self.sign_offs.take(sign_off_named(name)) else { return };
        gone(&mut self.signers, &entry.author);
    }
}

impl RequestEntry {
    fn candidate(&self) -> Candidate {
        Candidate { name: Arc::clone(&self.name), uid: self.uid.clone() }
    }
}

fn request_named(name: &str) -> impl Order<RequestEntry> {
    move |entry: &RequestEntry| (*entry.name).cmp(name)
}

fn change_named(name: &str) -> impl Order<ChangeEntry> {
    move |entry: &ChangeEntry| (*entry.name).cmp(name)
}

fn sign_off_named(name: &str) -> impl Order<SignOffEntry> {
    move |entry: &SignOffEntry| (*entry.name).cmp(name)
}

fn author_named(name: &str) -> impl Order<(Arc<str>, usize)> {
    move |(other, _): &(Arc<str>, usize)| (**other).cmp(name)
}

/// One more entry has this author: how the name is already in memory, if it is.
fn seen(authors: &mut Authors, author: Arc<str>) -> Arc<str> {
    let (author, count) = authors.take(author_named(&author)).unwrap_or((author, 0));
    authors.put((Arc::clone(&author), count + 1), author_named(&author));
    author
}

/// One entry less has this author.
fn gone(authors: &mut Authors, author: &str) {
    let Some((author, count)) = authors.take(author_named(author)) else { return };
    if count > 1 {
        authors.put((Arc::clone(&author), count - 1), author_named(&author));
    }
}

const fn advance(phase: Phase) -> u8 {
    match phase {
        Phase::Executing => 4,
        Phase::Executable => 3,
        Phase::Approved | Phase::Quiescing => 2,
        Phase::Pending => 1,
        Phase::Executed | Phase::Closed | Phase::Rejected | Phase::Cancelled | Phase::Expired => 0,
    }
}

const fn advance_of_change(phase: crate::api::ChangePhase) -> u8 {
    use crate::api::ChangePhase;
    match phase {
        ChangePhase::InProgress => 4,
        ChangePhase::Approved => 3,
        ChangePhase::Scheduled => 2,
        ChangePhase::Pending => 1,
        ChangePhase::Succeeded
        | ChangePhase::Failed
        | ChangePhase::RolledBack
        | ChangePhase::Rejected
        | ChangePhase::Cancelled
        | ChangePhase::Expired => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, target: &str, phase: Phase) -> Change {
        Change::Request(RequestEntry {
            name: name.into(),
            uid: format!("uid-{name}").into(),
            target_uid: target.into(),
            author: "alice".into(),
            phase,
            created: u32::from(name.as_bytes()[0] == b'b'),
            supervise_by: (phase == Phase::Executed).then_some(100),
        })
    }

    fn names(snapshot: &Snapshot, ended_too: bool) -> Vec<String> {
        snapshot.candidates("t", ended_too).iter().map(|candidate| candidate.name.to_string()).collect()
    }

    #[test]
    fn candidates_come_most_advanced_first_and_without_the_ended() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(request("a", "t", Phase::Pending));
        snapshot.apply(request("b", "t", Phase::Executable));
        snapshot.apply(request("c", "t", Phase::Rejected));
        snapshot.apply(request("d", "other", Phase::Executable));
        assert_eq!(names(&snapshot, false), ["b", "a"]);
        assert_eq!(names(&snapshot, true), ["b", "a", "c"]);
        assert_eq!(snapshot.open_requests_of("alice"), 3);
        snapshot.apply(request("b", "t", Phase::Executed));
        assert_eq!(snapshot.open_requests_of("alice"), 2);
        snapshot.apply(Change::RequestGone("a".into()));
        snapshot.apply(Change::RequestGone("a".into()));
        assert_eq!(snapshot.open_requests_of("alice"), 1);
    }

    #[test]
    fn overdue_is_what_was_executed_and_not_supervised_in_time_ones_own_first() {
        let mut snapshot = Snapshot::default();
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        snapshot.apply(request("a", "t", Phase::Executed));
        snapshot.apply(request("b", "t", Phase::Closed));
        let Change::Request(entry) = request("c", "t", Phase::Executed) else { return };
        snapshot.apply(Change::Request(RequestEntry { author: "carol".into(), ..entry }));
        let names = |author: &str, second| {
            let overdue = snapshot.overdue(author, at(second));
            overdue.iter().map(|candidate| candidate.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names("alice", 100), Vec::<String>::new());
        assert_eq!(names("alice", 101), ["a", "c"]);
        assert_eq!(names("carol", 101), ["c", "a"]);
    }

    #[test]
    fn the_newest_of_the_ended_is_told_by_its_time() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(request("a", "t", Phase::Pending));
        let newest = |snapshot: &Snapshot| snapshot.newest_ended("t").map(|candidate| candidate.name.to_string());
        assert_eq!(newest(&snapshot), None);
        for (name, newer) in [("c", "c"), ("d", "d"), ("b", "b"), ("e", "b")] {
            snapshot.apply(request(name, "t", Phase::Rejected));
            assert_eq!(newest(&snapshot).as_deref(), Some(newer));
        }
    }

    #[test]
    fn a_reader_keeps_its_snapshot_while_a_kind_is_replaced_as_a_whole() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(request("a", "t", Phase::Pending));
        let held = snapshot.clone();
        snapshot.apply(Change::Reset(Kind::Requests, vec![request("b", "t", Phase::Pending)]));
        assert_eq!(names(&held, false), ["a"]);
        assert_eq!(names(&snapshot, false), ["b"]);
        assert!(snapshot.missing().all(|kind| kind != Kind::Requests) && !snapshot.is_synced());
    }

    #[test]
    fn sign_offs_count_while_their_subject_is_open() {
        let mut snapshot = Snapshot::default();
        let sign_off = |name: &str, subject: &str| {
            Change::SignOff(SignOffEntry { name: name.into(), author: "bob".into(), subject_uid: subject.into() })
        };
        snapshot.apply(request("a", "t", Phase::Pending));
        snapshot.apply(sign_off("one", "uid-a"));
        snapshot.apply(sign_off("two", "uid-gone"));
        assert_eq!(snapshot.open_sign_offs_of("bob"), 1);
        snapshot.apply(request("a", "t", Phase::Executed));
        assert_eq!(snapshot.open_sign_offs_of("bob"), 0);
    }
}
