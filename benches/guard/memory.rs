//! Resident memory of the real `foureyes webhook`, with more and more requests and sign-offs on a real API server, and of
//! the controller with a long history of changes; and that an idle cluster is left alone.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foureyes_testbed::Cluster;
use foureyes_testbed::supervisor::protocol::Process;

use crate::client::Endpoint;
use crate::report::{Report, Target};
use crate::{Result, changes, objects, process};

const STEPS: [usize; 3] = [0, 1_000, 10_000];
/// After it says that it is ready: what the first reading needed is given back by then or never.
const SETTLE: Duration = Duration::from_secs(5);
const CHANGES: usize = 10_000;
const RECORDS: usize = 2_000;
const LONG: Duration = Duration::from_secs(300);
/// Long enough for anything that happens every minute.
const IDLE: Duration = Duration::from_secs(70);
const PROGRAM: &str = "webhook-measured";
const NAMESPACE: &str = "foureyes-system";

/// With deletions.
pub fn requests(cluster: &Cluster, report: &mut Report) -> Result<()> {
    eprintln!("memory of foureyes webhook");
    let mut written = 0;
    for step in STEPS {
        objects::write(cluster, written..step)?;
        written = step;
        let webhook = Webhook::start(cluster)?;
        thread::sleep(SETTLE);
        let pid = cluster.process(PROGRAM).pid()?.ok_or("the webhook is gone")?;
        let (resident, most) = (process::memory(pid, "VmRSS")?, process::memory(pid, "VmHWM")?);
        let what = format!("memory, {step} requests and sign-offs");
        if step == 10_000 {
            report.figure(&what, resident, "MB", Target::AtMost(25.0));
        } else {
            report.note(&what, format!("{resident:.1} MB"));
        }
        report.note(format!("{what}, peak"), format!("{most:.1} MB"));
        drop(webhook);
    }
    forget(cluster, &["signoffs", "deletionrequests"])
}

/// With changes and records; the controller's, too.
pub fn changes(cluster: &Cluster, report: &mut Report) -> Result<()> {
    eprintln!("memory with changes, and what an idle cluster costs");
    changes::write(cluster, CHANGES, RECORDS)?;
    let webhook = Webhook::start(cluster)?;
    thread::sleep(SETTLE);
    resident(cluster, PROGRAM, "memory of the webhook, 10,000 changes and 2,000 records", 30.0, report)?;
    drop(webhook);
    controller(cluster, report)
}

fn resident(cluster: &Cluster, program: &str, what: &str, limit: f64, report: &mut Report) -> Result<()> {
    let pid = cluster.process(program).pid()?.ok_or_else(|| format!("{program} is gone"))?;
    report.figure(what, process::memory(pid, "VmRSS")?, "MB", Target::AtMost(limit));
    Ok(())
}

/// Once it has looked at everything it has nothing to do.
fn controller(cluster: &Cluster, report: &mut Report) -> Result<()> {
    cluster.process("controller").start_ready()?;
    let pid = cluster.process("controller").pid()?.ok_or("the controller is gone")?.to_string();
    foureyes_testbed::wait_for("the controller to have nothing to do", LONG, || {
        let cpu = || process::cpu(&pid).map_err(|error| foureyes_testbed::Error::Other(error.to_string()));
        let before = cpu()?;
        thread::sleep(SETTLE);
        Ok((cpu()?.saturating_sub(before) < SETTLE / 100).then_some(()))
    })?;
    resident(cluster, "controller", "memory of the controller beside them", 60.0, report)?;
    let before = written(cluster)?;
    thread::sleep(IDLE);
    let writes = written(cluster)?.saturating_sub(before);
    let what = format!("writes of foureyes on an idle cluster in {} s", IDLE.as_secs());
    #[expect(clippy::cast_precision_loss)]
    report.figure(what, writes as f64, "", Target::AtMost(0.0));
    Ok(())
}

