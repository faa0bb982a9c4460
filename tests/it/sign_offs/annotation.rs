//! The approval by annotation: written under one's own name alone, for what is there now, and counted once.

use serde_json::{Value, json};

use crate::support::requests::{asked, delete_claim, deletes_claim, inventory_digest, stays};
use crate::support::spelling::{OF_CLAIMS, OF_NAMESPACES, Object, Spelling};
use crate::support::{
    PATIENCE, acting, claim, denied, field, me, paste, production, spelling, succeeds_with, wait_gone, went,
};

const VALUE: &str = "foureyes.dev/approved-by";
const RECORD: &str = "foureyes.dev/approved-by-record";

fn annotations(object: &Object) -> (Option<String>, Option<String>) {
    let metadata = object.metadata();
    let text = |key: &str| metadata["annotations"][key].as_str().map(str::to_owned);
    (text(VALUE), text(RECORD))
}

fn value(text: &str) -> Value {
    json!({"metadata": {"annotations": {VALUE: text}}})
}

/// People's rights do not reach a claim's status.
fn is_of_status(spelling: Spelling) -> bool {
    matches!(spelling, Spelling::StatusMerge | Spelling::StatusPut)
}

/// The request that the controller opened for a claim.
fn phase_of_the_opened(uid: &str) -> String {
    let selector = format!("--field-selector=spec.target.uid={uid}");
    me("admin").does(&["get", "deletionrequests", &selector, "-o=jsonpath={.items[*].status.phase}"])
}

#[track_caller]
fn wait_opened(uid: &str, phase: &str) {
    let mut last = String::new();
    let waited = foureyes_testbed::wait_until("the request for the annotation", PATIENCE, || {
        last = phase_of_the_opened(uid);
        last == phase
    });
    assert!(waited.is_ok(), "its phase stayed {last:?} and was never {phase:?}");
}

#[test]
fn every_spelling_of_the_annotation_gets_the_authors_own_name_and_a_record() {
    let namespace = production("annotate");
    claim(&namespace, "data");
    let digest = inventory_digest(&namespace, "data");
    let object = spelling::claim(&namespace, "data");
    for spelling in OF_CLAIMS {
        // somebody else gets the right, who is a person
        let status = is_of_status(*spelling);
        let who = if status { acting("kim", &["ops"]) } else { me("bob") };
        if status {
            let rule = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": {"name": "status", "namespace": namespace},
                "rules": [{"apiGroups": [""], "resources": ["persistentvolumeclaims/status"], "verbs": ["*"]}]});
            let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": "status", "namespace": namespace},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "status"},
                "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "kim"}]});
            succeeds_with("admin", &["apply", "-f", "-"], &rule.to_string());
            succeeds_with("admin", &["apply", "-f", "-"], &binding.to_string());
        }
        let name = if status { "kim" } else { "bob" };
        let mut last = String::new();
        let waited = foureyes_testbed::wait_until("the annotation to be written", PATIENCE, || {
            let output = object.change(&who, *spelling, &value(&format!("me@{digest}")), &[]);
            last = output.text();
            output.ok() || !last.contains("cannot")
        });
        assert!(waited.is_ok(), "{spelling:?}: {last}");
        let (value, record) = annotations(&object);
        assert_eq!(value, Some(format!("{name}@{digest}")), "{spelling:?}: {last}");
        let record: Value = serde_json::from_str(&record.unwrap()).unwrap();
        assert_eq!(record["author"]["username"], name);
        assert_eq!(record["uid"], field(&namespace, "pvc", "data", "{.metadata.uid}"));
        assert!(record["seal"].as_str().unwrap().starts_with("v1."), "{spelling:?}: {record}");
        me("eve").does(&["-n", &namespace, "annotate", "pvc", "data", &format!("{VALUE}-")]);
        assert_eq!(annotations(&object), (None, None), "{spelling:?}: taking it away takes the record along");
    }
}

