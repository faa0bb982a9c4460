//! Argo Rollouts with its own controller: the guard judges what a canary would run, and the controller of the canary
//! goes its way.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::LazyLock;
use std::time::Duration;

use foureyes_testbed::supervisor::protocol::Process;
use foureyes_testbed::tools::ARGO_ROLLOUTS;
use foureyes_testbed::{Output, wait_for};
use serde_json::{Value, json};

use crate::support::changes::{Change, opened};
use crate::support::objects::{bound, claim_of, enter_production, eventually, names, within};
use crate::support::requests::{asked, request, target};
use crate::support::{
    cluster, decisions, denied, field, me, non_production, production, succeeds, succeeds_with, went,
};

const IMAGE: &str = "registry.example.org/web";
const NEW: &str = "RolloutNotRequested";
/// The controller looks at a canary again when its pods are ready.
const LONG: Duration = Duration::from_secs(120);

/// What its release ships, as far as a canary without traffic routing needs it.
const RIGHTS: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: argo-rollouts }
---
apiVersion: v1
kind: ServiceAccount
metadata: { namespace: argo-rollouts, name: argo-rollouts }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: argo-rollouts }
rules:
  - apiGroups: [argoproj.io]
    resources: [rollouts, rollouts/status, rollouts/finalizers]
    verbs: [get, list, watch, update, patch]
  - apiGroups: [argoproj.io]
    resources: [analysisruns, analysisruns/finalizers, experiments, experiments/finalizers]
    verbs: [create, get, list, watch, update, patch, delete]
  - apiGroups: [argoproj.io]
    resources: [analysistemplates, clusteranalysistemplates]
    verbs: [get, list, watch]
  - apiGroups: [apps]
    resources: [replicasets]
    verbs: [create, get, list, watch, update, patch, delete]
  - apiGroups: ['', apps]
    resources: [deployments, podtemplates]
    verbs: [get, list, watch, update]
  - apiGroups: ['']
    resources: [services]
    verbs: [get, list, watch, patch, create, delete]
  - apiGroups: ['']
    resources: [secrets, configmaps]
    verbs: [get, list, watch]
  - apiGroups: ['']
    resources: [pods]
    verbs: [list, update, watch]
  - apiGroups: ['']
    resources: [pods/eviction]
    verbs: [create]
  - apiGroups: ['']
    resources: [events]
    verbs: [create, update, patch]
  - apiGroups: [networking.k8s.io]
    resources: [ingresses]
    verbs: [create, get, list, watch, update, patch]
  - apiGroups: [batch]
    resources: [jobs]
    verbs: [create, get, list, watch, update, patch, delete]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: argo-rollouts }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: argo-rollouts }
subjects:
  - { kind: ServiceAccount, namespace: argo-rollouts, name: argo-rollouts }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: argo-rollouts-aggregate-to-edit
  labels: { rbac.authorization.k8s.io/aggregate-to-edit: 'true' }
rules:
  - apiGroups: [argoproj.io]
    resources: [rollouts, rollouts/scale, rollouts/status]
    verbs: [create, delete, deletecollection, get, list, patch, update, watch]
";

/// Its definitions and its controller, once for all tests.
static CONTROLLER: LazyLock<()> = LazyLock::new(|| {
    let program = ARGO_ROLLOUTS.ensure(&|line| println!("{line}")).unwrap();
    let definitions = ARGO_ROLLOUTS.files().unwrap().display().to_string();
    succeeds("admin", &["apply", "--server-side", "-k", &definitions]);
    let kinds = "rollouts,experiments,analysisruns,analysistemplates,clusteranalysistemplates";
    eventually("its kinds to be served", || me("admin").kubectl(&["get", kinds, "--all-namespaces"]).ok());
    succeeds_with("admin", &["apply", "-f", "-"], RIGHTS);
    let kubeconfig = cluster().account_kubeconfig("argo-rollouts", "argo-rollouts").unwrap();
    let free = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let [metrics, health] = free.map(|listener| listener.local_addr().unwrap().port());
    let args =
        ["--leader-elect=false".to_owned(), format!("--metricsPort={metrics}"), format!("--healthzPort={health}")];
    let env = BTreeMap::from([("KUBECONFIG".to_owned(), kubeconfig.display().to_string())]);
    let process = Process { name: "rollouts-controller".to_owned(), program, args: args.into(), env };
    cluster().supervisor().run(process).unwrap();
});

