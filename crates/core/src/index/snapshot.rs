//! One consistent state of everything that decisions look up.

use std::sync::Arc;

use rpds::{HashTrieMapSync, HashTrieSetSync, RedBlackTreeMapSync};

use super::entries::{ChangeEntry, NamespaceEntry, RecordEntry, RequestEntry, SignOffEntry};
use super::pairs::Pairs;
use super::policies::{PolicyEntry, policy_set};
use crate::api::WorkloadIdentity;
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
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Namespaces,
        Self::Claims,
        Self::Volumes,
        Self::Requests,
        Self::SignOffs,
        Self::Policies,
        Self::State,
        Self::Changes,
        Self::Records,
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
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// One change of what is known.
#[derive(Clone, Debug)]
pub enum Change {
    Namespace(NamespaceEntry),
    NamespaceGone(Box<str>),
    Claim(Claim),
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
    Policy(PolicyEntry),
    PolicyGone(Box<str>),
    Started,
    ChangeRequest(ChangeEntry),
    /// `namespace/name`.
    ChangeRequestGone(Box<str>),
    Record(RecordEntry),
    RecordGone(Box<str>),
    /// Everything of one kind, read anew.
    Reset(Kind, Vec<Change>),
}

/// Entries by name.
type Map<T> = HashTrieMapSync<Box<str>, Arc<T>>;
/// The same for kinds of which there are thousands: a name is in memory once, wherever it is used.
type Shared<T> = HashTrieMapSync<Arc<str>, T>;

/// What was known at one moment. Cloning shares everything.
#[derive(Clone, Default)]
pub struct Snapshot {
    namespaces: Map<NamespaceEntry>,
    claims: HashTrieMapSync<Box<str>, RedBlackTreeMapSync<Box<str>, Arc<Claim>>>,
    volumes: Map<Volume>,
    requests: Shared<RequestEntry>,
    /// UID of the target, name of the request.
    requests_by_target: Pairs,
    changes: Shared<ChangeEntry>,
    /// Key of a target, name of the change.
    changes_by_target: Pairs,
    /// By name, which is made of the workload's identity.
    records: Map<RecordEntry>,
    /// Of both kinds.
    open_requests_by_author: Shared<usize>,
    open_by_uid: HashTrieSetSync<Arc<str>>,
    sign_offs: Shared<SignOffEntry>,
    /// Author, name of the sign-off.
    sign_offs_by_author: Pairs,
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

    fn volume_of(&self, claim: &Claim) -> Option<&Volume> {
        self.volumes.get(claim.volume.as_deref()?).map(|volume| &**volume)
    }

    /// Names of the requests about the object with this UID, the most advanced first: only these are worth a live
    /// read. Ended ones are left out unless asked for.
    pub fn candidates(&self, target_uid: &str, ended_too: bool) -> Vec<Box<str>> {
        let mut candidates: Vec<&RequestEntry> = self
            .requests_by_target
            .of(target_uid)
            .filter_map(|name| self.requests.get(name))
            .filter(|entry| ended_too || !entry.phase.is_ended())
            .collect();
        candidates.sort_by_key(|entry| (std::cmp::Reverse(advance(entry.phase)), &entry.name));
        candidates.into_iter().map(|entry| Box::from(&*entry.name)).collect()
    }

    /// Names (`namespace/name`) of the open changes of this object, the most advanced first: only these are worth a
    /// live read.
    pub fn changes_of(&self, object: &WorkloadIdentity) -> Vec<Box<str>> {
        let key = object.key();
        let names = self.changes_by_target.of(&key).filter_map(|name| self.changes.get(name));
        let mut open: Vec<&ChangeEntry> = names.filter(|entry| !entry.phase.is_ended()).collect();
        open.sort_by_key(|entry| (std::cmp::Reverse(advance_of_change(entry.phase)), &entry.name));
        open.into_iter().map(|entry| Box::from(&*entry.name)).collect()
    }

    /// What the record of a workload vouches for.
    pub fn known(&self, workload: &WorkloadIdentity) -> Option<&Known> {
        let entry = self.records.get(&*workload.record_name())?;
        (entry.workload == *workload).then_some(&entry.known)
    }

    /// How many open requests, for deletions and for changes, an author (case-folded username) has.
    pub fn open_requests_of(&self, author: &str) -> usize {
        self.open_requests_by_author.get(author).copied().unwrap_or_default()
    }

    /// How many sign-offs about open requests an author (case-folded username) has.
    pub fn open_sign_offs_of(&self, author: &str) -> usize {
        let names = self.sign_offs_by_author.of(author);
        let subjects = names.filter_map(|name| self.sign_offs.get(name)).map(|entry| &entry.subject_uid);
        subjects.filter(|uid| self.open_by_uid.contains(*uid)).count()
    }

