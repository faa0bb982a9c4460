//! Changes and what is said about them: who may ask, sign off, withdraw and clear; and what an approved change
//! opens that nobody may do alone.

use foureyes_core::api::Says;
use foureyes_core::domain::rollout::object::object_digest;
use foureyes_core::domain::statement::request_digest;
use foureyes_core::index::{Change, NamespaceEntry, RequestEntry, SignOffEntry, Snapshot};
use serde_json::{Value, json};

use super::stamp::patch;
use super::story::{OWN, Story, as_user, by_digest, keys, template, with_policy};
use super::support::{Answer, Api, SHOP, allowed, build, judge, refused, request, review, synced};

fn spec() -> Value {
    json!({"type": "Normal", "title": "t", "targets": [by_digest(&template("web:2"))]})
}

/// alice creates a change in this namespace.
fn asked(namespace: &str, spec: &Value) -> Value {
    let mut review = as_user(request("CREATE", "foureyes.dev", "changerequests", Some(namespace)), "alice");
    review["request"]["object"] = json!({"metadata": {"generateName": "web-", "namespace": namespace}, "spec": spec});
    review
}

/// The review as the guard sees it: after stamp.
async fn stamped(index: &Snapshot, mut asked: Value) -> Value {
    let answer = review(&build(index.clone(), &Api::default()), "/stamp", &asked).await;
    for operation in patch(&answer) {
        let path = operation["path"].as_str().unwrap();
        let (parent, field) = path.rsplit_once('/').unwrap();
        let parent = asked["request"]["object"].pointer_mut(parent).unwrap();
        parent[field.replace("~1", "/")] = operation["value"].clone();
    }
    asked
}

fn with_rights(rights: &[&str]) -> Api {
    let rights = rights.iter().map(|right| (*right).to_owned()).collect();
    keys(Api::default()).answers("subjectaccessreviews", Answer::Rights(rights))
}

async fn create(rights: &[&str], asked: Value) -> Result<String, String> {
    let asked = stamped(&synced(), asked).await;
    judge(&build(synced(), &with_rights(rights)), &asked).await
}

const MAY: &[&str] = &["alice request changerequests shop"];

#[tokio::test]
async fn whoever_may_asks_and_the_seal_says_where() {
    let stamped = stamped(&synced(), asked("shop", &spec())).await;
    assert!(stamped["request"]["object"]["metadata"]["name"].as_str().unwrap().starts_with("web-"));
    assert_eq!(stamped["request"]["object"]["spec"]["requester"]["username"], "alice");
    let api = with_rights(&["alice request changerequests shop", "alice request changerequests other"]);
    assert_eq!(judge(&build(synced(), &api), &stamped).await, allowed("Own"));
    // Carried into another namespace the seal proves nothing.
    let mut moved = stamped.clone();
    moved["request"]["namespace"] = json!("other");
    assert_eq!(judge(&build(synced(), &api), &moved).await, refused("IdentityForged"));
    let mut edited = stamped.clone();
    edited["request"]["object"]["spec"]["title"] = json!("another");
    assert_eq!(judge(&build(synced(), &api), &edited).await, refused("IdentityForged"));
    let by_another = as_user(stamped, "mallory");
    assert_eq!(judge(&build(synced(), &api), &by_another).await, refused("IdentityForged"));
}

#[tokio::test]
async fn a_change_is_asked_for_only_where_and_as_it_can_be_used() {
    let with = |field: &str, value: Value| {
        let mut spec = spec();
        spec[field] = value;
        asked("shop", &spec)
    };
    let target = |field: &str, value: Value| {
        let mut target = by_digest(&template("web:2"));
        target[field] = value;
        with("targets", json!([target]))
    };
    let policy =
        json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "name": "default", "action": "Remove"});
    let twice = json!([by_digest(&template("web:2")), by_digest(&template("web:3"))]);
    for (asked, code) in [
        (with("type", json!("Unauthorized")), "ChangeInvalid"),
        (target("namespace", json!("other")), "ChangeInvalid"),
        (target("name", json!("../../secrets")), "ChangeInvalid"),
        (with("targets", json!([policy])), "ChangeInvalid"),
        (with("targets", twice), "ChangeInvalid"),
        (target("kind", json!("Secret")), "ChangeInvalid"),
    ] {
        assert_eq!(create(MAY, asked.clone()).await, refused(code), "{asked}");
    }
    assert_eq!(create(&[], asked("shop", &spec())).await, refused("RightMissing"));
    assert_eq!(create(&["alice request deletionrequests shop"], asked("shop", &spec())).await, refused("RightMissing"));
    assert_eq!(create(MAY, asked("shop", &spec())).await, allowed("Own"));
    let mut owned = asked("shop", &spec());
    owned["request"]["object"]["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "u"}]);
    assert_eq!(create(MAY, owned).await, refused("Immutable"));
    // Rights count in every namespace that it reaches.
    let mut reaching = by_digest(&template("web:2"));
    reaching["namespace"] = json!("other");
    let both = json!({"type": "Normal", "title": "t", "targets": [by_digest(&template("web:2")), reaching]});
    let both = |rights| create(rights, asked(OWN, &both));
    assert_eq!(both(&["alice request changerequests foureyes-system"]).await, refused("RightMissing"));
    let everywhere = ["alice request changerequests foureyes-system", "alice request changerequests other"];
    assert_eq!(both(&everywhere).await, allowed("Own"));
}

