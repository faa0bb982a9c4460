//! A running cluster: started for a test, or found again by the command line.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::binaries::{self, Binaries};
use crate::controlplane::{self, Layout, Ports};
use crate::error::{Error, Result, While};
use crate::kubectl::{self, Output};
use crate::process::Process;
use crate::programs::Programs;
use crate::supervisor::client::Supervisor;
use crate::wait::{wait_for, wait_until};
use crate::{install, people};

const BASE: &str = include_str!("../assets/base.yaml");
const PORTS: &str = "ports.json";
/// A year: longer than any cluster of the testbed lives.
const TOKEN_LIFE: &str = "--duration=8760h";
/// How long the API server may take; it answers after 3 s on an idle machine.
const START: Duration = Duration::from_secs(120);

/// What a namespace is to foureyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Production,
    NonProduction,
}

#[derive(Debug)]
pub struct Cluster {
    layout: Layout,
    ports: Ports,
    programs: Programs,
    binaries: Binaries,
    supervisor: Supervisor,
    /// The supervisor of a test's cluster, which ends when this process does and its pipe closes.
    leash: Option<Child>,
    counter: AtomicU32,
}

impl Cluster {
    /// A cluster with people and foureyes, all of it gone when this value is dropped or this process ends. `name` tells
    /// its folder from others': `target/testbed/<name>-<pid>`, where the logs stay until the next run.
    pub fn start(name: &str) -> Result<Self> {
        Self::start_with(name, install::QUIET_PERIOD)
    }

    /// The same with another quiet period.
    pub fn start_with(name: &str, quiet_period: &str) -> Result<Self> {
        let cluster = Self::bare(name)?;
        install::install(&cluster, quiet_period, &|_| ())?;
        Ok(cluster)
    }

    /// A cluster with people and foureyes, whose API server reads these admission policies from a file.
    pub fn start_fixed(name: &str, manifests: &str) -> Result<Self> {
        let cluster = Self::make(&of_test(name)?, false, Some(manifests), &|step| eprintln!("{step}"))?;
        install::install(&cluster, install::QUIET_PERIOD, &|_| ())?;
        Ok(cluster)
    }

    /// The same without foureyes.
    pub fn bare(name: &str) -> Result<Self> {
        Self::create(&of_test(name)?, false, &|step| eprintln!("{step}"))
    }

    /// Makes a new cluster in `dir`. A detached one outlives this process.
    pub fn create(dir: &Path, detached: bool, say: &dyn Fn(&str)) -> Result<Self> {
        Self::make(dir, detached, None, say)
    }

    fn make(dir: &Path, detached: bool, manifests: Option<&str>, say: &dyn Fn(&str)) -> Result<Self> {
        let programs = Programs::ensure(say)?;
        let binaries = Binaries::find()?;
        if dir.exists() {
            fs::remove_dir_all(dir).at("removing", dir)?;
        }
        fs::create_dir_all(dir).at("making", dir)?;
        let layout = Layout { dir: dir.to_owned() };
        let ports = Ports::choose()?;
        if let Some(text) = manifests {
            let fixed = layout.static_manifests();
            fs::create_dir_all(&fixed).at("making", &fixed)?;
            fs::write(fixed.join("policies.yaml"), text).at("writing", &fixed)?;
        }
        controlplane::write_files(&layout, &ports, &people::USERS)?;
        link(&layout.dir.join("bin"), &programs, &binaries)?;
        let path = dir.join(PORTS);
        let text = serde_json::to_string_pretty(&ports)
            .map_err(|source| Error::Json { what: "writing the ports".into(), source })?;
        fs::write(&path, text).at("writing", &path)?;

        say("starting etcd and kube-apiserver");
        let supervisor = Supervisor::of(dir);
        let leash = supervise(&binaries, dir, detached)?;
        let cluster = Self {
            layout,
            ports,
            programs,
            binaries,
            supervisor,
            leash: Some(leash).filter(|_| !detached),
            counter: AtomicU32::new(0),
        };
        wait_until("the supervisor", START, || cluster.supervisor.alive())?;
        if let Err(error) = cluster.run_control_plane(say) {
            // Half a cluster would be taken for a running one the next time.
            let _ = cluster.supervisor.shut_down();
            return Err(error);
        }
        Ok(cluster)
    }

