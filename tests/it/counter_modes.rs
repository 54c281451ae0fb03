//! What is known to break counters: cold keys, readers in between, toggling, deletion. Each test
//! is named after the failure mode that it is about, where that has a number.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{App, Client, Value, effort, id, json, on_every_setup, text};

on_every_setup! {
    mode_11_likes_on_a_cold_count_are_all_counted,
    mode_12_reads_of_a_cold_count_do_not_overwrite_likes,
    mode_15_a_hundred_clients_toggling_one_like_end_exact,
    a_tweet_that_many_like_goes_with_its_likes_while_likes_go_on,
    a_comment_that_many_like_goes_with_its_likes,
}

/// Runs a job for every client at the same moment.
fn together(clients: &[&Client], job: impl Fn(usize, &Client) + Sync) {
    let barrier = Barrier::new(clients.len());
    thread::scope(|scope| {
        for (number, client) in clients.iter().enumerate() {
            let (job, barrier) = (&job, &barrier);
            scope.spawn(move || {
                barrier.wait();
                job(number, client);
            });
        }
    });
}

fn crowd(app: &App, number: usize) -> Vec<Client> {
    (0..number).map(|n| app.sign_up(&format!("user{n}"))).collect()
}

/// Makes every cache of the counts cold: Redis is emptied, the process starts anew.
fn go_cold(app: &mut App) {
    app.restart();
    app.flush_redis();
}

fn assert_all_exact(app: &App, tweet: i64, likes: i64) {
    app.quiesce();
    app.assert_counts_match_rows();
    assert_eq!(app.anonymous().tweet_page(tweet)["likes_count"], likes);
    app.assert_check_passes();
}

/// A bare increment of a missing key turns 42 into 1.
fn mode_11_likes_on_a_cold_count_are_all_counted(mut app: App) {
    let users = crowd(&app, 10);
    let tweet = id(&users[0].tweet("like me"));
    let comment = id(&users[0].comment(tweet, "me too"));
    for user in &users[..4] {
        user.like("tweet", tweet);
        user.like("comment", comment);
    }
    for _ in 0..effort::rounds(2) {
        go_cold(&mut app);
        // Ten requests of each at once, of which one makes the row.
        let devices: Vec<&Client> = users.iter().cycle().take(100).collect();
        together(&devices, |number, user| match number < 50 {
            true => drop(user.like("tweet", tweet)),
            false => drop(user.like("comment", comment)),
        });
        let page = users[0].get(&format!("/api/comments/?tweet_id={tweet}")).expect(200);
        assert_eq!(page["comments"][0]["likes_count"], 10);
        assert_all_exact(&app, tweet, 10);
        for user in &users[4..] {
            user.unlike("tweet", tweet);
            user.unlike("comment", comment);
        }
        assert_all_exact(&app, tweet, 4);
    }
}

/// A reader that fills a cold cache must not put an older count over a newer one.
fn mode_12_reads_of_a_cold_count_do_not_overwrite_likes(mut app: App) {
    let users = crowd(&app, 10);
    let tweets = users[0].tweets(4);
    for round in 0..effort::rounds(3) {
        go_cold(&mut app);
        let devices: Vec<&Client> = users.iter().cycle().take(100).collect();
        together(&devices, |number, user| {
            let tweet = tweets[number % tweets.len()];
            match (number % 20 < 10, round % 2 == 0) {
                (true, _) => {
                    let likes = user.tweet_page(tweet)["likes_count"].as_i64().unwrap();
                    assert!((0..=10).contains(&likes), "{likes}");
                }
                (false, true) => drop(user.like("tweet", tweet)),
                (false, false) => drop(user.unlike("tweet", tweet)),
            }
        });
        for tweet in &tweets {
            let rows = format!("SELECT count(*) AS n FROM likes WHERE object_id = {tweet}");
            assert_eq!(users[0].tweet_page(*tweet)["likes_count"], app.sql(&rows));
        }
        app.quiesce();
        app.assert_counts_match_rows();
        app.assert_check_passes();
    }
}

/// Of one like that comes and goes, every answer must fit: as many were made as were taken back,
/// plus the one that may be left.
fn mode_15_a_hundred_clients_toggling_one_like_end_exact(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&bob.tweet("like me, like me not"));
    let until = Instant::now() + Duration::from_secs(effort::rounds(1) as u64);
    // Every like that was made has a time of its own, which repetitions are told, too.
    let made: Mutex<BTreeSet<String>> = Mutex::default();
    let taken_back = AtomicI64::new(0);
    together(&[&ann; 100], |number, ann| {
        for turn in number.. {
            if Instant::now() > until {
                return;
            }
            if turn % 2 == 0 {
                let like = ann.like("tweet", tweet);
                made.lock().unwrap().insert(text(&like["created_at"]));
            } else {
                let deleted = ann.unlike("tweet", tweet)["deleted"].as_i64().unwrap();
                taken_back.fetch_add(deleted, Ordering::Relaxed);
            }
            if number == 0 {
                let likes = bob.tweet_page(tweet)["likes_count"].as_i64().unwrap();
                assert!((0..=1).contains(&likes), "{likes} likes of one person");
            }
        }
    });
    let left = app.sql("SELECT count(*) AS n FROM likes");
    let made = made.into_inner().unwrap().len() as i64;
    assert!(made > 1, "nothing was toggled");
    assert_eq!(made, taken_back.into_inner() + left);
    assert_all_exact(&app, tweet, left);
    // Parallel cancels: one of them finds the like, and the count stops at zero.
    ann.like("tweet", tweet);
    let found = AtomicI64::new(0);
    together(&[&ann; 100], |_, ann| {
        let deleted = ann.unlike("tweet", tweet)["deleted"].as_i64().unwrap();
        found.fetch_add(deleted, Ordering::Relaxed);
    });
    assert_eq!(found.into_inner(), 1);
    assert_all_exact(&app, tweet, 0);
}

