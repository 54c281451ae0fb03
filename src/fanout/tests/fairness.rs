//! Round-robin over tasks: the small beside the large.

use super::{DEFAULTS, Desk, on_both};
use crate::fanout::steps::{Pace, ROUND_TASKS};
use crate::time::Clock;

/// Two hundred large deliveries are under way; a small author's needs one turn of the rotation.
#[test]
fn a_small_author_is_not_behind_large_ones() {
    on_both(async |test| {
        let pace = Pace { round_rows: 16, share_rows: 1, sweep_rows: 10 };
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
