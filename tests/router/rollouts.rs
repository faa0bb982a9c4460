//! What runs: the six points in order, each accepted and refused (design §6).

use foureyes_core::api::Says;
use foureyes_core::index::{Change, Kind, NamespaceEntry, Snapshot};
use serde_json::{Value, json};

use super::story::{
    Story, as_user, by_digest, created, deployment, digest, keys, template, updated, with_policy, with_record,
};
use super::support::{Answer, Api, SHOP, allowed, build, judge, refused, review, synced};

const ONE: &str = "registry.example.org/web:1";
const TWO: &str = "registry.example.org/web:2";

/// eve puts image 2 in the place of image 1.
fn rollout() -> Value {
    updated("deployments", &deployment(&template(ONE)), &deployment(&template(TWO)))
}

async fn with_nothing_known(index: Snapshot, asked: &Value) -> Result<String, String> {
    let api = Api::default();
    let verdict = judge(&build(index, &api), asked).await;
    assert!(api.asked.lock().unwrap().is_empty(), "nothing is read where the index knows no change");
    verdict
}

async fn with_change(story: &Story, index: Snapshot, asked: &Value) -> Result<String, String> {
    judge(&build(story.index(index), &story.api()), asked).await
}

#[tokio::test]
async fn what_runs_unchanged_passes_however_it_is_spelled() {
    let was = deployment(&template(ONE));
    let mut scaled = was.clone();
    scaled["spec"]["replicas"] = json!(9);
    let mut labelled = was.clone();
    labelled["metadata"]["labels"] = json!({"team": "a"});
    let mut restarted = was.clone();
    restarted["spec"]["template"]["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:05Z"});
    let mut without_null = was.clone();
    without_null["spec"]["template"]["metadata"].as_object_mut().unwrap().remove("creationTimestamp");
    let mut paused = was.clone();
    paused["spec"]["paused"] = json!(true);
    for new in [was.clone(), scaled, labelled, restarted, without_null, paused] {
        for user in ["eve", "system:serviceaccount:kube-system:deployment-controller", "system:kube-controller-manager"]
        {
            let asked = as_user(updated("deployments", &was, &new), user);
            assert_eq!(with_nothing_known(synced(), &asked).await, allowed("Unchanged"), "{new}");
        }
    }
}

#[tokio::test]
async fn only_named_annotations_change_freely_and_none_that_brings_a_sidecar() {
    let was = deployment(&template(ONE));
    let annotated = |annotations: Value| {
        let mut new = was.clone();
        new["spec"]["template"]["metadata"]["annotations"] = annotations;
        updated("deployments", &was, &new)
    };
    let free = with_policy(synced(), &json!({"freeChanges": [{"annotation": "checksum/config"}]}));
    let checksum = annotated(json!({"checksum/config": "2"}));
    assert_eq!(with_nothing_known(free.clone(), &checksum).await, allowed("Unchanged"));
    assert_eq!(with_nothing_known(synced(), &checksum).await, refused("RolloutNotRequested"));
    let sidecar = annotated(json!({"checksum/config": "2", "sidecar.istio.io/inject": "true"}));
    assert_eq!(with_nothing_known(free, &sidecar).await, refused("RolloutNotRequested"));
}

