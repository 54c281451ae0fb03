//! Cursor pages: exact at every edge, and the same walk as the database's own order.

use crate::harness::{App, Setup, Value, id, ids, json, on_every_setup, shape, text};

on_every_setup! {
    a_walk_equals_the_order_in_the_database,
    pages_are_exact_at_their_edges,
    a_walk_goes_on_past_the_cache,
    polling_brings_what_is_newer,
    polling_is_bounded_and_says_so,
    a_window_between_two_times_is_paged,
    an_older_page_can_be_empty,
    a_deleted_tweet_never_shortens_a_page,
    page_sizes_have_limits,
    entries_at_one_author_keep_their_order_while_posts_arrive,
}

const FEED: &str = "/api/newsfeeds/";

/// The truth about a feed: its tweets, newest first.
fn feed_in_sql(app: &App, user_id: i64) -> Vec<i64> {
    app.sql_list(&format!(
        "SELECT tweet_id AS n FROM newsfeeds WHERE user_id = {user_id} ORDER BY created_at DESC"
    ))
}

/// The truth about an author's list.
fn tweets_in_sql(app: &App, user_id: i64) -> Vec<i64> {
    app.sql_list(&format!(
        "SELECT id AS n FROM tweets WHERE user_id = {user_id} AND deleted_at IS NULL \
         ORDER BY created_at DESC, id DESC"
    ))
}

fn a_walk_equals_the_order_in_the_database(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    for _ in 0..8 {
        ann.tweets(1);
        bob.tweets(2);
    }
    app.quiesce();
    let (feed, list) = (feed_in_sql(&app, ann.id), tweets_in_sql(&app, bob.id));
    assert_eq!((feed.len(), list.len()), (24, 16));
    for size in 1..=21 {
        let walked = ann.walk(&format!("{FEED}?page_size={size}"));
        assert_eq!(ids(&Value::Array(walked), "tweet.id"), feed, "page_size {size}");
        let walked = ann.walk(&format!("/api/tweets/?user_id={}&page_size={size}", bob.id));
        assert_eq!(ids(&Value::Array(walked), "id"), list, "page_size {size}");
    }
}

fn pages_are_exact_at_their_edges(app: App) {
    let ann = app.sign_up("ann");
    // One more tweet per round: every page size meets n-1, n and n+1 entries.
    for total in 1..=21_usize {
        ann.tweet(&format!("tweet {total}"));
        for size in [total - 1, total, total + 1].into_iter().filter(|size| *size > 0) {
            let lists = [
                format!("{FEED}?page_size={size}"),
                format!("/api/tweets/?user_id={}&page_size={size}", ann.id),
            ];
            for path in lists {
                let page = ann.get(&path).expect(200);
                let length = page["results"].as_array().unwrap().len();
                assert_eq!(length, size.min(total), "{total} entries, {path}");
                assert_eq!(page["has_next_page"], total > size, "{total} entries, {path}");
            }
        }
    }
}

fn a_walk_goes_on_past_the_cache(setup: Setup) {
    // The reference's figures: twenty entries cached, ten on a page.
    let builder = App::on(setup).env("ROOST_LIST_LIMIT", "20").env("ROOST_PAGE_SIZE", "10");
    let app = builder.start();
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    for total in 1..=45_usize {
        bob.tweet(&format!("tweet {total}"));
        // Around the end of the cache the next page comes from the database.
        if [10, 11, 19, 20, 21, 29, 30, 31, 45].contains(&total) {
            app.quiesce();
            let truth = feed_in_sql(&app, ann.id);
            assert_eq!(truth.len(), total);
            let walked = ann.walk(&format!("{FEED}?"));
            assert_eq!(ids(&Value::Array(walked), "tweet.id"), truth, "{total} entries");
            let walked = ann.walk(&format!("{FEED}?page_size=7"));
            assert_eq!(ids(&Value::Array(walked), "tweet.id"), truth, "{total} entries, 7 a page");
            let walked = ann.walk(&format!("/api/tweets/?user_id={}", bob.id));
            assert_eq!(ids(&Value::Array(walked), "id"), truth, "{total} tweets");
        }
    }
    assert_eq!(ann.feed().len(), 10);
}

