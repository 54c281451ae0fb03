//! Follows, unfollows and deletes while a fan-out, a sweep or a removal is under way.

use diesel::prelude::*;

use super::belongings::{belongings, rows_of};
use super::{DEFAULTS, Desk, SMALL, entries, on_both, post, read};
use crate::fanout::{Op, Outcome, WriterConfig};
use crate::store::on;
use crate::store::schema::{newsfeeds, tweets};
use crate::time::Clock;
use crate::timeline::TimelineKey;

const AUTHOR: i64 = 1;

/// Readers 2 to 9 follow the author; one round delivers to two of them.
async fn followed(desk: &Desk<'_>) {
    for reader in 2..=9 {
        // Some may follow already, from an earlier round of the test.
        desk.follow(reader, AUTHOR).await;
    }
}

#[test]
fn a_follow_during_a_fan_out_gets_the_tweet_once() {
    on_both(async |test| {
        for rounds_before in 0..4 {
            let desk = Desk::open(test);
            followed(&desk).await;
            let tweet = desk.post(AUTHOR).await;
            for _ in 0..rounds_before {
                desk.round().await;
            }
            // One below, one among and one above the readers already served.
            for reader in [10, 11] {
                assert!(desk.follow(reader, AUTHOR).await);
                assert!(desk.feed(reader).contains(&tweet), "back-filled at once");
            }
            desk.settle().await;
            for reader in 1..=11 {
                assert!(desk.feed_set(reader).contains(&tweet), "{}: {reader}", test.name);
            }
            for reader in 2..=11 {
                desk.unfollow(reader, AUTHOR).await;
            }
            desk.settle().await;
        }
    });
}

#[test]
fn an_unfollow_during_a_fan_out_leaves_no_stranger() {
    on_both(async |test| {
        for rounds_before in 0..4 {
            let desk = Desk::open(test);
            followed(&desk).await;
            desk.post(AUTHOR).await;
            for _ in 0..rounds_before {
                desk.round().await;
            }
            for reader in [2, 5, 9] {
                assert!(desk.unfollow(reader, AUTHOR).await);
            }
            desk.settle().await;
            for reader in [2, 5, 9] {
                assert_eq!(desk.feed(reader), [0; 0], "{}: {reader}", test.name);
            }
            for reader in 2..=9 {
                desk.unfollow(reader, AUTHOR).await;
            }
        }
    });
}

#[test]
fn a_follow_while_a_sweep_is_open_ends_with_the_whole_back_fill() {
    on_both(async |test| {
        for rounds_before in 0..5 {
            let desk = Desk::open(test);
            desk.follow(2, AUTHOR).await;
            for _ in 0..9 {
                desk.post(AUTHOR).await;
                desk.post(2).await;
            }
            desk.settle().await;
            let before = desk.feed_set(2);
            desk.unfollow(2, AUTHOR).await;
            for _ in 0..rounds_before {
                desk.round().await;
            }
            assert!(desk.follow(2, AUTHOR).await);
            let during = desk.post(AUTHOR).await;
            desk.settle().await;
            let mut expected = before;
            expected.insert(during);
            let got = desk.feed_set(2);
            let missing: Vec<_> = expected.difference(&got).collect();
            // Each time the author has nine more, of which the latest twenty come back.
            assert!(got.contains(&during), "{}", test.name);
            assert!(missing.len() <= 9 * rounds_before, "{}: missing {missing:?}", test.name);
            desk.unfollow(2, AUTHOR).await;
            desk.settle().await;
            let strangers = read(test, |conn| {
                Ok(on!(conn, |c| newsfeeds::table
                    .inner_join(tweets::table.on(tweets::id.eq(newsfeeds::tweet_id)))
                    .filter(newsfeeds::user_id.eq(2).and(tweets::user_id.eq(AUTHOR)))
                    .count()
                    .get_result::<i64>(c))?)
            });
            assert_eq!(strangers, 0, "{}: after the unfollow", test.name);
        }
    });
}

/// Failure mode 10. A reader who followed during the fan-out and stands beyond its progress has
/// the tweet from the back-fill, so the removal must reach further than the delivery did.
#[test]
fn failure_mode_10_a_delete_meets_its_fan_out() {
    on_both(async |test| {
        for rounds_before in 0..6 {
            let desk = Desk::open(test);
            followed(&desk).await;
            let tweet = desk.post(AUTHOR).await;
            for _ in 0..rounds_before {
                desk.round().await;
            }
            desk.follow(20, AUTHOR).await;
            belongings(&desk, tweet);
            desk.delete(AUTHOR, tweet).await;
            assert!(!desk.feed(AUTHOR).contains(&tweet), "gone for its author at once");
            desk.settle().await;
            assert_eq!(rows_of(&desk, tweet), [0; 5], "{}: {rounds_before} rounds", test.name);
            desk.unfollow(20, AUTHOR).await;
            for reader in 2..=9 {
                desk.unfollow(reader, AUTHOR).await;
            }
            desk.settle().await;
        }
    });
}

/// A delete, then follows and unfollows while the removal walks the followers.
#[test]
fn a_removal_under_way_meets_follows_and_unfollows() {
    on_both(async |test| {
        for rounds_before in 0..5 {
            let desk = Desk::open(test);
            followed(&desk).await;
            let tweet = desk.post(AUTHOR).await;
            desk.settle().await;
            desk.delete(AUTHOR, tweet).await;
            for _ in 0..rounds_before {
                desk.round().await;
            }
            desk.unfollow(9, AUTHOR).await;
            desk.follow(21, AUTHOR).await;
            desk.settle().await;
            assert_eq!(rows_of(&desk, tweet), [0; 5], "{}: {rounds_before} rounds", test.name);
            desk.follow(9, AUTHOR).await;
            desk.unfollow(21, AUTHOR).await;
            desk.settle().await;
        }
    });
}

