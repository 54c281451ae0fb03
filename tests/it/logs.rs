//! What the log tells of a request on its way down to the database.

use std::thread;
use std::time::{Duration, Instant};

use diesel::Connection;
use diesel::connection::SimpleConnection;

use crate::harness::{App, Setup, Value, id, json};

/// Longer than a query may take without a line in the log.
const SLOW: Duration = Duration::from_millis(400);

// A wait can be seen from outside on PostgreSQL only; the code is the same on both engines.
#[test]
fn a_slow_query_names_its_request() {
    slow_queries_name_their_requests(Setup::Postgres);
}

#[test]
fn a_slow_query_names_its_request_beside_redis() {
    slow_queries_name_their_requests(Setup::PostgresRedis);
}

fn slow_queries_name_their_requests(setup: Setup) {
    let app = App::on(setup).start();
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("wait for it"));
    app.quiesce();
    // Through the handler, the actor of a timeline, the ordered writer, and the counter.
    let like = json!({"content_type": "tweet", "object_id": tweet});
    let requests = [
        ("GET", format!("/api/profiles/{}/", bob.id), "profiles", "plain-1", None),
        ("GET", "/api/newsfeeds/".to_owned(), "newsfeeds", "load-1", None),
        ("POST", "/api/tweets/".to_owned(), "tweets", "post-1", Some(json!({"content": "x"}))),
        ("POST", "/api/likes/".to_owned(), "likes", "like-1", Some(like)),
    ];
    for (method, path, table, name, body) in requests {
        let mut link = app.session();
        link.transaction(|link| {
            link.batch_execute(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))?;
            thread::scope(|scope| {
                scope.spawn(|| {
                    let request = bob.request(method, &path).header("X-Request-Id", name);
                    match &body {
                        Some(body) => request.json(body).send(),
                        None => request.send(),
                    }
                });
                wait_for_the_lock(&app);
                thread::sleep(SLOW);
                link.batch_execute("ROLLBACK; BEGIN")
            })
        })
        .expect("the lock");
        let log = app.log_text();
        let is_told = |line: &str| line.contains("slow query") && line.contains(name);
        assert!(log.lines().any(is_told), "no slow query of {name} in:\n{log}");
    }
}

/// Waits until somebody waits for a lock.
fn wait_for_the_lock(app: &App) {
    let begun = Instant::now();
    let waiting = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while app.sql(waiting) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing waits for the table");
        thread::sleep(Duration::from_millis(5));
    }
}

// The store has no part in the form of a line.
#[test]
fn a_log_for_machines_is_one_object_a_line() {
    let app = App::on(Setup::Sqlite)
        .env("ROOST_LOG_FORMAT", "json")
        .env("ROOST_LOG", "roost=debug")
        .start();
    let ann = app.sign_up("ann");
    ann.request("GET", "/api/newsfeeds/").header("X-Request-Id", "look-for-me").send().expect(200);
    let log = app.log_text();
    let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let lines: Vec<Value> = log.lines().map(read).collect();
    for line in &lines {
        for name in ["timestamp", "level", "target", "message"] {
            assert!(line[name].is_string(), "no {name}: {line}");
        }
    }
    let line = lines.iter().find(|line| line["request_id"] == "look-for-me").expect(&log);
    let told = ["level", "message", "method", "route", "status", "user_id"].map(|name| &line[name]);
    let expected = [
        "DEBUG".into(),
        "request".into(),
        "GET".into(),
        "/api/newsfeeds/".into(),
        json!(200),
        json!(ann.id),
    ];
    assert_eq!(told, expected.each_ref());
}
