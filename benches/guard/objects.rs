//! Thousands of requests as they are once the controller has seen them, each with a sign-off.

use std::ops::Range;

use foureyes_core::api::{DeletionRequest, SignOff};
use foureyes_testbed::Cluster;
use futures::{TryStreamExt as _, stream};
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::Result;

pub const AT_ONCE: usize = 16;
pub const SEAL: &str =
    "v1.2026-01.MEUCIQDh0mRZ9nXk8Qm7QYyqfG1b0c3w2v5u8x1z4A6C9D2E5FwIgH8I1J4K7L0M3N6O9P2Q5R8S1T4U7V0W3X6Y9Z2a5b8c";

/// Writes those with these numbers.
pub fn write(cluster: &Cluster, numbers: Range<usize>) -> Result<()> {
    runtime()?.block_on(async {
        let client = client(cluster).await?;
        let all = stream::iter(numbers.map(Result::Ok));
        all.try_for_each_concurrent(AT_ONCE, |number| write_one(&client, number)).await
    })
}

pub fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// As admin.
pub async fn client(cluster: &Cluster) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(cluster.admin_kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

async fn write_one(client: &Client, number: usize) -> Result<()> {
    let (requests, sign_offs): (Api<DeletionRequest>, Api<SignOff>) =
        (Api::all(client.clone()), Api::all(client.clone()));
    let name = format!("pvc-data-{number}");
    let request: DeletionRequest = serde_json::from_value(request(&name, number))?;
    let created = requests.create(&PostParams::default(), &request).await?;
    let uid = created.metadata.uid.unwrap_or_default();
    requests.patch_status(&name, &PatchParams::default(), &Patch::Merge(status(&name, &uid, number))).await?;
    let sign_off: SignOff =
        serde_json::from_value(sign_off(&json!({"kind": "DeletionRequest", "name": name, "uid": uid})))?;
    sign_offs.create(&PostParams::default(), &sign_off).await?;
    Ok(())
}

fn target_uid(number: usize) -> String {
    format!("00000000-0000-4000-9000-{number:012}")
}

pub fn author(name: &str) -> Value {
    json!({"username": name, "groups": ["ops", "system:authenticated"]})
}

fn request(name: &str, number: usize) -> Value {
    let target = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "namespace": "shop", "name": format!("data-{number}"), "uid": target_uid(number),
    });
    let mut requester = author("alice");
    requester["at"] = json!("2026-11-01T10:00:00Z");
    requester["seal"] = json!(SEAL);
    json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest", "metadata": {"name": name},
        "spec": {"target": target, "reason": "requested after a refused deletion", "requester": requester},
    })
}

fn status(name: &str, uid: &str, number: usize) -> Value {
    let digest = |encoding: &str| format!("{encoding}/v1:sha256:{number:064x}");
    let object = json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOff", "metadata": {"generateName": format!("{name}-")},
        "spec": {"subject": {"kind": "DeletionRequest", "name": name, "uid": uid}, "says": "Approve", "digest": digest("subject")},
    });
    json!({"status": {
        "observedGeneration": 1, "phase": "Approved",
        "targetText": format!("pvc/shop/data-{number}"), "requestedBy": "alice", "waitingFor": "the deletion",
        "requestDigest": digest("request"), "subjectDigest": digest("subject"),
        "signOffCommand": format!("echo '{object}' | kubectl create -f -"),
        "inventory": {
            "digest": digest("inventory"), "frozen": true, "total": 2, "summary": "1 claim, 1 volume (1Gi)",
            "items": [
                {"kind": "PersistentVolumeClaim", "namespace": "shop", "name": format!("data-{number}"), "uid": target_uid(number), "size": "1Gi"},
                {"kind": "PersistentVolume", "name": format!("pvc-{}", target_uid(number)), "uid": uid, "handle": "ebs.csi.aws.com/vol-0123456789abcdef0"},
            ],
            "packedUIDs": "AAAAAAAAQACQAAAAAAAAAQAAAAAAAEAAkAAAAAAAAAI=",
        },
        "signOffs": {"required": 1, "granted": 1, "text": "1/1", "entries": [
            {"name": format!("{name}-approve"), "says": "Approve", "author": "bob", "at": "2026-11-01T10:05:00Z", "counts": true},
        ]},
        "approvalDeadline": "2026-11-04T10:00:00Z", "usableFrom": "2026-11-01T10:05:00Z", "validUntil": "2026-11-02T10:05:00Z",
        "policies": [{"name": "default", "generation": 1}],
        "conditions": [
            {"type": "Approved", "status": "True", "reason": "SignedOff", "message": "1 of 1", "lastTransitionTime": "2026-11-01T10:05:00Z", "observedGeneration": 1},
            {"type": "Executable", "status": "False", "reason": "Waiting", "message": "", "lastTransitionTime": "2026-11-01T10:00:00Z", "observedGeneration": 1},
        ],
    }})
}

/// bob's word about the subject.
pub fn sign_off(subject: &Value) -> Value {
    let request = subject["name"].as_str().unwrap_or_default();
    json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOff", "metadata": {"name": format!("{request}-approve")},
        "spec": {
            "subject": subject, "says": "Approve",
            "digest": format!("subject/v1:sha256:{:064x}", 7), "author": author("bob"), "at": "2026-11-01T10:05:00Z", "seal": SEAL,
        },
    })
}
