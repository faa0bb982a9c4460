//! Whoever loosens a policy, or a namespace's labels, is noticed (bypass 12): each field alone, and in any mixture.

use std::collections::BTreeMap;

use foureyes_core::api::Mode;
use foureyes_core::domain::policy::{PolicySet, loosened, scope_loosened};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use crate::merging::{as_strict, compiled, namespace, set, spec, submitter};
use crate::support::{labels, policies};

fn user(name: &str) -> Value {
    json!([{"username": name}])
}

fn delegation(account: &str, kind: &str) -> Value {
    let account = json!({"namespace": "ops", "name": account});
    json!([{"serviceAccount": account, "ownerKind": {"group": "example.org", "kind": kind}, "may": ["DeleteClaims"]}])
}

fn rolls(account: &str, kind: &str) -> Value {
    let mut all = delegation(account, kind);
    all[0]["may"] = json!(["DeleteClaims", "Roll"]);
    all
}

fn standard(pattern: &str) -> Value {
    let target = json!({"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "*"});
    json!({"standardChanges": [{"targets": [target], "imagePattern": pattern, "actors": user("bot")}]})
}

fn resource(template: &str) -> Value {
    json!({"rolloutResources": [{"group": "example.org", "kind": "Service", "template": template}]})
}

fn additional(guarded: &str) -> Value {
    let kind =
        json!({"group": "s3.aws.upbound.io", "kind": "Bucket", "guarded": guarded, "loses": "all that is in it"});
    json!({"deletion": {"additionalKinds": [kind]}})
}

fn exempt_labels(value: &str) -> Value {
    json!({"deletion": {"exempt": {"claimSelector": {"matchLabels": {"foureyes.dev/scratch": value}}}}})
}

fn rule(team: &str, environment: &str) -> Value {
    json!({"environments": [{"selector": {"matchLabels": {"team": team}}, "environment": environment}]})
}

/// A field of `default`, strict and loose.
#[rstest]
#[case::enforcement(json!({"enforcement": {"deletions": "Deny"}}), json!({"enforcement": {"deletions": "Warn"}}))]
#[case::enforcement_off(json!({"enforcement": {"deletions": "Deny"}}), json!({"enforcement": {"deletions": "Off"}}))]
#[case::enforcement_unset(json!({}), json!({"enforcement": {"deletions": "Warn"}}))]
#[case::rollouts(json!({}), json!({"enforcement": {"rollouts": "Warn"}}))]
#[case::creations(json!({}), json!({"enforcement": {"creations": "Off"}}))]
#[case::removals(json!({}), json!({"enforcement": {"removals": "Off"}}))]
#[case::machine_submitters(json!({}), json!({"approvals": {"machineSubmitters": [submitter("argocd", 1)]}}))]
#[case::machine_submitters_lower(json!({"approvals": {"machineSubmitters": [submitter("argocd", 1)]}}), json!({"approvals": {"machineSubmitters": [submitter("argocd", 0)]}}))]
#[case::machine_submitters_of_many(json!({"approvals": {"min": 4}}), json!({"approvals": {"min": 4, "machineSubmitters": [submitter("argocd", 2)]}}))]
#[case::pin(json!({"pin": "Template"}), json!({}))]
#[case::revisions(json!({}), json!({"rollback": {"revisions": 4}}))]
#[case::roll(json!({"delegations": delegation("operator", "Database")}), json!({"delegations": rolls("operator", "Database")}))]
#[case::standard(json!({}), standard("registry.example.org/*"))]
#[case::standard_pattern(standard("registry.example.org/*"), standard("*"))]
#[case::free(json!({}), json!({"freeChanges": [{"annotation": "checksum/config"}]}))]
#[case::system(json!({}), json!({"systemNamespaces": ["shop"]}))]
#[case::resources(resource(".spec.template"), json!({}))]
#[case::resources_elsewhere(resource(".spec.template"), resource(".spec.other"))]
#[case::approvals(json!({"approvals": {"min": 3}}), json!({"approvals": {"min": 2}}))]
#[case::approvals_unset(json!({"approvals": {"min": 2}}), json!({}))]
#[case::approval_clock(json!({"expiry": {"approval": "1h"}}), json!({"expiry": {"approval": "1h1s"}}))]
#[case::approval_clock_unset(json!({"expiry": {"approval": "335h"}}), json!({}))]
#[case::use_clock(json!({"expiry": {"use": "1h"}}), json!({"expiry": {"use": "2h"}}))]
#[case::quiet_period(json!({"deletion": {"quietPeriod": "25h"}}), json!({"deletion": {"quietPeriod": "24h"}}))]
#[case::quiet_period_unset(json!({}), json!({"deletion": {"quietPeriod": "0s"}}))]
#[case::close_within(json!({}), json!({"deletion": {"closeWithin": "73h"}}))]
#[case::refuse_unsupervised(json!({"deletion": {"refuseUnsupervised": true}}), json!({}))]
#[case::retain_days(json!({}), json!({"deletion": {"retainDays": 29}}))]
#[case::min_retain_days(json!({}), json!({"deletion": {"minRetainDays": 29}}))]
#[case::min_retain_days_fewer(json!({"deletion": {"minRetainDays": 7}}), json!({"deletion": {"minRetainDays": 6}}))]
#[case::keep_volumes(json!({"deletion": {"keepVolumes": "Always"}}), json!({}))]
#[case::use_clock_unset(json!({}), json!({"expiry": {"use": "25h"}}))]
#[case::people(json!({}), json!({"identities": {"people": user("system:anonymous")}}))]
#[case::shared(json!({"identities": {"shared": user("admin")}}), json!({}))]
#[case::delegation(json!({}), json!({"delegations": delegation("operator", "Database")}))]
#[case::another_delegation(json!({"delegations": delegation("operator", "Database")}), json!({"delegations": delegation("operator", "Cache")}))]
#[case::classes(json!({}), json!({"deletion": {"exempt": {"storageClasses": ["scratch"]}}}))]
#[case::additional_kinds(additional("People"), json!({}))]
#[case::from_people_alone(additional("Everybody"), additional("People"))]
#[case::claims(json!({}), exempt_labels("yes"))]
#[case::other_claims(exempt_labels("yes"), exempt_labels("no"))]
#[case::environments(json!({}), rule("a", "NonProduction"))]
#[case::environments_flipped(rule("a", "Production"), rule("a", "NonProduction"))]
fn every_field_loosened_alone_is_noticed(#[case] strict: Value, #[case] loose: Value) {
    let (strict, loose) = (policies(&[("default", strict)]), policies(&[("default", loose)]));
    let of_team_a = labels(&[("team", "a")]);
    let namespaces = [("shop", &of_team_a)];
    assert!(loosened(&strict, &loose, namespaces).is_some());
}

/// The same fields the other way round, where they have a direction.
#[rstest]
#[case(json!({"enforcement": {"deletions": "Warn"}}), json!({"enforcement": {"deletions": "Deny"}}))]
#[case(json!({"approvals": {"min": 2}}), json!({"approvals": {"min": 3}}))]
#[case(json!({"enforcement": {"rollouts": "Warn"}}), json!({}))]
#[case(json!({}), json!({"enforcement": {"removals": "Deny"}}))]
#[case(json!({"approvals": {"machineSubmitters": [submitter("argocd", 0)]}}), json!({"approvals": {"machineSubmitters": [submitter("argocd", 1)]}}))]
#[case(json!({"approvals": {"machineSubmitters": [submitter("argocd", 0)]}}), json!({}))]
#[case(json!({}), json!({"pin": "Template", "rollback": {"revisions": 0}}))]
#[case(json!({}), json!({"deletion": {"keepVolumes": "Always", "minRetainDays": 30}}))]
#[case(json!({"deletion": {"minRetainDays": 7}}), json!({"deletion": {"minRetainDays": 8}}))]
#[case(json!({"deletion": {"minRetainDays": 7}}), json!({}))]
#[case(standard("*"), json!({}))]
#[case(json!({"freeChanges": [{"annotation": "checksum/config"}]}), json!({}))]
#[case(json!({"systemNamespaces": ["shop"]}), json!({}))]
#[case(json!({}), resource(".spec.template"))]
#[case(json!({}), json!({"expiry": {"approval": "335h", "use": "23h"}}))]
#[case(json!({}), json!({"identities": {"shared": user("admin")}}))]
#[case(json!({"identities": {"people": user("kubernetes-admin")}}), json!({}))]
#[case(json!({"delegations": delegation("operator", "Database")}), json!({}))]
#[case(json!({"deletion": {"exempt": {"storageClasses": ["scratch"]}}}), json!({}))]
#[case(exempt_labels("yes"), json!({}))]
#[case(json!({}), additional("People"))]
#[case(additional("People"), additional("Everybody"))]
#[case(rule("a", "NonProduction"), json!({}))]
fn tightening_is_free(#[case] loose: Value, #[case] strict: Value) {
    let (strict, loose) = (policies(&[("default", strict)]), policies(&[("default", loose)]));
    let of_team_a = labels(&[("team", "a")]);
    let namespaces = [("shop", &of_team_a)];
    assert_eq!(loosened(&loose, &strict, namespaces), None);
}

/// Machines can't sign off, but they take finalizers off and add owners: neither direction is stricter.
#[test]
fn who_counts_as_a_machine_is_widened_and_narrowed_by_nobody_alone() {
    let (with, without) = (
        policies(&[("default", json!({"identities": {"machines": user("ci:*")}}))]),
        policies(&[("default", json!({}))]),
    );
    assert!(loosened(&with, &without, []).is_some());
    assert!(loosened(&without, &with, []).is_some());
    assert_eq!(loosened(&with, &with, []), None);
}

#[test]
fn a_policy_that_is_taken_away_is_noticed_where_it_selected_something() {
    let more = json!({"selector": {"matchLabels": {"team": "a"}}, "approvals": {"min": 2}});
    let (with, without) = (policies(&[("more", more)]), PolicySet::default());
    let (of_a, of_b) = (labels(&[("team", "a")]), labels(&[("team", "b")]));
    assert!(loosened(&with, &without, [("shop", &of_a)]).is_some_and(|what| what.starts_with("shop: ")));
    assert_eq!(loosened(&with, &without, [("shop", &of_b)]), None);
    assert_eq!(loosened(&without, &with, [("shop", &of_a)]), None);
}

#[test]
fn repairing_an_unreadable_policy_ends_what_it_demands() {
    let broken =
        foureyes_core::index::policy_entry(&json!({"metadata": {"name": "more"}, "spec": {"approvals": {"min": 0}}}));
    let set = PolicySet::default();
    let with = set.with_undecodable(broken.unwrap_err());
    assert!(loosened(&with, &set, []).is_some());
    assert_eq!(loosened(&set, &with, []), None);
}

#[rstest]
#[case(&[], &[("foureyes.dev/environment", "non-production")], true)]
#[case(&[("foureyes.dev/environment", "non-production")], &[], false)]
#[case(&[("foureyes.dev/environment", "non-production")], &[("foureyes.dev/environment", "non-production"), ("team", "b")], false)]
#[case(&[], &[("foureyes.dev/environment", "production")], false)]
#[case(&[("team", "a")], &[], true)]
#[case(&[("team", "a")], &[("team", "b")], true)]
#[case(&[], &[("team", "a")], false)]
#[case(&[("team", "z")], &[("team", "test")], true)]
#[case(&[("team", "test")], &[("team", "a")], false)]
#[case(&[("team", "a")], &[("team", "a"), ("tier", "1")], false)]
fn labels_that_loosen_are_noticed(#[case] old: &[(&str, &str)], #[case] new: &[(&str, &str)], #[case] looser: bool) {
    let more = json!({"selector": {"matchLabels": {"team": "a"}}, "approvals": {"min": 2}});
    let set = policies(&[("default", rule("test", "NonProduction")), ("more", more)]);
    assert_eq!(scope_loosened(&set, &labels(old), &set, &labels(new)).is_some(), looser);
}

/// Whether a namespace with these labels, or one without any, in which something is refused is less protected.
fn protects_less(old: &PolicySet, new: &PolicySet, labels: &BTreeMap<String, String>) -> bool {
    [labels, &BTreeMap::new()].into_iter().any(|labels| {
        let (was, is) = (old.effective(labels).unwrap(), new.effective(labels).unwrap());
        [was.deletions, was.rollouts, was.creations, was.removals].contains(&Mode::Deny) && !as_strict(&is, &was)
    })
}

/// While nothing is refused yet there is nothing to loosen: machines are named and storage is exempted then.
#[rstest]
#[case("Warn", &[], None)]
#[case("Off", &[], None)]
#[case("Warn", &[("team", "a")], Some("more identities would count as people"))]
fn the_floor_is_free_until_some_namespace_is_enforced(
    #[case] mode: &str,
    #[case] shop: &[(&str, &str)],
    #[case] expected: Option<&str>,
) {
    let modes = json!({"deletions": mode, "rollouts": mode, "creations": mode, "removals": mode});
    let floor = |people: &str| json!({"enforcement": modes, "identities": {"people": user(people)}});
    let strict = json!({"selector": {"matchLabels": {"team": "a"}}, "enforcement": {"deletions": "Deny"}});
    let old = policies(&[("default", floor("one")), ("strict", strict.clone())]);
    let new = policies(&[("default", floor("two")), ("strict", strict)]);
    assert_eq!(loosened(&old, &new, [("shop", &labels(shop))]).as_deref(), expected);
}

proptest! {
    #[test]
    fn a_set_is_no_looser_than_itself(set in set(), labels in namespace()) {
        prop_assert_eq!(loosened(&set, &set, [("shop", &labels)]), None);
    }

    #[test]
    fn one_more_policy_is_free_and_taking_it_away_is_not(set in set(), spec in spec(), labels in namespace()) {
        let more = set.with("more", Some(compiled("more", &spec)));
        prop_assert_eq!(loosened(&set, &more, [("shop", &labels)]), None);
        prop_assert_eq!(loosened(&more, &set, [("shop", &labels)]).is_some(), protects_less(&more, &set, &labels));
    }

    /// For any two sets, whatever they are: looser exactly where some namespace is less protected.
    #[test]
    fn looser_is_what_protects_some_namespace_less(old in set(), new in set(), labels in namespace()) {
        prop_assert_eq!(loosened(&old, &new, [("shop", &labels)]).is_some(), protects_less(&old, &new, &labels));
    }

    #[test]
    fn a_relabelled_namespace_is_judged_by_what_applies_to_it(set in set(), old in namespace(), new in namespace()) {
        let less = !as_strict(&set.effective(&new).unwrap(), &set.effective(&old).unwrap());
        prop_assert_eq!(scope_loosened(&set, &old, &set, &new).is_some(), less);
    }
}
