//! What a request costs in database calls and Redis commands, by Roost's own books.

use crate::harness::{App, Client, Setup, on_every_setup};

on_every_setup! {
    a_warm_page_asks_nobody,
    a_page_that_is_put_together_anew_asks_nobody,
    a_cold_page_costs_the_same_for_one_item_and_for_twenty,
    a_thousand_followers_are_a_handful_of_calls,
    a_feed_stays_warm_when_its_reader_follows_and_unfollows,
}

/// Calls that do not come from requests.
const BACKGROUND: [&str; 7] = [
    "query=\"bus.",
    "query=\"cache.",
    "query=\"writer.backlog",
    "query=\"housekeeping",
    "query=\"log.copy",
    "query=\"notifications",
    "query=\"sweep_sessions",
];

/// Redis calls that do not come from requests.
const UPKEEP: [&str; 1] = ["op=\"probe\""];

/// The sum of a counter or histogram count over its labels, but for those of `without`.
fn sum(metrics: &str, name: &str, without: &[&str]) -> u64 {
    metrics
        .lines()
        .filter(|line| line.starts_with(name))
        .filter(|line| !without.iter().any(|label| line.contains(label)))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

/// (database calls, Redis calls) so far.
pub fn spent(app: &App) -> (u64, u64) {
    let metrics = app.anonymous().get("/metrics").expect_text(200);
    (
        sum(&metrics, "roost_db_query_seconds_count", &BACKGROUND),
        sum(&metrics, "roost_redis_calls_total", &UPKEEP),
    )
}

/// A reader with `tweets` entries in the feed, by two authors, with likes and comments.
fn reader(app: &App, tweets: usize) -> Client {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let own = tweets / 2;
    ann.tweets(own);
    let of_bob = bob.tweets(tweets - own);
    bob.like("tweet", of_bob[0]);
    bob.comment(of_bob[0], "warm");
    app.quiesce();
    ann
}

fn a_warm_page_asks_nobody(app: App) {
    assert!(kept_of_warm_pages(&app) >= 12.0);
}

fn a_page_that_is_put_together_anew_asks_nobody(setup: Setup) {
    let app = App::on(setup).env("ROOST_PAGE_CACHE_MB", "0").start();
    assert_eq!(kept_of_warm_pages(&app), 0.0);
}

/// Reads fifteen warm pages, which costs nothing; how many of them were kept as bytes.
fn kept_of_warm_pages(app: &App) -> f64 {
    let ann = reader(app, 20);
    let kept = || app.metric("roost_kept_pages_total").unwrap();
    let mut of_warm = 0.0;
    for path in ["/api/newsfeeds/", "/api/tweets/?user_id=1", "/api/tweets/?user_id=2"] {
        ann.get(path).expect(200);
        ann.get(path).expect(200);
        let (before, kept_before) = (spent(app), kept());
        for _ in 0..5 {
            ann.get(path).expect(200);
        }
        assert_eq!(spent(app), before, "{path}: a warm page costs no query and no command");
        of_warm += kept() - kept_before;
    }
    of_warm
}

fn a_cold_page_costs_the_same_for_one_item_and_for_twenty(setup: Setup) {
    let cost = |tweets: usize| {
        let mut app = App::on(setup).start();
        let ann = reader(&app, tweets);
        app.restart();
        app.wait_for_redis();
        // The session and the caller's own card are not what this is about.
        ann.get("/api/accounts/login_status/").expect(200);
        let before = spent(&app);
        let page = ann.get("/api/newsfeeds/").expect(200);
        assert_eq!(page["results"].as_array().unwrap().len(), tweets);
        let after = spent(&app);
        (after.0 - before.0, after.1 - before.1)
    };
    let (one, twenty) = (cost(1), cost(20));
    assert!(twenty.0 <= 6 && twenty.1 <= 4, "{twenty:?} database and Redis calls");
    // One author or two is still one query.
    assert!(twenty.0 <= one.0 && twenty.1 <= one.1, "{one:?} for one, {twenty:?} for twenty");
}

fn a_thousand_followers_are_a_handful_of_calls(app: App) {
    const FOLLOWERS: usize = 1_000;
    let ann = app.sign_up("ann");
    let added = app.sql_list(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {FOLLOWERS}) \
         INSERT INTO friendships (from_user_id, to_user_id, created_at) \
         SELECT 100000 + i, 1, i FROM n RETURNING from_user_id AS n"
    ));
    assert_eq!(added.len(), FOLLOWERS);
    app.sql_list(&format!(
        "UPDATE profiles SET followers_count = {FOLLOWERS} WHERE user_id = 1 \
         RETURNING followers_count AS n"
    ));
    ann.get("/api/accounts/login_status/").expect(200);
    let before = spent(&app);
    ann.tweet("to everybody");
    app.quiesce();
    let after = spent(&app);
    let delivered = app.sql("SELECT count(*) AS n FROM newsfeeds WHERE user_id > 100000");
    assert_eq!(delivered, FOLLOWERS as i64);
    let (calls, commands) = (after.0 - before.0, after.1 - before.1);
    assert!(calls <= 6, "{calls} database calls");
    assert!(commands <= 4, "{commands} Redis calls");
}

fn a_feed_stays_warm_when_its_reader_follows_and_unfollows(app: App) {
    let ann = reader(&app, 6);
    let carol = app.sign_up("carol");
    let of_carol = carol.tweets(3);
    let before = ann.feed_ids();
    carol.feed_ids();
    ann.follow(&carol);
    app.quiesce();
    let calls = spent(&app).0;
    let mut after = before.clone();
    after.splice(0..0, of_carol.into_iter().rev());
    assert_eq!(ann.feed_ids(), after, "the back-fill, newest first");
    assert_eq!(spent(&app).0, calls, "no query for what the follow has added");
    ann.unfollow(&carol);
    app.quiesce();
    let calls = spent(&app).0;
    assert_eq!(ann.feed_ids(), before);
    assert_eq!(spent(&app).0, calls, "no query for what the unfollow has removed");
    app.assert_check_passes();
}