#[test]
fn another_name_a_stale_digest_or_a_record_by_hand_is_refused_in_every_spelling() {
    let namespace = production("annotate-forged");
    let uid = claim(&namespace, "data");
    let digest = inventory_digest(&namespace, "data");
    let object = spelling::claim(&namespace, "data");
    let forged = json!({"author": {"username": "bob"}, "at": "2026-01-01T00:00:00Z", "uid": uid, "digest": digest,
                        "seal": "v1.0123456789abcdef.AAAA"})
    .to_string();
    let with_record = json!({"metadata": {"annotations": {VALUE: format!("bob@{digest}"), RECORD: forged}}});
    let only_record = json!({"metadata": {"annotations": {RECORD: forged}}});
    let refused = [
        (me("alice"), value(&format!("bob@{digest}")), "IdentityForged"),
        (me("alice"), value("bob"), "DigestStale"),
        (me("bob"), value("me"), "DigestStale"),
        (me("bob"), value("yes"), "DigestStale"),
        (me("eve"), value("yes"), "RightMissing"),
        (me("alice"), value("me@000000000000"), "DigestStale"),
        (me("alice"), value("me@"), "DigestStale"),
        (me("alice"), with_record.clone(), "IdentityForged"),
        (me("bob"), with_record, "IdentityForged"),
        (me("eve"), value(&format!("me@{digest}")), "RightMissing"),
        (me("carol"), value(&format!("me@{digest}")), "RightMissing"),
        (me("argocd"), value(&format!("me@{digest}")), "NotAPerson"),
        (me("admin"), value(&format!("me@{digest}")), "NotAPerson"),
    ];
    for (who, patch, code) in &refused {
        for spelling in OF_CLAIMS.iter().filter(|spelling| !is_of_status(**spelling)) {
            denied(code, &object.change(who, *spelling, patch, &[]));
        }
    }
    // the admin's rights reach the status too
    for spelling in [Spelling::StatusMerge, Spelling::StatusPut] {
        denied("IdentityForged", &object.change(&me("admin"), spelling, &value(&format!("bob@{digest}")), &[]));
        denied("NotAPerson", &object.change(&me("admin"), spelling, &value(&format!("me@{digest}")), &[]));
    }
    // a record without its annotation is taken away, not refused
    object.change(&me("alice"), Spelling::Merge, &only_record, &[]);
    assert_eq!(annotations(&object), (None, None));
    assert_eq!(phase_of_the_opened(&uid), "");
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "data"));
    stays(&namespace, "data");
}

#[test]
fn a_withdrawn_record_is_put_back_by_nobody_and_serves_no_other_claim() {
    let namespace = production("annotate-replay");
    let uid = claim(&namespace, "data");
    claim(&namespace, "other");
    let digest = inventory_digest(&namespace, "data");
    let (object, other) = (spelling::claim(&namespace, "data"), spelling::claim(&namespace, "other"));
    let annotate = ["-n", &namespace, "annotate", "pvc", "data", &format!("{VALUE}=me@{digest}")];
    me("bob").does(&annotate);
    wait_opened(&uid, "Executable");
    let (value, record) = annotations(&object);
    let replay = json!({"metadata": {"annotations": {VALUE: value.unwrap(), RECORD: record.unwrap()}}});
    // anybody may take it away: that withdraws it
    me("eve").does(&["-n", &namespace, "annotate", "pvc", "data", &format!("{VALUE}-")]);
    wait_opened(&uid, "Pending");
    denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
    for spelling in [Spelling::Merge, Spelling::Json, Spelling::Put, Spelling::ServerApply] {
        for who in ["eve", "alice", "admin"] {
            denied("IdentityForged", &object.change(&me(who), spelling, &replay, &[]));
            denied("IdentityForged", &other.change(&me(who), spelling, &replay, &[]));
        }
        denied("IdentityForged", &other.change(&me("bob"), spelling, &replay, &[]));
    }
    assert_eq!(annotations(&object), (None, None));
    assert_eq!(annotations(&other), (None, None));
    denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "other"));
}

