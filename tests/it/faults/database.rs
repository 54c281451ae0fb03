//! The database is the truth: without it what is cached is still served, everything else is
//! refused with 503 in bounded time, nothing acknowledged is lost, and the node finds back by
//! itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use diesel::Connection;
use diesel::connection::SimpleConnection;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::load::{self, Kind, Pulse, Report};
use crate::harness::proxy::Verdict;
use crate::harness::servers::Stop;
use crate::harness::{App, Builder, Client, Setup, effort, id, json, on_postgres};

on_postgres! {
    restarted,
    stopped_without_a_checkpoint,
    frozen_and_going_on,
    sessions_killed_at_random,
    behind_a_network_that_swallows_everything,
    behind_a_network_that_resets_everything,
    behind_a_network_that_fails_in_every_other_way,
    commits_whose_answer_is_lost,
    every_connection_taken,
    transactions_that_cross,
    transactions_that_fail_to_serialize,
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

/// Clients at once when every connection is taken.
const CROWD: usize = 200;

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

/// A lock that somebody holds by hand, two connections for each lane, two hundred clients.
fn every_connection_taken(setup: Setup) {
    // At full length, with what holds where nothing is set.
    let (builder, wait, longest) = effort::lasting(
        (builder as fn(Setup) -> Builder, WAIT, SILENCE),
        (App::on, Duration::from_secs(2), Duration::from_secs(2 + 2 * 5 + 4)),
    );
    let mut app = builder(setup).env("ROOST_DB_READERS", "2").env("ROOST_DB_WRITERS", "2").start();
    let people = load::crowd(&app, 3);
    let own = id(&people[0].tweet("mine"));
    people[0].get("/api/newsfeeds/").expect(200);
    let strangers: Vec<Client> = (0..8).map(|n| app.sign_up(&format!("stranger{n}"))).collect();
    let mut link = app.session();
    let barrier = Barrier::new(CROWD);
    let waits: Mutex<Vec<Duration>> = Mutex::default();
    link.transaction(|link| {
        link.batch_execute("LOCK TABLE tweets, newsfeeds IN ACCESS EXCLUSIVE MODE")?;
        thread::scope(|scope| {
            for place in 0..CROWD {
                let (barrier, waits) = (&barrier, &waits);
                let stranger = &strangers[place % strangers.len()];
                scope.spawn(move || {
                    barrier.wait();
                    let asked = Instant::now();
                    // Cold: nobody has read this feed, and nobody can read it now.
                    let reply = match place % 4 {
                        0 => stranger.post("/api/tweets/", json!({"content": "no way"})),
                        _ => stranger.get("/api/newsfeeds/"),
                    };
                    assert_eq!(reply.status, 503, "{}", reply.describe());
                    assert!(asked.elapsed() < longest, "{:?}: {}", asked.elapsed(), reply.request);
                    waits.lock().unwrap().push(asked.elapsed());
                });
            }
            assert_warm_reads(&people[0]);
        });
        diesel::QueryResult::Ok(())
    })
    .expect("the lock");
    // Who has a connection, or waits for those who post, is given up after a statement's time.
    // The others wait for one as long as the setting says, and a moment for the machine.
    let mut waits = waits.into_inner().unwrap();
    waits.sort_unstable();
    let third = waits[waits.len() / 3];
    println!("a third is refused within {third:.1?}, all within {:.1?}", waits[waits.len() - 1]);
    assert!(third < wait + Duration::from_secs(1), "{third:?}");
    let begun = Instant::now();
    let is_back = || {
        let write = people[1].post("/api/tweets/", json!({"content": "again"}));
        write.status == 201 && strangers[0].get("/api/newsfeeds/").status == 200
    };
    while !is_back() {
        assert!(begun.elapsed() < BACK_WITHIN, "not back after {:?}", begun.elapsed());
        thread::sleep(Duration::from_millis(20));
    }
    assert!(people[0].feed_ids().contains(&own));
    assert!(strangers[0].feed().is_empty(), "what was refused left nothing");
    load::assert_sound(&mut app, &people);
}

/// Somebody else's transactions lock the same rows in the opposite order, again and again. The
/// server ends one of each two, and it is set up to be Roost's, whose transaction is run again.
fn transactions_that_cross(setup: Setup) {
    let mut app = App::on(setup).own_postgres(&["deadlock_timeout=100ms"]).start();
    let people = load::crowd(&app, 6);
    let targets = [id(&people[0].tweet("like me")), id(&people[1].tweet("me, too"))];
    let run_again = || app.metric("roost_db_conflicts_total").unwrap_or_default();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Half of them want one tweet, half the other: a batch locks both.
        for (place, person) in people.iter().enumerate() {
            let (over, target) = (&over, targets[place % 2]);
            scope.spawn(move || {
                let body = json!({"content_type": "tweet", "object_id": target});
                while !over.load(Ordering::SeqCst) {
                    for path in ["/api/likes/", "/api/likes/cancel/"] {
                        let reply = person.post(path, body.clone());
                        // The fourth attempt may fail, too; then it is for the client to try.
                        assert!(matches!(reply.status, 200 | 201 | 503), "{}", reply.describe());
                    }
                }
                person.like("tweet", target);
            });
        }
        let _over = load::SetAtEnd(&over);
        let mut link = app.session();
        // Whoever has waited for so long looks, once: Roost, as a rule.
        link.batch_execute("SET deadlock_timeout = '1s'").expect("a superuser");
        let lock = |id: i64| format!("SELECT 1 FROM tweets WHERE id = {id} FOR UPDATE;");
        let [first, last] = targets.map(lock);
        let crossing = format!("BEGIN; {last} SELECT pg_sleep(0.02); {first} COMMIT");
        let wanted = effort::rounds(5) as f64;
        let begun = Instant::now();
        while run_again() < wanted {
            assert!(begun.elapsed() < Duration::from_secs(60), "{} deadlocks", run_again());
            if link.batch_execute(&crossing).is_err() {
                link.batch_execute("ROLLBACK").expect("ROLLBACK");
            }
        }
    });
    println!("{} transactions run again", run_again());
    let likes = app.sql("SELECT sum(likes_count)::bigint AS n FROM tweets");
    assert_eq!(likes, 6, "everybody likes one of the two at the end");
    load::assert_sound(&mut app, &people);
}