/// How many writes to our kinds, and events about them, the API server has counted.
fn written(cluster: &Cluster) -> Result<u64> {
    let metrics = cluster.kubectl("admin", &["get", "--raw", "/metrics"])?.success("kubectl get --raw /metrics")?;
    let counted = metrics.lines().filter(|line| line.starts_with("apiserver_request_total{"));
    let ours = counted.filter(|line| {
        let has =
            |label: &str, values: &[&str]| values.iter().any(|value| line.contains(&format!("{label}=\"{value}\"")));
        has("verb", &["POST", "PUT", "PATCH", "APPLY", "DELETE"])
            && (has("group", &["foureyes.dev", "admissionregistration.k8s.io"])
                || has("resource", &["secrets", "configmaps"]))
    });
    let numbers = ours.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(numbers.sum::<f64>() as u64)
}

/// Ends everything of foureyes that would judge or follow each of the objects as it is written.
pub fn stand_aside(cluster: &Cluster) -> Result<()> {
    for program in ["controller", "webhook-a", "webhook-b"] {
        cluster.process(program).kill()?;
    }
    for kind in
        ["validatingadmissionpolicybindings", "validatingwebhookconfigurations", "mutatingwebhookconfigurations"]
    {
        // The API server learns of the deleted policies a moment later.
        foureyes_testbed::wait_until(&format!("{kind} to go"), LONG, || {
            cluster.kubectl("admin", &["delete", kind, "--all"]).is_ok_and(|output| output.ok())
        })?;
    }
    forget(cluster, &["signoffs", "deletionrequests"])
}

/// Deletes all objects of these cluster-wide kinds, each kind in one request.
fn forget(cluster: &Cluster, kinds: &[&str]) -> Result<()> {
    for kind in kinds {
        let path = format!("/apis/foureyes.dev/v1alpha1/{kind}");
        // The API server learns of the deleted configurations a moment later.
        foureyes_testbed::wait_until("the webhooks to be forgotten", LONG, || {
            cluster.kubectl("admin", &["delete", "--raw", &path]).is_ok_and(|output| output.ok())
        })?;
    }
    Ok(())
}

/// One more `foureyes webhook`, with the rights of the shipped one.
pub struct Webhook<'a> {
    cluster: &'a Cluster,
    pub endpoint: Endpoint,
}

impl<'a> Webhook<'a> {
    pub fn start(cluster: &'a Cluster) -> Result<Self> {
        let (port, admin) = (free()?, free()?);
        let local = |port: u16| format!("127.0.0.1:{port}");
        let args = ["webhook", "--listen", &local(port), "--admin", &local(admin), "--lame-duck", "0s"];
        let kubeconfig = cluster.layout().program("foureyes-webhook").display().to_string();
        let env = [("KUBECONFIG", kubeconfig.as_str()), ("FOUREYES_NAMESPACE", NAMESPACE)];
        cluster.supervisor().run(Process {
            name: PROGRAM.to_owned(),
            program: cluster.binaries().foureyes.clone(),
            args: args.map(str::to_owned).to_vec(),
            env: BTreeMap::from(env.map(|(name, value)| (name.to_owned(), value.to_owned()))),
        })?;
        cluster.wait_ready(PROGRAM, admin)?;
        let get = ["-n", NAMESPACE, "get", "secret", "foureyes-webhook-tls", r"-o=jsonpath={.data.ca\.crt}"];
        let ca = cluster.kubectl("admin", &get)?.success("kubectl get secret foureyes-webhook-tls")?;
        let roots = String::from_utf8(STANDARD.decode(ca.trim())?)?;
        Ok(Self { cluster, endpoint: Endpoint { port, roots } })
    }
}

impl Drop for Webhook<'_> {
    fn drop(&mut self) {
        // Should it still run, the cluster ends it.
        let _ = self.cluster.process(PROGRAM).kill();
    }
}

fn free() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
