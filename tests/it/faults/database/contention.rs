//! A database that is there and in the hands of others: every connection is taken, or
//! transactions get in each other's way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use diesel::Connection;
use diesel::connection::SimpleConnection;

use super::{BACK_WITHIN, SILENCE, WAIT, assert_warm_reads, builder};
use crate::harness::{App, Builder, Client, Setup, effort, id, json, load, on_postgres};

on_postgres! {
    every_connection_taken,
    transactions_that_cross,
    transactions_that_fail_to_serialize,
}

/// Clients at once when every connection is taken.
const CROWD: usize = 200;

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