#[tokio::test]
async fn the_controller_alone_opens_what_is_unauthorised() {
    let mut spec = spec();
    spec["type"] = json!("Unauthorized");
    let asked = as_user(asked("shop", &spec), "system:serviceaccount:foureyes-system:foureyes-controller");
    assert_eq!(create(&[], asked).await, allowed("Own"));
}

#[tokio::test]
async fn open_requests_of_both_kinds_have_one_limit() {
    let mut index = synced();
    for number in 0..100 {
        index.apply(Change::Request(RequestEntry {
            name: format!("del-{number}").into(),
            uid: format!("u-{number}").into(),
            target_uid: "t".into(),
            author: "alice".into(),
            created: 0,
            supervise_by: None,
            phase: foureyes_core::api::Phase::Pending,
        }));
    }
    let asked = stamped(&index, asked("shop", &spec())).await;
    assert_eq!(judge(&build(index, &with_rights(MAY)), &asked).await, refused("TooManyOpen"));
}

#[tokio::test]
async fn a_dry_run_leaves_nothing_that_counts() {
    let mut dry = asked("shop", &spec());
    dry["request"]["dryRun"] = json!(true);
    let stamped = stamped(&synced(), dry).await;
    assert!(stamped["request"]["object"]["spec"]["requester"].get("seal").is_none());
    assert_eq!(judge(&build(synced(), &with_rights(MAY)), &stamped).await, allowed("Own"));
}

/// A change that the controller has looked at.
fn story() -> Story {
    let story = Story::of("Normal", &[by_digest(&template("web:2"))]);
    let digest = request_digest(&story.request.spec).unwrap();
    story.with_status(&json!({"phase": "Pending", "requestDigest": digest}))
}

fn statement(story: &Story, author: &str, says: &str) -> Value {
    let subject =
        json!({"kind": "ChangeRequest", "namespace": "shop", "name": "web-2", "uid": story.request.metadata.uid});
    let digest = request_digest(&story.request.spec).unwrap();
    let mut review = as_user(request("CREATE", "foureyes.dev", "signoffs", None), author);
    review["request"]["object"] = json!({
        "metadata": {"generateName": "web-"}, "spec": {"subject": subject, "says": says, "digest": digest},
    });
    review
}

async fn say(story: &Story, asked: Value) -> Result<String, String> {
    let index = story.index(synced());
    let asked = stamped(&index, asked).await;
    judge(&build(index, &story.api()), &asked).await
}

#[tokio::test]
async fn a_second_person_with_the_right_signs_a_change_off() {
    let story = story();
    assert_eq!(say(&story, statement(&story, "bob", "Approve")).await, allowed("Own"));
    assert_eq!(say(&story, statement(&story, "alice", "Approve")).await, refused("SelfApproval"));
    assert_eq!(say(&story, statement(&story, "carol", "Approve")).await, refused("RightMissing"));
    assert_eq!(say(&story, statement(&story, "alice", "Cancel")).await, allowed("Own"));
    assert_eq!(say(&story, statement(&story, "bob", "Cancel")).await, refused("StatementNotYours"));
    let machine = "system:serviceaccount:shop:argocd";
    let held = story.clone().holding(&format!("{machine} approve changerequests shop"));
    assert_eq!(say(&held, statement(&held, machine, "Approve")).await, refused("NotAPerson"));
    let mut stale = statement(&story, "bob", "Approve");
    stale["request"]["object"]["spec"]["digest"] = json!(format!("request/v1:sha256:{}", "0".repeat(64)));
    assert_eq!(say(&story, stale).await, refused("DigestStale"));
    for (field, value) in [
        ("namespace", json!("other")),
        ("name", json!("web-3")),
        ("kind", json!("DeletionRequest")),
        ("uid", json!(SHOP)),
    ] {
        let mut other = statement(&story, "bob", "Approve");
        other["request"]["object"]["spec"]["subject"][field] = value;
        assert_eq!(say(&story, other).await, refused("SubjectUnknown"), "{field}");
    }
    let ended = story.clone().with_status(&json!({"phase": "Expired"}));
    assert_eq!(say(&ended, statement(&ended, "bob", "Approve")).await, refused("RequestEnded"));
}

