//! Seed, check and rebuild, as one story on both engines.

use diesel::connection::SimpleConnection;

use super::*;
use crate::cli::check;
use crate::cli::rebuild::{self, Repaired};
use crate::store::audit::Check;
use crate::store::testing::{self, TestDb};

fn sizes() -> Sizes {
    Sizes {
        users: 40,
        follows: 300,
        tweets: Some(120),
        comments: Some(100),
        likes: Some(400),
        feed_entries: Some(600),
    }
}

/// A small data set on each engine: 40 users, 120 tweets, 100 comments.
pub(crate) fn seeded() -> Vec<TestDb> {
    let databases = testing::databases();
    let end = Timestamp::parse("2026-11-01T00:00:00Z").unwrap();
    let plan = Plan::draw(7, end, &sizes());
    for test in &databases {
        write(&test.db, &plan, "$argon2id$x").unwrap();
    }
    databases
}

fn execute(db: &Db, sql: &str) {
    db.write_blocking(|conn| {
        match conn {
            Conn::Pg(c) => (**c).batch_execute(sql)?,
            Conn::Sqlite(c) => (**c).batch_execute(sql)?,
        }
        Ok(())
    })
    .unwrap();
}

fn totals(db: &Db) -> Vec<(Check, u64)> {
    check::database(db, true, 10).unwrap().totals
}

#[test]
fn a_seeded_database_has_no_differences() {
    for test in seeded() {
        assert_eq!(totals(&test.db), [], "{}", test.name);
        assert!(!test.db.read_blocking(|conn| Ok(bulk::is_empty(conn)?)).unwrap());
    }
}

#[test]
fn new_rows_come_after_the_seeded_ones() {
    for test in seeded() {
        let name = test.name;
        test.db
            .write_blocking(|conn| {
                let at = crate::store::clock::reserve(conn, Timestamp(1), 1)?.take();
                assert!(at > Timestamp::parse("2026-10-31T00:00:00Z").unwrap(), "{name}");
                let new = crate::store::tweets::NewTweet {
                    user_id: 1,
                    content: "after".into(),
                    created_at: at,
                    photo_urls: Vec::new(),
                };
                assert_eq!(crate::store::tweets::insert(conn, &[new])?, [121], "{name}");
                Ok(())
            })
            .unwrap();
    }
}

/// Each damage is found by the check that is meant for it, and by no other.
#[test]
fn every_kind_of_damage_is_found() {
    const NEWEST: &str = "(SELECT max(id) FROM tweets)";
    const AUTHOR: &str = "(SELECT user_id FROM tweets WHERE id = (SELECT max(id) FROM tweets))";
    let damages = [
        ("UPDATE tweets SET likes_count = likes_count + 1 WHERE id = 3".into(), Check::TweetLikes),
        ("UPDATE tweets SET comments_count = 99 WHERE id = 3".into(), Check::TweetComments),
        ("UPDATE comments SET likes_count = 99 WHERE id = 3".into(), Check::CommentLikes),
        ("UPDATE profiles SET followers_count = 99 WHERE user_id = 3".into(), Check::Followers),
        ("UPDATE profiles SET followings_count = 99 WHERE user_id = 3".into(), Check::Followings),
        ("UPDATE profiles SET tweets_count = 99 WHERE user_id = 3".into(), Check::Tweets),
        (
            "UPDATE follow_spans SET live = live - 1 WHERE user_id = 1 AND side = 1".into(),
            Check::FollowerSpans,
        ),
        (
            "UPDATE follow_spans SET live = 99 WHERE user_id = 1 AND side = 2".into(),
            Check::FollowingSpans,
        ),
        (
            "DELETE FROM follow_spans WHERE user_id = 1 AND side = 1".into(),
            Check::FollowersOutsideSpans,
        ),
        (
            "DELETE FROM follow_spans WHERE user_id = 1 AND side = 2".into(),
            Check::FollowingsOutsideSpans,
        ),
        (
            format!("UPDATE tweets SET delivered_at = NULL WHERE id = {NEWEST}"),
            Check::LostDeliveries,
        ),
        (
            format!(
                "INSERT INTO newsfeeds (user_id, created_at, tweet_id) \
                 VALUES ({AUTHOR}, 5, {NEWEST})"
            ),
            Check::Duplicates,
        ),
        (
            format!("DELETE FROM newsfeeds WHERE user_id = {AUTHOR} AND tweet_id = {NEWEST}"),
            Check::Gaps,
        ),
        (
            format!(
                "INSERT INTO newsfeeds (user_id, created_at, tweet_id) SELECT id, 5, {NEWEST} \
                 FROM users WHERE id <> {AUTHOR} AND id NOT IN (SELECT from_user_id \
                 FROM friendships WHERE to_user_id = {AUTHOR}) ORDER BY id LIMIT 1"
            ),
            Check::Strangers,
        ),
        (
            "INSERT INTO newsfeeds (user_id, created_at, tweet_id) VALUES (1, 5, 99999)".into(),
            Check::Ghosts,
        ),
    ];
    for test in seeded() {
        for (sql, expected) in &damages {
            execute(&test.db, "CREATE TABLE IF NOT EXISTS untouched (x BIGINT)");
            let found = in_a_copy(&test, sql);
            assert_eq!(found, [(*expected, 1)], "{} {sql}", test.name);
        }
    }
}

