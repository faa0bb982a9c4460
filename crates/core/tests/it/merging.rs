//! How policies merge (design §3): a policy only tightens, order is free, unset is no opinion, and what can't be read
//! refuses where it selects (I 11, I 12).

use std::collections::BTreeMap;

use foureyes_core::api::{Mode, Pin};
use foureyes_core::domain::deletion::{Governance, scope};
use foureyes_core::domain::policy::{CompiledPolicy, Effective, PolicySet, compile};
use foureyes_core::index::{PolicyEntry, policy_entry, policy_set};
use foureyes_core::reason::Code;
use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::sample::select;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{labels, policies, policy};

/// A spec that another policy than `default` may have.
pub fn spec() -> impl Strategy<Value = Value> {
    let selector = prop_oneof![
        2 => Just(Value::Null),
        1 => Just(json!({"matchLabels": {"team": "a"}})),
        1 => Just(json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]})),
        1 => Just(json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]})),
    ];
    let mode = proptest::option::of(prop_oneof![Just("Off"), Just("Warn"), Just("Deny")]);
    let modes = (mode.clone(), mode.clone(), mode.clone(), mode);
    let min = proptest::option::of(1..5_u32);
    let machines =
        proptest::option::of(proptest::collection::btree_map(select(vec!["argocd", "flux"]), 0..3_u32, 0..3));
    let clock = proptest::option::of(1..1000_u32);
    let pin = proptest::option::of(select(vec!["Images", "Template"]));
    let revisions = proptest::option::of(0..6_u32);
    let days = proptest::option::of(1..100_u32);
    let kept = (days.clone(), days, proptest::option::of(select(vec!["OnApproval", "Always"])));
    let supervision = (clock.clone(), proptest::option::of(proptest::bool::ANY));
    let counts = (min, machines, revisions, clock.clone(), kept, supervision);
    (selector, modes, counts, pin, clock.clone(), clock).prop_map(|(selector, modes, counts, pin, approval, usage)| {
        let hours = |hours: Option<u32>| hours.map(|hours| format!("{hours}h"));
        let (min, machines, revisions, quiet, (days, fewest, kept), (close, refuse)) = counts;
        let machines: Option<Vec<Value>> =
            machines.map(|all| all.into_iter().map(|(name, n)| submitter(name, n)).collect());
        without_nulls(json!({
            "selector": selector,
            "enforcement": {"deletions": modes.0, "rollouts": modes.1, "creations": modes.2, "removals": modes.3},
            "approvals": {"min": min, "machineSubmitters": machines},
            "pin": pin,
            "rollback": {"revisions": revisions},
            "expiry": {"approval": hours(approval), "use": hours(usage)},
            "deletion": {"quietPeriod": hours(quiet), "retainDays": days, "minRetainDays": fewest, "keepVolumes": kept,
                         "closeWithin": hours(close), "refuseUnsupervised": refuse},
        }))
    })
}

/// An entry of machineSubmitters.
pub fn submitter(name: &str, approvals: u32) -> Value {
    json!({"serviceAccount": {"namespace": "ops", "name": name}, "approvals": approvals})
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        other => other,
    }
}

pub fn compiled(name: &str, spec: &Value) -> CompiledPolicy {
    compile(&policy(name, spec)).unwrap()
}

/// The floor, in the same fields but without a selector.
pub fn set() -> impl Strategy<Value = PolicySet> {
    (spec(), proptest::collection::vec(spec(), 0..4), any::<bool>()).prop_map(|(mut floor, others, with_floor)| {
        floor.as_object_mut().unwrap().remove("selector");
        let mut all: Vec<CompiledPolicy> =
            others.iter().zip(["a", "b", "c", "d"]).map(|(spec, name)| compiled(name, spec)).collect();
        all.extend(with_floor.then(|| compiled("default", &floor)));
        PolicySet::new(all, Vec::new())
    })
}

pub fn namespace() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop_oneof![
        Just(labels(&[])),
        Just(labels(&[("team", "a")])),
        Just(labels(&[("team", "b")])),
        Just(labels(&[("team", "z")]))
    ]
}

/// As strict in every field.
pub fn as_strict(one: &Effective, than: &Effective) -> bool {
    let machines = ["argocd", "flux", "other"].map(|name| format!("system:serviceaccount:ops:{name}"));
    one.deletions >= than.deletions
        && one.rollouts >= than.rollouts
        && one.creations >= than.creations
        && one.removals >= than.removals
        && one.pin >= than.pin
        && one.revisions <= than.revisions
        && machines.iter().all(|machine| one.asked_by_machine(machine) >= than.asked_by_machine(machine))
        && one.min_approvals >= than.min_approvals
        && one.approval_clock <= than.approval_clock
        && one.use_clock <= than.use_clock
        && one.quiet_period >= than.quiet_period
        && one.retain_days >= than.retain_days
        && one.fewest_days() >= than.fewest_days()
        && one.keep_volumes >= than.keep_volumes
        && one.close_within <= than.close_within
        && one.refuse_unsupervised >= than.refuse_unsupervised
}

