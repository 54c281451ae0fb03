//! The database is the truth: without it what is cached is still served, everything else is
//! refused with 503 in bounded time, nothing acknowledged is lost, and the node finds back by
//! itself.

mod contention;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::load::{self, Kind, Pulse, Report};
use crate::harness::proxy::Verdict;
use crate::harness::servers::Stop;
use crate::harness::{App, Builder, Client, Setup, effort, on_postgres};

on_postgres! {
    restarted,
    stopped_without_a_checkpoint,
    frozen_and_going_on,
    sessions_killed_at_random,
    behind_a_network_that_swallows_everything,
    behind_a_network_that_resets_everything,
    behind_a_network_that_fails_in_every_other_way,
    commits_whose_answer_is_lost,
}

/// How soon after the repair writes go through again.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for a connection, and longest statement, in these stories.
const WAIT: Duration = Duration::from_millis(400);
const STATEMENT: Duration = Duration::from_millis(800);

/// The longest that a request may take while the database is silent: a wait for a connection,
/// and a call that is given up after twice a statement's time; a cushion for a busy machine.
const SILENCE: Duration = Duration::from_millis(400 + 2 * 800 + 4_000);

fn builder(setup: Setup) -> Builder {
    App::on(setup)
        .env("ROOST_DB_WAIT_MS", &WAIT.as_millis().to_string())
        .env("ROOST_DB_STATEMENT_MS", &STATEMENT.as_millis().to_string())
}

#[track_caller]
fn assert_answered(report: &Report, longest: Duration) {
    println!("{}", report.summary());
    report.assert_only(None, &[200, 201, 503]);
    for kind in [Kind::Feed, Kind::Read, Kind::Write] {
        let slowest = report.percentile(kind, 100);
        assert!(slowest < longest, "a {kind:?} took {slowest:?}: {}", report.summary());
    }
}

/// What is in memory is served without the database: the feed of somebody who is at home. And
/// the node says that it is alive.
#[track_caller]
fn assert_warm_reads(reader: &Client) {
    let asked = Instant::now();
    reader.get("/healthz").expect_text(200);
    assert!(asked.elapsed() < Duration::from_secs(1), "/healthz took {:?}", asked.elapsed());
    for _ in 0..20 {
        let asked = Instant::now();
        reader.get("/api/newsfeeds/").expect(200);
        assert!(asked.elapsed() < Duration::from_secs(1), "a warm read took {:?}", asked.elapsed());
    }
}

/// A node that has lost its session believes nothing from before once it hears the others
/// again: what is to be warm in the next round must be read after that.
fn warm_again(app: &App, reader: &Client) {
    let begun = Instant::now();
    while app.metric("roost_bus_listening") != Some(1.0) {
        assert!(begun.elapsed() < BACK_WITHIN, "the node does not listen again");
        thread::sleep(Duration::from_millis(10));
    }
    reader.get("/api/newsfeeds/").expect(200);
}

/// Breaks the database under load, `rounds` times; mends it, and looks at the end.
fn outlives(
    app: &mut App,
    break_it: impl Fn(&mut App, &Pulse, usize),
    mend_it: impl Fn(&mut App),
    rounds: usize,
) {
    let people = load::crowd(app, 6);
    let bystander = app.sign_up("bystander");
    bystander.tweet("at home");
    bystander.get("/api/newsfeeds/").expect(200);
    let report = load::during(&people, |pulse| {
        for round in 0..rounds {
            break_it(app, pulse, round);
            assert_warm_reads(&bystander);
            mend_it(app);
            let back = pulse.time_to_write(30);
            assert!(back < BACK_WITHIN, "round {round}: back after {back:?}");
            warm_again(app, &bystander);
        }
    });
    assert_answered(&report, SILENCE);
    report.assert_kept(app);
    load::assert_sound(app, &people);
}

/// Random moments between two writes, for faults that must hit anywhere.
fn pauses(test: &str, rounds: usize, up_to_ms: u64) -> Vec<Duration> {
    let mut dice = StdRng::seed_from_u64(effort::seed(test));
    (0..rounds).map(|_| Duration::from_millis(dice.random_range(0..up_to_ms))).collect()
}

