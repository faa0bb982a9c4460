//! Resident memory of the real `foureyes webhook`, with more and more requests and sign-offs on a real API server.

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
use crate::{Result, objects, process};

const STEPS: [usize; 3] = [0, 1_000, 10_000];
/// After it says that it is ready: what the first reading needed is given back by then or never.
const SETTLE: Duration = Duration::from_secs(5);
const PROGRAM: &str = "webhook-measured";
const NAMESPACE: &str = "foureyes-system";

pub fn measure(cluster: &Cluster, report: &mut Report) -> Result<()> {
    eprintln!("memory of foureyes webhook");
    stand_aside(cluster)?;
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
    Ok(())
}

/// Ends everything of foureyes that would judge or follow each of the objects as it is written.
fn stand_aside(cluster: &Cluster) -> Result<()> {
    for program in ["controller", "webhook-a", "webhook-b"] {
        cluster.process(program).kill()?;
    }
    for kind in
        ["validatingwebhookconfigurations", "mutatingwebhookconfigurations", "validatingadmissionpolicybindings"]
    {
        cluster.kubectl("admin", &["delete", kind, "--all"])?.success(&format!("kubectl delete {kind}"))?;
    }
    for kind in ["signoffs", "deletionrequests"] {
        // The API server learns of the deleted configurations a moment later.
        foureyes_testbed::wait_until("the webhooks to be forgotten", Duration::from_secs(30), || {
            cluster.kubectl("admin", &["delete", kind, "--all"]).is_ok_and(|output| output.ok())
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
