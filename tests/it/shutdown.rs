//! Shut down first, by foureyes: what uses a target is scaled down in the name of the person who asked, nobody is fought,
//! and it comes back when nothing was deleted after all.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::objects::{bound, claim_of, enter_production, eventually, names, place, stateful_set, web, within};
use crate::support::requests::{Asked, asked, delete_claim, deletes_claim, request, target};
use crate::support::{Who, acting, denied, denied_in_words, field, me, non_production, wait_gone};

/// Longer than the slowest deletion that was let pass before a request ended.
const PUT_BACK: Duration = Duration::from_secs(220);

/// Asks for `target`, and for what uses it to be scaled down.
#[track_caller]
fn asks_to_scale(who: &Who, namespace: &str, target: &Value) -> Asked {
    let mut wish = request(namespace, target);
    wish["spec"]["shutdown"] = json!("Scale");
    asked(who.creates(&wish)["metadata"]["name"].as_str().unwrap())
}

fn claim_target(namespace: &str, claim: &str) -> Value {
    target(namespace, claim, &field(namespace, "pvc", claim, "{.metadata.uid}"))
}

/// A Deployment of two pods, which mount a claim.
fn mounts(namespace: &str, name: &str, claim: &str) -> Value {
    let mut deployment = web(namespace, 1);
    deployment["metadata"]["name"] = json!(name);
    let spec = &mut deployment["spec"];
    spec["replicas"] = json!(2);
    spec["selector"]["matchLabels"]["app"] = json!(name);
    spec["template"]["metadata"]["labels"]["app"] = json!(name);
    spec["template"]["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]);
    deployment
}

fn cron_job(namespace: &str, name: &str, claim: &str) -> Value {
    let container = json!({"name": "c", "image": "example/report:1"});
    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]);
    let pod = json!({"restartPolicy": "Never", "containers": [container], "volumes": volumes});
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"namespace": namespace, "name": name},
        "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {"spec": pod}}}},
    })
}

fn autoscaler(namespace: &str, deployment: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"namespace": namespace, "name": deployment},
        "spec": {"minReplicas": 2, "maxReplicas": 4,
                 "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment}},
    })
}

fn replicas(namespace: &str, workload: &str) -> String {
    let (kind, name) = workload.split_once('/').unwrap();
    field(namespace, kind, name, "{.spec.replicas}")
}

fn suspended(namespace: &str, name: &str) -> String {
    field(namespace, "cronjob", name, "{.spec.suspend}")
}

#[track_caller]
fn run(namespace: &str, pods: usize) {
    eventually("the pods to run", || {
        let running = me("admin").does(&["-n", namespace, "get", "pods", "-o=jsonpath={.items[*].status.phase}"]);
        running.split_whitespace().filter(|phase| *phase == "Running").count() == pods
    });
}

const SHUT_DOWN: &str = "{.status.conditions[?(@.type=='ShutDown')].";

#[track_caller]
fn shut_down(asked: &Asked, reason: &str) -> String {
    asked.wait_field(&format!("{SHUT_DOWN}reason}}"), reason);
    asked.field(&format!("{SHUT_DOWN}message}}"))
}

#[test]
fn a_namespace_is_shut_down_and_can_go() {
    let namespace = non_production("shuts-down");
    bound(&claim_of(&namespace, "reports"));
    for object in [
        mounts(&namespace, "web", "reports"),
        stateful_set(&namespace, 1, "standard", false),
        cron_job(&namespace, "report", "reports"),
        autoscaler(&namespace, "web"),
    ] {
        me("admin").creates(&object);
    }
    eventually("the pods to be there", || names(&namespace, "pods").len() == 3);
    enter_production(&namespace);
    let records = || {
        let selected = "{range .items[?(@.spec.workload.namespace=='NAME')]}{.status.entries[*].how} {.status.entries[*].template}\n{end}";
        me("admin").does(&["get", "rolloutrecords", &format!("-o=jsonpath={}", selected.replace("NAME", &namespace))])
    };
    eventually("what runs to be on record", || records().matches("template/v1").count() == 3);
    let recorded = records();

    let asked = asks_to_scale(&me("alice"), &namespace, &place(&namespace));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(replicas(&namespace, "deployment/web"), "2", "nobody has signed it off");
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    assert!(names(&namespace, "pods").is_empty());
    assert_eq!(
        (replicas(&namespace, "deployment/web"), replicas(&namespace, "statefulset/db")),
        ("0".into(), "0".into())
    );
    assert_eq!(suspended(&namespace, "report"), "true");
    let said = shut_down(&asked, "ScaledDown");
    assert_eq!(said, "what used it is scaled down: CronJob/report, Deployment/web, StatefulSet/db");
    assert_eq!(asked.field("{.status.scaledDown[*].before}"), "false 2 1");
    assert_eq!(records(), recorded, "scaling is no rollout");
    let of_web = "{.status.conditions[?(@.type=='ScalingActive')].reason}";
    eventually("the autoscaler to stand aside", || field(&namespace, "hpa", "web", of_web) == "ScalingDisabled");
    assert_eq!(replicas(&namespace, "deployment/web"), "0");
    let refusal = denied("RequestInUse", &me("alice").kubectl(&["delete", "deletionrequest", &asked.name]));
    assert!(refusal.contains("is put back only while it is there"), "{refusal}");

    me("eve").does(&["delete", "namespace", &namespace, "--wait=false"]);
    wait_gone("", "namespace", &namespace);
    asked.wait_phase("Executed");
}

