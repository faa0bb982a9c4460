//! An approved deletion, confirmed live: real people, request, sign-off and seals, the real `foureyes webhook`, and the
//! real API server that it asks.

use std::time::Duration;

use foureyes_testbed::{Cluster, Environment, wait_for};
use serde_json::{Value, json};

use crate::body::Deletion;
use crate::child::Server;
use crate::latency::{Lane, race, tell};
use crate::memory::Webhook;
use crate::report::{Report, Target};
use crate::{Result, SIZES, USUAL};

const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "reports";
const WARM_UP: usize = 50;
const ROUNDS: usize = 500;

pub fn measure(cluster: &Cluster, report: &mut Report) -> Result<()> {
    eprintln!("an approved deletion, confirmed live");
    let approved = Approved::prepare(cluster)?;
    let webhook = Webhook::start(cluster)?;
    let floor = Server::start(&["floor"])?;
    for size in SIZES {
        let review = approved.deletion().review(size * 1000);
        let mut lanes = [
            Lane::new(&floor.endpoint, &review, "\"allowed\":true")?,
            Lane::new(&webhook.endpoint, &review, "\"decision\":\"Confirmed\"")?,
        ];
        race(&mut lanes, WARM_UP, ROUNDS)?;
        let [floor, confirmed] = &lanes;
        tell(report, &format!("floor beside it, {size} KB"), floor);
        tell(report, &format!("confirmed, {size} KB"), confirmed);
        let p50 = confirmed.quantile(0.5).as_secs_f64() * 1e3;
        let what = format!("confirmed, {size} KB, p50");
        if size == USUAL {
            report.figure(what, p50, "ms", Target::AtMost(10.0));
        } else {
            report.note(what, format!("{p50:.1} ms"));
        }
    }
    Ok(())
}

/// A claim whose deletion bob has signed off for alice, so that eve may delete it.
struct Approved<'a> {
    cluster: &'a Cluster,
    namespace: String,
    uid: String,
    volume: String,
}

impl<'a> Approved<'a> {
    fn prepare(cluster: &'a Cluster) -> Result<Self> {
        let namespace = cluster.namespace("shop", Environment::Production)?;
        let mut approved = Self { cluster, namespace, uid: String::new(), volume: String::new() };
        approved.claim()?;
        approved.sign_off()?;
        Ok(approved)
    }

    fn deletion(&self) -> Deletion<'_> {
        Deletion { user: "eve", namespace: &self.namespace, name: NAME, uid: &self.uid, volume: &self.volume }
    }

    fn run(&self, person: &str, args: &[&str], stdin: Option<&Value>) -> foureyes_testbed::Result<String> {
        let stdin = stdin.map(ToString::to_string);
        self.cluster.kubectl_with(person, args, stdin.as_deref())?.success(&format!("kubectl {}", args.join(" ")))
    }

    fn field(&self, kind: &str, path: &str) -> foureyes_testbed::Result<String> {
        self.run("admin", &["-n", &self.namespace, "get", kind, NAME, &format!("-o=jsonpath={{{path}}}")], None)
    }

    fn wait(&self, what: &str, kind: &str, path: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let probe = || Ok(Some(self.field(kind, path)?).filter(|value| wanted(value)));
        Ok(wait_for(what, PATIENCE, probe)?)
    }

    fn claim(&mut self) -> Result<()> {
        let claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": { "namespace": self.namespace, "name": NAME },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        });
        self.run("admin", &["create", "-f", "-"], Some(&claim))?;
        self.wait("the claim to be bound", "pvc", ".status.phase", |phase| phase == "Bound")?;
        self.uid = self.field("pvc", ".metadata.uid")?;
        self.volume = self.field("pvc", ".spec.volumeName")?;
        Ok(())
    }

    fn sign_off(&self) -> Result<()> {
        let target = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": self.namespace,
            "name": NAME,
            "uid": self.uid,
        });
        let request = json!({
            "apiVersion": "foureyes.dev/v1alpha1",
            "kind": "DeletionRequest",
            "metadata": { "name": NAME },
            "spec": { "target": target, "reason": "no longer needed" },
        });
        self.run("alice", &["create", "-f", "-"], Some(&request))?;
        let command =
            self.wait("the command to sign off with", "deletionrequest", ".status.signOffCommand", |text| {
                !text.is_empty()
            })?;
        self.cluster.shell("bob", &command)?.success(&command)?;
        self.wait("the request to be executable", "deletionrequest", ".status.phase", |phase| phase == "Executable")?;
        Ok(())
    }
}
