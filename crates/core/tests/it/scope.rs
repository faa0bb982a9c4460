//! What scopes protection can't be loosened alone (bypasses 6, 12, 17, 23): for each rule what is accepted, and what is
//! refused with which code.

use std::collections::BTreeMap;

use foureyes_core::api::Author;
use foureyes_core::domain::deletion::{Governance, empty_namespace, govern_claim, own_namespace};
use foureyes_core::domain::inventory::{Claim, Controller, Inventory};
use foureyes_core::domain::policy::{PolicySet, is_enforced_anywhere};
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::scope::{
    AddedOwner, OwnMetadata, claim_owned, claim_unfinalized, claim_untouched, definition_changed, definition_deleted,
    environment_misspelled, exempted, namespace_finalized, namespace_owned, namespace_relabelled, namespace_scope,
    own_metadata, policy_written,
};
use foureyes_core::index::policy_entry;
use rstest::rstest;
use serde_json::json;

use crate::merging::compiled;
use crate::support::{at, claim, inventory, labels, named, policies};

const OPERATOR: &str = "system:serviceaccount:ops:operator";
const STATEFUL: &str = "system:serviceaccount:kube-system:statefulset-controller";

fn verdict(result: Result<Proof, Refusal>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(refusal) => {
            assert!(refusal.next.is_some(), "{refusal}");
            refusal.code.as_str()
        }
    }
}

/// What only a change opens; the line that asks for one is added with it.
fn loosening(result: Result<Proof, Refusal>) -> &'static str {
    result.map_or_else(|refusal| refusal.code.as_str(), |_| "ok")
}

fn breaking_glass(name: &str) -> Author {
    Author { groups: vec!["foureyes:breakglass".to_owned()], ..named(name) }
}

/// The operator may delete the claims of its databases; class `scratch` and a label exempt; `ci:*` are machines.
fn set() -> PolicySet {
    let delegation = json!({
        "serviceAccount": {"namespace": "ops", "name": "operator"},
        "ownerKind": {"group": "example.org", "kind": "Database"},
        "may": ["DeleteClaims"],
    });
    let exempt =
        json!({"storageClasses": ["scratch"], "claimSelector": {"matchLabels": {"foureyes.dev/scratch": "yes"}}});
    policies(&[(
        "default",
        json!({
            "delegations": [delegation], "deletion": {"exempt": exempt}, "identities": {"machines": [{"username": "ci:*"}]},
        }),
    )])
}

fn owned(kind: &str, group: &str, name: &str) -> Claim {
    let controller = Controller { group: group.into(), kind: kind.into(), name: name.into() };
    Claim { controller: Some(controller), ..claim(1) }
}

fn governed(set: &PolicySet, claim: &Claim, username: &str) -> &'static str {
    match govern_claim(set, true, &BTreeMap::new(), claim, username).unwrap() {
        Governance::Governed(_) => "governed",
        Governance::Free(proof) => proof.as_str(),
    }
}

#[test]
fn which_claims_go_freely() {
    let (set, plain) = (set(), claim(1));
    assert_eq!(governed(&set, &plain, "eve"), "governed");
    assert_eq!(governed(&set, &plain, OPERATOR), "governed");
    let scratch = Claim { storage_class: Some("scratch".into()), ..claim(1) };
    assert_eq!(governed(&set, &scratch, "eve"), "Exempt");
    let born = Claim { labels: labels(&[("foureyes.dev/scratch", "yes")]), ..claim(1) };
    assert_eq!(governed(&set, &born, "eve"), "Exempt");
    let other = Claim { labels: labels(&[("foureyes.dev/scratch", "no")]), ..claim(1) };
    assert_eq!(governed(&set, &other, "eve"), "governed");
    let ephemeral = Claim { name: "web-1-scratch".into(), ..owned("Pod", "", "web-1") };
    assert_eq!(governed(&set, &ephemeral, "eve"), "Ephemeral");
    let of_stateful_set = Claim { name: "data-db-0".into(), ..owned("Pod", "", "db-0") };
    assert_eq!(governed(&set, &of_stateful_set, "eve"), "governed");
    let database = owned("Database", "example.org", "main");
    assert_eq!(governed(&set, &database, OPERATOR), "Delegated");
    assert_eq!(governed(&set, &database, "eve"), "governed");
    assert_eq!(governed(&set, &database, "system:serviceaccount:shop:operator"), "governed");
    assert_eq!(governed(&set, &owned("Database", "example.com", "main"), OPERATOR), "governed");
    assert_eq!(governed(&set, &owned("Cache", "example.org", "main"), OPERATOR), "governed");
    let going = Claim { going_since: Some(at(0)), ..claim(1) };
    assert_eq!(governed(&set, &going, "eve"), "AlreadyGoing");
}

