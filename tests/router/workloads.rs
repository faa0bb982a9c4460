//! Every kind that contains a pod template, what runs beside the templates, what is held back, and what goes.

use foureyes_core::api::Says;
use foureyes_core::index::{Change, NamespaceEntry, Snapshot};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::story::{
    Story, as_user, by_digest, created, deleted, deployment, template, updated, with_policy, with_record, workload,
};
use super::support::{Answer, Api, SHOP, allowed, build, judge, post, refused, synced};

const ONE: &str = "registry.example.org/web:1";
const TWO: &str = "registry.example.org/web:2";

async fn verdict(index: Snapshot, asked: &Value) -> Result<String, String> {
    judge(&build(index, &Api::default()), asked).await
}

fn in_template(template: &Value) -> Value {
    json!({"replicas": 2, "template": template})
}

fn in_jobs(template: &Value) -> Value {
    json!({"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}})
}

#[rstest]
#[case("apps", "v1", "Deployment", "deployments", in_template)]
#[case("apps", "v1", "StatefulSet", "statefulsets", in_template)]
#[case("apps", "v1", "DaemonSet", "daemonsets", in_template)]
#[case("batch", "v1", "CronJob", "cronjobs", in_jobs)]
#[case("argoproj.io", "v1alpha1", "Rollout", "rollouts", in_template)]
#[tokio::test]
async fn every_kind_is_judged_by_its_template(
    #[case] group: &str,
    #[case] version: &str,
    #[case] kind: &str,
    #[case] resource: &str,
    #[case] place: fn(&Value) -> Value,
) {
    let object = |image: &str| workload(group, version, kind, &place(&template(image)));
    let mut more = object(ONE);
    more["spec"]["minReadySeconds"] = json!(9);
    more["spec"]["schedule"] = json!("0 * * * *");
    assert_eq!(verdict(synced(), &updated(resource, &object(ONE), &more)).await, allowed("Unchanged"));
    let rollout = updated(resource, &object(ONE), &object(TWO));
    assert_eq!(verdict(synced(), &rollout).await, refused("RolloutNotRequested"));
    assert_eq!(verdict(synced(), &created(resource, &object(ONE))).await, refused("RolloutNotRequested"));
    let mut target = by_digest(&template(TWO));
    target["apiVersion"] = json!(format!("{group}/{version}"));
    target["kind"] = json!(kind);
    let story = Story::of("Normal", &[target]).approved();
    let router = build(story.index(synced()), &story.api());
    assert_eq!(judge(&router, &rollout).await, allowed("Confirmed"));
    assert_eq!(judge(&router, &created(resource, &object(TWO))).await, allowed("Confirmed"));
    let mut without = object(TWO);
    without["spec"] = json!({"replicas": 1});
    assert_eq!(judge(&router, &updated(resource, &object(ONE), &without)).await, refused("TemplateUnreadable"));
    let recorded = with_record(synced(), group, kind, &[(&template(TWO), "Change", "Seen")]);
    assert_eq!(verdict(recorded, &rollout).await, allowed("Recorded"));
}

#[tokio::test]
async fn a_rollout_that_names_another_workload_is_judged_by_the_name() {
    let by_reference = |name: &str| {
        let spec = json!({"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}});
        workload("argoproj.io", "v1alpha1", "Rollout", &spec)
    };
    let same = updated("rollouts", &by_reference("web"), &by_reference("web"));
    assert_eq!(verdict(synced(), &same).await, allowed("Unchanged"));
    let other = updated("rollouts", &by_reference("web"), &by_reference("other"));
    assert_eq!(verdict(synced(), &other).await, refused("RolloutNotRequested"));
    let own = workload("argoproj.io", "v1alpha1", "Rollout", &in_template(&template(ONE)));
    assert_eq!(
        verdict(synced(), &updated("rollouts", &by_reference("web"), &own)).await,
        refused("RolloutNotRequested")
    );
}

#[tokio::test]
async fn further_kinds_are_judged_where_a_policy_says_where_their_template_is() {
    let set = |image| workload("apps.kruise.io", "v1alpha1", "CloneSet", &in_template(&template(image)));
    let rollout = updated("clonesets", &set(ONE), &set(TWO));
    assert_eq!(verdict(synced(), &rollout).await, allowed("NoTemplate"));
    let resource = json!({"group": "apps.kruise.io", "kind": "CloneSet", "template": ".spec.template"});
    let governed = with_policy(synced(), &json!({"rolloutResources": [resource]}));
    assert_eq!(verdict(governed.clone(), &rollout).await, refused("RolloutNotRequested"));
    assert_eq!(verdict(governed, &updated("clonesets", &set(ONE), &set(ONE))).await, allowed("Unchanged"));
    let own = json!({"group": "example.org", "kind": "Site", "template": ".spec.pods"});
    let governed = with_policy(synced(), &json!({"rolloutResources": [own]}));
    let site = |image| workload("example.org", "v1", "Site", &json!({"pods": template(image)}));
    let without = workload("example.org", "v1", "Site", &json!({}));
    assert_eq!(
        verdict(governed.clone(), &updated("sites", &site(ONE), &site(TWO))).await,
        refused("RolloutNotRequested")
    );
    assert_eq!(verdict(governed, &updated("sites", &without, &site(TWO))).await, refused("RolloutNotRequested"));
    assert_eq!(verdict(synced(), &updated("sites", &site(ONE), &site(TWO))).await, refused("ReviewUnexpected"));
}

#[tokio::test]
async fn another_order_and_another_spelling_of_keys_is_the_same_template() {
    let story = Story::of("Normal", &[by_digest(&template(TWO))]).approved();
    let router = build(story.index(synced()), &story.api());
    let spelled = |image: &str| {
        format!(
            r#"{{"spec":{{"containers":[{{"\u0069mage":"{image}","env":[{{"value":"hunter2","name":"PASSWORD"}}],"name":"\u0077eb"}}]}},
                "metadata":{{"labels":{{"app":"web"}},"annotations":{{"kubectl.kubernetes.io/restartedAt":"x"}}}}}}"#
        )
    };
    for (image, expected) in [(ONE, "Unchanged"), (TWO, "Confirmed"), ("other:1", "RolloutNotRequested")] {
        let asked = updated("deployments", &deployment(&template(ONE)), &deployment(&json!("TEMPLATE")));
        let body = asked.to_string().replace("\"TEMPLATE\"", &spelled(image));
        let (_, answer) = post(&router, "/guard", body.into_bytes()).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["response"]["auditAnnotations"]["decision"], expected, "{image}");
    }
}

fn pod(image: &str) -> Value {
    workload("", "v1", "Pod", &json!({"nodeName": "n", "containers": [{"name": "web", "image": image}]}))
}

#[tokio::test]
async fn a_pod_gets_no_other_image_and_no_further_container_alone() {
    let mut labelled = pod(ONE);
    labelled["metadata"]["labels"] = json!({"a": "b"});
    labelled["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    assert_eq!(verdict(synced(), &updated("pods", &pod(ONE), &labelled)).await, allowed("Unchanged"));
    assert_eq!(verdict(synced(), &updated("pods", &pod(ONE), &pod(TWO))).await, refused("RolloutNotRequested"));
    let mut debugged = pod(ONE);
    debugged["spec"]["ephemeralContainers"] = json!([{"name": "debugger", "image": "busybox"}]);
    let mut asked = updated("pods", &pod(ONE), &debugged);
    asked["request"]["subResource"] = json!("ephemeralcontainers");
    assert_eq!(verdict(synced(), &asked).await, refused("RolloutNotRequested"));
    // In-place updates are delegated by whom they are made and for what.
    let delegation = json!({"delegations": [{
        "serviceAccount": {"namespace": "kruise-system", "name": "kruise-manager"},
        "ownerKind": {"group": "apps.kruise.io", "kind": "CloneSet"}, "may": ["Roll"],
    }]});
    let mut owned = pod(ONE);
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet", "name": "web", "uid": "u", "controller": true}]);
    let asked = updated("pods", &owned, &pod(TWO));
    let by_kruise = as_user(asked.clone(), "system:serviceaccount:kruise-system:kruise-manager");
    assert_eq!(verdict(with_policy(synced(), &delegation), &by_kruise).await, allowed("Delegated"));
    assert_eq!(verdict(with_policy(synced(), &delegation), &asked).await, refused("RolloutNotRequested"));
    // Pods that come and go are nobody's business here.
    for asked in [created("pods", &pod(ONE)), deleted("pods", &pod(ONE))] {
        assert_eq!(verdict(synced(), &asked).await, refused("ReviewUnexpected"));
    }
}

/// The older kind of replica set, which people still write by hand.
#[tokio::test]
async fn a_replication_controller_keeps_its_template() {
    let of = |image: &str| workload("", "v1", "ReplicationController", &in_template(&template(image)));
    let mut scaled = of(ONE);
    scaled["spec"]["replicas"] = json!(0);
    let changed = updated("replicationcontrollers", &of(ONE), &of(TWO));
    assert_eq!(verdict(synced(), &updated("replicationcontrollers", &of(ONE), &scaled)).await, allowed("Unchanged"));
    assert_eq!(verdict(synced(), &changed).await, refused("RolloutNotRequested"));
    let mut target = by_digest(&template(TWO));
    target["apiVersion"] = json!("v1");
    target["kind"] = json!("ReplicationController");
    let story = Story::of("Normal", &[target]).approved();
    assert_eq!(judge(&build(story.index(synced()), &story.api()), &changed).await, allowed("Confirmed"));
}

fn replica_set(image: &str, owner: Option<&str>) -> Value {
    let mut template = template(image);
    template["metadata"]["labels"]["pod-template-hash"] = json!("abc");
    let mut set = workload("apps", "v1", "ReplicaSet", &json!({"replicas": 2, "template": template}));
    set["metadata"]["name"] = json!("web-abc");
    if let Some(name) = owner {
        set["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": "u", "controller": true}]);
    }
    set
}

