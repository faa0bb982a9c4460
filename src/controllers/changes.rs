//! Which changes there are and what they are about: enough to know whom an event concerns.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use foureyes_core::api::{ChangePhase, ChangeRequest, WorkloadIdentity};
use foureyes_core::domain::change::identity_of;

/// A change, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangeKey {
    pub namespace: Box<str>,
    pub name: Box<str>,
}

impl ChangeKey {
    /// Of a change as the API server has it.
    pub fn of(request: &ChangeRequest) -> Self {
        let part = |part: &Option<String>| part.as_deref().unwrap_or_default().into();
        Self { namespace: part(&request.metadata.namespace), name: part(&request.metadata.name) }
    }

    /// From `namespace/name`, as records have it.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        Some(Self { namespace: namespace.into(), name: name.into() })
    }
}

impl fmt::Display for ChangeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What is known of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub key: ChangeKey,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// It has not ended.
    pub open: bool,
    /// What it names, while it is open.
    pub targets: Box<[WorkloadIdentity]>,
}

impl Known {
    /// Of a change as the API server has it.
    pub fn of(request: &ChangeRequest, own_namespace: &str) -> Self {
        let phase = request.status.as_ref().and_then(|status| status.phase).unwrap_or_default();
        let open = !ChangePhase::is_ended(phase);
        let targets = request.spec.targets.iter().filter(|_| open);
        Self {
            key: ChangeKey::of(request),
            uid: request.metadata.uid.as_deref().unwrap_or_default().into(),
            open,
            targets: targets.filter_map(|target| identity_of(request, target, own_namespace)).collect(),
        }
    }
}

/// All changes, and the open ones by what they are about.
#[derive(Debug, Default)]
pub struct Changes {
    by_key: HashMap<ChangeKey, Known>,
    by_uid: HashMap<Box<str>, ChangeKey>,
    open_by_target: HashMap<WorkloadIdentity, BTreeSet<ChangeKey>>,
    open_by_namespace: HashMap<String, BTreeSet<ChangeKey>>,
}

impl Changes {
    /// Takes in a change as it is now; returns it as it was.
    pub fn learn(&mut self, known: Known) -> Option<Known> {
        let before = self.forget(&known.key);
        self.by_uid.insert(known.uid.clone(), known.key.clone());
        for target in &known.targets {
            self.open_by_target.entry(target.clone()).or_default().insert(known.key.clone());
            self.open_by_namespace.entry(place(target).to_owned()).or_default().insert(known.key.clone());
        }
        self.by_key.insert(known.key.clone(), known);
        before
    }

    /// Forgets a change that is gone.
    pub fn forget(&mut self, key: &ChangeKey) -> Option<Known> {
        let known = self.by_key.remove(key)?;
        self.by_uid.remove(&known.uid);
        for target in &known.targets {
            take_out(&mut self.open_by_target, target, key);
            take_out(&mut self.open_by_namespace, place(target), key);
        }
        Some(known)
    }

    /// Takes in all there are; returns those that were known and are gone.
    pub fn replace(&mut self, all: Vec<Known>) -> Vec<Known> {
        let before = std::mem::take(self);
        for known in all {
            self.learn(known);
        }
        before.by_key.into_values().filter(|known| !self.exists(&known.uid)).collect()
    }

    /// Whether there is a change with this UID, ended or not.
    pub fn exists(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid)
    }

    /// All that have not ended.
    pub fn open(&self) -> Vec<ChangeKey> {
        self.by_key.values().filter(|known| known.open).map(|known| known.key.clone()).collect()
    }

    /// The open ones about an object.
    pub fn about(&self, object: &WorkloadIdentity) -> Vec<ChangeKey> {
        self.open_by_target.get(object).into_iter().flatten().cloned().collect()
    }

    /// The open ones about a namespace or anything in it.
    pub fn within(&self, namespace: &str) -> Vec<ChangeKey> {
        self.open_by_namespace.get(namespace).into_iter().flatten().cloned().collect()
    }
}

/// Whose labels decide what applies to an object.
pub fn place(object: &WorkloadIdentity) -> &str {
    let is_namespace = object.group.is_empty() && object.kind == "Namespace";
    if is_namespace { &object.name } else { &object.namespace }
}

fn take_out<K, Q>(map: &mut HashMap<K, BTreeSet<ChangeKey>>, of: &Q, key: &ChangeKey)
where
    K: std::borrow::Borrow<Q> + Eq + std::hash::Hash,
    Q: Eq + std::hash::Hash + ?Sized,
{
    if let Some(keys) = map.get_mut(of) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(name: &str) -> WorkloadIdentity {
        let [group, kind, namespace, name] = ["apps", "Deployment", "shop", name].map(str::to_owned);
        WorkloadIdentity { group, kind, namespace, name }
    }

    fn known(name: &str, targets: &[WorkloadIdentity]) -> Known {
        Known {
            key: ChangeKey { namespace: "shop".into(), name: name.into() },
            uid: format!("uid-{name}").into(),
            open: !targets.is_empty(),
            targets: targets.into(),
        }
    }

    #[test]
    fn an_event_concerns_only_open_changes_about_its_object() {
        let mut changes = Changes::default();
        let (one, both) = (known("one", &[workload("web")]), known("both", &[workload("web"), workload("api")]));
        changes.learn(one.clone());
        changes.learn(both.clone());
        assert_eq!(changes.about(&workload("web")), [both.key.clone(), one.key.clone()]);
        assert_eq!(changes.about(&workload("api")), std::slice::from_ref(&both.key));
        assert_eq!(changes.within("shop").len(), 2);
        changes.learn(known("both", &[]));
        assert!(changes.about(&workload("api")).is_empty());
        assert!(changes.exists("uid-both"));
        assert_eq!(changes.open(), [one.key]);
        let namespace =
            WorkloadIdentity { kind: "Namespace".to_owned(), name: "shop".to_owned(), ..WorkloadIdentity::default() };
        assert_eq!(place(&namespace), "shop");
    }

    #[test]
    fn what_is_missing_from_a_complete_list_is_gone() {
        let mut changes = Changes::default();
        changes.learn(known("one", &[workload("web")]));
        changes.learn(known("two", &[workload("web")]));
        let gone = changes.replace(vec![known("two", &[workload("web")])]);
        assert_eq!(gone, [known("one", &[workload("web")])]);
        assert_eq!(changes.about(&workload("web")), [gone[0].key.clone()].map(|_| known("two", &[]).key));
        let key = ChangeKey::parse("shop/two");
        assert_eq!(key.map(|key| key.to_string()).as_deref(), Some("shop/two"));
    }
}
