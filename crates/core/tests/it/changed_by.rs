//! The rule of two people for changes (design §2): who asked, who signed off, whom the policy trusts, whether it may be
//! rolled out; and that no one person gets there.

use foureyes_core::api::{Author, Says};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use crate::changes::{Rollout, by_digest, by_images, change, floor, version};
use crate::scenario::{Actor, actor};
use crate::support::{HOUR, named, with_email};

const ARGOCD: &str = "system:serviceaccount:ops:argocd";

fn identity(name: &str) -> Author {
    match name {
        "alice" => with_email("alice", "alice@example.org"),
        "alice/" => named("oidc:Alice@example.org"),
        "argocd" => named(ARGOCD),
        name => named(name),
    }
}

fn trusts(approvals: u32) -> Value {
    let account = json!({"namespace": "ops", "name": "argocd"});
    json!({"approvals": {"machineSubmitters": [{"serviceAccount": account, "approvals": approvals}]}})
}

/// Requester | approvals | policy | whether anybody may roll it out. A requester `-` is none, `?alice` one whose seal
/// does not hold.
#[rstest]
#[case("alice", "bob", json!({}), true)]
#[case("alice", "", json!({}), false)]
#[case("alice", "alice", json!({}), false)]
#[case("alice", "alice/", json!({}), false)]
#[case("alice", "argocd", json!({}), false)]
#[case("alice", "admin", json!({}), false)]
#[case("alice", "bob", json!({"approvals": {"min": 2}}), false)]
#[case("alice", "bob bob", json!({"approvals": {"min": 2}}), false)]
#[case("alice", "bob carol", json!({"approvals": {"min": 2}}), true)]
// Nobody else's execution stands for an approval, as it does with deletions.
#[case("argocd", "bob", json!({}), false)]
#[case("argocd", "bob carol", json!({}), true)]
#[case("-", "bob", json!({}), false)]
#[case("-", "bob carol", json!({}), true)]
#[case("admin", "bob", json!({}), false)]
#[case("admin", "bob carol", json!({}), true)]
#[case("?alice", "bob", json!({}), false)]
#[case("?alice", "bob carol", json!({}), true)]
// Whom the policy trusts, and only whom it trusts.
#[case("argocd", "", trusts(0), true)]
#[case("argocd", "", trusts(1), false)]
#[case("argocd", "bob", trusts(1), true)]
#[case("argocd", "bob", trusts(2), false)]
#[case("-", "", trusts(0), false)]
#[case("?argocd", "", trusts(0), false)]
#[case("?argocd", "bob", trusts(1), false)]
#[case("alice", "", trusts(0), false)]
#[case("admin", "", trusts(0), false)]
#[case("system:serviceaccount:shop:argocd", "", trusts(0), false)]
fn two_people(#[case] requester: &str, #[case] approvals: &str, #[case] policy: Value, #[case] goes: bool) {
    let asks = Some(requester.trim_start_matches('?')).filter(|name| *name != "-").map(identity);
    let mut request = change("Normal", &[by_digest(&version(2))], asks.as_ref());
    if requester.starts_with('?') {
        request.spec.requester.as_mut().unwrap().seal = Some("v1.forged.forged".to_owned());
    }
    let mut rollout = Rollout::of(Some(request)).with(&policy);
    for (name, second) in approvals.split_whitespace().zip(10..) {
        rollout = rollout.approved_by(&identity(name), second);
    }
    for executor in ["carol", "argocd", "admin", "alice"] {
        assert_eq!(rollout.applied(&version(2), &identity(executor), 90).is_ok(), goes, "{executor}");
    }
}

fn standard(pattern: &str) -> Value {
    let target = json!({"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web"});
    json!({"standardChanges": [{"targets": [target], "imagePattern": pattern, "actors": [{"username": "alice"}]}]})
}

#[rstest]
#[case("Standard", "alice", "registry.example.org/*", true)]
#[case("Standard", "alice", "other.example.org/*", false)]
#[case("Standard", "bob", "registry.example.org/*", false)]
#[case("Normal", "alice", "registry.example.org/*", false)]
fn a_standard_change_needs_nobody_where_the_policy_covers_it(
    #[case] change_type: &str,
    #[case] requester: &str,
    #[case] pattern: &str,
    #[case] goes: bool,
) {
    let target = by_images(&json!({"web": "registry.example.org/web:2"}));
    let request = change(change_type, &[target], Some(&identity(requester)));
    let rollout = Rollout::of(Some(request)).with(&standard(pattern));
    assert_eq!(rollout.applied(&version(2), &named("eve"), 20).is_ok(), goes);
    let digest = change(change_type, &[by_digest(&version(2))], Some(&identity(requester)));
    let unnamed = Rollout::of(Some(digest)).with(&standard(pattern));
    assert!(unnamed.applied(&version(2), &named("eve"), 20).is_err());
}

