//! Which requests there are and what they are about: enough to know whom an event concerns.

use std::collections::{BTreeSet, HashMap};

use foureyes_core::api::{DeletionRequest, DeletionRequestStatus, Phase, Target, TargetKind};
use jiff::Timestamp;

/// What is known of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// `metadata.name`.
    pub name: Box<str>,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// UID of what it would have deleted.
    pub target_uid: Box<str>,
    /// What kind of object that is.
    pub target_kind: TargetKind,
    /// The namespace of the target, or the target itself.
    pub namespace: Box<str>,
    /// It has not ended.
    pub open: bool,
    /// UIDs of what was scaled down for it, and is not put back.
    pub scaled_down: Vec<Box<str>>,
    /// It has ended, and something has yet to happen.
    pub unfinished: bool,
    /// Of one that was executed and not supervised yet: how that stands.
    pub unsupervised: Option<Unsupervised>,
}

impl Known {
    /// Of a request as the API server has it.
    pub fn of(request: &DeletionRequest) -> Self {
        let target = &request.spec.target;
        let scaled_down = request.status.iter().flat_map(|status| &status.scaled_down).filter(|scaled| !scaled.settled);
        let phase = request.status.as_ref().and_then(|status| status.phase).unwrap_or_default();
        Self {
            name: request.metadata.name.as_deref().unwrap_or_default().into(),
            uid: request.metadata.uid.as_deref().unwrap_or_default().into(),
            target_uid: target.uid.as_str().into(),
            target_kind: target.kind,
            namespace: target.rights_namespace().into(),
            open: !Phase::is_ended(phase),
            scaled_down: scaled_down.map(|scaled| scaled.uid.as_str().into()).collect(),
            unfinished: request.status.as_ref().is_some_and(DeletionRequestStatus::is_unfinished),
            unsupervised: request.status.as_ref().and_then(Unsupervised::of),
        }
    }
}

/// A deletion that was executed and not supervised yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupervised {
    /// Until when somebody should have.
    by: Option<Timestamp>,
    /// Something went that was not signed off.
    unexpected: bool,
    /// Something is there that should have gone.
    remaining: bool,
}

impl Unsupervised {
    fn of(status: &DeletionRequestStatus) -> Option<Self> {
        let deleted = status.deleted.clone().unwrap_or_default();
        (status.phase == Some(Phase::Executed)).then(|| Self {
            by: status.supervise_by.as_ref().map(|by| by.0),
            unexpected: !deleted.unexpected.is_empty(),
            remaining: !deleted.remaining.is_empty(),
        })
    }
}

/// All requests, and the open ones by what they are about.
#[derive(Debug, Default)]
pub struct Requests {
    by_name: HashMap<Box<str>, Known>,
    by_uid: HashMap<Box<str>, Box<str>>,
    open_by_target: HashMap<Box<str>, BTreeSet<Box<str>>>,
    open_by_namespace: HashMap<Box<str>, BTreeSet<Box<str>>>,
}

impl Requests {
    /// Takes in a request as it is now.
    pub fn learn(&mut self, known: Known) {
        self.forget(&known.name);
        self.by_uid.insert(known.uid.clone(), known.name.clone());
        if known.open {
            let by_target = self.open_by_target.entry(known.target_uid.clone()).or_default();
            by_target.insert(known.name.clone());
            let by_namespace = self.open_by_namespace.entry(known.namespace.clone()).or_default();
            by_namespace.insert(known.name.clone());
        }
        self.by_name.insert(known.name.clone(), known);
    }

    /// Forgets a request that is gone.
    pub fn forget(&mut self, name: &str) -> Option<Known> {
        let known = self.by_name.remove(name)?;
        self.by_uid.remove(&known.uid);
        take_out(&mut self.open_by_target, &known.target_uid, name);
        take_out(&mut self.open_by_namespace, &known.namespace, name);
        Some(known)
    }

    /// Takes in all there are; returns those that were known and are gone.
    pub fn replace(&mut self, all: Vec<Known>) -> Vec<Known> {
        let before = std::mem::take(self);
        for known in all {
            self.learn(known);
        }
        before.by_name.into_values().filter(|known| !self.exists(&known.uid)).collect()
    }