/// Half of the pods first, and the others when somebody says so.
fn rollout(namespace: &str, runs: &Value) -> Value {
    let canary = json!({"steps": [{"setWeight": 50}, {"pause": {}}]});
    let mut rollout = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"namespace": namespace, "name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "strategy": {"canary": canary}},
    });
    for (field, value) in runs.as_object().unwrap() {
        rollout["spec"][field] = value.clone();
    }
    rollout
}

/// With what Argo's controller spells otherwise when it writes its object back.
fn template(version: u32) -> Value {
    let resources = json!({"limits": {"cpu": "0.5", "memory": "1024Mi"}});
    let container = json!({"name": "web", "image": format!("{IMAGE}:{version}"), "env": [], "resources": resources});
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}})
}

fn to_version(version: u32) -> String {
    json!({"spec": {"template": template(version)}}).to_string()
}

fn eve(namespace: &str, args: &[&str]) -> Output {
    me("eve").kubectl(&[&["-n", namespace], args].concat())
}

/// What `kubectl argo rollouts promote` and `abort` write.
#[track_caller]
fn says(namespace: &str, status: &Value) {
    let patch = json!({"status": status}).to_string();
    went(&eve(namespace, &["patch", "rollout", "web", "--subresource=status", "--type=merge", "-p", &patch]));
}

#[track_caller]
fn promotes(namespace: &str) {
    says(namespace, &json!({"pauseConditions": null}));
}

/// The phase by its own controller, once that has seen all that is wished for.
#[track_caller]
fn is(namespace: &str, phase: &str) {
    let mut last = String::new();
    let waited = wait_for("the rollout", LONG, || {
        cluster().supervisor().check("rollouts-controller")?;
        let path = "{.metadata.generation}/{.status.observedGeneration} {.status.phase} {.status.message}";
        last = field(namespace, "rollout", "web", path);
        let (generations, rest) = last.split_once(' ').unwrap_or_default();
        let (wanted, observed) = generations.split_once('/').unwrap_or_default();
        Ok((wanted == observed && rest.split(' ').next() == Some(phase)).then_some(()))
    });
    assert!(waited.is_ok(), "it stayed {last:?}, and never was {phase}");
}

/// The controller of foureyes looks once a minute whether the kind has come to be served.
#[track_caller]
fn ends(change: &Change, phase: &str) {
    within(LONG, &format!("{} to be {phase}", change.name), || change.field("{.status.phase}") == phase);
}

/// Images of the pods that run, each once.
#[track_caller]
fn pods_run(namespace: &str, versions: &[u32]) {
    let expected: Vec<String> = versions.iter().map(|version| format!("{IMAGE}:{version}")).collect();
    let mut last = Vec::new();
    within(LONG, &format!("pods of {versions:?}"), || {
        let path = "{.items[?(@.status.phase==\"Running\")].spec.containers[*].image}";
        let images = field(namespace, "pods", "--selector=app=web", path);
        last = images.split_whitespace().map(str::to_owned).collect();
        last.sort();
        last.dedup();
        last == expected
    });
}

fn history(namespace: &str) -> String {
    let path = "-o=jsonpath={range .items[?(@.spec.workload.namespace==\"NAMESPACE\")].status.entries[*]}{.how} {end}";
    succeeds("admin", &["get", "rolloutrecords", &path.replace("NAMESPACE", namespace)]).trim().to_owned()
}

/// The guard has refused Argo's own controller nothing.
#[track_caller]
fn the_controller_went_its_way(namespace: &str) {
    let controller = "system:serviceaccount:argo-rollouts:argo-rollouts";
    let mut decisions = decisions::about(namespace);
    decisions.retain(|line| line["user"] == controller && line["verdict"] != "allowed");
    assert!(decisions.is_empty(), "{decisions:#?}");
}

