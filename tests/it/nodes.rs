//! Several nodes over one PostgreSQL, without and with Redis: each shows what was written on
//! another, soon and in the same order, also when it loses the bus or the other node dies.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;

use crate::harness::{App, Client, Node, Setup, Value, effort, id, ids, json, text};

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

on_both_setups! {
    a_write_on_one_node_shows_on_the_other,
    a_node_that_loses_the_bus_shows_what_it_missed,
    a_node_that_cannot_hear_the_bus_is_not_stale_for_long,
    first_reads_on_both_nodes_agree,
    clients_of_either_node_see_every_entry_once,
    a_stream_on_one_node_shows_posts_made_on_the_other,
    a_node_that_dies_leaves_the_other_right,
    nodes_come_and_go,
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

/// Ends the sessions that listen, of all nodes, and the connections of Redis.
fn cut_the_bus(app: &App) {
    let cut = app.sql(
        "SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'roost_bus'",
    );
    assert_eq!(cut, 2, "both nodes listen");
    if let Some(mut link) = app.redis() {
        soon(Some(1.0), || app.metric("roost_redis_up"));
        assert!(cut_redis(&mut link) > 0, "the app is connected");
    }
}

/// Ends the connections of the app's own database in Redis: the server is shared by the tests.
/// How many they were.
fn cut_redis(link: &mut redis::Connection) -> i64 {
    let ask = |link: &mut redis::Connection, what: &str| -> String {
        redis::cmd("CLIENT").arg(what).query(link).expect("CLIENT")
    };
    let field = |line: &str, name: &str| {
        let mut fields = line.split_whitespace().filter_map(|pair| pair.split_once('='));
        fields.find(|(of, _)| *of == name).map(|(_, value)| value.to_owned())
    };
    let own = ask(link, "INFO");
    let (id, db) = (field(&own, "id"), field(&own, "db"));
    let mut cut = 0;
    for line in ask(link, "LIST").lines() {
        let other = field(line, "id");
        if other != id && field(line, "db") == db {
            let mut kill = redis::cmd("CLIENT");
            cut += kill.arg("KILL").arg("ID").arg(other).query::<i64>(link).expect("CLIENT KILL");
        }
    }
    cut
}

fn a_node_that_loses_the_bus_shows_what_it_missed(app: App) {
    let node = app.another_node();
    meet(&[&node], 2.0);
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let there = node.see(&ann);
    let mut posted = Vec::new();
    for round in 0..effort::rounds(3) {
        soon(posted.clone(), || there.feed_ids());
        cut_the_bus(&app);
        // At once: nobody may be listening.
        posted.insert(0, id(&bob.tweet(&format!("round {round}"))));
        posted.truncate(20);
        ann.like("tweet", posted[0]);
        soon(Some((posted[0], 1, 0, true, String::new())), || top(&there));
        soon(posted.clone(), || there.feed_ids());
        everything_shows(&app, &node, round);
        soon(2, || {
            app.sql(
                "SELECT count(*) AS n FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name = 'roost_bus'",
            )
        });
    }
    app.quiesce();
    app.assert_check_passes();
}

/// A session of somebody else holds the name of the node, so that it cannot listen although the
/// database answers.
fn a_node_that_cannot_hear_the_bus_is_not_stale_for_long(app: App) {
    let first = app.sql_list("SELECT id AS n FROM nodes WHERE id <> 0")[0];
    let node = app.another_node();
    meet(&[&node], 2.0);
    let deaf = app.sql(&format!("SELECT id AS n FROM nodes WHERE id NOT IN (0, {first})"));
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let there = node.see(&ann);
    soon(Vec::<i64>::new(), || there.feed_ids());

    let locks = format!(
        "FROM pg_locks WHERE locktype = 'advisory' AND objid = {deaf} AND database = \
         (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    let space = app.sql(&format!("SELECT classid::bigint AS n {locks}"));
    let mut session = app.session();
    let thief = thread::spawn(move || {
        let lock = format!("SELECT pg_advisory_lock({space}, {deaf})");
        session.batch_execute(&lock).expect("the name of the node");
        session
    });
    // It stands in line before the node can try again.
    soon(1, || app.sql(&format!("SELECT count(*) AS n {locks} AND NOT granted")));
    app.sql_list(&format!(
        "SELECT pg_terminate_backend(pid)::int::bigint AS n {locks} AND granted"
    ));
    let thief = thief.join().unwrap();
    soon(Some(0.0), || node.metric("roost_bus_listening"));
    let mut posted: Vec<i64> = Vec::new();
    for round in 0..3 {
        posted.insert(0, id(&bob.tweet(&format!("round {round}"))));
        soon(posted.clone(), || there.feed_ids());
        posted.insert(0, id(&there.tweet("and from there")));
        assert_eq!(there.feed_ids(), posted, "it shows its own writes at once");
        soon(posted.clone(), || ann.feed_ids());
    }
    drop(thief);
    soon(Some(1.0), || node.metric("roost_bus_listening"));
    everything_shows(&app, &node, 0);
    app.quiesce();
    app.assert_check_passes();
}

fn first_reads_on_both_nodes_agree(app: App) {
    let mut node = app.another_node();
    meet(&[&node], 2.0);
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let posted: Vec<i64> = bob.tweets(30).into_iter().rev().collect();
    app.quiesce();
    let key = format!("user_newsfeeds:{}", ann.id);
    for round in 0..effort::rounds(3) {
        // Cold on one node at least, with and without a list in Redis.
        node.sigterm();
        node.start_again();
        if let Some(mut link) = app.redis().filter(|_| round % 2 == 0) {
            redis::cmd("DEL").arg(&key).exec(&mut link).expect("DEL");
        }
        let there = node.see(&ann);
        thread::scope(|scope| {
            for reader in (0..32).map(|n| if n % 2 == 0 { &ann } else { &there }) {
                let posted = &posted;
                scope.spawn(move || {
                    let page = reader.get("/api/newsfeeds/?page_size=30").expect(200);
                    assert_eq!(ids(&page["results"], "tweet.id"), *posted);
                });
            }
        });
        if let Some(mut link) = app.redis() {
            let length: i64 = redis::cmd("LLEN").arg(&key).query(&mut link).expect("LLEN");
            assert!(length == 0 || length == 30, "a list of {length} entries for 30");
        }
    }
}

fn clients_of_either_node_see_every_entry_once(app: App) {
    const POSTS: usize = 25;
    let node = app.another_node();
    meet(&[&node], 2.0);
    let authors: Vec<Client> = (0..4).map(|n| app.sign_up(&format!("author{n}"))).collect();
    let reader = app.sign_up("reader");
    authors.iter().for_each(|author| {
        reader.follow(author);
    });
    let opening = id(&authors[0].tweet("the first"));
    let readers = [reader.with_basic(), node.see(&reader)];
    readers.iter().for_each(|reader| soon(vec![opening], || reader.feed_ids()));
    let is_done = AtomicBool::new(false);
    let busy = AtomicUsize::new(authors.len());
    let seen: Vec<(Vec<i64>, usize)> = thread::scope(|scope| {
        let watchers: Vec<_> = readers
            .iter()
            .map(|reader| scope.spawn(|| (poll(reader, &is_done), walk(reader))))
            .collect();
        for (n, author) in authors.iter().enumerate() {
            // Two authors on either node.
            let author = if n % 2 == 0 { author.with_basic() } else { node.see(author) };
            let busy = &busy;
            scope.spawn(move || {
                author.tweets(POSTS);
                busy.fetch_sub(1, Ordering::SeqCst);
            });
        }
        soon(0, || busy.load(Ordering::SeqCst));
        let delivered = || {
            app.sql(&format!("SELECT count(*) AS n FROM newsfeeds WHERE user_id = {}", reader.id))
        };
        soon((authors.len() * POSTS + 1) as i64, delivered);
        let last = app.sql_list(&format!(
            "SELECT tweet_id AS n FROM newsfeeds WHERE user_id = {} ORDER BY created_at DESC",
            reader.id
        ))[0];
        readers.iter().for_each(|reader| soon(Some(last), || reader.feed_ids().first().copied()));
        is_done.store(true, Ordering::SeqCst);
        watchers.into_iter().map(|watcher| watcher.join().unwrap()).collect()
    });
    let truth = app.sql_list(&format!(
        "SELECT tweet_id AS n FROM newsfeeds WHERE user_id = {} ORDER BY created_at",
        reader.id
    ));
    for (polled, walked) in seen {
        assert_eq!(polled, truth[1..], "every entry once, in order");
        assert_eq!(walked, truth.len(), "the walk after it is complete");
    }
    app.quiesce();
    app.assert_check_passes();
}

/// Polls for what is newer until everything is written and a poll finds nothing; oldest first.
fn poll(reader: &Client, is_done: &AtomicBool) -> Vec<i64> {
    let (mut seen, mut newest) = (Vec::new(), text(&reader.feed()[0]["created_at"]));
    // The first page may have grown already: what it showed is not polled for again.
    let first = reader.get("/api/newsfeeds/?page_size=100").expect(200);
    let behind: Vec<&Value> = first["results"]
        .as_array()
        .expect("a list")
        .iter()
        .take_while(|entry| entry["tweet"]["content"] != "the first")
        .collect();
    if let Some(entry) = first["results"].get(0) {
        newest = newest.max(text(&entry["created_at"]));
    }
    seen.extend(behind.iter().rev().map(|entry| id(&entry["tweet"])));
    loop {
        let was_done = is_done.load(Ordering::SeqCst);
        let page = reader.get(&format!("/api/newsfeeds/?created_at__gt={newest}")).expect(200);
        let mut new = ids(&page["results"], "tweet.id");
        new.reverse();
        if let Some(entry) = page["results"].get(0) {
            newest = text(&entry["created_at"]);
        }
        if was_done && new.is_empty() {
            return seen;
        }
        seen.extend(new);
    }
}

/// Pages down to the end; how many entries, each once.
fn walk(reader: &Client) -> usize {
    let walked = ids(&Value::Array(reader.walk("/api/newsfeeds/?page_size=7")), "tweet.id");
    let mut distinct = walked.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), walked.len(), "an entry twice: {walked:?}");
    walked.len()
}