#[tokio::test]
async fn nobody_approves_a_change_twice() {
    let approved = story().approved();
    assert_eq!(say(&approved, statement(&approved, "bob", "Approve")).await, refused("AlreadySaid"));
    assert_eq!(say(&approved, statement(&approved, "bob", "Hold")).await, allowed("Own"));
    let other = approved.clone().holding("carol approve changerequests shop");
    assert_eq!(say(&other, statement(&other, "carol", "Approve")).await, allowed("Own"));
}

#[tokio::test]
async fn open_sign_offs_about_changes_are_counted_too() {
    let story = story();
    let mut index = story.index(synced());
    for number in 0..50 {
        index.apply(Change::SignOff(SignOffEntry {
            name: format!("so-{number}").into(),
            author: "bob".into(),
            subject_uid: story.request.metadata.uid.as_deref().unwrap().into(),
        }));
    }
    let asked = stamped(&index, statement(&story, "bob", "Approve")).await;
    assert_eq!(judge(&build(index, &story.api()), &asked).await, refused("TooManyOpen"));
}

fn delete(story: &Story, user: &str) -> Value {
    let mut review = as_user(request("DELETE", "foureyes.dev", "changerequests", Some("shop")), user);
    review["request"]["oldObject"] = serde_json::to_value(&story.request).unwrap();
    review
}

#[tokio::test]
async fn who_asked_takes_back_and_who_may_clears_what_has_ended() {
    let verdict = async |story: &Story, user: &str| {
        judge(&build(story.index(synced()), &story.api()), &delete(story, user)).await
    };
    assert_eq!(verdict(&story(), "alice").await, allowed("Own"));
    assert_eq!(verdict(&story(), "bob").await, refused("StatementNotYours"));
    let running = story().with_status(&json!({"phase": "InProgress"}));
    assert_eq!(verdict(&running, "alice").await, refused("RequestInUse"));
    let ended = story().with_status(&json!({"phase": "Succeeded"}));
    assert_eq!(verdict(&ended, "bob").await, allowed("Own"));
    assert_eq!(verdict(&ended, "carol").await, refused("RightMissing"));
    // What the review shows of the status is not what counts.
    let mut forged = delete(&running, "alice");
    forged["request"]["oldObject"]["status"] = json!({"phase": "Pending"});
    assert_eq!(judge(&build(running.index(synced()), &running.api()), &forged).await, refused("RequestInUse"));
}

#[tokio::test]
async fn changes_go_with_a_namespace_that_is_going() {
    let mut index = story().index(synced());
    let going_since = Some("2026-01-02T03:00:00Z".parse().unwrap());
    let entry = NamespaceEntry { name: "shop".into(), uid: SHOP.into(), going_since, ..NamespaceEntry::default() };
    index.apply(Change::Namespace(entry));
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "deletionTimestamp": "2026-01-02T03:00:00Z"}});
    let api = story().api().answers("namespaces/shop", Answer::Json(namespace));
    let by_controller = delete(&story(), "system:serviceaccount:kube-system:namespace-controller");
    assert_eq!(judge(&build(index, &api), &by_controller).await, allowed("Collected"));
    assert_eq!(judge(&build(synced(), &story().api()), &by_controller).await, refused("StatementNotYours"));
}

