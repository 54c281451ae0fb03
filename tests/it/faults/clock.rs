//! A system clock that is set back or forward by an hour: feeds keep their order, sessions stay
//! valid, and nothing waits for the time to come again.
//!
//! The server runs with libfaketime (<https://github.com/wolfcw/libfaketime>) loaded before it,
//! which reads the shift from a file each time the clock is asked. The monotonic clock is left
//! alone, as a real step leaves it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::redis::{READ_WITHIN, assert_healthy, wait_until_up};
use crate::harness::load::{self, Kind};
use crate::harness::{App, Client, Reply, Setup, Value, id, json, on_every_setup};

on_every_setup! {
    set_back_and_forward,
    set_back_and_forward_under_load,
}

/// What the clock is ahead of the true one, in seconds, one after the other.
const STEPS: [&str; 5] = ["-3600", "+0", "+3600", "+0", "-3600"];

/// Nobody waits for the time to come again.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Where Debian and others put it; `ROOST_TEST_FAKETIME` names another place.
fn library() -> PathBuf {
    let named = std::env::var("ROOST_TEST_FAKETIME").ok().map(PathBuf::from);
    let usual = ["x86_64-linux-gnu/faketime", "aarch64-linux-gnu/faketime", "faketime"]
        .map(|folder| Path::new("/usr/lib").join(folder).join("libfaketime.so.1"));
    let found = named.into_iter().chain(usual).find(|path| path.exists());
    found.expect("libfaketime is missing: run the tests with ./scripts/test, which installs it")
}

/// The clock of a server.
struct Wall(TempDir);

impl Wall {
    fn new() -> Self {
        let wall = Self(tempfile::tempdir().unwrap());
        wall.shift("+0");
        wall
    }