#[test]
fn what_was_shut_down_for_a_deletion_that_did_not_come_runs_again_as_it_was() {
    let namespace = non_production("runs-again");
    for claim in ["reports", "another"] {
        bound(&claim_of(&namespace, claim));
    }
    let deployments = ["alone", "up", "elsewhere"];
    for name in deployments {
        let claim = if name == "elsewhere" { "another" } else { "reports" };
        me("admin").creates(&mounts(&namespace, name, claim));
    }
    me("admin").creates(&cron_job(&namespace, "report", "reports"));
    me("admin").creates(&cron_job(&namespace, "other", "another"));
    run(&namespace, 6);
    enter_production(&namespace);
    let asked = asks_to_scale(&me("alice"), &namespace, &claim_target(&namespace, "reports"));
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    let all = || deployments.map(|name| replicas(&namespace, &format!("deployment/{name}")));
    assert_eq!(all(), ["0", "0", "2"], "what uses something else runs on");
    assert_eq!((suspended(&namespace, "report"), suspended(&namespace, "other")), ("true".into(), "false".into()));

    asked.said(&me("alice"), "Cancel");
    asked.wait_phase("Cancelled");
    me("carol").does(&["-n", &namespace, "scale", "deployment/up", "--replicas=1"]);
    assert_eq!(all(), ["0", "1", "2"], "a deletion that was let pass may still come");
    denied("RequestInUse", &me("alice").kubectl(&["delete", "deletionrequest", &asked.name]));
    within(PUT_BACK, "it to run as it did", || replicas(&namespace, "deployment/alone") == "2");
    eventually("all of it to be done with", || asked.field("{.status.scaledDown[*].settled}") == "true true true");
    assert_eq!(all(), ["2", "1", "2"]);
    assert_eq!(suspended(&namespace, "report"), "false");
    me("alice").does(&["delete", "deletionrequest", &asked.name]);
}

#[test]
fn what_the_requester_may_not_do_is_left_to_people() {
    let namespace = non_production("may-not");
    bound(&claim_of(&namespace, "reports"));
    for name in ["may", "may-not"] {
        me("admin").creates(&mounts(&namespace, name, "reports"));
    }
    me("admin").creates(&cron_job(&namespace, "report", "reports"));
    run(&namespace, 4);
    enter_production(&namespace);
    let paul = acting("paul", &["stores"]);
    let bind = |role: &str| {
        let (role, name) = (format!("--{role}"), role.replace('=', "-").to_lowercase());
        me("admin").does(&["-n", &namespace, "create", "rolebinding", &name, &role, "--group=stores"]);
    };
    bind("clusterrole=foureyes-requester");
    let one = ["role", "one", "--verb=patch", "--resource=deployments/scale", "--resource-name=may"];
    me("admin").does(&[&["-n", &namespace, "create"], &one[..]].concat());
    bind("role=one");

    let asked = asks_to_scale(&paul, &namespace, &claim_target(&namespace, "reports"));
    asked.said(&me("bob"), "Approve");
    let said = shut_down(&asked, "LeftToPeople");
    assert_eq!(said, "paul may not scale Deployment/may-not; paul may not suspend CronJob/report");
    eventually("what he may scale to be down", || names(&namespace, "pods").len() == 2);
    assert_eq!(replicas(&namespace, "deployment/may"), "0");
    assert_eq!(
        (replicas(&namespace, "deployment/may-not"), suspended(&namespace, "report")),
        ("2".into(), "false".into())
    );
    let refusal = denied("NotYetExecutable", &delete_claim(&me("eve"), &namespace, "reports"));
    assert!(refusal.contains("foureyes shuts it down: paul may not scale Deployment/may-not"), "{refusal}");

    // people do it
    me("carol").does(&["-n", &namespace, "scale", "deployment/may-not", "--replicas=0"]);
    asked.wait_phase("Executable");
    deletes_claim(&me("eve"), &namespace, "reports");
    wait_gone(&namespace, "pvc", "reports");
    asked.wait_phase("Executed");
    assert_eq!(replicas(&namespace, "deployment/may"), "0", "what was deleted is not put back");
}

