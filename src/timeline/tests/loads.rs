//! Loads against everything that can happen meanwhile.

use super::*;
use crate::timeline::TimelineError;

#[actix_rt::test]
async fn failure_mode_01_double_load() {
    let stage = Stage::with(1..=30);
    let timelines = timelines(&stage);
    stage.hold(Point::LoadStarted);
    let readers: Vec<_> = (0..32).map(|_| reading(&timelines)).collect();
    stage.reached(Point::LoadStarted).await;
    stage.open(Point::LoadStarted);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), stage.all());
    }
    assert_eq!(stage.loads(), 1);
    assert_eq!(timelines.resident_count(), (1, LIMIT));
}

#[actix_rt::test]
async fn failure_mode_02_push_to_a_timeline_that_leaves() {
    let stage = Stage::with(1..=5);
    let timelines = timelines(&stage);
    for at in 6..=60 {
        if at % 3 == 0 {
            all(&timelines).await;
        }
        stage.add(at);
        if at % 2 == 0 {
            timelines.passivate(ME);
        }
        timelines.push(ME, entry(at));
        if at % 5 == 0 {
            timelines.passivate(ME);
        }
        if at % 7 == 0 {
            assert_eq!(all(&timelines).await, stage.all(), "after {at}");
        }
    }
    assert_eq!(all(&timelines).await, stage.all());
}

/// A push must not make a list of one entry that is taken for the whole.
#[actix_rt::test]
async fn failure_mode_02_a_push_leaves_a_cold_timeline_cold() {
    let stage = Stage::with(1..=2);
    let timelines = timelines(&stage);
    stage.add(3);
    timelines.push(ME, entry(3));
    assert!(!timelines.is_resident(ME));
    assert_eq!(all(&timelines).await, stage.all());
}

#[actix_rt::test]
async fn failure_mode_03_a_stale_load_does_not_overwrite_a_push() {
    let stage = Stage::with(1..=5);
    let timelines = timelines(&stage);
    stage.hold(Point::RowsRead);
    let reader = reading(&timelines);
    stage.reached(Point::RowsRead).await;
    // Committed after the rows were read, pushed before the load is done; and out of order.
    for at in [7, 6, 7, 8] {
        if !stage.all().contains(&entry(at)) {
            stage.add(at);
        }
        timelines.push(ME, entry(at));
    }
    stage.open(Point::RowsRead);
    reader.await.unwrap();
    assert_eq!(all(&timelines).await, stage.all());
    assert_eq!(stage.loads(), 1);
}

#[actix_rt::test]
async fn a_push_before_the_rows_are_read_is_not_doubled() {
    let stage = Stage::with(1..=5);
    let timelines = timelines(&stage);
    stage.hold(Point::LoadStarted);
    let reader = reading(&timelines);
    stage.reached(Point::LoadStarted).await;
    stage.add(6);
    timelines.push(ME, entry(6));
    stage.open(Point::LoadStarted);
    assert_eq!(reader.await.unwrap(), stage.all());
    assert_eq!(all(&timelines).await, stage.all());
}

/// Entries have one order however their pushes arrive.
#[actix_rt::test]
async fn failure_mode_06_late_and_repeated_pushes_are_harmless() {
    let stage = Arc::new(Stage::default());
    let timelines = timelines(&stage);
    first(&timelines, 1).await;
    for at in [5, 3, 3, 4, 5, 1, 2, 4] {
        timelines.push(ME, entry(at));
    }
    assert_eq!(first(&timelines, 10).await, entries([5, 4, 3, 2, 1]));
    assert_eq!(stage.loads(), 1);
}

#[actix_rt::test]
async fn failure_mode_10_a_removal_during_a_load() {
    let stage = Stage::with(1..=5);
    let timelines = timelines(&stage);
    stage.hold(Point::RowsRead);
    let reader = reading(&timelines);
    stage.reached(Point::RowsRead).await;
    stage.drop_row(3);
    timelines.remove(ME, 30);
    stage.open(Point::RowsRead);
    reader.await.unwrap();
    assert_eq!(all(&timelines).await, stage.all());
    assert_eq!(stage.loads(), 1);
}

