//! With the controller stopped what was signed off still goes, to its end (facts 12, 36), and nothing else does: the
//! status says Executable all the time, and the guard decides from what it reads itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::thread;
use std::time::Duration;

use foureyes_testbed::{Cluster, Environment, Output, wait_until};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(150);

struct Stage {
    cluster: Cluster,
}

impl Stage {
    fn runs(&self, person: &str, args: &[&str], object: Option<&Value>) -> Output {
        self.cluster.kubectl_with(person, args, object.map(Value::to_string).as_deref()).unwrap()
    }

    #[track_caller]
    fn does(&self, person: &str, args: &[&str]) -> String {
        self.runs(person, args, None).success(&format!("{person}: kubectl {args:?}")).unwrap()
    }

    fn field(&self, object: &[&str], path: &str) -> String {
        self.does("admin", &[&["get"], object, &[&format!("-o=jsonpath={path}")]].concat())
    }

    #[track_caller]
    fn eventually(&self, what: &str, mut probe: impl FnMut(&Self) -> bool) {
        wait_until(what, PATIENCE, || probe(self)).unwrap();
    }

    fn production(&self, claims: &[&str]) -> String {
        let namespace = self.cluster.namespace("alone", Environment::Production).unwrap();
        for claim in claims {
            self.claim(&namespace, claim);
        }
        namespace
    }

    fn claim(&self, namespace: &str, name: &str) {
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": namespace, "name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        self.runs("admin", &["create", "-f", "-"], Some(&claim)).success("kubectl create").unwrap();
        self.eventually("the claim to be bound", |stage| {
            stage.field(&["-n", namespace, "pvc", name], "{.status.phase}") == "Bound"
        });
    }

    /// alice asks for the deletion of an object and bob signs it off; the name of the request.
    fn approved(&self, kind: &str, namespace: Option<&str>, name: &str) -> String {
        let place = namespace.map_or_else(Vec::new, |namespace| vec!["-n", namespace]);
        let uid = self.field(&[&place[..], &[kind, name]].concat(), "{.metadata.uid}");
        let mut target = json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid});
        if let Some(namespace) = namespace {
            target["namespace"] = json!(namespace);
        }
        let request = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest",
            "metadata": {"generateName": "alone-"}, "spec": {"target": target, "reason": "no longer needed"}});
        let created = self.runs("alice", &["create", "-f", "-", "-o=name"], Some(&request));
        let created = created.success("kubectl create").unwrap();
        let request = created.trim().rsplit('/').next().unwrap().to_owned();
        let mut line = String::new();
        self.eventually("the line to sign it off with", |stage| {
            line = stage.field(&["del", &request], "{.status.signOffCommand}");
            !line.is_empty()
        });
        self.cluster.shell("bob", &line).unwrap().success(&line).unwrap();
        self.eventually("the release", |stage| stage.field(&["del", &request], "{.status.phase}") == "Executable");
        request
    }

    fn sign_off(&self, person: &str, request: &str, says: &str) -> Output {
        let uid = self.field(&["del", request], "{.metadata.uid}");
        let object = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOff", "metadata": {"generateName": "alone-"},
            "spec": {"subject": {"kind": "DeletionRequest", "name": request, "uid": uid}, "says": says}});
        self.runs(person, &["create", "-f", "-"], Some(&object))
    }

    #[track_caller]
    fn refused(&self, code: &str, args: &[&str]) {
        let output = self.runs("eve", args, None);
        assert!(!output.ok() && output.text().contains(&format!("[{code}]")), "not {code}:\n{}", output.text());
    }

    fn gone(&self, object: &[&str]) -> bool {
        self.does("admin", &[&["get", "--ignore-not-found", "-o=name"], object].concat()).is_empty()
    }
}