#[test]
fn a_namespace_without_data_goes_freely() {
    assert!(empty_namespace(&Inventory::default()).is_some());
    assert!(empty_namespace(&inventory([1])).is_none());
}

#[test]
fn nobody_takes_a_namespace_out_of_production_alone() {
    let set = set();
    let relabel = |old: &[(&str, &str)], new: &[(&str, &str)]| {
        loosening(namespace_relabelled(&set, "shop", &labels(old), &labels(new)))
    };
    let non_production = [("foureyes.dev/environment", "non-production")];
    assert_eq!(relabel(&[], &non_production), "EnvironmentLoosened");
    assert_eq!(relabel(&non_production, &[]), "ok");
    assert_eq!(relabel(&[], &[("team", "b")]), "ok");
}

#[test]
fn a_namespace_is_kept_by_the_strictest_of_its_modes() {
    let governed = |deletions: &str, rollouts: &str| {
        let modes = json!({"deletions": deletions, "rollouts": rollouts, "creations": "Off", "removals": "Off"});
        let set = policies(&[("default", json!({"enforcement": modes}))]);
        match namespace_scope(&set, true, &labels(&[])).unwrap() {
            Governance::Free(proof) => proof.as_str().to_owned(),
            Governance::Governed(effective) => format!("{:?}", effective.strictest()),
        }
    };
    assert_eq!(governed("Off", "Off"), "SwitchedOff");
    assert_eq!(governed("Off", "Deny"), "Deny");
    assert_eq!(governed("Warn", "Deny"), "Deny");
    assert_eq!(governed("Warn", "Off"), "Warn");
}

#[rstest]
#[case::label(None, &[], None, &[("foureyes.dev/scratch", "yes")], "ExemptionAdded")]
#[case::class(None, &[], Some("scratch"), &[], "ExemptionAdded")]
#[case::one_that_may_exempt_later(None, &[], None, &[("foureyes.dev/scratch", "no")], "ExemptionAdded")]
#[case::another_value(None, &[("foureyes.dev/a", "b")], None, &[("foureyes.dev/a", "c")], "ExemptionAdded")]
#[case::other_class(Some("fast"), &[], Some("slow"), &[], "ok")]
#[case::already(Some("scratch"), &[], Some("scratch"), &[("foureyes.dev/scratch", "yes")], "ok")]
#[case::away(None, &[("foureyes.dev/scratch", "yes")], None, &[], "ok")]
fn claims_are_exempt_from_birth_or_not_at_all(
    #[case] old_class: Option<&str>,
    #[case] old: &[(&str, &str)],
    #[case] new_class: Option<&str>,
    #[case] new: &[(&str, &str)],
    #[case] expected: &str,
) {
    let of = |class: Option<&str>, of: &[(&str, &str)]| Claim {
        storage_class: class.map(Into::into),
        labels: labels(of),
        ..claim(1)
    };
    assert_eq!(verdict(exempted(&set(), "shop/data-1", (&of(old_class, old), &of(new_class, new)))), expected);
}

#[test]
fn an_update_that_touches_no_protection_needs_no_policy() {
    let was = Claim { labels: labels(&[("foureyes.dev/scratch", "no")]), ..claim(1) };
    let untouched = |is: &Claim, removed: &[&str], annotated| {
        claim_untouched((&was, is), &[], removed, annotated).map(|proof| proof.as_str().to_owned())
    };
    let bound = Claim { volume: Some("another".into()), size: Some("9Gi".into()), ..was.clone() };
    let harmless = Some("Harmless".to_owned());
    assert_eq!(untouched(&bound, &["kubernetes.io/pvc-protection", "orphan"], false), harmless);
    assert_eq!(untouched(&was, &["example.com/keep"], false), None);
    assert_eq!(untouched(&was, &[], true), None);
    assert_eq!(untouched(&Claim { labels: labels(&[]), ..was.clone() }, &[], false), None);
    assert_eq!(untouched(&Claim { storage_class: Some("scratch".into()), ..was.clone() }, &[], false), None);
    let owner = AddedOwner { group: "apps".to_owned(), kind: "StatefulSet".to_owned(), name: "db".to_owned() };
    assert!(claim_untouched((&was, &was), &[owner], &[], false).is_none());
}

