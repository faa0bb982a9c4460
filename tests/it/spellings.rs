//! One table: whatever way a thing is spelled and whoever spells it, one decision (I 6). Each line is literal.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use foureyes_testbed::Output;
use serde_json::{Value, json};

use crate::support::objects::{bound, claim_of};
use crate::support::requests::{Asked, asks, inventory_digest, request, target};
use crate::support::spelling::{self, Object, Spelling};
use crate::support::{PATIENCE, Who, acting, me, production};

const PEOPLE: [&str; 7] = ["admin", "alice", "bob", "carol", "dave", "eve", "argocd"];

/// What the words of the table stand for; a reason code is in brackets where it is said.
const WORDS: &[(&str, &str)] = &[
    ("nobody", "[DeletionNotRequested]"),
    ("second", "[SecondPersonNeeded]"),
    ("right", "[RightMissing]"),
    ("person", "[NotAPerson]"),
    ("self", "[SelfApproval]"),
    ("yours", "[StatementNotYours]"),
    ("forged", "[IdentityForged]"),
    ("owner", "[OwnerAdded]"),
    ("final", "[FinalizerRemoved]"),
    ("leaves", "[EnvironmentLoosened]"),
    ("fixed", "[Immutable]"),
    // the API server's own authorization, and the policy that keeps status for the controller
    ("rbac", " is forbidden: User "),
    ("policy", "ValidatingAdmissionPolicy 'foureyes-status'"),
];

/// Verb, spelling, and what comes of it for each of the people. What `goes` is asked as a dry run, so that the next
/// line finds the same; a dot stands where somebody else's answer stands for it.
const TABLE: &str = "
                                              admin   alice   bob     carol   dave    eve     argocd
delete fresh            | by name           |  nobody  nobody  nobody  nobody  rbac    nobody  nobody
delete fresh            | dry run           |  nobody  nobody  nobody  nobody  rbac    nobody  nobody
delete fresh            | by label          |  nobody  .       .       .       rbac    nobody  nobody
delete fresh            | collection        |  nobody  nobody  nobody  nobody  rbac    nobody  nobody
delete fresh            | forced            |  nobody  .       .       .       rbac    nobody  nobody
delete fresh            | foreground        |  nobody  .       .       .       rbac    nobody  nobody
delete fresh            | orphan            |  nobody  .       .       .       rbac    nobody  nobody
delete released         | dry run           |  goes    goes    goes    goes    rbac    goes    goes
delete released         | collection        |  goes    .       goes    .       rbac    goes    goes
delete released         | foreground        |  goes    .       goes    .       rbac    goes    goes
delete annotated        | by name           |  second  goes    second  goes    rbac    goes    second
delete annotated        | collection        |  second  goes    second  .       rbac    goes    second
delete annotated        | foreground        |  second  .       second  .       rbac    goes    second
ask                     | generated name    |  goes    goes    goes    goes    goes    right   right
ask                     | name              |  goes    goes    .       .       .       right   right
ask                     | apply             |  goes    goes    .       .       .       right   right
ask                     | server-side apply |  goes    rbac    .       .       .       rbac    rbac
ask                     | requester inside  |  forged  forged  forged  forged  forged  forged  forged
Approve                 | generated name    |  person  self    goes    right   right   right   person
Approve                 | name              |  person  self    goes    right   right   right   person
Approve                 | apply             |  person  self    goes    right   right   right   person
Approve                 | server-side apply |  person  rbac    rbac    rbac    rbac    rbac    rbac
Approve                 | author inside     |  forged  forged  forged  forged  forged  forged  forged
Reject                  | generated name    |  goes    goes    goes    right   right   right   right
Hold                    | generated name    |  goes    goes    goes    goes    goes    right   right
Cancel                  | generated name    |  yours   goes    yours   yours   yours   yours   yours
withdraw bob's          | by name           |  yours   yours   goes    yours   yours   yours   yours
withdraw bob's          | collection        |  yours   rbac    rbac    rbac    rbac    rbac    rbac
take alice's back       | by name           |  yours   goes    yours   yours   yours   yours   yours
take alice's back       | collection        |  yours   rbac    rbac    .       .       rbac    rbac
annotate fresh          | merge             |  person  goes    goes    right   rbac    right   person
annotate fresh          | json              |  person  .       goes    .       rbac    right   person
annotate fresh          | strategic         |  person  .       goes    .       rbac    right   person
annotate fresh          | put               |  person  .       goes    .       rbac    right   person
annotate fresh          | apply             |  person  .       goes    .       rbac    right   person
annotate fresh          | server-side apply |  person  .       goes    .       rbac    right   person
annotate fresh          | status merge      |  person  .       rbac    .       .       rbac    rbac
annotate fresh          | status put        |  person  .       rbac    .       .       rbac    rbac
annotate fresh as alice | merge             |  forged  goes    forged  forged  rbac    forged  forged
annotate fresh as alice | put               |  forged  goes    forged  .       rbac    forged  forged
own fresh               | merge             |  owner   owner   owner   owner   rbac    owner   owner
own fresh               | json              |  owner   .       .       .       rbac    owner   owner
own fresh               | strategic         |  owner   .       .       .       rbac    owner   owner
own fresh               | put               |  owner   .       .       .       rbac    owner   owner
own fresh               | apply             |  owner   .       .       .       rbac    owner   owner
own fresh               | server-side apply |  owner   .       .       .       rbac    owner   owner
own fresh               | status merge      |  owner   .       .       .       .       rbac    rbac
own fresh               | status put        |  owner   .       .       .       .       rbac    rbac
unfinalize fresh        | merge             |  final   final   final   final   rbac    final   goes
unfinalize fresh        | json              |  final   .       .       .       rbac    final   goes
unfinalize fresh        | put               |  final   .       .       .       rbac    final   goes
unfinalize fresh        | status merge      |  final   .       .       .       .       rbac    rbac
unfinalize fresh        | status put        |  final   .       .       .       .       rbac    rbac
leave production        | merge             |  leaves  rbac    rbac    rbac    rbac    rbac    rbac
leave production        | json              |  leaves  .       .       .       .       rbac    .
leave production        | strategic         |  leaves  .       .       .       .       rbac    .
leave production        | put               |  leaves  .       .       .       .       rbac    .
leave production        | apply             |  leaves  .       .       .       .       rbac    .
leave production        | server-side apply |  leaves  .       .       .       .       rbac    .
leave production        | status merge      |  leaves  .       .       .       .       rbac    .
leave production        | status put        |  leaves  .       .       .       .       rbac    .
leave production        | finalize put      |  leaves  .       .       .       .       rbac    .
say Executable          | status merge      |  policy  rbac    .       .       .       rbac    rbac
say Executable          | status put        |  policy  rbac    .       .       .       rbac    rbac
own alice's request     | merge             |  fixed   rbac    .       .       .       rbac    rbac
own alice's request     | put               |  fixed   rbac    .       .       .       rbac    rbac
";