#[test]
fn what_was_signed_off_goes_to_its_end_and_nothing_else_does() {
    let stage = Stage { cluster: Cluster::start("alone").unwrap() };
    let place = stage.production(&["a", "b"]);
    let volumes = ["a", "b"].map(|claim| stage.field(&["-n", &place, "pvc", claim], "{.spec.volumeName}"));
    let (grown, other) = (stage.production(&["a"]), stage.production(&["once", "held", "unsaid", "never"]));
    let short = stage.production(&["late"]);
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": short}});
    let policy = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": {"name": short},
                        "spec": {"selector": selector, "expiry": {"use": "20s"}}});
    stage.runs("admin", &["create", "-f", "-"], Some(&policy)).success("kubectl create").unwrap();
    let going = stage.approved("Namespace", None, &place);
    stage.approved("Namespace", None, &grown);
    let [once, held, unsaid] =
        ["once", "held", "unsaid"].map(|claim| stage.approved("PersistentVolumeClaim", Some(&other), claim));
    let late = stage.approved("PersistentVolumeClaim", Some(&short), "late");
    let until = stage.field(&["del", &late], "{.status.validUntil}").parse::<jiff::Timestamp>().unwrap();

    let controller = stage.cluster.process("controller");
    controller.stop().unwrap();
    stage.does("eve", &["delete", "namespace", &place, "--wait=false"]);

    // it has begun, whatever the status says
    for (person, says) in [("carol", "Hold"), ("bob", "Reject"), ("alice", "Cancel")] {
        let said = stage.sign_off(person, &going, says);
        assert!(!said.ok() && said.text().contains("[RequestInUse]"), "{says}: {}", said.text());
    }
    // what has changed since only the guard can know
    stage.claim(&grown, "more");
    stage.refused("InventoryGrown", &["delete", "namespace", &grown, "--wait=false"]);
    stage.sign_off("carol", &held, "Hold").success("Hold").unwrap();
    stage.refused("OnHold", &["-n", &other, "delete", "pvc", "held", "--wait=false"]);
    let uid = stage.field(&["del", &unsaid], "{.metadata.uid}");
    let said = stage.does("bob", &["get", "signoffs", &format!("--field-selector=spec.subject.uid={uid}"), "-o=name"]);
    stage.does("bob", &["delete", said.trim()]);
    stage.refused("SignOffMissing", &["-n", &other, "delete", "pvc", "unsaid", "--wait=false"]);
    stage.refused("DeletionNotRequested", &["-n", &other, "delete", "pvc", "never", "--wait=false"]);
    stage.does("eve", &["-n", &other, "delete", "pvc", "once"]);
    stage.claim(&other, "once");
    stage.refused("DeletionNotRequested", &["-n", &other, "delete", "pvc", "once", "--wait=false"]);
    let left = Duration::try_from(until.duration_since(jiff::Timestamp::now())).unwrap_or_default();
    thread::sleep(left + Duration::from_secs(1));
    stage.refused("RequestEnded", &["-n", &short, "delete", "pvc", "late", "--wait=false"]);
    for request in [&going, &once, &held, &unsaid, &late] {
        assert_eq!(stage.field(&["del", request], "{.status.phase}"), "Executable", "somebody wrote a status");
    }

    stage.eventually("the namespace to be gone", |stage| stage.gone(&["namespace", &place]));
    for volume in &volumes {
        assert_eq!(stage.field(&["pv", volume], "{.spec.persistentVolumeReclaimPolicy}"), "Retain");
    }
    controller.start_ready().unwrap();
    for (request, phase) in
        [(&going, "Executed"), (&once, "Executed"), (&held, "Approved"), (&unsaid, "Pending"), (&late, "Expired")]
    {
        stage.eventually(phase, |stage| stage.field(&["del", request], "{.status.phase}") == phase);
    }
    // what outlived the namespace while nobody looked is held from now on
    let held = stage.field(&["bkr", &going], "{.spec.keepers[*].name}");
    assert!(volumes.iter().all(|volume| held.contains(volume.as_str())), "{held}");
    for (namespace, claim) in [(&grown, "a"), (&grown, "more"), (&other, "held"), (&other, "once"), (&short, "late")] {
        assert_eq!(stage.field(&["-n", namespace, "pvc", claim], "{.metadata.deletionTimestamp}"), "");
    }
}
