//! Arbitrary evidence for one deletion, and a reference model of what it must lead to: written from design §2 and §5
//! over what was put in, without any of the code under test.

use std::collections::BTreeSet;

use foureyes_core::api::{Author, DeletionRequestStatus, Phase, RetentionWish, Says, SeenAnnotation};
use foureyes_core::digest::short;
use foureyes_core::domain::inventory::Inventory;
use foureyes_core::domain::lifecycle::TargetState;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::support::{
    APPROVAL_CLOCK, DAY, HOUR, Scene, USE_CLOCK, inventory, named, policies_with_min, record, sign_off, subject_of,
    time, uid, with_email,
};

/// Who may appear: username, e-mail, the person behind it, and whether it is shared or a machine.
const CAST: [(&str, Option<&str>, Option<u8>, Kind); 9] = [
    ("alice", Some("alice@example.org"), Some(0), Kind::Person),
    ("oidc:Alice@Example.org", Some("alice@example.org"), Some(0), Kind::Person),
    ("bob", Some("bob@example.org"), Some(1), Kind::Person),
    ("BOB", Some("Bob@example.org"), Some(1), Kind::Person),
    ("carol", None, Some(2), Kind::Person),
    ("dave", None, Some(3), Kind::Person),
    ("system:serviceaccount:shop:argocd", None, None, Kind::Machine),
    ("admin", None, None, Kind::Shared),
    ("admin-alice", Some("alice@example.org"), Some(0), Kind::Shared),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Person,
    Machine,
    Shared,
}

/// One of the cast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Actor(usize);

impl Actor {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..CAST.len()).map(Self)
    }

    pub fn author(self) -> Author {
        let (username, email, ..) = CAST[self.0];
        email.map_or_else(|| named(username), |email| with_email(username, email))
    }

    /// The human being behind it, if it is known to be one.
    pub fn human(self) -> Option<u8> {
        CAST[self.0].2
    }

    pub fn is_person(self) -> bool {
        CAST[self.0].3 == Kind::Person
    }
}

pub fn actor() -> impl Strategy<Value = Actor> {
    (0..CAST.len()).prop_map(Actor)
}

/// What is wrong with a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    Seal,
    Backdated,
    OtherRequest,
    OtherDigest,
    /// Deleted a minute later, and kept in storage by a finalizer.
    Withdrawn,
}

#[derive(Clone, Copy, Debug)]
pub struct Statement {
    pub by: Actor,
    pub says: Says,
    pub second: i64,
    pub flaw: Flaw,
}

/// All that a decision rests on.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub requester: Option<Actor>,
    pub statements: Vec<Statement>,
    pub annotation: Option<Statement>,
    /// The newest annotation that the controller had seen, and whether it had seen it gone.
    pub seen: Option<(i64, bool)>,
    pub without_rights: BTreeSet<Actor>,
    pub min: u32,
    /// Claims that were approved and those that are there now; the target is claim 1 or the namespace.
    pub approved: BTreeSet<u8>,
    pub live: BTreeSet<u8>,
    pub frozen: bool,
    pub phase: Phase,
    pub usable_from: Option<i64>,
    pub valid_until: Option<i64>,
    pub same_target: bool,
    pub same_digest: bool,
    pub executor: Actor,
    pub now: i64,
}

fn statement() -> impl Strategy<Value = Statement> {
    let says =
        prop_oneof![12 => Just(Says::Approve), 1 => Just(Says::Reject), 1 => Just(Says::Hold), 1 => Just(Says::Cancel)];
    let flaw = prop_oneof![
        12 => Just(Flaw::None), 1 => Just(Flaw::Seal), 1 => Just(Flaw::Backdated),
        1 => Just(Flaw::OtherRequest), 1 => Just(Flaw::OtherDigest), 1 => Just(Flaw::Withdrawn)
    ];
    let second = prop_oneof![12 => 1..HOUR, 1 => APPROVAL_CLOCK - 2..APPROVAL_CLOCK + 3];
    (actor(), says, second, flaw).prop_map(|(by, says, second, flaw)| Statement { by, says, second, flaw })
}

/// The annotation approves, and may precede its request.
fn annotation() -> impl Strategy<Value = Statement> {
    let second = prop_oneof![6 => -HOUR..HOUR, 1 => -APPROVAL_CLOCK - 2..-APPROVAL_CLOCK + 3];
    let flaw = prop_oneof![6 => Just(Flaw::None), 1 => Just(Flaw::OtherDigest)];
    (actor(), second, flaw).prop_map(|(by, second, flaw)| Statement { by, says: Says::Approve, second, flaw })
}

/// What was seen of it: nothing, an earlier one, itself, or a later one.
fn seen(annotation: Option<Statement>) -> impl Strategy<Value = (Option<Statement>, Option<(i64, bool)>)> {
    let second = annotation.map_or(0, |statement| statement.second);
    let at = prop_oneof![1 => Just(second - 1), 2 => Just(second), 1 => Just(second + 1)];
    let seen = proptest::option::of((at, any::<bool>()));
    seen.prop_map(move |seen| (annotation, seen))
}