    /// The cluster that runs in `dir`, if one does.
    pub fn open(dir: &Path, say: &dyn Fn(&str)) -> Result<Option<Self>> {
        let supervisor = Supervisor::of(dir);
        if !supervisor.alive() {
            return Ok(None);
        }
        let path = dir.join(PORTS);
        let text = fs::read(&path).at("reading", &path)?;
        let ports =
            serde_json::from_slice(&text).map_err(|source| Error::Json { what: path.display().to_string(), source })?;
        Ok(Some(Self {
            layout: Layout { dir: dir.to_owned() },
            ports,
            programs: Programs::ensure(say)?,
            binaries: Binaries::find()?,
            supervisor,
            leash: None,
            counter: AtomicU32::new(0),
        }))
    }

    /// Starts what of the control plane does not run, and sees it work.
    pub fn run_control_plane(&self, say: &dyn Fn(&str)) -> Result<()> {
        for process in controlplane::first(&self.layout, &self.ports, &self.programs) {
            self.supervisor.run(process)?;
        }
        wait_for("the API server", START, || {
            for program in ["etcd", "kube-apiserver"] {
                self.supervisor.check(program)?;
            }
            let ready = self.kubectl("admin", &["get", "--raw=/readyz"])?;
            Ok(ready.ok().then_some(()))
        })?;
        say("starting kube-controller-manager, kube-scheduler and kwok");
        for role in self.programs.kwok_roles()? {
            let text = fs::read_to_string(&role).at("reading", &role)?;
            self.apply(&text)?;
        }
        self.apply(BASE)?;
        for process in controlplane::rest(&self.layout, &self.programs)? {
            self.supervisor.run(process)?;
        }
        wait_for("the default namespace's ServiceAccount", START, || {
            self.supervisor.check("kube-controller-manager")?;
            self.has_account("default")
        })?;
        people::bind(self)
    }

    /// Runs kubectl as one of the people (or `admin`, or `argocd`).
    pub fn kubectl(&self, person: &str, args: &[&str]) -> Result<Output> {
        self.kubectl_with(person, args, None)
    }

    /// The same with something on its standard input.
    pub fn kubectl_with(&self, person: &str, args: &[&str], stdin: Option<&str>) -> Result<Output> {
        let mut command = self.command(&self.programs.path("kubectl"), person);
        command.args(args);
        kubectl::run(command, stdin)
    }

    /// Runs a line as this person would paste it into a shell.
    pub fn shell(&self, person: &str, line: &str) -> Result<Output> {
        let mut command = self.command(Path::new("sh"), person);
        command.arg("-c").arg(line);
        kubectl::run(command, None)
    }

    /// What a person finds in the environment; for programs with another way of being run.
    pub fn command(&self, program: &Path, person: &str) -> Command {
        kubectl::command(program, &self.layout.dir, &self.layout.person(person))
    }

