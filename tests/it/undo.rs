//! What was deleted comes back, by whoever has the rights, with the real binder.

use std::sync::Once;

use foureyes_testbed::Output;
use serde_json::{Value, json};

use crate::support::objects::{bound, claim_approved, claim_of, eventually, outlived, place_approved};
use crate::support::requests::{Asked, deletes_claim};
use crate::support::{Who, acting, exists, field, me, production, wait_gone, went};

/// Somebody with the shipped role, and nothing else.
fn restorer() -> Who {
    static BOUND: Once = Once::new();
    BOUND.call_once(|| {
        let binding = ["create", "clusterrolebinding", "restorer", "--clusterrole=foureyes-restorer", "--user=rita"];
        me("admin").does(&binding);
    });
    acting("rita", &[])
}

fn undo(who: &Who, args: &[&str]) -> Output {
    who.kubectl(&[&["foureyes", "undo"], args].concat())
}

/// A claim with labels and annotations of its own.
fn labelled(namespace: &str, name: &str) -> Value {
    let mut claim = claim_of(namespace, name);
    claim["metadata"]["labels"] = json!({"app": name, "tier": "data"});
    claim["metadata"]["annotations"] = json!({"team": "warehouse", "note": "two\nlines"});
    claim
}

/// What of a claim comes back.
fn remembered(namespace: &str, name: &str) -> Value {
    let claim = me("admin").does(&["-n", namespace, "get", "pvc", name, "-o=json"]);
    let claim: Value = serde_json::from_str(&claim).unwrap();
    let mut annotations = claim["metadata"]["annotations"].as_object().unwrap().clone();
    annotations.retain(|key, _| !key.contains("kubernetes.io/") && !key.contains("foureyes.dev/"));
    json!({"labels": claim["metadata"]["labels"], "annotations": annotations, "spec": claim["spec"]})
}

/// All of a volume that a write would change.
fn version(volume: &str) -> String {
    field("", "pv", volume, "{.metadata.resourceVersion} {.spec.claimRef} {.spec.persistentVolumeReclaimPolicy}")
}

fn of_volume(volume: &str, path: &str) -> String {
    field("", "pv", volume, path)
}

/// Asked for, signed off and deleted; the volume that outlived it.
#[track_caller]
fn deleted(namespace: &str, claim: &str) -> (String, Asked) {
    let volume = field(namespace, "pvc", claim, "{.spec.volumeName}");
    let asked = claim_approved(namespace, claim);
    deletes_claim(&me("eve"), namespace, claim);
    wait_gone(namespace, "pvc", claim);
    asked.wait_phase("Executed");
    outlived(&volume, &asked);
    (volume, asked)
}

#[test]
fn a_deleted_claim_comes_back_with_its_data() {
    let namespace = production("undo");
    let before_uid = bound(&labelled(&namespace, "reports"));
    let before = remembered(&namespace, "reports");
    let (volume, asked) = deleted(&namespace, "reports");
    let uid = of_volume(&volume, "{.metadata.uid}");
    let untouched = version(&volume);

    // Who has no rights on volumes is told which role has them.
    for args in [&["pvc/reports", "-n", &namespace][..], &[&format!("del/{}", asked.name)]] {
        let refused = undo(&me("carol"), args);
        assert_eq!(refused.code, 2, "{}", refused.text());
        let line =
            "kubectl create clusterrolebinding foureyes-restorer-carol --clusterrole=foureyes-restorer --user=carol";
        assert!(refused.stderr.contains("carol") && refused.stderr.contains(line), "{}", refused.text());
    }
    let rita = restorer();
    let shown = went(&undo(&rita, &["pvc/reports", "-n", &namespace, "--dry-run"]));
    let would = format!("pvc/{namespace}/reports would come back, bound to {volume} (dry run: the server agrees)\n");
    assert_eq!(shown, would);
    assert!(!exists(&namespace, "pvc", "reports"));
    assert_eq!(version(&volume), untouched);

    let back = undo(&rita, &["pvc/reports", "-n", &namespace]);
    assert_eq!(went(&back), format!("pvc/{namespace}/reports is back, bound to {volume}\n"));
    assert!(back.stderr.contains("stay on Retain"), "{}", back.stderr);
    assert_eq!(field(&namespace, "pvc", "reports", "{.status.phase}"), "Bound");
    assert_eq!(remembered(&namespace, "reports"), before);
    assert_eq!(of_volume(&volume, "{.metadata.uid}"), uid);
    assert_eq!(of_volume(&volume, "{.spec.persistentVolumeReclaimPolicy}"), "Retain");
    let after_uid = field(&namespace, "pvc", "reports", "{.metadata.uid}");
    assert_eq!(of_volume(&volume, "{.spec.claimRef.uid}"), after_uid);
    assert_ne!(after_uid, before_uid);
    assert!(exists("", "backupretention", &asked.name), "it goes on being held");

    // Again it does nothing, whichever way it is named.
    for args in [&["pvc/reports", "-n", &namespace][..], &[&format!("del/{}", asked.name)]] {
        let again = went(&undo(&rita, args));
        assert_eq!(again, format!("pvc/{namespace}/reports is there already, bound to {volume}\n"));
    }
    assert_eq!(field(&namespace, "pvc", "reports", "{.metadata.uid}"), after_uid);

    // It is guarded like any other claim, and can go and come back again.
    let (again, _) = deleted(&namespace, "reports");
    assert_eq!(again, volume);
    let name = went(&undo(&rita, &["pvc/reports", "-n", &namespace, "-o=name"]));
    assert_eq!(name, "persistentvolumeclaim/reports\n");
    assert_eq!(remembered(&namespace, "reports"), before);
}

