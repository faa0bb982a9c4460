//! k8up: its snapshots, and what prunes them.

use serde_json::json;

use super::{Of, machine};
use crate::support::changes::opened;
use crate::support::kinds::with_k8up;
use crate::support::objects::eventually;
use crate::support::{denied, me, production, went};

const SNAPSHOT: Of = Of { api_version: "k8up.io/v1", kind: "Snapshot", word: "snapshots.k8up.io" };
const PRUNE: Of = Of { api_version: "k8up.io/v1", kind: "Prune", word: "prunes.k8up.io" };
const SCHEDULE: Of = Of { api_version: "k8up.io/v1", kind: "Schedule", word: "schedules.k8up.io" };

#[test]
fn a_snapshot_of_k8up_goes_once_two_have_signed_it_off() {
    with_k8up();
    let namespace = production("k8up");
    me("eve").creates(&SNAPSHOT.object(&namespace, "4bfe", &json!({"id": "4bfe", "repository": "s3:backups"})));
    denied("DeletionNotRequested", &SNAPSHOT.delete(&me("eve"), &namespace, "4bfe", &[]));
    denied("DeletionNotRequested", &SNAPSHOT.delete(&me("eve"), &namespace, "--all", &[]));
    let request = SNAPSHOT.approved(&namespace, "4bfe");
    assert_eq!(request.field("{.status.inventory.items[0].handle}"), "4bfe");
    eventually("its deletion to be allowed", || SNAPSHOT.delete(&me("eve"), &namespace, "4bfe", &[]).ok());
    request.wait_phase("Executed");
}

#[test]
fn people_prune_only_by_an_approved_change_and_k8up_as_it_is_scheduled() {
    with_k8up();
    let namespace = production("k8up-prune");
    let prune = |name: &str| PRUNE.object(&namespace, name, &json!({"retention": {"keepLast": 1}}));
    denied("KeptForLess", &me("eve").create(&prune("by-hand"), &["--dry-run=server"]));
    let k8up = machine(&namespace, "k8up");
    went(&k8up.create(&prune("scheduled"), &[]));
    opened("KeptForLess", || me("eve").create(&prune("by-hand"), &[]));

    let schedule =
        |last: u32| json!({"prune": {"schedule": "@daily", "retention": {"keepLast": last, "keepDaily": 7}}});
    denied("KeptForLess", &me("eve").create(&SCHEDULE.object(&namespace, "prunes", &schedule(5)), &[]));
    let backs_up = SCHEDULE.object(&namespace, "backs-up", &json!({"backup": {"schedule": "@daily"}}));
    went(&me("eve").create(&backs_up, &[]));
    went(&k8up.create(&SCHEDULE.object(&namespace, "prunes", &schedule(5)), &[]));
    let patch = |last| SCHEDULE.patch(&me("eve"), &namespace, "prunes", &json!({"spec": schedule(last)}), &[]);
    went(&patch(6));
    let refusal = denied("KeptForLess", &patch(4));
    assert!(refusal.contains("spec.prune.retention"), "{refusal}");
    opened("KeptForLess", || patch(4));
}
