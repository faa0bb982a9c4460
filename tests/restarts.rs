//! Both webhooks are restarted in turn while deletions are judged at a constant rate: no error, no wrong answer (F 4).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use foureyes_testbed::{Cluster, Environment, wait_for};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::DeleteParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
/// Between two calls.
const PACE: Duration = Duration::from_millis(25);
const CALLS: u32 = 2000;
const ROUNDS: u32 = 5;

struct Shop<'a> {
    cluster: &'a Cluster,
    namespace: String,
}

impl Shop<'_> {
    fn does(&self, person: &str, args: &[&str], stdin: Option<&Value>) -> String {
        let stdin = stdin.map(ToString::to_string);
        let output = self.cluster.kubectl_with(person, args, stdin.as_deref()).unwrap();
        output.success(&format!("kubectl {args:?}")).unwrap()
    }

    fn claim(&self, name: &str) -> String {
        let claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": { "namespace": self.namespace, "name": name },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        });
        self.does("admin", &["create", "-f", "-"], Some(&claim));
        let get = ["-n", &self.namespace, "get", "pvc", name];
        wait_for("the claim to be bound", PATIENCE, || {
            let phase = self.does("admin", &[&get[..], &["-o=jsonpath={.status.phase}"]].concat(), None);
            Ok((phase == "Bound").then_some(()))
        })
        .unwrap();
        self.does("admin", &[&get[..], &["-o=jsonpath={.metadata.uid}"]].concat(), None)
    }

    /// Asked for by alice, signed off by bob, ready to be executed.
    fn approve(&self, name: &str, uid: &str) {
        let request = format!("{}-{name}", self.namespace);
        let target = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": self.namespace,
            "name": name,
            "uid": uid,
        });
        let manifest = json!({
            "apiVersion": "foureyes.dev/v1alpha1",
            "kind": "DeletionRequest",
            "metadata": { "name": request },
            "spec": { "target": target, "reason": "no longer needed" },
        });
        self.does("alice", &["create", "-f", "-"], Some(&manifest));
        let field = |path: &str| self.does("admin", &["get", "deletionrequest", &request, path], None);
        let command = wait_for("the command to sign off with", PATIENCE, || {
            let command = field("-o=jsonpath={.status.signOffCommand}");
            Ok((!command.is_empty()).then_some(command))
        });
        self.cluster.shell("bob", &command.unwrap()).unwrap().success("the command").unwrap();
        wait_for("the request to be executable", PATIENCE, || {
            Ok((field("-o=jsonpath={.status.phase}") == "Executable").then_some(()))
        })
        .unwrap();
    }
}

/// Eve, as a program that keeps its connection.
async fn eve(cluster: &Cluster, namespace: &str) -> Api<PersistentVolumeClaim> {
    // Only fails if another test has done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig("eve")).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.unwrap();
    config.default_retry = false;
    Api::namespaced(Client::try_from(config).unwrap(), namespace)
}

/// What is wrong with the answer to a trial deletion, if anything is.
async fn wrong(claims: &Api<PersistentVolumeClaim>, approved: bool) -> Option<String> {
    let name = if approved { "approved" } else { "guarded" };
    match claims.delete(name, &DeleteParams::default().dry_run()).await {
        Ok(_) if approved => None,
        Err(kube::Error::Api(status)) if !approved && status.code == 403 => {
            (!status.message.contains("foureyes")).then(|| status.message.clone())
        }
        Ok(_) => Some("an unapproved deletion was allowed".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn two_thousand_calls_over_ten_restarts_get_their_answers() {
    let cluster = Cluster::start("restarts").unwrap();
    let namespace = cluster.namespace("shop", Environment::Production).unwrap();
    let shop = Shop { cluster: &cluster, namespace: namespace.clone() };
    shop.claim("guarded");
    let uid = shop.claim("approved");
    shop.approve("approved", &uid);

    let restarted = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let calling = runtime.spawn({
        let restarted = Arc::clone(&restarted);
        let claims = runtime.block_on(eve(&cluster, &namespace));
        async move {
            let mut answers = tokio::task::JoinSet::new();
            let mut ticks = tokio::time::interval(PACE);
            let mut number = 0_u32;
            while number < CALLS || !restarted.load(Ordering::Relaxed) {
                ticks.tick().await;
                let claims = claims.clone();
                let began = Instant::now();
                answers.spawn(async move { (began, wrong(&claims, number.is_multiple_of(2)).await) });
                number += 1;
            }
            answers.join_all().await
        }
    });
    let began = Instant::now();
    let mut log = Vec::new();
    for _ in 0..ROUNDS {
        for name in ["webhook-a", "webhook-b"] {
            log.push(format!("{:?} {name} stops", began.elapsed()));
            cluster.process(name).stop().unwrap();
            log.push(format!("{:?} {name} starts", began.elapsed()));
            cluster.process(name).start_ready().unwrap();
        }
    }
    restarted.store(true, Ordering::Relaxed);
    let answers = runtime.block_on(calling).unwrap();
    let made = answers.len();
    assert!(made >= usize::try_from(CALLS).unwrap());
    let wrong: Vec<String> = answers
        .into_iter()
        .filter_map(|(at, wrong)| Some(format!("{:?} {}", at.saturating_duration_since(began), wrong?)))
        .collect();
    assert!(wrong.is_empty(), "{} wrong of {made}:\n{}\n{}", wrong.len(), wrong.join("\n"), log.join("\n"));
}
