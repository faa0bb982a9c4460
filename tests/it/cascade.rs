//! DELETE of a namespace: refused at its root with nothing in it touched (fact 11, bypass 14), or gone with exactly what
//! was signed off.

use serde_json::json;

use crate::support::exempt::disposable_claim;
use crate::support::objects::{
    LONG, bound, claim_of, eventually, outlived, place_approved, place_asked, production_with, within,
};
use crate::support::requests::{delete_claim, stays};
use crate::support::spelling::{self, Spelling};
use crate::support::{
    Who, account, acting, claim, decisions, denied, exists, field, me, non_production, paste, production,
    storage_operator, storekeeper, succeeds, succeeds_with, wait_gone, went,
};

fn delete(who: &Who, namespace: &str) -> foureyes_testbed::Output {
    who.kubectl(&["delete", "namespace", namespace, "--wait=false"])
}

/// Deletes a namespace, which must be allowed once the webhooks have seen what allows it.
#[track_caller]
fn goes(who: &Who, namespace: &str) {
    let mut last = String::new();
    let waited = foureyes_testbed::wait_until("the namespace to be let go", crate::support::PATIENCE, || {
        let output = delete(who, namespace);
        last = output.text();
        output.ok()
    });
    assert!(waited.is_ok(), "the deletion of {namespace} stayed refused:\n{last}");
}

/// Everything that a deletion would touch.
fn contents(namespace: &str) -> String {
    let kinds = "deployments,replicasets,pods,pvc,configmaps,secrets,serviceaccounts,roles,rolebindings";
    let path =
        "-o=jsonpath={range .items[*]}{.kind}/{.metadata.name}/{.metadata.uid}/{.metadata.deletionTimestamp}\n{end}";
    succeeds("admin", &["-n", namespace, "get", kinds, path])
}

fn going(namespace: &str) -> String {
    field("", "namespace", namespace, "{.metadata.deletionTimestamp}")
}

/// What else lives in a namespace.
fn furnish(namespace: &str) {
    me("alice").does_with_four_eyes(&["-n", namespace, "create", "deployment", "web", "--image=example/web:1"]);
    me("alice").does(&["-n", namespace, "create", "configmap", "settings", "--from-literal=a=b"]);
    me("admin").does(&["-n", namespace, "create", "role", "reader", "--verb=get", "--resource=pods"]);
    me("alice").does(&["-n", namespace, "wait", "deployment/web", "--for=condition=Available", "--timeout=60s"]);
}

#[test]
fn alone_it_is_refused_at_the_root_and_nothing_in_it_is_touched() {
    let namespace = production_with("root", &["orders", "invoices"]);
    let empty = production("root-empty");
    furnish(&namespace);
    let before = contents(&namespace);
    assert!(before.contains("Deployment/web") && before.contains("Role/reader"), "{before}");
    let path = format!("/api/v1/namespaces/{namespace}");
    let orphaning = format!("{path}?propagationPolicy=Orphan&gracePeriodSeconds=0");
    for args in [
        &["delete", "namespace", &namespace][..],
        &["delete", "namespace", &namespace, "--dry-run=server"],
        &["delete", "namespace", &namespace, "--force", "--grace-period=0"],
        &["delete", "namespace", &namespace, "--cascade=foreground"],
        &["delete", "namespaces", "-l", &format!("kubernetes.io/metadata.name={namespace}")],
        &["delete", "--raw", &path],
        &["delete", "--raw", &orphaning],
    ] {
        denied("DeletionNotRequested", &me("eve").kubectl(args));
    }
    let refusal = denied("DeletionNotRequested", &delete(&me("admin"), &namespace));
    for word in ["/orders (1Gi, volume pvc-", "/invoices (1Gi, volume pvc-", "kubectl create -f -"] {
        assert!(refusal.contains(word), "{word} is missing:\n{refusal}");
    }
    denied("DeletionNotRequested", &delete(&account("kube-system", "namespace-controller"), &namespace));
    // two at a time: the one without data goes, the other stays
    denied("DeletionNotRequested", &me("eve").kubectl(&["delete", "namespace", &namespace, &empty, "--wait=false"]));
    wait_gone("", "namespace", &empty);
    assert_eq!(going(&namespace), "");
    assert_eq!(contents(&namespace), before);
    let line = refusal.lines().map(str::trim).find(|line| line.starts_with("echo '")).unwrap();
    let created = went(&paste("alice", line));
    let asked = crate::support::requests::asked(created.split([' ', '/']).nth(1).unwrap());
    denied("SignOffMissing", &delete(&me("eve"), &namespace));
    assert_eq!(asked.field("{.status.inventory.summary}"), "2 claims, 2 volumes");
}

