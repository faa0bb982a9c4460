//! The controller killed at random moments, and right after its writes: everything ends as if it had not been. And a
//! cascade that ends without any controller (facts 12, 36).

mod flows;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use foureyes_core::api::DeletionRequest;
use foureyes_testbed::{Cluster, Environment};
use futures::StreamExt as _;
use kube::Api;
use kube::runtime::watcher;

use self::flows::play;

use crate::support::{Asked, BED, Dice, Who, claim, claim_path, namespace_path, request, runtime, until, within};

/// Longer than the namespace controller takes between two tries at a namespace.
const LONG: Duration = Duration::from_secs(150);
/// A life of the controller in which it writes nothing that we see.
const LIFE: u64 = 3000;

/// Tells of every write to a request, by whomever.
async fn tell_of_writes(admin: Who, tell: mpsc::Sender<()>) {
    let api: Api<DeletionRequest> = Api::all(admin.client());
    let mut writes = std::pin::pin!(watcher(api, watcher::Config::default()));
    while let Some(event) = writes.next().await {
        if matches!(event, Ok(watcher::Event::Apply(_))) && tell.send(()).is_err() {
            return;
        }
    }
}

/// Kills the controller over and over until it is told to stop, and leaves it running.
fn kill(cluster: &Cluster, writes: &mpsc::Receiver<()>, over: &AtomicBool, kills: &AtomicU32, mut dice: Dice) {
    let controller = cluster.process("controller");
    while !over.load(Ordering::Relaxed) {
        controller.start().unwrap();
        while writes.try_recv().is_ok() {}
        // every other time right after a write, else at any moment
        let life = dice.pause(LIFE);
        if dice.below(2) == 0 {
            assert_ne!(writes.recv_timeout(life), Err(RecvTimeoutError::Disconnected), "the watch ended");
        } else {
            thread::sleep(life);
        }
        controller.kill().unwrap();
        kills.fetch_add(1, Ordering::Relaxed);
    }
    controller.start_ready().unwrap();
}

#[test]
fn killed_at_random_moments_it_ends_as_if_it_had_not_been() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let runtime = runtime();
    let undisturbed = runtime.block_on(play(cluster, "calm"));
    assert!(undisturbed.iter().all(|(_, requests)| requests.as_array().unwrap().len() == 1), "{undisturbed:#?}");

    let dice = Dice::of(Dice::seed());
    let (tell, writes) = mpsc::channel();
    let (over, kills) = (AtomicBool::new(false), AtomicU32::new(0));
    let watching = runtime.spawn(tell_of_writes(runtime.block_on(Who::is(cluster, "admin")), tell));
    let disturbed = thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let writes = writes;
            kill(cluster, &writes, &over, &kills, dice);
        });
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(play(cluster, "wild"))));
        over.store(true, Ordering::Relaxed);
        killer.join().unwrap();
        played.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    watching.abort();
    println!("killed {} times", kills.load(Ordering::Relaxed));
    assert!(kills.load(Ordering::Relaxed) >= 5);
    assert_eq!(disturbed, undisturbed);
}

/// From before the namespace is deleted until it is gone.
#[test]
fn a_cascade_ends_without_the_controller() {
    let _turn = BED.alone();
    let cluster = BED.cluster();
    let namespace = cluster.namespace("cascade", Environment::Production).unwrap();
    let controller = cluster.process("controller");
    runtime().block_on(async {
        let (admin, eve) = (Who::is(cluster, "admin").await, Who::is(cluster, "eve").await);
        for name in ["one", "two"] {
            claim(&admin, &namespace, name).await;
        }
        let path = namespace_path(&namespace);
        let uid = admin.get(&path).await.unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
        let asked = Asked::approved(cluster, &request(&namespace, None, &uid)).await;
        controller.kill().unwrap();
        assert_eq!(asked.now().await["status"]["phase"], "Executable");
        until("the namespace to be let go", async || eve.delete(&path).await.is_ok()).await;
        within(LONG, "the namespace to be gone", async || admin.sees(&path).await.is_none().then_some(())).await;
        assert!(admin.sees(&claim_path(&namespace, "one")).await.is_none());
        assert_eq!(controller.pid().unwrap(), None, "the controller ran");
        assert_eq!(asked.now().await["status"]["phase"], "Executable");
        controller.start_ready().unwrap();
        asked.is("Executed").await;
    });
}
