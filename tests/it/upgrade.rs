//! From the schema of the first release, with data in it, to the counts that it did not have.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{App, Client, Setup, id, json, on_every_setup};

on_every_setup! {
    what_is_not_counted_yet_reads_right_and_is_counted_on_touch,
    old_rows_are_counted_while_the_service_runs,
}

/// Tweets of the first release; number n has n % 7 likes, n % 3 comments, and each of its
/// comments n % 4 likes.
const TWEETS: i64 = 9_000;

/// Where the comments of a tweet begin.
fn first_comment(tweet: i64) -> i64 {
    tweet * 10
}

fn old_data(setup: Setup) -> String {
    let numbers = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {TWEETS}), \
         k(j) AS (SELECT 0 UNION ALL SELECT j + 1 FROM k WHERE j < 6)"
    );
    format!(
        "INSERT INTO users (id, username, email, password_hash, disabled, created_at) \
         {numbers} SELECT 6000 + j, 'old' || j, 'old' || j || '@example.com', '', FALSE, 1 FROM k; \
         INSERT INTO profiles (user_id, tweets_count) \
         SELECT id, CASE id WHEN 6000 THEN {TWEETS} ELSE 0 END FROM users; \
         INSERT INTO tweets (id, user_id, content, created_at, delivered_at) {numbers} \
         SELECT i, 6000, 'an old tweet', i, i FROM n; \
         INSERT INTO newsfeeds (user_id, created_at, tweet_id) {numbers} \
         SELECT 6000, i, i FROM n; \
         INSERT INTO comments (id, tweet_id, user_id, content, created_at) {numbers} \
         SELECT i * 10 + j, i, 6000, 'an old comment', j + 1 FROM n CROSS JOIN k \
         WHERE j < i % 3; \
         INSERT INTO likes (user_id, kind, object_id, created_at) {numbers} \
         SELECT 6000 + j, 1, i, j + 1 FROM n CROSS JOIN k WHERE j < i % 7; \
         INSERT INTO likes (user_id, kind, object_id, created_at) {numbers} \
         SELECT 6000 + k.j, 2, i * 10 + c.j, k.j + 1 FROM n CROSS JOIN k \
         CROSS JOIN k AS c WHERE k.j < i % 4 AND c.j < i % 3; \
         UPDATE timeline_clock SET last_at = {TWEETS} WHERE shard = 0; {}",
        // PostgreSQL does not learn from rows that bring their ids with them.
        match setup {
            Setup::Sqlite => "",
            Setup::Postgres | Setup::PostgresRedis =>
                "SELECT setval(pg_get_serial_sequence('tweets', 'id'), 1000000), \
                 setval(pg_get_serial_sequence('comments', 'id'), 1000000)",
        }
    )
}

const UNCOUNTED: &str = "SELECT (SELECT count(*) FROM tweets WHERE likes_count IS NULL \
     OR comments_count IS NULL) + (SELECT count(*) FROM comments WHERE likes_count IS NULL) AS n";

/// What a reader must see of a tweet, now and at any time, `more` likes and comments on top.
#[track_caller]
fn assert_reads_right(reader: &Client, tweet: i64, more_likes: i64, more_comments: i64) {
    let page = reader.tweet_page(tweet);
    assert_eq!(page["likes_count"], tweet % 7 + more_likes, "likes of {tweet}");
    assert_eq!(page["comments_count"], tweet % 3 + more_comments, "comments of {tweet}");
    let list = reader.get(&format!("/api/comments/?tweet_id={tweet}")).expect(200);
    let comments = list["comments"].as_array().unwrap();
    for comment in comments.iter().filter(|comment| id(comment) / 10 == tweet) {
        assert_eq!(comment["likes_count"], tweet % 4, "likes of a comment of {tweet}");
    }
}

fn what_is_not_counted_yet_reads_right_and_is_counted_on_touch(setup: Setup) {
    let mut app = App::on(setup).on_first_schema(old_data(setup)).start();
    let ann = app.sign_up("ann");
    wait_until_counted(&app);
    // Back to how the migration had left it, but with nobody to count: this moment must last.
    app.sigterm();
    app.sql_execute(
        "UPDATE tweets SET likes_count = NULL, comments_count = NULL, counts_version = 0; \
         UPDATE comments SET likes_count = NULL, counts_version = 0",
    );
    app.start_again();
    let all = app.sql(UNCOUNTED);
    assert_eq!(all, TWEETS * 2, "nothing is counted yet");
    for tweet in [1, 6, 13, 20, TWEETS - 2, TWEETS] {
        assert_reads_right(&ann, tweet, 0, 0);
    }
    // A change counts the row that it touches, exactly, and no other.
    for tweet in [20, 41] {
        ann.like("tweet", tweet);
        assert_reads_right(&ann, tweet, 1, 0);
        ann.unlike("tweet", tweet);
        assert_reads_right(&ann, tweet, 0, 0);
        ann.comment(tweet, "a new one");
        assert_reads_right(&ann, tweet, 0, 1);
        let comment = first_comment(tweet);
        ann.like("comment", comment);
        ann.unlike("comment", comment);
        assert_reads_right(&ann, tweet, 0, 1);
    }
    assert_eq!(app.sql(UNCOUNTED), all - 4, "two tweets and two comments were touched");
    app.assert_check_passes();

    app.sigterm();
    app.sql_execute(
        "UPDATE fanout_tasks SET finished_at = NULL, progress = 0 WHERE kind IN (4, 5)",
    );
    app.start_again();
    wait_until_counted(&app);
    assert_reads_right(&ann, 20, 0, 1);
    assert_reads_right(&ann, 13, 0, 0);
    app.quiesce();
    app.assert_counts_match_rows();
    app.assert_check_passes();
}

fn wait_until_counted(app: &App) {
    let asked = Instant::now();
    while app.sql(UNCOUNTED) > 0 {
        assert!(asked.elapsed() < Duration::from_secs(60), "still not counted");
        thread::sleep(Duration::from_millis(10));
    }
}

fn old_rows_are_counted_while_the_service_runs(setup: Setup) {
    let app = App::on(setup).on_first_schema(old_data(setup)).start();
    let users: Vec<Client> = (0..4).map(|n| app.sign_up(&format!("user{n}"))).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for (number, user) in users.iter().enumerate() {
            let over = &over;
            scope.spawn(move || {
                // Each user has tweets of their own, from both ends to the middle.
                for step in 0.. {
                    let at = step % (TWEETS / 8) * 4 + number as i64;
                    for tweet in [1 + at, TWEETS - at] {
                        assert_reads_right(user, tweet, 0, 0);
                        user.like("tweet", tweet);
                        assert_reads_right(user, tweet, 1, 0);
                        user.unlike("tweet", tweet);
                    }
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        wait_until_counted(&app);
        over.store(true, Ordering::Relaxed);
    });
    for tweet in (1..TWEETS).step_by(500) {
        assert_reads_right(&users[0], tweet, 0, 0);
    }
    app.quiesce();
    app.assert_counts_match_rows();
    app.assert_check_passes();
    let later = users[0].tweet("after the upgrade");
    users[1].like("tweet", id(&later));
    users[1].post("/api/comments/", json!({"tweet_id": id(&later), "content": "new"})).expect(201);
    assert_eq!(users[0].tweet_page(id(&later))["likes_count"], 1);
}
