//! Retentions that people make, and what may be in one.

use super::*;
use crate::support::retentions::{Held, retention};

fn on_retain(prefix: &str) -> String {
    let namespace = production_with(prefix, &["data"]);
    let volume = field(&namespace, "pvc", "data", "{.spec.volumeName}");
    let patch = json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}});
    went(&spelling::volume(&volume).change(&keeper_of_volumes(), Spelling::Merge, &patch, &[]));
    volume
}

fn made(who: &Who, retention: &Value, volume: &str) -> Held {
    let name = who.creates(retention)["metadata"]["name"].as_str().unwrap().to_owned();
    let held = Held { name, volume: volume.to_owned() };
    held.wait("{.status.phase}", "Holding");
    held
}

#[test]
fn people_hold_what_no_deletion_stands_behind() {
    let victor = keeper_of_volumes();
    let volume = on_retain("people");
    let good = retention(&volume, "Governance");
    me("eve").cannot_create("RightMissing", &good);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut retention = good.clone();
        change(&mut retention["spec"]);
        retention
    };
    let alice = me("alice");
    let source = json!({"request": "r", "uid": "11111111-1111-1111-1111-111111111111", "deletedAt": "2026-01-01T00:00:00Z",
                        "target": {"apiVersion": "v1", "kind": "Namespace", "name": "default",
                                   "uid": "11111111-1111-1111-1111-111111111111"}});
    alice.cannot_create("IdentityForged", &with(&|spec| spec["source"] = source.clone()));
    let nobody = json!("11111111-1111-1111-1111-111111111111");
    alice.cannot_create("SubjectUnknown", &with(&|spec| spec["keepers"][0]["uid"] = nobody.clone()));
    alice.cannot_create("SubjectUnknown", &with(&|spec| spec["keepers"][0]["name"] = json!("nowhere")));
    alice.cannot_create("RequestInvalid", &with(&|spec| spec["keepers"][0]["handle"] = json!("hostPath/other")));
    let refusal = alice.cannot_create(
        "RequestInvalid",
        &with(&|spec| {
            spec["keepers"][0].as_object_mut().unwrap().remove("handle");
        }),
    );
    assert!(refusal.contains("hostPath/"), "{refusal}");
    let mut owned = good.clone();
    owned["metadata"]["finalizers"] = json!(["example.com/stay"]);
    alice.cannot_create("Immutable", &owned);
    denied_in_words(
        "a keeper is a PersistentVolume",
        &alice.create(&with(&|spec| spec["keepers"][0]["kind"] = json!("Secret")), &[]),
    );

    let held = made(&alice, &good, &volume);
    denied("DataHeld", &held.delete(&victor));
    let object = spelling::record("backupretentions", &held.name);
    for patch in [
        json!({"metadata": {"finalizers": ["example.com/stay"]}}),
        json!({"metadata": {"labels": {"foureyes.dev/x": "y"}}}),
        spelling::owned_by("v1", "Node"),
    ] {
        denied("Immutable", &object.change(&me("admin"), Spelling::Merge, &patch, &[]));
    }
    let shorter = json!({"spec": {"mode": "Compliance"}});
    denied_in_words("never changes", &object.change(&me("admin"), Spelling::Merge, &shorter, &[]));
    let status = json!({"status": {"phase": "Purged"}}).to_string();
    let args = ["patch", "backupretention", &held.name, "--subresource=status", "--type=merge", "-p", &status];
    denied_in_words("foureyes-status", &me("admin").kubectl(&args));
    denied("DataHeld", &me("admin").kubectl(&["delete", "backupretention", &held.name]));
    denied(
        "DataHeld",
        &me("admin").kubectl(&[
            "delete",
            "backupretentions",
            "--field-selector",
            &format!("metadata.name={}", held.name),
        ]),
    );
    // what is said of requests is not said of it
    let mut approve = held.statement("Approve");
    approve["spec"]["digest"] = json!(held.field("{.status.digest}"));
    denied_in_words("Release, LegalHold or ReleaseHold", &me("bob").create(&approve, &[]));
    assert!(held.is_there());
}

#[test]
fn nobody_lets_go_of_a_compliance_retention_before_its_time() {
    let victor = keeper_of_volumes();
    let volume = on_retain("compliance");
    let held = made(&me("alice"), &retention(&volume, "Compliance"), &volume);
    held.cannot_be(&me("alice"), "Release", "DataHeld");
    held.cannot_be(&me("bob"), "Release", "DataHeld");
    let refusal = denied("DataHeld", &held.delete(&victor));
    assert!(refusal.contains("Its mode is Compliance"), "{refusal}");
    assert_eq!(held.field("{.status.releaseCommand}"), "");
    held.said(&me("alice"), "LegalHold");
    held.wait("{.status.legalHolds[0]}", "alice");
}

#[test]
fn a_volume_that_would_go_with_its_claim_is_put_on_retain_before_it_is_held() {
    let namespace = production_with("perishable", &["data"]);
    let volume = field(&namespace, "pvc", "data", "{.spec.volumeName}");
    let refusal = me("alice").cannot_create("RequestInvalid", &retention(&volume, "Governance"));
    went(&paste("admin", last_line(&refusal)));
    let held = made(&me("alice"), &retention(&volume, "Governance"), &volume);
    assert!(held.is_there());
    assert!(exists("", "backupretention", &held.name));
}