    /// Whether there is a request with this UID, ended or not.
    pub fn exists(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid)
    }

    /// Names of all with which something has yet to happen.
    pub fn unfinished(&self) -> Vec<Box<str>> {
        let unfinished = self.by_name.values().filter(|known| known.open || known.unfinished);
        unfinished.map(|known| known.name.clone()).collect()
    }

    /// How many wait for supervision, for how many of them that is overdue, and with how many something is wrong.
    pub fn unsupervised(&self, now: Timestamp) -> [(&'static str, usize); 4] {
        let all: Vec<&Unsupervised> = self.by_name.values().filter_map(|known| known.unsupervised.as_ref()).collect();
        let count = |is: &dyn Fn(&Unsupervised) -> bool| all.iter().filter(|one| is(one)).count();
        [
            ("WaitingForSupervision", all.len()),
            ("Overdue", count(&|one| one.by.is_some_and(|by| now > by))),
            ("Unexpected", count(&|one| one.unexpected)),
            ("Remaining", count(&|one| one.remaining)),
        ]
    }

    /// Whether another one than `name` is open about this object or, of a claim, about its namespace; of a namespace,
    /// about anything in it.
    pub fn asked_elsewhere(&self, name: &str, target: &Target) -> bool {
        let around = match target.kind {
            TargetKind::PersistentVolumeClaim => self.about_namespace(target.rights_namespace()),
            TargetKind::Namespace => self.within(&target.name),
            _ => Vec::new(),
        };
        around.iter().chain(&self.about(&target.uid)).any(|other| &**other != name)
    }

    /// UIDs of what other open ones have scaled down in the same namespace: they put it back themselves.
    pub fn scaled_elsewhere(&self, name: &str, target: &Target) -> BTreeSet<Box<str>> {
        let others = self.within(target.rights_namespace());
        let others = others.iter().filter(|other| &***other != name).filter_map(|other| self.by_name.get(other));
        others.flat_map(|other| other.scaled_down.iter().cloned()).collect()
    }

    /// Names of the open ones about the object with this UID.
    pub fn about(&self, target_uid: &str) -> Vec<Box<str>> {
        self.open_by_target.get(target_uid).into_iter().flatten().cloned().collect()
    }

    /// Names of the open ones about a namespace or anything in it.
    pub fn within(&self, namespace: &str) -> Vec<Box<str>> {
        self.open_by_namespace.get(namespace).into_iter().flatten().cloned().collect()
    }

    /// Names of the open ones about a namespace as a whole.
    pub fn about_namespace(&self, namespace: &str) -> Vec<Box<str>> {
        let names = self.open_by_namespace.get(namespace).into_iter().flatten();
        names
            .filter(|name| self.by_name.get(*name).is_some_and(|known| known.target_kind == TargetKind::Namespace))
            .cloned()
            .collect()
    }
}

fn take_out(map: &mut HashMap<Box<str>, BTreeSet<Box<str>>>, key: &str, name: &str) {
    if let Some(names) = map.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, target: &str, kind: TargetKind, open: bool) -> Known {
        Known {
            name: name.into(),
            uid: format!("uid-{name}").into(),
            target_uid: target.into(),
            target_kind: kind,
            namespace: "shop".into(),
            scaled_down: Vec::new(),
            unfinished: false,
            unsupervised: None,
            open,
        }
    }

    #[test]
    fn an_event_concerns_only_open_requests_about_its_object() {
        let mut requests = Requests::default();
        requests.learn(known("a", "claim-1", TargetKind::PersistentVolumeClaim, true));
        requests.learn(known("b", "claim-1", TargetKind::PersistentVolumeClaim, false));
        requests.learn(known("c", "shop", TargetKind::Namespace, true));
        assert_eq!(requests.about("claim-1"), ["a".into()]);
        assert_eq!(requests.about_namespace("shop"), ["c".into()]);
        assert_eq!(requests.within("shop"), ["a".into(), "c".into()]);
        assert!(requests.exists("uid-b"));
        requests.learn(known("a", "claim-1", TargetKind::PersistentVolumeClaim, false));
        assert!(requests.about("claim-1").is_empty());
        assert!(requests.exists("uid-a"));
    }

    #[test]
    fn what_another_open_request_has_scaled_down_is_left_to_it() {
        let mut requests = Requests::default();
        let scaled = |name, open| Known {
            scaled_down: vec![format!("web-of-{name}").into()],
            ..known(name, "shop", TargetKind::Namespace, open)
        };
        for (name, open) in [("a", true), ("b", true), ("c", false)] {
            requests.learn(scaled(name, open));
        }
        let target = Target {
            api_version: "v1".to_owned(),
            kind: TargetKind::Namespace,
            namespace: None,
            name: "shop".to_owned(),
            uid: "shop".to_owned(),
        };
        assert_eq!(requests.scaled_elsewhere("a", &target), ["web-of-b".into()].into());
    }

    #[test]
    fn what_is_missing_from_a_complete_list_is_gone() {
        let mut requests = Requests::default();
        requests.learn(known("a", "claim-1", TargetKind::PersistentVolumeClaim, true));
        requests.learn(known("b", "claim-2", TargetKind::PersistentVolumeClaim, true));
        let again = Known { uid: "another".into(), ..known("a", "claim-1", TargetKind::PersistentVolumeClaim, true) };
        let gone = requests.replace(vec![again]);
        let mut gone: Vec<&str> = gone.iter().map(|known| &*known.uid).collect();
        gone.sort_unstable();
        assert_eq!(gone, ["uid-a", "uid-b"]);
        assert_eq!(requests.unfinished(), ["a".into()]);
        assert!(requests.about("claim-2").is_empty());
    }
}
