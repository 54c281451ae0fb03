//! A Redis that answers late while requests arrive at their own pace: nothing piles up in front
//! of it. Clients that wait for their answers, as in `redis`, would slow down with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::Method;

use super::redis::{READ_WITHIN, assert_healthy, wait_until_up};
use crate::harness::gun::{Gun, Volley, percentile};
use crate::harness::{App, Client, Setup, effort, json, load};

/// People whose lists leave memory each second, so that Redis is asked for them.
const PEOPLE: usize = 12;

/// The rate of arrival, of what the node can do. The rest is for other tests beside it.
const SHARE: f64 = 0.4;

/// As long as this may the requests that are under way have taken to arrive.
const HELD_UP: f64 = 0.5;

/// Long enough for what is to follow in Redis to pile up in front of one that is late, where
/// posts and deliveries begin to wait for it.
const QUEUE_FILLS: Duration = Duration::from_secs(6);

fn start() -> (App, Vec<Client>) {
    let builder = App::on(Setup::PostgresRedis).own_redis().behind_proxies();
    // No list stays in memory for longer than a second. A token is taken in Redis before each
    // write, and reads are told there; nobody comes near these limits.
    let settings = [
        ("ROOST_RESIDENT_ENTRIES", "1"),
        ("ROOST_RATE_LIMITS", "on"),
        ("ROOST_LIMIT_SIGN_UP", "1000/60"),
        ("ROOST_LIMIT_POST", "100000/60"),
        ("ROOST_LIMIT_FOLLOW", "100000/60"),
        ("ROOST_LIMIT_READ", "100000/60"),
    ];
    let app = settings.iter().fold(builder, |app, (name, value)| app.env(name, value)).start();
    wait_until_up(&app);
    let people = load::crowd(&app, PEOPLE);
    (app, people)
}

/// Everybody reads a feed and a list, and every fourth request is a post.
fn gun(app: &App, people: &[Client]) -> Gun {
    let mut asked = Vec::new();
    for (place, one) in people.iter().enumerate() {
        let other = &people[(place + 1) % people.len()];
        asked.push((one, Method::GET, "/api/newsfeeds/".to_owned(), None));
        asked.push((one, Method::GET, format!("/api/tweets/?user_id={}", other.id), None));
        asked.push((other, Method::GET, format!("/api/newsfeeds/?page_size={}", place + 1), None));
        let post = json!({"content": "on and on"}).to_string();
        asked.push((one, Method::POST, "/api/tweets/".to_owned(), Some(post)));
    }
    Gun::in_turn(app, asked)
}

/// Fires, and looks at the node meanwhile: that it says it is well, and what it works on.
fn watched(app: &App, gun: &Gun, rate: f64, lasting: Duration) -> (Volley, f64) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most: f64 = 0.0;
            while !over.load(Ordering::SeqCst) {
                assert_healthy(app);
                most = most.max(app.metric("roost_http_in_flight").expect("the gauge"));
                thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let volley = {
            let _over = load::SetAtEnd(&over);
            gun.volley(rate, lasting)
        };
        (volley, watching.join().expect("healthy all the time"))
    })
}

/// What a node is to think of Redis once requests have been coming for a while.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Redis {
    Used,
    /// In time now and then.
    Either,
    /// Nobody asks it any more: a node that went on asking would wait for each answer, and would
    /// deliver less than is posted.
    GivenUp,
}

#[track_caller]
fn assert_keeps_up(app: &App, gun: &Gun, rate: f64, what: &str, redis: Redis) {
    let short = if redis == Redis::Either { QUEUE_FILLS } else { Duration::from_millis(1_200) };
    let lasting = effort::lasting(short, Duration::from_secs(30));
    let (volley, most_in_flight) = watched(app, gun, rate, lasting);
    let undelivered = app.metric("roost_fanout_tasks_open").expect("the gauge");
    let (writes, reads): (Vec<_>, Vec<_>) =
        volley.shots.iter().partition(|shot| shot.which % 4 == 3);
    let [p99_reads, p99_writes] =
        [&reads, &writes].map(|shots| percentile(shots.iter().copied(), 99));
    println!(
        "{what}: {rate:.0}/s, {} reads p99 {p99_reads:.1?}, {} writes p99 {p99_writes:.1?}; \
         {most_in_flight} in flight, {} under way at most, {undelivered} undelivered",
        reads.len(),
        writes.len(),
        volley.most_under_way,
    );
    assert!(volley.shots.len() as f64 > 0.9 * rate * lasting.as_secs_f64(), "it was no open loop");
    for shot in &volley.shots {
        let expected = if shot.which % 4 == 3 { 201 } else { 200 };
        assert_eq!(shot.status, expected, "{what}");
    }
    assert!(p99_reads < READ_WITHIN, "{what}: a hundredth of the reads takes {p99_reads:?}");
    // A write may wait for Redis twice: for its token, and for its turn at a list.
    assert!(p99_writes < 2 * READ_WITHIN, "{what}: a hundredth of the writes takes {p99_writes:?}");
    let limit = rate * HELD_UP + 16.0;
    assert!(most_in_flight < limit, "{what}: {most_in_flight} in flight of {limit:.0}");
    let under_way = volley.most_under_way as f64;
    assert!(under_way < 2.0 * limit, "{what}: {under_way} under way");
    let (is_up, expected) = (app.metric("roost_redis_up"), f64::from(redis == Redis::Used));
    assert!(redis == Redis::Either || is_up == Some(expected), "{what}: Redis up is {is_up:?}");
    // What is posted in a second, and some. With Redis as usual this is a matter of the machine.
    let limit = rate / 4.0 + 16.0;
    assert!(
        redis == Redis::Used || undelivered < limit,
        "{what}: {undelivered} tweets are on their way, {limit:.0} may be"
    );
}

#[test]
fn requests_keep_coming_while_redis_is_slow() {
    let (mut app, people) = start();
    let gun = gun(&app, &people);
    gun.capacity(Duration::from_millis(300));
    let rate = (SHARE * gun.capacity(Duration::from_millis(700))).clamp(40.0, 200.0);
    assert_keeps_up(&app, &gun, rate, "as usual", Redis::Used);
    // There and back: in time, twice the deadline of a call, and many times that.
    for (delay, redis) in [(20, Redis::Either), (100, Redis::GivenUp), (1_000, Redis::GivenUp)] {
        app.redis_link().delay(Duration::from_millis(delay));
        assert_keeps_up(&app, &gun, rate, &format!("{} ms late", 2 * delay), redis);
        app.redis_link().restore();
        wait_until_up(&app);
    }
    app.redis_server().freeze();
    assert_keeps_up(&app, &gun, rate, "frozen", Redis::GivenUp);
    app.redis_server().thaw();
    let begun = Instant::now();
    wait_until_up(&app);
    println!("used again after {:.1?}", begun.elapsed());
    assert_keeps_up(&app, &gun, rate, "as usual again", Redis::Used);
    assert_eq!(app.metric("roost_http_in_flight"), Some(0.0), "a place was not given back");
    load::assert_sound(&mut app, &people);
}