fn a_stream_on_one_node_shows_posts_made_on_the_other(app: App) {
    let node = app.another_node();
    meet(&[&node], 2.0);
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let stream = crate::stream::Stream::open(&node.see(&ann), None);
    let posted: Vec<i64> = (0..5)
        .map(|n| match n % 2 {
            0 => id(&bob.tweet(&format!("here {n}"))),
            _ => id(&node.see(&bob).tweet(&format!("there {n}"))),
        })
        .collect();
    let seen: Vec<i64> = (0..5).map(|_| id(&stream.next().1["tweet"])).collect();
    assert_eq!(seen, posted, "in order, each once");
}

fn a_node_that_dies_leaves_the_other_right(app: App) {
    let mut node = app.another_node();
    meet(&[&node], 2.0);
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    for round in 0..effort::rounds(2) {
        let first = id(&bob.tweet(&format!("round {round}")));
        soon(Some(first), || node.see(&ann).feed_ids().first().copied());
        let there = node.see(&bob);
        let acknowledged = thread::scope(|scope| {
            let writer = scope.spawn(|| hammer(&there, first));
            thread::sleep(Duration::from_millis(100 + 37 * round as u64));
            node.kill9();
            writer.join().unwrap()
        });
        // The other node finishes what the dead one had begun, and does not wait for it to
        // come back. What Redis may have missed is void by then.
        soon(vec![1], || app.sql_list("SELECT count(*) AS n FROM nodes WHERE id <> 0"));
        app.quiesce();
        let truth = app.sql_list(&format!(
            "SELECT tweet_id AS n FROM newsfeeds WHERE user_id = {} ORDER BY created_at DESC LIMIT 20",
            ann.id
        ));
        soon(truth.clone(), || ann.feed_ids());
        for tweet in acknowledged {
            let path = format!("/api/tweets/{tweet}/");
            assert_eq!(ann.get(&path).status, 200, "acknowledged, then lost");
        }
        app.assert_counts_match_rows();
        app.assert_check_passes();
        node.start_again();
        meet(&[&node], 2.0);
        assert_eq!(node.see(&ann).feed_ids(), truth);
    }
}

