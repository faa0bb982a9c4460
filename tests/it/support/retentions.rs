//! What people do about volumes and what holds them.

use std::sync::Once;

use foureyes_testbed::{Output, wait_for};
use serde_json::{Value, json};

use super::objects::{bound, claim_approved, claim_of, eventually};
use super::requests::deletes_claim;
use super::who::{Who, acting};
use super::{PATIENCE, exists, field, me, production, wait_gone};

/// A person who may do everything with volumes.
pub fn keeper_of_volumes() -> Who {
    static BOUND: Once = Once::new();
    BOUND.call_once(|| {
        let rights = ["--verb=*", "--resource=persistentvolumes,persistentvolumes/status"];
        me("admin").does(&[&["create", "clusterrole", "volumes"], &rights[..]].concat());
        let who = ["--clusterrole=volumes", "--user=victor", "--user=eve", "--serviceaccount=storage:volumes"];
        me("admin").does(&[&["create", "clusterrolebinding", "volumes"], &who[..]].concat());
    });
    acting("victor", &[])
}

/// A retention, by its name.
#[derive(Clone, Debug)]
pub struct Held {
    pub name: String,
    /// What it keeps.
    pub volume: String,
}

/// A claim in a namespace of its own, whose deletion was signed off and is done: its volume is held.
pub fn held(prefix: &str) -> Held {
    let namespace = production(prefix);
    bound(&claim_of(&namespace, "data"));
    held_in(&namespace, "data")
}

/// The same in a namespace that is there.
pub fn held_in(namespace: &str, claim: &str) -> Held {
    let volume = field(namespace, "pvc", claim, "{.spec.volumeName}");
    let asked = claim_approved(namespace, claim);
    deletes_claim(&me("alice"), namespace, claim);
    wait_gone(namespace, "pvc", claim);
    asked.wait_phase("Executed");
    let held = Held { name: asked.field("{.status.backupRetention}"), volume };
    held.wait("{.status.phase}", "Holding");
    eventually("the volume to be released", || field("", "pv", &held.volume, "{.status.phase}") == "Released");
    held
}

/// A retention that somebody makes for a volume.
pub fn retention(volume: &str, mode: &str) -> Value {
    let handle = format!("hostPath/{}", field("", "pv", volume, "{.spec.hostPath.path}"));
    json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "BackupRetention", "metadata": {"generateName": "kept-"},
        "spec": {
            "keepers": [{"kind": "PersistentVolume", "name": volume, "handle": handle,
                         "uid": field("", "pv", volume, "{.metadata.uid}")}],
            "retainDays": 1, "mode": mode, "afterwards": "Keep",
        },
    })
}

impl Held {
    /// A statement about it.
    pub fn statement(&self, says: &str) -> Value {
        let uid = field("", "backupretention", &self.name, "{.metadata.uid}");
        let mut object = json!({
            "apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOff", "metadata": {"generateName": format!("{}-", self.name)},
            "spec": {"subject": {"kind": "BackupRetention", "name": self.name, "uid": uid}, "says": says},
        });
        if says == "Release" {
            object["spec"]["digest"] = json!(self.field("{.status.digest}"));
        }
        object
    }

    /// Somebody says something about it; the name of the sign-off.
    #[track_caller]
    pub fn said(&self, who: &Who, says: &str) -> String {
        who.creates(&self.statement(says))["metadata"]["name"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn cannot_be(&self, who: &Who, says: &str, code: &str) -> String {
        who.cannot_create(code, &self.statement(says))
    }

    pub fn field(&self, path: &str) -> String {
        field("", "backupretention", &self.name, path)
    }

    #[track_caller]
    pub fn wait(&self, path: &str, wanted: &str) {
        let mut last = String::new();
        let in_time = wait_for(&format!("{path} to be {wanted}"), PATIENCE, || {
            last = self.field(path);
            Ok((last == wanted).then_some(()))
        });
        assert!(in_time.is_ok(), "{path} of {} stayed {last:?}, and never was {wanted:?}", self.name);
    }

    /// Deletes its volume, whatever comes of it.
    pub fn delete(&self, who: &Who) -> Output {
        who.kubectl(&["delete", "pv", &self.volume, "--wait=false"])
    }

    pub fn is_there(&self) -> bool {
        exists("", "pv", &self.volume)
    }
}