#[rstest]
#[case::nobody_adds_any("eve", "", "ConfigMap", "OwnerAdded")]
#[case::not_even_a_pod("eve", "", "Pod", "OwnerAdded")]
#[case::nor_a_machine("system:serviceaccount:shop:argocd", "example.org", "Database", "OwnerAdded")]
#[case::the_operator_its_own(OPERATOR, "example.org", "Database", "ok")]
#[case::the_operator_no_other(OPERATOR, "", "ConfigMap", "OwnerAdded")]
#[case::stateful_set(STATEFUL, "apps", "StatefulSet", "ok")]
#[case::its_pod(STATEFUL, "", "Pod:1", "ok")]
#[case::another_pod(STATEFUL, "", "Pod:data", "OwnerAdded")]
#[case::nothing_else(STATEFUL, "", "ConfigMap", "OwnerAdded")]
#[case::one_identity_for_all("system:kube-controller-manager", "apps", "StatefulSet", "ok")]
fn owners_of_claims(#[case] who: &str, #[case] group: &str, #[case] kind: &str, #[case] expected: &str) {
    let (kind, name) = kind.split_once(':').unwrap_or((kind, "one"));
    let owner = AddedOwner { group: group.to_owned(), kind: kind.to_owned(), name: name.to_owned() };
    let harmless = AddedOwner { group: "apps".to_owned(), kind: "StatefulSet".to_owned(), name: "db".to_owned() };
    assert_eq!(verdict(claim_owned(&set(), "shop/data-1", std::slice::from_ref(&owner), &named(who))), expected);
    assert_eq!(verdict(claim_owned(&set(), "shop/data-1", &[], &named(who))), "ok");
    if expected != "ok" {
        assert_eq!(verdict(claim_owned(&set(), "shop/data-1", &[harmless, owner], &named(who))), expected);
    }
}

#[rstest]
#[case("eve", "OwnerAdded")]
#[case("system:serviceaccount:ops:operator", "ok")]
#[case("ci:deploy", "ok")]
fn owners_of_namespaces(#[case] who: &str, #[case] expected: &str) {
    let owner = AddedOwner { group: "example.org".to_owned(), kind: "Tenant".to_owned(), name: "one".to_owned() };
    assert_eq!(verdict(namespace_owned(&set(), "shop", &[owner], &named(who))), expected);
    assert_eq!(verdict(namespace_owned(&set(), "shop", &[], &named("eve"))), "ok");
}

#[rstest]
#[case("eve", &["example.org/backup"], "FinalizerRemoved")]
#[case("eve", &["foregroundDeletion", "example.org/backup"], "FinalizerRemoved")]
#[case("eve", &["foregroundDeletion", "orphan", "kubernetes.io/pvc-protection"], "ok")]
#[case("eve", &[], "ok")]
#[case("system:serviceaccount:ops:operator", &["example.org/backup"], "ok")]
fn finalizers_of_claims(#[case] who: &str, #[case] removed: &[&str], #[case] expected: &str) {
    assert_eq!(verdict(claim_unfinalized(&set(), "shop", "data-1", removed, false, &named(who))), expected);
    // Once it is going, its deletion was judged.
    assert_eq!(verdict(claim_unfinalized(&set(), "shop", "data-1", removed, true, &named(who))), "ok");
}

#[rstest]
#[case("system:serviceaccount:kube-system:namespace-controller", "ok")]
#[case("system:kube-controller-manager", "ok")]
#[case("eve", "FinalizerRemoved")]
#[case("system:serviceaccount:shop:argocd", "FinalizerRemoved")]
fn finalizing_a_namespace(#[case] who: &str, #[case] expected: &str) {
    assert_eq!(verdict(namespace_finalized("shop", true, &named(who))), expected);
    assert_eq!(verdict(namespace_finalized("shop", false, &named(who))), "FinalizerRemoved");
}