#[tokio::test]
async fn a_replica_set_runs_what_its_workload_may() {
    let owned = |image| replica_set(image, Some("web"));
    let recorded = with_record(synced(), "apps", "Deployment", &[(&template(TWO), "Change", "Seen")]);
    let mut scaled = owned(ONE);
    scaled["spec"]["replicas"] = json!(0);
    for user in ["system:serviceaccount:kube-system:deployment-controller", "system:kube-controller-manager"] {
        let asked = as_user(updated("replicasets", &owned(ONE), &scaled), user);
        assert_eq!(verdict(synced(), &asked).await, allowed("Unchanged"));
    }
    let changed = updated("replicasets", &owned(ONE), &owned(TWO));
    assert_eq!(verdict(synced(), &changed).await, refused("RolloutNotRequested"));
    assert_eq!(verdict(recorded.clone(), &changed).await, allowed("Recorded"));
    let forged = updated("replicasets", &replica_set(ONE, None), &owned(TWO));
    assert_eq!(verdict(recorded.clone(), &forged).await, refused("RolloutNotRequested"));
    let elsewhere = updated("replicasets", &replica_set(ONE, Some("other")), &replica_set(TWO, Some("web")));
    assert_eq!(verdict(recorded, &elsewhere).await, refused("RolloutNotRequested"));
    assert_eq!(verdict(synced(), &created("replicasets", &owned(ONE))).await, refused("ReviewUnexpected"));
}