/// The strictest order of transactions: the server refuses many that look as if they had
/// crossed. They are run again, and what fails too often is told to try later.
fn transactions_that_fail_to_serialize(setup: Setup) {
    let settings = ["default_transaction_isolation=serializable"];
    let mut app = App::on(setup).own_postgres(&settings).start();
    let people = load::crowd(&app, 6);
    let report = load::during(&people, |pulse| {
        let mut link = app.session();
        for round in 0..effort::rounds(40) {
            // Reads what everybody writes, and writes what everybody reads.
            let crossing = format!(
                "BEGIN; SELECT sum(likes_count) FROM tweets; SELECT max(last_at) FROM \
                 timeline_clock; UPDATE tweets SET likes_count = likes_count WHERE id = \
                 (SELECT min(id) + {round} % 6 FROM tweets); COMMIT"
            );
            if link.batch_execute(&crossing).is_err() {
                link.batch_execute("ROLLBACK").expect("ROLLBACK");
            }
            pulse.wait_for(2, 2);
        }
    });
    println!("{}", report.summary());
    println!("{} run again", app.metric("roost_db_conflicts_total").unwrap_or_default());
    assert!(app.metric("roost_db_conflicts_total") > Some(0.0), "nothing failed to serialize");
    report.assert_only(None, &[200, 201, 503]);
    report.assert_kept(&app);
    load::assert_sound(&mut app, &people);
}