    /// In one step: the server may read it at any moment.
    fn shift(&self, text: &str) {
        let next = self.0.path().join("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(&next, self.0.path().join("shift")).unwrap();
    }

    /// Starts a server that goes by it, with rate limits.
    fn start(&self, setup: Setup, limits: &[(&str, &str)]) -> App {
        let app = App::on(setup)
            .env("LD_PRELOAD", &library().to_string_lossy())
            .env("FAKETIME_TIMESTAMP_FILE", &self.0.path().join("shift").to_string_lossy())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("ROOST_RATE_LIMITS", "on");
        let app = limits.iter().fold(app, |app, (name, limit)| app.env(name, limit)).start();
        wait_for_redis(&app);
        app
    }
}

fn set_back_and_forward(setup: Setup) {
    let wall = Wall::new();
    let mut app = wall.start(setup, &[("ROOST_LIMIT_LOGIN_ACCOUNT", "2/3600")]);
    let people = load::crowd(&app, 3);
    let statuses = [(); 3].map(|()| guess(&app).status);
    assert_eq!(statuses, [400, 400, 429]);
    let mut posted: Vec<i64> = people[0].walk("/api/newsfeeds/?").iter().map(tweet_of).collect();
    for (round, step) in STEPS.into_iter().enumerate() {
        wall.shift(step);
        if round == 3 {
            app.restart();
            wait_for_redis(&app);
        }
        let newest = newest_time(&people[0]);
        let asked = Instant::now();
        for person in &people {
            let tweet = id(&person.tweet("what time is it"));
            posted.insert(0, tweet);
            person.like("tweet", tweet);
            person.comment(tweet, "late");
        }
        assert!(asked.elapsed() < AT_ONCE, "{step}: somebody waits for the clock");
        app.quiesce();
        for person in &people {
            let feed: Vec<i64> = person.walk("/api/newsfeeds/?").iter().map(tweet_of).collect();
            assert_eq!(feed, posted, "{step}: the order of posting");
        }
        // Later entries carry later times, whatever the clock says.
        assert!(newest_time(&people[0]) > newest, "{step}");
        if step == "+3600" {
            assert_ahead(&app);
        }
        // Sessions and tokens are neither expired nor from the future.
        let status = people[0].get("/api/accounts/login_status/").expect(200);
        assert_eq!(status["has_logged_in"], true, "{step}");
        people[0].with_bearer().get("/api/newsfeeds/").expect(200);
        // A limit neither ends with the hour nor lasts for two. Without Redis it is the
        // process's own, and begins anew with it.
        if round == 3 && setup != Setup::PostgresRedis {
            assert_eq!([(); 3].map(|()| guess(&app).status), [400, 400, 429]);
        }
        let refused = guess(&app);
        assert_eq!(refused.status, 429, "{step}: {}", refused.describe());
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!(wait <= 1_800, "{step}: come again in {wait} s");
        assert_every_key_expires(&app, step);
    }
    wall.shift("+0");
    load::assert_sound(&mut app, &people);
}

/// The same while six people read, post, comment and like, each of them counted against limits
/// that nobody comes near: a bucket must not dry up with the clock.
fn set_back_and_forward_under_load(setup: Setup) {
    let wall = Wall::new();
    let limits = [
        ("ROOST_LIMIT_SIGN_UP", "1000/60"),
        ("ROOST_LIMIT_READ", "1000000/60"),
        ("ROOST_LIMIT_POST", "1000000/60"),
        ("ROOST_LIMIT_FOLLOW", "1000000/60"),
        ("ROOST_LIMIT_LIKE", "1000000/60"),
        ("ROOST_LIMIT_WRITE", "1000000/60"),
    ];
    let mut app = wall.start(setup, &limits);
    let people = load::crowd(&app, 6);
    let report = load::during(&people, |pulse| {
        for step in STEPS {
            wall.shift(step);
            let took = pulse.time_to_write(30);
            assert!(took < AT_ONCE, "{step}: thirty writes took {took:?}");
            pulse.wait_for(30, 30);
            assert_healthy(&app);
            if step == "+3600" {
                assert_ahead(&app);
            }
            assert_every_key_expires(&app, step);
        }
    });
    println!("{}", report.summary());
    report.assert_only(None, &[200, 201]);
    let slow = report.percentile(Kind::Feed, 99);
    assert!(slow < READ_WITHIN, "the slowest hundredth of the feeds: {slow:?}");
    report.assert_kept(&app);
    load::assert_sound(&mut app, &people);
    // What one person posts, one after the other, keeps its order, and is so for everybody.
    let turned = "SELECT count(*) AS n FROM newsfeeds a JOIN tweets t ON t.id = a.tweet_id \
                  JOIN newsfeeds b ON b.user_id = a.user_id JOIN tweets u ON u.id = b.tweet_id \
                  WHERE u.user_id = t.user_id AND t.id < u.id AND a.created_at >= b.created_at";
    assert_eq!(app.sql(turned), 0, "entries in another order than that of posting");
}

/// The server goes by the clock that it is given.
#[track_caller]
fn assert_ahead(app: &App) {
    let lone = app.sign_up("lone");
    let query = format!("SELECT created_at AS n FROM users WHERE id = {}", lone.id);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let ahead = app.sql(&query) / 1_000_000 - now;
    assert!((3_500..=3_600).contains(&ahead), "the server's clock is {ahead} s ahead");
}

/// A bucket that is to outlive the process must be kept in Redis from the first guess.
fn wait_for_redis(app: &App) {
    if app.setup == Setup::PostgresRedis {
        wait_until_up(app);
    }
}

/// One more wrong password for a name of nobody.
fn guess(app: &App) -> Reply {
    let body = json!({"username": "nobody_here", "password": "a wrong guess"});
    app.anonymous().post("/api/accounts/login/", body)
}

/// Nothing lies in Redis for ever, or for longer than a list may: a week and a tenth of it. But for
/// one key, by which a server is known again.
fn assert_every_key_expires(app: &App, step: &str) {
    let Some(mut redis) = app.redis() else { return };
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis).expect("KEYS");
    for key in keys.iter().filter(|key| *key != "roost:server") {
        let left: i64 = redis::cmd("TTL").arg(key).query(&mut redis).expect("TTL");
        // -2: gone since.
        assert!(left == -2 || (0..=8 * 86_400).contains(&left), "{step}: {key} lives {left} s");
    }
}

fn tweet_of(entry: &Value) -> i64 {
    id(&entry["tweet"])
}

fn newest_time(reader: &Client) -> i64 {
    id(&reader.feed()[0])
}
