//! What people do about requests: ask, sign off, annotate.

use foureyes_testbed::{Output, wait_for};
use serde_json::{Value, json};

use super::who::Who;
use super::{PATIENCE, field, me, succeeds};

/// A request that can be signed off.
#[derive(Clone, Debug)]
pub struct Asked {
    pub name: String,
    pub uid: String,
    /// What a sign-off must name.
    pub digest: String,
}

/// A claim as a target.
pub fn target(namespace: &str, claim: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim, "uid": uid,
    })
}

/// A request for a target.
pub fn request(prefix: &str, target: &Value) -> Value {
    json!({
        "apiVersion": "foureyes.dev/v1alpha1",
        "kind": "DeletionRequest",
        "metadata": {"generateName": format!("{prefix}-")},
        "spec": {"target": target, "reason": "no longer needed"},
    })
}

/// Somebody asks for the deletion of a claim.
#[track_caller]
pub fn asks(who: &Who, namespace: &str, claim: &str, uid: &str) -> Asked {
    let created = who.creates(&request(namespace, &target(namespace, claim, uid)));
    asked(created["metadata"]["name"].as_str().unwrap())
}

/// Waits until a request can be signed off.
pub fn asked(name: &str) -> Asked {
    let digest = wait_for("the request to say what is signed off", PATIENCE, || {
        let digest = field("", "deletionrequest", name, "{.status.subjectDigest}");
        Ok((!digest.is_empty()).then_some(digest))
    });
    let uid = field("", "deletionrequest", name, "{.metadata.uid}");
    Asked { name: name.to_owned(), uid, digest: digest.unwrap() }
}

impl Asked {
    /// A statement about it, by its author's own choice of words.
    pub fn sign_off(&self, says: &str) -> Value {
        let mut object = json!({
            "apiVersion": "foureyes.dev/v1alpha1",
            "kind": "SignOff",
            "metadata": {"generateName": format!("{}-", self.name)},
            "spec": {
                "subject": {"kind": "DeletionRequest", "name": self.name, "uid": self.uid},
                "says": says,
            },
        });
        if says == "Approve" {
            object["spec"]["digest"] = json!(self.digest);
        }
        object
    }

    /// Somebody says something about it; the name of the sign-off.
    #[track_caller]
    pub fn said(&self, who: &Who, says: &str) -> String {
        who.creates(&self.sign_off(says))["metadata"]["name"].as_str().unwrap().to_owned()
    }

    /// Must be refused with this reason code, and leave nothing.
    #[track_caller]
    pub fn cannot_be(&self, who: &Who, says: &str, code: &str) {
        let before = self.statements();
        who.cannot_create(code, &self.sign_off(says));
        assert_eq!(self.statements(), before, "a refused sign-off was written");
    }

    /// Names of the sign-offs about it.
    pub fn statements(&self) -> String {
        let selector = format!("--field-selector=spec.subject.uid={}", self.uid);
        succeeds("admin", &["get", "signoffs", &selector, "-o=name"])
    }

    pub fn field(&self, path: &str) -> String {
        field("", "deletionrequest", &self.name, path)
    }

    #[track_caller]
    pub fn wait_phase(&self, phase: &str) {
        self.wait_field("{.status.phase}", phase);
    }

    #[track_caller]
    pub fn wait_field(&self, path: &str, wanted: &str) {
        let mut last = String::new();
        let in_time = wait_for(&format!("{path} to be {wanted}"), PATIENCE, || {
            last = self.field(path);
            Ok((last == wanted).then_some(()))
        });
        assert!(in_time.is_ok(), "{path} of {} stayed {last:?}, and never was {wanted:?}", self.name);
    }
}

/// What somebody would paste to approve the deletion of a claim: the short digest in the refusal.
pub fn inventory_digest(namespace: &str, claim: &str) -> String {
    let refusal = me("eve").kubectl(&["-n", namespace, "delete", "pvc", claim, "--dry-run=server"]).text();
    let at = refusal.find("=me@").unwrap_or_else(|| panic!("no digest in:\n{refusal}"));
    refusal[at + 4..].chars().take_while(char::is_ascii_hexdigit).collect()
}

/// Deletes a claim without waiting for its end.
pub fn delete_claim(who: &Who, namespace: &str, claim: &str) -> Output {
    who.kubectl(&["-n", namespace, "delete", "pvc", claim, "--wait=false"])
}

/// Deletes a claim, which must be allowed once the webhooks have seen what allows it.
#[track_caller]
pub fn deletes_claim(who: &Who, namespace: &str, claim: &str) {
    let mut last = String::new();
    let waited = wait_for("the deletion to be allowed", PATIENCE, || {
        let output = delete_claim(who, namespace, claim);
        last = output.text();
        Ok(output.ok().then_some(()))
    });
    assert!(waited.is_ok(), "the deletion of {namespace}/{claim} stayed refused:\n{last}");
}

/// The claim is there, and not going.
#[track_caller]
pub fn stays(namespace: &str, claim: &str) {
    let going = field(namespace, "pvc", claim, "{.metadata.deletionTimestamp}");
    assert_eq!(going, "", "claim {namespace}/{claim} is going");
}
