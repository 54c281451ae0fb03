//! Photos of deleted tweets: no crash leaves a file without a name.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::belongings::{belongings, rows_of};
use super::{DEFAULTS, Desk, SMALL, on_both, open_tasks};
use crate::time::Clock;

const AUTHOR: i64 = 1;

#[test]
fn a_deleted_tweets_photos_are_named_to_the_photo_store() {
    on_both(async |test| {
        let desk = Desk::open(test);
        let tweet = desk.post(AUTHOR).await;
        belongings(&desk, tweet);
        desk.delete(AUTHOR, tweet).await;
        desk.settle().await;
        let named: BTreeSet<String> = desk.audience.discarded.lock().iter().cloned().collect();
        assert_eq!(named.len(), 5, "{}", test.name);
        assert_eq!(rows_of(&desk, tweet), [0; 5], "{}", test.name);
    });
}

/// The process dies after the commit that hands the photos out and before they are deleted.
#[test]
fn a_crash_before_the_files_are_gone_leaves_the_rows_that_name_them() {
    on_both(async |test| {
        let desk = Desk::open(test);
        let tweet = desk.post(AUTHOR).await;
        belongings(&desk, tweet);
        desk.delete(AUTHOR, tweet).await;
        let mut handed_out = 0;
        loop {
            // What is to be deleted dies with the process.
            let worked = desk.core.work_round().await.unwrap();
            handed_out += worked.discards.len();
            if !worked.more {
                break;
            }
        }
        assert_eq!(handed_out, 1, "{}", test.name);
        assert_eq!(rows_of(&desk, tweet)[2], 5, "{}: the photos still have names", test.name);
        assert!(desk.audience.discarded.lock().is_empty());

        let next = Desk::open(test);
        assert!(next.core.look_at_backlog().await.unwrap());
        next.settle().await;
        assert_eq!(next.audience.discarded.lock().len(), 5, "{}", test.name);
        assert_eq!(rows_of(&next, tweet), [0; 5], "{}", test.name);
    });
}

#[test]
fn photos_that_cannot_be_deleted_are_asked_for_again() {
    on_both(async |test| {
        let start = Clock::system().now().micros();
        let wall = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(start));
        let source = wall.clone();
        let clock = Clock::from_source(move || source.load(Ordering::Relaxed));
        let desk = Desk::with(test, DEFAULTS, SMALL, clock);
        let tweet = desk.post(AUTHOR).await;
        belongings(&desk, tweet);
        desk.audience.discards_fail.store(true, Ordering::Relaxed);
        desk.delete(AUTHOR, tweet).await;
        while desk.round().await {}
        assert_eq!(rows_of(&desk, tweet)[2], 5, "{}: the photos still have names", test.name);
        assert_eq!(open_tasks(test), 1, "{}", test.name);

        desk.audience.discards_fail.store(false, Ordering::Relaxed);
        assert!(!desk.round().await, "{}: its time has not come", test.name);
        wall.fetch_add(2_000_000, Ordering::Relaxed);
        desk.settle().await;
        assert_eq!(rows_of(&desk, tweet), [0; 5], "{}", test.name);
    });
}