#[tokio::test]
async fn owners_finalizers_and_our_metadata_of_a_change_stay() {
    let was = serde_json::to_value(&story().request).unwrap();
    let update = |change: fn(&mut Value)| {
        let mut review = request("UPDATE", "foureyes.dev", "changerequests", Some("shop"));
        review["request"]["oldObject"] = was.clone();
        let mut new = was.clone();
        change(&mut new["metadata"]);
        review["request"]["object"] = new;
        review
    };
    let router = build(synced(), &Api::default());
    for (change, expected) in [
        ((|meta| meta["labels"] = json!({"team": "a"})) as fn(&mut Value), allowed("Harmless")),
        (|meta| meta["annotations"] = json!({"foureyes.dev/x": "y"}), refused("Immutable")),
        (|meta| meta["finalizers"] = json!(["example.org/x"]), refused("Immutable")),
        (
            |meta| meta["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}]),
            refused("Immutable"),
        ),
    ] {
        assert_eq!(judge(&router, &update(change)).await, expected);
    }
}

/// A change of one object, in the namespace in which it belongs.
fn opening(home: &str, object: &Value, remove: bool) -> Story {
    let mut target = json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"], "action": "Remove",
    });
    if !remove {
        let digest = object_digest(object).unwrap();
        target["action"] = json!("Apply");
        target["digest"] = json!({"encoding": "object/v1", "value": digest.strip_prefix("object/v1:").unwrap()});
    }
    let spec = json!({"type": "Normal", "title": "t", "targets": [target]});
    // What has no namespace is judged in the whole cluster.
    let place = if object["kind"] == "Namespace" { home } else { "" };
    Story::by("alice", home, &spec).approved().holding(&format!("bob approve changerequests {place}"))
}

fn written(operation: &str, resource: &str, old: Option<&Value>, new: Option<&Value>) -> Value {
    let object = new.or(old).unwrap();
    let group = object["apiVersion"].as_str().unwrap().split_once('/').map_or("", |(group, _)| group);
    let mut review = request(operation, group, resource, None);
    review["request"]["kind"]["kind"] = object["kind"].clone();
    review["request"]["oldObject"] = json!(old);
    review["request"]["object"] = json!(new);
    review
}

/// Refused to everybody, break-glass too, with the line that asks; opened by an approved change of exactly this.
async fn only_a_change_opens(index: &Snapshot, asked: &Value, story: &Story, code: &str) {
    let mut by_break_glass = as_user(asked.clone(), "dave");
    by_break_glass["request"]["userInfo"]["groups"] = json!(["foureyes:breakglass", "system:masters"]);
    for asked in [asked, &by_break_glass] {
        assert_eq!(judge(&build(index.clone(), &Api::default()), asked).await, refused(code));
        assert_eq!(judge(&build(story.index(index.clone()), &story.api()), asked).await, allowed("Confirmed"));
    }
    let answer = review(&build(index.clone(), &Api::default()), "/guard", asked).await;
    let message = answer["status"]["message"].as_str().unwrap();
    let line = message.lines().last().unwrap();
    let shown: Value = serde_json::from_str(line.strip_prefix("echo '").unwrap().split('\'').next().unwrap()).unwrap();
    assert_eq!(shown["spec"]["targets"], serde_json::to_value(&story.request.spec.targets).unwrap());
    assert_eq!(shown["metadata"]["namespace"], json!(story.request.metadata.namespace));
    let mut unsigned = story.clone();
    unsigned.sign_offs.clear();
    assert_eq!(judge(&build(unsigned.index(index.clone()), &unsigned.api()), asked).await, refused("SignOffMissing"));
    let held = story.clone().said("alice", Says::Hold);
    assert_eq!(judge(&build(held.index(index.clone()), &held.api()), asked).await, refused("OnHold"));
}

fn policy(min: i32) -> Value {
    json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy",
        "metadata": {"name": "default", "uid": "u", "resourceVersion": "7"}, "spec": {"approvals": {"min": min}}})
}

