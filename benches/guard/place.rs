//! A namespace of the real cluster, and what people do in it.

use std::time::Duration;

use foureyes_testbed::{Cluster, Environment, wait_for};
use serde_json::Value;

use crate::Result;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Place<'a> {
    pub cluster: &'a Cluster,
    pub namespace: String,
}

impl<'a> Place<'a> {
    /// A new one, in production.
    pub fn new(cluster: &'a Cluster, name: &str) -> Result<Self> {
        Ok(Self { cluster, namespace: cluster.namespace(name, Environment::Production)? })
    }

    /// kubectl as this person, with something on its standard input.
    pub fn run(&self, person: &str, args: &[&str], stdin: Option<&Value>) -> foureyes_testbed::Result<String> {
        let stdin = stdin.map(ToString::to_string);
        self.cluster.kubectl_with(person, args, stdin.as_deref())?.success(&format!("kubectl {}", args.join(" ")))
    }

    /// What of an object is at this path (`.status.phase`).
    pub fn field(&self, object: &str, path: &str) -> foureyes_testbed::Result<String> {
        self.run("admin", &["-n", &self.namespace, "get", object, &format!("-o=jsonpath={{{path}}}")], None)
    }

    /// The same, when it is as it is wanted.
    pub fn wait(&self, what: &str, object: &str, path: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let probe = || Ok(Some(self.field(object, path)?).filter(|value| wanted(value)));
        Ok(wait_for(what, PATIENCE, probe)?)
    }

    /// bob pastes the line that signs a request off.
    pub fn sign_off(&self, request: &str) -> Result<()> {
        let command =
            self.wait("the command to sign off with", request, ".status.signOffCommand", |line| !line.is_empty())?;
        self.cluster.shell("bob", &command)?.success(&command)?;
        Ok(())
    }
}
