//! Velero: backups, where they are stored, what deletes them, and what writes over what exists.

use serde_json::{Value, json};

use super::{Of, admin, machine};
use crate::support::changes::opened;
use crate::support::kinds::with_velero;
use crate::support::objects::eventually;
use crate::support::spelling::{self, Spelling};
use crate::support::{denied, me, non_production, production, went};

const BACKUP: Of = Of { api_version: "velero.io/v1", kind: "Backup", word: "backups.velero.io" };
const LOCATION: Of =
    Of { api_version: "velero.io/v1", kind: "BackupStorageLocation", word: "backupstoragelocations.velero.io" };
const DELETION: Of =
    Of { api_version: "velero.io/v1", kind: "DeleteBackupRequest", word: "deletebackuprequests.velero.io" };
const RESTORE: Of = Of { api_version: "velero.io/v1", kind: "Restore", word: "restores.velero.io" };

fn backup(namespace: &str, name: &str) -> Value {
    let mut backup = BACKUP.object(namespace, name, &json!({"includedNamespaces": ["shop"], "ttl": "720h0m0s"}));
    backup["status"] = json!({"phase": "Completed", "expiration": "2036-01-01T00:00:00Z"});
    backup
}

#[test]
fn people_delete_a_backup_only_once_two_others_have_signed_it_off() {
    with_velero();
    let namespace = production("velero");
    me("eve").creates(&backup(&namespace, "nightly"));
    me("eve").creates(&backup(&namespace, "weekly"));
    let deletion = DELETION.object(&namespace, "nightly-1", &json!({"backupName": "nightly"}));
    for flags in [&[][..], &["--dry-run=server"]] {
        denied("DeletionNotRequested", &BACKUP.delete(&me("eve"), &namespace, "nightly", flags));
        denied("DeletionNotRequested", &BACKUP.delete(&me("eve"), &namespace, "--all", flags));
        let refusal = denied("DeletionNotRequested", &me("eve").create(&deletion, flags));
        assert!(refusal.contains(&format!("Backup {namespace}/nightly was not deleted")), "{refusal}");
    }
    let nothing = DELETION.object(&namespace, "none", &json!({"backupName": "none"}));
    denied("SubjectUnknown", &me("eve").create(&nothing, &[]));

    // the deletion of one lets go of that one, by either way
    let request = BACKUP.approved(&namespace, "nightly");
    let other = DELETION.object(&namespace, "weekly-1", &json!({"backupName": "weekly"}));
    denied("DeletionNotRequested", &me("eve").create(&other, &[]));
    eventually("its deletion to be allowed", || me("eve").create(&deletion, &[]).ok());
    // what Velero does then
    let velero = machine(&namespace, "velero");
    went(&BACKUP.delete(&velero, &namespace, "nightly", &[]));
    request.wait_phase("Executed");
    assert!(BACKUP.exists(&namespace, "weekly"));
}

#[test]
fn a_backup_expires_no_earlier_by_the_word_of_one() {
    with_velero();
    let namespace = production("velero-ttl");
    me("eve").creates(&backup(&namespace, "nightly"));
    let object = spelling::custom("velero.io", "Backup", "backups", &namespace, "nightly");
    let earlier = json!({"status": {"expiration": "2026-01-01T00:00:00Z"}});
    let shorter = json!({"spec": {"ttl": "1h0m0s"}});
    for spelling in spelling::OF_RECORDS {
        denied("KeptForLess", &object.change(&me("eve"), *spelling, &shorter, &[]));
    }
    // what is kept in a file says nothing of its status
    for spelling in [Spelling::Merge, Spelling::Put, Spelling::ServerApply] {
        denied("KeptForLess", &object.change(&me("eve"), spelling, &earlier, &[]));
    }
    // later is nobody's harm, and Velero itself sets what it likes
    went(&BACKUP.patch(
        &me("eve"),
        &namespace,
        "nightly",
        &json!({"status": {"expiration": "2037-01-01T00:00:00Z"}}),
        &[],
    ));
    went(&BACKUP.patch(&me("eve"), &namespace, "nightly", &json!({"spec": {"ttl": "1000h"}}), &[]));
    went(&BACKUP.patch(&machine(&namespace, "velero"), &namespace, "nightly", &earlier, &[]));
    opened("KeptForLess", || BACKUP.patch(&me("eve"), &namespace, "nightly", &shorter, &[]));
    assert_eq!(BACKUP.field(&namespace, "nightly", "{.spec.ttl}"), "1h0m0s");
}

#[test]
fn where_backups_are_stored_is_not_forgotten_by_one() {
    with_velero();
    let namespace = production("velero-store");
    let spec = json!({"provider": "aws", "objectStorage": {"bucket": "backups"}});
    me("eve").creates(&LOCATION.object(&namespace, "default", &spec));
    denied("DeletionNotRequested", &LOCATION.delete(&me("eve"), &namespace, "default", &[]));
    LOCATION.approved(&namespace, "default");
    eventually("its deletion to be allowed", || LOCATION.delete(&me("eve"), &namespace, "default", &[]).ok());
}

#[test]
fn a_restore_writes_over_production_only_by_an_approved_change() {
    with_velero();
    let (velero, shop, playground) = (production("velero-restore"), production("restored"), non_production("restored"));
    let restore = |name: &str, into: &str, policy: Option<&str>| {
        let mut spec = json!({"backupName": "nightly", "includedNamespaces": [into]});
        if let Some(policy) = policy {
            spec["existingResourcePolicy"] = policy.into();
        }
        RESTORE.object(&velero, name, &spec)
    };
    let update = restore("over", &shop, Some("update"));
    denied("KeptForLess", &me("eve").create(&update, &["--dry-run=server"]));
    let all = RESTORE.object(&velero, "all", &json!({"backupName": "nightly", "existingResourcePolicy": "update"}));
    denied("KeptForLess", &admin().create(&all, &[]));
    went(&me("eve").create(&restore("beside", &shop, Some("none")), &[]));
    went(&me("eve").create(&restore("plain", &shop, None), &[]));
    went(&me("eve").create(&restore("playground", &playground, Some("update")), &[]));
    // nor later
    let later = json!({"spec": {"existingResourcePolicy": "update"}});
    denied("KeptForLess", &RESTORE.patch(&me("eve"), &velero, "plain", &later, &[]));
    opened("KeptForLess", || me("eve").create(&update, &[]));
    assert_eq!(RESTORE.field(&velero, "over", "{.spec.existingResourcePolicy}"), "update");
}

/// Whoever may expedite changes of what runs may not expedite what destroys.
#[test]
fn an_emergency_lets_no_backup_expire() {
    with_velero();
    let namespace = production("velero-emergency");
    me("eve").creates(&backup(&namespace, "nightly"));
    let shorter = json!({"spec": {"ttl": "1h0m0s"}});
    let refusal = denied("KeptForLess", &BACKUP.patch(&me("eve"), &namespace, "nightly", &shorter, &[]));
    let mut manifest = crate::support::changes::line(&refusal).1;
    manifest["spec"]["type"] = json!("Emergency");
    manifest["spec"]["justification"] = json!("now");
    let created = me("dave").create(&manifest, &[]);
    if created.ok() {
        let text = BACKUP.patch(&me("eve"), &namespace, "nightly", &shorter, &[]).text();
        assert!(text.contains("denied the request"), "{text}");
    }
    assert_eq!(BACKUP.field(&namespace, "nightly", "{.spec.ttl}"), "720h0m0s");
}
