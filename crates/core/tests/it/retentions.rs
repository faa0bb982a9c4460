//! What is kept: who lets go of it, when it ends by itself, what is seen of it, and what nobody does to it meanwhile.

use foureyes_core::api::{
    Afterwards, Author, BackupRetention, BackupRetentionSpec, Keeper, RetentionMode, RetentionPhase, RetentionSource,
    Says, SeenKeeper, SignOff, Subject,
};
use foureyes_core::domain::inventory::Reclaim;
use foureyes_core::domain::judgement::{Right, Rights};
use foureyes_core::domain::policy::PolicySet;
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::retention::decide::{Plan, decide};
use foureyes_core::domain::retention::guard::{Deed, Touched, aliases, confirmed, deed};
use foureyes_core::domain::retention::judge::{Case, Judgement, judge, subject};
use foureyes_core::domain::retention::speaking::created;
use foureyes_core::domain::retention::{let_go, retain_until, retention_digest};
use foureyes_core::domain::speaking::Speaker;
use foureyes_core::domain::volume::VolumeFacts;
use foureyes_core::reason::Code;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use crate::support::{
    APPROVAL_CLOCK, DAY, HOUR, at, claim_target, labels, named, policies_with_min, ring, sign_off, time, uid,
    with_email,
};

/// A retention of two volumes for 30 days, made for a deletion that was seen at second 0.
struct Held {
    retention: BackupRetention,
    said: Vec<SignOff>,
    policies: PolicySet,
}

impl Held {
    fn with(mode: RetentionMode, afterwards: Afterwards) -> Self {
        let keeper = |n: u128| Keeper {
            kind: "PersistentVolume".to_owned(),
            namespace: None,
            name: format!("pv-{n}"),
            uid: uid(n),
            handle: Some(format!("csi/{n}")),
        };
        let spec = BackupRetentionSpec {
            source: Some(RetentionSource {
                request: Some("one".to_owned()),
                uid: Some(uid(77)),
                target: claim_target(),
                deleted_at: time(0),
            }),
            keepers: vec![keeper(1), keeper(2)],
            retain_days: 30,
            mode,
            afterwards,
            reason: None,
        };
        let metadata = ObjectMeta {
            name: Some("one".to_owned()),
            uid: Some(uid(1000)),
            creation_timestamp: Some(time(1)),
            ..ObjectMeta::default()
        };
        let retention = BackupRetention { metadata, spec, status: None };
        Self { retention, said: Vec::new(), policies: policies_with_min(1) }
    }

    fn governance() -> Self {
        Self::with(RetentionMode::Governance, Afterwards::Keep)
    }

    fn subject(&self) -> Subject {
        subject(&self.retention).unwrap()
    }

    fn says(mut self, who: &str, says: Says, second: i64) -> Self {
        self.speaks(&named(who), says, second);
        self
    }

    fn speaks(&mut self, who: &Author, says: Says, second: i64) {
        let digest = retention_digest(&self.retention).unwrap();
        let digest = (says == Says::Release).then_some(digest.as_str());
        let name = format!("said-{}", self.said.len());
        self.said.push(sign_off(&name, self.subject(), says, digest, who, second));
    }

