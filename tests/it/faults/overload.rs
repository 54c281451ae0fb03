//! Three times more requests than a node can answer, sent at their own pace whether answers come
//! or not: what is too much is refused at once, what is done is as much as without overload, and
//! afterwards all is as before.

use std::time::{Duration, Instant};

use reqwest::Method;

use crate::harness::gun::{Gun, Shot, Volley, percentile};
use crate::harness::load;
use crate::harness::{App, Client, PASSWORD, Setup, effort, json, on_every_setup, on_postgres};

on_every_setup! {
    logins_beyond_what_others_leave,
}

on_postgres! {
    reads_beyond_the_database,
}

/// How soon after the overload the node is as quick as before.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// What is offered, in capacities.
const TIMES: f64 = 3.0;

fn overload(app: &mut App, people: &[Client], gun: &Gun) {
    let lasting = effort::lasting(Duration::from_millis(2_500), Duration::from_secs(30));
    let capacity = gun.capacity(lasting / 2);
    let before = app.memory_kib();
    let Volley { shots, took, .. } = gun.volley(TIMES * capacity, lasting);
    let (good, refused): (Vec<&Shot>, Vec<&Shot>) =
        shots.iter().partition(|shot| shot.status == 200);
    let goodput = good.len() as f64 / took.as_secs_f64();
    assert!(refused.len() > shots.len() / 4, "{} of {} refused", refused.len(), shots.len());
    println!(
        "capacity {capacity:.0}/s, offered {:.0}/s; goodput {goodput:.0}/s ({:.0} %), p99 {:.1?}; \
         {} refused, p50 {:.1?} p99 {:.1?}",
        shots.len() as f64 / lasting.as_secs_f64(),
        100.0 * goodput / capacity,
        percentile(good.iter().copied(), 99),
        refused.len(),
        percentile(refused.iter().copied(), 50),
        percentile(refused.iter().copied(), 99),
    );
    assert!(refused.iter().all(|shot| matches!(shot.status, 429 | 503)), "{:?}", refused[0].status);
    assert!(goodput > 0.8 * capacity, "goodput {goodput:.0}/s of {capacity:.0}/s");
    // At once: not after a wait for a connection or for a place.
    assert!(
        percentile(refused.iter().copied(), 50) < Duration::from_millis(100),
        "refused after a wait"
    );
    assert!(
        percentile(good.iter().copied(), 99) < Duration::from_secs(3),
        "what was done came too late"
    );

    let begun = Instant::now();
    while gun.capacity(Duration::from_millis(500)) < 0.8 * capacity {
        assert!(begun.elapsed() < BACK_WITHIN, "still slow after {:?}", begun.elapsed());
    }
    let after = app.memory_kib();
    println!("memory {} MiB before, {} MiB after", before >> 10, after >> 10);
    assert!(after < before / 5 * 6, "memory went from {before} to {after} KiB");
    load::assert_sound(app, people);
}

/// What costs processor time: password hashes.
fn login_gun(app: &App, who: &Client) -> Gun {
    let body = json!({"username": who.username, "password": PASSWORD}).to_string();
    Gun::new(app, &app.anonymous(), Method::POST, "/api/accounts/login/", Some(body))
}

fn logins_beyond_the_cores(setup: Setup) {
    let mut app = App::on(setup).env("ROOST_MAX_IN_FLIGHT", "12").start();
    let people = load::crowd(&app, 2);
    let gun = login_gun(&app, &people[0]);
    overload(&mut app, &people, &gun);
}

/// The same beside other tests, whose share of the processor changes all the time: each slice of
/// overload is held against the capacity just before and just after it, and what counts is the
/// middle of many. What a machine of one's own can do is measured by the ignored tests below.
fn logins_beyond_what_others_leave(setup: Setup) {
    let mut app = App::on(setup).env("ROOST_MAX_IN_FLIGHT", "8").start();
    let people = load::crowd(&app, 2);
    let gun = login_gun(&app, &people[0]);
    let slice = Duration::from_millis(400);
    gun.capacity(slice);
    let before = app.memory_kib();
    let (mut shares, mut all) = (Vec::new(), Vec::new());
    let mut capacity = gun.capacity(slice);
    for _ in 0..effort::rounds(5) {
        // However slow the machine is just now: more than may be in flight.
        let lasting = (40.0 / (TIMES * capacity)).clamp(slice.as_secs_f64(), 3.0);
        let Volley { shots, took, .. } =
            gun.volley(TIMES * capacity, Duration::from_secs_f64(lasting));
        let good = shots.iter().filter(|shot| shot.status == 200).count();
        let next = gun.capacity(slice);
        shares.push(good as f64 / took.as_secs_f64() / ((capacity + next) / 2.0));
        capacity = next;
        all.extend(shots);
    }
    shares.sort_by(f64::total_cmp);
    let share = shares[shares.len() / 2];
    let refused: Vec<&Shot> = all.iter().filter(|shot| shot.status != 200).collect();
    println!("{share:.2} of {shares:.2?}; {} of {} refused", refused.len(), all.len());
    assert!(share > 0.8, "the middle of {shares:.2?}");
    assert!(refused.iter().all(|shot| matches!(shot.status, 429 | 503)), "{:?}", refused[0].status);
    assert!(refused.len() > all.len() / 12, "{} of {} refused", refused.len(), all.len());
    assert!(
        percentile(refused.iter().copied(), 50) < Duration::from_millis(100),
        "refused after a wait"
    );

    let begun = Instant::now();
    let next = gun.volley(10.0, Duration::from_millis(500));
    assert!(next.shots.iter().all(|shot| shot.status == 200), "still refused");
    assert!(begun.elapsed() < BACK_WITHIN, "still slow after {:?}", begun.elapsed());
    let after = app.memory_kib();
    assert!(after < before / 5 * 6, "memory went from {before} to {after} KiB");
    load::assert_sound(&mut app, &people);
}

// What the processor can do is known only while nobody else uses it:
// ./scripts/test --test it logins_beyond -- --ignored --test-threads=1
#[test]
#[ignore = "measures the processor, which must be idle"]
fn logins_beyond_the_cores_on_sqlite() {
    logins_beyond_the_cores(Setup::Sqlite);
}

#[test]
#[ignore = "measures the processor, which must be idle"]
fn logins_beyond_the_cores_on_postgres() {
    logins_beyond_the_cores(Setup::Postgres);
}

#[test]
#[ignore = "measures the processor, which must be idle"]
fn logins_beyond_the_cores_on_postgres_redis() {
    logins_beyond_the_cores(Setup::PostgresRedis);
}

/// What waits for the database: two connections over a slow link.
fn reads_beyond_the_database(setup: Setup) {
    let mut app = App::on(setup)
        .behind_proxies()
        .env("ROOST_MAX_IN_FLIGHT", "12")
        .env("ROOST_DB_READERS", "2")
        .start();
    let people = load::crowd(&app, 4);
    app.database_link().delay(Duration::from_millis(10));
    let path = format!("/api/friendships/{}/followers/", people[0].id);
    let gun = Gun::new(&app, &app.anonymous(), Method::GET, &path, None);
    overload(&mut app, &people, &gun);
}
