//! What the log tells of a request on its way down to the database.

use std::thread;
use std::time::{Duration, Instant};

use diesel::Connection;
use diesel::connection::SimpleConnection;

use crate::harness::{App, Setup, id, json};

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
