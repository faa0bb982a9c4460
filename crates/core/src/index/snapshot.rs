//! One consistent state of everything that decisions look up.

use std::sync::Arc;

use imbl::{HashMap, OrdMap, OrdSet};

use super::entries::{NamespaceEntry, RequestEntry, SignOffEntry};
use super::policies::{PolicyEntry, policy_set};
use crate::domain::inventory::{Claim, Inventory, Volume};
use crate::domain::policy::PolicySet;

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
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Namespaces,
        Self::Claims,
        Self::Volumes,
        Self::Requests,
        Self::SignOffs,
        Self::Policies,
        Self::State,
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
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// One change of what is known.
#[derive(Clone, Debug)]
pub enum Change {
    Namespace(NamespaceEntry),
    NamespaceGone(Box<str>),
    Claim(Claim),
    ClaimGone { namespace: Box<str>, name: Box<str> },
    Volume(Volume),
    VolumeGone(Box<str>),
    Request(RequestEntry),
    RequestGone(Box<str>),
    SignOff(SignOffEntry),
    SignOffGone(Box<str>),
    Policy(PolicyEntry),
    PolicyGone(Box<str>),
    Started,
    /// Everything of one kind, read anew.
    Reset(Kind, Vec<Change>),
}

/// What was known at one moment. Cloning shares everything.
#[derive(Clone, Default)]
pub struct Snapshot {
    namespaces: HashMap<Box<str>, Arc<NamespaceEntry>>,
    claims: HashMap<Box<str>, OrdMap<Box<str>, Arc<Claim>>>,
    volumes: HashMap<Box<str>, Arc<Volume>>,
    requests: HashMap<Box<str>, Arc<RequestEntry>>,
    requests_by_target: HashMap<Box<str>, OrdSet<Box<str>>>,
    open_requests_by_author: HashMap<Box<str>, usize>,
    open_by_uid: HashMap<Box<str>, ()>,
    sign_offs: HashMap<Box<str>, Arc<SignOffEntry>>,
    sign_offs_by_author: HashMap<Box<str>, OrdSet<Box<str>>>,
    policies: OrdMap<Box<str>, Arc<PolicyEntry>>,
    policy_set: Arc<PolicySet>,
    started: bool,
    synced: u8,
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
        let claims = self.claims.get(name).into_iter().flat_map(OrdMap::values);
        Inventory::of(claims.filter(|claim| is_data(claim)).map(|claim| (&**claim, self.volume_of(claim))))
    }

    fn volume_of(&self, claim: &Claim) -> Option<&Volume> {
        self.volumes.get(claim.volume.as_deref()?).map(|volume| &**volume)
    }

    /// Names of the requests about the object with this UID, the most advanced first: only these are worth a live
    /// read. Ended ones are left out unless asked for.
    pub fn candidates(&self, target_uid: &str, ended_too: bool) -> Vec<Box<str>> {
        let names = self.requests_by_target.get(target_uid).into_iter().flatten();
        let mut candidates: Vec<&RequestEntry> = names
            .filter_map(|name| self.requests.get(name))
            .map(|entry| &**entry)
            .filter(|entry| ended_too || !entry.phase.is_ended())
            .collect();
        candidates.sort_by_key(|entry| (std::cmp::Reverse(advance(entry.phase)), entry.name.clone()));
        candidates.into_iter().map(|entry| entry.name.clone()).collect()
    }

    /// How many open requests an author (case-folded username) has.
    pub fn open_requests_of(&self, author: &str) -> usize {
        self.open_requests_by_author.get(author).copied().unwrap_or_default()
    }

    /// How many sign-offs about open requests an author (case-folded username) has.
    pub fn open_sign_offs_of(&self, author: &str) -> usize {
        let names = self.sign_offs_by_author.get(author).into_iter().flatten();
        let subjects = names.filter_map(|name| self.sign_offs.get(name)).map(|entry| &entry.subject_uid);
        subjects.filter(|uid| self.open_by_uid.contains_key(*uid)).count()
    }

    /// Takes a change in.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Namespace(entry) => drop(self.namespaces.insert(entry.name.clone(), Arc::new(entry))),
            Change::NamespaceGone(name) => drop(self.namespaces.remove(&name)),
            Change::Claim(claim) => {
                let claims = self.claims.entry(claim.namespace.clone()).or_default();
                claims.insert(claim.name.clone(), Arc::new(claim));
            }
            Change::ClaimGone { namespace, name } => self.forget_claim(&namespace, &name),
            Change::Volume(volume) => drop(self.volumes.insert(volume.name.clone(), Arc::new(volume))),
            Change::VolumeGone(name) => drop(self.volumes.remove(&name)),
            Change::Request(entry) => self.learn_request(entry),
            Change::RequestGone(name) => self.forget_request(&name),
            Change::SignOff(entry) => self.learn_sign_off(entry),
            Change::SignOffGone(name) => self.forget_sign_off(&name),
            Change::Policy(entry) => {
                let name = entry.as_ref().map_or_else(|policy| &policy.name, |policy| &policy.name).as_str().into();
                self.policies.insert(name, Arc::new(entry));
                self.compile_policies();
            }
            Change::PolicyGone(name) => {
                self.policies.remove(&name);
                self.compile_policies();
            }
            Change::Started => self.started = true,
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
            Kind::Namespaces => self.namespaces.clear(),
            Kind::Claims => self.claims.clear(),
            Kind::Volumes => self.volumes.clear(),
            Kind::Requests => {
                self.requests.clear();
                self.requests_by_target.clear();
                self.open_requests_by_author.clear();
                self.open_by_uid.clear();
            }
            Kind::SignOffs => {
                self.sign_offs.clear();
                self.sign_offs_by_author.clear();
            }
            Kind::Policies => {
                self.policies.clear();
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
        if let Some(claims) = self.claims.get_mut(namespace) {
            claims.remove(name);
            if claims.is_empty() {
                self.claims.remove(namespace);
            }
        }
    }

    fn learn_request(&mut self, entry: RequestEntry) {
        self.forget_request(&entry.name);
        self.requests_by_target.entry(entry.target_uid.clone()).or_default().insert(entry.name.clone());
        if !entry.phase.is_ended() {
            *self.open_requests_by_author.entry(entry.author.clone()).or_default() += 1;
            self.open_by_uid.insert(entry.uid.clone(), ());
        }
        self.requests.insert(entry.name.clone(), Arc::new(entry));
    }

    fn forget_request(&mut self, name: &str) {
        let Some(entry) = self.requests.remove(name) else { return };
        if !entry.phase.is_ended() {
            self.open_by_uid.remove(&entry.uid);
            if let Some(open) = self.open_requests_by_author.get_mut(&entry.author) {
                *open = open.saturating_sub(1);
            }
        }
        if let Some(names) = self.requests_by_target.get_mut(&entry.target_uid) {
            names.remove(name);
            if names.is_empty() {
                self.requests_by_target.remove(&entry.target_uid);
            }
        }
    }

    fn learn_sign_off(&mut self, entry: SignOffEntry) {
        self.forget_sign_off(&entry.name);
        self.sign_offs_by_author.entry(entry.author.clone()).or_default().insert(entry.name.clone());
        self.sign_offs.insert(entry.name.clone(), Arc::new(entry));
    }

    fn forget_sign_off(&mut self, name: &str) {
        let Some(entry) = self.sign_offs.remove(name) else { return };
        if let Some(names) = self.sign_offs_by_author.get_mut(&entry.author) {
            names.remove(name);
            if names.is_empty() {
                self.sign_offs_by_author.remove(&entry.author);
            }
        }
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
