//! Rollouts while they are only warned about, while nobody puts on record what runs, and while no webhook looks.

use foureyes_testbed::{Cluster, Environment, Output, wait_for, with_four_eyes};
use serde_json::json;

use crate::support::{BED, PATIENCE, Who, runtime, without_webhooks};

const IMAGE: &str = "registry.example.org/web";
const NEW: &str = "[RolloutNotRequested]";

struct Place<'a> {
    cluster: &'a Cluster,
    namespace: String,
}

impl<'a> Place<'a> {
    /// Where version 1 runs with everybody's consent.
    fn new(cluster: &'a Cluster, prefix: &str) -> Self {
        let place = Self { cluster, namespace: cluster.namespace(prefix, Environment::Production).unwrap() };
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": place.namespace, "name": "web"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}},
                             "spec": {"containers": [{"name": "web", "image": format!("{IMAGE}:1")}]}},
            },
        })
        .to_string();
        let create = || cluster.kubectl_with("eve", &["create", "-f", "-"], Some(&deployment));
        went(&with_four_eyes(cluster, "the Deployment", create).unwrap());
        place.becomes("Change Seen");
        place
    }

    fn kubectl(&self, person: &str, args: &[&str]) -> Output {
        self.cluster.kubectl(person, &[&["-n", &self.namespace], args].concat()).unwrap()
    }

    fn rolls(&self, version: u32, flags: &[&str]) -> Output {
        let image = format!("web={IMAGE}:{version}");
        self.kubectl("eve", &[&["set", "image", "deployment/web", &image], flags].concat())
    }

    /// alice asks for a version with the line of its refusal, and bob signs it off; nobody rolls it out.
    fn approved(&self, version: u32) {
        let before = self.approved_changes();
        // what was signed off passes a trial, too
        let trial = || Ok(self.rolls(version, &["--dry-run=server"]));
        went(&with_four_eyes(self.cluster, &format!("version {version}"), trial).unwrap());
        assert_eq!(self.approved_changes(), before + 1);
    }

    fn approved_changes(&self) -> usize {
        let path = "-o=jsonpath={.items[?(@.status.phase==\"Approved\")].metadata.name}";
        went(&self.kubectl("admin", &["get", "changerequests", path])).split_whitespace().count()
    }

    /// The record, newest first.
    fn record(&self) -> String {
        let each = "{.how} {.outcome}{.wouldRefuse};";
        let of = format!("?(@.spec.workload.namespace==\"{}\")", self.namespace);
        let path = format!("-o=jsonpath={{range .items[{of}].status.entries[*]}}{each}{{end}}");
        let record = went(&self.kubectl("admin", &["get", "rolloutrecords", &path]));
        record.trim_end_matches(';').replace("true", " wouldRefuse")
    }

    #[track_caller]
    fn becomes(&self, expected: &str) {
        let mut last = String::new();
        let waited = wait_for("the record", PATIENCE, || {
            last = self.record();
            Ok((last == expected).then_some(()))
        });
        assert!(waited.is_ok(), "the record stayed {last:?}, and never was {expected:?}");
    }

    /// What happens while no webhook is asked.
    fn unguarded(&self, happens: impl FnOnce()) {
        runtime().block_on(async {
            let admin = Who::is(self.cluster, "admin").await;
            without_webhooks(self.cluster, &admin, async || happens()).await;
        });
    }

    /// Names of the changes that were opened for what nobody has signed off.
    fn bills(&self) -> Vec<String> {
        let path = "-o=jsonpath={.items[?(@.spec.type==\"Unauthorized\")].metadata.name}";
        let names = went(&self.kubectl("admin", &["get", "changerequests", path]));
        names.split_whitespace().map(str::to_owned).collect()
    }

    fn phases(&self) -> String {
        went(&self.kubectl("admin", &["get", "changerequests", "-o=jsonpath={.items[*].status.phase}"]))
    }

    #[track_caller]
    fn phases_become(&self, expected: &str) {
        let mut last = String::new();
        let waited = wait_for("the phases", PATIENCE, || {
            last = self.phases();
            Ok((last == expected).then_some(()))
        });
        assert!(waited.is_ok(), "the phases stayed {last:?}, and never were {expected:?}");
    }
}

#[track_caller]
fn went(output: &Output) -> String {
    assert!(output.ok(), "refused:\n{}", output.text());
    output.stdout.clone()
}

#[track_caller]
fn until(what: &str, mut probe: impl FnMut() -> bool) {
    wait_for(what, PATIENCE, || Ok(probe().then_some(()))).unwrap();
}

/// Rollouts are only warned about, on the whole cluster, until this goes.
struct Warned<'a>(&'a Cluster);

impl<'a> Warned<'a> {
    fn on(cluster: &'a Cluster) -> Self {
        set(cluster, "Warn");
        Self(cluster)
    }
}

impl Drop for Warned<'_> {
    fn drop(&mut self) {
        set(self.0, "Deny");
    }
}

