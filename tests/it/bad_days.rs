//! Deletions on bad days: a volume that can't be kept, and two wishes for one object.

use serde_json::json;

use crate::support::objects::{claim_approved, eventually, outlived, production_with};
use crate::support::requests::{asks, delete_claim, deletes_claim, stays};
use crate::support::{denied, field, me, wait_gone};

#[test]
fn a_volume_that_refuses_holds_its_deletion_up_until_it_gives_way() {
    let namespace = production_with("refuses", &["data"]);
    let volume = field(&namespace, "pvc", "data", "{.spec.volumeName}");
    let api = "admissionregistration.k8s.io";
    let policy = json!({
        "apiVersion": format!("{api}/v1"), "kind": "ValidatingAdmissionPolicy", "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"],
                                                    "resources": ["persistentvolumes"]}]},
            "matchConditions": [{"name": "this", "expression": format!("object.metadata.name == '{volume}'")}],
            "validations": [{"expression": "object.spec.persistentVolumeReclaimPolicy == oldObject.spec.persistentVolumeReclaimPolicy",
                             "message": "the storage team keeps this one"}],
        },
    });
    let binding = json!({
        "apiVersion": format!("{api}/v1"), "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": namespace},
        "spec": {"policyName": namespace, "validationActions": ["Deny"]},
    });
    me("admin").creates(&policy);
    me("admin").creates(&binding);
    let retain = r#"{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}"#;
    eventually("the policy to be in force", || {
        !me("admin").kubectl(&["patch", "pv", &volume, "--type=merge", "-p", retain, "--dry-run=server"]).ok()
    });

    let asked = asks(&me("alice"), &namespace, "data", &field(&namespace, "pvc", "data", "{.metadata.uid}"));
    asked.said(&me("bob"), "Approve");
    asked.wait_field("{.status.waitingFor}", "1 volume to be put on Retain");
    asked.wait_field("{.status.conditions[?(@.type=='DataKept')].status}", "False");
    let told = || {
        let of_request = format!("--field-selector=regarding.name={}", asked.name);
        let notes = "-o=jsonpath={range .items[*]}{.reason} {.note}{\"\\n\"}{end}";
        me("admin").does(&["get", "events.events.k8s.io", "-A", &of_request, notes])
    };
    eventually("it to be told", || told().contains("VolumeNotKept"));
    assert!(told().contains("the storage team keeps this one"), "{}", told());
    denied("NotYetExecutable", &delete_claim(&me("eve"), &namespace, "data"));
    stays(&namespace, "data");

    me("admin").does(&["delete", "validatingadmissionpolicybinding", &namespace]);
    me("admin").does(&["delete", "validatingadmissionpolicy", &namespace]);
    asked.wait_phase("Executable");
    deletes_claim(&me("eve"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
    asked.wait_phase("Executed");
    outlived(&volume, &asked);
}

#[test]
fn of_two_wishes_for_one_claim_one_may_end_without_the_other() {
    let namespace = production_with("two-wishes", &["data"]);
    let volume = field(&namespace, "pvc", "data", "{.spec.volumeName}");
    let first = claim_approved(&namespace, "data");
    let second = claim_approved(&namespace, "data");
    // what the second found was changed already
    assert_eq!(first.field("{.status.protections[0].before}"), "Delete");
    assert_eq!(second.field("{.status.protections}"), "");
    first.said(&me("alice"), "Cancel");
    first.wait_phase("Cancelled");
    deletes_claim(&me("eve"), &namespace, "data");
    wait_gone(&namespace, "pvc", "data");
    second.wait_phase("Executed");
    outlived(&volume, &second);
    assert_eq!(first.field("{.status.phase}"), "Cancelled");
    assert_eq!(first.field("{.status.backupRetention}"), "");
}