#[test]
fn a_dry_run_of_the_annotation_leaves_nothing() {
    let namespace = production("annotate-dry");
    let uid = claim(&namespace, "data");
    let digest = inventory_digest(&namespace, "data");
    let object = spelling::claim(&namespace, "data");
    let mine = value(&format!("me@{digest}"));
    let dry = object.change(&me("bob"), Spelling::Merge, &mine, &["--dry-run=server", "-o=json"]);
    let dry: Value = serde_json::from_str(&dry.stdout).unwrap();
    let record: Value = serde_json::from_str(dry["metadata"]["annotations"][RECORD].as_str().unwrap()).unwrap();
    assert_eq!(record["author"]["username"], "bob");
    assert_eq!(record.get("seal"), None);
    assert_eq!(annotations(&object), (None, None));
    let others = value(&format!("alice@{digest}"));
    denied("IdentityForged", &object.change(&me("bob"), Spelling::Merge, &others, &["--dry-run=server"]));
    let unsealed = json!({"metadata": {"annotations": dry["metadata"]["annotations"]}});
    denied("IdentityForged", &object.change(&me("bob"), Spelling::Merge, &unsealed, &[]));
    assert_eq!(phase_of_the_opened(&uid), "");
}

#[test]
fn nothing_is_born_approved() {
    let namespace = production("annotate-born");
    let annotations_inside = json!({VALUE: "bob@1f3a9c0b22de", RECORD: "{}", "note": "kept"});
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "born", "namespace": namespace, "annotations": annotations_inside},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    me("eve").creates(&claim);
    let born = spelling::claim(&namespace, "born");
    assert_eq!(annotations(&born), (None, None));
    assert_eq!(born.metadata()["annotations"]["note"], "kept");
    let name = format!("{namespace}-born");
    let place = json!({"apiVersion": "v1", "kind": "Namespace",
                       "metadata": {"name": name, "annotations": annotations_inside}});
    me("admin").creates(&place);
    let born = spelling::namespace(&name);
    assert_eq!(annotations(&born), (None, None));
    assert_eq!(born.metadata()["annotations"]["note"], "kept");
}

#[test]
fn an_approval_by_annotation_is_used_by_another_person_and_once() {
    let namespace = production("annotate-used");
    let uid = claim(&namespace, "data");
    let digest = inventory_digest(&namespace, "data");
    me("bob").does(&["-n", &namespace, "annotate", "pvc", "data", &format!("{VALUE}=bob@{digest}")]);
    wait_opened(&uid, "Executable");
    for who in ["bob", "argocd", "admin"] {
        denied("SecondPersonNeeded", &delete_claim(&me(who), &namespace, "data"));
    }
    stays(&namespace, "data");
    deletes_claim(&me("eve"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
    wait_opened(&uid, "Executed");
    claim(&namespace, "data");
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "data"));
}

#[test]
fn a_second_annotation_does_not_take_the_place_of_the_first_and_says_what_to_do_instead() {
    let namespace = production("annotate-second");
    let uid = claim(&namespace, "data");
    let digest = inventory_digest(&namespace, "data");
    let object = spelling::claim(&namespace, "data");
    me("bob").does(&["-n", &namespace, "annotate", "pvc", "data", &format!("{VALUE}=me@{digest}")]);
    let second = ["-n", &namespace, "annotate", "pvc", "data", "--overwrite", &format!("{VALUE}=me@{digest}")];
    wait_opened(&uid, "Executable");
    let mine = value(&format!("me@{digest}"));
    for spelling in OF_CLAIMS.iter().filter(|spelling| !is_of_status(**spelling)) {
        denied("AlreadySaid", &object.change(&me("alice"), *spelling, &mine, &[]));
    }
    let refusal = me("alice").cannot("AlreadySaid", &second);
    assert!(refusal.contains("bob has approved by annotation already"), "{refusal}");
    assert_eq!(annotations(&object).0, Some(format!("bob@{digest}")));
    // bob himself may look again
    me("bob").does(&second);
    // the line in the refusal is the one that counts
    let line = refusal.lines().last().unwrap();
    assert!(line.contains("SignOff"), "{refusal}");
    went(&paste("alice", line));
    let selector = format!("--field-selector=spec.target.uid={uid}");
    let granted = ["get", "deletionrequests", &selector, "-o=jsonpath={.items[*].status.signOffs.text}"];
    foureyes_testbed::wait_until("both to count", PATIENCE, || me("admin").does(&granted) == "2/2").unwrap();
    // and the other one finds the request before foureyes knows it
    let found = format!(
        "kubectl get deletionrequests --field-selector spec.target.uid={uid} -o custom-columns=NAME:.metadata.name,PHASE:.status.phase,SIGN-OFF:.status.signOffCommand"
    );
    assert!(went(&paste("alice", &found)).contains("Executable"));
    // taking it away stays free, and then there is room
    me("eve").does(&["-n", &namespace, "annotate", "pvc", "data", &format!("{VALUE}-")]);
    me("alice").does(&second);
    assert_eq!(annotations(&object).0, Some(format!("alice@{digest}")));
}