#[test]
fn a_sign_off_about_another_change_or_another_namespace_counts_for_nothing() {
    let rollout = |namespace: &str| {
        let request = change("Normal", &[by_digest(&version(2))], Some(&identity("alice")));
        let mut rollout = Rollout::of(Some(request)).approved_by(&named("bob"), 10);
        rollout.request.as_mut().unwrap().metadata.namespace = Some(namespace.to_owned());
        rollout
    };
    assert_eq!(rollout("shop").standing().judgement.counted.len(), 1);
    let elsewhere = rollout("elsewhere").standing();
    assert_eq!(elsewhere.judgement.counted.len(), 0);
    // Nor is its requester one there: a seal names the namespace.
    assert_eq!(elsewhere.requester, None);
    assert!(rollout("shop").standing().requester.is_some());
}

#[test]
fn a_request_that_was_changed_after_its_approval_has_none() {
    let request = change("Normal", &[by_digest(&version(2))], Some(&identity("alice")));
    let mut rollout = Rollout::of(Some(request)).approved_by(&named("bob"), 10).approved_by(&named("carol"), 11);
    rollout.request.as_mut().unwrap().spec.targets = vec![serde_json::from_value(by_digest(&version(3))).unwrap()];
    assert!(rollout.applied(&version(3), &named("eve"), 20).is_err());
    assert!(rollout.applied(&version(2), &named("eve"), 20).is_err());
}

#[derive(Clone, Debug)]
struct Case {
    requester: Option<Actor>,
    statements: Vec<(Actor, Says, i64)>,
    min: u32,
    executor: Actor,
}

fn cases(actors: impl Strategy<Value = Actor> + Clone) -> impl Strategy<Value = Case> {
    let says = prop_oneof![9 => Just(Says::Approve), 1 => Just(Says::Hold), 1 => Just(Says::Reject)];
    let statements = proptest::collection::vec((actors.clone(), says, 1..HOUR), 0..6);
    (proptest::option::of(actors), statements, 1..3_u32, actor())
        .prop_map(|(requester, statements, min, executor)| Case { requester, statements, min, executor })
}

impl Case {
    fn rollout(&self) -> Rollout {
        let requester = self.requester.map(Actor::author);
        let mut rollout = Rollout::of(Some(change("Normal", &[by_digest(&version(2))], requester.as_ref())));
        rollout.policies = floor(&json!({"approvals": {"min": self.min}}));
        for (by, says, second) in &self.statements {
            rollout.says(&by.author(), *says, *second);
        }
        rollout
    }

    fn goes(&self, rollout: &Rollout) -> bool {
        rollout.applied(&version(2), &self.executor.author(), 2 * HOUR).is_ok()
    }

    /// By the rule as written down, without the code under test.
    fn may_go(&self) -> bool {
        let asked_by = self.requester.and_then(Actor::human);
        let mut approving = std::collections::BTreeSet::new();
        for (by, says, _) in &self.statements {
            match says {
                Says::Approve => {
                    approving.extend(by.human().filter(|human| by.is_person() && Some(*human) != asked_by));
                }
                _ => return false,
            }
        }
        let by_person = self.requester.is_some_and(Actor::is_person);
        let required = if by_person { self.min } else { self.min.max(2) };
        approving.len() >= usize::try_from(required).unwrap()
    }
}

fn one_person() -> impl Strategy<Value = Actor> + Clone {
    proptest::sample::select(
        Actor::all().filter(|actor| actor.human().is_none_or(|human| human == 0)).collect::<Vec<_>>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_change_is_confirmed_when_the_model_says_so_and_only_then(case in cases(actor().boxed())) {
        prop_assert_eq!(case.goes(&case.rollout()), case.may_go());
    }

    /// alice under all her names, with every machine and shared account she may hold, as requester too.
    #[test]
    fn one_person_reaches_nothing_however_they_call_themselves(case in cases(one_person().boxed())) {
        prop_assert!(!case.goes(&case.rollout()));
    }

    #[test]
    fn an_approval_less_or_an_objection_more_allows_nothing(case in cases(actor().boxed()), by in actor()) {
        let refused = !case.goes(&case.rollout());
        let mut less = case.clone();
        if let Some(at) = less.statements.iter().position(|(_, says, _)| *says == Says::Approve) {
            less.statements.remove(at);
            prop_assert!(!refused || !less.goes(&less.rollout()));
        }
        let mut held = case;
        held.statements.push((by, Says::Hold, 1));
        prop_assert!(!held.goes(&held.rollout()));
    }

    #[test]
    fn one_more_policy_allows_nothing(case in cases(actor().boxed()), spec in crate::merging::spec(), machine in 0..3_u32) {
        let mut rollout = case.rollout();
        let mut with_trust = trusts(machine);
        with_trust["approvals"]["min"] = json!(case.min);
        rollout.policies = floor(&with_trust);
        if case.goes(&rollout) {
            return Ok(());
        }
        rollout.policies = rollout.policies.with("more", Some(crate::merging::compiled("more", &spec)));
        prop_assert!(!case.goes(&rollout));
    }
}

#[test]
fn cases_lead_to_both_answers() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let all = (0..500).map(|_| cases(actor().boxed()).new_tree(&mut runner).unwrap().current());
    let goes = all.filter(Case::may_go).count();
    assert!((30..450).contains(&goes), "{goes} of 500");
}
