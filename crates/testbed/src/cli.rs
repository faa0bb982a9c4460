//! The command line.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use foureyes_testbed::balancer::{self, Backend};
use foureyes_testbed::supervisor::client::Supervisor;
use foureyes_testbed::{Cluster, Error, Result, install, root, shop, story, supervisor, tools};

/// A real Kubernetes cluster on this machine, with foureyes, people and a small shop in it.
///
/// The first `up` builds the control plane (5 minutes, once per machine); afterwards it takes seconds.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  foureyes-testbed up
  export PATH=$PWD/target/cluster/bin:$PATH
  kubectl --kubeconfig target/cluster/eve.kubeconfig -n shop delete pvc reports
  foureyes-testbed down"
)]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Start the cluster in target/cluster, or bring the running one up to date
    Up {
        /// Leave foureyes out: only the cluster, the people and the shop
        #[arg(long)]
        bare: bool,
    },
    /// `up`, and then the story of a deletion, each command with its true output
    Demo,
    /// Stop everything that `up` started; the cluster's data goes with it
    Down,
    /// Show which programs of the cluster run
    Status,
    /// Build everything that tests run beside foureyes, and keep it in your cache folder
    Build,
    /// Own a cluster's programs until the standard input closes
    #[command(hide = true)]
    Supervise {
        dir: PathBuf,
        /// Leave the terminal, and run until told to shut down
        #[arg(long)]
        detached: bool,
    },
    /// Forward a port to those backends (<serving port>/<admin port>) that are ready
    #[command(hide = true)]
    Balance { port: u16, backends: Vec<Backend> },
    /// Become a program that ends with its parent
    #[command(hide = true)]
    Tether {
        parent: u32,
        program: OsString,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

pub fn run() -> Result<()> {
    match Arguments::parse().part {
        Part::Up { bare } => {
            let _lock = alone()?;
            up(bare)?;
            println!("{}\n`make demo` plays the whole story; {STOP}", next_steps());
            Ok(())
        }
        Part::Demo => {
            let _lock = alone()?;
            story::play(&up(false)?)?;
            println!("{}\n{STOP}", next_steps());
            Ok(())
        }
        Part::Down => down(),
        Part::Status => status(),
        Part::Build => tools::build_all(&say),
        Part::Supervise { dir, detached } => supervisor::run(&dir, detached),
        Part::Balance { port, backends } => balancer::run(port, &backends),
        Part::Tether { parent, program, args } => Err(supervisor::tether(parent, &program, &args)),
    }
}

fn folder() -> PathBuf {
    root().join("target/cluster")
}

/// Held while the cluster is started, played on or stopped, so that two of these don't mix.
fn alone() -> Result<File> {
    let path = folder().with_extension("lock");
    let during = |source| Error::Io { what: format!("locking {}", path.display()), source };
    fs::create_dir_all(root().join("target")).map_err(during)?;
    let lock = File::create(&path).map_err(during)?;
    if lock.try_lock().is_err() {
        say("another run starts, plays on or stops the cluster: waiting for it");
        lock.lock().map_err(during)?;
    }
    Ok(lock)
}

fn say(step: &str) {
    println!("· {step}");
}

fn up(bare: bool) -> Result<Cluster> {
    let dir = folder();
    let cluster = if let Some(cluster) = Cluster::open(&dir, &say)? {
        say("the cluster runs already: bringing it up to date");
        cluster.run_control_plane(&say)?;
        cluster
    } else {
        Cluster::create(&dir, true, &say)?
    };
    if !bare {
        install::install(&cluster, install::QUIET_PERIOD, &say)?;
    }
    say("opening the shop");
    shop::open(&cluster)?;
    Ok(cluster)
}

fn down() -> Result<()> {
    let _lock = alone()?;
    let dir = folder();
    let supervisor = Supervisor::of(&dir);
    if !supervisor.alive() {
        say("no cluster runs here");
        return Ok(());
    }
    supervisor.shut_down()?;
    fs::remove_dir_all(&dir).map_err(|source| Error::Io { what: format!("removing {}", dir.display()), source })?;
    say("the cluster is gone");
    Ok(())
}

fn status() -> Result<()> {
    let supervisor = Supervisor::of(&folder());
    if !supervisor.alive() {
        say("no cluster runs here; `make up` starts one");
        return Ok(());
    }
    for process in supervisor.processes()? {
        let state = match (process.pid, process.ended) {
            (Some(pid), _) => format!("runs, pid {pid}"),
            (None, Some(how)) => format!("ended by itself: {how}"),
            (None, None) => "stopped".into(),
        };
        println!("{:24} {state}", process.name);
    }
    Ok(())
}

const STOP: &str = "`make down` stops everything.";

fn next_steps() -> &'static str {
    "
The cluster runs. Try:

  export PATH=$PWD/target/cluster/bin:$PATH
  kubectl --kubeconfig target/cluster/eve.kubeconfig -n shop get deployments,statefulsets,pvc
  kubectl --kubeconfig target/cluster/eve.kubeconfig -n shop delete pvc data-db-0

Kubeconfigs in target/cluster: admin; alice and bob may request and approve, carol may request,
dave answers emergencies and may undo, eve may edit and delete, argocd is a machine.
They edit in shop and old-shop; elsewhere they look. Logs: target/cluster/logs."
}
