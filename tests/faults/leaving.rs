//! foureyes lets go of a cluster when two people agree, and not before.

use foureyes_testbed::{Output, root, wait_for, with_four_eyes};

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

    went(&with_four_eyes(cluster, "the guard's deletion", || Ok(deletes(GUARD, &[]))).unwrap());
    // the same change lets go of the other
    went(&deletes(STAMP, &[]));
    let ended = wait_for("the change to have succeeded", PATIENCE, || {
        Ok(releases().split(' ').all(|phase| phase == "Succeeded").then_some(()))
    });
    assert!(ended.is_ok(), "{}", releases());

    runtime.block_on(saved.back(&admin));
    for configuration in [GUARD, STAMP] {
        let output = deletes(configuration, &["--dry-run=server"]);
        assert!(!output.ok() && output.text().contains("foureyes-webhooks"), "{}", output.text());
    }
}

/// As a person does it, step by step: the check says what is left, and is green when nothing refuses any more (fact 26).
#[test]
fn the_plugin_leads_out_and_its_check_is_green_at_the_end_alone() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let runtime = runtime();
    let admin = runtime.block_on(Who::is(cluster, "admin"));
    let kubectl = |args: &[&str]| cluster.kubectl("admin", args).unwrap();
    let check = || kubectl(&["foureyes", "release", "--check"]);
    let saved = runtime.block_on(Saved::everything(cluster, &admin));
    let red = |words: &str| {
        let output = check();
        assert!(!output.ok() && output.text().contains(words), "{}", output.text());
    };
    red("kubectl foureyes release");

    let led = std::thread::scope(|scope| {
        let led = scope.spawn(|| kubectl(&["foureyes", "release", "--yes", "--timeout", "120s"]));
        let path = "-o=jsonpath={range .items[?(@.spec.targets[0].name==\"foureyes-stamp\")]}{.status.phase} {.status.signOffCommand}{\"\\n\"}{end}";
        let line = wait_for("the change to say how it is signed off", PATIENCE, || {
            let lines = went(&cluster.kubectl("bob", &["-n", "foureyes-system", "get", "changerequests", path])?);
            Ok(lines
                .lines()
                .find_map(|line| line.strip_prefix("Pending "))
                .filter(|line| !line.is_empty())
                .map(str::to_owned))
        });
        let line = line.unwrap();
        // enough for whatever the policy asks where an admin asks
        for approver in ["bob", "alice"] {
            went(&cluster.shell(approver, &line).unwrap());
        }
        led.join().unwrap()
    });
    let text = led.text();
    assert!(led.ok() && text.contains("kubectl delete mutatingwebhookconfiguration/foureyes-stamp"), "{text}");
    red("kubectl delete validatingwebhookconfiguration/foureyes-guard");

    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| line.starts_with("kubectl delete")).collect();
    let [configurations, policies] = lines[..] else { panic!("{text}") };
    went(&cluster.shell("admin", configurations).unwrap());
    red("admission policies of foureyes still refuse");
    went(&cluster.shell("admin", policies).unwrap());
    let output = check();
    assert!(output.ok() && output.text().contains("may be deleted"), "{}", output.text());
    cluster.apply(&std::fs::read_to_string(root().join("config/webhook/policies.yaml")).unwrap()).unwrap();
    runtime.block_on(saved.back(&admin));
}

#[track_caller]
fn went(output: &Output) -> String {
    assert!(output.ok(), "refused:\n{}", output.text());
    output.stdout.clone()
}