fn same(one: &Effective, other: &Effective) -> bool {
    as_strict(one, other) && as_strict(other, one)
}

proptest! {
    #[test]
    fn one_more_policy_only_tightens(set in set(), spec in spec(), labels in namespace()) {
        let more = set.with("more", Some(compiled("more", &spec)));
        prop_assert!(as_strict(&more.effective(&labels).unwrap(), &set.effective(&labels).unwrap()));
    }

    #[test]
    fn order_and_repetition_of_policies_change_nothing(
        (specs, shuffled) in proptest::collection::vec(spec(), 1..5).prop_flat_map(|specs| {
            let numbered: Vec<(usize, Value)> = specs.into_iter().enumerate().collect();
            (Just(numbered.clone()), Just(numbered).prop_shuffle())
        }),
        labels in namespace(),
    ) {
        let made = |specs: &[(usize, Value)]| {
            let compiled = specs.iter().map(|(number, spec)| compiled(&format!("p{number}"), spec)).collect();
            PolicySet::new(compiled, Vec::new())
        };
        prop_assert_eq!(made(&specs), made(&shuffled));
        let twice: Vec<(usize, Value)> =
            specs.iter().cloned().chain(specs.iter().map(|(number, spec)| (number + 10, spec.clone()))).collect();
        prop_assert!(same(&made(&specs).effective(&labels).unwrap(), &made(&twice).effective(&labels).unwrap()));
    }

    #[test]
    fn a_policy_that_is_unset_or_selects_others_has_no_opinion(set in set(), spec in spec(), labels in namespace()) {
        let silent = set.with("more", Some(compiled("more", &json!({}))));
        prop_assert!(same(&silent.effective(&labels).unwrap(), &set.effective(&labels).unwrap()));
        let mut elsewhere = spec;
        elsewhere["selector"] = json!({"matchLabels": {"team": "elsewhere"}});
        let elsewhere = set.with("more", Some(compiled("more", &elsewhere)));
        prop_assert_eq!(elsewhere.effective(&labels).unwrap(), set.effective(&labels).unwrap());
    }

    /// A change of objects in two namespaces is judged as strictly as either of them would.
    #[test]
    fn what_applies_in_two_places_is_as_strict_as_both(one in set(), other in set(), labels in namespace()) {
        let (one, other) = (one.effective(&labels).unwrap(), other.effective(&labels).unwrap());
        let both = one.clone().and(&other);
        prop_assert!(as_strict(&both, &one) && as_strict(&both, &other));
        prop_assert!(same(&both, &other.clone().and(&one)));
        prop_assert!(same(&one.clone().and(&one), &one));
    }

    #[test]
    fn taking_a_policy_out_restores_what_was(set in set(), spec in spec()) {
        prop_assert_eq!(set.with("more", Some(compiled("more", &spec))).with("more", None), set);
    }

    #[test]
    fn what_can_not_be_read_refuses_where_it_selects(set in set(), labels in namespace()) {
        let entry = |spec: Value| policy_entry(&json!({"metadata": {"name": "broken"}, "spec": spec})).unwrap_err();
        let broken = json!({"selector": {"matchLabels": {"team": "a"}}, "approvals": {"min": 0}});
        let with = set.with_undecodable(entry(broken));
        let selected = labels.get("team").is_some_and(|team| team == "a");
        prop_assert_eq!(with.effective(&labels).is_err(), selected);
        let unclear = json!({"selector": {"matchLabels": 7}, "approvals": {"min": 0}});
        prop_assert!(set.with_undecodable(entry(unclear)).effective(&labels).is_err());
    }
}

#[test]
fn built_in_values_are_those_of_the_design() {
    let effective = PolicySet::default().effective(&labels(&[])).unwrap();
    assert_eq!(effective.deletions, Mode::Deny);
    assert_eq!((effective.rollouts, effective.creations, effective.removals), (Mode::Deny, Mode::Deny, Mode::Warn));
    assert_eq!((effective.pin, effective.revisions), (Pin::Images, 3));
    assert_eq!(effective.asked_by_machine("system:serviceaccount:ops:argocd"), 2);
    assert_eq!(effective.change_clock(false), SignedDuration::from_hours(24));
    assert_eq!(effective.change_clock(true), SignedDuration::from_hours(4));
    assert_eq!(effective.min_approvals, 1);
    assert_eq!(effective.approval_clock, SignedDuration::from_hours(14 * 24));
    assert_eq!(effective.use_clock, SignedDuration::from_hours(24));
    assert_eq!((effective.quiet_period, effective.retain_days), (SignedDuration::from_hours(24), 30));
    assert_eq!((effective.close_within, effective.refuse_unsupervised), (SignedDuration::from_hours(72), false));
    assert_eq!(effective.policies, []);
}

