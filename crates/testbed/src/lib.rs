//! A real Kubernetes cluster on one machine: etcd, the API server, the controllers, the scheduler, a node, storage, and
//! people with their own rights. The demo plays on it, and the tests run on it.
//!
//! ```no_run
//! use foureyes_testbed::{Cluster, Environment};
//!
//! # fn main() -> Result<(), foureyes_testbed::Error> {
//! let cluster = Cluster::start("example")?;
//! let namespace = cluster.namespace("example", Environment::Production)?;
//! let refused = cluster.kubectl("eve", &["-n", &namespace, "delete", "pvc", "--all"])?;
//! cluster.process("webhook-a").kill()?;
//! # Ok(())
//! # }
//! ```

pub mod balancer;
mod binaries;
mod changes;
mod cluster;
mod controlplane;
pub mod definitions;
mod error;
mod go_build;
pub mod install;
mod kubeconfig;
mod kubectl;
mod people;
mod pki;
mod ports;
mod process;
mod programs;
pub mod shop;
pub mod story;
pub mod supervisor;
pub mod tools;
mod wait;

pub use binaries::root;
pub use changes::with_four_eyes;
pub use cluster::{Cluster, Environment, get};
pub use controlplane::{Layout, Ports};
pub use error::{Error, Result};
pub use kubectl::Output;
pub use process::Process;
pub use wait::{wait_for, wait_until};
