//! What outlived a deletion is held: its volume goes only once two people have let go of it, whoever asks and however it is
//! spelled (bypasses 20 and 21).

mod aliases;
mod people;
mod unheld;

use serde_json::{Value, json};

use crate::support::objects::{bound, claim_of, eventually, production_with};
use crate::support::retentions::{held, held_in, keeper_of_volumes};
use crate::support::spelling::{self, Spelling};
use crate::support::{Who, account, denied, denied_in_words, exists, field, me, paste, wait_gone, went};

/// The line that a refusal ends with.
fn last_line(refusal: &str) -> &str {
    refusal.trim().lines().last().unwrap()
}

#[test]
fn a_held_volume_goes_when_two_people_have_let_go_of_it() {
    let victor = keeper_of_volumes();
    let held = held("purge");
    held.wait("{.status.keepers[0].exists}", "true");
    held.wait("{.status.keepers[0].survives}", "true");
    assert_eq!(held.field("{.status.keepers[0].sizeBytes}"), (1_u64 << 30).to_string());
    assert_eq!(held.field("{.status.keepers[0].manifest.claim.metadata.name}"), "data");
    assert_eq!(held.field("{.status.keepers[0].manifest.volume.metadata.name}"), held.volume);
    assert_eq!(held.field("{.status.releases.text}"), "0/2");
    denied("DataHeld", &me("admin").kubectl(&["delete", "backupretention", &held.name]));

    let refusal = denied("DataHeld", &held.delete(&victor));
    let line = last_line(&refusal);
    // whoever may not approve pastes it in vain
    denied("RightMissing", &paste("eve", line));
    went(&paste("alice", line));
    denied("AlreadySaid", &paste("alice", line));
    held.wait("{.status.releases.text}", "1/2");
    assert_eq!(held.field("{.status.phase}"), "Holding");
    denied("DataHeld", &held.delete(&victor));
    let second = held.said(&me("bob"), "Release");
    held.wait("{.status.phase}", "ReleaseApproved");
    denied("DataHeld", &me("admin").kubectl(&["delete", "backupretention", &held.name]));
    went(&held.delete(&victor));
    wait_gone("", "pv", &held.volume);
    held.wait("{.status.phase}", "Purged");
    assert_eq!((held.field("{.status.purged}"), held.field("{.status.lost}")), ("1".to_owned(), "0".to_owned()));
    // what allowed it stays as the evidence; then all of it may be cleared
    denied("RequestInUse", &me("bob").kubectl(&["delete", "signoff", &second]));
    held.cannot_be(&me("bob"), "Release", "RequestEnded");
    denied("RightMissing", &me("eve").kubectl(&["delete", "backupretention", &held.name]));
    me("alice").does(&["delete", "backupretention", &held.name]);
}

/// What would destroy the data of a volume, or give it to somebody else: as merge patches.
fn deeds() -> Vec<(&'static str, Value)> {
    let nobody = json!([{"apiVersion": "v1", "kind": "Node", "name": "nobody",
                         "uid": "11111111-1111-1111-1111-111111111111"}]);
    vec![
        ("off Retain", json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}})),
        ("to Recycle", json!({"spec": {"persistentVolumeReclaimPolicy": "Recycle"}})),
        ("cleared", json!({"spec": {"claimRef": null}})),
        ("moved", json!({"spec": {"claimRef": {"namespace": "default"}}})),
        ("renamed", json!({"spec": {"claimRef": {"name": "other"}}})),
        ("reserved for nobody", json!({"spec": {"claimRef": {"uid": "11111111-1111-1111-1111-111111111111"}}})),
        ("into another class", json!({"spec": {"storageClassName": "scratch"}})),
        ("without its note", json!({"metadata": {"annotations": {"foureyes.dev/kept-claim": null}}})),
        ("with another note", json!({"metadata": {"annotations": {"foureyes.dev/kept-claim": "{}"}}})),
        ("unprotected", json!({"metadata": {"finalizers": null}})),
        ("collected", json!({"metadata": {"ownerReferences": nobody}})),
    ]
}

#[test]
fn a_held_volume_stays_what_it_is_however_that_is_spelled() {
    let victor = keeper_of_volumes();
    let held = held("spelled");
    let volume = spelling::volume(&held.volume);
    let before = volume.metadata();
    let machines = [account("kube-system", "generic-garbage-collector"), account("storage", "volumes")];
    for (what, patch) in deeds() {
        let spellings = if patch.get("metadata").is_some() { spelling::OF_CLAIMS } else { &spelling::OF_CLAIMS[..5] };
        for spelling in spellings {
            // null in an applied manifest is no removal
            let removes = patch.to_string().contains("null");
            if removes && matches!(spelling, Spelling::Apply | Spelling::ServerApply) {
                continue;
            }
            let output = volume.change(&victor, *spelling, &patch, &[]);
            assert!(output.text().contains("[DataHeld]"), "{what}, {spelling:?}: {}", output.text());
        }
        for who in machines.iter().chain([&me("admin")]) {
            let output = volume.change(who, Spelling::Merge, &patch, &[]);
            assert!(output.text().contains("[DataHeld]"), "{what} by {who:?}: {}", output.text());
        }
        denied("DataHeld", &volume.change(&victor, Spelling::Merge, &patch, &["--dry-run=server"]));
    }
    for flags in [&["--dry-run=server"][..], &["--force", "--grace-period=0"], &["--cascade=orphan"]] {
        denied("DataHeld", &victor.kubectl(&[&["delete", "pv", &held.volume, "--wait=false"], flags].concat()));
    }
    let one = format!("/api/v1/persistentvolumes?fieldSelector=metadata.name%3D{}", held.volume);
    denied("DataHeld", &machines[0].kubectl(&["delete", "pv", &held.volume, "--wait=false"]));
    for who in [&machines[1], &victor, &me("admin")] {
        denied("DataHeld", &who.kubectl(&["delete", "--raw", &one]));
    }
    // the source can't be changed at all
    let moved = json!({"spec": {"hostPath": {"path": "/tmp/elsewhere"}}});
    denied_in_words("immutable", &volume.change(&victor, Spelling::Merge, &moved, &[]));
    // what has nothing to do with the data is free
    went(&volume.change(&victor, Spelling::Merge, &json!({"metadata": {"labels": {"team": "web"}}}), &[]));
    went(&volume.change(&victor, Spelling::Merge, &json!({"metadata": {"labels": {"team": null}}}), &[]));
    assert_eq!(volume.metadata(), before);
    assert_eq!(held.field("{.status.phase}"), "Holding");
}

