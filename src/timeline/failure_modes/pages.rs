//! Pages across the end of what is cached.

use super::*;

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
async fn an_empty_timeline_is_cached_as_empty() {
    let stage = Arc::new(Stage::default());
    let timelines = timelines(&stage);
    for _ in 0..3 {
        assert!(all(&timelines).await.is_empty());
    }
    assert_eq!((stage.loads(), stage.pages.load(Ordering::SeqCst)), (1, 0));
}
