//! What is cached, and pages across its end.

use super::*;

#[actix_rt::test]
async fn cached_newsfeeds_miss_hit_update() {
    let stage = Stage::with(1..=3);
    let timelines = timelines(&stage);
    let cold = timelines.page(ME, Range::ALL, 10).await.unwrap();
    assert_eq!((cold.entries, cold.from), (entries([3, 2, 1]), LoadedFrom::Database));
    let warm = timelines.page(ME, Range::ALL, 10).await.unwrap();
    assert_eq!((warm.entries, warm.from), (entries([3, 2, 1]), LoadedFrom::Memory));
    stage.add(4);
    timelines.push(ME, entry(4));
    assert_eq!(first(&timelines, 10).await, entries([4, 3, 2, 1]), "the push is on top");
    assert_eq!(stage.loads(), 1);
}

#[actix_rt::test]
async fn an_empty_timeline_is_cached_as_empty() {
    let stage = Arc::new(Stage::default());
    let timelines = timelines(&stage);
    for _ in 0..3 {
        assert!(all(&timelines).await.is_empty());
    }
    assert_eq!((stage.loads(), stage.pages()), (1, 0));
    timelines.push(ME, entry(1));
    assert_eq!(all(&timelines).await, entries([1]));
}

#[actix_rt::test]
async fn failure_mode_04_a_short_list_is_not_taken_for_the_whole() {
    let stage = Stage::with(1..=30);
    let timelines = timelines(&stage);
    all(&timelines).await;
    for at in 15..=30 {
        stage.drop_row(at);
        timelines.remove(ME, at * 10);
        assert_eq!(all(&timelines).await, stage.all(), "after removing {at}");
    }
}

#[actix_rt::test]
async fn failure_mode_08_pages_straddle_the_end_of_the_cache() {
    for rows in [0, 1, LIMIT - 1, LIMIT, LIMIT + 1, 2 * LIMIT] {
        let stage = Stage::with(1..=rows as i64);
        let timelines = timelines(&stage);
        for size in 1..=LIMIT + 1 {
            assert_eq!(walk(&timelines, size).await, stage.all(), "{rows} rows, pages of {size}");
        }
        assert_eq!(stage.loads(), 1);
        assert_eq!(timelines.resident_count().1, rows.min(LIMIT));
    }
}

#[actix_rt::test]
async fn failure_mode_09_more_newer_entries_than_the_cache_holds() {
    let stage = Stage::with(1..=LIMIT as i64 + 6);
    let timelines = timelines(&stage);
    let newer = Range { newer_than: Timestamp(1), ..Range::ALL };
    let found = timelines.page(ME, newer, 1_000).await.unwrap().entries;
    assert_eq!(found, stage.range(newer, 1_000));
    assert_eq!(found.len(), LIMIT + 5);
    let newest = Range { newer_than: Timestamp(LIMIT as i64), ..Range::ALL };
    let found = timelines.page(ME, newest, 1_000).await.unwrap();
    assert_eq!((found.entries.len(), found.from), (6, LoadedFrom::Memory));
}

/// The page's upper part is in hand and its lower part still to be read when the timeline
/// leaves memory, comes back and grows.
#[actix_rt::test]
async fn failure_mode_19_eviction_in_the_middle_of_a_page_is_invisible() {
    let stage = Stage::with(1..=LIMIT as i64 + 5);
    let timelines = timelines(&stage);
    let before = stage.all();
    stage.hold(Point::PageStarted);
    let reader = reading(&timelines);
    stage.reached(Point::PageStarted).await;
    timelines.passivate(ME);
    stage.add(40);
    timelines.push(ME, entry(40));
    let warm = first(&timelines, 5).await;
    stage.open(Point::PageStarted);
    assert_eq!(reader.await.unwrap(), before, "one moment's page");
    assert_eq!(warm, stage.all()[..5]);
    assert_eq!(all(&timelines).await, stage.all());
}

/// A page below the window that fails is one reader's error: nothing of it stays.
#[actix_rt::test]
async fn a_page_that_cannot_be_read_is_an_error_and_no_short_page() {
    let stage = Stage::with(1..=LIMIT as i64 + 5);
    let timelines = timelines(&stage);
    stage.plan(Point::PageStarted, Plan::Fail);
    assert!(timelines.page(ME, Range::ALL, LIMIT + 1).await.is_err());
    assert_eq!(first(&timelines, LIMIT).await, stage.all()[..LIMIT], "memory still answers");
    assert_eq!(all(&timelines).await, stage.all());
    assert_eq!(stage.loads(), 1);
}
