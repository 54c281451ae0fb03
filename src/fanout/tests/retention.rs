//! Feeds that are trimmed while everything else goes on.

use super::{DEFAULTS, Desk, SMALL, entries, on_both, read};
use crate::cli::check;
use crate::fanout::WriterConfig;
use crate::store::testing::TestDb;
use crate::store::{audit, newsfeeds, retention};
use crate::time::{Clock, Timestamp};
use crate::timeline::TimelineKey;

const KEEP: u64 = 6;

const TRIMMED: WriterConfig = WriterConfig { retention: Some(KEEP), ..DEFAULTS };

fn desk(test: &TestDb) -> Desk<'_> {
    Desk::with(test, TRIMMED, SMALL, Clock::system())
}

fn ask(test: &TestDb) -> bool {
    let now = Clock::system().now();
    test.db.write_blocking(|conn| Ok(retention::add_task(conn, now, 0)?)).unwrap()
}

fn assert_flawless(test: &TestDb) {
    let report = check::database(&test.db, true, 10).unwrap();
    assert_eq!(report.total(), 0, "{}: {:?}", test.name, report.printed);
}

#[test]
fn the_newest_entries_stay_and_the_check_knows_why_the_others_do_not() {
    on_both(async |test| {
        let desk = desk(test);
        for reader in 2..=4 {
            desk.follow(reader, 1).await;
        }
        for _ in 0..15 {
            desk.post(1).await;
        }
        desk.settle().await;
        let before = desk.feed(2);
        assert!(ask(test), "{}", test.name);
        assert!(!ask(test), "{}: one task at a time", test.name);
        let mut last = before.len();
        while desk.round().await {
            // At every moment what is left are the newest, without a gap.
            let left = desk.feed(2);
            assert_eq!(left, before[..left.len()], "{}", test.name);
            assert!(left.len() <= last && left.len() >= KEEP as usize, "{}", test.name);
            last = left.len();
            desk.check_windows(1..=4);
        }
        for user in 1..=4 {
            assert_eq!(desk.feed(user), before[..KEEP as usize], "{}: {user}", test.name);
            assert_eq!(entries(test, TimelineKey::Author(1)).len(), 15, "author lists stay");
        }
        assert_flawless(test);
    });
}

#[test]
fn a_tweet_missing_above_what_was_trimmed_is_still_a_difference() {
    on_both(async |test| {
        let desk = desk(test);
        desk.follow(2, 1).await;
        for _ in 0..10 {
            desk.post(1).await;
            // What waits for its delivery while others are delivered is in doubt.
            desk.settle().await;
        }
        ask(test);
        desk.settle().await;
        assert_flawless(test);
        let newest = entries(test, TimelineKey::Home(2))[0].created_at;
        test.db.write_blocking(|conn| Ok(newsfeeds::remove(conn, 2, &[newest])?)).unwrap();
        let report = check::database(&test.db, true, 10).unwrap();
        let gaps: Vec<_> =
            report.printed.iter().filter(|(check, _)| *check == audit::Check::Gaps).collect();
        assert_eq!(gaps.len(), 1, "{}: {:?}", test.name, report.printed);
    });
}

/// What a follow puts far below goes with the next trimming, once, and nothing is fought over.
#[test]
fn a_back_fill_below_the_retention_goes_again() {
    on_both(async |test| {
        let desk = desk(test);
        for _ in 0..5 {
            desk.post(7).await;
        }
        desk.follow(2, 1).await;
        for _ in 0..8 {
            desk.post(1).await;
        }
        desk.settle().await;
        let newest = desk.feed(2)[..KEEP as usize].to_vec();
        ask(test);
        desk.settle().await;
        desk.follow(2, 7).await;
        desk.settle().await;
        assert_eq!(desk.feed_set(2).len(), KEEP as usize + 5, "{}: back-filled", test.name);
        for _ in 0..2 {
            ask(test);
            desk.settle().await;
            assert_eq!(desk.feed(2), newest, "{}", test.name);
        }
        // A feed with room takes what is older than all that was trimmed.
        desk.unfollow(2, 1).await;
        desk.unfollow(2, 7).await;
        desk.follow(2, 7).await;
        desk.settle().await;
        ask(test);
        desk.settle().await;
        assert_eq!(desk.feed_set(2).len(), 5, "{}", test.name);
        assert_flawless(test);
    });
}

#[test]
fn without_the_setting_an_open_task_ends_and_takes_nothing() {
    on_both(async |test| {
        let desk = Desk::open(test);
        for _ in 0..10 {
            desk.post(1).await;
        }
        ask(test);
        desk.settle().await;
        assert_eq!(desk.feed(1).len(), 10, "{}", test.name);
        assert_eq!(read(test, |conn| Ok(retention::of_reader(conn, 1)?)), None);
    });
}

#[test]
fn how_far_a_feed_was_trimmed_only_moves_forward() {
    on_both(async |test| {
        let desk = desk(test);
        for _ in 0..10 {
            desk.post(1).await;
        }
        ask(test);
        desk.settle().await;
        let (below, _) = read(test, |conn| Ok(retention::of_reader(conn, 1)?)).unwrap();
        let oldest = entries(test, TimelineKey::Home(1)).last().unwrap().created_at;
        assert!(below <= oldest && below > Timestamp(0), "{}", test.name);
        for _ in 0..3 {
            desk.post(1).await;
        }
        ask(test);
        desk.settle().await;
        let (later, _) = read(test, |conn| Ok(retention::of_reader(conn, 1)?)).unwrap();
        assert!(later > below, "{}", test.name);
    });
}
