//! Starting, stopping, and being killed: what was acknowledged stays.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{App, Client, Value, effort, id, ids, json, on_every_setup};

on_every_setup! {
    an_empty_directory_becomes_a_data_directory,
    everything_acknowledged_survives_a_kill,
    a_kill_under_load_loses_nothing_acknowledged,
    a_polite_stop_is_quick_and_clean,
    a_stop_right_after_the_start_is_clean,
    a_polite_stop_under_load_loses_nothing_acknowledged,
    a_request_under_way_is_answered_before_the_stop,
    sessions_and_photos_outlive_a_restart,
    times_never_go_back_across_a_restart,
}

fn an_empty_directory_becomes_a_data_directory(app: App) {
    // The harness names a directory that does not exist yet.
    assert!(app.data_dir().is_dir());
    assert!(app.base_url().starts_with("http://127.0.0.1:"));
    app.sign_up("ann").tweet("first words");
}

fn everything_acknowledged_survives_a_kill(mut app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    bob.follow(&ann);
    let tweet = id(&ann.tweet("remember me"));
    let comment = id(&bob.comment(tweet, "I will"));
    bob.like("tweet", tweet);
    ann.like("comment", comment);
    let deleted = id(&ann.tweet("forget me"));
    ann.delete(&format!("/api/tweets/{deleted}/")).expect(200);
    ann.put(&format!("/api/profiles/{}/", ann.id), json!({"nickname": "Anne"})).expect(200);
    app.kill9();
    app.start_again();

    let page = bob.tweet_page(tweet);
    assert_eq!((&page["likes_count"], &page["comments_count"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&page["has_liked"], &page["comments"][0]["likes_count"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(ids(&Value::Array(ann.tweets_of(&ann)), "id"), [tweet]);
    let profile = bob.get(&format!("/api/profiles/{}/", ann.id)).expect(200);
    assert_eq!((&profile["nickname"], &profile["has_followed"]), (&json!("Anne"), &json!(true)));
    app.quiesce();
    // What was under way goes on after the restart, and is done once.
    assert_eq!(bob.feed_ids(), [tweet]);
    assert_eq!(ann.feed_ids(), [tweet]);
    assert_eq!(ann.notifications().len(), 2);
    assert_eq!(bob.notifications().len(), 1);
    app.assert_counts_match_rows();
}

/// What one writer was told, and what all of them may watch.
#[derive(Default)]
struct Load {
    acknowledged: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    /// Posts tweets and comments until the load is over; the ids that were acknowledged.
    fn write(&self, client: &Client, target: i64) -> (Vec<i64>, Vec<i64>) {
        let (mut tweets, mut comments) = (Vec::new(), Vec::new());
        let post = |path: &str, body: Value| -> Option<i64> {
            let answer = client.request("POST", path).json(&body).open().ok()?;
            // A server that ends in the middle of an answer has not acknowledged.
            let created = answer.status() == 201;
            let body: Value = serde_json::from_slice(&answer.bytes().ok()?).ok()?;
            self.acknowledged.fetch_add(usize::from(created), Ordering::Relaxed);
            created.then(|| id(&body))
        };
        while !self.over.load(Ordering::Relaxed) {
            tweets.extend(post("/api/tweets/", json!({"content": "under load"})));
            comments.extend(post("/api/comments/", json!({"tweet_id": target, "content": "too"})));
        }
        (tweets, comments)
    }

    /// Lets the writers loose, ends the server once the load is under way, and tells what
    /// each writer holds an acknowledgement for.
    fn run(
        &self,
        writers: &[Client],
        target: i64,
        end: impl FnOnce(),
    ) -> Vec<(Vec<i64>, Vec<i64>)> {
        thread::scope(|scope| {
            let running: Vec<_> =
                writers.iter().map(|writer| scope.spawn(|| self.write(writer, target))).collect();
            let begun = Instant::now();
            while self.acknowledged.load(Ordering::Relaxed) < 50 {
                assert!(begun.elapsed() < Duration::from_secs(30), "hardly a write goes through");
                thread::sleep(Duration::from_millis(1));
            }
            end();
            self.over.store(true, Ordering::Relaxed);
            running.into_iter().map(|writer| writer.join().unwrap()).collect()
        })
    }
}

fn a_kill_under_load_loses_nothing_acknowledged(mut app: App) {
    let writers = ["ann", "bob", "eve", "dan"].map(|name| app.sign_up(name));
    let reader = app.sign_up("reader");
    for writer in &writers {
        reader.follow(writer);
    }
    let target = id(&reader.tweet("comment on this"));
    let mut dice = StdRng::seed_from_u64(effort::seed("a kill under load"));
    let (kills, mut promises) = (effort::rounds(1), 0);
    for _ in 0..kills {
        let acknowledged = Load::default().run(&writers, target, || {
            // Anywhere between two writes.
            thread::sleep(Duration::from_micros(dice.random_range(0..50_000)));
            app.kill9();
        });
        app.start_again();
        app.quiesce();
        assert_nothing_is_lost(&app, &reader, &writers, &acknowledged);
        let count = reader.tweet_page(target)["comments_count"].as_i64().unwrap();
        assert_eq!(count, app.sql("SELECT count(*) AS n FROM comments"));
        promises += acknowledged.iter().map(|(a, b)| a.len() + b.len()).sum::<usize>();
    }
    println!("{:?}: {kills} kills, {promises} acknowledged writes", app.setup);
}

fn assert_nothing_is_lost(
    app: &App,
    reader: &Client,
    writers: &[Client],
    acknowledged: &[(Vec<i64>, Vec<i64>)],
) {
    let feed = ids(&Value::Array(reader.walk("/api/newsfeeds/?page_size=100")), "tweet.id");
    let mut once = feed.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), feed.len(), "a delivery was repeated");
    for (writer, (tweets, comments)) in writers.iter().zip(acknowledged) {
        let path = format!("/api/tweets/?user_id={}&page_size=100", writer.id);
        let stored = ids(&Value::Array(reader.walk(&path)), "id");
        for tweet in tweets {
            assert!(stored.contains(tweet), "tweet {tweet} was acknowledged and lost");
        }
        // What was stored but not acknowledged may exist; then the followers have it, too.
        assert!(stored.iter().all(|tweet| feed.contains(tweet)), "a delivery was lost");
        let query = format!("SELECT id AS n FROM comments WHERE user_id = {}", writer.id);
        let stored = app.sql_list(&query);
        assert!(comments.iter().all(|comment| stored.contains(comment)), "a comment was lost");
    }
    app.assert_counts_match_rows();
}

fn a_polite_stop_is_quick_and_clean(mut app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    bob.follow(&ann);
    let tweets = ann.tweets(5);
    bob.like("tweet", tweets[0]);
    // An idle connection, kept alive by the client, must not hold the stop up.
    let idle = TcpStream::connect(app.base_url().replace("http://", "")).unwrap();
    let asked = Instant::now();
    assert_eq!(app.sigterm(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    drop(idle);
    app.start_again();
    app.quiesce();
    assert_eq!(bob.feed_ids().len(), 5);
    app.assert_counts_match_rows();
}

fn a_stop_right_after_the_start_is_clean(mut app: App) {
    // Whoever has read that it listens may ask it to stop at once.
    for _ in 0..5 {
        app.restart();
    }
    assert_eq!(app.sigterm(), Some(0));
}

fn a_polite_stop_under_load_loses_nothing_acknowledged(mut app: App) {
    let writers = ["ann", "bob", "eve", "dan"].map(|name| app.sign_up(name));
    let target = id(&writers[0].tweet("comment on this"));
    let acknowledged = Load::default().run(&writers, target, || {
        let asked = Instant::now();
        assert_eq!(app.sigterm(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    });
    app.start_again();
    app.quiesce();
    let tweets = app.sql_list("SELECT id AS n FROM tweets");
    let comments = app.sql_list("SELECT id AS n FROM comments");
    for (acknowledged_tweets, acknowledged_comments) in acknowledged {
        assert!(acknowledged_tweets.iter().all(|tweet| tweets.contains(tweet)));
        assert!(acknowledged_comments.iter().all(|comment| comments.contains(comment)));
    }
    app.assert_counts_match_rows();
}

fn a_request_under_way_is_answered_before_the_stop(mut app: App) {
    let ann = app.sign_up("ann");
    let address = app.base_url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let body = br#"{"content":"the last one"}"#;
    let head = format!(
        "POST /api/tweets/ HTTP/1.1\r\nHost: {address}\r\nCookie: {}\r\nExpect: 100-continue\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        ann.cookie_header(),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // "100 Continue" proves that the server is at work on the request.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");

    app.begin_sigterm();
    let asked = Instant::now();
    // It has understood once it takes no new connections.
    while TcpStream::connect(&address).is_ok() {
        assert!(asked.elapsed() < Duration::from_secs(5), "still accepting after SIGTERM");
        thread::sleep(Duration::from_millis(5));
    }
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(app.wait_for_exit(), Some(0));
    app.start_again();
    assert_eq!(ann.feed().len(), 1);
}

fn sessions_and_photos_outlive_a_restart(mut app: App) {
    let ann = app.sign_up("ann");
    let bearer = ann.with_bearer();
    let png = crate::harness::photo::png();
    let files = [("files", "a.png", &png[..])];
    let tweet = ann.post_multipart("/api/tweets/", &[("content", "look")], &files).expect(201);
    app.restart();
    assert_eq!(ann.feed_ids(), [id(&tweet)]);
    bearer.get("/api/newsfeeds/").expect(200);
    let url = tweet["photo_urls"][0].as_str().unwrap();
    assert_eq!(app.anonymous().get(url).status, 200);
}

fn times_never_go_back_across_a_restart(mut app: App) {
    let ann = app.sign_up("ann");
    let mut entries = Vec::new();
    for round in 0..3 {
        ann.tweets(3);
        if round % 2 == 0 {
            app.kill9();
            app.start_again();
        } else {
            app.restart();
        }
        entries = ids(&Value::Array(ann.feed()), "id");
        assert!(entries.is_sorted_by(|newer, older| newer > older), "{entries:?}");
    }
    assert_eq!(entries.len(), 9);
}