    /// Everybody but mallory may approve.
    fn case<T>(&self, then: impl FnOnce(&Case<'_>) -> T) -> T {
        let mut rights = Rights::default();
        for author in self.said.iter().filter_map(|said| said.spec.author.as_ref()) {
            rights.record(author, Right::Approve, author.username != "mallory");
        }
        let effective = self.policies.effective(&labels(&[])).unwrap();
        let identities = &self.policies.floor().identities;
        let case = Case {
            retention: &self.retention,
            sign_offs: &self.said,
            ring: ring(),
            identities,
            rights: &rights,
            effective: &effective,
        };
        then(&case)
    }

    fn judged(&self, second: i64) -> Judgement {
        self.case(|case| judge(case, at(second)))
    }

    fn is_free(&self, second: i64) -> bool {
        let_go(&self.retention, &self.judged(second), at(second)).is_some()
    }

    fn guard(&self, second: i64) -> Result<Proof, Refusal> {
        self.case(|case| confirmed(case, "pv-1", "was not deleted", at(second)))
    }

    /// One look of the controller; whether each keeper is there, and survives.
    fn looks(&mut self, second: i64, keepers: [(bool, bool); 2]) -> Plan {
        let seen = keepers.iter().enumerate().map(|(n, (exists, survives))| SeenKeeper {
            name: format!("pv-{}", n + 1),
            exists: *exists,
            survives: *survives,
            size_bytes: None,
            manifest: None,
        });
        let plan = self.case(|case| decide(case, seen.collect(), at(second)).unwrap());
        self.retention.status = Some(plan.status.clone());
        plan
    }

    fn phase(&mut self, second: i64, keepers: [(bool, bool); 2]) -> RetentionPhase {
        self.looks(second, keepers).status.phase.unwrap()
    }
}

const THERE: (bool, bool) = (true, true);
const GONE: (bool, bool) = (false, false);
const PERISHABLE: (bool, bool) = (true, false);
const END: i64 = 30 * DAY + 2 * HOUR + 1;

#[test]
fn two_people_let_go_of_it_and_nobody_else() {
    let held = Held::governance().says("alice", Says::Release, 10);
    assert!(!held.is_free(20));
    for nobody in ["alice", "mallory", "ci:deploy", "admin", "system:serviceaccount:a:b"] {
        let more = Held::governance().says("alice", Says::Release, 10).says(nobody, Says::Release, 11);
        assert!(!more.is_free(20), "{nobody}");
        assert!(!more.judged(20).entries[1].counts);
    }
    let mut aliased = Held::governance();
    aliased.speaks(&with_email("alice", "a@example.org"), Says::Release, 10);
    aliased.speaks(&with_email("oidc:alice", "A@example.org"), Says::Release, 11);
    assert!(!aliased.is_free(20));
    let two = held.says("bob", Says::Release, 11);
    assert!(two.is_free(20));
    // each counts for a while
    assert!(two.is_free(10 + APPROVAL_CLOCK) && !two.is_free(11 + APPROVAL_CLOCK));
    // a stricter policy asks for more
    let three = Held { policies: policies_with_min(3), ..two };
    assert!(!three.is_free(20) && three.says("carol", Says::Release, 12).is_free(20));
}

#[test]
fn what_was_said_of_another_content_or_object_counts_for_nothing() {
    let mut held = Held::governance().says("alice", Says::Release, 10).says("bob", Says::Release, 11);
    held.retention.spec.retain_days = 31;
    assert!(!held.is_free(20), "another content");
    held.retention.spec.retain_days = 30;
    assert!(held.is_free(20));
    held.retention.metadata.uid = Some(uid(1001));
    assert!(!held.is_free(20), "restored from a backup, it has another UID");
    held.retention.metadata.uid = Some(uid(1000));
    held.said[0].metadata.deletion_timestamp = Some(time(12));
    assert!(!held.is_free(20), "withdrawn");
    held.said[0].metadata.deletion_timestamp = None;
    held.said[0].spec.author = Some(named("carol"));
    assert!(!held.is_free(20), "its seal proves it no more");
}

#[test]
fn a_phase_can_only_refuse() {
    let mut held = Held::governance().says("alice", Says::Release, 10).says("bob", Says::Release, 11);
    assert_eq!(held.guard(20).unwrap_err().code, Code::NotYetExecutable);
    assert_eq!(held.phase(20, [THERE, THERE]), RetentionPhase::ReleaseApproved);
    assert_eq!(held.guard(20).unwrap().names(), Some("one"));
    held.said.pop();
    assert_eq!(held.guard(20).unwrap_err().code, Code::DataHeld);
}

/// Clocks may be wrong by an hour, each in its own way, and change from look to look.
#[rstest]
#[case::none(Afterwards::Keep)]
#[case::purge(Afterwards::Purge)]
fn after_its_time_two_people_are_needed_unless_they_agreed_otherwise(#[case] afterwards: Afterwards) {
    let mut held = Held::with(RetentionMode::Compliance, afterwards);
    assert_eq!(held.phase(END - 1, [THERE, THERE]), RetentionPhase::Holding);
    assert_eq!(
        held.guard(END).unwrap_err().code,
        if afterwards == Afterwards::Purge { Code::NotYetExecutable } else { Code::DataHeld }
    );
    let plan = held.looks(END, [THERE, THERE]);
    assert_eq!(plan.status.phase, Some(RetentionPhase::Expired));
    assert_eq!(held.guard(END).is_ok(), afterwards == Afterwards::Purge);
    assert!(held.guard(END - 1).is_err());
    let mut held = held.says("carol", Says::LegalHold, END + 5);
    assert!(held.guard(END + 10).is_err());
    held = held.says("alice", Says::ReleaseHold, END + 6).says("bob", Says::ReleaseHold, END + 7);
    assert_eq!(held.guard(END + 10).is_ok(), afterwards == Afterwards::Purge);
    held = held.says("alice", Says::Release, END + 8).says("bob", Says::Release, END + 9);
    assert_eq!(held.phase(END + 10, [THERE, THERE]), RetentionPhase::ReleaseApproved);
    assert!(held.guard(END + 10).is_ok());
}

/// Whoever holds what they want gone, and waits, has not asked anybody.
#[test]
fn what_one_person_holds_never_ends_without_another() {
    let mut held = Held::with(RetentionMode::Governance, Afterwards::Purge);
    held.retention.spec.source = None;
    let plan = held.looks(END + DAY, [THERE, THERE]);
    assert_eq!(plan.status.phase, Some(RetentionPhase::Expired));
    assert_eq!(plan.status.waiting_for.as_deref(), Some("release by 2 people"));
    assert!(!held.is_free(END + DAY));
    assert_eq!(held.guard(END + DAY).unwrap_err().code, Code::DataHeld);
    let held = held.says("alice", Says::Release, END + DAY).says("bob", Says::Release, END + DAY);
    assert!(held.is_free(END + DAY + 1));
}

/// By hand volumes are held, under names that the controller never needs, until two people let go of them.
#[rstest]
#[case("mine", "PersistentVolume", Afterwards::Keep, None)]
#[case("pv-pvc-1aca5fb7-6adb-4d0b-9db2-511f2ff82c41-x7kzq", "PersistentVolume", Afterwards::Keep, None)]
#[case("mine", "PersistentVolume", Afterwards::Purge, Some(Code::RequestInvalid))]
#[case("one-1aca5fb7-6adb-4d0b-9db2-511f2ff82c41", "PersistentVolume", Afterwards::Keep, Some(Code::RequestInvalid))]
#[case("pvc-data-0123456789ab", "PersistentVolume", Afterwards::Keep, Some(Code::RequestInvalid))]
#[case("mine", "VolumeSnapshotContent", Afterwards::Keep, Some(Code::SubjectUnknown))]
fn what_people_hold_by_hand(
    #[case] name: &str,
    #[case] kind: &str,
    #[case] afterwards: Afterwards,
    #[case] expected: Option<Code>,
) {
    let mut retention = Held::with(RetentionMode::Governance, afterwards).retention;
    retention.metadata.name = Some(name.to_owned());
    retention.spec.source = None;
    retention.spec.keepers.truncate(1);
    retention.spec.keepers[0].kind = kind.to_owned();
    let mut volume = VolumeFacts::default();
    volume.volume.uid = uid(1).into();
    volume.volume.name = "pv-1".into();
    volume.volume.handle = Some("csi/1".into());
    volume.volume.reclaim = Reclaim::Retain;
    let volumes = [(Box::from("pv-1"), volume)].into();
    let rights = [(Box::default(), true)].into();
    let alice = named("alice");
    let speaker = |is_controller| Speaker {
        author: &alice,
        dry_run: false,
        may_request: false,
        may_approve: false,
        open: 0,
        is_controller,
    };
    let code =
        |speaker: &Speaker<'_>| created(speaker, &retention, &volumes, &rights).err().map(|refusal| refusal.code);
    assert_eq!(code(&speaker(false)), expected);
    assert_eq!(code(&speaker(true)), None);
}

#[test]
fn nobody_lets_go_of_what_complies_before_its_time() {
    let early = Held::with(RetentionMode::Compliance, Afterwards::Keep);
    let early = early.says("alice", Says::Release, 10).says("bob", Says::Release, END - 5).says(
        "carol",
        Says::Release,
        END - 4,
    );
    assert!(!early.is_free(20) && !early.is_free(END) && !early.is_free(END + 5));
    assert!(early.says("alice", Says::Release, END + 1).says("bob", Says::Release, END + 1).is_free(END + 5));
}

#[test]
fn a_legal_hold_ends_by_two_who_have_spoken_after_it() {
    let released = || Held::governance().says("alice", Says::Release, 10).says("bob", Says::Release, 11);
    let holds = |held: &Held| held.judged(100).holds.len();
    let held = released().says("carol", Says::LegalHold, 12);
    assert!(!held.is_free(100));
    let one = held.says("alice", Says::ReleaseHold, 13).says("alice", Says::ReleaseHold, 14).says(
        "mallory",
        Says::ReleaseHold,
        15,
    );
    assert_eq!(holds(&one), 1);
    let two = one.says("carol", Says::ReleaseHold, 16);
    assert_eq!((holds(&two), two.is_free(100)), (0, true));
    // what was said of one hold, or within the same second, says nothing of the next
    let next = two.says("carol", Says::LegalHold, 16);
    assert_eq!(holds(&next), 1);
    let between = released()
        .says("carol", Says::LegalHold, 12)
        .says("alice", Says::ReleaseHold, 13)
        .says("dave", Says::LegalHold, 14)
        .says("bob", Says::ReleaseHold, 15);
    assert_eq!((holds(&between), between.is_free(100)), (2, false));
    // it is not withdrawn, whatever became of its object
    let mut withdrawn = released().says("carol", Says::LegalHold, 12);
    withdrawn.said[2].metadata.deletion_timestamp = Some(time(13));
    assert!(!withdrawn.is_free(100));
}

#[test]
fn what_is_missing_is_told_by_whether_it_had_been_let_go_of() {
    let mut held = Held::governance();
    assert_eq!(held.phase(5, [THERE, THERE]), RetentionPhase::Holding);
    let plan = held.looks(6, [THERE, PERISHABLE]);
    assert_eq!(plan.status.phase, Some(RetentionPhase::Violated));
    assert!(plan.events[0].warning && plan.events[0].note.contains("pv-2"), "{:?}", plan.events);
    // what was only in danger is as it was; what is gone stays gone
    assert_eq!(held.phase(7, [THERE, THERE]), RetentionPhase::Holding);
    let plan = held.looks(8, [GONE, THERE]);
    assert_eq!((plan.status.phase, plan.status.lost), (Some(RetentionPhase::Violated), Some(1)));
    assert!(plan.events[0].warning && plan.events[0].note.contains("pv-1"));
    assert_eq!(plan.status.keepers[0].name, "pv-1");
    assert!(held.looks(9, [GONE, THERE]).events.is_empty(), "it is said once");
    let mut held = held.says("alice", Says::Release, 10).says("bob", Says::Release, 11);
    assert_eq!(held.phase(12, [GONE, THERE]), RetentionPhase::ReleaseApproved);
    // a hold on what is left
    let mut held = held.says("carol", Says::LegalHold, 13);
    let plan = held.looks(14, [GONE, GONE]);
    assert_eq!((plan.status.lost, plan.status.purged), (Some(1), Some(1)), "it went after it was let go of");
    let intact = plan.status.conditions.iter().find(|known| known.type_ == "KeepersIntact").unwrap();
    assert_eq!((intact.status.as_str(), intact.reason.as_str()), ("False", "KeeperMissing"));
    assert!(intact.message.contains("pv-1") && !intact.message.contains("pv-2"), "{}", intact.message);
}

#[test]
fn it_is_purged_once_all_of_it_went_after_it_was_let_go_of() {
    let mut held = Held::governance().says("alice", Says::Release, 10).says("bob", Says::Release, 11);
    assert_eq!(held.phase(12, [THERE, THERE]), RetentionPhase::ReleaseApproved);
    assert_eq!(held.phase(13, [GONE, PERISHABLE]), RetentionPhase::ReleaseApproved);
    assert_eq!(held.phase(14, [GONE, GONE]), RetentionPhase::Purged);
    assert_eq!(held.phase(14 + APPROVAL_CLOCK, [GONE, GONE]), RetentionPhase::Purged);
    let mut expired = Held::with(RetentionMode::Governance, Afterwards::Purge);
    assert_eq!(expired.phase(END, [THERE, THERE]), RetentionPhase::Expired);
    assert_eq!(expired.phase(END + 1, [GONE, THERE]), RetentionPhase::Expired);
    assert_eq!(expired.phase(END + 2, [GONE, GONE]), RetentionPhase::Purged);
    let mut kept = Held::with(RetentionMode::Governance, Afterwards::Keep);
    assert_eq!(kept.phase(END, [THERE, THERE]), RetentionPhase::Expired);
    assert_eq!(kept.phase(END + 1, [GONE, GONE]), RetentionPhase::Violated);
}

#[test]
fn the_restored_is_held_from_its_restoration_on() {
    let mut held = Held::governance();
    held.retention.metadata.creation_timestamp = Some(time(40 * DAY));
    assert!(retain_until(&held.retention) > at(70 * DAY));
    held.retention.metadata.creation_timestamp = None;
    held.retention.spec.source = None;
    assert_eq!(retain_until(&held.retention), jiff::Timestamp::MAX);
}

fn facts(change: &serde_json::Value) -> VolumeFacts {
    let mut volume = json!({
        "metadata": {"name": "pv-1", "uid": uid(1)},
        "spec": {"persistentVolumeReclaimPolicy": "Retain", "storageClassName": "fast",
                 "csi": {"driver": "csi", "volumeHandle": "1"},
                 "claimRef": {"namespace": "shop", "name": "data", "uid": "c-1"}},
    });
    for (key, value) in change.as_object().unwrap() {
        volume["spec"][key] = value.clone();
    }
    VolumeFacts::of(&serde_json::from_value(volume).unwrap())
}

#[rstest]
#[case(json!({}), None)]
#[case(json!({"persistentVolumeReclaimPolicy": "Delete"}), Some(Deed::Perishable))]
#[case(json!({"persistentVolumeReclaimPolicy": "Recycle"}), Some(Deed::Perishable))]
#[case(json!({"persistentVolumeReclaimPolicy": null}), Some(Deed::Perishable))]
#[case(json!({"claimRef": null}), Some(Deed::Unreserved))]
#[case(json!({"claimRef": {"namespace": "shop", "name": "data"}}), None)]
#[case(json!({"claimRef": {"namespace": "shop", "name": "data", "uid": ""}}), None)]
#[case(json!({"claimRef": {"namespace": "shop", "name": "data", "uid": "live"}}), None)]
#[case(json!({"claimRef": {"namespace": "shop", "name": "data", "uid": "nobody"}}), Some(Deed::Unreserved))]
#[case(json!({"claimRef": {"namespace": "eve", "name": "data"}}), Some(Deed::Unreserved))]
#[case(json!({"claimRef": {"namespace": "shop", "name": "other", "uid": "live"}}), Some(Deed::Unreserved))]
#[case(json!({"storageClassName": "scratch"}), Some(Deed::Reclassed))]
fn deeds_are_told_from_what_is_harmless(#[case] change: serde_json::Value, #[case] expected: Option<Deed>) {
    let live = |claim: &foureyes_core::domain::volume::ClaimRef| claim.uid.as_deref() == Some("live");
    assert_eq!(deed(&facts(&json!({})), &facts(&change), Touched::default(), live), expected);
    // towards Retain, and from nobody to somebody, everything is free
    let blank = facts(&json!({"persistentVolumeReclaimPolicy": "Delete", "claimRef": null}));
    assert_eq!(deed(&blank, &facts(&change), Touched::default(), live), None);
}

#[rstest]
#[case(json!({}), true, false)]
#[case(json!({"persistentVolumeReclaimPolicy": "Delete"}), true, true)]
#[case(json!({"claimRef": null}), true, true)]
#[case(json!({"claimRef": {"namespace": "eve", "name": "data"}}), true, true)]
#[case(json!({}), false, true)]
fn another_object_for_the_same_data_only_brings_it_home(
    #[case] change: serde_json::Value,
    #[case] known: bool,
    #[case] expected: bool,
) {
    let home = known.then(|| Box::from("shop"));
    assert_eq!(aliases(None, &facts(&change), &[home]), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// No sequence of one person's statements, under whatever name, lets go of anything.
    #[test]
    fn one_person_never_lets_go_alone(said in proptest::collection::vec((0..3_u8, 0..3_usize, 0..1000_i64), 0..12)) {
        let mut held = Held::governance();
        for (says, name, second) in said {
            let says = [Says::Release, Says::LegalHold, Says::ReleaseHold][usize::from(says)];
            let name = ["eve", "oidc:eve", "Eve"][name];
            held.speaks(&with_email(name, "eve@example.org"), says, second);
        }
        prop_assert!(!held.is_free(2000));
    }

    /// A hold that comes last stops everything, whatever was said before.
    #[test]
    fn a_hold_only_refuses(said in proptest::collection::vec((0..3_u8, 0..4_usize, 0..1000_i64), 0..12)) {
        let mut held = Held::with(RetentionMode::Governance, Afterwards::Purge);
        for (says, name, second) in said {
            let says = [Says::Release, Says::LegalHold, Says::ReleaseHold][usize::from(says)];
            held.speaks(&named(["alice", "bob", "carol", "dave"][name]), says, second);
        }
        held.speaks(&named("dave"), Says::LegalHold, 1000);
        prop_assert!(!held.is_free(2000) && !held.is_free(END + 1));
    }

    /// Whatever the clocks of the controller and the guard show, back or forward by an hour from look to look: nothing
    /// ends early, and its end never comes nearer.
    #[test]
    fn no_clock_ends_it_early(
        begun in -HOUR..=HOUR,
        looks in proptest::collection::vec((0..31 * DAY, -HOUR..=HOUR), 1..20),
    ) {
        let mut held = Held::with(RetentionMode::Governance, Afterwards::Purge);
        if let Some(source) = held.retention.spec.source.as_mut() {
            source.deleted_at = time(begun);
        }
        held.retention.metadata.creation_timestamp = Some(time(begun));
        let mut looks = looks;
        looks.sort_unstable();
        let mut until: Option<Time> = None;
        for (second, wrong) in looks {
            let plan = held.looks(second + wrong, [THERE, THERE]);
            prop_assert!(until <= plan.status.retain_until);
            until = plan.status.retain_until.clone();
            if second < 30 * DAY {
                prop_assert_eq!(plan.status.phase, Some(RetentionPhase::Holding));
                prop_assert!(held.guard(second - wrong).is_err());
            }
        }
    }
}