#[test]
fn who_scales_it_up_again_is_named_and_not_fought() {
    let namespace = non_production("fights-back");
    bound(&claim_of(&namespace, "reports"));
    me("admin").creates(&mounts(&namespace, "web", "reports"));
    run(&namespace, 2);
    enter_production(&namespace);
    let asked = asks_to_scale(&me("alice"), &namespace, &claim_target(&namespace, "reports"));
    asked.said(&me("bob"), "Approve");
    asked.wait_phase("Executable");
    me("admin").creates(&autoscaler(&namespace, "web"));
    // as a GitOps tool heals what it has in Git
    let heal = ["patch", "deployment/web", "--type=merge", "-p", r#"{"spec":{"replicas":3}}"#];
    me("carol").does(&[&["-n", &namespace], &heal[..], &["--field-manager=argocd-controller"]].concat());
    let again = "scaled down once and running again: Deployment/web (set by argocd-controller, scaled by HorizontalPodAutoscaler/web)";
    assert_eq!(shut_down(&asked, "FoughtBack"), again);
    asked.wait_phase("Quiescing");
    run(&namespace, 3);
    eventually("it to be said", || asked.field("{.status.waitingFor}").contains(again));
    // a GitOps tool that deploys something else meanwhile has no better luck in hiding it
    me("admin").does(&["-n", &namespace, "annotate", "deployment/web", "example.org/synced=true"]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(replicas(&namespace, "deployment/web"), "3");
    let events = me("admin").does(&["get", "events", "-A", "-o=jsonpath={range .items[*]}{.message}{\"\\n\"}{end}"]);
    assert!(events.contains(again), "{events}");

    me("carol").does(&["-n", &namespace, "delete", "hpa", "web"]);
    me("carol").does(&["-n", &namespace, "scale", "deployment/web", "--replicas=0"]);
    asked.wait_phase("Executable");
    shut_down(&asked, "ScaledDown");
}

#[test]
fn what_would_lose_its_claims_and_what_a_machine_asked_for_is_not_scaled() {
    let namespace = non_production("not-scaled");
    me("admin").creates(&stateful_set(&namespace, 1, "standard", true));
    eventually("the pod to be there", || names(&namespace, "pods").len() == 1);
    enter_production(&namespace);
    let target = claim_target(&namespace, "data-db-0");
    let asked = asks_to_scale(&me("alice"), &namespace, &target);
    asked.said(&me("bob"), "Approve");
    assert_eq!(shut_down(&asked, "LeftToPeople"), "claims would be deleted with the pods of StatefulSet/db");
    assert_eq!(replicas(&namespace, "statefulset/db"), "1");

    let machine = acting(&format!("system:serviceaccount:{namespace}:ci"), &[]);
    let rights = ["create", "rolebinding", "ci", "--clusterrole=foureyes-requester"];
    let ci = format!("--serviceaccount={namespace}:ci");
    me("admin").does(&[&["-n", &namespace], &rights[..], &[&ci]].concat());
    let asked = asks_to_scale(&machine, &namespace, &target);
    asked.said(&me("bob"), "Approve");
    asked.said(&me("alice"), "Approve");
    shut_down(&asked, "NoHumanRequester");

    let policy = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": {"name": namespace},
                        "spec": {"deletion": {"shutdown": "Scale"}}});
    denied_in_words("only the policy named default may set", &me("admin").create(&policy, &[]));
}
