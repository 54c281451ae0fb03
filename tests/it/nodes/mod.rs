//! Several nodes over one PostgreSQL, without and with Redis: each shows what was written on
//! another, soon and in the same order, also when it loses the bus or the other node dies.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{App, Client, Node, Value, id, ids, json};

/// Longest wait for one node to show what another has committed.
const SOON: Duration = Duration::from_secs(10);

/// One test on PostgreSQL and one with Redis for each body. SQLite has one process.
macro_rules! on_both_setups {
    ($($body:ident),* $(,)?) => {$(
        mod $body {
            use crate::harness::{App, Setup};

            #[test]
            fn postgres() {
                super::$body(App::on(Setup::Postgres).start());
            }

            #[test]
            fn postgres_redis() {
                super::$body(App::on(Setup::PostgresRedis).start());
            }
        }
    )*};
}

mod company;
mod hearing;
mod limits;
mod reading;

on_both_setups! {
    a_write_on_one_node_shows_on_the_other,
}

/// Waits until a view is as it should be.
#[track_caller]
fn soon<T: PartialEq + std::fmt::Debug>(expected: T, view: impl Fn() -> T) {
    let asked = Instant::now();
    loop {
        let seen = view();
        if seen == expected {
            return;
        }
        assert!(asked.elapsed() < SOON, "{seen:?} is still shown instead of {expected:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a node counts so many, and hears them.
fn meet(nodes: &[&Node], number: f64) {
    for node in nodes {
        soon((Some(number), Some(1.0)), || {
            (node.metric("roost_nodes"), node.metric("roost_bus_listening"))
        });
    }
}

/// What a reader sees of the first tweet of the feed: id, likes, comments, own like, author.
fn top(reader: &Client) -> Option<(i64, i64, i64, bool, String)> {
    let feed = reader.feed();
    let tweet = &feed.first()?["tweet"];
    let count = |name: &str| tweet[name].as_i64().expect("a count");
    let nickname = tweet["user"]["nickname"].as_str().unwrap_or_default().to_owned();
    let liked = tweet["has_liked"].as_bool().expect("a flag");
    Some((id(tweet), count("likes_count"), count("comments_count"), liked, nickname))
}

fn follows(reader: &Client, author: &Client) -> Value {
    let path = format!("/api/friendships/{}/followers/", author.id);
    let page = reader.get(&path).expect(200);
    page["results"].clone()
}

fn profile_says_followed(reader: &Client, of: &Client) -> bool {
    let page = reader.get(&format!("/api/friendships/{}/followings/", of.id)).expect(200);
    page["results"].as_array().expect("a list").iter().any(|item| item["has_followed"] == true)
}

/// Writes of every kind on the app, each looked for on the other node, whose caches are warm.
fn everything_shows(app: &App, node: &Node, round: usize) {
    let name = |who: &str| format!("{who}{round}");
    let (ann, bob) = (app.sign_up(&name("ann")), app.sign_up(&name("bob")));
    let there = node.see(&ann);
    soon(Vec::<Value>::new(), || there.feed());
    soon(false, || profile_says_followed(&there, &ann));

    ann.follow(&bob);
    soon(true, || profile_says_followed(&there, &ann));
    soon(1, || follows(&there, &bob).as_array().map_or(0, Vec::len));
    let first = id(&bob.tweet("first"));
    let top_is = |likes, comments, liked, nickname: &str| {
        soon(Some((first, likes, comments, liked, nickname.to_owned())), || top(&there));
    };
    top_is(0, 0, false, "");
    ann.like("tweet", first);
    top_is(1, 0, true, "");
    bob.like("tweet", first);
    let comment = id(&ann.comment(first, "well said"));
    top_is(2, 1, true, "");
    ann.unlike("tweet", first);
    top_is(1, 1, false, "");
    ann.delete(&format!("/api/comments/{comment}/")).expect(200);
    top_is(1, 0, false, "");
    let profile = format!("/api/profiles/{}/", bob.id);
    bob.put(&profile, json!({"nickname": "Robert"})).expect(200);
    top_is(1, 0, false, "Robert");

    let second = id(&bob.tweet("second"));
    soon(vec![second, first], || there.feed_ids());
    bob.delete(&format!("/api/tweets/{second}/")).expect(200);
    soon(vec![first], || there.feed_ids());
    soon(vec![first], || ids(&Value::Array(there.tweets_of(&bob)), "id"));
    soon(404, || there.get(&format!("/api/tweets/{second}/")).status);
    ann.unfollow(&bob);
    soon(Vec::<i64>::new(), || there.feed_ids());
    soon(false, || profile_says_followed(&there, &ann));

    // The other way round, and the end of a session.
    let mine = id(&there.tweet("from there"));
    soon(vec![mine], || ann.feed_ids());
    assert_eq!(there.get("/api/newsfeeds/").status, 200);
    ann.post("/api/accounts/logout/", json!({})).expect(200);
    soon(403, || there.get("/api/newsfeeds/").status);
}

fn a_write_on_one_node_shows_on_the_other(app: App) {
    let node = app.another_node();
    meet(&[&node], 2.0);
    everything_shows(&app, &node, 0);
    app.quiesce();
    app.assert_check_passes();
}
