//! Home timelines: who gets what, in which order, and what leaves again.

use crate::harness::{App, Setup, Value, id, ids, json, on_every_setup, shape};

on_every_setup! {
    a_tweet_reaches_its_author_and_the_followers,
    an_entry_has_an_id_and_a_time_of_its_own,
    entries_show_what_the_reader_did,
    following_brings_the_latest_tweets,
    the_number_of_tweets_brought_is_a_setting,
    unfollowing_takes_the_tweets_away,
    what_stays_after_an_unfollow_is_not_doubled_by_the_next_follow,
    a_feed_is_the_same_from_every_cache,
    a_feed_is_private,
}

const FEED: &str = "/api/newsfeeds/";

fn a_tweet_reaches_its_author_and_the_followers(app: App) {
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| app.sign_up(name));
    assert_eq!(ann.get(FEED).expect(200), json!({"has_next_page": false, "results": []}));
    ann.follow(&bob);
    let first = id(&bob.tweet("one"));
    let own = id(&ann.tweet("mine"));
    let second = id(&bob.tweet("two"));
    app.quiesce();
    assert_eq!(ann.feed_ids(), [second, own, first]);
    assert_eq!(bob.feed_ids(), [second, first]);
    assert_eq!(eve.feed_ids(), [0_i64; 0]);
}

fn an_entry_has_an_id_and_a_time_of_its_own(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    bob.tweets(3);
    app.quiesce();
    let entries = ann.feed();
    entries.iter().for_each(shape::feed_entry);
    let expected = app.sql_list(&format!(
        "SELECT created_at AS n FROM newsfeeds WHERE user_id = {} ORDER BY created_at DESC",
        ann.id
    ));
    assert_eq!(
        ids(&Value::Array(entries.clone()), "id"),
        expected,
        "the id is the time in microseconds"
    );
    for entry in &entries {
        let time = chrono::DateTime::parse_from_rfc3339(entry["created_at"].as_str().unwrap());
        assert_eq!(time.unwrap().timestamp_micros(), id(entry));
    }
}

fn entries_show_what_the_reader_did(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let tweet = id(&bob.tweet("like me"));
    app.quiesce();
    ann.feed();
    bob.feed();
    ann.like("tweet", tweet);
    ann.comment(tweet, "nice");
    let (seen_by_ann, seen_by_bob) = (ann.feed(), bob.feed());
    for (entries, has_liked) in [(&seen_by_ann, true), (&seen_by_bob, false)] {
        let shown = &entries[0]["tweet"];
        assert_eq!((&shown["likes_count"], &shown["comments_count"]), (&json!(1), &json!(1)));
        assert_eq!(shown["has_liked"], has_liked);
    }
}

fn following_brings_the_latest_tweets(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let old = bob.tweets(25);
    let own = id(&ann.tweet("mine, before the follow"));
    ann.feed();
    ann.follow(&bob);
    app.quiesce();
    let mut expected = vec![own];
    expected.extend(old[5..].iter().rev());
    let walked = ann.walk(&format!("{FEED}?page_size=10"));
    assert_eq!(ids(&Value::Array(walked), "tweet.id"), expected, "twenty, in their own time");

    // Following again, or after an unfollow, never doubles an entry.
    ann.follow(&bob);
    ann.unfollow(&bob);
    ann.follow(&bob);
    app.quiesce();
    let walked = ann.walk(&format!("{FEED}?page_size=10"));
    assert_eq!(ids(&Value::Array(walked), "tweet.id"), expected);
}

fn the_number_of_tweets_brought_is_a_setting(setup: Setup) {
    let app = App::on(setup).env("ROOST_BACKFILL", "2").start();
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweets = bob.tweets(4);
    ann.follow(&bob);
    app.quiesce();
    assert_eq!(ann.feed_ids(), [tweets[3], tweets[2]]);
}

fn unfollowing_takes_the_tweets_away(app: App) {
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| app.sign_up(name));
    ann.follow(&bob);
    ann.follow(&eve);
    let mut kept = Vec::new();
    for _ in 0..12 {
        bob.tweet("by bob");
        kept.push(id(&eve.tweet("by eve")));
        bob.tweet("by bob again");
    }
    app.quiesce();
    ann.feed();
    ann.unfollow(&bob);
    app.quiesce();
    kept.reverse();
    assert_eq!(ann.feed_ids(), kept);
    bob.tweet("unheard");
    app.quiesce();
    app.flush_redis();
    assert_eq!(ann.feed_ids(), kept);
}

fn a_feed_is_the_same_from_every_cache(mut app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    bob.tweets(23);
    ann.tweets(2);
    app.quiesce();
    let truth = app.sql_list(&format!(
        "SELECT tweet_id AS n FROM newsfeeds WHERE user_id = {} ORDER BY created_at DESC",
        ann.id
    ));
    assert_eq!(truth.len(), 25);
    let walk = || ids(&Value::Array(ann.walk(&format!("{FEED}?page_size=7"))), "tweet.id");
    assert_eq!(walk(), truth, "cold");
    assert_eq!(walk(), truth, "warm");
    app.restart();
    assert_eq!(walk(), truth, "after a restart, from Redis where there is one");
    app.flush_redis();
    assert_eq!(walk(), truth, "with Redis emptied under a running server");
    app.restart();
    assert_eq!(walk(), truth, "with nothing but the database");
}

fn a_feed_is_private(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.tweet("for ann");
    let message = "Authentication credentials were not provided.";
    app.anonymous().get(FEED).refused(403, message);
    // A user_id in the query opens nobody else's feed.
    let seen = bob.get(&format!("{FEED}?user_id={}", ann.id)).expect(200);
    assert_eq!(seen["results"], json!([]));
    app.anonymous().post(FEED, json!({})).refused(403, message);
    bob.post(FEED, json!({})).refused(405, "Method \"POST\" not allowed.");
}

fn what_stays_after_an_unfollow_is_not_doubled_by_the_next_follow(setup: Setup) {
    let app = App::on(setup).env("ROOST_REMOVE_ON_UNFOLLOW", "off").start();
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let before = id(&bob.tweet("before the follow"));
    ann.follow(&bob);
    let delivered = bob.tweets(3);
    app.quiesce();
    ann.unfollow(&bob);
    let missed = id(&bob.tweet("nobody follows"));
    let mut expected = vec![before];
    expected.extend(&delivered);
    expected.reverse();
    assert_eq!(ann.feed_ids(), expected, "what was there stays");
    ann.follow(&bob);
    let new = id(&bob.tweet("after the follow"));
    app.quiesce();
    expected.splice(0..0, [new, missed]);
    assert_eq!(ann.feed_ids(), expected, "the back-fill brings what is missing");
    app.flush_redis();
    assert_eq!(ids(&Value::Array(ann.walk("/api/newsfeeds/?page_size=2")), "tweet.id"), expected);
}