#[test]
fn a_claim_that_took_its_place_stays_what_it_is() {
    let namespace = production("undo-taken");
    bound(&labelled(&namespace, "reports"));
    let (volume, asked) = deleted(&namespace, "reports");
    let untouched = version(&volume);
    let other = bound(&claim_of(&namespace, "reports"));
    let rita = restorer();
    for args in
        [&["pvc/reports", "-n", &namespace][..], &[&format!("del/{}", asked.name)], &[&format!("ns/{namespace}")]]
    {
        let refused = undo(&rita, args);
        assert_eq!(refused.code, 1, "{}", refused.text());
        for said in ["is there already", "nothing was changed", "kubectl foureyes delete pvc/reports"] {
            assert!(refused.stderr.contains(said), "{said:?} in {}", refused.text());
        }
    }
    assert_eq!(field(&namespace, "pvc", "reports", "{.metadata.uid}"), other);
    assert_ne!(field(&namespace, "pvc", "reports", "{.spec.volumeName}"), volume);
    assert_eq!(version(&volume), untouched);
}

/// It ends at any moment, and is run again.
#[test]
fn what_was_interrupted_is_finished() {
    let namespace = production("undo-interrupted");
    bound(&labelled(&namespace, "reports"));
    let before = remembered(&namespace, "reports");
    let (volume, _) = deleted(&namespace, "reports");
    // As the first of its two writes leaves it.
    let reserved = json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}}).to_string();
    me("admin").does(&["patch", "pv", &volume, "--type=merge", "-p", &reserved]);
    eventually("the binder to have seen it", || of_volume(&volume, "{.status.phase}") == "Available");
    let back = went(&undo(&restorer(), &["pvc/reports", "-n", &namespace]));
    assert_eq!(back, format!("pvc/{namespace}/reports is back, bound to {volume}\n"));
    assert_eq!(remembered(&namespace, "reports"), before);
}

#[test]
fn a_namespace_comes_back_with_all_its_claims_and_labels() {
    let namespace = production("undo-namespace");
    for claim in ["orders", "invoices", "outdated"] {
        bound(&labelled(&namespace, claim));
    }
    me("admin").does(&["label", "namespace", &namespace, "team=web"]);
    deleted(&namespace, "outdated");
    let volume = |claim: &str| field(&namespace, "pvc", claim, "{.spec.volumeName}");
    let volumes = [volume("orders"), volume("invoices")];
    let before = [remembered(&namespace, "orders"), remembered(&namespace, "invoices")];
    let asked = place_approved(&namespace);
    eventually("the deletion to be allowed", || {
        me("eve").kubectl(&["delete", "namespace", &namespace, "--wait=false"]).ok()
    });
    wait_gone("", "namespace", &namespace);
    asked.wait_phase("Executed");
    for volume in &volumes {
        outlived(volume, &asked);
    }

    let rita = restorer();
    let object = format!("ns/{namespace}");
    let shown = undo(&rita, &[&object, "--dry-run"]);
    assert_eq!(went(&shown).lines().count(), 2, "{}", shown.text());
    assert!(!exists("", "namespace", &namespace));

    let back = undo(&rita, &[&object]);
    assert_eq!(went(&back).lines().filter(|line| line.contains("is back, bound to ")).count(), 2, "{}", back.text());
    let apart = format!("kubectl foureyes undo pvc/outdated -n {namespace}");
    assert!(back.stderr.contains(&apart) && back.stderr.contains("with the labels that it had"), "{}", back.stderr);
    assert_eq!([volume("orders"), volume("invoices")], volumes);
    assert_eq!([remembered(&namespace, "orders"), remembered(&namespace, "invoices")], before);
    assert!(!exists(&namespace, "pvc", "outdated"), "it went at another time");
    assert_eq!(field("", "namespace", &namespace, "{.metadata.labels.team}"), "web");

    let again = went(&undo(&rita, &[&format!("del/{}", asked.name)]));
    assert_eq!(again.lines().filter(|line| line.contains("is there already")).count(), 2, "{again}");
    let apart = went(&undo(&rita, &["pvc/outdated", "-n", &namespace]));
    assert!(apart.contains("is back, bound to"), "{apart}");
}
