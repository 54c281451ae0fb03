//! Changes of a timeline's past, as follows and unfollows make them.

use super::*;
use crate::timeline::Amendment;

fn added(times: impl IntoIterator<Item = i64>) -> Arc<Amendment> {
    Arc::new(Amendment::Added(entries(times)))
}

fn removed(times: impl IntoIterator<Item = i64>) -> Arc<Amendment> {
    Arc::new(Amendment::Removed(times.into_iter().map(Timestamp).collect()))
}

#[actix_rt::test]
async fn a_warm_timeline_takes_a_change_of_its_past_over_without_a_load() {
    let stage = Arc::new(Stage::default());
    [10, 20, 30].into_iter().for_each(|at| stage.add(at));
    let timelines = timelines(&stage);
    all(&timelines).await;

    [25, 5, 15].into_iter().for_each(|at| stage.add(at));
    timelines.amend(ME, added([25, 5, 15]));
    assert_eq!(all(&timelines).await, entries([30, 25, 20, 15, 10, 5]));
    [20, 5].into_iter().for_each(|at| stage.drop_row(at));
    timelines.amend(ME, removed([20, 5]));
    assert_eq!(all(&timelines).await, entries([30, 25, 15, 10]));
    // What is there already, and what was gone already.
    timelines.amend(ME, added([25]));
    timelines.amend(ME, removed([20]));
    assert_eq!(all(&timelines).await, entries([30, 25, 15, 10]));
    assert_eq!((stage.loads(), stage.pages()), (1, 0));
}

/// Of entries below the window it takes nothing, and the walk down to them finds each once.
#[actix_rt::test]
async fn failure_mode_08_a_change_across_the_end_of_the_window_is_seen_once() {
    let stage = Arc::new(Stage::default());
    (1..=30).for_each(|at| stage.add(at * 10));
    let timelines = timelines(&stage);
    first(&timelines, LIMIT).await;

    let new = [295, 155, 105, 55];
    new.into_iter().for_each(|at| stage.add(at));
    timelines.amend(ME, added(new));
    assert_eq!(walk(&timelines, 7).await, stage.all());
    let gone = [300, 200, 110, 100, 55, 10];
    gone.into_iter().for_each(|at| stage.drop_row(at));
    timelines.amend(ME, removed(gone));
    assert_eq!(walk(&timelines, 7).await, stage.all());
    assert_eq!(stage.loads(), 1, "the window still says what it knows");
}

/// So much is taken out that the window is not worth its name: it is loaded again.
#[actix_rt::test]
async fn a_window_that_has_lost_most_is_filled_again() {
    let stage = Arc::new(Stage::default());
    (1..=30).for_each(|at| stage.add(at));
    let timelines = timelines(&stage);
    first(&timelines, LIMIT).await;
    (15..=28).for_each(|at| stage.drop_row(at));
    timelines.amend(ME, removed(15..=28));
    assert_eq!(first(&timelines, LIMIT).await, stage.range(Range::ALL, LIMIT));
    assert_eq!(stage.loads(), 2);
}

/// A load that has read its rows before the commit is corrected, one that has read them after
/// it is not changed.
#[actix_rt::test]
async fn failure_mode_03_a_change_during_a_load_is_neither_lost_nor_doubled() {
    for point in [Point::LoadStarted, Point::RowsRead] {
        let stage = Arc::new(Stage::default());
        [10, 20, 30].into_iter().for_each(|at| stage.add(at));
        let timelines = timelines(&stage);
        stage.hold(point);
        let reader = reading(&timelines);
        stage.reached(point).await;
        stage.add(15);
        timelines.amend(ME, added([15]));
        stage.drop_row(20);
        timelines.amend(ME, removed([20]));
        stage.open(point);
        reader.await.unwrap();
        assert_eq!(all(&timelines).await, entries([30, 15, 10]), "{point:?}");
        assert_eq!(stage.loads(), 1, "{point:?}");
    }
}

/// A stream tells of what is new. Its reader sees the past when they page.
#[actix_rt::test]
async fn a_stream_goes_on_and_says_nothing_of_the_past() {
    let stage = Arc::new(Stage::default());
    [10, 20].into_iter().for_each(|at| stage.add(at));
    let timelines = timelines(&stage);
    let mut stream = timelines.follow(ME, None).await.unwrap();
    stage.add(15);
    timelines.amend(ME, added([15]));
    stage.drop_row(10);
    timelines.amend(ME, removed([10]));
    stage.add(30);
    timelines.push(ME, entry(30));
    assert_eq!(stream.entries.recv().await, Some(entry(30)));
    assert!(stream.entries.try_recv().is_err(), "nothing else");
    assert_eq!(all(&timelines).await, entries([30, 20, 15]));
}
