//! Another volume with the same handle: the same data under another name (bypass 21).

use super::*;

/// A volume that nobody has provisioned; `claim` is its namespace and name.
pub fn blank(name: &str, policy: &str, claim: Option<(&str, &str)>) -> Value {
    let mut volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
                 "persistentVolumeReclaimPolicy": policy, "hostPath": {"path": format!("/tmp/foureyes-{name}")}},
    });
    if let Some((namespace, name)) = claim {
        volume["spec"]["claimRef"] = json!({"namespace": namespace, "name": name});
    }
    volume
}

fn alias(of: &str, name: &str, policy: &str, claim: Option<(&str, &str)>) -> Value {
    let mut volume = blank(name, policy, claim);
    volume["spec"]["hostPath"]["path"] = json!(field("", "pv", of, "{.spec.hostPath.path}"));
    volume
}

#[test]
fn the_data_of_a_held_volume_gets_no_second_name_by_which_it_goes() {
    let victor = keeper_of_volumes();
    let namespace = production_with("alias", &["data"]);
    let held = held_in(&namespace, "data");
    let home = Some((namespace.as_str(), "data"));
    let machine = account("storage", "volumes");
    for who in [&victor, &me("admin"), &machine] {
        for (policy, claim) in [
            ("Delete", None),
            ("Delete", home),
            ("Recycle", home),
            ("Retain", None),
            ("Retain", Some(("default", "data"))),
        ] {
            let volume = alias(&held.volume, "alias", policy, claim);
            who.cannot_create("DataHeld", &volume);
            denied("DataHeld", &who.create(&volume, &["--dry-run=server"]));
            denied("DataHeld", &who.kubectl_with(&["apply", "-f", "-"], Some(&volume)));
        }
    }
    // for the claim that it was, on Retain: that is a way back
    victor.creates(&alias(&held.volume, "alias", "Retain", home));
    let second = spelling::volume("alias");
    let flip = json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}});
    for patch in [&flip, &json!({"spec": {"claimRef": null}}), &json!({"spec": {"claimRef": {"namespace": "default"}}})]
    {
        for spelling in [Spelling::Merge, Spelling::Json, Spelling::Put] {
            denied("DataHeld", &second.change(&victor, spelling, patch, &[]));
        }
        denied("DataHeld", &second.change(&machine, Spelling::Merge, patch, &[]));
    }
    // what is not held has as many names as anybody likes
    victor.creates(&blank("alias-free", "Delete", None));
    victor.does(&["delete", "pv", "alias-free"]);

    held.said(&me("alice"), "Release");
    held.said(&me("bob"), "Release");
    held.wait("{.status.phase}", "ReleaseApproved");
    went(&second.change(&victor, Spelling::Merge, &flip, &[]));
}