    /// `kubectl apply` by the admin; the manifests as YAML or JSON.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        self.kubectl_with("admin", &["apply", "-f", "-"], Some(manifests))?.success("kubectl apply -f -")
    }

    /// A token of a ServiceAccount, good for as long as the cluster lives.
    pub fn token(&self, namespace: &str, account: &str) -> Result<String> {
        let args = ["-n", namespace, "create", "token", account, TOKEN_LIFE];
        let token = self.kubectl("admin", &args)?;
        Ok(token.success(&format!("kubectl {}", args.join(" ")))?.trim().to_owned())
    }

    /// A kubeconfig that holds the token of one ServiceAccount and nothing else, for a program that runs beside the
    /// cluster; its path.
    pub fn account_kubeconfig(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let path = self.layout.program(account);
        people::write_token(self, &path, account, self.token(namespace, account)?)?;
        Ok(path)
    }

    /// A new namespace whose name begins with `prefix`, where people may edit, ready for pods; its name.
    pub fn namespace(&self, prefix: &str, environment: Environment) -> Result<String> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{number}");
        let label = match environment {
            Environment::Production => "{}",
            Environment::NonProduction => r#"{"foureyes.dev/environment":"non-production"}"#,
        };
        self.apply(&format!(
            r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}","labels":{label}}}}}"#
        ))?;
        people::admit(self, &name)?;
        wait_for("the namespace's ServiceAccount", START, || self.has_account(&name))?;
        Ok(name)
    }

    fn has_account(&self, namespace: &str) -> Result<Option<()>> {
        let found = self.kubectl("admin", &["-n", namespace, "get", "serviceaccount", "default"])?;
        Ok(found.ok().then_some(()))
    }

    /// A handle on one of the programs: `webhook-a`, `webhook-b`, `controller`, `balancer`, `kube-apiserver`, ….
    pub fn process(&self, name: &str) -> Process<'_> {
        Process::new(self, name)
    }

    /// Waits until the program that serves `GET /readyz` on `port` says 200.
    pub fn wait_ready(&self, program: &str, port: u16) -> Result<()> {
        let mut last = String::new();
        let waited = wait_for(program, START, || {
            self.supervisor.check(program)?;
            last = get(port, "/readyz").unwrap_or_else(|error| error.to_string());
            let ready = last.split_whitespace().nth(1) == Some("200");
            Ok(ready.then_some(()))
        });
        waited.map_err(|error| match error {
            Error::Timeout { .. } => Error::Other(format!("{error} to be ready; its last answer:\n{last}")),
            other => other,
        })
    }

    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.layout.person("admin")
    }

    pub fn kubeconfig(&self, person: &str) -> PathBuf {
        self.layout.person(person)
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The authority of the API server's certificate, PEM.
    pub fn ca(&self) -> Result<String> {
        let path = self.layout.ca();
        fs::read_to_string(&path).at("reading", &path)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut leash) = self.leash.take() {
            drop(leash.stdin.take());
            let _ = leash.wait();
        }
    }
}

/// `GET path` on the loopback address: the whole response as text.
pub fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    Ok(String::from_utf8_lossy(&response).into_owned())
}

fn supervise(binaries: &Binaries, dir: &Path, detached: bool) -> Result<Child> {
    let path = dir.join("supervisor.log");
    let log = fs::File::create(&path).at("making", &path)?;
    let mut command = Command::new(&binaries.testbed);
    command.arg("supervise").arg(dir);
    if detached {
        command.arg("--detached").stdin(Stdio::null());
    } else {
        command.stdin(Stdio::piped());
    }
    command.stdout(log.try_clone().at("making", &path)?).stderr(log).spawn().at("starting", &binaries.testbed)
}

/// Links to every program, so that one folder in PATH has them all.
fn link(bin: &Path, programs: &Programs, binaries: &Binaries) -> Result<()> {
    fs::create_dir_all(bin).at("making", bin)?;
    let own = [
        ("foureyes", binaries.foureyes.clone()),
        ("foureyes-testbed", binaries.testbed.clone()),
        ("kubectl-foureyes", binaries.testbed.with_file_name("kubectl-foureyes")),
    ];
    for (name, path) in programs.all().chain(own) {
        let link = bin.join(name);
        symlink(&path, &link).at("linking", &link)?;
    }
    Ok(())
}

/// The folder of a test's cluster.
fn of_test(name: &str) -> Result<PathBuf> {
    let parent = binaries::root().join("target/testbed");
    sweep(&parent, name)?;
    Ok(parent.join(format!("{name}-{}", process::id())))
}

/// Removes what earlier runs of the same name left behind: their logs.
fn sweep(parent: &Path, name: &str) -> Result<()> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry.at("reading", parent)?.path();
        let ours = path
            .file_name()
            .and_then(|file| file.to_str())
            .and_then(|file| file.rsplit_once('-'))
            .is_some_and(|(prefix, _)| prefix == name);
        if ours && !Supervisor::of(&path).alive() {
            fs::remove_dir_all(&path).at("removing", &path)?;
        }
    }
    Ok(())
}
