//! Followers by the thousand: rows only, since nobody could sign so many up.

use std::time::{Duration, Instant};

use super::app::App;

/// Ids from here on belong to followers that are rows only.
pub const FIRST: i64 = 100_000;

/// Gives `author` so many followers, with ids from [`FIRST`] on, who have followed for ever.
pub fn add(app: &App, author: i64, count: i64) {
    let added = app.sql_list(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {count} - 1) \
         INSERT INTO friendships (from_user_id, to_user_id, created_at) \
         SELECT {FIRST} + i, {author}, i + 1 FROM n RETURNING from_user_id AS n"
    ));
    assert_eq!(added.len() as i64, count);
    app.sql_list(&format!(
        "UPDATE profiles SET followers_count = followers_count + {count} \
         WHERE user_id = {author} RETURNING user_id AS n"
    ));
}

/// Waits until no task is open, and tells how long that took.
pub fn wait_until_delivered(app: &App, limit: Duration) -> Duration {
    let asked = Instant::now();
    loop {
        let open = app.metric("roost_fanout_tasks_open");
        if open == Some(0.0) {
            return asked.elapsed();
        }
        assert!(asked.elapsed() < limit, "{open:?} tasks are open after {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Fails unless every tweet after `after` is in the feed of its author and of each follower,
/// whoever followed before it was posted, exactly once. Returns the last tweet.
#[track_caller]
pub fn assert_delivered_once(app: &App, after: i64) -> i64 {
    let wrong = app.sql_texts(&format!(
        "SELECT 'tweet ' || t.id || ': ' || coalesce(f.entries, 0) || ' entries in ' || \
             coalesce(f.feeds, 0) || ' feeds, ' || coalesce(r.readers, 0) || ' followers' AS t \
         FROM tweets t \
         LEFT JOIN (SELECT tweet_id, count(*) AS entries, count(DISTINCT user_id) AS feeds \
             FROM newsfeeds GROUP BY tweet_id) f ON f.tweet_id = t.id \
         LEFT JOIN (SELECT to_user_id, count(*) AS readers FROM friendships GROUP BY to_user_id) r \
             ON r.to_user_id = t.user_id \
         WHERE t.id > {after} AND t.deleted_at IS NULL AND (coalesce(f.entries, 0) <> \
             coalesce(f.feeds, 0) OR coalesce(f.feeds, 0) <> coalesce(r.readers, 0) + 1)"
    ));
    assert!(wrong.is_empty(), "{wrong:?}");
    app.sql("SELECT coalesce(max(id), 0) AS n FROM tweets")
}

/// Empties the feeds of the followers that are rows only: nothing caches them.
pub fn forget_feeds(app: &App) {
    app.sql_list(&format!("DELETE FROM newsfeeds WHERE user_id >= {FIRST} RETURNING user_id AS n"));
}
