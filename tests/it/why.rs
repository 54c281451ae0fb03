//! `roost why`: what an operator is told about one tweet and one reader.

use crate::harness::{App, Setup, followers, id, on_every_setup};

on_every_setup! {
    it_tells_what_is_there_and_where,
    it_tells_what_redis_has,
    it_tells_why_a_tweet_is_not_there,
    it_tells_how_far_a_delivery_has_come,
    it_cannot_tell_of_nobody,
}

/// Its exit status and what it says.
fn why(app: &App, user: &str, tweet: i64, more: &[&str]) -> (Option<i32>, String) {
    let number = tweet.to_string();
    let mut args = vec!["why", user, &number];
    args.extend(more);
    let ran = app.roost(&args);
    (ran.status, ran.text + &ran.errors)
}

#[track_caller]
fn says(app: &App, user: &str, tweet: i64, status: i32, words: &[&str]) {
    let (found, text) = why(app, user, tweet, &[]);
    assert_eq!(found, Some(status), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?}: {text}");
    }
}

/// The metrics address that the server has logged.
fn metrics_address(app: &App) -> String {
    let names_it = |line: &&str| line.contains("127.0.0.1:") && line.contains("metrics");
    let log = app.wait_for_log(|log| log.lines().any(|line| names_it(&line)));
    let line = log.lines().find(names_it).unwrap();
    let at = line.rfind("127.0.0.1:").unwrap();
    line[at..].chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect()
}

fn it_tells_what_is_there_and_where(setup: Setup) {
    let app = App::on(setup).env("ROOST_METRICS_LISTEN", "127.0.0.1:0").start();
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let early = id(&ann.tweet("early"));
    bob.follow(&ann);
    let late = id(&ann.tweet("late"));
    let begun = std::time::Instant::now();
    while bob.feed().len() < 2 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    }
    says(&app, "ann", late, 0, &["It is there", "own"]);
    says(&app, "bob", early, 0, &["It is there", "back-filled"]);
    says(&app, &bob.id.to_string(), late, 0, &["It is there", "delivered at", "deliver"]);
    says(&app, "@BOB", late, 0, &["database  yes", "memory    not looked at"]);
    let (status, text) = why(&app, "bob", late, &["--node", &metrics_address(&app)]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("memory    yes"), "{text}");
    // What is in memory is nobody else's business: not on the main address.
    let path = format!("/debug/feeds/{}/{late}", bob.id);
    assert_eq!(app.anonymous().get(&path).status, 404);
}

fn it_tells_what_redis_has(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    bob.follow(&ann);
    let tweet = id(&ann.tweet("hello"));
    app.quiesce();
    if app.setup != Setup::PostgresRedis {
        says(&app, "bob", tweet, 0, &["Redis     not configured"]);
        return;
    }
    says(&app, "bob", tweet, 0, &["Redis     no list of this feed"]);
    let asked = std::time::Instant::now();
    while app.metric("roost_redis_up") != Some(1.0) {
        assert!(asked.elapsed() < std::time::Duration::from_secs(20), "Redis is not used");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    bob.feed();
    says(&app, "bob", tweet, 0, &["Redis     yes, among the newest 1"]);
    app.flush_redis();
    says(&app, "bob", tweet, 0, &["Redis     no list of this feed"]);
}

fn it_tells_why_a_tweet_is_not_there(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("hello"));
    says(&app, "bob", tweet, 1, &["It is not there", "does not follow the author"]);
    bob.follow(&ann);
    let second = id(&ann.tweet("again"));
    app.quiesce();
    bob.unfollow(&ann);
    app.quiesce();
    says(&app, "bob", tweet, 1, &["removed by the unfollow at"]);
    let after = id(&ann.tweet("without you"));
    says(&app, "bob", after, 1, &["not a follower at that time"]);
    bob.follow(&ann);
    app.quiesce();
    says(&app, "bob", second, 0, &["back-filled"]);
    ann.delete(&format!("/api/tweets/{second}/")).expect(200);
    app.quiesce();
    says(&app, "bob", second, 1, &["was deleted at"]);
    says(&app, "bob", 4_000_000, 1, &["there is no such tweet"]);
}

fn it_tells_how_far_a_delivery_has_come(mut app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    followers::add(&app, ann.id, 8);
    let tweet = id(&ann.tweet("hello"));
    app.quiesce();
    app.sigterm();
    // As a node leaves it that dies after the third follower; the fourth has met an error.
    let third = followers::FIRST + 2;
    app.sql_list(&format!("DELETE FROM newsfeeds WHERE user_id > {third} RETURNING user_id AS n"));
    app.sql_list("UPDATE tweets SET delivered_at = NULL RETURNING id AS n");
    app.sql_list(&format!(
        "UPDATE fanout_tasks SET finished_at = NULL, progress = {third}, attempts = 2, \
         retry_at = 1, last_error = 'no room' RETURNING id AS n"
    ));
    app.sql_list(&format!(
        "INSERT INTO friendships (from_user_id, to_user_id, created_at) \
         VALUES ({}, {}, 1) RETURNING from_user_id AS n",
        bob.id, ann.id
    ));
    // Bob comes before all of them: his entry was there, and something has taken it.
    says(&app, "bob", tweet, 1, &["nothing explains it", "open, failed 2 times", "no room"]);
    app.sql_list("UPDATE fanout_tasks SET progress = 0 RETURNING id AS n");
    says(&app, "bob", tweet, 1, &["is on its way", "follower 0 of 9", "failed 2 times"]);
    app.sql_list(&format!("UPDATE fanout_tasks SET progress = {third} RETURNING id AS n"));
    app.start_again();
    app.quiesce();
    let feeds = app.sql("SELECT count(DISTINCT user_id) AS n FROM newsfeeds");
    assert_eq!(feeds, 9, "the delivery went on where it stood");
}

fn it_cannot_tell_of_nobody(app: App) {
    app.sign_up("ann").tweet("hello");
    says(&app, "nobody", 1, 2, &["error: there is no user nobody"]);
    let ran = app.roost(&["why", "ann", "first"]);
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert_eq!(ran.errors.trim_end().lines().count(), 1, "{ran:?}");
    let ran = app.roost(&["why", "--help"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.text.contains("--node") && ran.text.contains("0 when the tweet"), "{ran:?}");
}
