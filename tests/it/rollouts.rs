//! What runs, on the real control plane: the six points of the guard, each accepted and refused, in every spelling that
//! kubectl has.

use foureyes_testbed::Output;
use serde_json::{Value, json};

use crate::support::changes::{Change, asked, line, opened};
use crate::support::floor::add_to_floor;
use crate::support::objects::{IMAGE, enter_production, eventually, tighten, web};
use crate::support::spelling::{self, Object, Spelling, merge};
use crate::support::{acting, denied, denied_in_words, field, me, non_production, paste, production, went};

const NEW: &str = "RolloutNotRequested";

fn image(version: u32) -> Value {
    let containers = json!([{"name": "web", "image": format!("{IMAGE}:{version}")}]);
    json!({"spec": {"template": {"spec": {"containers": containers}}}})
}

/// A production namespace in which version 1 runs with everybody's consent.
fn running(prefix: &str) -> (String, Object) {
    let namespace = production(prefix);
    me("alice").creates_with_four_eyes(&web(&namespace, 1));
    settled(&namespace);
    let object = spelling::deployment(&namespace, "web");
    (namespace, object)
}

fn settled(namespace: &str) {
    let status = ["-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s"];
    me("admin").does(&status);
}

fn runs(namespace: &str) -> String {
    field(namespace, "deployment", "web", "{.spec.template.spec.containers[*].image}")
}

fn history(namespace: &str) -> String {
    let path = "-o=jsonpath={range .items[?(@.spec.workload.namespace==\"NAMESPACE\")].status.entries[*]}{.how} {end}";
    me("admin").does(&["get", "rolloutrecords", &path.replace("NAMESPACE", namespace)])
}

#[track_caller]
fn becomes(namespace: &str, expected: &str) {
    eventually(&format!("the record to say {expected}, not {}", history(namespace)), || {
        history(namespace).trim() == expected
    });
}

const OF_WORKLOADS: &[Spelling] =
    &[Spelling::Merge, Spelling::Json, Spelling::Strategic, Spelling::Put, Spelling::Apply, Spelling::ServerApply];

#[test]
fn a_new_version_is_refused_in_every_spelling() {
    let (namespace, object) = running("spelled");
    for dry in [&[][..], &["--dry-run=server"]] {
        for spelling in OF_WORKLOADS {
            let refusal = denied(NEW, &object.change(&me("eve"), *spelling, &image(2), dry));
            assert!(refusal.contains(&format!("web {IMAGE}:1 → {IMAGE}:2")), "{spelling:?}: {refusal}");
        }
        for args in [
            &["set", "image", "deployment/web", &format!("web={IMAGE}:2")][..],
            &["set", "env", "deployment/web", "MODE=open"],
            &["set", "resources", "deployment/web", "--limits=cpu=1"],
            &["set", "serviceaccount", "deployment/web", "other"],
        ] {
            me("eve").cannot(NEW, &[&["-n", &namespace], args, dry].concat());
            me("admin").cannot(NEW, &[&["-n", &namespace], args, dry].concat());
        }
    }
    let whole = me("eve").kubectl_with(&["replace", "--force", "-f", "-"], Some(&web(&namespace, 2)));
    denied(NEW, &whole);
    // it was deleted, which is only warned about, and comes back as it was
    went(&me("eve").create(&web(&namespace, 1), &[]));
    assert_eq!(runs(&namespace), format!("{IMAGE}:1"));
}