fn polling_brings_what_is_newer(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    bob.tweet("seen");
    app.quiesce();
    let newest = text(&ann.feed()[0]["created_at"]);
    let poll = |since: &str| ann.get(&format!("{FEED}?created_at__gt={since}")).expect(200);
    assert_eq!(poll(&newest), json!({"has_next_page": false, "results": []}));
    // More than a page of them: a poll brings all.
    let mut expected = bob.tweets(23);
    app.quiesce();
    expected.reverse();
    let answer = poll(&newest);
    assert_eq!(answer["has_next_page"], false);
    assert_eq!(ids(&answer["results"], "tweet.id"), expected, "newest first");
    // And nothing twice.
    let newest = text(&answer["results"][0]["created_at"]);
    assert_eq!(poll(&newest)["results"], json!([]));

    let first = text(&bob.tweets_of(&bob)[19]["created_at"]);
    let path = format!("/api/tweets/?user_id={}&created_at__gt={first}", bob.id);
    assert_eq!(ids(&ann.get(&path).expect(200)["results"], "id"), expected[..19]);
}

fn polling_is_bounded_and_says_so(setup: Setup) {
    let app = App::on(setup).env("ROOST_LIST_LIMIT", "20").start();
    let ann = app.sign_up("ann");
    ann.tweet("seen");
    let since = text(&ann.feed()[0]["created_at"]);
    ann.tweets(20);
    let poll = |cursors: &str| ann.get(&format!("{FEED}?{cursors}")).expect(200);
    let all = poll(&format!("created_at__gt={since}"));
    assert_eq!((&all["has_next_page"], ids(&all["results"], "id").len()), (&json!(false), 20));

    ann.tweets(25);
    let mut truth = feed_in_sql(&app, ann.id);
    truth.pop();
    let first = poll(&format!("created_at__gt={since}"));
    assert_eq!(first["has_next_page"], true, "forty-five newer ones, bounded by twenty");
    let mut walked = ids(&first["results"], "tweet.id");
    assert_eq!(walked.len(), 20);
    // The rest is read with both cursors.
    let mut last = text(&first["results"][19]["created_at"]);
    loop {
        let page = poll(&format!("created_at__gt={since}&created_at__lt={last}"));
        walked.extend(ids(&page["results"], "tweet.id"));
        if page["has_next_page"] == false {
            break;
        }
        last = text(&page["results"].as_array().unwrap().last().unwrap()["created_at"]);
    }
    assert_eq!(walked, truth);
}

fn a_window_between_two_times_is_paged(app: App) {
    let ann = app.sign_up("ann");
    ann.tweets(12);
    let entries = ann.feed();
    let time = |index: usize| text(&entries[index]["created_at"]);
    // Both ends are outside: strictly older than the first, strictly newer than the last.
    let window = format!("created_at__lt={}&created_at__gt={}", time(1), time(9));
    let all = ann.get(&format!("{FEED}?{window}")).expect(200);
    assert_eq!(all["results"], json!(entries[2..9]));
    assert_eq!(all["has_next_page"], false);
    let page = ann.get(&format!("{FEED}?{window}&page_size=7")).expect(200);
    assert_eq!(page["has_next_page"], false, "exactly a page");
    let page = ann.get(&format!("{FEED}?{window}&page_size=6")).expect(200);
    assert_eq!((&page["has_next_page"], &page["results"]), (&json!(true), &json!(entries[2..8])));
    let crossed = format!("created_at__lt={}&created_at__gt={}", time(9), time(1));
    let none = ann.get(&format!("{FEED}?{crossed}")).expect(200);
    assert_eq!(none, json!({"has_next_page": false, "results": []}));
}