#[test]
fn the_namespace_of_foureyes_goes_by_break_glass_only() {
    let delete = |name: &str, author: &Author| {
        own_namespace("foureyes-system", name, &author.groups).map_err(|refusal| refusal.code.as_str())
    };
    assert_eq!(delete("foureyes-system", &named("eve")), Err("OwnNamespaceProtected"));
    assert_eq!(delete("foureyes-system", &breaking_glass("dave")), Ok(()));
    assert_eq!(delete("shop", &named("eve")), Ok(()));
}

#[test]
fn a_misspelled_environment_is_pointed_out_where_it_is_written() {
    let key = "foureyes.dev/environment";
    let rule = json!({"selector": {"matchLabels": {"stage": "test"}}, "environment": "NonProduction"});
    let set = policies(&[("default", json!({"environments": [rule]}))]);
    let said = |old: &[(&str, &str)], new: &[(&str, &str)]| {
        environment_misspelled(&set, "shop", &labels(old), &labels(new)).is_some()
    };
    for odd in ["nonproduction", "NonProduction", "Non-Production", "staging", ""] {
        assert!(said(&[], &[(key, odd)]), "{odd}");
        assert!(said(&[(key, "production")], &[(key, odd)]), "{odd}");
        // Once is enough; and where a rule takes it out of production there is nothing to point out.
        assert!(!said(&[(key, odd)], &[(key, odd), ("team", "a")]), "{odd}");
        assert!(!said(&[], &[(key, odd), ("stage", "test")]), "{odd}");
    }
    for known in ["production", "non-production"] {
        assert!(!said(&[], &[(key, known)]), "{known}");
    }
    assert!(!said(&[(key, "staging")], &[]));
}

#[test]
fn policies_are_tightened_freely_and_loosened_by_nobody_alone() {
    let old = policies(&[("default", json!({"approvals": {"min": 2}}))]);
    let written = |min: Option<u32>, first_start: bool| {
        let new = min.map(|min| compiled("default", &json!({"approvals": {"min": min}})));
        loosening(policy_written(&old, "default", new, [], first_start))
    };
    assert_eq!(written(Some(3), false), "ok");
    assert_eq!(written(Some(2), false), "ok");
    assert_eq!(written(Some(1), false), "PolicyLoosened");
    assert_eq!(written(None, false), "PolicyLoosened");
    assert_eq!(written(Some(1), true), "ok");
}

#[test]
fn an_unreadable_policy_is_repaired_by_nobody_alone() {
    let broken = policy_entry(&json!({"metadata": {"name": "more"}, "spec": {"approvals": {"min": 0}}})).unwrap_err();
    let old = PolicySet::default().with_undecodable(broken);
    let new = compiled("more", &json!({"approvals": {"min": 1}}));
    assert_eq!(loosening(policy_written(&old, "more", Some(new), [], false)), "PolicyLoosened");
    // Whoever signs the repair off is judged by what can be read.
    assert!(old.effective(&labels(&[])).is_err() && old.readable().effective(&labels(&[])).is_ok());
}

#[test]
fn definitions_are_protected_while_anything_is_enforced() {
    const NAME: &str = "signoffs.foureyes.dev";
    assert_eq!(loosening(definition_deleted(NAME, true)), "DefinitionProtected");
    assert_eq!(loosening(definition_deleted(NAME, false)), "ok");
    let set = |mode: &str| {
        let modes = json!({"deletions": mode, "rollouts": mode, "creations": mode, "removals": mode});
        let strict = json!({"selector": {"matchLabels": {"team": "a"}}, "enforcement": {"rollouts": "Deny"}});
        policies(&[("default", json!({"enforcement": modes})), ("strict", strict)])
    };
    let team = labels(&[("team", "a")]);
    assert!(is_enforced_anywhere(&set("Deny"), []));
    assert!(!is_enforced_anywhere(&set("Warn"), []));
    assert!(is_enforced_anywhere(&set("Off"), [("shop", &team)]));
}