/// Bypass 15; and the namespace of the same name that comes after it is another one (bypass 31).
#[test]
fn signed_off_it_goes_with_exactly_what_was_signed_off() {
    let namespace = production_with("signed", &["data"]);
    let bystander = production_with("bystander", &["data"]);
    let mut kept = claim_of(&namespace, "kept");
    kept["metadata"]["finalizers"] = json!(["example.com/keep"]);
    bound(&kept);
    furnish(&namespace);
    me("alice").does(&["-n", &namespace, "scale", "deployment/web", "--replicas=0"]);
    let volumes = ["data", "kept"].map(|claim| field(&namespace, "pvc", claim, "{.spec.volumeName}"));
    let asked = place_approved(&namespace);
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "data"));
    denied("DeletionNotRequested", &delete(&me("eve"), &bystander));
    goes(&me("eve"), &namespace);
    asked.wait_phase("Executing");
    assert_eq!(asked.field("{.status.executingSince}"), going(&namespace));

    // from here nothing is taken back, and asking again is no harm
    me("bob").cannot("RequestInUse", &["delete", asked.statements().trim()]);
    asked.cannot_be(&me("carol"), "Hold", "RequestInUse");
    asked.cannot_be(&me("bob"), "Reject", "RequestInUse");
    asked.cannot_be(&me("alice"), "Cancel", "RequestInUse");
    me("alice").cannot("RequestInUse", &["delete", "deletionrequest", &asked.name]);
    went(&delete(&me("eve"), &namespace));
    // whoever finishes it
    let finished = delete_claim(&storekeeper(), &namespace, "kept");
    assert!(finished.ok() || finished.text().contains("NotFound"), "{}", finished.text());
    wait_gone(&namespace, "pvc", "data");
    assert_eq!(asked.field("{.status.phase}"), "Executing");
    let none = json!({"metadata": {"finalizers": null}});
    went(&spelling::claim(&namespace, "kept").change(&storage_operator(), Spelling::Merge, &none, &[]));
    within(LONG, "the namespace to be gone", || !exists("", "namespace", &namespace));
    asked.wait_phase("Executed");
    for volume in &volumes {
        outlived(volume, &asked);
    }
    assert_ne!(asked.field("{.status.executedAt}"), "");
    stays(&bystander, "data");

    me("admin").does(&["create", "namespace", &namespace]);
    claim(&namespace, "data");
    denied("DeletionNotRequested", &delete(&me("eve"), &namespace));
    assert_eq!(going(&namespace), "");
}

/// Bypass 32.
#[test]
fn claims_that_came_after_the_look_are_refused_at_the_root() {
    let namespace = production_with("added", &["data"]);
    let asked = place_approved(&namespace);
    bound(&claim_of(&namespace, "late"));
    for who in ["eve", "admin"] {
        denied("InventoryGrown", &delete(&me(who), &namespace));
    }
    let volume = field(&namespace, "pvc", "late", "{.spec.volumeName}");
    asked.wait_field("{.status.inventory.added[*].name}", &format!("{volume} late"));
    asked.wait_field("{.status.conditions[?(@.type=='InventoryCurrent')].status}", "False");
    assert_eq!(going(&namespace), "");
    // what is no data may come and go
    me("alice").does(&["-n", &namespace, "create", "configmap", "settings", "--from-literal=a=b"]);
    // once it is asked again, that is what the refusal is about, and its line is all that is missing
    let again = place_asked(&namespace);
    assert_eq!(again.field("{.status.inventory.total}"), "4");
    let mut refusal = String::new();
    eventually("the new request to be known", || {
        refusal = delete(&me("eve"), &namespace).text();
        refusal.contains("[SignOffMissing]")
    });
    assert!(refusal.contains(&format!("DeletionRequest {} has 0 of 1 sign-offs", again.name)), "{refusal}");
    went(&paste("bob", refusal.lines().last().unwrap()));
    let dry_run = ["delete", "namespace", &namespace, "--dry-run=server"];
    eventually("the deletion to be allowed", || me("eve").kubectl(&dry_run).ok());
    assert_eq!(going(&namespace), "");
}

/// Claims that went since the look are no reason to look again.
#[test]
fn what_is_left_of_what_was_signed_off_may_go() {
    let namespace = production_with("shrunk", &["a", "b"]);
    let place = place_approved(&namespace);
    crate::support::objects::claim_approved(&namespace, "a");
    crate::support::requests::deletes_claim(&me("eve"), &namespace, "a");
    wait_gone(&namespace, "pvc", "a");
    let dry_run = ["delete", "namespace", &namespace, "--dry-run=server"];
    eventually("the deletion to be allowed", || me("eve").kubectl(&dry_run).ok());
    // and one of that name that was made anew is another one
    bound(&claim_of(&namespace, "a"));
    denied("InventoryGrown", &delete(&me("eve"), &namespace));
    assert_eq!(place.field("{.status.phase}"), "Executable");
}