const MANY: i64 = 50_000;

/// Likes by people whose ids begin at a million.
fn many_likes(app: &App, kind: i64, object: i64) {
    let table = if kind == 1 { "tweets" } else { "comments" };
    app.sql_execute(&format!(
        "INSERT INTO likes (user_id, kind, object_id, created_at) \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) \
         SELECT 1000000 + i, {kind}, {object}, i FROM n; \
         UPDATE {table} SET likes_count = likes_count + {MANY}, \
         counts_version = counts_version + 1 WHERE id = {object}"
    ));
}

/// Waits until a query that counts what is left says zero.
fn wait_for_none(app: &App, query: &str) {
    let asked = Instant::now();
    while app.sql(query) > 0 {
        assert!(asked.elapsed() < Duration::from_secs(60), "{query}: still some");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Rows that a step of the tasks of this kind has removed, on average.
fn rows_per_step(app: &App, kind: i64) -> i64 {
    app.sql(&format!("SELECT max(rows_done / progress) AS n FROM fanout_tasks WHERE kind = {kind}"))
}

fn a_tweet_that_many_like_goes_with_its_likes_while_likes_go_on(app: App) {
    let users = crowd(&app, 4);
    let (doomed, kept) = (id(&users[0].tweet("too popular")), id(&users[0].tweet("stays")));
    many_likes(&app, 1, doomed);
    let comment = id(&users[1].comment(doomed, "so true"));
    users[2].like("comment", comment);
    users[3].like("tweet", doomed);
    let (over, refused) = (AtomicBool::new(false), AtomicI64::new(0));
    thread::scope(|scope| {
        for user in &users[1..] {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    storm_on(user, doomed, comment, &refused);
                    user.like("tweet", kept);
                    user.unlike("tweet", kept);
                }
            });
        }
        users[0].delete(&format!("/api/tweets/{doomed}/")).expect(200);
        users[0].get(&format!("/api/tweets/{doomed}/")).expect(404);
        wait_for_none(&app, &format!("SELECT count(*) AS n FROM tweets WHERE id = {doomed}"));
        over.store(true, Ordering::Relaxed);
    });
    assert!(refused.into_inner() > 0, "nobody came too late");
    assert_eq!(app.sql(&format!("SELECT count(*) AS n FROM likes WHERE object_id = {doomed}")), 0);
    assert_eq!(app.sql("SELECT count(*) AS n FROM comments"), 0);
    assert_eq!(app.sql("SELECT count(*) AS n FROM likes WHERE kind = 2"), 0);
    assert!(rows_per_step(&app, 7) <= 1_000, "in bounded steps");
    assert_all_exact(&app, kept, 0);
}

/// Likes and comments of what may be gone: yes or no, and never anything else.
fn storm_on(user: &Client, tweet: i64, comment: i64, refused: &AtomicI64) {
    let on = |kind: &str, id: i64| json!({"content_type": kind, "object_id": id});
    let requests: [(&str, Value, u16); 4] = [
        ("/api/likes/", on("tweet", tweet), 201),
        ("/api/likes/cancel/", on("tweet", tweet), 200),
        ("/api/likes/", on("comment", comment), 201),
        ("/api/comments/", json!({"tweet_id": tweet, "content": "still there?"}), 201),
    ];
    for (path, body, yes) in requests {
        let reply = user.post(path, body);
        assert!(reply.status == yes || reply.status == 400, "{}", reply.describe());
        refused.fetch_add(i64::from(reply.status == 400), Ordering::Relaxed);
    }
}

fn a_comment_that_many_like_goes_with_its_likes(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("talk"));
    let comment = id(&bob.comment(tweet, "too popular"));
    many_likes(&app, 2, comment);
    ann.like("comment", comment);
    let list = ann.get(&format!("/api/comments/?tweet_id={tweet}")).expect(200);
    assert_eq!(list["comments"][0]["likes_count"], MANY + 1);
    bob.delete(&format!("/api/comments/{comment}/")).expect(200);
    assert_eq!(ann.tweet_page(tweet)["comments_count"], 0);
    ann.post("/api/likes/", json!({"content_type": "comment", "object_id": comment})).expect(400);
    app.assert_check_passes();
    wait_for_none(&app, "SELECT count(*) AS n FROM likes");
    assert!(rows_per_step(&app, 9) <= 1_000, "in bounded steps");
    wait_for_none(&app, "SELECT count(*) AS n FROM fanout_tasks WHERE finished_at IS NULL");
    assert_all_exact(&app, tweet, 0);
}
