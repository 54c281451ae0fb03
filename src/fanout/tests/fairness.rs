//! Round-robin over tasks: the small beside the large.

use super::{DEFAULTS, Desk, on_both, pace};
use crate::fanout::rotation::ROUND_TASKS;
use crate::fanout::rounds::Pace;
use crate::time::Clock;

/// Two hundred large deliveries are under way; a small author's needs one turn of the rotation.
#[test]
fn a_small_author_is_not_behind_large_ones() {
    on_both(async |test| {
        let pace = Pace { share_rows: 1, ..pace(16, 10) };
        let desk = Desk::with(test, DEFAULTS, pace, Clock::system());
        for reader in 2..=39 {
            desk.follow(reader, 1).await;
        }
        desk.follow(3, 40).await;
        const LARGE: usize = 50;
        let posts = (0..LARGE).map(|_| super::post(1)).collect();
        desk.group(posts).await;
        desk.round().await;
        let small = desk.post(40).await;
        let mut rounds = 0;
        while !desk.feed(3).contains(&small) {
            rounds += 1;
            assert!(rounds <= LARGE / ROUND_TASKS + 2, "{}: {rounds} rounds", test.name);
            desk.round().await;
        }
        desk.settle().await;
        assert_eq!(desk.feed_set(2).len(), LARGE, "{}", test.name);
    });
}

/// As many new tasks as a round takes come between any two rounds, for ever: the rotation must
/// come back to the old one nevertheless.
#[test]
fn a_stream_of_new_tasks_does_not_starve_an_old_one() {
    on_both(async |test| {
        let desk = Desk::with(test, DEFAULTS, pace(ROUND_TASKS, 10), Clock::system());
        for reader in 2..=39 {
            desk.follow(reader, 1).await;
        }
        desk.follow(3, 40).await;
        let large = desk.post(1).await;
        let mut rounds = 0;
        while desk.feed_set(39) != [large].into() {
            rounds += 1;
            assert!(rounds <= 60, "{}: the large delivery starves", test.name);
            let posts = (0..ROUND_TASKS).map(|_| super::post(40)).collect();
            desk.group(posts).await;
            desk.round().await;
        }
    });
}

/// A round ends early for each write that waits. Where they never pause, it must still do as much as
/// they add, or ever more deliveries are behind.
#[test]
fn deliveries_keep_pace_with_posts_that_never_pause() {
    on_both(async |test| {
        let desk = Desk::with(test, DEFAULTS, pace(1_000, 10), Clock::system());
        for author in 2..=11 {
            desk.follow(1, author).await;
        }
        desk.settle().await;
        desk.core.awaited.set_writes(1);
        for group in 1..=5 {
            desk.group((2..=11).map(super::post).collect()).await;
            desk.round().await;
            assert_eq!(desk.feed_set(1).len(), 10 * group, "{}", test.name);
        }
    });
}

/// Tasks that only a newer version knows stand in front of all others.
#[test]
fn tasks_of_unknown_kinds_take_no_places() {
    on_both(async |test| {
        let desk = Desk::open(test);
        let unknown = "INSERT INTO fanout_tasks (kind, created_at) VALUES (99, 1);";
        super::execute(test, &unknown.repeat(2 * ROUND_TASKS));
        desk.follow(2, 1).await;
        let tweet = desk.post(1).await;
        assert!(desk.round().await, "{}: the delivery is found", test.name);
        assert_eq!(desk.feed(2), [tweet], "{}", test.name);
        assert_eq!(super::open_tasks(test), 2 * ROUND_TASKS as i64, "{}", test.name);
    });
}

/// A back-fill that waits for a sweep is no reason for one empty round after the other.
#[test]
fn a_task_that_waits_for_another_is_no_work() {
    on_both(async |test| {
        let desk = Desk::open(test);
        desk.follow(2, 1).await;
        for _ in 0..5 {
            desk.post(1).await;
        }
        desk.settle().await;
        desk.unfollow(2, 1).await;
        desk.follow(2, 1).await;
        super::execute(
            test,
            "UPDATE fanout_tasks SET retry_at = 9000000000000000000 WHERE kind = 3",
        );
        assert!(!desk.round().await, "{}: nothing can be done", test.name);
        super::execute(test, "UPDATE fanout_tasks SET retry_at = NULL");
        desk.settle().await;
        assert_eq!(desk.feed_set(2).len(), 5, "{}", test.name);
    });
}