/// The approval stays on the claim, but its request has ended: that is said, and how to begin anew.
#[test]
fn an_approval_whose_request_was_rejected_is_not_waited_for() {
    let namespace = production("annotate-rejected");
    let uid = claim(&namespace, "data");
    let digest = inventory_digest(&namespace, "data");
    let approves = ["-n", &namespace, "annotate", "pvc", "data", "--overwrite", &format!("{VALUE}=me@{digest}")];
    me("bob").does(&approves);
    wait_opened(&uid, "Executable");
    let selector = format!("--field-selector=spec.target.uid={uid}");
    let name = me("admin").does(&["get", "deletionrequests", &selector, "-o=jsonpath={.items[0].metadata.name}"]);
    asked(&name).said(&me("alice"), "Reject");
    wait_opened(&uid, "Rejected");
    let mut refusal = String::new();
    foureyes_testbed::wait_until("the end to be known", PATIENCE, || {
        refusal = delete_claim(&me("eve"), &namespace, "data").text();
        refusal.contains("the approval on it has been used up")
    })
    .unwrap();
    assert!(refusal.contains(&format!("alice rejected DeletionRequest {name} about it: ")), "{refusal}");
    went(&paste("eve", refusal.lines().last().unwrap()));
    me("bob").does(&approves);
    let anew = || phase_of_the_opened(&uid).contains("Executable");
    foureyes_testbed::wait_until("a request of its own", PATIENCE, anew).unwrap();
}

#[test]
fn a_namespace_is_annotated_by_the_same_rules() {
    let namespace = production("annotate-place");
    claim(&namespace, "data");
    let object = spelling::namespace(&namespace);
    let uid = field("", "namespace", &namespace, "{.metadata.uid}");
    let annotates = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": format!("{namespace}-annotates")},
        "rules": [{"apiGroups": [""], "resources": ["namespaces", "namespaces/status", "namespaces/finalize"],
                   "resourceNames": [namespace], "verbs": ["get", "patch", "update"]}]});
    succeeds_with("admin", &["apply", "-f", "-"], &annotates.to_string());
    let role = format!("--clusterrole={namespace}-annotates");
    me("admin").does(&["create", "clusterrolebinding", &format!("{namespace}-annotates"), &role, "--user=paul"]);
    let paul = acting("paul", &["ops"]);
    // not the current digest: the refusal says which is
    let mut refusal = String::new();
    foureyes_testbed::wait_until("paul to have his right", PATIENCE, || {
        refusal = object.change(&paul, Spelling::Merge, &value("me@000000000000"), &[]).text();
        refusal.contains("[DigestStale]")
    })
    .unwrap();
    let digest: String =
        refusal[refusal.find("approved-by=me@").unwrap() + 15..].chars().take_while(char::is_ascii_hexdigit).collect();
    for spelling in OF_NAMESPACES {
        for (text, code) in [(format!("bob@{digest}"), "IdentityForged"), ("me@000000000000".to_owned(), "DigestStale")]
        {
            denied(code, &object.change(&paul, *spelling, &value(&text), &[]));
        }
        denied("NotAPerson", &object.change(&me("admin"), *spelling, &value(&format!("me@{digest}")), &[]));
        let written = object.change(&paul, *spelling, &value(&format!("me@{digest}")), &[]);
        assert!(written.ok(), "{spelling:?}: {}", written.text());
        assert_eq!(annotations(&object).0, Some(format!("paul@{digest}")), "{spelling:?}");
        me("admin").does(&["annotate", "namespace", &namespace, &format!("{VALUE}-")]);
        assert_eq!(annotations(&object), (None, None));
    }
    let delete = ["delete", "namespace", &namespace, "--wait=false"];
    let refused = me("eve").kubectl(&delete);
    assert!(!refused.ok(), "{}", refused.text());
    assert_eq!(field("", "namespace", &namespace, "{.metadata.deletionTimestamp}"), "");
    wait_opened(&uid, "Pending");
}