/// Fact 16.
#[test]
fn a_held_volume_is_reserved_for_its_claim_and_bound_again() {
    let victor = keeper_of_volumes();
    let namespace = production_with("back", &["data", "other"]);
    let held = held_in(&namespace, "data");
    let volume = spelling::volume(&held.volume);
    let reserve = json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}});
    went(&volume.change(&victor, Spelling::Merge, &reserve, &[]));
    let mut claim = claim_of(&namespace, "data");
    claim["spec"]["volumeName"] = json!(held.volume);
    bound(&claim);
    assert_eq!(field("", "pv", &held.volume, "{.status.phase}"), "Bound");
    // it is held still, also where the claim has another name
    denied("DataHeld", &held.delete(&victor));
    let other =
        json!({"spec": {"claimRef": {"name": "other", "uid": field(&namespace, "pvc", "other", "{.metadata.uid}")}}});
    denied("DataHeld", &volume.change(&victor, Spelling::Merge, &other, &[]));
    assert_eq!(held.field("{.status.phase}"), "Holding");
    // and its claim goes again as any other, with its volume held
    let again = held_in(&namespace, "data");
    assert_eq!(again.volume, held.volume);
    assert_ne!(again.name, held.name);
    for retention in [&held, &again] {
        retention.said(&me("alice"), "Release");
        retention.said(&me("bob"), "Release");
        retention.wait("{.status.phase}", "ReleaseApproved");
        if retention.name == held.name {
            // one of two that hold it does not suffice
            denied("DataHeld", &held.delete(&victor));
        }
    }
    went(&held.delete(&victor));
    held.wait("{.status.phase}", "Purged");
    again.wait("{.status.phase}", "Purged");
}

#[test]
fn a_legal_hold_stops_a_release_until_two_people_end_it() {
    let victor = keeper_of_volumes();
    let held = held("legal");
    held.cannot_be(&me("bob"), "ReleaseHold", "HoldNotThere");
    held.cannot_be(&me("carol"), "LegalHold", "RightMissing");
    held.cannot_be(&me("carol"), "Release", "RightMissing");
    held.cannot_be(&me("admin"), "Release", "NotAPerson");
    let mut stale = held.statement("Release");
    stale["spec"]["digest"] = json!(format!("retention/v1:sha256:{}", "0".repeat(64)));
    let refusal = me("bob").cannot_create("DigestStale", &stale);
    held.said(&me("alice"), "Release");
    went(&paste("bob", last_line(&refusal)));
    held.wait("{.status.phase}", "ReleaseApproved");
    let statement = held.said(&me("bob"), "LegalHold");
    held.wait("{.status.phase}", "Holding");
    assert_eq!(held.field("{.status.legalHolds[0]}"), "bob");
    let refusal = denied("DataHeld", &held.delete(&victor));
    assert!(refusal.contains("under the legal hold of bob"), "{refusal}");
    held.cannot_be(&me("bob"), "LegalHold", "AlreadySaid");
    // it is not withdrawn by whoever said it
    denied("DataHeld", &me("bob").kubectl(&["delete", "signoff", &statement]));
    // statements have whole seconds, and what ends a hold comes after it
    std::thread::sleep(std::time::Duration::from_millis(1100));
    went(&paste("bob", last_line(&refusal)));
    held.cannot_be(&me("bob"), "ReleaseHold", "AlreadySaid");
    denied("DataHeld", &held.delete(&victor));
    held.said(&me("alice"), "ReleaseHold");
    held.wait("{.status.phase}", "ReleaseApproved");
    assert_eq!(held.field("{.status.legalHolds}"), "");
    went(&held.delete(&victor));
    held.wait("{.status.phase}", "Purged");
}

/// What was let go of is taken back, as long as nothing is gone.
#[test]
fn a_release_is_withdrawn_by_whoever_said_it() {
    let victor = keeper_of_volumes();
    let held = held("withdrawn");
    let alices = held.said(&me("alice"), "Release");
    held.said(&me("bob"), "Release");
    held.wait("{.status.phase}", "ReleaseApproved");
    denied("StatementNotYours", &me("bob").kubectl(&["delete", "signoff", &alices]));
    me("alice").does(&["delete", "signoff", &alices]);
    denied("DataHeld", &held.delete(&victor));
    held.wait("{.status.phase}", "Holding");
    held.wait("{.status.releases.text}", "1/2");
    assert!(held.is_there());
}
