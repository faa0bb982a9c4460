//! What becomes of changes and records when the API server refuses or hangs, or this process ends between any two
//! writes.

use axum::http::Method;

use super::fake::Fault;
use super::rollouts::*;
use super::*;
use crate::controllers::context::Everywhere;
use crate::controllers::{change_requests, regimes};

/// Everything that there is to be looked at.
async fn look_at_all(context: &Context, fake: &Fake) -> Result<(), ReconcileError> {
    regimes::reconcile(context.clone(), Everywhere).await?;
    for name in names(fake, CHANGES) {
        let key = crate::controllers::changes::ChangeKey { namespace: "shop".into(), name: name.into() };
        change_requests::reconcile(context.clone(), key).await?;
    }
    looks(context).await.map(drop)
}

/// One step of a story, after which the controller looks.
type Step = fn(&Fake);

/// Version 2 is asked for, signed off and rolled out; version 3 is rolled out on nobody's word.
fn story() -> [Step; 5] {
    [
        |_| {},
        |fake| asks(fake, &by_images(2)),
        |fake| says_of_change(fake, "bob", Says::Approve, "change"),
        |fake| deploys(fake, 2, 2),
        |fake| deploys(fake, 3, 3),
    ]
}

/// Plays the story; the process ends after `ends_after` writes and another takes over.
async fn played(ends_after: Option<usize>) -> Fake {
    let fake = installation();
    fake.state().ends_after = ends_after;
    let mut context = process(&fake);
    for step in story() {
        step(&fake);
        let looked = tokio::time::timeout(Duration::from_secs(120), look_at_all(&context, &fake)).await;
        if !matches!(looked, Ok(Ok(()))) {
            fake.state().ends_after = None;
            context = process(&fake);
            // A name that is made from the time at which something was first seen must not be made twice.
            context.clock.set("2026-11-23T10:01:00Z".parse().unwrap());
            for _ in 0..2 {
                look_at_all(&context, &fake).await.unwrap();
            }
        }
    }
    fake.state().ends_after = None;
    look_at_all(&process(&fake), &fake).await.unwrap();
    fake
}

#[tokio::test(start_paused = true)]
async fn the_process_may_end_after_any_write() {
    let whole = played(None).await;
    assert_eq!(entries(&whole), ["Unauthorised Seen", "Change Seen", "Baseline Seen"]);
    assert_eq!(names(&whole, CHANGES).len(), 2);
    let writes = whole.state().writes.clone();
    assert!(writes.len() >= 12, "{writes:?}");
    for after in 0..=writes.len() {
        let broken = played(Some(after)).await;
        assert_eq!(entries(&broken), entries(&whole), "ended after {after}");
        assert_eq!(names(&broken, CHANGES).len(), 2, "ended after {after}");
        for pointer in ["/status/phase", "/status/usableFrom", "/status/targets/0/appliedDigest"] {
            assert_eq!(change(&broken, pointer), change(&whole, pointer), "ended after {after}: {pointer}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_can_not_be_read_leaves_everything_as_it_was() {
    let reads = ["/changerequests/change", "/signoffs", "/namespaces/shop", "/deployments/web", "foureyes-keys"];
    for (read, class) in reads.into_iter().flat_map(|read| [(read, "server"), (read, "deadline")]) {
        let (fake, context) = installed().await;
        asks(&fake, &by_digest(2));
        decides(&context, "change").await.unwrap();
        says_of_change(&fake, "bob", Says::Approve, "change");
        let (before, record) = (change(&fake, "/status/phase"), entries(&fake));
        let fault = if class == "server" { Fault::Refuse(500) } else { Fault::Hang };
        fake.state().faults = vec![(Method::GET, read, fault)];
        assert_eq!(decides(&context, "change").await.unwrap_err().class(), class, "{read}");
        assert_eq!((change(&fake, "/status/phase"), entries(&fake)), (before, record), "{read}");
        decides(&context, "change").await.unwrap();
        assert_eq!(change(&fake, "/status/phase"), "Approved", "{read}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_without_its_workload_state_or_pods_is_not_written() {
    let reads = ["/deployments/web", "/rolloutrecords/", "/configmaps/foureyes-state", "/pods"];
    for (read, fault) in reads.into_iter().flat_map(|read| [(read, Fault::Refuse(500)), (read, Fault::Hang)]) {
        let (fake, context) = installed().await;
        deploys(&fake, 2, 2);
        fake.state().faults = vec![(Method::GET, read, fault)];
        assert!(looks(&context).await.is_err(), "{read}");
        assert_eq!(entries(&fake), ["Baseline Seen"], "{read}");
        assert!(names(&fake, CHANGES).is_empty(), "{read}");
        looks(&context).await.unwrap();
        assert_eq!(entries(&fake)[0], "Unauthorised Seen", "{read}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_over_somebody_elses_write() {
    let (fake, context) = installed().await;
    asks(&fake, &by_digest(2));
    decides(&context, "change").await.unwrap();
    says_of_change(&fake, "bob", Says::Approve, "change");
    for (method, part) in [(Method::PATCH, "/rolloutrecords/"), (Method::PATCH, "/changerequests/change/status")] {
        fake.state().faults = vec![(method, part, Fault::Refuse(409))];
        let error = decides(&context, "change").await.unwrap_err();
        assert!(error.is_ordinary() && error.class() == "conflict", "{part}");
        assert_eq!(change(&fake, "/status/phase"), "Pending", "{part}");
    }
    decides(&context, "change").await.unwrap();
    assert_eq!(change(&fake, "/status/phase"), "Approved");
    assert_eq!(entries(&fake), ["Change NotSeen", "Baseline Seen"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_another_look_began_is_decided_about_anew() {
    let fake = installation();
    let context = process(&fake);
    let (one, other) = tokio::join!(looks(&context), looks(&context));
    let failed: Vec<ReconcileError> = [one, other].into_iter().filter_map(Result::err).collect();
    assert!(failed.len() <= 1 && failed.iter().all(ReconcileError::is_ordinary), "{failed:?}");
    assert_eq!(entries(&fake), ["Baseline Seen"]);
    // It was not there when this look read it.
    deploys(&fake, 2, 2);
    let before = fake.get(&format!("{RECORDS}/{}", web().record_name()));
    fake.state().faults = vec![(Method::GET, "/rolloutrecords/", Fault::Refuse(404))];
    assert!(looks(&context).await.unwrap_err().is_ordinary());
    assert_eq!(fake.get(&format!("{RECORDS}/{}", web().record_name())), before);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_noted_only_after_everything_in_it_was_looked_at() {
    let fake = installation();
    let context = process(&fake);
    fake.state().faults = vec![(Method::POST, "/rolloutrecords", Fault::Refuse(500))];
    assert!(looks_everywhere(&context).await.is_err());
    let noted = |fake: &Fake| {
        let state = fake.get("/api/v1/namespaces/foureyes-system/configmaps/foureyes-state").unwrap();
        text(&state, "/data/rollouts")
    };
    assert_eq!(noted(&fake), json!({uid("shop"): "Installing"}).to_string());
    // What changed meanwhile is still what the installation found.
    deploys(&fake, 2, 2);
    looks_everywhere(&context).await.unwrap();
    assert_eq!((noted(&fake).as_str(), entries(&fake)), ("{}", vec!["Baseline Seen".to_owned()]));
    assert!(names(&fake, CHANGES).is_empty());
    fake.state().objects.remove("/api/v1/namespaces/foureyes-system/configmaps/foureyes-state");
    assert_eq!(looks_everywhere(&context).await.unwrap_err().class(), "malformed", "lost notes are no installation");
}