#[tokio::test]
async fn a_refusal_shows_digest_images_and_a_line_to_paste_and_no_secrets() {
    let answer = review(&build(synced(), &Api::default()), "/guard", &rollout()).await;
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(message.contains(&digest(&template(TWO))) && message.contains(&format!("web {ONE} → {TWO}")), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
    let line = message.lines().last().unwrap();
    let object = line.strip_prefix("echo '").unwrap().strip_suffix("' | kubectl create -f -").unwrap();
    let object: Value = serde_json::from_str(object).unwrap();
    assert_eq!(object["metadata"], json!({"generateName": "web-", "namespace": "shop"}));
    assert_eq!(object["spec"]["targets"][0], by_digest(&template(TWO)));
}

#[tokio::test]
async fn an_approved_change_of_exactly_this_lets_anybody_roll_it_out() {
    let by_digest = Story::of("Normal", &[by_digest(&template(TWO))]).approved();
    let images = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "action": "Apply", "images": {"web": TWO}});
    let by_images = Story::of("Normal", &[images]).approved();
    let recorded = with_record(synced(), "apps", "Deployment", &[(&template(ONE), "Change", "Seen")]);
    for who in ["eve", "alice", "bob", "system:serviceaccount:argocd:argocd"] {
        let asked = as_user(rollout(), who);
        assert_eq!(with_change(&by_digest, synced(), &asked).await, allowed("Confirmed"), "{who}");
        assert_eq!(with_change(&by_images, recorded.clone(), &asked).await, allowed("Confirmed"), "{who}");
    }
    // Named images are exchanged in what was authorised before, and nothing was.
    assert_eq!(with_change(&by_images, synced(), &rollout()).await, refused("RolloutNotRequested"));
    let pinned = with_policy(recorded, &json!({"pin": "Template"}));
    assert_eq!(with_change(&by_images, pinned, &rollout()).await, refused("RolloutNotRequested"));
}

#[tokio::test]
async fn what_is_asked_and_what_was_signed_off_are_the_same_to_the_byte() {
    let story = Story::of("Normal", &[by_digest(&template(TWO))]).approved();
    let mut other = template(TWO);
    other["spec"]["containers"][0]["command"] = json!(["sh"]);
    let asked = updated("deployments", &deployment(&template(ONE)), &deployment(&other));
    assert_eq!(with_change(&story, synced(), &asked).await, refused("RolloutNotRequested"));
    let mut elsewhere = deployment(&template(TWO));
    elsewhere["metadata"]["name"] = json!("other");
    let asked = updated("deployments", &elsewhere, &elsewhere);
    assert_eq!(with_change(&story, synced(), &asked).await, allowed("Unchanged"));
    let asked = created("deployments", &elsewhere);
    assert_eq!(with_change(&story, synced(), &asked).await, refused("RolloutNotRequested"));
    let mut dry = rollout();
    dry["request"]["dryRun"] = json!(true);
    assert_eq!(with_change(&story, synced(), &dry).await, allowed("Confirmed"));
}

#[tokio::test]
async fn a_change_counts_only_signed_off_in_time_and_as_it_stands() {
    let story = || Story::of("Normal", &[by_digest(&template(TWO))]);
    let mut without_right = story().approved();
    without_right.rights.retain(|right| !right.starts_with("bob"));
    let mut unsealed = story().approved();
    unsealed.sign_offs[0].spec.seal = None;
    let mut machine = story().approved();
    machine.request.spec.requester = None;
    let mut going = story().approved();
    going.request.metadata.deletion_timestamp = going.request.metadata.creation_timestamp.clone();
    let window = |start: &str, end: &str| {
        let spec = json!({"type": "Normal", "title": "t", "targets": [by_digest(&template(TWO))],
            "window": {"start": start, "end": end}});
        Story::by("alice", "shop", &spec).approved()
    };
    let cases = [
        (story(), "SignOffMissing"),
        (story().said("alice", Says::Approve), "SignOffMissing"),
        (without_right, "SignOffMissing"),
        (unsealed, "SignOffMissing"),
        // Nobody is proven to have asked, so it takes two.
        (machine, "SignOffMissing"),
        (story().approved().said("alice", Says::Hold), "OnHold"),
        (story().said("bob", Says::Reject), "RequestEnded"),
        (story().approved().with_status(&json!({"phase": "Succeeded"})), "RequestEnded"),
        (
            story().approved().with_status(&json!({"phase": "Approved", "validUntil": "2026-01-02T03:00:00Z"})),
            "RequestEnded",
        ),
        (going, "RequestEnded"),
        (window("2026-01-02T04:00:00Z", "2026-01-02T05:00:00Z"), "WindowClosed"),
        (window("2026-01-02T01:00:00Z", "2026-01-02T03:00:00Z"), "RequestEnded"),
    ];
    for (number, (story, code)) in cases.into_iter().enumerate() {
        // The index has heard of it before it ended.
        let mut open = story.clone();
        open.request.status = None;
        let router = build(open.index(synced()), &story.api());
        assert_eq!(judge(&router, &rollout()).await, refused(code), "case {number}");
    }
    let open = window("2026-01-02T01:00:00Z", "2026-01-02T05:00:00Z");
    assert_eq!(with_change(&open, synced(), &rollout()).await, allowed("Confirmed"));
}