#[tokio::test]
async fn a_looser_policy_takes_a_change() {
    // Whoever signs it off is judged by the policy as it was: two people.
    let index = with_policy(synced(), &json!({"approvals": {"min": 2}}));
    let two = |story: Story| story.said("carol", Says::Approve).holding("carol approve changerequests ");
    let loosened = written("UPDATE", "safetypolicies", Some(&policy(2)), Some(&policy(1)));
    let story = two(opening(OWN, &policy(1), false));
    only_a_change_opens(&index, &loosened, &story, "PolicyLoosened").await;
    let mut by_one = story.clone();
    by_one.sign_offs.pop();
    assert_eq!(judge(&build(by_one.index(index.clone()), &by_one.api()), &loosened).await, refused("SignOffMissing"));
    let looser_still = written("UPDATE", "safetypolicies", Some(&policy(3)), Some(&policy(2)));
    assert_eq!(judge(&build(story.index(index.clone()), &story.api()), &looser_still).await, refused("PolicyLoosened"));
    let gone = written("DELETE", "safetypolicies", Some(&policy(2)), None);
    only_a_change_opens(&index, &gone, &two(opening(OWN, &policy(2), true)), "PolicyLoosened").await;
    let tightened = written("UPDATE", "safetypolicies", Some(&policy(2)), Some(&policy(3)));
    assert_eq!(judge(&build(index, &Api::default()), &tightened).await, allowed("Harmless"));
}

fn namespace(labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "uid": SHOP, "labels": labels}, "spec": {}})
}

#[tokio::test]
async fn leaving_production_takes_a_change_in_the_namespace_itself() {
    let (was, is) = (namespace(&json!({})), namespace(&json!({"foureyes.dev/environment": "non-production"})));
    let leaving = written("UPDATE", "namespaces", Some(&was), Some(&is));
    only_a_change_opens(&synced(), &leaving, &opening("shop", &is, false), "EnvironmentLoosened").await;
    // Rollouts are protected by it as well as data.
    let modes = |deletions: &str, rollouts: &str| {
        let modes = json!({"deletions": deletions, "rollouts": rollouts, "creations": rollouts, "removals": "Off"});
        with_policy(synced(), &json!({"enforcement": modes}))
    };
    for (index, expected) in [
        (modes("Off", "Deny"), refused("EnvironmentLoosened")),
        (modes("Warn", "Deny"), refused("EnvironmentLoosened")),
        (modes("Warn", "Off"), allowed("Warned")),
        (modes("Off", "Off"), allowed("SwitchedOff")),
    ] {
        assert_eq!(judge(&build(index, &Api::default()), &leaving).await, expected);
    }
}

fn definition(served: bool) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "signoffs.foureyes.dev", "uid": "u"},
        "spec": {"group": "foureyes.dev", "versions": [{"name": "v1alpha1", "served": served}]}})
}

#[tokio::test]
async fn our_definitions_take_a_change() {
    let changed = written("UPDATE", "customresourcedefinitions", Some(&definition(true)), Some(&definition(false)));
    only_a_change_opens(&synced(), &changed, &opening(OWN, &definition(false), false), "DefinitionProtected").await;
    let gone = written("DELETE", "customresourcedefinitions", Some(&definition(true)), None);
    only_a_change_opens(&synced(), &gone, &opening(OWN, &definition(true), true), "DefinitionProtected").await;
    let modes = json!({"deletions": "Warn", "rollouts": "Warn", "creations": "Warn", "removals": "Warn"});
    let observing = with_policy(synced(), &json!({"enforcement": modes}));
    assert_eq!(judge(&build(observing, &Api::default()), &changed).await, allowed("Warned"));
}

#[tokio::test]
async fn nobody_reviews_the_records_for_they_are_kept_by_a_policy() {
    for operation in ["CREATE", "UPDATE", "DELETE"] {
        let asked = request(operation, "foureyes.dev", "rolloutrecords", None);
        assert_eq!(judge(&build(synced(), &Api::default()), &asked).await, refused("ReviewUnexpected"));
    }
}

#[tokio::test]
async fn whoever_names_a_kind_that_nobody_asks_about_is_warned() {
    let policy = |groups: &[&str]| {
        let resources: Vec<Value> =
            groups.iter().map(|group| json!({"group": group, "kind": "Site", "template": ".spec.template"})).collect();
        json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": {"name": "default"},
               "spec": {"rolloutResources": resources}})
    };
    let router = build(synced(), &Api::default());
    let warnings = async |groups: &[&str]| {
        let asked = written("UPDATE", "safetypolicies", Some(&policy(&[])), Some(&policy(groups)));
        let answer = review(&router, "/guard", &asked).await;
        assert_eq!(answer["allowed"], true, "{answer}");
        answer["warnings"].as_array().cloned().unwrap_or_default()
    };
    assert!(warnings(&["apps.kruise.io"]).await.is_empty());
    let told = warnings(&["sites.example.org", "apps.kruise.io"]).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].as_str().unwrap().contains("sites.example.org") && !told[0].as_str().unwrap().contains('\n'));
}