/// What the lines are about; none of them changes it.
struct Scene {
    namespace: String,
    /// About the claim `asked`, by alice, with a hold by bob.
    asked: Asked,
    hold: String,
    uid: String,
    digest: String,
}

fn scene() -> Scene {
    let namespace = production("table");
    let labelled = |name: &str, finalizers: Value| {
        let mut claim = claim_of(&namespace, name);
        claim["metadata"]["labels"] = json!({"one": name});
        claim["metadata"]["finalizers"] = finalizers;
        bound(&claim)
    };
    let uid = labelled("fresh", json!(["kubernetes.io/pvc-protection", "example.com/keep"]));
    let [asked, released] =
        ["asked", "released"].map(|name| asks(&me("alice"), &namespace, name, &labelled(name, Value::Null)));
    let hold = asked.said(&me("bob"), "Hold");
    released.said(&me("bob"), "Approve");
    let annotated = labelled("annotated", Value::Null);
    let approval = format!("foureyes.dev/approved-by=me@{}", inventory_digest(&namespace, "annotated"));
    me("bob").does(&["-n", &namespace, "annotate", "pvc", "annotated", &approval]);
    released.wait_phase("Executable");
    let selector = format!("--field-selector=spec.target.uid={annotated}");
    foureyes_testbed::wait_until("the annotated claim to be released", PATIENCE, || {
        let phases = ["get", "deletionrequests", &selector, "-o=jsonpath={.items[*].status.phase}"];
        me("admin").does(&phases) == "Executable"
    })
    .unwrap();
    let digest = inventory_digest(&namespace, "fresh");
    Scene { namespace, asked, hold, uid, digest }
}

