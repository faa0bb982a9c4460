//! Thousands of changes that have ended, each with a sign-off, and the records of the workloads that they were about.

use foureyes_core::api::{ChangeRequest, RolloutRecord, SignOff, WorkloadIdentity};
use foureyes_testbed::{Cluster, Environment};
use futures::{TryStreamExt as _, stream};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::objects::{AT_ONCE, SEAL, author, client, sign_off};
use crate::{Result, objects};

/// Writes so many of both; the changes are spread over the records' workloads.
pub fn write(cluster: &Cluster, changes: usize, records: usize) -> Result<()> {
    let namespace = cluster.namespace("history", Environment::Production)?;
    objects::runtime()?.block_on(async {
        let client = client(cluster).await?;
        let all = stream::iter((0..records).map(Result::Ok));
        all.try_for_each_concurrent(AT_ONCE, |number| record(&client, &namespace, number)).await?;
        let all = stream::iter((0..changes).map(Result::Ok));
        all.try_for_each_concurrent(AT_ONCE, |number| change(&client, &namespace, number, number % records)).await
    })
}

fn workload(number: usize) -> String {
    format!("web-{number}")
}

fn digest(encoding: &str, number: usize) -> String {
    format!("{encoding}:sha256:{number:064x}")
}

async fn change(client: &Client, namespace: &str, number: usize, of: usize) -> Result<()> {
    let (requests, sign_offs): (Api<ChangeRequest>, Api<SignOff>) =
        (Api::namespaced(client.clone(), namespace), Api::all(client.clone()));
    let name = format!("{}-{number}", workload(of));
    let mut requester = author("alice");
    requester["at"] = json!("2026-11-01T10:00:00Z");
    requester["seal"] = json!(SEAL);
    let target = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "name": workload(of), "action": "Apply",
        "digest": {"encoding": "template/v1", "value": format!("sha256:{number:064x}")},
    });
    let request: ChangeRequest = serde_json::from_value(json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "ChangeRequest",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"type": "Normal", "title": format!("roll out Deployment {}", workload(of)), "targets": [target],
                 "justification": "the new version has run in the test environment for a week", "requester": requester},
    }))?;
    let created = requests.create(&PostParams::default(), &request).await?;
    let uid = created.metadata.uid.unwrap_or_default();
    let status = Patch::Merge(ended(&name, &digest("template/v1", number), of));
    requests.patch_status(&name, &PatchParams::default(), &status).await?;
    let subject = json!({"kind": "ChangeRequest", "namespace": namespace, "name": name, "uid": uid});
    let sign_off: SignOff = serde_json::from_value(sign_off(&subject))?;
    sign_offs.create(&PostParams::default(), &sign_off).await?;
    Ok(())
}

fn ended(name: &str, applied: &str, of: usize) -> Value {
    let entry = json!({"name": format!("{name}-approve"), "says": "Approve", "author": "bob",
                       "at": "2026-11-01T10:05:00Z", "counts": true});
    let target = json!({
        "target": format!("deployment/{}", workload(of)), "previousDigest": digest("template/v1", 1),
        "appliedDigest": applied, "appliedBy": "field manager argocd-controller", "appliedAt": "2026-11-01T10:06:00Z",
        "outcome": "Succeeded",
    });
    json!({"status": {
        "observedGeneration": 1, "phase": "Succeeded", "targetText": format!("deployment/{}", workload(of)),
        "requestedBy": "alice", "requestDigest": digest("request/v1", of),
        "signOffs": {"required": 1, "granted": 1, "text": "1/1", "entries": [entry]},
        "approvalDeadline": "2026-11-15T10:00:00Z", "usableFrom": "2026-11-01T10:05:00Z",
        "validUntil": "2026-11-02T10:05:00Z", "targets": [target], "policies": [{"name": "default", "generation": 1}],
    }})
}

async fn record(client: &Client, namespace: &str, number: usize) -> Result<()> {
    let records: Api<RolloutRecord> = Api::all(client.clone());
    let identity = WorkloadIdentity {
        group: "apps".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: namespace.to_owned(),
        name: workload(number),
    };
    let name = identity.record_name();
    let record: RolloutRecord = serde_json::from_value(json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "RolloutRecord", "metadata": {"name": name},
        "spec": {"workload": identity},
    }))?;
    records.create(&PostParams::default(), &record).await?;
    let entries: Vec<Value> = (0..4).map(|age| entry(namespace, number, age)).collect();
    let status = json!({"status": {
        "runs": format!("registry.example.org/web:{number}"), "how": "Change", "since": "2026-11-01T10:06:00Z",
        "entries": entries,
    }});
    records.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

fn entry(namespace: &str, number: usize, age: usize) -> Value {
    json!({
        "template": digest("template/v1", number * 10 + age), "shape": digest("shape/v1", number),
        "images": {"web": format!("registry.example.org/web:{age}"), "proxy": "registry.example.org/proxy:1"},
        "generation": 10 - age, "at": "2026-11-01T10:06:00Z", "executor": "field manager argocd-controller",
        "how": "Change", "outcome": "Seen", "change": format!("{namespace}/{}-{age}", workload(number)),
        "people": ["alice", "bob"],
    })
}
