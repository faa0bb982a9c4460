//! What runs by itself goes on: an autoscaler, and controllers that put back what was taken from them. Nobody is asked.

use serde_json::{Value, json};

use crate::support::objects::{names, web, within};
use crate::support::{account, decisions, field, me, production, went};

use std::time::Duration;

/// The autoscaler's controller looks at each of its objects every 15 s.
const LONG: Duration = Duration::from_secs(90);

#[track_caller]
fn replicas(namespace: &str, count: u32) {
    within(LONG, &format!("{count} replicas"), || {
        let path = "{.spec.replicas}/{.status.replicas}/{.status.updatedReplicas}/{.status.availableReplicas}";
        field(namespace, "deployment", "web", path) == format!("{count}/{count}/{count}/{count}")
    });
}

/// What the guard was asked about the workload since it was created.
fn asked(namespace: &str) -> Vec<Value> {
    let mut asked = decisions::about(namespace);
    let ours = ["changerequests", "signoffs"];
    asked.retain(|line| line["operation"] != "CREATE" && !ours.contains(&line["resource"].as_str().unwrap()));
    asked
}

/// A restart is asked about, so that once it is logged everything before it is.
#[track_caller]
fn asked_nothing_but_a_restart(namespace: &str) {
    me("eve").does(&["-n", namespace, "rollout", "restart", "deployment/web"]);
    within(LONG, "the restart to be logged", || !asked(namespace).is_empty());
    let asked = asked(namespace);
    let restarted = |line: &Value| line["user"] == "eve" && line["code"] == "Unchanged";
    assert!(asked.iter().all(restarted), "{asked:#?}");
}

#[test]
fn an_autoscaler_scales() {
    let namespace = production("autoscaled");
    me("alice").creates_with_four_eyes(&web(&namespace, 1));
    replicas(&namespace, 1);
    // its own controller, which needs no metrics to put what is out of bounds back into them
    let bounds = |least: u32, most: u32| json!({"spec": {"minReplicas": least, "maxReplicas": most}});
    let mut scaler = bounds(3, 5);
    scaler["spec"]["scaleTargetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    scaler["apiVersion"] = json!("autoscaling/v2");
    scaler["kind"] = json!("HorizontalPodAutoscaler");
    scaler["metadata"] = json!({"namespace": namespace, "name": "web"});
    me("eve").creates(&scaler);
    replicas(&namespace, 3);
    let patch = bounds(1, 2).to_string();
    me("eve").does(&["-n", &namespace, "patch", "hpa", "web", "--type=merge", "-p", &patch]);
    replicas(&namespace, 2);
    me("eve").does(&["-n", &namespace, "delete", "hpa", "web"]);
    // what it would do by metrics, in its name and by its right: nothing measures here
    let place = format!("/apis/apps/v1/namespaces/{namespace}/deployments/web/scale");
    let controller = account("kube-system", "horizontal-pod-autoscaler");
    let mut scale: Value = serde_json::from_str(&controller.does(&["get", "--raw", &place])).unwrap();
    scale["spec"]["replicas"] = json!(4);
    went(&controller.kubectl_with(&["replace", "--raw", &place, "-f", "-"], Some(&scale)));
    replicas(&namespace, 4);
    asked_nothing_but_a_restart(&namespace);
}

#[test]
fn controllers_put_back_what_was_taken() {
    let namespace = production("healed");
    me("alice").creates_with_four_eyes(&web(&namespace, 1));
    me("eve").does(&["-n", &namespace, "scale", "deployment", "web", "--replicas=2"]);
    replicas(&namespace, 2);
    let again = |kind: &str, take: &dyn Fn(&str)| {
        let before = names(&namespace, kind);
        take(&before[0]);
        within(LONG, &format!("other {kind}"), || {
            let now = names(&namespace, kind);
            now.len() == before.len() && !now.contains(&before[0])
        });
        replicas(&namespace, 2);
    };
    again("pods", &|pod| drop(me("eve").does(&["-n", &namespace, "delete", "pod", pod])));
    again("pods", &|pod| {
        let eviction =
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"namespace": namespace, "name": pod}});
        let place = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
        went(&me("admin").kubectl_with(&["create", "--raw", &place, "-f", "-"], Some(&eviction)));
    });
    let uid = || field(&namespace, "replicasets", "--selector=app=web", "{.items[*].metadata.uid}");
    let before = uid();
    me("eve").does(&["-n", &namespace, "delete", "replicasets", "--selector=app=web"]);
    within(LONG, "another ReplicaSet", || !uid().is_empty() && uid() != before);
    replicas(&namespace, 2);
    asked_nothing_but_a_restart(&namespace);
}