/// Fact 25: whoever may edit can reach what runs without touching its template.
#[test]
fn no_other_image_comes_in_below_the_template() {
    let (namespace, _) = running("below");
    let first = |kind: &str| field(&namespace, kind, "--selector=app=web", "{.items[0].metadata.name}");
    let (pod, set) = (first("pods"), first("replicasets"));
    let eve = me("eve");
    let at = |args: &[&str]| eve.kubectl(&[&["-n", &namespace], args].concat());
    for dry in ["--dry-run=none", "--dry-run=server"] {
        denied(NEW, &at(&["set", "image", &format!("pod/{pod}"), &format!("web={IMAGE}:2"), dry]));
        denied(NEW, &at(&["patch", "replicaset", &set, "--type=strategic", "-p", &image(2).to_string(), dry]));
    }
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "example/shell:1"}]}});
    let by = ["patch", "pod", &pod, "--subresource=ephemeralcontainers", "--type=strategic", "-p", &debug.to_string()];
    denied(NEW, &me("admin").kubectl(&[&["-n", &namespace], &by[..]].concat()));
    let template =
        json!({"metadata": {"labels": {"app": "rc"}}, "spec": {"containers": [{"name": "web", "image": "rc:1"}]}});
    let mut controller = json!({"apiVersion": "v1", "kind": "ReplicationController", "spec": {"template": template}});
    controller["metadata"] = json!({"namespace": namespace, "name": "rc"});
    went(&eve.create(&controller, &[]));
    denied(NEW, &at(&["patch", "replicationcontroller", "rc", "--type=strategic", "-p", &image(2).to_string()]));
    let label = json!({"metadata": {"labels": {"team": "a"}}}).to_string();
    for object in [format!("pod/{pod}"), format!("replicaset/{set}")] {
        went(&at(&["patch", &object, "--type=merge", "-p", &label]));
    }
    went(&at(&["delete", "pod", &pod]));
    settled(&namespace);
}

#[test]
fn every_kind_is_born_with_a_change() {
    let namespace = production("born");
    let template =
        json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    let selector = json!({"matchLabels": {"app": "x"}});
    let mut job = template.clone();
    job["spec"]["restartPolicy"] = json!("Never");
    for (version, kind, spec) in [
        ("apps/v1", "Deployment", json!({"selector": selector, "template": template})),
        ("apps/v1", "StatefulSet", json!({"selector": selector, "serviceName": "x", "template": template})),
        ("apps/v1", "DaemonSet", json!({"selector": selector, "template": template})),
        ("batch/v1", "CronJob", json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": job}}})),
    ] {
        let name = kind.to_lowercase();
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"namespace": namespace, "name": name},
                            "spec": spec});
        denied(NEW, &me("eve").create(&object, &["--dry-run=server"]));
        let change = opened(NEW, || me("eve").create(&object, &[]));
        change.is("Succeeded");
    }
    // with a name that the API server makes up, too
    let mut generated = web(&namespace, 1);
    generated["metadata"] = json!({"namespace": namespace, "generateName": "web-"});
    denied(NEW, &me("eve").create(&generated, &[]));
}

#[test]
fn a_change_lets_in_what_it_names_and_nothing_else() {
    let (namespace, object) = running("named");
    let change = |who: &'static str, version| object.change(&me(who), Spelling::Merge, &image(version), &[]);
    let asked = asked("carol", &denied(NEW, &change("eve", 2)));
    denied("SignOffMissing", &change("eve", 2));
    me("carol").cannot_create("SelfApproval", &asked.statement("Approve"));
    me("eve").cannot_create("RightMissing", &asked.statement("Approve"));
    me("argocd").cannot_create("NotAPerson", &asked.statement("Approve"));
    asked.signed_off(&[me("bob")]);
    me("bob").cannot_create("AlreadySaid", &asked.statement("Approve"));
    denied(NEW, &change("eve", 3));
    let hold = me("alice").creates(&asked.statement("Hold"));
    denied("OnHold", &change("eve", 2));
    me("alice").does(&["delete", "signoff", hold["metadata"]["name"].as_str().unwrap()]);
    eventually("it to be let go", || change("argocd", 2).ok());
    asked.is("Succeeded");
    settled(&namespace);
    becomes(&namespace, "Change Change");
    // ended, it may be cleared; what it let run goes on
    me("alice").does(&["-n", &namespace, "delete", "changerequest", &asked.name]);
    me("eve").does(&["-n", &namespace, "rollout", "undo", "deployment/web"]);
    me("eve").does(&["-n", &namespace, "rollout", "undo", "deployment/web"]);
    assert_eq!(runs(&namespace), format!("{IMAGE}:2"));
}