/// Everything that a line could have changed.
fn state(scene: &Scene) -> Vec<Value> {
    let claims = ["fresh", "asked", "released", "annotated"].map(|name| spelling::claim(&scene.namespace, name));
    let others = [
        spelling::namespace(&scene.namespace),
        spelling::record("deletionrequests", &scene.asked.name),
        spelling::record("signoffs", &scene.hold),
    ];
    let mut state: Vec<Value> = claims.iter().chain(&others).map(Object::metadata).collect();
    state.push(json!(scene.asked.statements()));
    state.push(json!(scene.asked.field("{.status.phase}")));
    let about = format!("--field-selector=spec.target.uid={}", scene.uid);
    state.push(json!(me("admin").does(&["get", "deletionrequests", &about, "-o=name"])));
    state
}

#[test]
fn every_spelling_by_everybody() {
    let scene = scene();
    let before = state(&scene);
    let lines = lines();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                while let Some(line) = lines.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for (person, expected) in PEOPLE.into_iter().zip(&line.expected).filter(|(_, word)| **word != ".") {
                        let dry = *expected == "goes" || line.spelling == "dry run";
                        let output = spelled(&scene, line.verb, line.spelling, &me(person), dry);
                        if !is(expected, &output) {
                            let (verb, spelling, text) = (line.verb, line.spelling, output.text());
                            wrong
                                .lock()
                                .unwrap()
                                .push(format!("{person}: {verb}, {spelling}: not {expected}:\n{text}"));
                        }
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} lines are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(state(&scene), before);
}

fn is(expected: &str, output: &Output) -> bool {
    let word = WORDS.iter().find(|(word, _)| *word == expected).map(|(_, said)| *said);
    word.map_or_else(|| output.ok() && expected == "goes", |said| !output.ok() && output.text().contains(said))
}

struct Line {
    verb: &'static str,
    spelling: &'static str,
    expected: Vec<&'static str>,
}

fn lines() -> Vec<Line> {
    let mut lines = TABLE.trim().lines();
    assert!(lines.next().unwrap().split_whitespace().eq(PEOPLE));
    let line = |line: &'static str| {
        let (verb, rest) = line.split_once('|').unwrap();
        let (spelling, expected) = rest.split_once('|').unwrap();
        let expected: Vec<_> = expected.split_whitespace().collect();
        assert_eq!(expected.len(), PEOPLE.len(), "{line}");
        Line { verb: verb.trim(), spelling: spelling.trim(), expected }
    };
    lines.map(line).collect()
}

fn spelled(scene: &Scene, verb: &str, spelling: &str, who: &Who, dry: bool) -> Output {
    let namespace = &scene.namespace;
    let fresh = spelling::claim(namespace, "fresh");
    let asked = spelling::record("deletionrequests", &scene.asked.name);
    let approved_by = |name: &str| {
        let value = format!("{name}@{}", scene.digest);
        json!({"metadata": {"annotations": {"foureyes.dev/approved-by": value}}})
    };
    match verb {
        "ask" => {
            let wish = request("table", &target(namespace, "fresh", &scene.uid));
            create(wish, "requester", spelling, who, dry)
        }
        "Approve" | "Reject" | "Hold" | "Cancel" => create(scene.asked.sign_off(verb), "author", spelling, who, dry),
        "withdraw bob's" => delete_record("signoffs", &scene.hold, spelling, who, dry),
        "take alice's back" => delete_record("deletionrequests", &scene.asked.name, spelling, who, dry),
        "annotate fresh" => changed(&fresh, spelling, &approved_by("me"), who, dry),
        "annotate fresh as alice" => changed(&fresh, spelling, &approved_by("alice"), who, dry),
        "own fresh" => changed(&fresh, spelling, &spelling::owned_by("v1", "ConfigMap"), who, dry),
        "own alice's request" => changed(&asked, spelling, &spelling::owned_by("v1", "Node"), who, dry),
        "unfinalize fresh" => {
            let off = json!({"metadata": {"finalizers": ["kubernetes.io/pvc-protection"]}});
            changed(&fresh, spelling, &off, who, dry)
        }
        "leave production" => {
            let away = json!({"metadata": {"labels": {"foureyes.dev/environment": "non-production"}}});
            changed(&spelling::namespace(namespace), spelling, &away, who, dry)
        }
        "say Executable" => changed(&asked, spelling, &json!({"status": {"phase": "Executable"}}), who, dry),
        delete => delete_claim(namespace, delete.trim_start_matches("delete "), spelling, who, dry),
    }
}

fn flags(dry: bool) -> &'static [&'static str] {
    if dry { &["--dry-run=server"] } else { &[] }
}

fn query(dry: bool) -> &'static str {
    if dry { "&dryRun=All" } else { "" }
}

