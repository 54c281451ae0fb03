//! A system clock that is set back or forward by an hour: feeds keep their order, sessions stay
//! valid, and nothing waits for the time to come again.
//!
//! The server runs with libfaketime (<https://github.com/wolfcw/libfaketime>) loaded before it,
//! which reads the shift from a file each time the clock is asked. The monotonic clock is left
//! alone, as a real step leaves it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::redis::wait_until_up;
use crate::harness::load;
use crate::harness::{App, Client, Reply, Setup, Value, id, json, on_every_setup};

on_every_setup! {
    set_back_and_forward,
}

/// Where Debian and others put it; `ROOST_TEST_FAKETIME` names another place.
fn library() -> PathBuf {
    let named = std::env::var("ROOST_TEST_FAKETIME").ok().map(PathBuf::from);
    let usual = ["x86_64-linux-gnu/faketime", "aarch64-linux-gnu/faketime", "faketime"]
        .map(|folder| Path::new("/usr/lib").join(folder).join("libfaketime.so.1"));
    let found = named.into_iter().chain(usual).find(|path| path.exists());
    found.expect("libfaketime is missing: run the tests with ./scripts/test, which installs it")
}

fn set_back_and_forward(setup: Setup) {
    let folder = tempfile::tempdir().unwrap();
    let shift_file = folder.path().join("shift");
    let shift = |text: &str| {
        // In one step: the server may read it at any moment.
        let next = folder.path().join("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(&next, &shift_file).unwrap();
    };
    shift("+0");
    let mut app = App::on(setup)
        .env("LD_PRELOAD", &library().to_string_lossy())
        .env("FAKETIME_TIMESTAMP_FILE", &shift_file.to_string_lossy())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("ROOST_RATE_LIMITS", "on")
        .env("ROOST_LIMIT_LOGIN_ACCOUNT", "2/3600")
        .start();
    wait_for_redis(&app);
    let people = load::crowd(&app, 3);
    let statuses = [(); 3].map(|()| guess(&app).status);
    assert_eq!(statuses, [400, 400, 429]);
    let mut posted: Vec<i64> = people[0].walk("/api/newsfeeds/?").iter().map(tweet_of).collect();
    for (round, step) in ["-3600", "+0", "+3600", "+0", "-3600"].into_iter().enumerate() {
        shift(step);
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
        assert!(asked.elapsed() < Duration::from_secs(5), "{step}: somebody waits for the clock");
        app.quiesce();
        for person in &people {
            let feed: Vec<i64> = person.walk("/api/newsfeeds/?").iter().map(tweet_of).collect();
            assert_eq!(feed, posted, "{step}: the order of posting");
        }
        // Later entries carry later times, whatever the clock says.
        assert!(newest_time(&people[0]) > newest, "{step}");
        if step == "+3600" {
            let lone = app.sign_up("lone");
            let query = format!("SELECT created_at AS n FROM users WHERE id = {}", lone.id);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
            let ahead = app.sql(&query) / 1_000_000 - now;
            assert!((3_500..=3_600).contains(&ahead), "the server's clock is {ahead} s ahead");
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
    shift("+0");
    load::assert_sound(&mut app, &people);
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
