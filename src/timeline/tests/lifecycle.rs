//! Actors that die, leave or are too busy.

use futures_util::FutureExt;

use super::*;
use crate::timeline::TimelineError;
use crate::timeline::registry::OVERHEAD_ENTRIES;

#[actix_rt::test]
async fn failure_mode_19_a_panicked_actor_is_replaced() {
    let stage = Stage::with(1..=5);
    let timelines = timelines(&stage);
    assert_eq!(all(&timelines).await, stage.all());
    timelines.panic_actor(ME);
    stage.add(6);
    timelines.push(ME, entry(6));
    assert_eq!(all(&timelines).await, stage.all());
    assert_eq!(stage.loads(), 2);
}

#[actix_rt::test]
async fn failure_mode_19_a_load_that_panics_is_tried_once_more() {
    let stage = Stage::with(1..=5);
    let timelines = timelines(&stage);
    stage.plan(Point::RowsRead, Plan::Panic);
    assert_eq!(all(&timelines).await, stage.all());
}

#[actix_rt::test]
async fn failure_mode_19_a_full_mailbox_makes_the_timeline_load_again() {
    let stage = Stage::with(1..=5);
    let timelines = timelines(&stage);
    stage.hold(Point::RowsRead);
    let reader = reading(&timelines);
    stage.reached(Point::RowsRead).await;
    // More than the mailbox holds: the last of them cannot be delivered.
    for at in 6..=6_000 {
        stage.add(at);
        timelines.push(ME, entry(at));
    }
    stage.open(Point::RowsRead);
    reader.await.unwrap();
    assert_eq!(timelines.page(ME, Range::ALL, 15).await.unwrap().entries, stage.all()[..15]);
    assert_eq!(stage.loads(), 2, "the mailbox took more than it holds");
}

#[actix_rt::test]
async fn failure_mode_19_readers_beyond_the_mailbox_are_refused_at_once() {
    let stage = Stage::with(1..=5);
    let timelines = timelines(&stage);
    stage.hold(Point::RowsRead);
    let first = reading(&timelines);
    stage.reached(Point::RowsRead).await;
    let ask = || timelines.page(ME, Range::ALL, 5);
    let mut waiting: Vec<_> = (0..6_000).map(|_| Box::pin(ask())).collect();
    let answered = waiting.iter_mut().filter_map(|page| page.now_or_never());
    let refused = answered.filter(|page| *page == Err(TimelineError::Overloaded)).count();
    assert!((1_000..4_000).contains(&refused), "{refused} of 6,000 refused");
    stage.open(Point::RowsRead);
    first.await.unwrap();
    drop(waiting);
    assert_eq!(all(&timelines).await, stage.all());
}

#[actix_rt::test]
async fn failure_mode_19_eviction_while_reads_are_in_flight_is_invisible() {
    let stage = Stage::with(1..=5);
    let timelines = timelines_with(&stage, TimelinesConfig { resident_entries: 2, ..config() });
    all(&timelines).await;
    timelines.forget(ME);
    stage.hold(Point::RowsRead);
    let readers: Vec<_> = (0..50).map(|_| reading(&timelines)).collect();
    stage.reached(Point::RowsRead).await;
    timelines.passivate(ME);
    assert!(!timelines.is_resident(ME));
    stage.add(6);
    timelines.push(ME, entry(6));
    let later = reading(&timelines);
    stage.reached(Point::RowsRead).await;
    stage.open(Point::RowsRead);
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(later.await.unwrap(), stage.all());
    assert_eq!(all(&timelines).await, stage.all());
    timelines.sweep();
    assert!(!timelines.is_resident(ME), "over the budget of two entries");
    assert_eq!(all(&timelines).await, stage.all());
}

#[actix_rt::test]
async fn failure_mode_19_a_load_that_always_panics_is_an_error_and_no_more() {
    let stage = Stage::with(1..=5);
    let timelines = timelines(&stage);
    for _ in 0..2 {
        stage.plan(Point::LoadStarted, Plan::Panic);
    }
    assert!(timelines.page(ME, Range::ALL, 5).await.is_err());
    assert_eq!(all(&timelines).await, stage.all());
}

#[actix_rt::test]
async fn a_distrusted_timeline_loads_again() {
    let stage = Stage::with(1..=5);
    let timelines = timelines(&stage);
    all(&timelines).await;
    stage.add(6);
    timelines.forget_all();
    assert_eq!(all(&timelines).await, stage.all());
    assert_eq!(stage.loads(), 2);
}

#[actix_rt::test]
async fn over_budget_the_least_recently_used_leave_memory() {
    let stage = Stage::with(1..=3);
    let budget = 3 * (3 + OVERHEAD_ENTRIES);
    let timelines =
        timelines_with(&stage, TimelinesConfig { resident_entries: budget, ..config() });
    for user in 1..=4 {
        timelines.page(TimelineKey::Home(user), Range::ALL, 5).await.unwrap();
        // Use is told apart by the millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    timelines.sweep();
    assert!(!timelines.is_resident(TimelineKey::Home(1)), "the oldest goes");
    assert!(timelines.is_resident(TimelineKey::Home(4)), "the newest stays");
    assert!(timelines.resident_count().0 <= 3);
    let again = timelines.page(TimelineKey::Home(1), Range::ALL, 5).await.unwrap();
    assert_eq!(again.entries, stage.all(), "nobody sees a difference");
}

#[actix_rt::test]
async fn failure_mode_22_idle_timelines_leave_memory() {
    let stage = Stage::with(1..=1);
    let timelines = timelines_with(&stage, TimelinesConfig { idle: Duration::ZERO, ..config() });
    all(&timelines).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    timelines.sweep();
    assert_eq!(timelines.resident_count().0, 0);
    assert_eq!(all(&timelines).await, stage.all());
    assert_eq!(stage.loads(), 2);
}
