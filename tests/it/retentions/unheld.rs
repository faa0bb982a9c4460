//! Volumes that nothing holds: in production no person destroys their data past their claims; whatever runs by itself goes
//! on, and so does everybody outside production.

use super::*;
use crate::support::non_production;
use crate::support::requests::delete_claim;

fn volume_of(namespace: &str) -> String {
    field(namespace, "pvc", "data", "{.spec.volumeName}")
}

fn retain(volume: &str) {
    let patch = json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}});
    went(&spelling::volume(volume).change(&keeper_of_volumes(), Spelling::Merge, &patch, &[]));
}

/// With its claim the data would go, without a word by a second person.
fn past_the_claim() -> [Value; 3] {
    [
        json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}}),
        json!({"spec": {"claimRef": null}}),
        json!({"spec": {"claimRef": {"uid": "11111111-1111-1111-1111-111111111111"}}}),
    ]
}

#[test]
fn the_volume_of_a_claim_in_production_goes_with_its_claim_alone() {
    let victor = keeper_of_volumes();
    let namespace = production_with("bound", &["data"]);
    let name = volume_of(&namespace);
    let volume = spelling::volume(&name);
    retain(&name);
    let refusal = denied("VolumeInUse", &victor.kubectl(&["delete", "pv", &name, "--wait=false"]));
    // the line asks for the deletion of the claim
    denied("RightMissing", &paste("eve", last_line(&refusal)));
    went(&paste("alice", last_line(&refusal)));
    denied(
        "VolumeInUse",
        &victor.kubectl(&[
            "delete",
            "--raw",
            &format!("/api/v1/persistentvolumes?fieldSelector=metadata.name%3D{name}"),
        ]),
    );
    for patch in past_the_claim() {
        for spelling in [Spelling::Merge, Spelling::Json, Spelling::Strategic, Spelling::Put] {
            denied("VolumeInUse", &volume.change(&victor, spelling, &patch, &[]));
        }
    }
    let unprotected = json!({"metadata": {"finalizers": null}});
    denied("VolumeInUse", &volume.change(&victor, Spelling::StatusMerge, &unprotected, &[]));
    // machines do their work
    let machine = account("storage", "volumes");
    went(&volume.change(&machine, Spelling::Merge, &past_the_claim()[0], &["--dry-run=server"]));
    went(&machine.kubectl(&["delete", "pv", &name, "--dry-run=server"]));
    assert_eq!(field(&namespace, "pvc", "data", "{.status.phase}"), "Bound");
}

#[test]
fn outside_production_and_before_there_is_data_volumes_are_free() {
    let victor = keeper_of_volumes();
    let namespace = non_production("free-volume");
    bound(&claim_of(&namespace, "data"));
    let name = volume_of(&namespace);
    let volume = spelling::volume(&name);
    retain(&name);
    went(&volume.change(&victor, Spelling::Merge, &past_the_claim()[0], &[]));
    retain(&name);
    went(&delete_claim(&me("eve"), &namespace, "data"));
    eventually("the volume to be released", || field("", "pv", &name, "{.status.phase}") == "Released");
    went(&volume.change(&victor, Spelling::Merge, &past_the_claim()[1], &[]));
    victor.does(&["delete", "pv", &name]);
    // one that never was anybody's
    let blank = aliases::blank("free-blank", "Retain", None);
    victor.creates(&blank);
    went(&spelling::volume("free-blank").change(&victor, Spelling::Merge, &past_the_claim()[0], &[]));
    victor.does(&["delete", "pv", "free-blank"]);
}

/// As volumes are made, bound, and reclaimed by what the cluster runs.
#[test]
fn what_provisions_and_reclaims_goes_on() {
    let namespace = non_production("reclaimed");
    bound(&claim_of(&namespace, "data"));
    let name = volume_of(&namespace);
    assert_eq!(field("", "pv", &name, "{.spec.persistentVolumeReclaimPolicy}"), "Delete");
    went(&delete_claim(&me("eve"), &namespace, "data"));
    wait_gone("", "pv", &name);
}

/// A namespace entered production with a volume whose claim had gone already.
#[test]
fn a_released_volume_in_production_has_data_until_two_people_say_otherwise() {
    let victor = keeper_of_volumes();
    let namespace = non_production("released");
    bound(&claim_of(&namespace, "data"));
    let name = volume_of(&namespace);
    retain(&name);
    went(&delete_claim(&me("eve"), &namespace, "data"));
    eventually("the volume to be released", || field("", "pv", &name, "{.status.phase}") == "Released");
    me("admin").does(&["label", "namespace", &namespace, "foureyes.dev/environment-"]);
    let mut refusal = String::new();
    eventually("the namespace to be known as production", || {
        let output = victor.kubectl(&["delete", "pv", &name, "--dry-run=server"]);
        refusal = output.text();
        !output.ok()
    });
    assert!(refusal.contains("[VolumeHasData]"), "{refusal}");
    for patch in past_the_claim() {
        denied("VolumeHasData", &spelling::volume(&name).change(&victor, Spelling::Merge, &patch, &[]));
    }
    denied("RightMissing", &paste("eve", last_line(&refusal)));
    let made = went(&paste("alice", last_line(&refusal)));
    let retention =
        made.trim().strip_prefix("backupretention.foureyes.dev/").and_then(|made| made.strip_suffix(" created"));
    let held = crate::support::retentions::Held { name: retention.unwrap().to_owned(), volume: name.clone() };
    held.wait("{.status.phase}", "Holding");
    denied("DataHeld", &held.delete(&victor));
    held.said(&me("alice"), "Release");
    held.said(&me("bob"), "Release");
    held.wait("{.status.phase}", "ReleaseApproved");
    went(&held.delete(&victor));
    held.wait("{.status.phase}", "Purged");
}
