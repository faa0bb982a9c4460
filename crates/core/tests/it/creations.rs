//! What is new, what goes, and where anything of it is governed at all.

use foureyes_core::api::Mode;
use foureyes_core::domain::deletion::Governance;
use foureyes_core::domain::inventory::Controller;
use foureyes_core::domain::rollout::decide::{Doing, removed_freely, scope};
use rstest::rstest;
use serde_json::{Value, json};

use crate::changes::{Rollout, by_digest, floor, removal, version};
use crate::rollouts::{approved, word};
use crate::support::{labels, named};

#[test]
fn what_is_new_needs_its_digest_and_what_was_there_comes_back() {
    let mut rollout = Rollout::of(None);
    assert_eq!(word(rollout.created(&version(1), &named("eve"), 1)), "Recorded");
    assert_eq!(word(rollout.created(&version(2), &named("eve"), 1)), "RolloutNotRequested");
    rollout.known = None;
    assert_eq!(word(rollout.created(&version(1), &named("eve"), 1)), "RolloutNotRequested");
    let mut new = approved(by_digest(&version(2)));
    new.known = None;
    assert_eq!(word(new.created(&version(2), &named("eve"), 20)), "Confirmed");
}

#[test]
fn what_runs_is_removed_by_a_change_that_says_so() {
    assert_eq!(word(Rollout::of(None).removed(&named("eve"), 1)), "RemovalNotRequested");
    assert_eq!(word(approved(by_digest(&version(1))).removed(&named("eve"), 20)), "RemovalNotRequested");
    assert_eq!(word(approved(removal()).removed(&named("eve"), 20)), "Confirmed");
    let owner = Controller { group: "apps".into(), kind: "Deployment".into(), name: "web".into() };
    let collector = named("system:serviceaccount:kube-system:generic-garbage-collector");
    let eve = named("eve");
    for (runs, going, owner, author, expected) in [
        (false, false, None, &eve, "NotRunning"),
        (true, true, None, &eve, "Collected"),
        (true, false, Some(&owner), &collector, "Collected"),
        (true, false, Some(&owner), &eve, "judged"),
        (true, false, None, &collector, "judged"),
        (true, false, None, &eve, "judged"),
    ] {
        let proof = removed_freely(runs, going, owner, author);
        assert_eq!(proof.as_ref().map_or("judged", |proof| proof.as_str()), expected);
    }
}

#[rstest]
#[case("shop", &[], true, json!({}), "Governed Deny Deny Warn")]
#[case("shop", &[], false, json!({}), "NotStarted NotStarted NotStarted")]
#[case("kube-system", &[], true, json!({}), "SystemNamespace SystemNamespace SystemNamespace")]
#[case("ingress", &[], true, json!({"systemNamespaces": ["ingress"]}), "SystemNamespace SystemNamespace SystemNamespace")]
#[case("shop", &[("foureyes.dev/environment", "non-production")], true, json!({}), "NonProduction NonProduction NonProduction")]
#[case("shop", &[], true, json!({"enforcement": {"rollouts": "Off", "creations": "Warn", "removals": "Deny"}}), "SwitchedOff Warn Deny")]
fn each_thing_asked_has_its_own_mode(
    #[case] namespace: &str,
    #[case] labelled: &[(&str, &str)],
    #[case] started: bool,
    #[case] policy: Value,
    #[case] expected: &str,
) {
    let all = [Doing::Rollout, Doing::Creation, Doing::Removal];
    let words = all.map(|doing| match scope(&floor(&policy), started, namespace, &labels(labelled), doing).unwrap() {
        Governance::Free(proof) => proof.as_str().to_owned(),
        Governance::Governed(effective) => match doing.mode(&effective) {
            Mode::Off => unreachable!(),
            Mode::Warn => "Warn".to_owned(),
            Mode::Deny => "Deny".to_owned(),
        },
    });
    assert_eq!(words.join(" "), expected.trim_start_matches("Governed "));
}