/// Long enough for every request under way to be given up.
fn an_outage() -> Duration {
    effort::lasting(Duration::from_millis(1_500), Duration::from_secs(30))
}

fn restarted(setup: Setup) {
    let mut app = builder(setup).own_postgres(&[]).start();
    outlives(
        &mut app,
        |app, _, _| {
            app.postgres_server().stop(Stop::Fast);
            thread::sleep(an_outage() / 3);
        },
        |app| app.postgres_server().start_again(),
        effort::rounds(2),
    );
}

fn stopped_without_a_checkpoint(setup: Setup) {
    let mut app = builder(setup).own_postgres(&[]).start();
    let pauses = pauses("immediate", effort::rounds(3), 100);
    outlives(
        &mut app,
        |app, _, round| {
            thread::sleep(pauses[round]);
            app.postgres_server().stop(Stop::Immediate);
        },
        |app| app.postgres_server().start_again(),
        pauses.len(),
    );
}

fn frozen_and_going_on(setup: Setup) {
    let mut app = builder(setup).own_postgres(&[]).start();
    outlives(
        &mut app,
        |app, _, _| {
            app.postgres_server().freeze();
            thread::sleep(an_outage());
        },
        |app| app.postgres_server().thaw(),
        1,
    );
}

fn sessions_killed_at_random(setup: Setup) {
    let mut app = builder(setup).start();
    let pauses = pauses("terminate", effort::rounds(20), 60);
    outlives(
        &mut app,
        |app, _, round| {
            thread::sleep(pauses[round]);
            app.end_database_sessions();
        },
        |_| (),
        pauses.len(),
    );
}

fn behind_a_network_that_swallows_everything(setup: Setup) {
    let mut app = builder(setup).behind_proxies().start();
    outlives(
        &mut app,
        |app, _, _| {
            app.database_link().freeze();
            thread::sleep(an_outage());
        },
        |app| app.database_link().restore(),
        1,
    );
}

fn behind_a_network_that_resets_everything(setup: Setup) {
    let mut app = builder(setup).behind_proxies().start();
    outlives(
        &mut app,
        |app, _, _| {
            app.database_link().cut();
            thread::sleep(an_outage() / 3);
        },
        |app| app.database_link().restore(),
        2,
    );
}

fn behind_a_network_that_fails_in_every_other_way(setup: Setup) {
    let mut app = builder(setup).behind_proxies().start();
    outlives(
        &mut app,
        |app, _, round| match round % 3 {
            0 => app.database_link().half_close(),
            1 => {
                app.database_link().reset_after(3_000);
                thread::sleep(Duration::from_millis(200));
            }
            _ => {
                app.database_link().delay(Duration::from_millis(50));
                thread::sleep(Duration::from_millis(500));
            }
        },
        |app| app.database_link().restore(),
        effort::rounds(6),
    );
}

/// The server commits, and the connection breaks before it can say so: whoever asked gets 503
/// and may try again; nothing is counted twice, no cache keeps what was before.
fn commits_whose_answer_is_lost(setup: Setup) {
    let mut app = builder(setup).behind_proxies().start();
    let lost = Arc::new(AtomicUsize::new(0));
    let people = load::crowd(&app, 6);
    let report = load::during(&people, |pulse| {
        let (mut commits, counter) = (0, lost.clone());
        app.database_link().judge(move |bytes| {
            let commit = bytes.windows(6).any(|six| six == b"COMMIT");
            commits += usize::from(commit);
            if !commit || commits % 7 != 0 {
                return Verdict::Pass;
            }
            counter.fetch_add(1, Ordering::SeqCst);
            Verdict::LoseAnswer
        });
        pulse.wait_for(50 * effort::rounds(5), 50);
        app.database_link().judge_no_more();
        pulse.wait_for(30, 30);
    });
    let lost = lost.load(Ordering::SeqCst);
    println!("{lost} commits without an answer");
    assert!(lost >= 5, "only {lost} commits lost their answer");
    assert_answered(&report, SILENCE);
    report.assert_kept(&app);
    load::assert_sound(&mut app, &people);
}