#[test]
fn the_floor_may_loosen_the_built_in_values_and_others_may_not() {
    let loose = json!({"enforcement": {"deletions": "Off"}, "expiry": {"approval": "1000h", "use": "100h"}});
    let floor = policies(&[("default", loose.clone())]).effective(&labels(&[])).unwrap();
    assert_eq!((floor.deletions, floor.use_clock), (Mode::Off, SignedDuration::from_hours(100)));
    let other = policies(&[("other", loose)]).effective(&labels(&[])).unwrap();
    assert_eq!((other.deletions, other.use_clock), (Mode::Deny, SignedDuration::from_hours(24)));
    assert_eq!(other.approval_clock, SignedDuration::from_hours(14 * 24));
}

#[rstest]
#[case(json!({"approvals": {"min": 0}}))]
#[case(json!({"approvals": {"min": 11}}))]
#[case(json!({"approvals": {"min": -1}}))]
#[case(json!({"approvals": {"min": "two"}}))]
#[case(json!({"expiry": {"use": "soon"}}))]
#[case(json!({"expiry": {"use": "0s"}}))]
#[case(json!({"expiry": {"approval": "-3h"}}))]
#[case(json!({"expiry": {"approval": ""}}))]
#[case(json!({"deletion": {"quietPeriod": "-1s"}}))]
#[case(json!({"deletion": {"quietPeriod": "a day"}}))]
#[case(json!({"deletion": {"retainDays": 0}}))]
#[case(json!({"deletion": {"closeWithin": "0s"}}))]
#[case(json!({"deletion": {"closeWithin": "soon"}}))]
#[case(json!({"enforcement": {"deletions": "Maybe"}}))]
#[case(json!({"enforcement": {"rollouts": "deny"}}))]
#[case(json!({"approvals": {"machineSubmitters": [submitter("argocd", 3)]}}))]
#[case(json!({"pin": "Tags"}))]
#[case(json!({"rollback": {"revisions": 21}}))]
#[case(json!({"rollback": {"revisions": -1}}))]
#[case(json!({"systemNamespaces": ["cert-manager"]}))]
#[case(json!({"standardChanges": []}))]
#[case(json!({"freeChanges": [{"annotation": "checksum/config"}]}))]
#[case(json!({"rolloutResources": []}))]
#[case(json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Near", "values": ["b"]}]}}))]
#[case(json!({"identities": {"shared": [{"username": "admin"}]}}))]
#[case(json!({"environments": []}))]
#[case(json!({"delegations": []}))]
#[case(json!({"deletion": {"exempt": {"storageClasses": ["scratch"]}}}))]
#[case(json!({"deletion": {"additionalKinds": []}}))]
fn nonsense_and_what_only_the_floor_may_say_does_not_compile(#[case] spec: Value) {
    assert!(entry("other", &spec).is_err(), "{spec}");
}

#[rstest]
#[case(json!({"selector": {}}))]
#[case(json!({"selector": {"matchLabels": {"team": "a"}}}))]
#[case(json!({"identities": {"shared": [{}]}}))]
#[case(json!({"identities": {"people": [{"username": "a", "group": "b"}]}}))]
#[case(json!({"deletion": {"exempt": {"claimSelector": {"matchLabels": {"scratch": "yes"}}}}}))]
#[case(json!({"freeChanges": [{"annotation": "sidecar.istio.io/inject"}]}))]
#[case(json!({"standardChanges": [{"targets": [], "imagePattern": "a*", "actors": [{}]}]}))]
#[case(json!({"rolloutResources": [{"group": "apps", "kind": "Deployment", "template": ".spec.selector"}]}))]
#[case(json!({"rolloutResources": [{"group": "a.b", "kind": "C", "template": "spec"}]}))]
#[case(json!({"rolloutResources": [{"group": "a.b", "kind": "C", "template": ".spec..template"}]}))]
#[case(json!({"rolloutResources": [{"group": "a.b", "kind": "C", "template": ".a"}, {"group": "a.b", "kind": "C", "template": ".b"}]}))]
#[case(json!({"deletion": {"exempt": {"claimSelector": {"matchExpressions": [{"key": "x", "operator": "Exists"}]}}}}))]
#[case(json!({"deletion": {"additionalKinds": [{"group": "velero.io", "kind": "Backup", "guarded": "People", "loses": "a backup"}]}}))]
#[case(json!({"deletion": {"additionalKinds": [{"group": "a.b", "kind": "C", "guarded": "People", "loses": "all"}, {"group": "a.b", "kind": "C", "guarded": "People", "loses": "all"}]}}))]
#[case(json!({"environments": [{"selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}, "environment": "Production"}]}))]
fn a_floor_that_can_not_be_read_refuses_everywhere(#[case] spec: Value) {
    let set = policy_set([entry("default", &spec)]);
    for labels in [labels(&[]), labels(&[("team", "a")]), labels(&[("team", "z")])] {
        let refusal = scope(&set, true, &labels).unwrap_err();
        assert_eq!(refusal.code, Code::PolicyUndecodable);
        assert_eq!(refusal.next.unwrap().command, "kubectl get safetypolicy default -o yaml");
    }
}