fn mostly(chance: u32, value: bool) -> impl Strategy<Value = bool> {
    prop_oneof![chance => Just(value), 1 => Just(!value)]
}

pub fn scenario() -> impl Strategy<Value = Scenario> {
    let people = (
        proptest::option::weighted(0.7, actor()),
        proptest::collection::vec(statement(), 0..5),
        proptest::option::weighted(0.3, annotation()).prop_flat_map(seen),
        proptest::collection::btree_set(actor(), 0..2),
        prop_oneof![4 => Just(1_u32), 2 => Just(2), 1 => Just(3)],
    );
    let content = (
        proptest::collection::btree_set(1..4_u8, 1..4),
        proptest::collection::vec(any::<Index>(), 0..3),
        prop_oneof![5 => Just(None), 1 => (1..5_u8).prop_map(Some)],
        mostly(10, true),
        mostly(12, true),
        mostly(12, true),
    );
    let phase = prop_oneof![
        8 => select(vec![Phase::Executable, Phase::Executing]),
        1 => select(vec![Phase::Pending, Phase::Approved, Phase::Executed, Phase::Rejected, Phase::Cancelled, Phase::Expired]),
    ];
    let clocks = (
        phase,
        proptest::option::weighted(0.95, 0..2 * HOUR),
        proptest::option::weighted(0.95, USE_CLOCK / 2..USE_CLOCK * 2),
        prop_oneof![8 => 2 * HOUR..DAY / 2, 1 => 0..HOUR, 2 => DAY / 2..2 * DAY],
        actor(),
    );
    (people, content, clocks).prop_map(|(people, content, clocks)| {
        let (requester, statements, (annotation, seen), without_rights, min) = people;
        let (approved, gone, added, frozen, same_target, same_digest) = content;
        let (phase, usable_from, valid_until, now, executor) = clocks;
        let mut live = approved.clone();
        for index in gone {
            let any: Vec<u8> = live.iter().copied().collect();
            if any.len() > 1 {
                live.remove(index.get(&any));
            }
        }
        live.extend(added);
        Scenario {
            requester,
            statements,
            annotation,
            seen,
            without_rights,
            min,
            approved,
            live,
            frozen,
            phase,
            usable_from,
            valid_until,
            same_target,
            same_digest,
            executor,
            now,
        }
    })
}

fn numbers(claims: &BTreeSet<u8>) -> Inventory {
    inventory(claims.iter().map(|n| u128::from(*n)))
}

impl Scenario {
    /// The objects as the API server would have them.
    pub fn scene(&self) -> Scene {
        self.scene_wishing(None)
    }

    /// The same for a request that says how its data is kept.
    pub fn scene_wishing(&self, wish: Option<RetentionWish>) -> Scene {
        let requester = self.requester.map(Actor::author);
        let mut scene = Scene::of_namespace(requester.as_ref()).wishing(wish, requester.as_ref());
        scene.policies = policies_with_min(self.min);
        scene.live = numbers(&self.approved);
        // The controller's own description of the content, then everything a controller might have written.
        let described = scene.decided(TargetState::Live, 0).status;
        let mut taken = described.inventory.unwrap();
        taken.frozen = self.frozen;
        scene.request.status = Some(DeletionRequestStatus {
            phase: Some(self.phase),
            subject_digest: described.subject_digest.filter(|_| self.same_digest),
            inventory: Some(taken),
            usable_from: self.usable_from.map(time),
            valid_until: self.valid_until.map(time),
            annotation: self.seen.map(|(at, withdrawn)| SeenAnnotation { at: MicroTime(time(at).0), withdrawn }),
            ..DeletionRequestStatus::default()
        });
        scene.live = numbers(&self.approved);
        let approved = scene.live.digest().unwrap();
        for (number, statement) in self.statements.iter().enumerate() {
            scene.sign_offs.push(made(&scene, number, *statement));
        }
        scene.record = self.annotation.map(|statement| {
            let digest = if statement.flaw == Flaw::None { short(&approved) } else { "0123456789ab" };
            record(&statement.by.author(), statement.second, &scene.target.uid, digest)
        });
        scene.live = numbers(&self.live);
        scene.without_rights = self.without_rights.iter().map(|actor| actor.author().username).collect();
        if !self.same_target {
            scene.target.uid = uid(0xbad);
        }
        scene
    }

    pub fn allowed(&self) -> bool {
        self.scene().confirmed(&self.executor.author(), self.now).is_ok()
    }

    pub fn cascade_allowed(&self) -> bool {
        self.scene().cascaded(self.now).is_ok()
    }
}

