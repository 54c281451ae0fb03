//! What operators and tools look at: health, readiness, metrics, the API's description,
//! rate limits.

use std::time::{Duration, Instant};

use crate::harness::{App, Setup, json, on_every_setup, text};

on_every_setup! {
    the_server_says_it_is_alive_and_ready,
    metrics_are_prometheus_text,
    metrics_can_move_to_another_address,
    the_schema_describes_every_path,
    the_docs_work_offline,
    logins_are_limited,
    no_way_around_the_limit_on_logins,
}

fn the_server_says_it_is_alive_and_ready(app: App) {
    for path in ["/healthz", "/readyz"] {
        let reply = app.anonymous().get(path);
        assert_eq!(reply.status, 200, "{}", reply.describe());
    }
}

// SQLite is a file of the process's own: it has no connection to lose.
#[test]
fn a_server_without_postgres_is_alive_but_not_ready() {
    loses_its_database(Setup::Postgres);
}

#[test]
fn a_server_with_redis_alone_is_alive_but_not_ready() {
    loses_its_database(Setup::PostgresRedis);
}

fn loses_its_database(setup: Setup) {
    let app = App::on(setup).env("ROOST_DB_WAIT_MS", "300").start();
    let ann = app.sign_up("ann");
    let tweet = ann.tweet("before");
    app.set_database_reachable(false);
    let anonymous = app.anonymous();
    let not_ready = anonymous.get("/readyz");
    assert_eq!(not_ready.status, 503, "{}", not_ready.describe());
    assert_eq!(anonymous.get("/healthz").status, 200);
    // Retry-After on 503 is checked for every answer; here: it comes soon, and it is no 500.
    let asked = Instant::now();
    ann.post("/api/tweets/", json!({"content": "lost"})).expect(503);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());

    app.set_database_reachable(true);
    let back = Instant::now();
    // A bounded wait for the pool to notice; no restart may be needed.
    while anonymous.get("/readyz").status != 200 {
        assert!(back.elapsed() < Duration::from_secs(5), "not ready again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ann.feed()[0]["tweet"]["id"], tweet["id"], "what got an error left nothing");
    ann.tweet("after");
    assert_eq!(ann.feed().len(), 2);
}

fn metrics_are_prometheus_text(app: App) {
    let sparrow = app.sign_up("sparrow_77");
    sparrow.tweet("hello");
    let reply = app.anonymous().get("/metrics");
    assert!(
        reply.header("content-type").unwrap().starts_with("text/plain"),
        "{}",
        reply.describe()
    );
    let text = reply.expect_text(200);
    let samples: Vec<&str> =
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(samples.iter().any(|line| line.starts_with("roost_")), "{text}");
    for line in samples {
        let (name, value) = line.rsplit_once(' ').expect("name value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(name.chars().next().unwrap().is_ascii_alphabetic(), "{line}");
    }
    // Labels with a value per user or per path would grow without bound.
    assert!(!text.contains("/api/tweets/1/") && !text.contains("sparrow_77"), "{text}");
    app.quiesce();
}

fn metrics_can_move_to_another_address(setup: Setup) {
    let app = App::on(setup).env("ROOST_METRICS_LISTEN", "127.0.0.1:0").start();
    // On the main address the path is gone: that is what the setting is for.
    app.anonymous().get("/metrics").refused(404, "Not found.");
    assert_eq!(app.anonymous().get("/healthz").status, 200);
}

fn the_schema_describes_every_path(app: App) {
    let schema = app.anonymous().get("/api/schema/").expect(200);
    assert!(text(&schema["openapi"]).starts_with("3.1"), "{}", schema["openapi"]);
    let paths = schema["paths"].as_object().expect("paths");
    let expected = [
        ("/api/accounts/signup/", "post"),
        ("/api/accounts/login/", "post"),
        ("/api/accounts/logout/", "post"),
        ("/api/accounts/login_status/", "get"),
        ("/api/accounts/token/", "post"),
        ("/api/accounts/token/", "delete"),
        ("/api/profiles/", "get"),
        ("/api/profiles/{user_id}/", "get"),
        ("/api/profiles/{user_id}/", "put"),
        ("/api/profiles/{user_id}/", "patch"),
        ("/api/tweets/", "get"),
        ("/api/tweets/", "post"),
        ("/api/tweets/{id}/", "get"),
        ("/api/tweets/{id}/", "delete"),
        ("/api/newsfeeds/", "get"),
        ("/api/newsfeeds/stream/", "get"),
        ("/api/friendships/{user_id}/follow/", "post"),
        ("/api/friendships/{user_id}/unfollow/", "post"),
        ("/api/friendships/{user_id}/followers/", "get"),
        ("/api/friendships/{user_id}/followings/", "get"),
        ("/api/comments/", "get"),
        ("/api/comments/", "post"),
        ("/api/comments/{id}/", "put"),
        ("/api/comments/{id}/", "delete"),
        ("/api/likes/", "post"),
        ("/api/likes/cancel/", "post"),
        ("/api/notifications/", "get"),
        ("/api/notifications/unread-count/", "get"),
        ("/api/notifications/mark-all-as-read/", "post"),
        ("/api/notifications/{id}/", "put"),
    ];
    // The names of path parameters are the document's own choice.
    let nameless = |path: &str| -> String {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    for (path, method) in expected {
        let entry = paths.iter().find(|(found, _)| nameless(found) == nameless(path));
        let (_, entry) = entry.unwrap_or_else(|| panic!("{path} is not described"));
        assert!(entry.get(method).is_some(), "{method} {path} is not described");
    }
}

fn the_docs_work_offline(app: App) {
    let reply = app.anonymous().get("/api/docs/");
    assert!(reply.header("content-type").unwrap().starts_with("text/html"), "{}", reply.describe());
    let page = reply.expect_text(200);
    assert!(page.contains("/api/schema/"), "the page renders the schema");
    for marker in ["src=\"http", "src='http", "src=\"//", "@import", "href=\"http", "href=\"//"] {
        assert!(!page.contains(marker), "{marker}: something comes from another host");
    }
}

fn logins_are_limited(setup: Setup) {
    let app = App::on(setup).env("ROOST_RATE_LIMITS", "on").start();
    app.sign_up("ann");
    let body = json!({"username": "ann", "password": "a wrong guess"});
    let attempt = || app.anonymous().post("/api/accounts/login/", body.clone());
    let statuses: Vec<u16> = (0..60).map(|_| attempt().status).collect();
    // A 429 tells when to come back: Retry-After is checked for every answer.
    let refused =
        statuses.iter().position(|status| *status == 429).expect("sixty guesses in a row");
    assert!(refused >= 3, "somebody who mistypes is not locked out");
    assert!(statuses[..refused].iter().all(|status| *status == 400), "{statuses:?}");
    assert!(statuses[refused..].iter().all(|status| *status == 429), "{statuses:?}");
    // Reading goes on.
    app.anonymous().get("/api/accounts/login_status/").expect(200);
}

fn no_way_around_the_limit_on_logins(setup: Setup) {
    let app = App::on(setup).env("ROOST_RATE_LIMITS", "on").start();
    let ann = app.sign_up("ann");
    let body = json!({"username": "ann", "password": "a wrong guess"});
    // The same resource, written differently.
    let spelt = || app.anonymous().post("/api/accounts/%6Cogin/", body.clone());
    let statuses: Vec<u16> = (0..12).map(|_| spelt().status).collect();
    assert!(!statuses.contains(&400) || statuses.ends_with(&[429]), "{statuses:?}");
    // "ann:wrong" in base64, on a path that has nothing to do with logins.
    let basic = ann.with_authorization("Basic YW5uOndyb25n");
    let statuses: Vec<u16> = (0..12).map(|_| basic.get("/api/newsfeeds/").status).collect();
    assert!(statuses.ends_with(&[429]), "{statuses:?}");
    // The right password is not looked at either: the answer would tell a guess from another.
    assert_eq!(ann.with_basic().get("/api/newsfeeds/").status, 429);
    // A session that works goes on.
    ann.get("/api/newsfeeds/").expect(200);
}