#[tokio::test]
async fn what_cannot_be_read_allows_nothing() {
    let story = Story::of("Normal", &[by_digest(&template(TWO))]).approved();
    for part in ["changerequests/", "signoffs?", "subjectaccessreviews", "configmaps/"] {
        let api = Api::default().answers(part, Answer::Status(500));
        let api = story.api().behind(api);
        let verdict = judge(&build(story.index(synced()), &api), &rollout()).await;
        assert_eq!(verdict, refused("ClusterUnreadable"), "{part}");
    }
    // The index still knows a change that is gone.
    let none = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOffList", "metadata": {}, "items": []});
    let gone = keys(Api::default()).answers("signoffs?", Answer::Json(none));
    let verdict = judge(&build(story.index(synced()), &gone), &rollout()).await;
    assert_eq!(verdict, refused("RolloutNotRequested"));
}

#[tokio::test]
async fn what_ran_under_authorisation_may_run_again_though_nothing_answers() {
    let story = Story::of("Normal", &[by_digest(&template("registry.example.org/web:3"))]);
    let known = |how: &str, outcome: &str| {
        let ran = [(&template(ONE), "Change", "Seen"), (&template(TWO), how, outcome)];
        with_record(story.index(synced()), "apps", "Deployment", &ran)
    };
    let hangs = Api::default().answers("/", Answer::Hang);
    let back = |index| async { judge(&build(index, &hangs), &rollout()).await };
    assert_eq!(back(known("Baseline", "Seen")).await, allowed("Recorded"));
    assert_eq!(back(known("Emergency", "Missed")).await, allowed("Recorded"));
    let again = created("deployments", &deployment(&template(TWO)));
    assert_eq!(judge(&build(known("Change", "Seen"), &hangs), &again).await, allowed("Recorded"));
    let none = with_policy(known("Change", "Seen"), &json!({"rollback": {"revisions": 0}}));
    for index in [known("Unauthorised", "Seen"), known("Unreviewed", "Seen"), known("Change", "NotSeen"), none] {
        assert_eq!(judge(&build(index, &story.api()), &rollout()).await, refused("RolloutNotRequested"));
    }
}