fn made(scene: &Scene, number: usize, statement: Statement) -> foureyes_core::api::SignOff {
    let mut subject = subject_of(&scene.request);
    if statement.flaw == Flaw::OtherRequest {
        subject.uid = uid(0xe15e);
    }
    let digest = match statement.flaw {
        Flaw::OtherDigest => format!("subject/v1:sha256:{}", "0".repeat(64)),
        _ => scene.digest(),
    };
    let digest = (statement.says == Says::Approve).then_some(digest);
    let author = statement.by.author();
    let mut made =
        sign_off(&format!("so-{number}"), subject, statement.says, digest.as_deref(), &author, statement.second);
    match statement.flaw {
        Flaw::Seal => made.spec.verified = Some("something else".to_owned()),
        Flaw::Backdated => made.metadata.creation_timestamp = Some(time(statement.second + 16)),
        Flaw::Withdrawn => made.metadata.deletion_timestamp = Some(time(statement.second + 60)),
        Flaw::None | Flaw::OtherRequest | Flaw::OtherDigest => {}
    }
    made
}

/// Whether the deletion may go, by the rule as written down.
pub fn may_go(scenario: &Scenario) -> bool {
    let by_people = agreed(scenario, None);
    let in_time = scenario.usable_from.is_some_and(|from| from <= scenario.now && scenario.now <= from + USE_CLOCK)
        && scenario.valid_until.is_some_and(|until| scenario.now <= until);
    by_people && in_time && content_holds(scenario) && matches!(scenario.phase, Phase::Executable | Phase::Executing)
}

/// Whether a claim may go with a namespace that has been going since `now`.
pub fn may_cascade(scenario: &Scenario) -> bool {
    let since = scenario.now;
    let in_time = scenario.usable_from.is_some_and(|from| from <= since && since <= from + USE_CLOCK)
        && scenario.valid_until.is_some_and(|until| since <= until);
    // Expired may be written in the moment in which the root is let go: the clock itself decides.
    let open = !matches!(scenario.phase, Phase::Executed | Phase::Rejected | Phase::Cancelled);
    agreed(scenario, Some(since)) && in_time && content_holds(scenario) && open
}

fn content_holds(scenario: &Scenario) -> bool {
    scenario.same_target && scenario.same_digest && scenario.frozen && scenario.live.is_subset(&scenario.approved)
}

/// Whether enough people agree and none objects. In a cascade (`since`) whoever executed is not asked, rights were
/// judged before, and what was said later does not matter.
fn agreed(scenario: &Scenario, since: Option<i64>) -> bool {
    let heard = |statement: &&Statement| since.is_none_or(|since| statement.second <= since);
    let may = |actor: Actor| {
        // A right is held by a username as it was recorded.
        since.is_some() || !scenario.without_rights.contains(&actor)
    };
    let proven = scenario
        .statements
        .iter()
        .filter(heard)
        .filter(|statement| !matches!(statement.flaw, Flaw::Seal | Flaw::Backdated | Flaw::OtherRequest))
        .filter(|statement| {
            statement.flaw != Flaw::Withdrawn || since.is_some_and(|since| statement.second + 60 > since)
        });
    let mut approving: BTreeSet<u8> = BTreeSet::new();
    let requester = scenario.requester.and_then(Actor::human);
    for statement in proven.clone() {
        let by = statement.by;
        match statement.says {
            Says::Hold => return false,
            Says::Reject if may(by) => return false,
            Says::Cancel if Some(by) == scenario.requester || by.human().is_some() && by.human() == requester => {
                return false;
            }
            Says::Reject
            | Says::Cancel
            | Says::CustomerAgreed
            | Says::Release
            | Says::LegalHold
            | Says::ReleaseHold
            | Says::Supervised => {}
            Says::Approve => {
                let counts = by.is_person()
                    && by.human() != requester
                    && statement.flaw != Flaw::OtherDigest
                    && statement.second <= APPROVAL_CLOCK
                    && may(by);
                approving.extend(by.human().filter(|_| counts));
            }
        }
    }
    if let Some(statement) = scenario.annotation.as_ref().filter(heard) {
        let by = statement.by;
        let counts = by.is_person()
            && by.human() != requester
            && statement.flaw == Flaw::None
            && !scenario.requester.is_some_and(Actor::is_person)
            && scenario.seen.is_none_or(|(at, gone)| statement.second > at || statement.second == at && !gone)
            && statement.second >= -APPROVAL_CLOCK
            && may(by);
        approving.extend(by.human().filter(|_| counts));
    }
    let count = u32::try_from(approving.len()).unwrap();
    if scenario.requester.is_some_and(Actor::is_person) {
        return count >= scenario.min;
    }
    let executor = scenario.executor;
    let one_more = executor.is_person() && executor.human().is_some_and(|human| !approving.contains(&human));
    count >= scenario.min.max(2) || count >= scenario.min && (since.is_some() || one_more)
}