#[test]
fn a_namespace_without_data_goes_freely() {
    let empty = production("free-empty");
    furnish(&empty);
    let exempt = production("free-exempt");
    bound(&disposable_claim(&exempt, "scratch"));
    let ephemeral = production("free-ephemeral");
    let mut user = crate::support::objects::pod(&ephemeral, "user", &[]);
    let template = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    user["spec"]["volumes"] = json!([{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}]);
    me("admin").creates(&user);
    eventually("the ephemeral claim", || exists(&ephemeral, "pvc", "user-scratch"));
    let outside = non_production("free-outside");
    claim(&outside, "data");
    let all = [&empty, &exempt, &ephemeral, &outside];
    for namespace in all {
        went(&delete(&me("eve"), namespace));
    }
    for namespace in all {
        within(LONG, "the namespace to be gone", || !exists("", "namespace", namespace));
    }
    // the guard was asked about the root alone, of what is ephemeral or outside production about nothing
    assert_eq!(decisions::about(&outside), [] as [serde_json::Value; 0]);
    let asked = decisions::but_those_of("eve", &ephemeral, 1);
    assert!(asked.is_empty(), "{asked:?}");
    // and of what runs, and was asked for, about nothing but the change that goes along
    let mut asked = decisions::but_those_of("eve", &empty, 1);
    asked.retain(|line| line["operation"] == "DELETE");
    assert!(asked.iter().all(|line| line["resource"] == "changerequests" && line["verdict"] == "allowed"), "{asked:?}");
}

#[test]
fn the_namespace_of_foureyes_goes_by_break_glass_alone() {
    let own = "foureyes-system";
    for args in [
        &["delete", "namespace", own, "--dry-run=server"][..],
        &["delete", "namespace", own, "--wait=false"],
        &["delete", "--raw", "/api/v1/namespaces/foureyes-system"],
    ] {
        for who in [me("eve"), me("admin"), account("kube-system", "namespace-controller")] {
            denied("OwnNamespaceProtected", &who.kubectl(args));
        }
    }
    assert_eq!(going(own), "");
    let both = acting("dave", &["foureyes:breakglass", "system:masters"]);
    both.does(&["delete", "namespace", own, "--dry-run=server"]);
    // what the probe asks for goes along, and else for nobody
    let canary = ["-n", own, "delete", "pvc", "foureyes-canary", "--dry-run=server"];
    denied("DeletionNotRequested", &me("admin").kubectl(&canary));
    account("kube-system", "namespace-controller").does(&canary);
}

/// Of an approval by annotation only another person makes use; and once the namespace is going it stays.
#[test]
fn a_namespace_approved_by_annotation_goes_by_another_person() {
    let namespace = production("place-annotated");
    let mut kept = claim_of(&namespace, "data");
    kept["metadata"]["finalizers"] = json!(["example.com/keep"]);
    bound(&kept);
    let role = format!("{namespace}-annotates");
    let rights = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": role},
        "rules": [{"apiGroups": [""], "resources": ["namespaces"], "resourceNames": [namespace],
                   "verbs": ["get", "patch", "delete"]}]});
    succeeds_with("admin", &["create", "-f", "-"], &rights.to_string());
    me("admin").does(&["create", "clusterrolebinding", &role, &format!("--clusterrole={role}"), "--user=paul"]);
    let paul = acting("paul", &["ops"]);
    let annotate = |value: &str| paul.kubectl(&["annotate", "namespace", &namespace, value, "--overwrite"]);
    let mut refusal = String::new();
    eventually("paul to have his right", || {
        refusal = annotate("foureyes.dev/approved-by=me@000000000000").text();
        refusal.contains("[DigestStale]")
    });
    let line = refusal.lines().map(str::trim).find(|line| line.starts_with("kubectl annotate")).unwrap();
    went(&annotate(line.split_whitespace().last().unwrap()));
    // its author may not execute, which the guard says once the request is there
    eventually("the author to be refused as such", || {
        let output = delete(&paul, &namespace);
        assert!(!output.ok(), "{}", output.text());
        output.text().contains("[SecondPersonNeeded]")
    });
    goes(&me("eve"), &namespace);
    let claim_going = || field(&namespace, "pvc", "data", "{.metadata.deletionTimestamp}");
    eventually("the claim to be going", || !claim_going().is_empty());
    denied("RequestInUse", &annotate("foureyes.dev/approved-by-"));
    denied("RequestInUse", &me("admin").kubectl(&["annotate", "namespace", &namespace, "foureyes.dev/approved-by-"]));
    let none = json!({"metadata": {"finalizers": null}});
    went(&spelling::claim(&namespace, "data").change(&storage_operator(), Spelling::Merge, &none, &[]));
    within(LONG, "the namespace to be gone", || !exists("", "namespace", &namespace));
}

/// I 8: a sign-off for a namespace that stays is none for what is in it, nor the other way round.
#[test]
fn a_request_for_the_namespace_is_none_for_its_claims() {
    let namespace = production_with("apart", &["data"]);
    place_approved(&namespace);
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &namespace, "data"));
    stays(&namespace, "data");
    let other = production_with("apart", &["data"]);
    crate::support::objects::claim_approved(&other, "data");
    denied("DeletionNotRequested", &delete(&me("eve"), &other));
    let asked = place_asked(&other);
    denied("SignOffMissing", &delete(&me("eve"), &other));
    assert_eq!(asked.field("{.status.phase}"), "Pending");
    assert_eq!(going(&other), "");
}
