//! A clock that is set back or forward by an hour: nothing that was reached is lost, and no time is gained by it.

use foureyes_core::api::Says;
use jiff::SignedDuration;

use super::*;

fn hours_later(hours: i64) -> Timestamp {
    now() + SignedDuration::from_hours(hours)
}

fn time_of(fake: &Fake, field: &str) -> Timestamp {
    phase_of(fake, &format!("/status/{field}")).parse().unwrap()
}

async fn executable() -> (Fake, Context) {
    let fake = cluster();
    let context = process(&fake);
    alice_asks(&fake);
    reconcile(&context).await.unwrap();
    says(&fake, "bob", Says::Approve);
    settle(&context).await;
    assert_eq!(phase_of(&fake, "/status/phase"), "Executable");
    (fake, context)
}

#[tokio::test]
async fn a_clock_that_was_set_gives_no_more_time_to_use_a_request() {
    for hours in [-1, 1] {
        let (fake, context) = executable().await;
        let until = time_of(&fake, "validUntil");
        context.clock.set(hours_later(hours));
        settle(&context).await;
        assert_eq!(phase_of(&fake, "/status/phase"), "Executable", "{hours}");
        assert!(time_of(&fake, "validUntil") <= until, "{hours}");
        context.clock.set(now());
        settle(&context).await;
        assert_eq!(phase_of(&fake, "/status/phase"), "Executable", "{hours}");
        context.clock.set(until + SignedDuration::from_secs(1));
        settle(&context).await;
        assert_eq!(phase_of(&fake, "/status/phase"), "Expired", "{hours}");
    }
}

/// Quiet time is no matter of the clock.
#[tokio::test]
async fn a_clock_that_was_set_makes_nothing_quieter() {
    for hours in [-1, 1, 48] {
        let fake = cluster();
        let context = process_before_the_first_start(&fake);
        context.set_started();
        context.uses().replace(Vec::new(), Instant::now());
        alice_asks(&fake);
        reconcile(&context).await.unwrap();
        says(&fake, "bob", Says::Approve);
        settle(&context).await;
        context.clock.set(hours_later(hours));
        settle(&context).await;
        assert_eq!(phase_of(&fake, "/status/phase"), "Quiescing", "{hours}");
        assert_eq!(phase_of(&fake, "/status/quiet/observed"), "0s", "{hours}");
    }
}

#[tokio::test]
async fn what_is_put_back_is_put_back_late_rather_than_never() {
    let (fake, context) = executable().await;
    says(&fake, "alice", Says::Cancel);
    settle(&context).await;
    let policy = || text(&fake.get(VOLUME).unwrap(), "/spec/persistentVolumeReclaimPolicy");
    context.clock.set(hours_later(-1));
    assert!(matches!(settle(&context).await, Next::After(_)));
    assert_eq!(policy(), "Retain");
    context.clock.set("2026-11-23T10:03:00Z".parse().unwrap());
    assert_eq!(settle(&context).await, Next::Wait);
    assert_eq!(policy(), "Delete");
}
