//! Installing foureyes as its users do, but for what has no kubelet here: its Deployments and its Job are processes of
//! this machine, each with the token of its own ServiceAccount and no other right.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize as _;
use serde_json::Value;

use crate::balancer::Backend;
use crate::binaries;
use crate::changes::with_four_eyes;
use crate::cluster::Cluster;
use crate::error::{Error, Result, While};
use crate::kubectl;
use crate::people;
use crate::supervisor::protocol::Process;
use crate::wait::wait_for;

const NAMESPACE: &str = "foureyes-system";
/// How long storage stays unused before it goes, where nobody asks for another time.
pub const QUIET_PERIOD: &str = "10s";
const PATIENCE: Duration = Duration::from_secs(60);

/// Applies `config/default`, makes the keys, starts both webhooks and the controller, and returns when deletions are
/// judged. Again, it replaces only what has changed.
pub fn install(cluster: &Cluster, quiet_period: &str, say: &dyn Fn(&str)) -> Result<()> {
    begin_with_policy(cluster, quiet_period)?;
    prepare(cluster, say)?;
    say("starting foureyes controller and two foureyes webhook");
    start(cluster)?;
    say("waiting until deletions are judged");
    wait_until_enforced(cluster)
}

/// The policy that holds from the first start on, unless foureyes is there already.
fn begin_with_policy(cluster: &Cluster, quiet_period: &str) -> Result<()> {
    if cluster.kubectl("admin", &["get", "crd", "safetypolicies.foureyes.dev"])?.ok() {
        return Ok(());
    }
    let folder = binaries::root().join("crds");
    cluster.kubectl("admin", &["apply", "-k", &folder.to_string_lossy()])?.success("kubectl apply -k crds")?;
    established(cluster)?;
    let policy = include_str!("../assets/policy.yaml").replace("QUIET_PERIOD", quiet_period);
    cluster.apply(&policy).map(drop)
}

fn established(cluster: &Cluster) -> Result<()> {
    let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    cluster.kubectl("admin", &wait)?.success("kubectl wait --for=condition=Established crd --all").map(drop)
}

/// Everything but what runs: the manifests, the tokens, the sealing key.
pub fn prepare(cluster: &Cluster, say: &dyn Fn(&str)) -> Result<()> {
    say("installing foureyes from config/default");
    // An upgrade may change the definitions, which takes an approved change and the break-glass group.
    let args = ["apply", "-f", "-", "--as=admin", "--as-group=system:masters", "--as-group=foureyes:breakglass"];
    let manifests = manifests(cluster)?;
    with_four_eyes(cluster, "the upgrade", || cluster.kubectl_with("admin", &args, Some(&manifests)))?
        .success("kubectl apply -k config/default")?;
    established(cluster)?;

    for part in ["keys", "controller", "webhook"] {
        let account = format!("foureyes-{part}");
        let token = cluster.token(NAMESPACE, &account)?;
        people::write_token(cluster, &cluster.layout().program(&account), &account, token)?;
    }
    say("making the sealing key");
    make_keys(cluster)
}

/// What `kubectl apply -k config/default` would apply, with the webhooks' Service replaced by the balancer's address.
fn manifests(cluster: &Cluster) -> Result<String> {
    let folder = binaries::root().join("config/default");
    let rendered = cluster
        .kubectl("admin", &["kustomize", &folder.to_string_lossy()])?
        .success("kubectl kustomize config/default")?;
    let mut items = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(&rendered) {
        let mut object = Value::deserialize(document)
            .map_err(|source| Error::Yaml { what: "reading config/default".into(), source })?;
        let kind = object["kind"].as_str().unwrap_or_default();
        if matches!(kind, "Deployment" | "Job" | "CronJob") {
            continue;
        }
        if kind.ends_with("WebhookConfiguration") {
            for webhook in object["webhooks"].as_array_mut().into_iter().flatten() {
                by_url(&mut webhook["clientConfig"], cluster.ports().balancer);
            }
        }
        if !object.is_null() {
            items.push(object);
        }
    }
    Ok(serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())
}

fn by_url(config: &mut Value, port: u16) {
    let path = config["service"]["path"].as_str().unwrap_or_default().to_owned();
    if let Some(config) = config.as_object_mut() {
        config.remove("service");
        config.insert("url".into(), format!("https://127.0.0.1:{port}{path}").into());
    }
}

/// What the Job does in a cluster with a kubelet.
fn make_keys(cluster: &Cluster) -> Result<()> {
    let kubeconfig = cluster.layout().program("foureyes-keys");
    let mut command = kubectl::command(&cluster.binaries().foureyes, &cluster.layout().dir, &kubeconfig);
    command.arg("keys").env("FOUREYES_NAMESPACE", NAMESPACE);
    let output = kubectl::run(command, None)?;
    let log = cluster.supervisor().log("keys");
    fs::write(&log, output.text()).at("writing", &log)?;
    output.success("foureyes keys").map(drop)
}