    /// Takes a change in.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Namespace(entry) => self.namespaces.insert_mut(entry.name.clone(), Arc::new(entry)),
            Change::NamespaceGone(name) => drop(self.namespaces.remove_mut(&name)),
            Change::Claim(claim) => {
                let namespace = claim.namespace.clone();
                let mut claims = self.claims.get(&namespace).cloned().unwrap_or_default();
                claims.insert_mut(claim.name.clone(), Arc::new(claim));
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
                let name = entry.as_ref().map_or_else(|policy| &policy.name, |policy| &policy.name).as_str().into();
                self.policies.insert_mut(name, Arc::new(entry));
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
            // One by one: how many are open is counted for both kinds together.
            Kind::Requests => {
                let names: Vec<Arc<str>> = self.requests.keys().cloned().collect();
                for name in names {
                    self.forget_request(&name);
                }
            }
            Kind::Changes => {
                let names: Vec<Arc<str>> = self.changes.keys().cloned().collect();
                for name in names {
                    self.forget_change(&name);
                }
            }
            Kind::Records => self.records = Map::default(),
            Kind::SignOffs => {
                self.sign_offs = Shared::default();
                self.sign_offs_by_author = Pairs::default();
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
        entry.author = self.author(entry.author);
        self.requests_by_target.insert(&entry.target_uid, &entry.name);
        if !entry.phase.is_ended() {
            self.open(&entry.author, &entry.uid);
        }
        self.requests.insert_mut(Arc::clone(&entry.name), entry);
    }

    fn forget_request(&mut self, name: &str) {
        let Some(entry) = self.requests.get(name).cloned() else { return };
        self.requests.remove_mut(name);
        if !entry.phase.is_ended() {
            self.close(&entry.author, &entry.uid);
        }
        self.requests_by_target.remove(&entry.target_uid, &entry.name);
    }

    fn learn_change(&mut self, mut entry: ChangeEntry) {
        self.forget_change(&entry.name);
        entry.author = self.author(entry.author);
        for target in &mut entry.targets {
            if let Some(known) = self.changes_by_target.common(target) {
                *target = Arc::clone(known);
            }
            self.changes_by_target.insert(target, &entry.name);
        }
        if !entry.phase.is_ended() {
            self.open(&entry.author, &entry.uid);
        }
        self.changes.insert_mut(Arc::clone(&entry.name), entry);
    }

    fn forget_change(&mut self, name: &str) {
        let Some(entry) = self.changes.get(name).cloned() else { return };
        self.changes.remove_mut(name);
        if !entry.phase.is_ended() {
            self.close(&entry.author, &entry.uid);
        }
        entry.targets.iter().for_each(|target| self.changes_by_target.remove(target, &entry.name));
    }

    /// How an author's name is already in memory.
    fn author(&self, author: Arc<str>) -> Arc<str> {
        self.open_requests_by_author.get_key_value(&author).map_or(author, |(known, _)| Arc::clone(known))
    }

    fn open(&mut self, author: &Arc<str>, uid: &Arc<str>) {
        let open = self.open_requests_of(author) + 1;
        self.open_requests_by_author.insert_mut(Arc::clone(author), open);
        self.open_by_uid.insert_mut(Arc::clone(uid));
    }

    fn close(&mut self, author: &Arc<str>, uid: &Arc<str>) {
        self.open_by_uid.remove_mut(uid);
        match self.open_requests_of(author) {
            0 | 1 => drop(self.open_requests_by_author.remove_mut(author)),
            open => self.open_requests_by_author.insert_mut(Arc::clone(author), open - 1),
        }
    }

    fn learn_sign_off(&mut self, mut entry: SignOffEntry) {
        self.forget_sign_off(&entry.name);
        if let Some(uid) = self.open_by_uid.get(&entry.subject_uid) {
            entry.subject_uid = Arc::clone(uid);
        }
        if let Some(author) = self.sign_offs_by_author.common(&entry.author) {
            entry.author = Arc::clone(author);
        }
        self.sign_offs_by_author.insert(&entry.author, &entry.name);
        self.sign_offs.insert_mut(Arc::clone(&entry.name), entry);
    }

    fn forget_sign_off(&mut self, name: &str) {
        let Some(entry) = self.sign_offs.get(name).cloned() else { return };
        self.sign_offs.remove_mut(name);
        self.sign_offs_by_author.remove(&entry.author, &entry.name);
    }
}

const fn advance(phase: crate::api::Phase) -> u8 {
    use crate::api::Phase;
    match phase {
        Phase::Executing => 4,
        Phase::Executable => 3,
        Phase::Approved => 2,
        Phase::Pending => 1,
        Phase::Executed | Phase::Rejected | Phase::Cancelled | Phase::Expired => 0,
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
    use crate::api::Phase;

    fn request(name: &str, target: &str, phase: Phase) -> Change {
        Change::Request(RequestEntry {
            name: name.into(),
            uid: format!("uid-{name}").into(),
            target_uid: target.into(),
            author: "alice".into(),
            phase,
        })
    }

    #[test]
    fn candidates_come_most_advanced_first_and_without_the_ended() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(request("a", "t", Phase::Pending));
        snapshot.apply(request("b", "t", Phase::Executable));
        snapshot.apply(request("c", "t", Phase::Rejected));
        snapshot.apply(request("d", "other", Phase::Executable));
        let names = |ended| snapshot.candidates("t", ended).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(false), ["b", "a"]);
        assert_eq!(names(true), ["b", "a", "c"]);
        assert_eq!(snapshot.open_requests_of("alice"), 3);
        snapshot.apply(request("b", "t", Phase::Executed));
        assert_eq!(snapshot.open_requests_of("alice"), 2);
        snapshot.apply(Change::RequestGone("a".into()));
        snapshot.apply(Change::RequestGone("a".into()));
        assert_eq!(snapshot.open_requests_of("alice"), 1);
    }

    #[test]
    fn a_reader_keeps_its_snapshot_while_a_kind_is_replaced_as_a_whole() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(request("a", "t", Phase::Pending));
        let held = snapshot.clone();
        snapshot.apply(Change::Reset(Kind::Requests, vec![request("b", "t", Phase::Pending)]));
        assert_eq!(held.candidates("t", false), ["a".into()]);
        assert_eq!(snapshot.candidates("t", false), ["b".into()]);
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
