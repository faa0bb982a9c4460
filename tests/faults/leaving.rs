//! foureyes lets go of a cluster when two people agree, and not before.

use foureyes_testbed::{Output, wait_for, with_four_eyes};

use crate::support::{BED, PATIENCE, Saved, Who, runtime};

const GUARD: &str = "validatingwebhookconfiguration/foureyes-guard";
const STAMP: &str = "mutatingwebhookconfiguration/foureyes-stamp";

#[test]
fn two_people_let_the_webhooks_go_and_those_that_come_after_them_are_kept_again() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let runtime = runtime();
    let admin = runtime.block_on(Who::is(cluster, "admin"));
    let kubectl = |args: &[&str]| cluster.kubectl("admin", args).unwrap();
    let deletes = |configuration: &str, flags: &[&str]| kubectl(&[&["delete", configuration], flags].concat());
    let releases = || {
        let path = "-o=jsonpath={range .items[?(@.spec.targets[0].name==\"foureyes-stamp\")]}{.status.phase} {end}";
        went(&kubectl(&["-n", "foureyes-system", "get", "changerequests", path])).trim().to_owned()
    };
    let saved = runtime.block_on(Saved::webhooks(cluster, &admin));
    assert_eq!(releases(), "");

    went(&with_four_eyes(cluster, "the guard's deletion", || Ok(deletes(GUARD, &[]))).unwrap());
    // the same change lets go of the other
    went(&deletes(STAMP, &[]));
    let ended = wait_for("the change to have succeeded", PATIENCE, || Ok((releases() == "Succeeded").then_some(())));
    assert!(ended.is_ok(), "{}", releases());

    runtime.block_on(saved.back(&admin));
    for configuration in [GUARD, STAMP] {
        let output = deletes(configuration, &["--dry-run=server"]);
        assert!(!output.ok() && output.text().contains("foureyes-webhooks"), "{}", output.text());
    }
}

#[track_caller]
fn went(output: &Output) -> String {
    assert!(output.ok(), "refused:\n{}", output.text());
    output.stdout.clone()
}
