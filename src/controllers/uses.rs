//! Who uses claims and namespaces, as it was seen since somebody began to look: only observed time is quiet time.
//! What an earlier process had counted for a request goes on, unless something was seen to use its target since.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use foureyes_core::domain::quiet::Usage;
use jiff::SignedDuration;

use crate::cluster::pods::PodUse;

/// A claim, or a namespace as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Used {
    /// Where the claim is, or the namespace itself.
    pub namespace: Box<str>,
    /// Nothing for the namespace as a whole.
    pub claim: Option<Box<str>>,
}

#[derive(Debug, Default)]
struct Use {
    /// Pods that use it, by UID.
    running: BTreeSet<Box<str>>,
    /// When the last of them was seen to end.
    ended: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Uses {
    /// Since when pods are followed without a gap.
    since: Option<Instant>,
    pods: HashMap<Box<str>, PodUse>,
    seen: HashMap<Used, Use>,
    /// Claims and namespaces that came while pods were followed, by UID.
    born: HashSet<Box<str>>,
    /// What was counted for a request before, by its UID.
    carried: HashMap<Box<str>, SignedDuration>,
}

impl Uses {
    /// Takes in a pod as it is now.
    pub fn learn(&mut self, pod: PodUse, now: Instant) {
        self.forget(&pod.uid, now);
        if pod.ended {
            return;
        }
        for used in used_by(&pod) {
            self.seen.entry(used).or_default().running.insert(pod.uid.clone());
        }
        self.pods.insert(pod.uid.clone(), pod);
    }

    /// Forgets a pod that is gone.
    pub fn forget(&mut self, uid: &str, now: Instant) {
        let Some(pod) = self.pods.remove(uid) else { return };
        for used in used_by(&pod) {
            if let Some(seen) = self.seen.get_mut(&used)
                && seen.running.remove(uid)
            {
                seen.ended = Some(now);
            }
        }
    }

    /// Takes in all pods there are: at the start, and whenever some may have been missed. Nothing that was seen before
    /// such a gap counts any more, but for what requests have written down.
    pub fn replace(&mut self, pods: Vec<PodUse>, now: Instant) {
        *self = Self { since: Some(now), ..Self::default() };
        for pod in pods {
            self.learn(pod, now);
        }
    }

    /// A claim or a namespace was seen for the first time, and not among those that were there at the start.
    pub fn born(&mut self, uid: Box<str>) {
        if self.since.is_some() {
            self.born.insert(uid);
        }
    }

    /// A claim or a namespace is gone.
    pub fn gone(&mut self, used: &Used, uid: &str) {
        self.born.remove(uid);
        if self.seen.get(used).is_some_and(|seen| seen.running.is_empty()) {
            self.seen.remove(used);
        }
    }

    /// What an earlier process has counted for a request; only the first word counts.
    pub fn carry(&mut self, request: &str, counted: impl FnOnce() -> SignedDuration) {
        if self.since.is_some() && !self.carried.contains_key(request) {
            self.carried.insert(request.into(), counted());
        }
    }

    /// A request has ended.
    pub fn drop_carried(&mut self, request: &str) {
        self.carried.remove(request);
    }

    /// What is known of the use of something, for a request about it. `running` is who uses it, read live.
    pub fn usage(&self, used: &Used, uid: &str, request: &str, running: Vec<String>, now: Instant) -> Usage {
        let Some(since) = self.since else { return Usage { running, ..Usage::default() } };
        let seen = self.seen.get(used);
        // What runs here and not there has just ended, or was not seen yet: the next event tells.
        if seen.is_some_and(|seen| !seen.running.is_empty()) {
            return Usage { running, ..Usage::default() };
        }
        let idle = if let Some(ended) = seen.and_then(|seen| seen.ended) {
            signed(now.duration_since(ended))
        } else {
            let carried = self.carried.get(request).copied().unwrap_or_default();
            signed(now.duration_since(since)).saturating_add(carried)
        };
        Usage { running, idle: Some(idle), never_used: seen.is_none() && self.born.contains(uid) }
    }
}

fn used_by(pod: &PodUse) -> impl Iterator<Item = Used> {
    let namespace = pod.namespace.clone();
    let claims = pod.claims.iter().map(|claim| Some(claim.clone())).chain([None]);
    claims.map(move |claim| Used { namespace: namespace.clone(), claim })
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, claims: &[&str]) -> PodUse {
        PodUse {
            uid: uid.into(),
            namespace: "shop".into(),
            name: uid.into(),
            claims: claims.iter().map(|&claim| claim.into()).collect(),
            ended: false,
        }
    }

