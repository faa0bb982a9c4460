//! What is due with the webhook's certificates, decided from what was read. Pure: the time is an argument.
//!
//! The order on a change of authority is what keeps every handshake working: the bundle with the new authority goes to
//! both configurations first, and only a later look that finds it there lets the serving certificate change hands.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::ca::Certificate;

/// Earlier authorities that are remembered; more than one only after an accident.
const MAX_PREVIOUS: usize = 3;

/// What was read at the beginning of a pass.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The authority in use, if its certificate and key can be read and belong together.
    pub authority: Option<&'a Certificate>,
    /// Earlier authorities, the latest first.
    pub previous: &'a [Certificate],
    /// The certificate being served, if it can be read and its key belongs to it.
    pub serving: Option<&'a Certificate>,
    /// The authority that was stored beside the certificate being served.
    pub serving_authority: Option<&'a Certificate>,
    /// What each entry of the two configurations trusts; an entry without a bundle trusts nothing.
    pub trusted: &'a [Vec<Certificate>],
    /// The names that the webhook is reached by.
    pub names: &'a BTreeSet<String>,
}

/// What to do about the serving certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// It is good.
    Keep,
    /// A new one is due, but not every configuration trusts its authority yet.
    Wait,
    /// A new one is due.
    Issue,
}

/// What is due in one pass, to be done in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Make a new authority; the present one becomes the previous.
    pub new_authority: bool,
    /// What to do about the serving certificate, once the bundle is written.
    pub serving: Serving,
}

/// Judges what was read.
pub fn plan(facts: &Facts<'_>, now: Timestamp) -> Plan {
    let new_authority = facts.authority.is_none_or(|ca| ca.is_due(now));
    let authorities: Vec<&Certificate> = known(facts).collect();
    // Nothing is lost by replacing what no handshake can succeed with.
    let serves = facts.serving.is_some_and(|leaf| leaf.is_trusted_by(&authorities, now));
    let serving = match (facts.serving, facts.authority) {
        _ if !serves => Serving::Issue,
        (Some(leaf), Some(ca)) if !new_authority => {
            let good = !leaf.is_due(now) && leaf.names == *facts.names && leaf.is_trusted_by(&[ca], now);
            let trusted = facts.trusted.iter().all(|entry| entry.contains(ca));
            match (good, trusted) {
                (true, _) => Serving::Keep,
                (false, true) => Serving::Issue,
                (false, false) => Serving::Wait,
            }
        }
        // The new authority is made in this pass, so nobody trusts it yet.
        _ => Serving::Wait,
    };
    Plan { new_authority, serving }
}

/// The text that every entry is to trust: the authority in use, the one before, and the one of the certificate being
/// served, as long as they are valid; each once.
pub fn bundle(facts: &Facts<'_>, now: Timestamp) -> String {
    let mut text = String::new();
    for certificate in known(facts).filter(|ca| ca.holds_at(now)) {
        if !text.contains(&certificate.pem) {
            text.push_str(&certificate.pem);
        }
    }
    text
}

fn known<'a>(facts: &Facts<'a>) -> impl Iterator<Item = &'a Certificate> {
    let now = facts.authority.into_iter().chain(facts.serving_authority);
    now.chain(facts.previous)
}

