//! A writer that dies between any two transactions, and the one that takes over.

use super::{DEFAULTS, Desk, SMALL, entries, on_both};
use crate::time::{Clock, Timestamp};
use crate::timeline::TimelineKey;

/// Each round is done by a new writer: nothing but the database carries over.
#[test]
fn a_crash_between_any_two_rounds_neither_loses_nor_repeats() {
    on_both(async |test| {
        for reader in 2..=12 {
            Desk::open(test).follow(reader, 1).await;
        }
        let first = Desk::open(test).post(1).await;
        Desk::open(test).round().await;
        let second = Desk::open(test).post(1).await;
        Desk::open(test).round().await;
        Desk::open(test).delete(1, first).await;
        let mut rounds = 0;
        while Desk::open(test).round().await {
            rounds += 1;
            assert!(rounds < 100, "the tasks do not end");
        }
        let desk = Desk::open(test);
        for reader in 1..=12 {
            assert_eq!(desk.feed(reader), [second], "{}: {reader}", test.name);
        }
    });
}

/// Failure modes 6 and 7. The system clock steps back by hours, also across a restart: what
/// becomes visible later still carries a later time, and no two entries carry the same.
#[test]
fn failure_mode_06_a_clock_that_steps_back_does_not_disturb_the_order() {
    on_both(async |test| {
        let mut seen: Vec<Timestamp> = Vec::new();
        for wall in [5_000_000, 10, 10, 4_999_999, 5_000_020, 3] {
            let clock = Clock::from_source(move || wall);
            let desk = Desk::with(test, DEFAULTS, SMALL, clock);
            desk.follow(2, 1).await;
            desk.post(1).await;
            desk.settle().await;
            let feed = entries(test, TimelineKey::Home(2));
            assert_eq!(feed.len(), seen.len() + 1, "{}", test.name);
            assert!(seen.last().is_none_or(|last| feed[0].created_at > *last), "{}", test.name);
            seen.push(feed[0].created_at);
        }
    });
}

/// Failure mode 7. Posts of one group at one tick of the clock still get moments of their own.
#[test]
fn failure_mode_07_no_two_entries_of_a_timeline_share_a_moment() {
    on_both(async |test| {
        let desk = Desk::with(test, DEFAULTS, SMALL, Clock::from_source(|| 7));
        desk.follow(3, 1).await;
        desk.follow(3, 2).await;
        let group = (0..50).map(|n| super::post(1 + n % 2)).collect();
        assert!(desk.group(group).await.iter().all(Result::is_ok));
        desk.settle().await;
        for key in [TimelineKey::Home(3), TimelineKey::Author(1), TimelineKey::Home(1)] {
            let times: Vec<_> = entries(test, key).iter().map(|entry| entry.created_at).collect();
            assert!(times.is_sorted_by(|a, b| a > b), "{}: {key:?}", test.name);
        }
        assert_eq!(desk.feed_set(3).len(), 50);
    });
}