#[test]
fn definitions_keep_their_spec_owners_and_finalizers() {
    const NAME: &str = "signoffs.foureyes.dev";
    let old = metadata(&["o"], &["example.org/f", "foregroundDeletion"], &[]);
    let change = |new: &OwnMetadata, same_spec, going, who: &Author| {
        assert_eq!(loosening(definition_changed(NAME, same_spec, (&old, new), going, (who, false))), "ok");
        loosening(definition_changed(NAME, same_spec, (&old, new), going, (who, true)))
    };
    let eve = named("eve");
    assert_eq!(change(&old, true, false, &eve), "ok");
    assert_eq!(change(&metadata(&[], &["example.org/f"], &[("team", "a")]), true, false, &eve), "ok");
    for who in [&eve, &breaking_glass("dave")] {
        assert_eq!(change(&old, false, false, who), "DefinitionProtected");
        assert_eq!(change(&metadata(&["o", "p"], &["example.org/f"], &[]), true, false, who), "DefinitionProtected");
        assert_eq!(change(&metadata(&[], &["example.org/f", "g"], &[]), true, false, who), "DefinitionProtected");
    }
    let ended = metadata(&["o"], &[], &[]);
    for (going, who, expected) in [
        (true, "system:apiserver", "ok"),
        (false, "system:apiserver", "DefinitionProtected"),
        (true, "eve", "DefinitionProtected"),
    ] {
        assert_eq!(change(&ended, true, going, &named(who)), expected);
    }
}

#[test]
fn what_was_refused_is_called_by_its_name() {
    let old = policies(&[("default", json!({"approvals": {"min": 2}}))]);
    let looser = |name: &str| Some(compiled(name, &json!({"approvals": {"min": 1}})));
    let written = |old: &PolicySet, new| policy_written(old, "default", new, [], false).unwrap_err();
    let broken = policy_entry(&json!({"metadata": {"name": "default"}, "spec": {"approvals": {"min": 0}}}));
    let unreadable = PolicySet::default().with_undecodable(broken.unwrap_err());
    let warns = compiled("default", &json!({"enforcement": {"deletions": "Warn"}}));
    let plain = metadata(&[], &[], &[]);
    for (refusal, was) in [
        (written(&old, looser("default")), "SafetyPolicy default was not changed"),
        (written(&unreadable, looser("default")), "SafetyPolicy default was not changed"),
        (written(&PolicySet::default(), Some(warns)), "SafetyPolicy default was not created"),
        (written(&old, None), "SafetyPolicy default was not deleted"),
        (
            definition_changed("x", false, (&plain, &plain), false, (&named("eve"), true)).unwrap_err(),
            "the definition x was not changed",
        ),
        (definition_deleted("x", true).unwrap_err(), "the definition x was not deleted"),
    ] {
        assert!(refusal.sentence.starts_with(&format!("{was}: ")), "{refusal}");
    }
}

fn metadata(owners: &[&str], finalizers: &[&str], entries: &[(&str, &str)]) -> OwnMetadata {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    OwnMetadata { owners: texts(owners), finalizers: texts(finalizers), entries: labels(entries) }
}

#[test]
fn our_own_objects_keep_their_owners_finalizers_and_metadata() {
    let old = metadata(&["o"], &["example.org/f", "foregroundDeletion"], &[("foureyes.dev/a", "1"), ("team", "a")]);
    let change = |new: &OwnMetadata| verdict(own_metadata("SignOff", "so-1", &old, new));
    assert_eq!(change(&old), "ok");
    let with = |edit: fn(&mut OwnMetadata)| {
        let mut new = old.clone();
        edit(&mut new);
        change(&new)
    };
    assert_eq!(with(|new| drop(new.entries.insert("team".to_owned(), "b".to_owned()))), "ok");
    assert_eq!(with(|new| drop(new.entries.remove("team"))), "ok");
    assert_eq!(with(|new| new.owners.clear()), "ok");
    assert_eq!(with(|new| new.finalizers.retain(|entry| entry != "foregroundDeletion")), "ok");
    assert_eq!(with(|new| drop(new.owners.replace("nobody".to_owned()))), "Immutable");
    assert_eq!(with(|new| drop(new.finalizers.replace("example.org/g".to_owned()))), "Immutable");
    assert_eq!(with(|new| new.finalizers.retain(|entry| entry != "example.org/f")), "Immutable");
    assert_eq!(with(|new| drop(new.entries.insert("foureyes.dev/a".to_owned(), "2".to_owned()))), "Immutable");
    assert_eq!(with(|new| drop(new.entries.insert("foureyes.dev/b".to_owned(), "1".to_owned()))), "Immutable");
    assert_eq!(with(|new| drop(new.entries.remove("foureyes.dev/a"))), "Immutable");
}
