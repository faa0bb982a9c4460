//! What becomes of requests when the API server refuses or hangs, or this process ends between any two writes.

use axum::http::Method;
use foureyes_core::api::Says;

use super::fake::Fault;
use super::*;

#[tokio::test(start_paused = true)]
async fn whatever_can_not_be_read_leaves_the_status_as_it_was() {
    let reads = [
        "/deletionrequests/one",
        "/signoffs",
        "/namespaces/shop",
        "/persistentvolumeclaims/",
        "foureyes-keys",
        "pv-1",
        "/pods",
    ];
    for (read, class) in reads.into_iter().flat_map(|read| [(read, "server"), (read, "deadline")]) {
        let fake = cluster();
        let context = process(&fake);
        alice_asks(&fake);
        reconcile(&context).await.unwrap();
        says(&fake, "bob", Says::Approve);
        let before = fake.get(&format!("{REQUESTS}/one"));
        let fault = if class == "server" { Fault::Refuse(500) } else { Fault::Hang };
        // The claim's path holds the namespace's, too; whichever is asked for first fails.
        fake.state().faults = vec![(Method::GET, read, fault)];
        assert_eq!(reconcile(&context).await.unwrap_err().class(), class, "{read}");
        assert_eq!(fake.get(&format!("{REQUESTS}/one")), before, "{read}");
        settle(&context).await;
        assert_eq!(phase_of(&fake, "/status/phase"), "Executable", "{read}");
    }
}

#[tokio::test(start_paused = true)]
async fn rights_that_can_not_be_asked_for_are_not_taken_for_missing() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks(&fake);
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    settle(&context).await;
    fake.state().faults = vec![(Method::POST, "subjectaccessreviews", Fault::Hang)];
    assert_eq!(reconcile(&context).await.unwrap_err().class(), "deadline");
    assert_eq!(phase_of(&fake, "/status/phase"), "Executable");
    fake.state().approvers.clear();
    reconcile(&context).await.unwrap();
    assert_eq!(phase_of(&fake, "/status/phase"), "Pending");
}

#[tokio::test(start_paused = true)]
async fn a_status_is_never_written_over_somebody_elses_write() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks(&fake);
    fake.state().faults = vec![(Method::PATCH, "/one/status", Fault::Refuse(409))];
    let error = reconcile(&context).await.unwrap_err();
    assert!(error.is_ordinary() && error.class() == "conflict");
    reconcile(&context).await.unwrap();
    assert_eq!(phase_of(&fake, "/status/phase"), "Pending");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_can_not_be_written_holds_nothing_up() {
    let fake = cluster();
    let context = process(&fake);
    alice_asks(&fake);
    fake.state().faults = vec![(Method::POST, "/events", Fault::Hang)];
    reconcile(&context).await.unwrap();
    assert_eq!(phase_of(&fake, "/status/phase"), "Pending");
}

/// One step of a story, after which the controller looks.
pub(super) type Step = fn(&Fake);

fn story() -> Vec<Step> {
    vec![alice_asks, |fake| says(fake, "bob", Says::Approve), |fake| {
        fake.state().objects.remove(CLAIM);
    }]
}

/// Plays the story; the process ends after `ends_after` writes and another takes over.
pub(super) async fn played(story: Vec<Step>, ends_after: Option<usize>) -> Fake {
    let fake = cluster();
    fake.state().ends_after = ends_after;
    let mut context = process(&fake);
    for (minutes, step) in story.into_iter().enumerate() {
        step(&fake);
        loop {
            // Each step comes long after the one before it.
            let time = now() + jiff::SignedDuration::from_mins(5 * i64::try_from(minutes).unwrap());
            context.clock.set(time);
            match tokio::time::timeout(Duration::from_secs(120), reconcile(&context)).await {
                Ok(Ok(Next::After(Duration::ZERO))) => {}
                Ok(Ok(_)) => break,
                _ => {
                    fake.state().ends_after = None;
                    context = process(&fake);
                }
            }
        }
    }
    fake
}

async fn the_process_may_end_anywhere_in(story: fn() -> Vec<Step>, least: usize) {
    let whole = played(story(), None).await;
    let writes = whole.state().writes.clone();
    assert!(writes.len() >= least, "{writes:?}");
    for after in 0..=writes.len() {
        let broken = played(story(), Some(after)).await;
        let status = |fake: &Fake| fake.get(&format!("{REQUESTS}/one")).unwrap()["status"].clone();
        assert_eq!(status(&broken), status(&whole), "ended after {after}");
        let held = |fake: &Fake| fake.get(&format!("{RETENTIONS}/one")).map(|held| held["spec"].clone());
        assert_eq!(held(&broken), held(&whole), "ended after {after}");
        let volume = |fake: &Fake| fake.get(VOLUME).unwrap()["spec"].clone();
        assert_eq!(volume(&broken), volume(&whole), "ended after {after}");
        let events = |fake: &Fake| {
            let state = fake.state();
            let events = state.objects.iter().filter(|(path, _)| path.contains("/events/"));
            let mut told: Vec<String> = events.map(|(_, event)| text(event, "/reason")).collect();
            told.sort();
            told
        };
        assert_eq!(events(&broken), events(&whole), "ended after {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_process_may_end_after_any_write() {
    the_process_may_end_anywhere_in(story, 8).await;
}

#[tokio::test(start_paused = true)]
async fn the_process_may_end_after_any_write_of_what_is_put_back() {
    let cancelled = || -> Vec<Step> {
        vec![
            alice_asks,
            |_| (),
            |fake| says(fake, "bob", Says::Approve),
            |fake| says(fake, "alice", Says::Cancel),
            |_| (),
        ]
    };
    the_process_may_end_anywhere_in(cancelled, 8).await;
    let fake = played(cancelled(), None).await;
    assert_eq!(text(&fake.get(VOLUME).unwrap(), "/spec/persistentVolumeReclaimPolicy"), "Delete");
}

const STATE: &str = "/api/v1/namespaces/foureyes-system/configmaps/foureyes-state";
const DEFAULT: &str = "/apis/foureyes.dev/v1alpha1/safetypolicies/default";

async fn start(fake: &Fake) {
    let readiness = crate::server::readiness::Readiness::default();
    let condition = readiness.condition("first start");
    let run = super::super::install::run(process(fake), condition, tokio_util::sync::CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(120), run).await.unwrap();
    assert!(readiness.is_ready());
}

#[tokio::test(start_paused = true)]
async fn the_first_start_waits_for_the_webhook_and_happens_once() {
    let fake = cluster();
    fake.put(STATE, json!({"metadata": {"name": "foureyes-state"}}));
    let install = json!({"metadata": {"name": "foureyes-install"}, "data": {"mode": "observe"}});
    fake.put("/api/v1/namespaces/foureyes-system/configmaps/foureyes-install", install);
    fake.state().faults = vec![
        (Method::POST, "/safetypolicies", Fault::Refuse(500)),
        (Method::PATCH, "foureyes-state", Fault::Refuse(409)),
    ];
    start(&fake).await;
    let warns = json!({"deletions": "Warn", "rollouts": "Warn", "creations": "Warn", "removals": "Warn"});
    assert_eq!(fake.get(DEFAULT).unwrap()["spec"], json!({"enforcement": warns}));
    assert_eq!(text(&fake.get(STATE).unwrap(), "/data/started"), "2026-11-23T10:00:00Z");
    fake.state().objects.remove(DEFAULT);
    start(&fake).await;
    assert!(fake.get(DEFAULT).is_none(), "whoever takes the policy away gets the built-ins");
}