    fn claim(name: &str) -> Used {
        Used { namespace: "shop".into(), claim: Some(name.into()) }
    }

    fn shop() -> Used {
        Used { namespace: "shop".into(), claim: None }
    }

    struct Seen {
        uses: Uses,
        begun: Instant,
    }

    impl Seen {
        fn with(pods: Vec<PodUse>) -> Self {
            let (mut uses, begun) = (Uses::default(), Instant::now());
            uses.replace(pods, begun);
            Self { uses, begun }
        }

        fn at(&self, second: u64) -> Instant {
            self.begun + Duration::from_secs(second)
        }

        /// Seconds of idleness, if it is idle, and whether it was never used.
        fn idle(&self, used: &Used, second: u64) -> (Option<i64>, bool) {
            let usage = self.uses.usage(used, "uid", "request", Vec::new(), self.at(second));
            (usage.idle.map(|idle| idle.as_secs()), usage.never_used)
        }
    }

    #[test]
    fn nothing_is_known_before_pods_were_read() {
        let usage = Uses::default().usage(&shop(), "uid", "request", Vec::new(), Instant::now());
        assert_eq!(usage, Usage::default());
    }

    #[test]
    fn idleness_counts_from_the_last_pod_that_ended() {
        let mut seen = Seen::with(vec![pod("db-0", &["data"]), pod("web", &[])]);
        assert_eq!(seen.idle(&claim("data"), 10), (None, false));
        assert_eq!(seen.idle(&claim("reports"), 10), (Some(10), false), "it was idle all the time");
        let (ten, twenty) = (seen.at(10), seen.at(20));
        seen.uses.learn(PodUse { ended: true, ..pod("db-0", &["data"]) }, ten);
        assert_eq!(seen.idle(&claim("data"), 15), (Some(5), false));
        assert_eq!(seen.idle(&shop(), 15), (None, false), "web runs on");
        seen.uses.forget("web", twenty);
        assert_eq!(seen.idle(&shop(), 21), (Some(1), false));
    }

    #[test]
    fn what_an_earlier_process_counted_goes_on_unless_it_was_used_since() {
        let mut seen = Seen::with(Vec::new());
        let hour = || SignedDuration::from_hours(1);
        seen.uses.carry("request", hour);
        seen.uses.carry("request", SignedDuration::default);
        assert_eq!(seen.idle(&claim("data"), 10).0, Some(3610));
        let five = seen.at(5);
        seen.uses.learn(pod("db-0", &["data"]), five);
        seen.uses.forget("db-0", five);
        assert_eq!(seen.idle(&claim("data"), 10).0, Some(5));
        seen.uses.drop_carried("request");
        assert_eq!(seen.idle(&claim("other"), 10).0, Some(10));
    }

    #[test]
    fn after_a_gap_only_what_was_written_down_counts() {
        let mut seen = Seen::with(Vec::new());
        seen.uses.carry("request", || SignedDuration::from_secs(7));
        let hundred = seen.at(100);
        seen.uses.replace(Vec::new(), hundred);
        assert_eq!(seen.idle(&claim("data"), 110).0, Some(10));
        seen.uses.carry("request", || SignedDuration::from_secs(90));
        assert_eq!(seen.idle(&claim("data"), 110).0, Some(100));
    }

    #[test]
    fn what_came_while_somebody_looked_was_never_used_until_it_is() {
        let mut seen = Seen::with(Vec::new());
        assert!(!seen.idle(&claim("data"), 1).1);
        seen.uses.born("uid".into());
        assert!(seen.idle(&claim("data"), 1).1);
        let two = seen.at(2);
        seen.uses.learn(pod("db-0", &["data"]), two);
        seen.uses.forget("db-0", two);
        assert_eq!(seen.idle(&claim("data"), 3), (Some(1), false));
        seen.uses.gone(&claim("data"), "uid");
        assert_eq!(seen.idle(&claim("data"), 3), (Some(3), false), "another one of that name");
    }
}
