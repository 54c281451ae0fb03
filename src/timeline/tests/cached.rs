//! What is cached, for how long, and what happens past its end.

use std::time::Duration;

use super::*;

#[actix_rt::test]
async fn cached_newsfeeds_miss_hit_update() {
    let source = FakeSource::new([3, 2, 1]);
    let timelines = timelines(&source, 100);
    let cold = timelines.page(HOME, Range::ALL, 10).await.unwrap();
    assert_eq!((cold.entries, cold.from), (entries([3, 2, 1]), LoadedFrom::Database));
    let warm = timelines.page(HOME, Range::ALL, 10).await.unwrap();
    assert_eq!((warm.entries, warm.from), (entries([3, 2, 1]), LoadedFrom::Memory));
    assert_eq!(source.loads(), 1, "the second read loads nothing");

    source.commit(entry(4));
    timelines.push(HOME, entry(4));
    assert_eq!(first(&timelines, 10).await, entries([4, 3, 2, 1]), "the push is on top");
    assert_eq!(source.loads(), 1);
}

#[actix_rt::test]
async fn an_empty_timeline_is_cached_as_empty() {
    let source = FakeSource::new([]);
    let timelines = timelines(&source, 10);
    for _ in 0..3 {
        assert!(first(&timelines, 5).await.is_empty());
    }
    assert_eq!((source.loads(), source.pages.load(Ordering::SeqCst)), (1, 0));
    timelines.push(HOME, entry(1));
    assert_eq!(first(&timelines, 5).await, entries([1]));
}

/// Failure mode 8: pages that straddle the end of the cache, around exactly the limit.
#[actix_rt::test]
async fn every_page_size_walks_past_the_cache_without_gap_or_repeat() {
    const LIMIT: i64 = 20;
    for count in [LIMIT - 1, LIMIT, LIMIT + 1, 2 * LIMIT] {
        let source = FakeSource::new((1..=count).rev());
        let timelines = timelines(&source, LIMIT as usize);
        for size in 1..=21 {
            let all = walk(&timelines, size).await;
            assert_eq!(all, entries((1..=count).rev()), "{count} entries by {size}");
        }
        assert_eq!(source.loads(), 1, "{count} entries");
    }
}

/// Failure mode 9: a poll for more than is cached gets what is older from the database.
#[actix_rt::test]
async fn a_poll_for_more_than_the_cache_holds_is_complete() {
    let source = FakeSource::new((1..=50).rev());
    let timelines = timelines(&source, 20);
    let range = Range { newer_than: Timestamp(10), ..Range::ALL };
    let all = timelines.page(HOME, range, 1_000).await.unwrap().entries;
    assert_eq!(all, entries((11..=50).rev()));
    let range = Range { newer_than: Timestamp(40), ..Range::ALL };
    let newest = timelines.page(HOME, range, 1_000).await.unwrap();
    assert_eq!((newest.entries.len(), newest.from), (10, LoadedFrom::Memory));
}

#[actix_rt::test]
async fn over_budget_the_least_recently_used_leave_memory() {
    let source = FakeSource::new([3, 2, 1]);
    let config =
        TimelinesConfig { list_limit: 10, resident_entries: 9, idle: Duration::from_secs(3600) };
    let timelines = Timelines::new(config, Arc::new(Handle(source.clone())));
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
    assert_eq!(again.entries, entries([3, 2, 1]), "nobody sees a difference");
}

/// Failure mode 22: what nobody reads does not stay.
#[actix_rt::test]
async fn idle_timelines_leave_memory() {
    let source = FakeSource::new([1]);
    let config = TimelinesConfig { list_limit: 10, resident_entries: 1_000, idle: Duration::ZERO };
    let timelines = Timelines::new(config, Arc::new(Handle(source.clone())));
    first(&timelines, 5).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    timelines.sweep();
    assert_eq!(timelines.resident_count().0, 0);
    assert_eq!(first(&timelines, 5).await, entries([1]));
    assert_eq!(source.loads(), 2);
}