#[tokio::test]
async fn what_was_held_back_goes_on_only_where_it_was_signed_off() {
    let paused = |pending: bool| {
        let mut object = deployment(&template(TWO));
        object["spec"]["paused"] = json!(true);
        if pending {
            object["status"] = json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 0});
        }
        object
    };
    let going_on = |was: &Value| updated("deployments", was, &deployment(&template(TWO)));
    assert_eq!(verdict(synced(), &going_on(&paused(false))).await, allowed("Unchanged"));
    assert_eq!(verdict(synced(), &going_on(&paused(true))).await, refused("RolloutNotRequested"));
    let mut without_status = paused(true);
    without_status.as_object_mut().unwrap().remove("status");
    assert_eq!(verdict(synced(), &going_on(&without_status)).await, refused("RolloutNotRequested"));
    let recorded = with_record(synced(), "apps", "Deployment", &[(&template(TWO), "Change", "Seen")]);
    assert_eq!(verdict(recorded, &going_on(&paused(true))).await, allowed("Recorded"));
    let story = Story::of("Normal", &[by_digest(&template(TWO))]).approved();
    let router = build(story.index(synced()), &story.api());
    assert_eq!(judge(&router, &going_on(&paused(true))).await, allowed("Confirmed"));
    // A free change beside it is no way around.
    let free = with_policy(synced(), &json!({"freeChanges": [{"annotation": "checksum/config"}]}));
    let mut asked = going_on(&paused(true));
    asked["request"]["object"]["spec"]["template"]["metadata"]["annotations"] = json!({"checksum/config": "2"});
    assert_eq!(verdict(free, &asked).await, refused("RolloutNotRequested"));
}

#[tokio::test]
async fn a_lower_partition_lets_a_revision_go_on() {
    let with = |partition: i64| {
        let spec = json!({"replicas": 3, "template": template(TWO),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}});
        let mut set = workload("apps", "v1", "StatefulSet", &spec);
        set["status"] = json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 1, "updateRevision": "b", "currentRevision": "a"});
        set
    };
    let lowered = updated("statefulsets", &with(2), &with(1));
    assert_eq!(verdict(synced(), &lowered).await, refused("RolloutNotRequested"));
    assert_eq!(verdict(synced(), &updated("statefulsets", &with(1), &with(2))).await, allowed("Unchanged"));
}

