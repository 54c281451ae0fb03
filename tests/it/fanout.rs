//! Deliveries as clients and operators see them: failure modes 6, 10 and 18, and the books.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::followers;
use crate::harness::{App, Client, Value, effort, id, ids, on_every_setup};

on_every_setup! {
    failure_mode_06_what_becomes_visible_later_has_a_later_time,
    failure_mode_10_a_post_and_its_delete_at_once_leave_nothing,
    failure_mode_18_a_large_author_holds_up_nobody,
    a_burst_of_several_authors_is_delivered_once_in_bounded_memory,
    a_long_back_fill_arrives_completely,
    the_books_tell_where_deliveries_stand,
}

const LIMIT: Duration = Duration::from_secs(60);

/// Failure mode 6: several authors and followers at once; a reader who polls for what is newer
/// than the newest entry so far sees everything, in order.
fn failure_mode_06_what_becomes_visible_later_has_a_later_time(app: App) {
    let authors: Vec<Client> = ["ann", "bob", "eve"].map(|name| app.sign_up(name)).into();
    let reader = app.sign_up("reader");
    for author in &authors {
        followers::add(&app, author.id, 300);
        reader.follow(author);
    }
    const EACH: usize = 15;
    let mut polled: Vec<i64> = Vec::new();
    let mut newest = "2000-01-01T00:00:00Z".to_owned();
    thread::scope(|scope| {
        for author in &authors {
            scope.spawn(|| author.tweets(EACH));
        }
        let begun = Instant::now();
        while polled.len() < EACH * authors.len() {
            assert!(begun.elapsed() < LIMIT, "{} entries were polled", polled.len());
            let page = reader.get(&format!("/api/newsfeeds/?created_at__gt={newest}")).expect(200);
            if let Some(at) = page["results"][0]["created_at"].as_str() {
                newest = at.to_owned();
            }
            polled.extend(ids(&page["results"], "tweet.id").into_iter().rev());
        }
    });
    app.quiesce();
    let feed = ids(&Value::Array(reader.walk("/api/newsfeeds/?page_size=100")), "tweet.id");
    polled.reverse();
    assert_eq!(polled, feed, "what was polled, and what is there in the end");
    let stored = format!(
        "SELECT tweet_id AS n FROM newsfeeds WHERE user_id = {} ORDER BY created_at DESC",
        reader.id
    );
    assert_eq!(app.sql_list(&stored), feed);
}

/// Failure mode 10.
fn failure_mode_10_a_post_and_its_delete_at_once_leave_nothing(app: App) {
    let tries = if effort::is_long() { 500 } else { 40 };
    let authors: Vec<Client> = ["ann", "bob"].map(|name| app.sign_up(name)).into();
    let reader = app.sign_up("reader");
    for author in &authors {
        followers::add(&app, author.id, 600);
        reader.follow(author);
    }
    thread::scope(|scope| {
        for author in &authors {
            scope.spawn(|| {
                for _ in 0..tries / 2 {
                    let tweet = id(&author.tweet("never mind"));
                    author.delete(&format!("/api/tweets/{tweet}/")).expect(200);
                }
            });
        }
        // A reader's cache must not keep what it has seen in between.
        for _ in 0..tries / 4 {
            reader.feed();
        }
    });
    followers::wait_until_delivered(&app, LIMIT);
    assert_eq!(app.sql("SELECT count(*) AS n FROM newsfeeds"), 0);
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 0);
    for person in authors.iter().chain([&reader]) {
        assert_eq!(person.feed_ids(), [0; 0], "{}", person.username);
    }
    app.flush_redis();
    assert_eq!(reader.feed_ids(), [0; 0]);
}

/// Failure mode 18, without a clock: while ten tweets are on their way to thousands, somebody
/// else's arrives and pages are read.
fn failure_mode_18_a_large_author_holds_up_nobody(app: App) {
    const FOLLOWERS: i64 = 5_000;
    const TWEETS: i64 = 10;
    let (large, small) = (app.sign_up("large"), app.sign_up("small"));
    let reader = app.sign_up("reader");
    followers::add(&app, large.id, FOLLOWERS);
    reader.follow(&small);
    large.tweets(TWEETS as usize);
    let asked = Instant::now();
    let tweet = id(&small.tweet("me too"));
    let mut reads = 0;
    while !reader.feed_ids().contains(&tweet) {
        reads += 1;
        assert!(asked.elapsed() < LIMIT, "{reads} reads");
    }
    let entries = app.sql("SELECT count(*) AS n FROM newsfeeds WHERE user_id >= 100000");
    assert!(entries < FOLLOWERS * TWEETS, "the small author was served after the large one");
    followers::wait_until_delivered(&app, LIMIT);
    followers::assert_delivered_once(&app, 0);
}

