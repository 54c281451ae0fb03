//! The first rows of the fault matrix: the end of the process in the middle of deliveries.
//!
//! `ROOST_TEST_ROUNDS=100 ./scripts/test --test it fanout_kills -- --nocapture` kills a hundred
//! times among deliveries to 10,000 followers instead of twice among 1,000.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::followers;
use crate::harness::{App, Client, Value, effort, id, ids, json, on_every_setup};

on_every_setup! {
    a_kill_in_the_middle_of_a_fan_out_loses_and_repeats_nothing,
    a_polite_stop_in_the_middle_of_a_fan_out_is_quick_and_loses_nothing,
}

/// After a restart, what was under way is done within.
const COMPLETE_WITHIN: Duration = Duration::from_secs(60);

/// Tweets of one author and round, at most.
const TWEETS: usize = 4;

fn followers() -> i64 {
    if effort::is_long() { 10_000 } else { 1_000 }
}

/// Posts until the server has gone; the ids that were acknowledged.
fn post(client: &Client, acknowledged: &AtomicUsize, over: &AtomicBool) -> Vec<i64> {
    let mut ids = Vec::new();
    while ids.len() < TWEETS && !over.load(Ordering::Relaxed) {
        let body = json!({"content": "to everybody"});
        let Ok(answer) = client.request("POST", "/api/tweets/").json(&body).open() else { break };
        let created = answer.status() == 201;
        // A server that ends in the middle of an answer has not acknowledged.
        let Ok(body) = answer.bytes() else { break };
        if created && let Ok(tweet) = serde_json::from_slice::<Value>(&body) {
            ids.push(id(&tweet));
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
    ids
}

/// Lets all authors post at once and ends the server once the first tweet is acknowledged.
fn post_until(authors: &[Client], end: impl FnOnce()) -> Vec<i64> {
    let (acknowledged, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let posting: Vec<_> = authors
            .iter()
            .map(|author| scope.spawn(|| post(author, &acknowledged, &over)))
            .collect();
        let begun = Instant::now();
        while acknowledged.load(Ordering::Relaxed) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "no post goes through");
            thread::sleep(Duration::from_micros(200));
        }
        end();
        over.store(true, Ordering::Relaxed);
        posting.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Two large authors, a small one, and a reader who follows all of them.
fn cast(app: &App) -> (Vec<Client>, Client) {
    let authors: Vec<Client> = ["ann", "bob", "eve"].map(|name| app.sign_up(name)).into();
    let reader = app.sign_up("reader");
    followers::add(app, authors[0].id, followers());
    followers::add(app, authors[1].id, followers() / 2);
    for author in &authors {
        reader.follow(author);
    }
    (authors, reader)
}

#[track_caller]
fn assert_reader_has_all(app: &App, reader: &Client, acknowledged: &[i64]) {
    let feed = ids(&Value::Array(reader.walk("/api/newsfeeds/?page_size=100")), "tweet.id");
    let stored = app.sql_list("SELECT id AS n FROM tweets ORDER BY id");
    let mut seen = feed.clone();
    seen.sort_unstable();
    assert_eq!(seen, stored, "the reader has every tweet exactly once");
    for tweet in acknowledged {
        assert!(stored.contains(tweet), "tweet {tweet} was acknowledged and lost");
    }
}

fn a_kill_in_the_middle_of_a_fan_out_loses_and_repeats_nothing(mut app: App) {
    let (authors, reader) = cast(&app);
    let mut dice = StdRng::seed_from_u64(effort::seed("a kill in the middle of a fan-out"));
    let (mut last, mut resumed, mut promises, mut times) = (0, 0, 0, Vec::new());
    // In microseconds: at first half a second for the long run, then what makes about every second
    // kill one among deliveries, however fast the machine is.
    let mut latest = 50 * followers() as u64;
    for _ in 0..effort::rounds(2) {
        let acknowledged = post_until(&authors, || {
            thread::sleep(Duration::from_micros(dice.random_range(0..latest)));
            app.kill9();
        });
        let open = app.sql("SELECT count(*) AS n FROM fanout_tasks WHERE finished_at IS NULL");
        resumed += usize::from(open > 0);
        latest = if open > 0 { latest * 5 / 4 } else { (latest * 4 / 5).max(1_000) };
        app.start_again();
        times.push(followers::wait_until_delivered(&app, COMPLETE_WITHIN));
        last = followers::assert_delivered_once(&app, last);
        assert_reader_has_all(&app, &reader, &acknowledged);
        promises += acknowledged.len();
        followers::forget_feeds(&app);
    }
    times.sort_unstable();
    println!(
        "{:?}: {} kills, {resumed} with deliveries under way, {promises} acknowledged writes; \
         complete after the restart: median {:?}, longest {:?}",
        app.setup,
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1],
    );
    // Enough for the range to have settled.
    if times.len() >= 50 {
        assert!(resumed * 4 >= times.len(), "too few of the kills were among deliveries");
    }
}

fn a_polite_stop_in_the_middle_of_a_fan_out_is_quick_and_loses_nothing(mut app: App) {
    let (authors, reader) = cast(&app);
    let acknowledged = post_until(&authors, || {
        let asked = Instant::now();
        assert_eq!(app.sigterm(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    });
    app.start_again();
    followers::wait_until_delivered(&app, COMPLETE_WITHIN);
    followers::assert_delivered_once(&app, 0);
    assert_reader_has_all(&app, &reader, &acknowledged);
}
