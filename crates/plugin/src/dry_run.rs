//! Asks the server what a change comes to, by sending it as a dry run the way it would be applied: so that defaults and
//! other webhooks are in the digest. A manifest is sent by kubectl itself, because what `kubectl apply` makes of one
//! depends on what it made of the last.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use foureyes_core::domain::rollout::location::{Found, Location};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Resource as _, core::DynamicObject};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::cluster::{Cluster, Tried};
use crate::error::{Error, Result};
use crate::kinds::{self, Known};
use crate::output;
use crate::proposal::Runs;
use crate::refusal;

const MANAGER: &str = "kubectl-foureyes";
/// kubectl may have to discover the cluster, and log in.
const KUBECTL: Duration = Duration::from_secs(60);
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// How a manifest would be applied.
#[derive(Clone, Debug, Default)]
pub struct Applying {
    pub server_side: bool,
    pub field_manager: Option<String>,
}

/// Other images in an object that is there.
pub async fn images(cluster: &Cluster, known: &Known, name: &str, patch: json_patch::Patch) -> Result<Tried> {
    let params = PatchParams { dry_run: true, field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let request =
        at(cluster, known).patch(name, &params, &Patch::Json::<()>(patch)).map_err(|error| unsendable(&error))?;
    cluster.tried("the dry run failed", request).await
}

/// The object goes.
pub async fn removal(cluster: &Cluster, known: &Known, name: &str) -> Result<Tried> {
    let params = DeleteParams { dry_run: true, ..DeleteParams::default() };
    let request = at(cluster, known).delete(name, &params).map_err(|error| unsendable(&error))?;
    cluster.tried("the dry run failed", request).await
}

fn at(cluster: &Cluster, known: &Known) -> Request {
    let namespace = known.namespaced.then_some(cluster.namespace.as_str());
    Request::new(DynamicObject::url_path(&known.resource, namespace))
}

fn unsendable(error: &kube::core::request::Error) -> Error {
    Error::Other(format!("the dry run can't be sent: {error}"))
}

/// A manifest, sent by kubectl as the same caller.
pub async fn manifest(cluster: &Cluster, document: &Value, applying: &Applying) -> Result<Tried> {
    let mut command = tokio::process::Command::new("kubectl");
    command.args(["apply", "--dry-run=server", "--output=json", "--filename=-"]).args(cluster.kubectl_flags());
    if applying.server_side {
        command.args(["--server-side", "--force-conflicts"]);
    }
    command.args(applying.field_manager.iter().map(|manager| format!("--field-manager={manager}")));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let failed = |error: std::io::Error| {
        Error::Other(format!("kubectl, which applies manifests, can't be run ({error}): put it on the PATH"))
    };
    let run = async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(document.to_string().as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(KUBECTL, run)
        .await
        .map_err(|_| Error::Other(format!("kubectl did not answer within {KUBECTL:?}")))?
        .map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        let object =
            serde_json::from_slice(&output.stdout).map_err(|error| Error::unreadable("kubectl's answer", error))?;
        let warnings = said.lines().filter_map(|line| line.strip_prefix("Warning: ").map(str::to_owned)).collect();
        return Ok(Tried::Allowed { object, warnings });
    }
    said_no(&said)
}

/// A template with what the API server adds to it, as far as it can be had: a replica set without pods is created, as a
/// dry run. foureyes does not judge those, since they come from what was judged. A guess like any other: believed only if
/// it comes to the digest.
pub async fn defaulted(cluster: &Cluster, namespace: &str, runs: &Runs) -> Option<Runs> {
    let object = serde_json::to_vec(&runs.to_be_defaulted()?).ok()?;
    let known = kinds::stated(cluster, "apps/v1", "ReplicaSet").await.ok()?;
    let request = Request::new(DynamicObject::url_path(&known.resource, Some(namespace)));
    let params = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
    match cluster.tried("a template could not be tried", request.create(&params, object).ok()?).await.ok()? {
        Tried::Allowed { object, .. } => runs.defaulted(&object),
        Tried::Refused(_) | Tried::Forbidden(_) => None,
    }
}

/// What kubectl's errors mean.
fn said_no(said: &str) -> Result<Tried> {
    match refusal::of_webhook(said) {
        Some(text) => Ok(Tried::Refused(text.to_owned())),
        None if said.contains("(Forbidden)") => Ok(Tried::Forbidden(said.trim().to_owned())),
        None => Err(Error::Cluster { what: "kubectl apply --dry-run=server".to_owned(), why: said.trim().to_owned() }),
    }
}

/// The objects of a text of YAML documents or JSON, lists unfolded.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|error| Error::unreadable("the manifest", error))?;
        let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
        match value {
            Value::Null => {}
            Value::Object(mut list) if is_list && list.get("items").is_some_and(Value::is_array) => {
                all.extend(list.remove("items").and_then(|items| items.as_array().cloned()).unwrap_or_default());
            }
            Value::Object(_) => all.push(value),
            _ => return Err(Error::unreadable("the manifest", "a document is no object")),
        }
    }
    if all.is_empty() { Err(Error::Usage("the manifest has no object in it".to_owned())) } else { Ok(all) }
}

