//! Actors that die, leave or are too busy: failure mode 19.

use futures_util::FutureExt;

use super::*;
use crate::timeline::TimelineError;

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
    stage.plans.lock().push_back(Plan::Panic);
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
    let small = TimelinesConfig { resident_entries: 2, ..config() };
    let timelines = Timelines::new(small, Arc::new(Staged(stage.clone())));
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
