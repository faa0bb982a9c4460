//! `foureyes verify`: an exported sign-off and the published keys prove it without the cluster, and nothing that was
//! changed in it proves anything.

use std::fs;

use foureyes_testbed::Output;
use serde_json::{Value, json};

use super::asked_by_alice;
use crate::support::spelling::record;
use crate::support::{cluster, me, paste, succeeds};

#[test]
fn one_changed_byte_anywhere_is_not_valid() {
    let (namespace, asked) = asked_by_alice("exported");
    let mut object = asked.sign_off("Approve");
    object["spec"]["verified"] = json!("the backup of Monday was restored");
    object["spec"]["comment"] = json!("fine");
    let created = me("bob").creates(&object);
    let exported = record("signoffs", created["metadata"]["name"].as_str().unwrap()).live();
    let folder = cluster().layout().dir.join(format!("exported-{namespace}"));
    fs::create_dir_all(&folder).unwrap();
    let keys = folder.join("keys.yaml");
    fs::write(&keys, succeeds("admin", &["-n", "foureyes-system", "get", "configmap", "foureyes-keys", "-o=yaml"]))
        .unwrap();
    let verify = |sign_off: &Value| -> Output {
        let file = folder.join("sign-off.json");
        fs::write(&file, sign_off.to_string()).unwrap();
        let program = cluster().binaries().foureyes.display();
        paste("nobody", &format!("{program} verify --keys {} {}", keys.display(), file.display()))
    };
    let valid = verify(&exported);
    assert!(valid.ok() && valid.text().contains("1 of 1 valid"), "{}", valid.text());
    for pointer in [
        "/metadata/name",
        "/metadata/creationTimestamp",
        "/spec/subject/name",
        "/spec/subject/uid",
        "/spec/says",
        "/spec/digest",
        "/spec/verified",
        "/spec/comment",
        "/spec/author/username",
        "/spec/author/groups/0",
        "/spec/at",
        "/spec/seal",
    ] {
        let mut changed = exported.clone();
        let text = changed.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        *changed.pointer_mut(pointer).unwrap() = json!(altered(pointer, &text));
        let checked = verify(&changed);
        assert!(!checked.ok(), "{pointer}: {}", checked.text());
    }
    for (pointer, field) in [("/spec", "comment"), ("/spec", "author"), ("/spec", "seal"), ("/spec/author", "groups")] {
        let mut changed = exported.clone();
        changed.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(field);
        let checked = verify(&changed);
        assert!(!checked.ok(), "{field} removed: {}", checked.text());
    }
}

/// Another value that still reads well.
fn altered(pointer: &str, text: &str) -> String {
    match pointer {
        "/spec/says" => "Reject".to_owned(),
        // the time of creation is the API server's, and is compared with the sealed one
        "/metadata/creationTimestamp" | "/spec/at" => text.replacen("20", "21", 1),
        _ => {
            let mut bytes = text.as_bytes().to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] = if bytes[middle] == b'0' { b'1' } else { b'0' };
            String::from_utf8(bytes).unwrap()
        }
    }
}