/// By images: the template as it was last signed off, but for these.
#[test]
fn a_change_can_name_images_alone() {
    let (namespace, object) = running("images");
    let (_, mut wanted) = line_of(&denied(NEW, &object.change(&me("eve"), Spelling::Merge, &image(2), &[])));
    let target = wanted["spec"]["targets"][0].as_object_mut().unwrap();
    target.remove("digest");
    target.insert("images".to_owned(), json!({"web": format!("{IMAGE}:2")}));
    let created = me("alice").creates(&wanted);
    let change =
        Change { namespace: namespace.clone(), name: created["metadata"]["name"].as_str().unwrap().to_owned() };
    change.signed_off(&[me("bob")]);
    let mut more = image(2);
    merge(&mut more, &json!({"spec": {"template": {"spec": {"hostNetwork": true}}}}));
    denied(NEW, &object.change(&me("eve"), Spelling::Merge, &more, &[]));
    eventually("it to be let go", || object.change(&me("eve"), Spelling::Merge, &image(2), &[]).ok());
    change.is("Succeeded");
}

fn line_of(refusal: &str) -> (String, Value) {
    let (line, manifest) = line(refusal);
    (line.to_owned(), manifest)
}

#[test]
fn an_emergency_goes_at_once_and_leaves_a_bill() {
    let (_, object) = running("emergency");
    let roll = || object.change(&me("eve"), Spelling::Merge, &image(2), &[]);
    let (_, mut wanted) = line_of(&denied(NEW, &roll()));
    wanted["spec"]["type"] = json!("Emergency");
    // whoever may not expedite has asked for an ordinary change
    me("carol").creates(&wanted);
    eventually("carol's to be known", || roll().text().contains("[SignOffMissing]"));
    let created = me("dave").creates(&wanted);
    let text = |field: &str| created["metadata"][field].as_str().unwrap().to_owned();
    let change = Change { namespace: text("namespace"), name: text("name") };
    eventually("it to be let go", || roll().ok());
    change.is("Succeeded");
    assert_eq!(change.field("{.status.conditions[?(@.type==\"ReviewOwed\")].status}"), "True");
    me("dave").cannot("RequestInUse", &["-n", &change.namespace, "delete", "changerequest", &change.name]);
}

#[test]
fn a_bot_updates_images_within_its_pattern() {
    let (namespace, object) = running("standard");
    let bot = json!({"username": "system:serviceaccount:argocd:argocd"});
    let target = json!({"group": "apps", "kind": "Deployment", "namespace": namespace, "name": "*"});
    let standard = json!({"targets": [target], "imagePattern": format!("{IMAGE}:*"), "actors": [bot]});
    add_to_floor("/standardChanges", &standard);
    eventually("the pattern to be in force", || {
        object.change(&me("argocd"), Spelling::Merge, &image(2), &["--dry-run=server"]).ok()
    });
    denied(NEW, &object.change(&me("eve"), Spelling::Merge, &image(2), &[]));
    let mut more = image(2);
    merge(&mut more, &json!({"spec": {"template": {"spec": {"hostNetwork": true}}}}));
    denied(NEW, &object.change(&me("argocd"), Spelling::Merge, &more, &[]));
    let other = ["-n", &namespace, "set", "image", "deployment/web", "web=elsewhere.example.org/web:2"];
    me("argocd").cannot(NEW, &other);
    went(&object.change(&me("argocd"), Spelling::Merge, &image(2), &[]));
    becomes(&namespace, "Standard Change");
}

/// What nobody signed off does not go on because somebody lets go of it.
#[test]
fn a_revision_that_was_held_back_stays_so() {
    let namespace = non_production("held");
    let eve = me("eve");
    let at = |args: &[&str]| eve.kubectl(&[&["-n", &namespace], args].concat());
    eve.creates(&web(&namespace, 1));
    settled(&namespace);
    went(&at(&["rollout", "pause", "deployment/web"]));
    went(&at(&["set", "image", "deployment/web", &format!("web={IMAGE}:2")]));
    enter_production(&namespace);
    eventually("resuming to be refused", || at(&["rollout", "resume", "deployment/web"]).text().contains(NEW));
    went(&at(&["scale", "deployment/web", "--replicas=2"]));
    let change = asked("alice", &denied(NEW, &at(&["rollout", "resume", "deployment/web"])));
    denied("SignOffMissing", &at(&["rollout", "resume", "deployment/web"]));
    // the template that it names is there already, and only waits
    me("bob").creates(&change.statement("Approve"));
    eventually("it to be let go", || at(&["rollout", "resume", "deployment/web"]).ok());
    change.is("Succeeded");
}

