//! An approved deletion and an approved change, confirmed live: real people, requests, sign-offs and seals, the real
//! `foureyes webhook`, and the real API server that it asks.

use foureyes_testbed::Cluster;
use serde_json::{Value, json};

use crate::body::Deletion;
use crate::child::Server;
use crate::latency::{Lane, race, tell};
use crate::memory::Webhook;
use crate::place::Place;
use crate::report::{Report, Target};
use crate::{Result, SIZES, USUAL, rollout};

const NAME: &str = "reports";
const WARM_UP: usize = 50;
const ROUNDS: usize = 500;

pub fn measure(cluster: &Cluster, report: &mut Report) -> Result<()> {
    eprintln!("an approved deletion and an approved change, confirmed live");
    let (approved, change) = (Approved::prepare(cluster)?, Change::prepare(cluster)?);
    let webhook = Webhook::start(cluster)?;
    let floor = Server::start(&["floor"])?;
    for size in SIZES {
        let deletion = approved.deletion().review(size * 1000);
        let mut lanes = vec![
            Lane::new(&floor.endpoint, &deletion, "\"allowed\":true")?,
            Lane::new(&webhook.endpoint, &deletion, "\"decision\":\"Confirmed\"")?,
        ];
        // A live Deployment, twice, is more than the smallest size.
        if let Some(review) = change.review(size * 1000) {
            lanes.push(Lane::new(&webhook.endpoint, &review, "\"decision\":\"Confirmed\"")?);
        }
        race(&mut lanes, WARM_UP, ROUNDS)?;
        tell(report, &format!("floor beside it, {size} KB"), &lanes[0]);
        for (what, lane) in ["deletion", "change"].iter().zip(&lanes[1..]) {
            tell(report, &format!("{what} confirmed, {size} KB"), lane);
            let (name, p50) = (format!("{what} confirmed, {size} KB, p50"), lane.quantile(0.5).as_secs_f64() * 1e3);
            match (*what, size) {
                ("deletion", USUAL) => report.figure(name, p50, "ms", Target::AtMost(10.0)),
                _ => report.note(name, format!("{p50:.1} ms")),
            }
        }
    }
    Ok(())
}

/// A claim whose deletion bob has signed off for alice, so that eve may delete it.
struct Approved<'a> {
    place: Place<'a>,
    uid: String,
    volume: String,
}

impl<'a> Approved<'a> {
    fn prepare(cluster: &'a Cluster) -> Result<Self> {
        let place = Place::new(cluster, "shop")?;
        let claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": { "namespace": place.namespace, "name": NAME },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        });
        place.run("admin", &["create", "-f", "-"], Some(&claim))?;
        place.wait("the claim to be bound", "pvc/reports", ".status.phase", |phase| phase == "Bound")?;
        let uid = place.field("pvc/reports", ".metadata.uid")?;
        let volume = place.field("pvc/reports", ".spec.volumeName")?;
        let approved = Self { place, uid, volume };
        approved.sign_off()?;
        Ok(approved)
    }

    fn deletion(&self) -> Deletion<'_> {
        Deletion { user: "eve", namespace: &self.place.namespace, name: NAME, uid: &self.uid, volume: &self.volume }
    }

    fn sign_off(&self) -> Result<()> {
        let target = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": self.place.namespace,
            "name": NAME,
            "uid": self.uid,
        });
        let request = json!({
            "apiVersion": "foureyes.dev/v1alpha1",
            "kind": "DeletionRequest",
            "metadata": { "name": NAME },
            "spec": { "target": target, "reason": "no longer needed" },
        });
        self.place.run("alice", &["create", "-f", "-"], Some(&request))?;
        let request = "deletionrequest/reports";
        self.place.sign_off(request)?;
        self.place.wait("the request to be executable", request, ".status.phase", |phase| phase == "Executable")?;
        Ok(())
    }
}

/// A Deployment that runs by an approved change, and the next version of it, approved and not yet rolled out.
struct Change {
    old: Value,
    new: Value,
}

impl Change {
    fn prepare(cluster: &Cluster) -> Result<Self> {
        let place = Place::new(cluster, "web")?;
        let mut wanted = rollout::deployment(&place.namespace, rollout::ONE);
        wanted["metadata"] = json!({"namespace": place.namespace, "name": "web"});
        Self::ask(&place, &wanted)?;
        place.run("eve", &["create", "-f", "-"], Some(&wanted))?;
        wanted["spec"]["template"]["spec"]["containers"][0]["image"] = json!(rollout::TWO);
        Self::ask(&place, &wanted)?;
        let get = ["-n", &place.namespace, "get", "deployment", "web", "-o=json"];
        let old: Value = serde_json::from_str(&place.run("admin", &get, None)?)?;
        let mut new = old.clone();
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!(rollout::TWO);
        Ok(Self { old, new })
    }

    /// eve is refused, alice pastes the line that the refusal shows, and bob signs it off.
    fn ask(place: &Place<'_>, wanted: &Value) -> Result<()> {
        let wanted = wanted.to_string();
        let refused = place.cluster.kubectl_with("eve", &["apply", "-f", "-"], Some(&wanted))?;
        let text = refused.text();
        let line = text.lines().map(str::trim).find(|line| line.ends_with("| kubectl create -f -"));
        let line = line.ok_or_else(|| format!("no refusal with a ready line: {text}"))?;
        let created = place.cluster.shell("alice", line)?.success(line)?;
        let request = created.split_whitespace().next().unwrap_or_default();
        place.sign_off(request)?;
        place.wait("the change to be approved", request, ".status.phase", |phase| phase == "Approved")?;
        Ok(())
    }

    /// Nothing where it can't be as small as that.
    fn review(&self, bytes: usize) -> Option<Vec<u8>> {
        rollout::update("eve", &self.old, &self.new, bytes)
    }
}
