//! DELETE of a claim in production: refused alone, whatever spells it and whoever does it; allowed for what was signed
//! off, to whoever may delete, once.

mod clocks;
mod collections;
mod shown;

use serde_json::json;

use crate::support::objects::{bound, claim_approved, claim_of, eventually, outlived, production_with};
use crate::support::requests::{asks, delete_claim, deletes_claim, inventory_digest, stays};
use crate::support::spelling::{self, Spelling};
use crate::support::{
    account, claim, denied, denied_in_words, exists, field, kubectl, me, non_production, paste, production, wait_gone,
    went,
};

/// Bypass 13: a collection with one member is spelled like many.
#[test]
fn alone_it_is_refused_however_it_is_spelled() {
    let namespace = production_with("alone", &["data"]);
    let one = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/data");
    let all = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims");
    let by_field = format!("{all}?fieldSelector=metadata.name%3Ddata&gracePeriodSeconds=0");
    let orphaned = format!("{one}?propagationPolicy=Orphan");
    let delete = |args: &[&str]| me("eve").kubectl(&[&["-n", &namespace, "delete", "--wait=false"], args].concat());
    for args in [
        &["pvc", "data"][..],
        &["persistentvolumeclaim/data"],
        &["pvc", "data", "--dry-run=server"],
        &["pvc", "data", "--now"],
        &["pvc", "data", "--force", "--grace-period=0"],
        &["pvc", "data", "--cascade=orphan"],
        &["pvc", "data", "--cascade=foreground"],
        &["pvc", "--all"],
        &["pvc", "--all", "--dry-run=server"],
        &["pvc", "--field-selector=metadata.name=data"],
    ] {
        denied("DeletionNotRequested", &delete(args));
    }
    for path in [&one, &all, &by_field, &orphaned] {
        denied("DeletionNotRequested", &me("eve").kubectl(&["delete", "--raw", path]));
    }
    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}});
    let with_options = me("eve").kubectl_with(&["delete", "--raw", &one, "-f", "-"], Some(&options));
    denied("DeletionNotRequested", &with_options);
    stays(&namespace, "data");
}

/// Bypasses 14, 16 and 25: being the cluster's own controller, its administrator or a tool that prunes is no second person.
#[test]
fn alone_it_is_refused_to_everybody() {
    let namespace = production_with("everybody", &["data"]);
    let mut everybody = vec![me("eve"), me("alice"), me("bob"), me("carol"), me("admin"), me("argocd")];
    for controller in ["namespace-controller", "generic-garbage-collector"] {
        everybody.push(account("kube-system", controller));
    }
    for who in &everybody {
        let refusal = denied("DeletionNotRequested", &delete_claim(who, &namespace, "data"));
        let short = inventory_digest(&namespace, "data");
        let lost = format!("Would be lost: claim {namespace}/data (1Gi, volume pvc-");
        let command =
            format!("kubectl -n {namespace} annotate pvc data --overwrite foureyes.dev/approved-by=me@{short}");
        assert!(refusal.contains(&lost) && refusal.contains(&command), "{who:?}:\n{refusal}");
    }
    // what foureyes allows RBAC still forbids
    claim_approved(&namespace, "data");
    denied_in_words("dave", &delete_claim(&me("dave"), &namespace, "data"));
    stays(&namespace, "data");
}

#[test]
fn with_a_person_who_asked_and_one_who_signed_off_anybody_deletes() {
    for person in ["eve", "alice", "bob", "argocd", "admin"] {
        let namespace = production_with("signed-off", &["data"]);
        let volume = field(&namespace, "pvc", "data", "{.spec.volumeName}");
        let asked = claim_approved(&namespace, "data");
        deletes_claim(&me(person), &namespace, "data");
        wait_gone(&namespace, "pvc", "data");
        asked.wait_phase("Executed");
        outlived(&volume, &asked);
        assert_ne!(asked.field("{.status.executedAt}"), "");
        assert_eq!(asked.field("{.status.inventory.summary}"), "1 claim, 1 volume");
    }
}

