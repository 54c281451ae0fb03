//! Redis is a tier and never a truth: whatever happens to it, reads are answered, writes are
//! accepted, nothing stale is shown afterwards, and no restart is needed.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::load::{self, Kind, Pulse, Report};
use crate::harness::{App, Client, Setup, effort, id};

/// How soon after the repair the tier is used again.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// A request may wait for Redis, but not for long.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(1);

fn start() -> (App, Vec<Client>) {
    let app = App::on(Setup::PostgresRedis).own_redis().behind_proxies().start();
    wait_until_up(&app);
    let people = load::crowd(&app, 6);
    (app, people)
}

fn is_up(app: &App) -> bool {
    app.metric("roost_redis_up") == Some(1.0)
}

#[track_caller]
fn wait_until(app: &App, up: bool) {
    let begun = Instant::now();
    while is_up(app) != up {
        assert!(begun.elapsed() < BACK_WITHIN, "Redis up is still {}", !up);
        thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
pub(super) fn wait_until_up(app: &App) {
    wait_until(app, true);
}

/// A node without Redis is alive and able to serve, and says so without asking it.
#[track_caller]
pub(super) fn assert_healthy(app: &App) {
    for path in ["/healthz", "/readyz"] {
        let asked = Instant::now();
        let reply = app.anonymous().get(path);
        assert_eq!(reply.status, 200, "{}", reply.describe());
        assert!(asked.elapsed() < READ_WITHIN, "{path} took {:?}", asked.elapsed());
    }
}

/// What must be true of everything that clients were told: no error at all.
#[track_caller]
fn assert_nobody_noticed(report: &Report) {
    println!("{}", report.summary());
    report.assert_only(None, &[200, 201]);
    let slow = report.percentile(Kind::Feed, 99);
    assert!(slow < READ_WITHIN, "the slowest hundredth of the feeds: {slow:?}");
}

/// Lets something happen to Redis under load. In the end Redis is up, and then nobody has noticed
/// and nothing is lost or wrong.
#[track_caller]
fn under_load(happens: impl FnOnce(&mut App, &Pulse)) {
    let (mut app, people) = start();
    let report = load::during(&people, |pulse| {
        happens(&mut app, pulse);
        wait_until_up(&app);
        pulse.wait_for(30, 30);
    });
    assert_nobody_noticed(&report);
    report.assert_kept(&app);
    load::assert_sound(&mut app, &people);
}

/// Breaks Redis, keeps it broken for a while, and mends it.
#[track_caller]
fn outlives(break_it: impl FnOnce(&mut App), mend_it: impl FnOnce(&mut App)) {
    let lasting = effort::lasting(Duration::from_millis(700), Duration::from_secs(30));
    under_load(|app, pulse| {
        break_it(app);
        wait_until(app, false);
        let broken = Instant::now();
        pulse.wait_for(30, 30);
        assert_healthy(app);
        while broken.elapsed() < lasting {
            thread::sleep(Duration::from_millis(20));
            assert_healthy(app);
        }
        pulse.wait_for(30, 30);
        assert!(!is_up(app), "nothing was broken");
        mend_it(app);
    });
}

#[test]
fn killed_and_started_again_empty() {
    outlives(|app| app.redis_server().kill9(), |app| app.redis_server().start_again());
}

#[test]
fn stopped_where_it_is_and_going_on_later() {
    outlives(|app| app.redis_server().freeze(), |app| app.redis_server().thaw());
}

#[test]
fn full_and_refusing_writes() {
    outlives(
        |app| app.redis_server().run(&["CONFIG", "SET", "maxmemory", "1"]),
        |app| app.redis_server().run(&["CONFIG", "SET", "maxmemory", "0"]),
    );
}

#[test]
fn made_a_replica_that_takes_no_writes() {
    outlives(
        // Of nobody: it keeps its data, and refuses writes.
        |app| app.redis_server().run(&["REPLICAOF", "127.0.0.1", "1"]),
        |app| app.redis_server().run(&["REPLICAOF", "NO", "ONE"]),
    );
}

#[test]
fn loading_an_old_snapshot_from_disk() {
    under_load(|app, pulse| {
        // What comes back is older than the truth, and takes its time to come back.
        app.redis_server().save_with_ballast(2_000);
        pulse.wait_for(30, 30);
        app.redis_server().kill9();
        pulse.wait_for(30, 30);
        app.redis_server().start_loading(Duration::from_millis(1));
        assert!(app.redis_server().is_loading(), "nothing to see");
        pulse.wait_for(30, 30);
        assert!(!is_up(app) || !app.redis_server().is_loading(), "used while it was loading");
    });
}

#[test]
fn slower_than_the_deadline() {
    outlives(
        |app| app.redis_link().delay(Duration::from_millis(100)),
        |app| app.redis_link().restore(),
    );
}

#[test]
fn behind_a_network_that_swallows_everything() {
    outlives(|app| app.redis_link().freeze(), |app| app.redis_link().restore());
}

#[test]
fn behind_a_network_that_resets_everything() {
    outlives(|app| app.redis_link().cut(), |app| app.redis_link().restore());
}

/// Faults that the tier gets over by itself, perhaps without going down.
#[track_caller]
fn shrugs_off(fault: impl Fn(&mut App, &Pulse)) {
    under_load(|app, pulse| {
        for _ in 0..effort::rounds(5) {
            fault(app, pulse);
            pulse.wait_for(20, 20);
        }
        app.redis_link().restore();
    });
}

#[test]
fn slow_but_in_time() {
    shrugs_off(|app, pulse| {
        app.redis_link().delay(Duration::from_millis(20));
        pulse.wait_for(20, 20);
    });
}

#[test]
fn flushed_in_the_middle() {
    shrugs_off(|app, _| app.redis_server().run(&["FLUSHALL"]));
}

#[test]
fn half_closed_in_the_middle() {
    shrugs_off(|app, _| {
        app.redis_link().half_close();
        wait_until_up(app);
    });
}

#[test]
fn reset_in_the_middle_of_an_answer() {
    shrugs_off(|app, pulse| {
        app.redis_link().reset_after(700);
        pulse.wait_for(20, 20);
        app.redis_link().restore();
        wait_until_up(app);
    });
}

/// How often Redis is given less room than it needs.
const TRIES: usize = 50;

#[test]
fn evicting_what_it_has_no_room_for() {
    shrugs_off(|app, pulse| {
        let server = app.redis_server();
        server.run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
        let before = server.info("evicted_keys");
        // Below what it holds, until something has gone: buffers of clients count too, and come
        // and go by themselves.
        for _ in 0..TRIES {
            let room = server.info("used_memory") - 1024;
            server.run(&["CONFIG", "SET", "maxmemory", &room.to_string()]);
            pulse.wait_for(2, 2);
            if server.info("evicted_keys") > before {
                break;
            }
        }
        pulse.wait_for(20, 20);
        assert!(server.info("evicted_keys") > before, "nothing was evicted");
        server.run(&["CONFIG", "SET", "maxmemory", "0"]);
    });
}

#[test]
fn a_key_of_the_wrong_type_heals() {
    let (mut app, people) = start();
    let reader = &people[0];
    let own = id(&reader.tweet("mine"));
    app.quiesce();
    let keys = [format!("user_newsfeeds:{}", reader.id), format!("user_tweets:{}", reader.id)];
    let counts = format!("tweet_counts:{own}");
    for value in ["no list", "", "\u{0}\u{1}\u{2}"] {
        // Cold in memory, so that Redis is asked.
        app.restart();
        wait_until_up(&app);
        for key in keys.iter().chain([&counts]) {
            app.redis_server().run(&["DEL", key]);
            app.redis_server().run(&["SET", key, value]);
        }
        assert_eq!(reader.feed_ids()[0], own);
        assert_eq!(id(&reader.tweets_of(reader)[0]), own);
        assert_eq!(reader.tweet_page(own)["likes_count"], 0);
        reader.like("tweet", own);
        reader.unlike("tweet", own);
        let newest = id(&reader.tweet("on top"));
        assert_eq!(reader.feed_ids()[0], newest);
        reader.delete(&format!("/api/tweets/{newest}/")).expect(200);
        app.quiesce();
        for key in &keys {
            let kind = app.redis_server().type_of(key);
            assert!(matches!(&*kind, "list" | "none"), "{key} is still a {kind}");
        }
    }
    load::assert_sound(&mut app, &people);
}
