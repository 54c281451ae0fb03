//! Feeds that keep their newest entries only.

use std::time::{Duration, Instant};

use crate::harness::{App, Client, Setup, Value, ids, on_every_setup, roost_command};

on_every_setup! {
    a_feed_keeps_its_newest_entries_and_says_so,
    finished_tasks_go,
}

const KEEP: usize = 60;
const LIST_LIMIT: usize = 40;

fn rows(app: &App, reader: &Client) -> Vec<i64> {
    app.sql_list(&format!(
        "SELECT tweet_id AS n FROM newsfeeds WHERE user_id = {} ORDER BY created_at DESC",
        reader.id
    ))
}

#[track_caller]
fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let asked = Instant::now();
    while !is() {
        assert!(asked.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn a_feed_keeps_its_newest_entries_and_says_so(setup: Setup) {
    let app = App::on(setup)
        .env("ROOST_FEED_RETENTION", &KEEP.to_string())
        .env("ROOST_LIST_LIMIT", &LIST_LIMIT.to_string())
        .env("ROOST_TRIM_EVERY_S", "1")
        .start();
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    bob.follow(&ann);
    let walk = |path: &str| ids(&Value::Array(bob.walk(path)), "tweet.id");
    let mut tweets = Vec::new();
    for _ in 0..2 {
        // A resident timeline, and one that loads after it was trimmed.
        tweets.extend(ann.tweets(70));
        app.quiesce();
        eventually("trimmed", || [&ann, &bob].iter().all(|who| rows(&app, who).len() == KEEP));
        let expected: Vec<i64> = tweets.iter().rev().take(KEEP).copied().collect();
        assert_eq!(rows(&app, &bob), expected);
        for path in ["/api/newsfeeds/?page_size=7", "/api/newsfeeds/?page_size=20"] {
            assert_eq!(walk(path), expected, "{path}: to the end, and no page promises more");
        }
        app.flush_redis();
        assert_eq!(walk("/api/newsfeeds/?page_size=100"), expected);
        // Author lists are not feeds.
        let own = ann.walk(&format!("/api/tweets/?user_id={}&page_size=100", ann.id));
        assert_eq!(own.len(), tweets.len());
    }
    let ran = app.roost(&["why", "bob", &tweets[0].to_string()]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.text.contains("trimmed by retention"), "{ran:?}");
    let ran = app.roost(&["check"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
}

fn finished_tasks_go(setup: Setup) {
    let mut app = App::on(setup).env("ROOST_KEEP_TASKS_S", "0").start();
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    bob.follow(&ann);
    ann.tweets(3);
    app.quiesce();
    // Cleaning comes with the start, and then every minute.
    app.restart();
    eventually("gone", || app.sql("SELECT count(*) AS n FROM fanout_tasks") == 0);
    assert_eq!(bob.feed().len(), 3);
}

#[test]
fn a_retention_below_what_is_cached_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = roost_command()
        .arg("serve")
        .env("ROOST_LISTEN", "127.0.0.1:0")
        .env("ROOST_DATA_DIR", folder.path())
        .env("ROOST_FEED_RETENTION", "999")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let line = String::from_utf8_lossy(&output.stderr);
    assert!(line.contains("ROOST_FEED_RETENTION") && line.contains("ROOST_LIST_LIMIT"), "{line}");
}
