//! Who works with the cluster.

use crate::cluster::Cluster;
use crate::controlplane::User;
use crate::error::Result;
use crate::kubeconfig::{self, Credential};
use crate::kubectl;

const PEOPLE: &str = include_str!("../assets/people.yaml");
const EDIT: &str = include_str!("../assets/edit.yaml");

/// People are client certificates: the common name is the user, the organisation its group.
pub const USERS: [User; 6] = [
    person("admin", Some("system:masters")),
    person("alice", Some("ops")),
    person("bob", Some("ops")),
    person("carol", None),
    person("dave", None),
    person("eve", None),
];

/// The one who is a ServiceAccount.
pub const ARGOCD: &str = "argocd";

const fn person(name: &'static str, group: Option<&'static str>) -> User {
    User { file: name, name, group }
}

/// Gives them their rights.
pub fn bind(cluster: &Cluster) -> Result<()> {
    cluster.apply(PEOPLE)?;
    cluster.apply(&responder(cluster, "dave")?)?;
    let token = cluster.token(ARGOCD, ARGOCD)?;
    write_token(cluster, &cluster.layout().person(ARGOCD), ARGOCD, token)
}

/// What lets one of them break glass, as foureyes itself prints it.
fn responder(cluster: &Cluster, person: &str) -> Result<String> {
    let program = &cluster.binaries().foureyes;
    let mut command = std::process::Command::new(program);
    command.args(["responder", person]);
    kubectl::run(command, None)?.success(&format!("foureyes responder {person}"))
}

/// Lets them edit in a namespace.
pub fn admit(cluster: &Cluster, namespace: &str) -> Result<()> {
    let args = ["-n", namespace, "apply", "-f", "-"];
    cluster.kubectl_with("admin", &args, Some(EDIT))?.success(&format!("kubectl {}", args.join(" "))).map(drop)
}

/// Writes a kubeconfig that holds one ServiceAccount's token and nothing else.
pub fn write_token(cluster: &Cluster, path: &std::path::Path, name: &str, token: String) -> Result<()> {
    let url = cluster.ports().api_url();
    kubeconfig::write(path, &url, &cluster.ca()?, name, &Credential::Token(token))
}