/// Bypass 30 and 31: what was signed off is used up by its effect, and is nothing to another object of that name.
#[test]
fn it_is_used_once_and_for_that_object_alone() {
    let namespace = production_with("once", &["data", "other"]);
    let asked = claim_approved(&namespace, "data");
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "other"));
    deletes_claim(&me("eve"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
    // at once: nothing that was signed off reaches it, whatever the controller has seen by now
    let again = me("admin").creates(&claim_of(&namespace, "data"));
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "data"));
    asked.wait_phase("Executed");
    asked.cannot_be(&me("bob"), "Approve", "RequestEnded");
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "data"));
    assert_eq!(field(&namespace, "pvc", "data", "{.metadata.uid}"), again["metadata"]["uid"].as_str().unwrap());
    stays(&namespace, "data");
}

/// Bypass 31: deleted and made again between the sign-off and its use.
#[test]
fn an_object_made_anew_before_the_deletion_is_not_what_was_signed_off() {
    let namespace = production_with("anew", &["data"]);
    let asked = claim_approved(&namespace, "data");
    deletes_claim(&me("bob"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
    bound(&claim_of(&namespace, "data"));
    for who in ["eve", "alice", "bob", "argocd"] {
        denied("DeletionNotRequested", &delete_claim(&me(who), &namespace, "data"));
    }
    asked.wait_phase("Executed");
    stays(&namespace, "data");
}

/// Bypass 10: a dry-run is judged like the real thing, and uses nothing up.
#[test]
fn a_dry_run_is_judged_and_leaves_everything_as_it_was() {
    let namespace = production_with("dry-run", &["data"]);
    let asked = claim_approved(&namespace, "data");
    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    for _ in 0..3 {
        let dry_run = ["-n", &namespace, "delete", "pvc", "data", "--dry-run=server"];
        eventually("the dry-run to be allowed", || me("eve").kubectl(&dry_run).ok());
    }
    stays(&namespace, "data");
    assert_eq!(field(&namespace, "pvc", "data", "{.metadata.uid}"), uid);
    assert_eq!(asked.field("{.status.phase}"), "Executable");
    deletes_claim(&me("eve"), &namespace, "data");
    asked.wait_phase("Executed");
}

/// From its deletionTimestamp on nothing is taken back.
#[test]
fn once_it_is_going_nothing_ends_or_unsays_it() {
    let namespace = production("going");
    let mut kept = claim_of(&namespace, "data");
    kept["metadata"]["finalizers"] = json!(["example.com/keep"]);
    bound(&kept);
    let asked = claim_approved(&namespace, "data");
    deletes_claim(&me("eve"), &namespace, "data");
    asked.wait_phase("Executing");
    let approval = asked.statements();
    me("bob").cannot("RequestInUse", &["delete", approval.trim()]);
    asked.cannot_be(&me("carol"), "Hold", "RequestInUse");
    asked.cannot_be(&me("bob"), "Reject", "RequestInUse");
    asked.cannot_be(&me("alice"), "Cancel", "RequestInUse");
    me("alice").cannot("RequestInUse", &["delete", "deletionrequest", &asked.name]);
    // asked again is no harm: it is going already
    went(&delete_claim(&me("eve"), &namespace, "data"));
    went(&delete_claim(&me("carol"), &namespace, "data"));
    assert_ne!(field(&namespace, "pvc", "data", "{.metadata.deletionTimestamp}"), "");
    assert_eq!(
        asked.field("{.status.executingSince}"),
        field(&namespace, "pvc", "data", "{.metadata.deletionTimestamp}")
    );
    let none = json!({"metadata": {"finalizers": null}});
    went(&spelling::claim(&namespace, "data").change(&me("argocd"), Spelling::Merge, &none, &[]));
    wait_gone(&namespace, "pvc", "data");
    asked.wait_phase("Executed");
}

/// Bypass 23: a finalizer keeps what was signed off until whoever set it takes it off.
#[test]
fn a_finalizer_keeps_it_and_people_do_not_strip_it() {
    let namespace = production("finalizer");
    let mut kept = claim_of(&namespace, "data");
    kept["metadata"]["finalizers"] = json!(["example.com/keep"]);
    bound(&kept);
    let asked = claim_approved(&namespace, "data");
    let strip = json!({"metadata": {"finalizers": ["kubernetes.io/pvc-protection"]}});
    let object = spelling::claim(&namespace, "data");
    denied("FinalizerRemoved", &object.change(&me("eve"), Spelling::Merge, &strip, &[]));
    deletes_claim(&me("eve"), &namespace, "data");
    asked.wait_phase("Executing");
    assert!(exists(&namespace, "pvc", "data"));
    let none = json!({"metadata": {"finalizers": null}});
    went(&object.change(&me("argocd"), Spelling::Merge, &none, &[]));
    wait_gone(&namespace, "pvc", "data");
    asked.wait_phase("Executed");
}

/// What a deletion rests on stays on the object for as long as that is there.
#[test]
fn an_approval_by_annotation_stays_on_what_is_going() {
    let namespace = production("annotated-going");
    let mut kept = claim_of(&namespace, "data");
    kept["metadata"]["finalizers"] = json!(["example.com/keep"]);
    bound(&kept);
    let short = inventory_digest(&namespace, "data");
    let annotate = |value: &str| ["-n", &namespace, "annotate", "pvc", "data", value].map(str::to_owned);
    let run = |who: &str, value: &str| kubectl(who, &annotate(value).each_ref().map(String::as_str));
    went(&run("bob", &format!("foureyes.dev/approved-by=me@{short}")));
    deletes_claim(&me("eve"), &namespace, "data");
    for who in ["bob", "eve", "admin"] {
        denied("RequestInUse", &run(who, "foureyes.dev/approved-by-"));
    }
    assert_ne!(field(&namespace, "pvc", "data", "{.metadata.annotations.foureyes\\.dev/approved-by-record}"), "");
    let none = json!({"metadata": {"finalizers": null}});
    went(&spelling::claim(&namespace, "data").change(&me("argocd"), Spelling::Merge, &none, &[]));
    wait_gone(&namespace, "pvc", "data");
}

/// Bypass 32: a claim that was bound to a volume after the sign-off holds more than was looked at.
#[test]
fn data_that_came_later_needs_another_look() {
    let namespace = production("grown");
    let mut unbound = claim_of(&namespace, "data");
    unbound["spec"]["storageClassName"] = json!(namespace);
    me("admin").creates(&unbound);
    let asked = claim_approved(&namespace, "data");
    assert_eq!(asked.field("{.status.inventory.summary}"), "1 claim");
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": namespace,
                 "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/data"}},
    });
    me("admin").creates(&volume);
    eventually("the claim to be bound", || field(&namespace, "pvc", "data", "{.status.phase}") == "Bound");
    for who in ["eve", "bob", "admin"] {
        denied("InventoryGrown", &delete_claim(&me(who), &namespace, "data"));
    }
    asked.wait_field("{.status.inventory.added[0].name}", &namespace);
    asked.wait_field("{.status.conditions[?(@.type=='InventoryCurrent')].reason}", "Grown");
    // the same digest said again is not another look
    asked.said(&crate::support::acting("frank", &["ops"]), "Approve");
    denied("InventoryGrown", &delete_claim(&me("eve"), &namespace, "data"));
    stays(&namespace, "data");

    let looked = claim_approved(&namespace, "data");
    assert_eq!(looked.field("{.status.inventory.summary}"), "1 claim, 1 volume");
    deletes_claim(&me("eve"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
    looked.wait_phase("Executed");
    asked.wait_phase("Executed");
}

/// I 8: a digest covers who asked for what, and what would be lost.
#[test]
fn a_sign_off_is_for_one_wish_and_one_inventory() {
    let namespace = production("subject-digest");
    let uid = claim(&namespace, "data");
    let (one, other) = (asks(&me("alice"), &namespace, "data", &uid), asks(&me("carol"), &namespace, "data", &uid));
    let digests = |asked: &crate::support::requests::Asked| {
        ["{.status.requestDigest}", "{.status.inventory.digest}", "{.status.subjectDigest}"]
            .map(|path| asked.field(path))
    };
    let (first, second) = (digests(&one), digests(&other));
    assert_eq!(first[1], second[1], "one claim has one inventory");
    assert_ne!(first[2], first[0]);
    for (digest, begins) in first.iter().zip(["request/v1:sha256:", "inventory/v1:sha256:", "subject/v1:sha256:"]) {
        assert!(digest.starts_with(begins), "{digest}");
    }
    for digest in [&first[0], &first[1], &second[0]] {
        let mut borrowed = one.clone();
        borrowed.digest.clone_from(digest);
        me("bob").cannot_create("DigestStale", &borrowed.sign_off("Approve"));
    }
    // another wish in other words is another subject
    let mut wish =
        crate::support::requests::request(&namespace, &crate::support::requests::target(&namespace, "data", &uid));
    wish["spec"]["reason"] = json!("moved elsewhere");
    let third = me("alice").creates(&wish);
    let third = crate::support::requests::asked(third["metadata"]["name"].as_str().unwrap());
    assert_ne!(third.digest, one.digest);
    let mut borrowed = third.clone();
    borrowed.digest.clone_from(&one.digest);
    me("bob").cannot_create("DigestStale", &borrowed.sign_off("Approve"));
    denied("SignOffMissing", &delete_claim(&me("eve"), &namespace, "data"));
    stays(&namespace, "data");
}

/// Of several requests the one that was signed off counts, and when the claim went all of them have ended.
#[test]
fn one_request_among_many_is_enough() {
    let namespace = production("among");
    let uid = claim(&namespace, "data");
    let waiting = asks(&me("carol"), &namespace, "data", &uid);
    let used = claim_approved(&namespace, "data");
    let later = asks(&me("carol"), &namespace, "data", &uid);
    deletes_claim(&me("eve"), &namespace, "data");
    used.wait_phase("Executed");
    waiting.wait_phase("Cancelled");
    later.wait_phase("Cancelled");
}

/// Bypass 19's other side, and what an annotation is worth: one approval, executed by another person or backed by one
/// more.
#[test]
fn an_annotation_and_one_more_sign_off_free_it_for_anybody() {
    let namespace = production_with("annotated", &["data"]);
    let uid = field(&namespace, "pvc", "data", "{.metadata.uid}");
    let refusal = denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "data"));
    let line = refusal.lines().map(str::trim).find(|line| line.starts_with("kubectl ")).unwrap();
    denied("RightMissing", &paste("eve", line));
    went(&paste("bob", line));
    let mut name = String::new();
    eventually("the request for it", || {
        let selector = format!("--field-selector=spec.target.uid={uid}");
        name = me("admin").does(&["get", "del", &selector, "-o=jsonpath={.items[*].metadata.name}"]);
        !name.is_empty()
    });
    let opened = crate::support::requests::asked(&name);
    opened.wait_phase("Executable");
    assert_eq!(opened.field("{.status.waitingFor}"), "deletion by another person, or one more sign-off");
    for who in ["bob", "argocd", "admin"] {
        denied("SecondPersonNeeded", &delete_claim(&me(who), &namespace, "data"));
    }
    // bob can't be the second one in another way
    opened.said(&me("bob"), "Approve");
    opened.wait_field("{.status.signOffs.entries[1].name}", opened.statements().trim().rsplit('/').next().unwrap());
    denied("SecondPersonNeeded", &delete_claim(&me("argocd"), &namespace, "data"));
    stays(&namespace, "data");
    opened.said(&me("alice"), "Approve");
    opened.wait_field("{.status.signOffs.text}", "2/2");
    deletes_claim(&me("argocd"), &namespace, "data");
    opened.wait_phase("Executed");
}

#[test]
fn outside_production_nobody_is_asked() {
    let namespace = non_production("outside");
    claim(&namespace, "data");
    went(&delete_claim(&me("eve"), &namespace, "data"));
    wait_gone(&namespace, "pvc", "data");
}