/// Runs `damage`, checks, and takes the damage back by restoring the tables it can touch.
fn in_a_copy(test: &TestDb, damage: &str) -> Vec<(Check, u64)> {
    const TABLES: [&str; 5] = ["tweets", "comments", "profiles", "follow_spans", "newsfeeds"];
    for table in TABLES {
        execute(&test.db, &format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}"));
    }
    execute(&test.db, damage);
    let found = totals(&test.db);
    for table in ["comments", "tweets", "profiles", "follow_spans", "newsfeeds"] {
        execute(
            &test.db,
            &format!(
                "DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}; \
                 DROP TABLE kept_{table}"
            ),
        );
    }
    found
}

#[test]
fn rebuilding_puts_every_count_right() {
    const DAMAGE: &str = "UPDATE tweets SET likes_count = 99, comments_count = NULL; \
        UPDATE comments SET likes_count = 99; \
        UPDATE profiles SET followers_count = 99, followings_count = 98, tweets_count = 97; \
        UPDATE follow_spans SET live = 0 WHERE side = 1; DELETE FROM follow_spans WHERE side = 2";
    for test in seeded() {
        execute(&test.db, DAMAGE);
        assert!(!totals(&test.db).is_empty());
        let repaired = rebuild::rebuild(&test.db, None, None).unwrap();
        assert_eq!(repaired, Repaired { profiles: 40, tweets: 120, comments: 100 });
        assert_eq!(totals(&test.db), [], "{}", test.name);
        assert_eq!(
            rebuild::rebuild(&test.db, None, None).unwrap(),
            Repaired::default(),
            "nothing left"
        );
    }
}

#[test]
fn one_user_is_rebuilt_and_nobody_else() {
    for test in seeded() {
        execute(
            &test.db,
            "UPDATE tweets SET likes_count = 99; UPDATE profiles SET tweets_count = 97",
        );
        let repaired = rebuild::rebuild(&test.db, None, Some(1)).unwrap();
        assert_eq!(repaired.profiles, 1);
        let left: u64 = totals(&test.db).iter().map(|(_, total)| total).sum();
        assert_eq!(left, 120 + 40 - 1 - repaired.tweets as u64, "{}", test.name);
        assert!(rebuild::rebuild(&test.db, None, Some(4_711)).is_err(), "no such user");
    }
}

#[test]
fn the_same_flags_give_the_same_rows() {
    let end = Timestamp(4_000_000_000_000_000);
    let rows = |seed| {
        let plan = Plan::draw(seed, end, &sizes());
        format!(
            "{:?}{:?}{:?}{:?}",
            plan.friendship_rows().collect::<Vec<_>>(),
            plan.tweet_rows().collect::<Vec<_>>(),
            plan.comment_rows().collect::<Vec<_>>(),
            plan.like_rows().collect::<Vec<_>>()
        )
    };
    assert_eq!(rows(1), rows(1));
    assert_ne!(rows(1), rows(2));
}

#[test]
fn feeds_get_about_as_many_entries_as_asked_for() {
    let end = Timestamp(4_000_000_000_000_000);
    for tweets in [None, Some(500)] {
        let wanted = Sizes { feed_entries: Some(2_000), tweets, ..sizes() };
        let entries = Plan::draw(3, end, &wanted).feed_entries;
        let asked = 2_000 + u64::from(tweets.unwrap_or(0));
        assert!((asked - 45..=asked).contains(&entries), "{entries} of {asked}");
    }
}