/// What ran when its namespace became production is known, and nobody's word: there is no way back to it alone.
#[test]
fn nothing_is_laundered_by_a_namespace_that_becomes_production() {
    let namespace = non_production("laundered");
    let eve = me("eve");
    let at = |args: &[&str]| eve.kubectl(&[&["-n", &namespace], args].concat());
    eve.creates(&web(&namespace, 7));
    settled(&namespace);
    enter_production(&namespace);
    becomes(&namespace, "Unreviewed");
    went(&at(&["rollout", "restart", "deployment/web"]));
    went(&at(&["scale", "deployment/web", "--replicas=2"]));
    let set = ["set", "image", "deployment/web", &format!("web={IMAGE}:8")];
    opened(NEW, || at(&set)).is("Succeeded");
    denied(NEW, &at(&["rollout", "undo", "deployment/web"]));
}

#[test]
fn what_still_runs_is_taken_away_with_a_warning_or_a_change() {
    let (namespace, _) = running("removed");
    let delete =
        |flags: &[&str]| me("eve").kubectl(&[&["-n", &namespace, "delete", "deployment", "web"], flags].concat());
    let warned = delete(&["--dry-run=server"]);
    went(&warned);
    assert!(warned.text().contains("Warning: "), "{}", warned.text());
    tighten(&namespace, &json!({"enforcement": {"removals": "Deny"}}));
    eventually("the policy to be known", || !delete(&["--dry-run=server"]).ok());
    let all = format!("/apis/apps/v1/namespaces/{namespace}/deployments?dryRun=All");
    me("eve").cannot("RemovalNotRequested", &["delete", "--raw", &all]);
    let change = opened("RemovalNotRequested", || delete(&["--wait=false"]));
    change.is("Succeeded");
    me("eve").creates_with_four_eyes(&web(&namespace, 1));
    denied("RemovalNotRequested", &delete(&[]));
    me("eve").does(&["-n", &namespace, "scale", "deployment/web", "--replicas=0"]);
    eventually("nothing to run", || field(&namespace, "deployment", "web", "{.status.replicas}").is_empty());
    went(&delete(&[]));
}

#[test]
fn records_are_written_by_the_controller_alone() {
    let (namespace, _) = running("recorded");
    becomes(&namespace, "Change");
    let path = format!("-o=jsonpath={{.items[?(@.spec.workload.namespace==\"{namespace}\")].metadata.name}}");
    let name = me("admin").does(&["get", "rolloutrecords", &path]);
    let glass = acting("dave", &["foureyes:breakglass", "system:masters"]);
    let by = |output: &Output| denied_in_words("ValidatingAdmissionPolicy 'foureyes-", output);
    let forged = json!({"status": {"entries": []}}).to_string();
    let record = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "RolloutRecord", "metadata": {"name": "forged"},
        "spec": {"workload": {"group": "apps", "kind": "Deployment", "namespace": namespace, "name": "web"}}});
    for who in [me("admin"), glass] {
        by(&who.kubectl(&["patch", "rolloutrecord", &name, "--subresource=status", "--type=merge", "-p", &forged]));
        by(&who.kubectl(&[
            "patch",
            "rolloutrecord",
            &name,
            "--type=merge",
            "-p",
            r#"{"metadata":{"labels":{"a":"b"}}}"#,
        ]));
        by(&who.kubectl(&["delete", "rolloutrecord", &name]));
        by(&who.kubectl(&["delete", "rolloutrecords", "--all"]));
        by(&who.create(&record, &[]));
    }
}

/// What a refusal shows is asked for by whoever may, as it stands.
#[test]
fn the_line_of_a_refusal_works_for_those_who_may_ask() {
    let (namespace, object) = running("line");
    let refusal = denied(NEW, &object.change(&me("argocd"), Spelling::Merge, &image(2), &[]));
    let (line, _) = line_of(&refusal);
    denied_in_words("cannot create resource", &paste("eve", &line));
    went(&paste("alice", &line));
    let spec = json!({"spec": {"title": "another"}}).to_string();
    let name =
        field(&namespace, "changerequests", "--field-selector=metadata.namespace!=x", "{.items[-1:].metadata.name}");
    let edit = me("admin").kubectl(&["-n", &namespace, "patch", "changerequest", &name, "--type=merge", "-p", &spec]);
    denied_in_words("never changes", &edit);
}