#[tokio::test]
async fn what_still_runs_goes_by_a_change_or_with_what_it_belongs_to() {
    let denied = || with_policy(synced(), &json!({"enforcement": {"removals": "Deny"}}));
    let gone = deleted("deployments", &deployment(&template(ONE)));
    assert_eq!(verdict(synced(), &gone).await, allowed("Warned"));
    assert_eq!(verdict(denied(), &gone).await, refused("RemovalNotRequested"));
    let mut collection = gone.clone();
    collection["request"]["name"] = json!("");
    assert_eq!(verdict(denied(), &collection).await, refused("RemovalNotRequested"));
    let mut scaled = gone.clone();
    scaled["request"]["oldObject"]["spec"]["replicas"] = json!(0);
    assert_eq!(verdict(denied(), &scaled).await, allowed("NotRunning"));
    let mut twice = gone.clone();
    twice["request"]["oldObject"]["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:00:00Z");
    assert_eq!(verdict(denied(), &twice).await, allowed("AlreadyGoing"));
    let mut owned = gone.clone();
    owned["request"]["oldObject"]["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "example.org/v1", "kind": "Site", "name": "shop", "uid": "u", "controller": true}]);
    let collector = "system:serviceaccount:kube-system:generic-garbage-collector";
    assert_eq!(verdict(denied(), &as_user(owned.clone(), collector)).await, allowed("Collected"));
    assert_eq!(verdict(denied(), &owned).await, refused("RemovalNotRequested"));
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "action": "Remove"});
    let story = Story::of("Normal", &[target]);
    for (story, expected) in [
        (story.clone(), refused("SignOffMissing")),
        (story.clone().approved(), allowed("Confirmed")),
        (story.approved().said("bob", Says::Hold), refused("OnHold")),
        (Story::of("Normal", &[by_digest(&template(ONE))]).approved(), refused("RemovalNotRequested")),
    ] {
        assert_eq!(judge(&build(story.index(denied()), &story.api()), &gone).await, expected);
    }
}

#[tokio::test]
async fn with_its_namespace_everything_goes_and_only_while_that_is_really_going() {
    let mut index = with_policy(synced(), &json!({"enforcement": {"removals": "Deny"}}));
    let going_since = Some("2026-01-02T03:00:00Z".parse().unwrap());
    let entry = NamespaceEntry { name: "shop".into(), uid: SHOP.into(), going_since, ..NamespaceEntry::default() };
    index.apply(Change::Namespace(entry));
    let live = |metadata: Value| {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        Api::default().answers("namespaces/shop", Answer::Json(namespace))
    };
    let gone = deleted("deployments", &deployment(&template(ONE)));
    let going = live(json!({"name": "shop", "deletionTimestamp": "2026-01-02T03:00:00Z"}));
    assert_eq!(judge(&build(index.clone(), &going), &gone).await, allowed("Collected"));
    let anew = live(json!({"name": "shop"}));
    assert_eq!(judge(&build(index, &anew), &gone).await, refused("RemovalNotRequested"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// The bypass oracle: whatever bytes become of a refused rollout, none of them is an allow.
    #[test]
    fn no_mangled_rollout_is_allowed(at in 0usize..4000, byte in any::<u8>(), cut in any::<bool>(), what in 0..4) {
        let (was, is) = (template(ONE), template("evil.example.com/miner:latest"));
        let asked = match what {
            0 => updated("deployments", &deployment(&was), &deployment(&is)),
            1 => created("deployments", &deployment(&is)),
            2 => updated("pods", &pod(ONE), &pod("evil.example.com/miner:latest")),
            _ => updated("replicasets", &replica_set(ONE, Some("web")), &replica_set("evil.example.com/miner:latest", Some("web"))),
        };
        let mut body = serde_json::to_vec(&asked).unwrap();
        let at = at % body.len();
        if cut { body.remove(at); } else { body[at] = byte; }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // What ran before may run again, and another version may be rolled out.
        let story = Story::of("Normal", &[by_digest(&template(TWO))]).approved();
        let index = story.index(with_record(synced(), "apps", "Deployment", &[(&was, "Change", "Seen")]));
        let (_, answer) = runtime.block_on(async { post(&build(index, &story.api()), "/guard", body).await });
        let allowed = serde_json::from_slice::<Value>(&answer).is_ok_and(|answer| answer["response"]["allowed"] == true);
        prop_assert!(!allowed);
    }
}