fn set(cluster: &Cluster, mode: &str) {
    let patch = json!({"spec": {"enforcement": {"rollouts": mode}}}).to_string();
    let args = ["patch", "safetypolicy", "default", "--type=merge", "-p", &patch];
    let output = with_four_eyes(cluster, "the policy default", || cluster.kubectl("admin", &args));
    assert!(output.as_ref().is_ok_and(Output::ok), "rollouts are not in {mode}: {output:?}");
}

#[test]
fn where_rollouts_are_warned_about_they_go_and_are_marked() {
    let _turn = BED.alone();
    let place = Place::new(BED.cluster(), "warned");
    let warned = Warned::on(place.cluster);
    let mut last = String::new();
    until("the warning", || {
        let trial = place.rolls(2, &["--dry-run=server"]);
        last = trial.text();
        trial.ok()
    });
    assert!(last.contains("Warning: ") && last.contains(NEW), "{last}");
    let output = place.rolls(2, &[]);
    went(&output);
    let warnings: Vec<&str> = output.stderr.lines().filter(|line| line.starts_with("Warning: ")).collect();
    assert!(matches!(warnings[..], [warning] if warning.contains(NEW)), "{}", output.stderr);
    place.becomes("Unreviewed Seen wouldRefuse;Change Seen");
    assert_eq!(place.phases(), "Succeeded", "a change was opened for what was only warned about");

    // enforced again, what runs then is where everything begins
    drop(warned);
    place.becomes("Baseline Seen;Change Seen");
    until("version 3 to be refused", || place.rolls(3, &["--dry-run=server"]).text().contains(NEW));
    assert!(!place.rolls(3, &[]).ok());
    went(&place.rolls(1, &[]));
    went(&place.rolls(2, &[]));
    assert_eq!(place.phases(), "Succeeded");
}

/// A, then B, then C, and nobody saw B: it was signed off, so there is a way back to it.
#[test]
fn what_ran_while_the_controller_was_down_can_be_gone_back_to() {
    let _turn = BED.alone();
    let place = Place::new(BED.cluster(), "unseen");
    for version in [2, 3] {
        place.approved(version);
    }
    place.becomes("Change NotSeen;Change NotSeen;Change Seen");
    let controller = place.cluster.process("controller");
    controller.stop().unwrap();
    for version in [2, 3] {
        went(&place.rolls(version, &[]));
        went(&place.kubectl("admin", &["rollout", "status", "deployment/web", "--timeout=60s"]));
    }
    assert_eq!(place.record(), "Change NotSeen;Change NotSeen;Change Seen");
    went(&place.rolls(2, &["--dry-run=server"]));
    controller.start_ready().unwrap();
    place.becomes("Change Seen;Change Missed;Change Seen");
    // the one that nobody saw in use is good until its time is over
    until("the change of version 3 to end", || place.phases().matches("Approved").count() == 1);
    went(&place.rolls(2, &[]));
    place.becomes("Rollback Seen;Change Seen;Change Missed;Change Seen");
    until("the changes to end", || place.phases() == "Succeeded Succeeded Succeeded");
    assert!(place.rolls(4, &[]).text().contains(NEW));
}

/// Drift: nobody was there to refuse it, and the controller sees it all the same.
#[test]
fn what_came_through_a_gap_opens_one_change_that_ends_with_the_way_back() {
    let _turn = BED.alone();
    let place = Place::new(BED.cluster(), "drift");
    place.phases_become("Succeeded");
    assert!(place.rolls(2, &[]).text().contains(NEW));
    place.unguarded(|| drop(went(&place.rolls(2, &[]))));
    place.becomes("Unauthorised Seen;Change Seen");
    until("a change to be opened", || !place.bills().is_empty());
    let bills = place.bills();
    assert!(matches!(&bills[..], [bill] if bill.starts_with("unauthorised-web-")), "{bills:?}");

    // it runs, restarts and scales, and neither that nor another controller opens a second one
    went(&place.kubectl("eve", &["scale", "deployment/web", "--replicas=2"]));
    went(&place.kubectl("eve", &["rollout", "restart", "deployment/web"]));
    assert!(place.rolls(3, &[]).text().contains(NEW));
    let controller = place.cluster.process("controller");
    controller.stop().unwrap();
    controller.start_ready().unwrap();
    went(&place.kubectl("admin", &["rollout", "status", "deployment/web", "--timeout=60s"]));
    assert_eq!(place.record(), "Unauthorised Seen;Change Seen");

    went(&place.kubectl("eve", &["rollout", "undo", "deployment/web", "--to-revision=1"]));
    place.becomes("Rollback Seen;Unauthorised Seen;Change Seen");
    place.phases_become("RolledBack Succeeded");
    assert_eq!(place.bills(), bills);
    // there is no way back to what nobody signed off, and the review stays owed
    assert!(place.rolls(2, &[]).text().contains(NEW));
    let deleted = place.kubectl("alice", &["delete", "changerequest", &bills[0]]);
    assert!(!deleted.ok() && deleted.text().contains("[RequestInUse]"), "{}", deleted.text());
}
