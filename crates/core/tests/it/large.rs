//! A namespace with two thousand claims, each with its volume: its status fits, and decisions about it are quick.

use std::time::{Duration, Instant};

use foureyes_core::api::Phase;
use foureyes_core::domain::inventory::{Inventory, Reclaim, Volume};
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::domain::shutdown::{Users, Workload};
use foureyes_core::reason::Code;

use crate::support::{Scene, at, claim, inventory, named, volume};

const CLAIMS: u128 = 2000;
/// A status above it does not fit into etcd.
const FITS: usize = 1024 * 1024;
/// Of the 5 s that the webhook has in all; tests are not optimised, and the machine is busy.
const QUICK: Duration = Duration::from_secs(2);

fn quickly<T>(what: &str, decide: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let decided = decide();
    assert!(began.elapsed() < QUICK, "{what} took {:?}", began.elapsed());
    decided
}

#[test]
fn it_is_prepared_signed_off_and_confirmed() {
    let mut scene = Scene::of_namespace(Some(&named("alice")));
    let perishable: Vec<_> =
        (1..=CLAIMS).map(|n| (claim(n), Volume { reclaim: Reclaim::Delete, kept_claim: None, ..volume(n) })).collect();
    scene.live =
        quickly("the inventory", || Inventory::of(perishable.iter().map(|(claim, volume)| (claim, Some(volume)))));
    let workload = |number: u32| Workload {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        name: format!("a-workload-with-a-rather-long-name-{number:04}"),
        uid: format!("00000000-0000-4000-8000-00000000{number:04}"),
        value: "3".to_owned(),
        set_at: Some(at(0)),
        may: true,
        ..Workload::default()
    };
    scene.users = Some(Users { workloads: (0..2000).map(workload).collect(), others: Vec::new() });
    scene.reconciled(TargetState::Live, 1);
    scene.approves(&named("bob"), 10);

    let plan = quickly("the plan", || scene.reconciled(TargetState::Live, 20));
    assert_eq!((plan.keep.len(), plan.status.protections.len()), (2000, 2000));
    assert_eq!(
        plan.status.inventory.as_ref().map(|inventory| (inventory.total, inventory.items.len())),
        Some((4000, 100))
    );
    let status = serde_json::to_string(&plan.status).unwrap();
    assert!(status.len() < FITS, "{} bytes", status.len());
    println!("a status of {} bytes", status.len());

    scene.live = inventory(1..=CLAIMS);
    assert_eq!(scene.reconciled(TargetState::Live, 30).status.phase, Some(Phase::Executable));
    quickly("the confirmation", || scene.confirmed(&named("alice"), 31)).unwrap();
    scene.live = inventory(1..=CLAIMS + 1);
    let refusal = quickly("the refusal", || scene.confirmed(&named("alice"), 32)).unwrap_err();
    assert_eq!(refusal.code, Code::InventoryGrown);
    assert!(refusal.to_string().len() < 4096, "{}", refusal.to_string().len());
}