/// Memory that deliveries may take, in KiB, whatever the number of followers and of tweets that
/// wait: the database's page cache on SQLite, the readers of a few transactions, and room for
/// what the allocator keeps.
const ROOM_KIB: u64 = 64 * 1024;

/// With `ROOST_TEST_FULL_LENGTH=1` one of them has 1,000,000 followers.
fn a_burst_of_several_authors_is_delivered_once_in_bounded_memory(app: App) {
    let (largest, others) = (effort::lasting(10_000, 1_000_000), effort::lasting(1_000, 100_000));
    let tweets = effort::lasting(5, 10);
    let authors: Vec<Client> = ["ann", "bob", "eve", "joe"].map(|name| app.sign_up(name)).into();
    for (place, author) in authors.iter().enumerate() {
        followers::add(&app, author.id, if place == 0 { largest } else { others });
    }
    let before = app.memory_kib();
    thread::scope(|scope| {
        for author in &authors {
            scope.spawn(|| author.tweets(tweets));
        }
    });
    let took = followers::wait_until_delivered(&app, effort::lasting(LIMIT, 10 * LIMIT));
    let grown = app.peak_memory_kib().saturating_sub(before);
    println!("{:?}: {took:?} after the last post, {grown} KiB more", app.setup);
    assert!(grown < ROOM_KIB, "memory grew by {grown} KiB");
    followers::assert_delivered_once(&app, 0);
}

/// A follow brings the first tweets at once and the rest by a task, without a gap or a repeat.
fn a_long_back_fill_arrives_completely(setup: crate::harness::Setup) {
    let app = App::on(setup).env("ROOST_BACKFILL", "180").start();
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweets = ann.tweets(170);
    bob.follow(&ann);
    assert_eq!(bob.feed_ids()[0], tweets[169], "the latest are there at once");
    app.quiesce();
    let mut feed = ids(&Value::Array(bob.walk("/api/newsfeeds/?page_size=100")), "tweet.id");
    feed.reverse();
    assert_eq!(feed, tweets);
    bob.unfollow(&ann);
    app.quiesce();
    assert_eq!(bob.feed_ids(), [0; 0]);
}

fn the_books_tell_where_deliveries_stand(app: App) {
    let ann = app.sign_up("ann");
    followers::add(&app, ann.id, 700);
    let tweets = ann.tweets(2);
    app.quiesce();
    assert_eq!(app.metric("roost_fanout_deliveries_total"), Some(1_400.0));
    let text = app.anonymous().get("/metrics").expect_text(200);
    for name in [
        "roost_fanout_tasks_open 0",
        "roost_fanout_tasks_failing 0",
        "roost_fanout_tasks_parked 0",
        "roost_fanout_oldest_undelivered_seconds ",
        "roost_fanout_chunk_seconds_count{kind=\"deliver\"} ",
        "roost_fanout_round_seconds_count ",
        "roost_fanout_task_seconds_count{kind=\"deliver\"} 2",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}: {text}");
    }
    let finished = |log: &str| log.lines().filter(|line| line.contains("task finished")).count();
    let log = app.wait_for_log(|log| finished(log) >= tweets.len());
    assert_eq!(finished(&log), tweets.len(), "one line for each: {log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("task finished")).collect();
    for word in ["took_ms", "work_ms", "rows", "700", "deliver"] {
        assert!(lines.iter().all(|line| line.contains(word)), "{word}: {lines:?}");
    }
    // A delivery that is ended by a delete says so.
    let doomed = id(&ann.tweet("never mind"));
    ann.delete(&format!("/api/tweets/{doomed}/")).expect(200);
    app.quiesce();
    app.wait_for_log(|log| log.contains("retract"));
}