fn changed(object: &Object, spelling: &str, patch: &Value, who: &Who, dry: bool) -> Output {
    let spelling = match spelling {
        "merge" => Spelling::Merge,
        "json" => Spelling::Json,
        "strategic" => Spelling::Strategic,
        "put" => Spelling::Put,
        "apply" => Spelling::Apply,
        "server-side apply" => Spelling::ServerApply,
        "status merge" => Spelling::StatusMerge,
        "status put" => Spelling::StatusPut,
        "finalize put" => Spelling::FinalizePut,
        other => panic!("no spelling {other}"),
    };
    object.change(who, spelling, patch, flags(dry))
}

fn create(mut object: Value, stamped: &str, spelling: &str, who: &Who, dry: bool) -> Output {
    if spelling != "generated name" {
        // a name for each caller, for an apply of what is there would be an update
        let name = format!("{}named", object["metadata"]["generateName"].as_str().unwrap());
        object["metadata"] = json!({"name": name});
    }
    let file =
        |verb: &[&str], object: &Value| who.kubectl_with(&[verb, &["-f", "-"], flags(dry)].concat(), Some(object));
    match spelling {
        "apply" => file(&["apply"], &object),
        "server-side apply" => file(&["apply", "--server-side"], &object),
        "requester inside" | "author inside" => {
            object["spec"][stamped] = json!({"username": "bob"});
            let timed = if stamped == "requester" { &mut object["spec"][stamped] } else { &mut object["spec"] };
            timed["at"] = json!("2026-01-01T00:00:00Z");
            file(&["create"], &object)
        }
        _ => file(&["create"], &object),
    }
}

fn delete_record(plural: &str, name: &str, spelling: &str, who: &Who, dry: bool) -> Output {
    if spelling == "by name" {
        return who.kubectl(&[&["delete", plural, name][..], flags(dry)].concat());
    }
    let all = format!("/apis/foureyes.dev/v1alpha1/{plural}?fieldSelector=metadata.name%3D{name}{}", query(dry));
    who.kubectl(&["delete", "--raw", &all])
}

fn delete_claim(namespace: &str, claim: &str, spelling: &str, who: &Who, dry: bool) -> Output {
    let label = format!("--selector=one={claim}");
    let how: &[&str] = match spelling {
        "by name" | "dry run" => &[claim],
        "by label" => &[&label],
        "forced" => &[claim, "--force", "--grace-period=0"],
        "foreground" => &[claim, "--cascade=foreground"],
        "orphan" => &[claim, "--cascade=orphan"],
        _ => {
            let all = format!(
                "/api/v1/namespaces/{namespace}/persistentvolumeclaims?fieldSelector=metadata.name%3D{claim}{}",
                query(dry)
            );
            return who.kubectl(&["delete", "--raw", &all]);
        }
    };
    who.kubectl(&[&["-n", namespace, "delete", "pvc", "--wait=false"], how, flags(dry)].concat())
}

#[test]
fn impersonation_is_somebodys_own_right_and_a_responder_has_it_for_one_group_alone() {
    let namespace = production("impersonate");
    let cannot = |person: &'static str, flags: &[&str]| {
        let output = me(person).kubectl(&[&["-n", &namespace, "get", "pvc"], flags].concat());
        assert!(!output.ok() && output.text().contains("cannot impersonate"), "{person} {flags:?}: {}", output.text());
    };
    let glass = ["--as=dave", "--as-group=foureyes:breakglass"];
    for person in ["alice", "bob", "eve", "dave"] {
        cannot(person, &["--as=bob"]);
        cannot(person, &["--as=bob", "--as-group=foureyes:breakglass"]);
        cannot(person, &["--as=dave", "--as-group=system:masters"]);
        if person != "dave" {
            cannot(person, &glass);
        }
    }
    me("dave").does(&[&["auth", "whoami"], &glass[..]].concat());
    // break-glass is a group; it opens no way to data
    let uid = crate::support::claim(&namespace, "data");
    let glass = acting("dave", &["foureyes:breakglass", "system:masters"]);
    glass.cannot("DeletionNotRequested", &["-n", &namespace, "delete", "pvc", "data", "--wait=false"]);
    glass.cannot("DeletionNotRequested", &["delete", "namespace", &namespace, "--wait=false"]);
    let asked = asks(&me("alice"), &namespace, "data", &uid);
    asked.cannot_be(&glass, "Approve", "NotAPerson");
}
