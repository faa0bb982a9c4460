//! What production takes: what is refused is asked for by alice and signed off by bob, each with the line that they are
//! shown.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::kubectl::Output;
use crate::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);
/// The code of what could not be decided for want of an answer by the API server.
const UNCONFIRMED: &str = "[ClusterUnreadable]";

/// Runs a command until nothing is refused any more that a change opens. What is refused otherwise is handed back.
pub fn with_four_eyes(cluster: &Cluster, what: &str, mut run: impl FnMut() -> Result<Output>) -> Result<Output> {
    let mut asked = BTreeSet::new();
    wait_for(&format!("{what} to be allowed"), LIMIT, || {
        let output = run()?;
        let text = output.text();
        let mut lines = requests(&text).peekable();
        // While a definition of ours is exchanged, its kind is served by nobody, and nothing can be confirmed.
        if text.contains(UNCONFIRMED) {
            return Ok(None);
        }
        if output.ok() || lines.peek().is_none() {
            return Ok(Some(output));
        }
        // Nobody asks twice: the webhooks may learn of a change a moment later.
        for line in lines.filter(|line| asked.insert((*line).to_owned())) {
            approve(cluster, &request(cluster, line)?)?;
        }
        Ok(None)
    })
}

/// A change that somebody has asked for.
struct Change {
    namespace: String,
    name: String,
}

/// The lines of refusals that ask for a change.
fn requests(text: &str) -> impl Iterator<Item = &str> {
    // An admission policy says all in one line.
    let lines = text.lines().filter_map(|line| Some(line[line.find("echo '")?..].trim_end()));
    lines.filter(|line| line.contains(r#""kind":"ChangeRequest""#))
}

fn request(cluster: &Cluster, line: &str) -> Result<Change> {
    let manifest = line.split('\'').nth(1).unwrap_or_default();
    let manifest: Value = serde_json::from_str(manifest)
        .map_err(|source| Error::Json { what: "reading the line of a refusal".into(), source })?;
    let created = cluster.shell("alice", line)?.success("the line of a refusal")?;
    let name = created.split([' ', '/']).nth(1).unwrap_or_default().to_owned();
    Ok(Change { namespace: manifest["metadata"]["namespace"].as_str().unwrap_or_default().to_owned(), name })
}

fn approve(cluster: &Cluster, change: &Change) -> Result<()> {
    let look = |path: &str| {
        let path = format!("-o=jsonpath={path}");
        let args = ["-n", &change.namespace, "get", "changerequest", &change.name, &path];
        cluster.kubectl("bob", &args)?.success("kubectl get changerequest")
    };
    let name = &change.name;
    let command = wait_for(&format!("{name} to say how it is signed off"), LIMIT, || {
        Ok(Some(look("{.status.signOffCommand}")?).filter(|line| !line.is_empty()))
    })?;
    cluster.shell("bob", &command)?.success("the line that signs a change off")?;
    wait_for(&format!("{name} to be approved"), LIMIT, || Ok((look("{.status.phase}")? == "Approved").then_some(())))
}

#[cfg(test)]
mod tests {
    use super::requests;

    #[test]
    fn each_line_that_asks_for_a_change_is_found() {
        let one = r#"echo '{"kind":"ChangeRequest","n":1}' | kubectl create -f -"#;
        let two = r#"echo '{"kind":"ChangeRequest","n":2}' | kubectl create -f -"#;
        let other = r#"echo '{"kind":"DeletionRequest"}' | kubectl create -f -"#;
        let text = format!("Error from server:\nask with:\n{one}\nError from server:\n  {two}\n{other}\nkubectl get x");
        assert_eq!(requests(&text).collect::<Vec<_>>(), [one, two]);
    }
}