/// A group is the same as its operations one after another.
#[test]
fn a_mixed_group_equals_one_after_another() {
    on_both(async |test| {
        let script = |shift: i64| {
            let (author, reader, other) = (1 + shift, 2 + shift, 3 + shift);
            vec![
                post(author),
                Op::Follow { from: reader, to: author },
                post(author),
                Op::Follow { from: other, to: author },
                Op::Unfollow { from: reader, to: author },
                post(author),
                Op::Follow { from: reader, to: author },
                Op::Unfollow { from: other, to: author },
                post(author),
                post(other),
                Op::Follow { from: author, to: other },
                Op::Unfollow { from: author, to: other },
                Op::Follow { from: author, to: other },
            ]
        };
        let desk = Desk::open(test);
        let count = script(0).len();
        let together = desk.group(script(0)).await;
        assert_eq!(together.iter().filter(|result| result.is_ok()).count(), count);
        for op in script(10) {
            desk.one(op).await;
        }
        desk.settle().await;
        for user in 1..=3 {
            assert_eq!(desk.feed(user).len(), desk.feed(user + 10).len(), "{} {user}", test.name);
        }
        // Four of the author's in the reader's feed: three back-filled and one delivered.
        assert_eq!(desk.feed(2).len(), 4, "{}", test.name);
    });
}

/// With the setting off an unfollow leaves what is there, and a new follow repeats nothing.
#[test]
fn kept_entries_are_not_back_filled_again() {
    on_both(async |test| {
        let config = WriterConfig { remove_on_unfollow: false, ..DEFAULTS };
        let desk = Desk::with(test, config, SMALL, Clock::system());
        desk.follow(2, AUTHOR).await;
        let delivered = desk.post(AUTHOR).await;
        desk.settle().await;
        desk.unfollow(2, AUTHOR).await;
        let missed = desk.post(AUTHOR).await;
        desk.settle().await;
        assert_eq!(desk.feed(2), [delivered]);
        desk.follow(2, AUTHOR).await;
        desk.settle().await;
        assert_eq!(desk.feed_set(2), [delivered, missed].into());
    });
}

/// What an unfollow has left in a feed still goes with its tweet.
#[test]
fn a_kept_entry_goes_when_its_tweet_is_deleted() {
    on_both(async |test| {
        let config = WriterConfig { remove_on_unfollow: false, ..DEFAULTS };
        let desk = Desk::with(test, config, SMALL, Clock::system());
        desk.follow(2, AUTHOR).await;
        desk.follow(3, AUTHOR).await;
        let (gone, kept) = (desk.post(AUTHOR).await, desk.post(AUTHOR).await);
        desk.settle().await;
        desk.unfollow(2, AUTHOR).await;
        desk.delete(AUTHOR, gone).await;
        desk.settle().await;
        for reader in 2..=3 {
            assert_eq!(desk.feed(reader), [kept], "{} {reader}", test.name);
        }
    });
}

#[test]
fn only_the_owner_deletes_and_only_once() {
    on_both(async |test| {
        let desk = Desk::open(test);
        let tweet = desk.post(AUTHOR).await;
        assert_eq!(desk.one(Op::Delete { user_id: 2, tweet_id: tweet }).await, Outcome::Forbidden);
        desk.delete(AUTHOR, tweet).await;
        let again = desk.one(Op::Delete { user_id: AUTHOR, tweet_id: tweet }).await;
        assert_eq!(again, Outcome::NotFound);
        desk.settle().await;
        assert!(entries(test, TimelineKey::Author(AUTHOR)).is_empty());
    });
}

/// Ids can be guessed: the delete of a tweet may be committed together with its post.
#[test]
fn a_delete_in_the_group_of_the_post_comes_after_it_or_finds_nothing() {
    on_both(async |test| {
        let desk = Desk::open(test);
        followed(&desk).await;
        let delete = |tweet_id| Op::Delete { user_id: AUTHOR, tweet_id };
        let before = desk.post(AUTHOR).await;
        desk.check_windows(1..=9);

        let gone = before + 1;
        let answers = desk.group(vec![post(AUTHOR), delete(gone)]).await;
        assert!(matches!(&answers[0], Ok(Outcome::Posted(posted)) if posted.tweet_id == gone));
        assert!(matches!(answers[1], Ok(Outcome::Deleted)), "{}: {answers:?}", test.name);
        desk.settle().await;
        for reader in 1..=9 {
            assert_eq!(desk.feed(reader), [before], "{}: {reader}", test.name);
        }

        let kept = gone + 1;
        let answers = desk.group(vec![delete(kept), post(AUTHOR)]).await;
        assert!(matches!(answers[0], Ok(Outcome::NotFound)), "{}: {answers:?}", test.name);
        assert!(matches!(&answers[1], Ok(Outcome::Posted(posted)) if posted.tweet_id == kept));
        desk.settle().await;
        for reader in 1..=9 {
            assert_eq!(desk.feed(reader), [kept, before], "{}: {reader}", test.name);
        }
        desk.check_windows(1..=9);
    });
}