/// Exchanges images in an object, and only if the containers are still those that were read.
pub fn images_patch(
    location: &Location,
    object: &Value,
    images: &BTreeMap<String, String>,
) -> Result<json_patch::Patch> {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let (found, below) = match location.value(spec) {
        Some(Found::Template(found)) => (found, "/spec"),
        Some(Found::PodSpec(found)) => (found, ""),
        Some(Found::Reference(_)) => {
            return Err(Error::Usage("it runs the template of another workload: name that one".to_owned()));
        }
        None => return Err(Error::Usage("it has no pod template: send what it shall become with -f".to_owned())),
    };
    let pointer = pointer_to(spec, found).unwrap_or_default();
    let mut operations = Vec::new();
    let (mut named, mut known) = (Vec::new(), Vec::new());
    for list in CONTAINERS {
        let containers = found.pointer(&format!("{below}/{list}")).and_then(Value::as_array);
        for (at, container) in containers.into_iter().flatten().enumerate() {
            let Some(name) = container.get("name").and_then(Value::as_str) else { continue };
            known.push(name);
            let Some(image) = images.get(name) else { continue };
            let path = format!("/spec{pointer}{below}/{list}/{at}");
            operations.push(json!({"op": "test", "path": format!("{path}/name"), "value": name}));
            operations.push(json!({"op": "add", "path": format!("{path}/image"), "value": image}));
            named.push(name);
        }
    }
    if let Some(missing) = images.keys().find(|name| !named.contains(&name.as_str())) {
        let known = known.iter().map(|name| output::plain(name)).collect::<Vec<_>>().join(", ");
        return Err(Error::Usage(format!("there is no container {}: it has {known}", output::plain(missing))));
    }
    serde_json::from_value(Value::Array(operations)).map_err(|error| Error::Other(error.to_string()))
}

/// The path from a value to one that is inside of it.
fn pointer_to(from: &Value, to: &Value) -> Option<String> {
    if std::ptr::eq(from, to) {
        return Some(String::new());
    }
    from.as_object()?.iter().find_map(|(key, value)| {
        let below = pointer_to(value, to)?;
        Some(format!("/{}{below}", key.replace('~', "~0").replace('/', "~1")))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use foureyes_core::domain::rollout::location::locate;
    use rstest::rstest;

    fn images_of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, image)| ((*name).to_owned(), (*image).to_owned())).collect()
    }

    #[rstest]
    #[case("apps", "Deployment", json!({"template": {"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}}}), "/spec/template/spec/containers/1")]
    #[case("batch", "CronJob", json!({"jobTemplate": {"spec": {"template": {"spec": {"initContainers": [{"name": "b"}]}}}}}), "/spec/jobTemplate/spec/template/spec/initContainers/0")]
    #[case("", "Pod", json!({"containers": [{"name": "b"}]}), "/spec/containers/0")]
    fn images_are_exchanged_where_the_kind_keeps_them(
        #[case] group: &str,
        #[case] kind: &str,
        #[case] spec: Value,
        #[case] path: &str,
    ) {
        let mut object = json!({"spec": spec});
        let patch = images_patch(&locate(group, kind, &[]).unwrap(), &object, &images_of(&[("b", "b:2")])).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
        assert_eq!(object.pointer(&format!("{path}/image")).unwrap(), "b:2");
        // Another container in its place, and nothing is changed.
        *object.pointer_mut(&format!("{path}/name")).unwrap() = json!("c");
        assert!(json_patch::patch(&mut object, &patch).is_err());
    }

    #[test]
    fn a_container_that_is_not_there_is_said() {
        let location = locate("apps", "Deployment", &[]).unwrap();
        let object = json!({"spec": {"template": {"spec": {"containers": [{"name": "web"}]}}}});
        let error = images_patch(&location, &object, &images_of(&[("wev", "x")])).unwrap_err().to_string();
        assert!(error.contains("no container wev") && error.contains("it has web"), "{error}");
        assert!(images_patch(&location, &json!({"spec": {}}), &images_of(&[("a", "b")])).is_err());
    }

    #[test]
    fn manifests_are_yaml_or_json_and_lists_are_unfolded() {
        let text = "---\nkind: A\n---\n---\nkind: DeploymentList\nitems:\n- kind: B\n- kind: C\n";
        let kinds: Vec<Value> = documents(text).unwrap().into_iter().map(|object| object["kind"].clone()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        assert_eq!(documents("{\"kind\": \"A\"}").unwrap().len(), 1);
        assert!(documents("").is_err() && documents("- a").is_err() && documents("a: [").is_err());
    }

    #[test]
    fn what_kubectl_says_is_told_apart() {
        let refused = "Error from server (Forbidden): error when creating \"STDIN\": admission webhook \"g\" denied the request: Deployment shop/web was not created: new [RolloutNotRequested]";
        assert!(matches!(said_no(refused), Ok(Tried::Refused(text)) if text.starts_with("Deployment shop/web")));
        let forbidden =
            "Error from server (Forbidden): deployments.apps \"web\" is forbidden: User \"eve\" cannot patch";
        assert!(matches!(said_no(forbidden), Ok(Tried::Forbidden(_))));
        assert!(matches!(said_no("error: no kind \"Deploymnet\" is registered"), Err(Error::Cluster { .. })));
    }
}