/// What runs, in the order in which it is started: `balancer`, `controller`, `webhook-a`, `webhook-b`.
pub fn processes(cluster: &Cluster) -> Result<[Process; 4]> {
    let ports = cluster.ports();
    let local = |port: u16| format!("127.0.0.1:{port}");
    let client_ca = cluster.layout().webhook_client_ca().display().to_string();
    let webhook = |name: &str, port: &Backend| {
        let (listen, admin) = (local(port.serving), local(port.admin));
        // the balancer knows of a leaving one within 0.1 s, where a cluster may need 10
        let lame_duck = ["--lame-duck", "2s"];
        let args = ["webhook", "--listen", &listen, "--admin", &admin, "--client-ca", &client_ca];
        foureyes(cluster, name, "foureyes-webhook", &[&args[..], &lame_duck].concat())
    };
    let admin = local(ports.controller_admin);
    let args = ["controller", "--admin", &admin, "--serving-name", "127.0.0.1"];
    let [a, b] = &ports.webhooks;
    Ok([
        balancer(cluster),
        foureyes(cluster, "controller", "foureyes-controller", &args)?,
        webhook("webhook-a", a)?,
        webhook("webhook-b", b)?,
    ])
}

fn start(cluster: &Cluster) -> Result<()> {
    let ports = cluster.ports();
    let [balancer, controller, webhooks @ ..] = processes(cluster)?;
    cluster.supervisor().run(balancer)?;
    cluster.supervisor().run(controller)?;
    // The webhooks look for their certificate every 10 s: started before it is there, they would all be late.
    wait_for_output(
        cluster,
        "the webhook's certificate",
        &["-n", NAMESPACE, "get", "secret", "foureyes-webhook-tls", r"-o=jsonpath={.data.tls\.crt}"],
    )?;
    for webhook in webhooks {
        cluster.supervisor().run(webhook)?;
    }
    cluster.wait_ready("controller", ports.controller_admin)?;
    cluster.wait_ready("webhook-a", ports.webhooks[0].admin)?;
    cluster.wait_ready("webhook-b", ports.webhooks[1].admin)
}

fn foureyes(cluster: &Cluster, name: &str, account: &str, args: &[&str]) -> Result<Process> {
    let program = cluster.binaries().foureyes.clone();
    let kubeconfig = cluster.layout().program(account).display().to_string();
    let mut env = BTreeMap::from([
        ("KUBECONFIG".to_owned(), kubeconfig),
        ("FOUREYES_NAMESPACE".to_owned(), NAMESPACE.to_owned()),
        ("RUST_BACKTRACE".to_owned(), "1".to_owned()),
        // Read by nobody: a rebuilt program and an account that was made anew, whose tokens are others, are another
        // definition, so that it replaces what runs.
        ("FOUREYES_BUILD".to_owned(), build_time(&program)?),
        ("FOUREYES_ACCOUNT".to_owned(), account_uid(cluster, account)?),
    ]);
    if let Ok(filter) = std::env::var("FOUREYES_LOG") {
        env.insert("FOUREYES_LOG".into(), filter);
    }
    Ok(Process { name: name.to_owned(), program, args: args.iter().map(|arg| (*arg).to_owned()).collect(), env })
}

fn account_uid(cluster: &Cluster, account: &str) -> Result<String> {
    let args = ["-n", NAMESPACE, "get", "serviceaccount", account, "-o=jsonpath={.metadata.uid}"];
    cluster.kubectl("admin", &args)?.success(&format!("kubectl {}", args.join(" ")))
}

fn build_time(program: &Path) -> Result<String> {
    let modified = fs::metadata(program).and_then(|meta| meta.modified()).at("looking for", program)?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(since.as_nanos().to_string())
}

fn balancer(cluster: &Cluster) -> Process {
    let ports = cluster.ports();
    let mut args = vec!["balance".to_owned(), ports.balancer.to_string()];
    args.extend(ports.webhooks.iter().map(ToString::to_string));
    Process { name: "balancer".into(), program: cluster.binaries().testbed.clone(), args, env: BTreeMap::new() }
}

/// Enforcement begins when the controller has made the policy `default` and filled in both caBundles.
fn wait_until_enforced(cluster: &Cluster) -> Result<()> {
    let bundle = "-o=jsonpath={.webhooks[0].clientConfig.caBundle}";
    wait_for_output(cluster, "the SafetyPolicy default", &["get", "safetypolicies", "default", "-o=name"])?;
    for (kind, name) in
        [("mutatingwebhookconfiguration", "foureyes-stamp"), ("validatingwebhookconfiguration", "foureyes-guard")]
    {
        wait_for_output(cluster, &format!("the caBundle of {name}"), &["get", kind, name, bundle])?;
    }
    Ok(())
}

/// Waits until kubectl prints something.
fn wait_for_output(cluster: &Cluster, what: &str, args: &[&str]) -> Result<()> {
    wait_for(what, PATIENCE, || {
        cluster.supervisor().check("controller")?;
        let found = cluster.kubectl("admin", args)?;
        Ok((found.ok() && !found.stdout.trim().is_empty()).then_some(()))
    })
}
