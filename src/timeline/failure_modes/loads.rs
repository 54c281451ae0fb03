//! Loads against everything that can happen meanwhile.

use super::*;

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
