//! The sealing key is rotated while people work; what was signed off before stays valid, here and offline.

use std::fs;
use std::path::{Path, PathBuf};

use foureyes_testbed::{Output, wait_for};
use serde_json::Value;

use crate::support::{PATIENCE, claim, cluster, field, paste, production, succeeds, succeeds_with};

/// Runs `foureyes` as one of its own parts.
fn foureyes(part: &str, args: &[&str]) -> Output {
    let kubeconfig = cluster().layout().program(part);
    let line = format!(
        "KUBECONFIG='{}' '{}' {}",
        kubeconfig.display(),
        cluster().binaries().foureyes.display(),
        args.join(" ")
    );
    paste("admin", &line)
}

/// Alice asks for the deletion of a claim; the name of the request, when it can be signed off.
fn request(namespace: &str, name: &str, uid: &str) -> String {
    let manifest = serde_json::json!({
        "apiVersion": "foureyes.dev/v1alpha1",
        "kind": "DeletionRequest",
        "metadata": { "name": format!("{namespace}-{name}") },
        "spec": {
            "target": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": namespace,
                "name": name,
                "uid": uid,
            },
            "reason": "no longer needed",
        },
    });
    succeeds_with("alice", &["create", "-f", "-"], &manifest.to_string());
    let request = format!("{namespace}-{name}");
    wait_for("the command to sign off with", PATIENCE, || {
        let command = field("", "deletionrequest", &request, "{.status.signOffCommand}");
        Ok((!command.is_empty()).then_some(()))
    })
    .unwrap();
    request
}

/// Bob pastes what the request shows; the sign-off as JSON.
fn signed_off(request: &str) -> Value {
    let command = field("", "deletionrequest", request, "{.status.signOffCommand}");
    let pasted = paste("bob", &command);
    assert!(pasted.ok(), "{}", pasted.text());
    let uid = field("", "deletionrequest", request, "{.metadata.uid}");
    let selector = format!("--field-selector=spec.subject.uid={uid}");
    let list = succeeds("admin", &["get", "signoffs", &selector, "-o=json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    list["items"][0].clone()
}

fn folder() -> PathBuf {
    let folder = cluster().layout().dir.join("verify");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn keys(folder: &Path, name: &str) -> PathBuf {
    let file = folder.join(name);
    let map = succeeds("admin", &["-n", "foureyes-system", "get", "configmap", "foureyes-keys", "-o=yaml"]);
    fs::write(&file, map).unwrap();
    file
}

fn verify(keys: &Path, sign_off: &Path) -> Output {
    let args = ["verify", "--keys", &keys.display().to_string(), &sign_off.display().to_string()];
    foureyes("foureyes-keys", &args)
}

fn sealed_by(sign_off: &Value) -> String {
    let seal = sign_off["spec"]["seal"].as_str().unwrap();
    seal.split('.').nth(1).unwrap().to_owned()
}

#[test]
fn rotation_leaves_old_sign_offs_valid_and_new_ones_carry_the_new_key() {
    let namespace = production("rotation");
    let folder = folder();
    let before = request(&namespace, "before", &claim(&namespace, "before"));
    let old = signed_off(&before);
    let file = folder.join("old.json");
    fs::write(&file, old.to_string()).unwrap();
    let old_keys = keys(&folder, "old-keys.yaml");
    let checked = verify(&old_keys, &file);
    assert!(checked.ok() && checked.text().contains("who   bob"), "{}", checked.text());

    let quiet = foureyes("foureyes-keys", &["keys"]);
    assert!(quiet.ok() && quiet.text().contains("nothing to do"), "{}", quiet.text());
    let rotated = foureyes("foureyes-keys", &["keys", "--rotate"]);
    assert!(rotated.ok() && rotated.text().contains("Made the sealing key"), "{}", rotated.text());
    let new_keys = keys(&folder, "new-keys.yaml");
    assert!(verify(&new_keys, &file).ok());

    let mut number = 0;
    wait_for("a sign-off sealed with the new key", PATIENCE, || {
        number += 1;
        let name = format!("after-{number}");
        let after = signed_off(&request(&namespace, &name, &claim(&namespace, &name)));
        let path = folder.join("new.json");
        fs::write(&path, after.to_string()).unwrap();
        let checked = verify(&new_keys, &path);
        assert!(checked.ok(), "{}", checked.text());
        Ok((sealed_by(&after) != sealed_by(&old)).then_some(()))
    })
    .unwrap();
    assert!(!verify(&old_keys, &folder.join("new.json")).ok());
    succeeds("eve", &["-n", &namespace, "delete", "pvc", "before", "--wait=false"]);
}

#[test]
fn a_sign_off_that_was_tampered_with_is_not_valid_offline() {
    let namespace = production("tampering");
    let folder = folder();
    let mut sign_off = signed_off(&request(&namespace, "data", &claim(&namespace, "data")));
    let (keys, file) = (keys(&folder, "keys.yaml"), folder.join("tampered.json"));
    sign_off["spec"]["author"]["username"] = "carol".into();
    fs::write(&file, sign_off.to_string()).unwrap();
    let checked = verify(&keys, &file);
    assert!(!checked.ok() && checked.text().contains("NOT VALID"), "{}", checked.text());
}

#[test]
fn no_other_part_can_make_a_key() {
    for part in ["foureyes-webhook", "foureyes-controller"] {
        let refused = foureyes(part, &["keys", "--rotate"]);
        assert!(!refused.ok() && refused.text().contains("forbidden"), "{part}: {}", refused.text());
    }
}