/// What becomes of the earlier authorities when a new one is made: the one in use and the one being served join them,
/// because a replica may go on serving an older certificate for a while; the expired and the oldest go.
pub fn retired(facts: &Facts<'_>, now: Timestamp) -> Vec<Certificate> {
    let mut kept: Vec<Certificate> = Vec::new();
    for certificate in known(facts).filter(|ca| ca.holds_at(now)) {
        if kept.len() < MAX_PREVIOUS && !kept.contains(certificate) {
            kept.push(certificate.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::controllers::certificates::ca::{Authority, serving_names};
    use jiff::SignedDuration;

    fn start() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn after_days(days: i64) -> Timestamp {
        start() + SignedDuration::from_hours(24 * days)
    }

    fn names() -> BTreeSet<String> {
        serving_names("foureyes-system", &["127.0.0.1".to_owned()]).unwrap()
    }

    /// What the controller keeps, with the pass of the real one but for the I/O.
    struct World {
        authority: Option<Authority>,
        previous: Vec<Certificate>,
        serving: Option<Certificate>,
        serving_authority: Option<Certificate>,
        trusted: Vec<Vec<Certificate>>,
        names: BTreeSet<String>,
    }

    impl World {
        fn empty() -> Self {
            Self {
                authority: None,
                previous: Vec::new(),
                serving: None,
                serving_authority: None,
                trusted: vec![vec![]; 3],
                names: names(),
            }
        }

        fn facts(&self) -> Facts<'_> {
            Facts {
                authority: self.authority.as_ref().map(|a| &a.certificate),
                previous: &self.previous,
                serving: self.serving.as_ref(),
                serving_authority: self.serving_authority.as_ref(),
                trusted: &self.trusted,
                names: &self.names,
            }
        }

        fn pass(&mut self, now: Timestamp) -> Plan {
            let plan = plan(&self.facts(), now);
            if plan.new_authority {
                self.previous = retired(&self.facts(), now);
                self.authority = Some(Authority::make(now).unwrap());
            }
            let bundle = Certificate::read_all(bundle(&self.facts(), now).as_bytes()).unwrap();
            self.trusted.fill(bundle);
            if plan.serving == Serving::Issue {
                let authority = self.authority.as_ref().unwrap();
                self.serving = Some(authority.issue(&self.names, now).unwrap().certificate);
                self.serving_authority = Some(authority.certificate.clone());
            }
            plan
        }

        fn handshake_works(&self, now: Timestamp) -> bool {
            let leaf = self.serving.as_ref().unwrap();
            self.trusted.iter().all(|entry| leaf.is_trusted_by(&entry.iter().collect::<Vec<_>>(), now))
        }
    }

    const NOTHING: Plan = Plan { new_authority: false, serving: Serving::Keep };

    #[test]
    fn at_first_everything_is_made_at_once_and_then_nothing() {
        let mut world = World::empty();
        let first = world.pass(start());
        assert_eq!((first.new_authority, first.serving), (true, Serving::Issue));
        assert!(world.handshake_works(start()));
        assert_eq!(world.pass(start()), NOTHING);
        assert_eq!(world.pass(after_days(59)), NOTHING);
    }

    #[test]
    fn every_day_of_three_years_a_handshake_works_before_and_after_each_pass() {
        let mut world = World::empty();
        world.pass(start());
        let (mut authorities, mut leaves) = (0, 0);
        for day in 1..3 * 365 {
            assert!(world.handshake_works(after_days(day)), "day {day}");
            let plan = world.pass(after_days(day));
            authorities += u32::from(plan.new_authority);
            leaves += u32::from(plan.serving == Serving::Issue);
            assert!(world.handshake_works(after_days(day)), "day {day}");
        }
        assert_eq!(authorities, 4);
        assert!((18..=22).contains(&leaves), "{leaves}");
    }

    #[test]
    fn a_new_authority_signs_only_once_every_entry_trusts_it() {
        let mut world = World::empty();
        world.pass(start());
        let due = after_days(244);
        world.serving = Some(world.authority.as_ref().unwrap().issue(&names(), due).unwrap().certificate);
        let first = world.pass(due);
        assert_eq!((first.new_authority, first.serving), (true, Serving::Wait));
        assert_eq!(world.trusted[0].len(), 2);
        let bundle = std::mem::take(&mut world.trusted[1]);
        assert_eq!(plan(&world.facts(), due).serving, Serving::Wait);
        world.trusted[1] = bundle;
        let second = world.pass(due);
        assert_eq!((second.new_authority, second.serving), (false, Serving::Issue));
        assert!(world.handshake_works(due));
    }

    #[test]
    fn a_lost_authority_is_replaced_without_breaking_what_is_served() {
        let mut world = World::empty();
        world.pass(start());
        world.authority = None;
        let first = world.pass(after_days(1));
        assert_eq!((first.new_authority, first.serving), (true, Serving::Wait));
        assert!(world.handshake_works(after_days(1)));
        let served = world.serving.clone();
        assert_eq!(world.pass(after_days(1)).serving, Serving::Issue);
        assert!(world.handshake_works(after_days(1)));
        // A replica that reads its Secret late still serves the old one.
        assert_eq!(world.pass(after_days(1)), NOTHING);
        world.serving = served;
        assert!(world.handshake_works(after_days(1)));
    }

    #[test]
    fn another_name_and_an_expired_certificate_are_reasons_to_issue() {
        let mut world = World::empty();
        world.pass(start());
        world.names.insert("webhook.example.org".to_owned());
        assert_eq!(world.pass(start()).serving, Serving::Issue);
        assert_eq!(world.pass(start()), NOTHING);
        let woken = world.pass(after_days(400));
        assert_eq!((woken.new_authority, woken.serving), (true, Serving::Issue));
        assert!(world.handshake_works(after_days(400)));
        assert_eq!(world.trusted[0].len(), 1);
    }

    #[test]
    fn a_clock_that_was_set_back_before_the_certificate_replaces_it() {
        let mut world = World::empty();
        world.pass(start());
        let plan = world.pass(after_days(-1));
        assert_eq!((plan.new_authority, plan.serving), (true, Serving::Issue));
        assert!(world.handshake_works(after_days(-1)));
    }

    #[test]
    fn a_leaf_never_outlives_its_authority() {
        let authority = Authority::make(start()).unwrap();
        let leaf = authority.issue(&names(), after_days(300)).unwrap();
        assert_eq!(leaf.certificate.not_after, authority.certificate.not_after);
        assert!(leaf.certificate.has_key(&leaf.key_pem));
        assert!(!leaf.certificate.has_key(&authority.key_pem));
        assert_eq!(leaf.certificate.names, names());
    }

    #[test]
    fn an_authority_is_read_back_and_a_strange_key_is_not() {
        let (one, two) = (Authority::make(start()).unwrap(), Authority::make(start()).unwrap());
        let pem = one.certificate.pem.as_bytes();
        let read = Authority::read(pem, one.key_pem.as_bytes()).unwrap();
        assert_eq!(read.certificate, one.certificate);
        let leaf = read.issue(&names(), start()).unwrap();
        assert!(leaf.certificate.is_trusted_by(&[&one.certificate], start()));
        assert!(!leaf.certificate.is_trusted_by(&[&two.certificate], start()));
        assert!(Authority::read(pem, two.key_pem.as_bytes()).is_err());
        assert!(Authority::read(b"", b"").is_err());
    }

    #[test]
    fn names_that_no_certificate_can_carry_are_refused() {
        assert!(serving_names("foureyes-system", &["not a name".to_owned()]).is_err());
        let names = serving_names("x", &["::1".to_owned(), "Web.Example.org".to_owned()]).unwrap();
        assert!(names.contains("::1") && names.contains("web.example.org"));
        assert!(names.contains("foureyes-webhook.x.svc"));
    }
}