/// A follow or an unfollow changes the past: no push can say so.
#[actix_rt::test]
async fn failure_mode_21_a_back_fill_during_a_load_is_seen() {
    let stage = Stage::with(5..=9);
    let timelines = timelines(&stage);
    stage.hold(Point::RowsRead);
    let reader = reading(&timelines);
    stage.reached(Point::RowsRead).await;
    stage.add(2);
    stage.drop_row(7);
    timelines.forget(ME);
    stage.open(Point::RowsRead);
    reader.await.unwrap();
    assert_eq!(all(&timelines).await, stage.all());
}

#[actix_rt::test]
async fn failure_mode_17_a_thousand_cold_reads_make_one_load() {
    let stage = Stage::with(1..=5);
    let timelines = timelines(&stage);
    stage.hold(Point::RowsRead);
    let readers: Vec<_> = (0..1_000).map(|_| reading(&timelines)).collect();
    stage.reached(Point::RowsRead).await;
    stage.open(Point::RowsRead);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), stage.all());
    }
    assert_eq!(stage.loads(), 1);
}

fn is_unavailable<T>(result: &Result<T, TimelineError>) -> bool {
    matches!(result, Err(TimelineError::Unavailable(_)))
}

/// Waits, within bounds, until the failure of a load is forgotten.
async fn recovered(timelines: &Timelines) -> Vec<Entry> {
    let read = async {
        loop {
            match timelines.page(ME, Range::ALL, 100).await {
                Ok(page) => return page.entries,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("it recovers")
}

#[actix_rt::test]
async fn a_failed_load_answers_all_who_wait_and_the_next_read_recovers() {
    for point in [Point::LoadStarted, Point::RowsRead] {
        let stage = Stage::with(1..=5);
        let timelines = timelines(&stage);
        stage.plan(point, Plan::Fail);
        let ask = || timelines.page(ME, Range::ALL, 5);
        let waiting = futures_util::future::join_all((0..100).map(|_| ask())).await;
        assert!(waiting.iter().all(is_unavailable), "{point:?}");
        assert_eq!(stage.loads(), 1, "one failure is enough for all of them");
        assert_eq!(recovered(&timelines).await, stage.all());
    }
}

/// What is pushed while a load fails is in the database, and so in the next load.
#[actix_rt::test]
async fn a_push_during_a_load_that_fails_is_not_lost() {
    let stage = Stage::with(1..=5);
    let timelines = timelines(&stage);
    stage.hold(Point::RowsRead);
    stage.plan(Point::RowsRead, Plan::Fail);
    let asking = timelines.clone();
    let reader = actix_rt::spawn(async move { asking.page(ME, Range::ALL, 5).await });
    stage.reached(Point::RowsRead).await;
    stage.add(6);
    timelines.push(ME, entry(6));
    stage.open(Point::RowsRead);
    assert!(is_unavailable(&reader.await.unwrap()));
    assert_eq!(recovered(&timelines).await, stage.all());
}

/// A database that never answers holds a timeline for the load's limit and no longer.
#[actix_rt::test]
async fn a_load_that_hangs_is_given_up() {
    let stage = Stage::with(1..=5);
    let timelines = timelines(&stage);
    stage.hold(Point::LoadStarted);
    tokio::time::pause();
    let asked = tokio::time::Instant::now();
    assert!(is_unavailable(&timelines.page(ME, Range::ALL, 5).await));
    assert!(asked.elapsed() < Duration::from_secs(13), "{:?}", asked.elapsed());
    tokio::time::resume();
    stage.open(Point::LoadStarted);
    assert_eq!(recovered(&timelines).await, stage.all());
}