/// Posts, likes and deletes until the server is gone; the posts that were acknowledged and are
/// to stay.
fn hammer(bob: &Client, first: i64) -> Vec<i64> {
    let mut stays = Vec::new();
    for n in 0.. {
        let body = json!({"content": format!("number {n}")});
        let Ok(answer) = bob.request("POST", "/api/tweets/").json(&body).open() else { break };
        let Ok(bytes) = answer.bytes() else { break };
        let Ok(tweet) = serde_json::from_slice::<Value>(&bytes) else { break };
        let (tweet, like) = (id(&tweet), if n % 2 == 0 { "likes" } else { "likes/cancel" });
        let body = json!({"content_type": "tweet", "object_id": first});
        let path = format!("/api/{like}/");
        if bob.request("POST", &path).json(&body).open().is_err() {
            stays.push(tweet);
            break;
        }
        if n % 3 == 0 {
            // Whether it was deleted is not known when the server dies: it is not asked for.
            if bob.request("DELETE", &format!("/api/tweets/{tweet}/")).open().is_err() {
                break;
            }
        } else {
            stays.push(tweet);
        }
    }
    stays
}

fn nodes_come_and_go(app: App) {
    let mut node = app.another_node();
    meet(&[&node], 2.0);
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let mut posted = Vec::new();
    for round in 0..3 {
        // Posts go on while the other node leaves, and while it comes back.
        thread::scope(|scope| {
            let writer = scope.spawn(|| bob.tweets(8));
            assert_eq!(node.sigterm(), Some(0));
            node.start_again();
            posted.extend(writer.join().unwrap());
        });
        let there = node.see(&ann);
        posted.push(id(&node.see(&bob).tweet(&format!("from there in round {round}"))));
        let newest: Vec<i64> = posted.iter().rev().take(20).copied().collect();
        soon(newest.clone(), || there.feed_ids());
        soon(newest, || ann.feed_ids());
    }
    app.quiesce();
    app.assert_check_passes();
    let warm = ann.feed_ids();
    node.sigterm();
    if app.redis().is_some() {
        // Nobody owes Redis anything. Without one, everybody always does.
        soon(vec![0_i64; 0], || app.sql_list("SELECT id AS n FROM nodes WHERE dirty"));
    }
    assert_eq!(ann.feed_ids(), warm);
}

/// Nodes with and without Redis: no list of Redis is believed while the one without is there.
#[test]
fn a_node_without_redis_keeps_the_others_from_reading_it() {
    let app = App::on(Setup::PostgresRedis).start();
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let node = app.another_node_without("REDIS_URL");
    meet(&[&node], 2.0);
    let mut posted = Vec::new();
    for round in 0..6 {
        let author = if round % 2 == 0 { node.see(&bob) } else { bob.with_basic() };
        posted.insert(0, id(&author.tweet(&format!("round {round}"))));
        soon(posted.clone(), || ann.feed_ids());
        soon(posted.clone(), || node.see(&ann).feed_ids());
    }
}
