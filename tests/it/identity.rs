//! What foureyes writes about who speaks, it alone writes, and nobody moves it afterwards (bypasses 26, 27).

use serde_json::{Value, json};

use crate::support::changes::opened;
use crate::support::requests::{Asked, asks, delete_claim, request, stays, target};
use crate::support::spelling::{OF_RECORDS, Spelling, merge, owned_by, record};
use crate::support::{
    Who, acting, claim, denied, denied_in_words, exists, field, kubectl, me, paste, production, responder, succeeds,
    went,
};

/// A claim in a namespace of its own, for whose deletion alice asks.
fn asked_by_alice(prefix: &str) -> (String, Asked) {
    let namespace = production(prefix);
    let uid = claim(&namespace, "data");
    let asked = asks(&me("alice"), &namespace, "data", &uid);
    (namespace, asked)
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn requests_about(uid: &str) -> String {
    succeeds("admin", &["get", "deletionrequests", &format!("--field-selector=spec.target.uid={uid}"), "-o=name"])
}

#[test]
fn a_request_says_who_asks_when_and_carries_a_seal() {
    let namespace = production("stamp-request");
    let uid = claim(&namespace, "data");
    for (metadata, begins) in [
        (json!({"generateName": format!("{namespace}-")}), format!("{namespace}-")),
        (json!({"name": format!("named-{namespace}")}), format!("named-{namespace}")),
    ] {
        let mut object = request(&namespace, &target(&namespace, "data", &uid));
        object["metadata"] = metadata;
        let created = me("alice").creates(&object);
        assert!(text(&created, "/metadata/name").starts_with(&begins), "{created}");
        let requester = &created["spec"]["requester"];
        assert_eq!(requester["username"], "alice");
        assert_eq!(requester["groups"], json!(["ops", "system:authenticated"]));
        assert_eq!(requester["at"].as_str().map(str::len), Some("2026-01-01T00:00:00Z".len()), "{requester}");
        assert!(text(requester, "/seal").starts_with("v1."), "{requester}");
        let asked = crate::support::requests::asked(text(&created, "/metadata/name"));
        assert_eq!(asked.field("{.status.requestedBy}"), "alice");
    }
}

#[test]
fn a_sign_off_says_who_speaks_when_and_carries_a_seal() {
    let (_, asked) = asked_by_alice("stamp-sign-off");
    let mut named = asked.sign_off("Hold");
    named["metadata"] = json!({"name": format!("named-{}", asked.name)});
    for (object, says) in [(asked.sign_off("Approve"), "Approve"), (named, "Hold")] {
        let created = me("bob").creates(&object);
        assert!(text(&created, "/metadata/name").contains(&asked.name), "{created}");
        let spec = &created["spec"];
        assert_eq!(spec["says"], says);
        assert_eq!(
            spec["author"],
            json!({"username": "bob", "groups": ["ops", "system:authenticated"],
                                          "extra": spec["author"]["extra"]})
        );
        assert!(!text(spec, "/at").is_empty() && text(spec, "/seal").starts_with("v1."), "{spec}");
    }
}

#[test]
fn an_impersonated_identity_is_recorded_with_its_groups_and_extras() {
    let namespace = production("stamp-extra");
    let uid = claim(&namespace, "data");
    let oidc = acting("oidc:alice@example.org", &["ops"]).extra("example.org/email", "alice@example.org");
    let asked = asks(&oidc, &namespace, "data", &uid);
    assert_eq!(asked.field("{.spec.requester.username}"), "oidc:alice@example.org");
    assert_eq!(asked.field("{.spec.requester.groups}"), r#"["ops","system:authenticated"]"#);
    assert!(asked.field("{.spec.requester.extra}").contains("alice@example.org"));
}

#[test]
fn a_request_with_a_requester_inside_is_refused_in_every_spelling() {
    let namespace = production("forged-request");
    let uid = claim(&namespace, "data");
    let at = "2026-01-01T00:00:00Z";
    for requester in [
        json!({"username": "bob", "at": at}),
        json!({"username": "alice", "groups": ["ops", "system:authenticated"], "at": at}),
        json!({"username": "alice", "at": at, "seal": "v1.0123456789abcdef.AAAA"}),
    ] {
        let mut object = request(&namespace, &target(&namespace, "data", &uid));
        object["spec"]["requester"] = requester;
        me("alice").cannot_create("IdentityForged", &object);
        denied("IdentityForged", &me("alice").create(&object, &["--dry-run=server"]));
        object["metadata"] = json!({"name": format!("{namespace}-forged")});
        denied("IdentityForged", &me("alice").kubectl_with(&["apply", "-f", "-"], Some(&object)));
        denied("IdentityForged", &me("admin").kubectl_with(&["apply", "--server-side", "-f", "-"], Some(&object)));
    }
    assert_eq!(requests_about(&uid), "");
}

#[test]
fn a_sign_off_with_any_of_its_stamped_fields_inside_is_refused() {
    let (namespace, asked) = asked_by_alice("forged-sign-off");
    let bob = json!({"username": "bob", "groups": ["ops", "system:authenticated"]});
    let at = "2026-01-01T00:00:00Z";
    for inside in [
        json!({"author": bob}),
        json!({"at": at}),
        json!({"seal": "v1.0123456789abcdef.AAAA"}),
        json!({"author": bob, "at": at}),
        json!({"author": bob, "at": at, "seal": "v1.0123456789abcdef.AAAA"}),
    ] {
        let mut object = asked.sign_off("Approve");
        merge(&mut object["spec"], &inside);
        for who in [me("bob"), me("eve"), me("admin")] {
            who.cannot_create("IdentityForged", &object);
        }
        denied("IdentityForged", &me("bob").create(&object, &["--dry-run=server"]));
    }
    assert_eq!(asked.statements(), "");
    denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
    stays(&namespace, "data");
}

#[test]
fn a_real_seal_serves_nobody_else_and_under_no_other_name() {
    let (_, asked) = asked_by_alice("replay");
    let name = asked.said(&me("bob"), "Approve");
    let original = record("signoffs", &name).live();
    let replay = |name: &str| {
        json!({"apiVersion": original["apiVersion"], "kind": "SignOff", "metadata": {"name": name},
               "spec": original["spec"]})
    };
    me("bob").does(&["delete", "signoff", &name]);
    // under its own name by somebody else, and under another name by its author
    me("eve").cannot_create("IdentityForged", &replay(&name));
    me("admin").cannot_create("IdentityForged", &replay(&name));
    me("bob").cannot_create("IdentityForged", &replay(&format!("{name}-again")));
    assert_eq!(asked.statements(), "");
    asked.wait_field("{.status.signOffs.text}", "0/1");
}

#[test]
fn dry_runs_leave_nothing_and_give_no_seal() {
    let (namespace, asked) = asked_by_alice("dry-run");
    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    let before = requests_about(&uid);
    let wish = request(&namespace, &target(&namespace, "data", &uid));
    let dry = went(&me("alice").create(&wish, &["--dry-run=server"]));
    let dry: Value = serde_json::from_str(&dry).unwrap();
    assert_eq!(dry["spec"]["requester"]["username"], "alice");
    assert_eq!(dry["spec"]["requester"].get("seal"), None);
    assert_eq!(requests_about(&uid), before);

    let dry = went(&me("bob").create(&asked.sign_off("Approve"), &["--dry-run=server"]));
    let dry: Value = serde_json::from_str(&dry).unwrap();
    assert_eq!(dry["spec"]["author"]["username"], "bob");
    assert_eq!(dry["spec"].get("seal"), None);
    assert_eq!(asked.statements(), "");
    // what a dry run shows counts for nothing when it is sent in earnest
    let mut forged = asked.sign_off("Approve");
    forged["spec"] = dry["spec"].clone();
    me("bob").cannot_create("IdentityForged", &forged);
    denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
}

#[test]
fn what_was_asked_and_said_never_changes_in_any_spelling() {
    let (_, asked) = asked_by_alice("immutable");
    let sign_off = asked.said(&me("bob"), "Hold");
    for (object, patches) in [
        (
            record("deletionrequests", &asked.name),
            [
                json!({"spec": {"reason": "another"}}),
                json!({"spec": {"requester": {"username": "bob"}}}),
                json!({"spec": {"requester": null}}),
            ],
        ),
        (
            record("signoffs", &sign_off),
            [
                json!({"spec": {"says": "Reject"}}),
                json!({"spec": {"author": {"username": "alice"}}}),
                json!({"spec": {"seal": null}}),
            ],
        ),
    ] {
        let kept = || (object.metadata(), object.live()["spec"].take());
        let before = kept();
        for spelling in OF_RECORDS {
            for patch in &patches {
                let removes = patch.to_string().contains("null");
                if removes && matches!(spelling, Spelling::Apply | Spelling::ServerApply) {
                    continue;
                }
                let output = object.change(&me("admin"), *spelling, patch, &[]);
                denied_in_words("never changes", &output);
            }
        }
        assert_eq!(kept(), before);
    }
}

#[test]
fn owners_finalizers_and_our_metadata_of_records_stay_and_the_rest_is_free() {
    let (_, asked) = asked_by_alice("record-metadata");
    let sign_off = asked.said(&me("bob"), "Hold");
    let policy = format!("free-{}", asked.name);
    let manifest = json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": {"name": policy},
        "spec": {"selector": {"matchLabels": {"nobody": "has-this"}}},
    });
    me("admin").creates(&manifest);
    for object in
        [record("deletionrequests", &asked.name), record("signoffs", &sign_off), record("safetypolicies", &policy)]
    {
        let before = object.metadata();
        for patch in [
            owned_by("v1", "Node"),
            json!({"metadata": {"finalizers": ["example.com/never"]}}),
            json!({"metadata": {"labels": {"foureyes.dev/x": "y"}}}),
            json!({"metadata": {"annotations": {"foureyes.dev/approved-by": "bob@1f3a9c0b22de"}}}),
        ] {
            for spelling in OF_RECORDS {
                // a client's apply adds an annotation of its own, so each is compared by what was to change
                let output = object.change(&me("admin"), *spelling, &patch, &[]);
                denied("Immutable", &output);
            }
        }
        assert_eq!(object.metadata(), before);
        let free = json!({"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}});
        for spelling in [Spelling::Merge, Spelling::Put, Spelling::ServerApply] {
            went(&object.change(&me("admin"), spelling, &free, &[]));
        }
        assert_eq!(object.metadata()["labels"]["team"], "a");
    }
    // it protects nothing
    me("admin").does(&["delete", "safetypolicy", &policy]);
}

#[test]
fn only_the_controller_writes_status() {
    let (namespace, asked) = asked_by_alice("status");
    let object = record("deletionrequests", &asked.name);
    let executable = json!({"status": {"phase": "Executable", "usableFrom": "2026-01-01T00:00:00Z"}});
    let policy = "ValidatingAdmissionPolicy 'foureyes-status'";
    for spelling in [Spelling::StatusMerge, Spelling::StatusPut] {
        denied_in_words(policy, &object.change(&me("admin"), spelling, &executable, &[]));
        denied_in_words("cannot", &object.change(&me("alice"), spelling, &executable, &[]));
    }
    let floor = record("safetypolicies", "default");
    let untrue = json!({"status": {"observedGeneration": 7}});
    denied_in_words(policy, &floor.change(&me("admin"), Spelling::StatusMerge, &untrue, &[]));
    denied_in_words(policy, &floor.change(&me("admin"), Spelling::StatusPut, &untrue, &[]));
    // through the object itself a status is not written at all
    went(&object.change(&me("admin"), Spelling::Merge, &executable, &[]));
    assert_eq!(asked.field("{.status.phase}"), "Pending");
    // and one that comes with a new object is dropped (fact 35)
    let mut wish = request(&namespace, &object.live()["spec"]["target"]);
    wish["status"] = executable["status"].clone();
    let created = me("alice").creates(&wish);
    assert_ne!(created["status"]["phase"], "Executable");
    denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
}

#[test]
fn our_definitions_are_changed_and_deleted_by_nobody_alone() {
    let crd = "customresourcedefinition/deletionrequests.foureyes.dev";
    let forge = r#"[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/reason/default","value":"x"}]"#;
    let rename = r#"{"spec":{"names":{"shortNames":["another"]}}}"#;
    let policy = "ValidatingAdmissionPolicy 'foureyes-definitions'";
    for args in [
        &["delete", crd, "--wait=false"][..],
        &["delete", crd, "--dry-run=server"],
        &["delete", "customresourcedefinitions", "--selector=app.kubernetes.io/name=foureyes", "--wait=false"],
        &["delete", "--raw", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All"],
        &["patch", crd, "--type=json", "-p", forge],
        &["patch", crd, "--type=merge", "-p", rename],
    ] {
        denied_in_words(policy, &kubectl("admin", args));
        denied_in_words("orbidden", &kubectl("alice", args));
    }
    for kind in ["deletionrequests", "signoffs", "safetypolicies"] {
        assert!(exists("", "customresourcedefinition", &format!("{kind}.foureyes.dev")));
    }
    // a label is no change of what it defines, and with a change a responder does what it names
    succeeds("admin", &["label", crd, "team=a", "--overwrite"]);
    let patch = ["patch", crd, "--type=json", "-p", forge, "--dry-run=server"];
    opened("DefinitionProtected", || responder().kubectl(&patch));
    denied_in_words(policy, &me("admin").kubectl(&patch));
    // what the refusal shows is the end of the same command
    let patch = format!("kubectl patch {crd} --type=merge -p '{rename}' --dry-run=server");
    let refusal = denied_in_words(policy, &paste("admin", &patch));
    let (_, end) = refusal.trim_end().split_once("repeat the command with ").unwrap();
    opened("DefinitionProtected", || paste("admin", &format!("{patch} {end}")));
    let both = acting("dave", &["foureyes:breakglass", "system:masters"]);
    opened("DefinitionProtected", || both.kubectl(&["delete", crd, "--dry-run=server"]));
}

/// Metadata of definitions can be written through `/status` (fact 8), and an owner to nobody has one collected within
/// seconds (fact 31).
#[test]
fn our_definitions_get_no_owners_or_finalizers_through_their_status() {
    let name = "probes.foureyes.dev";
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
        "spec": {"group": "foureyes.dev", "scope": "Cluster", "names": {"plural": "probes", "kind": "Probe"},
                 "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]},
    });
    let apply = || went(&me("admin").kubectl_with(&["apply", "-f", "-"], Some(&definition)));
    apply();
    me("admin").does(&["wait", &format!("crd/{name}"), "--for=condition=Established", "--timeout=60s"]);
    let patch = |who: &Who, patch: &Value, more: &[&str]| {
        who.kubectl(&[&["patch", "crd", name, "--type=merge", "-p", &patch.to_string()], more].concat())
    };
    let owned = owned_by("v1", "Node");
    for more in [&[][..], &["--subresource=status"]] {
        for metadata in [&owned, &json!({"metadata": {"finalizers": ["example.com/keep"]}})] {
            denied_in_words("ValidatingAdmissionPolicy 'foureyes-definitions'", &patch(&me("admin"), metadata, more));
        }
        let label = json!({"metadata": {"labels": {"team": "a"}}});
        went(&patch(&me("admin"), &label, more));
    }
    assert_eq!(field("", "crd", name, "{.metadata.ownerReferences}{.metadata.finalizers}"), "");
    let condition = json!({"status": {"storedVersions": ["v1"]}});
    went(&patch(&me("admin"), &condition, &["--subresource=status"]));
    assert!(apply().contains("unchanged"));
    // the API server itself ends what goes by a change
    let both = acting("dave", &["foureyes:breakglass", "system:masters"]);
    opened("DefinitionProtected", || both.kubectl(&["delete", "crd", name, "--timeout=60s"])).is("Succeeded");
    assert!(!exists("", "crd", name));
}

#[test]
fn an_identity_that_can_not_be_told_from_others_says_nothing() {
    let namespace = production("unusable");
    let uid = claim(&namespace, "data");
    let blank = acting(" alice", &["ops"]);
    blank.cannot_create("IdentityUnusable", &request(&namespace, &target(&namespace, "data", &uid)));
    assert_eq!(requests_about(&uid), "");
}