#[tokio::test]
async fn a_standard_change_exchanges_images_and_a_delegation_rolls_what_is_owned() {
    let policy = json!({
        "standardChanges": [{
            "targets": [{"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "*"}],
            "imagePattern": "registry.example.org/web:*", "actors": [{"username": "updater"}],
        }],
        "delegations": [{
            "serviceAccount": {"namespace": "ops", "name": "operator"},
            "ownerKind": {"group": "example.org", "kind": "Site"}, "may": ["Roll"],
        }],
    });
    let recorded = with_record(synced(), "apps", "Deployment", &[(&template(ONE), "Change", "Seen")]);
    let index = || with_policy(recorded.clone(), &policy);
    assert_eq!(with_nothing_known(index(), &as_user(rollout(), "updater")).await, allowed("Standard"));
    assert_eq!(with_nothing_known(index(), &rollout()).await, refused("RolloutNotRequested"));
    let foreign = updated("deployments", &deployment(&template(ONE)), &deployment(&template("evil.example.org/web:2")));
    assert_eq!(with_nothing_known(index(), &as_user(foreign, "updater")).await, refused("RolloutNotRequested"));
    let mut controlled = rollout();
    let owner =
        json!([{"apiVersion": "example.org/v1", "kind": "Site", "name": "shop", "uid": "u", "controller": true}]);
    controlled["request"]["oldObject"]["metadata"]["ownerReferences"] = owner.clone();
    let operator = "system:serviceaccount:ops:operator";
    assert_eq!(with_nothing_known(index(), &as_user(controlled.clone(), operator)).await, allowed("Delegated"));
    assert_eq!(with_nothing_known(index(), &controlled).await, refused("RolloutNotRequested"));
    // Whoever becomes the owner with this very update was not the owner before.
    let mut forged = rollout();
    forged["request"]["object"]["metadata"]["ownerReferences"] = owner;
    assert_eq!(with_nothing_known(index(), &as_user(forged, operator)).await, refused("RolloutNotRequested"));
}

#[tokio::test]
async fn an_emergency_is_used_at_once_by_whoever_asked_with_the_right_to() {
    let story = Story::of("Emergency", &[by_digest(&template(TWO))]);
    assert_eq!(with_change(&story, synced(), &rollout()).await, refused("SignOffMissing"));
    let expedited = story.holding("alice expedite changerequests shop");
    assert_eq!(with_change(&expedited, synced(), &rollout()).await, allowed("Confirmed"));
    let mut normal = Story::of("Normal", &[by_digest(&template(TWO))]);
    normal.rights = expedited.rights.clone();
    assert_eq!(with_change(&normal, synced(), &rollout()).await, refused("SignOffMissing"));
}

#[tokio::test]
async fn a_change_in_foureyes_own_namespace_reaches_others_where_its_people_have_rights() {
    let mut target = by_digest(&template(TWO));
    target["namespace"] = json!("shop");
    let spec = json!({"type": "Normal", "title": "t", "targets": [target]});
    let story = Story::by("alice", super::story::OWN, &spec).approved();
    // bob may approve in foureyes' namespace, which is not where it runs.
    assert_eq!(with_change(&story, synced(), &rollout()).await, refused("SignOffMissing"));
    let story = story.holding("bob approve changerequests shop");
    assert_eq!(with_change(&story, synced(), &rollout()).await, allowed("Confirmed"));
}

#[tokio::test]
async fn where_nothing_is_governed_everything_passes_with_its_reason() {
    let mut outside = synced();
    let labels = [("foureyes.dev/environment".to_owned(), "non-production".to_owned())].into();
    let entry = NamespaceEntry { name: "shop".into(), uid: SHOP.into(), labels, ..NamespaceEntry::default() };
    outside.apply(Change::Namespace(entry.clone()));
    let mut not_started = Snapshot::default();
    for kind in Kind::ALL {
        not_started.apply(Change::Reset(kind, Vec::new()));
    }
    not_started.apply(Change::Namespace(NamespaceEntry { labels: std::collections::BTreeMap::new(), ..entry }));
    let says = |mode: &str| with_policy(synced(), &json!({"enforcement": {"rollouts": mode}}));
    for (index, proof) in [
        (outside, "NonProduction"),
        (not_started, "NotStarted"),
        (with_policy(synced(), &json!({"systemNamespaces": ["shop"]})), "SystemNamespace"),
        (says("Off"), "SwitchedOff"),
        (says("Warn"), "Warned"),
    ] {
        assert_eq!(with_nothing_known(index, &rollout()).await, allowed(proof));
    }
    let answer = review(&build(says("Warn"), &Api::default()), "/guard", &rollout()).await;
    let warning = answer["warnings"][0].as_str().unwrap();
    assert!(warning.contains("[RolloutNotRequested]") && !warning.contains('\n'), "{warning}");
}

#[tokio::test]
async fn what_comes_with_a_namespace_is_judged_by_the_namespace_as_it_is() {
    let mut asked = rollout();
    asked["request"]["namespace"] = json!("new");
    let verdict = async |index: Snapshot, api: &Api| judge(&build(index, api), &asked).await;
    let labelled =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new", "labels": {"stage": "test"}}});
    let api = Api::default().answers("namespaces/new", Answer::Json(labelled));
    let test = json!({"selector": {"matchLabels": {"stage": "test"}}, "environment": "NonProduction"});
    let outside = with_policy(synced(), &json!({"environments": [test]}));
    assert_eq!(verdict(outside.clone(), &api).await, allowed("NonProduction"));
    assert_eq!(verdict(synced(), &api).await, refused("RolloutNotRequested"));
    let broken = Api::default().answers("namespaces/new", Answer::Status(500));
    assert_eq!(verdict(outside.clone(), &broken).await, refused("ClusterUnreadable"));
    let none = Api::default().answers("namespaces/new", Answer::NotFound);
    assert_eq!(verdict(outside, &none).await, refused("NotReady"));
}