fn an_older_page_can_be_empty(app: App) {
    let ann = app.sign_up("ann");
    ann.tweets(3);
    let oldest = text(&ann.feed()[2]["created_at"]);
    let lists = [FEED.to_owned() + "?", format!("/api/tweets/?user_id={}&", ann.id)];
    for (path, oldest) in lists.iter().zip([oldest, text(&ann.tweets_of(&ann)[2]["created_at"])]) {
        let page = ann.get(&format!("{path}created_at__lt={oldest}")).expect(200);
        assert_eq!(page, json!({"has_next_page": false, "results": []}));
        let page = ann.get(&format!("{path}created_at__lt=0001-01-01T00:00:00Z")).expect(200);
        assert_eq!(page, json!({"has_next_page": false, "results": []}));
        let page = ann.get(&format!("{path}created_at__lt=9999-12-31T23:59:59.999999Z"));
        assert_eq!(page.expect(200)["results"].as_array().unwrap().len(), 3);
        let page = ann.get(&format!("{path}created_at__gt=9999-12-31T23:59:59.999999Z"));
        assert_eq!(page.expect(200)["results"], json!([]));
    }
}

fn a_deleted_tweet_never_shortens_a_page(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let tweets = bob.tweets(30);
    app.quiesce();
    ann.feed();
    // Every other one of the newest goes: no page may show the gaps, settled or not.
    for tweet in tweets.iter().rev().step_by(2).take(8) {
        bob.delete(&format!("/api/tweets/{tweet}/")).expect(200);
        assert_eq!(ann.feed().len(), 20);
        assert_eq!(bob.tweets_of(&bob).len(), 20);
    }
    let walked = ann.walk(&format!("{FEED}?page_size=5"));
    assert_eq!(ids(&Value::Array(walked), "tweet.id"), tweets_in_sql(&app, bob.id));
    app.quiesce();
    let page = ann.get(&format!("{FEED}?page_size=22")).expect(200);
    assert_eq!((ids(&page["results"], "id").len(), &page["has_next_page"]), (22, &json!(false)));
    assert_eq!(feed_in_sql(&app, ann.id), tweets_in_sql(&app, bob.id));
}

fn page_sizes_have_limits(app: App) {
    let ann = app.sign_up("ann");
    ann.tweets(101);
    let page = ann.get(&format!("{FEED}?page_size=100")).expect(200);
    assert_eq!((ids(&page["results"], "id").len(), &page["has_next_page"]), (100, &json!(true)));
    assert_eq!(
        ann.get(&format!("{FEED}?page_size=1")).expect(200)["results"][0],
        json!(ann.feed()[0])
    );
    for size in ["0", "-1", "101", "1000000000", "99999999999999999999", "abc", "1e1", "", "5.0"] {
        let reply = ann.get(&format!("{FEED}?page_size={size}"));
        // Refused or brought within the limits, but never more than a hundred.
        if reply.status == 200 {
            let items = shape::page(&reply.json(), shape::feed_entry);
            assert!((1..=100).contains(&items.len()), "page_size={size}: {} items", items.len());
        } else {
            reply.blames(&["page_size"]);
        }
    }
}

fn entries_at_one_author_keep_their_order_while_posts_arrive(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let old = bob.tweets(30);
    app.quiesce();
    let mut walked = ids(&Value::Array(ann.feed()), "tweet.id");
    let mut last = text(&ann.feed()[19]["created_at"]);
    let newest = text(&ann.feed()[0]["created_at"]);
    // What arrives at the top moves no older entry across a page's edge.
    let new = [id(&bob.tweet("later")), id(&bob.tweet("even later"))];
    app.quiesce();
    loop {
        let page = ann.get(&format!("{FEED}?page_size=3&created_at__lt={last}")).expect(200);
        walked.extend(ids(&page["results"], "tweet.id"));
        if page["has_next_page"] == false {
            break;
        }
        last = text(&page["results"][2]["created_at"]);
    }
    walked.reverse();
    // The back-fill at the follow brought none: there was nothing yet.
    assert_eq!(walked, old);
    let poll = ann.get(&format!("{FEED}?created_at__gt={newest}")).expect(200);
    assert_eq!(ids(&poll["results"], "tweet.id"), [new[1], new[0]]);
}