fn entry(name: &str, spec: &Value) -> PolicyEntry {
    policy_entry(&json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": {"name": name}, "spec": spec,
    }))
}

#[test]
fn before_the_first_start_outside_production_and_when_off_nothing_is_governed() {
    let set = policies(&[("default", json!({}))]);
    let governs = |set: &PolicySet, started, of: &[(&str, &str)]| match scope(set, started, &labels(of)).unwrap() {
        Governance::Free(proof) => proof.as_str(),
        Governance::Governed(_) => "Governed",
    };
    assert_eq!(governs(&set, false, &[]), "NotStarted");
    assert_eq!(governs(&set, true, &[]), "Governed");
    assert_eq!(governs(&set, true, &[("foureyes.dev/environment", "non-production")]), "NonProduction");
    assert_eq!(governs(&set, true, &[("foureyes.dev/environment", "Non-Production")]), "Governed");
    assert_eq!(
        governs(&policies(&[("default", json!({"enforcement": {"deletions": "Off"}}))]), true, &[]),
        "SwitchedOff"
    );
    assert_eq!(
        governs(&policies(&[("default", json!({"enforcement": {"deletions": "Warn"}}))]), true, &[]),
        "Governed"
    );
}

#[test]
fn the_first_rule_that_matches_says_what_a_namespace_is_for() {
    let rule = |team: &str, environment: &str| json!({"selector": {"matchLabels": {"team": team}}, "environment": environment});
    let rules = json!([rule("a", "Production"), rule("a", "NonProduction"), rule("b", "NonProduction")]);
    let set = policies(&[("default", json!({"environments": rules}))]);
    assert!(set.is_production(&labels(&[("team", "a")])));
    assert!(!set.is_production(&labels(&[("team", "b")])));
    assert!(set.is_production(&labels(&[])));
    assert!(!set.is_production(&labels(&[("team", "a"), ("foureyes.dev/environment", "non-production")])));
}

/// Whom the floor trusts, another policy may trust less; whom it does not name, nobody may trust more.
#[test]
fn another_policy_trusts_machines_less_and_never_more() {
    let of = |floor: Value, other: Value| {
        let set = policies(&[("default", json!({"approvals": floor})), ("other", json!({"approvals": other}))]);
        let effective = set.effective(&labels(&[])).unwrap();
        ["argocd", "flux"].map(|name| effective.asked_by_machine(&format!("system:serviceaccount:ops:{name}")))
    };
    let trusts = |name: &str, n: u32| json!({"machineSubmitters": [submitter(name, n)]});
    assert_eq!(of(trusts("argocd", 0), json!({})), [0, 2]);
    assert_eq!(of(trusts("argocd", 0), trusts("argocd", 1)), [1, 2]);
    assert_eq!(of(trusts("argocd", 2), trusts("argocd", 0)), [2, 2]);
    assert_eq!(of(trusts("argocd", 0), trusts("flux", 0)), [0, 2]);
    assert_eq!(of(json!({"min": 3}), trusts("flux", 2)), [3, 3]);
    assert_eq!(of(json!({"machineSubmitters": [submitter("flux", 0), submitter("flux", 1)]}), json!({})), [2, 1]);
}

#[test]
fn what_the_cluster_needs_to_start_is_left_alone_beside_what_the_floor_names() {
    let set = policies(&[("default", json!({"systemNamespaces": ["cert-manager"]}))]);
    for (name, system) in [("kube-system", true), ("cert-manager", true), ("shop", false), ("", false)] {
        assert_eq!(set.floor().is_system(name), system, "{name}");
    }
}