#[test]
fn a_canary_takes_a_change_and_goes_back_by_itself() {
    LazyLock::force(&CONTROLLER);
    let namespace = production("canary");
    let first = rollout(&namespace, &json!({"template": template(1)}));
    let change = opened(NEW, || me("eve").create(&first, &[]));
    is(&namespace, "Healthy");
    ends(&change, "Succeeded");
    pods_run(&namespace, &[1]);

    // half of the way is not there yet, and scaling is nobody's business meanwhile
    let patch = |version| eve(&namespace, &["patch", "rollout", "web", "--type=merge", "-p", &to_version(version)]);
    let change = opened(NEW, || patch(2));
    is(&namespace, "Paused");
    pods_run(&namespace, &[1, 2]);
    assert_eq!(change.field("{.status.phase}"), "InProgress");
    went(&eve(&namespace, &["scale", "rollout", "web", "--replicas=4"]));
    is(&namespace, "Paused");
    denied(NEW, &patch(3));
    promotes(&namespace);
    is(&namespace, "Healthy");
    pods_run(&namespace, &[2]);
    ends(&change, "Succeeded");
    eventually("the record", || history(&namespace) == "Change Change");

    // `kubectl argo rollouts undo`: the template of before, half way first and then all of it
    went(&patch(1));
    is(&namespace, "Paused");
    says(&namespace, &json!({"promoteFull": true}));
    is(&namespace, "Healthy");
    pods_run(&namespace, &[1]);
    eventually("the record", || history(&namespace) == "Rollback Change Change");

    // what was approved can be called off half way, and its spec put back
    let change = opened(NEW, || patch(3));
    is(&namespace, "Paused");
    says(&namespace, &json!({"abort": true}));
    is(&namespace, "Degraded");
    pods_run(&namespace, &[1]);
    ends(&change, "Failed");
    went(&patch(1));
    is(&namespace, "Healthy");
    pods_run(&namespace, &[1]);
    the_controller_went_its_way(&namespace);
}

#[test]
fn a_rollout_by_reference_runs_what_was_approved_for_its_deployment() {
    LazyLock::force(&CONTROLLER);
    let namespace = production("reference");
    let deployment = |version| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": namespace, "name": "web"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template(version)},
        })
    };
    let reference = |name: &str| json!({"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}});
    opened(NEW, || me("eve").create(&deployment(1), &[])).is("Succeeded");
    // that it runs there, too, is another's word
    let first = rollout(&namespace, &reference("web"));
    let change = opened(NEW, || me("eve").create(&first, &[]));
    is(&namespace, "Healthy");
    ends(&change, "Succeeded");
    pods_run(&namespace, &[1]);
    let elsewhere = json!({"spec": reference("other")}).to_string();
    denied(NEW, &eve(&namespace, &["patch", "rollout", "web", "--type=merge", "-p", &elsewhere]));
    let inline = json!({"spec": {"workloadRef": null, "template": template(2)}}).to_string();
    denied(NEW, &eve(&namespace, &["patch", "rollout", "web", "--type=merge", "-p", &inline]));

    let set = format!("web={IMAGE}:2");
    opened(NEW, || eve(&namespace, &["set", "image", "deployment/web", &set])).is("Succeeded");
    is(&namespace, "Paused");
    pods_run(&namespace, &[1, 2]);
    promotes(&namespace);
    is(&namespace, "Healthy");
    pods_run(&namespace, &[2]);
    the_controller_went_its_way(&namespace);
}

/// Through the kind's own `scale`, by foureyes: the `ReplicaSet`s follow, and are not scaled themselves.
#[test]
fn what_uses_a_claim_is_scaled_down_as_a_rollout() {
    LazyLock::force(&CONTROLLER);
    let namespace = non_production("argo-down");
    bound(&claim_of(&namespace, "data"));
    let mut runs = template(1);
    runs["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    me("admin").creates(&rollout(&namespace, &json!({"template": runs})));
    within(LONG, "the pods to be there", || names(&namespace, "pods").len() == 2);
    enter_production(&namespace);
    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    let mut wish = request(&namespace, &target(&namespace, "data", &uid));
    wish["spec"]["shutdown"] = json!("Scale");
    let asked = asked(me("alice").creates(&wish)["metadata"]["name"].as_str().unwrap());
    asked.said(&me("bob"), "Approve");
    within(LONG, "it to be shut down", || asked.field("{.status.phase}") == "Executable");
    assert_eq!(field(&namespace, "rollout", "web", "{.spec.replicas}"), "0");
    assert_eq!(asked.field("{.status.scaledDown[*].kind} {.status.scaledDown[*].before}"), "Rollout 2");
    assert!(names(&namespace, "pods").is_empty());
}
