//! The file of SQLite, locked by another process: a backup that takes its time, somebody at a
//! shell. Reads go on, writes are refused with 503 in bounded time, nothing is lost.

use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};

use crate::harness::load::{self, Kind};
use crate::harness::{App, Setup, effort, json};

/// Longest wait for the file in this story.
const WAIT: Duration = Duration::from_millis(400);

/// A request that waits for its turn and then for the file; a cushion for a busy machine.
const LONGEST: Duration = Duration::from_millis(2 * 400 + 4_000);

const BACK_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn locked_by_another_process() {
    let wait = WAIT.as_millis().to_string();
    let mut app = App::on(Setup::Sqlite).env("ROOST_DB_WAIT_MS", &wait).start();
    let people = load::crowd(&app, 6);
    let file = app.data_dir().join("roost.db");
    let mut link = SqliteConnection::establish(&file.to_string_lossy()).expect("open the file");
    link.batch_execute("PRAGMA busy_timeout = 10000").expect("set busy_timeout");
    let lasting = effort::lasting(Duration::from_millis(1_500), Duration::from_secs(30));
    let report = load::during(&people, |pulse| {
        for _ in 0..effort::rounds(2) {
            link.batch_execute("BEGIN IMMEDIATE").expect("the lock");
            let locked = Instant::now();
            let reply = people[0].post("/api/tweets/", json!({"content": "no way"}));
            let took = locked.elapsed();
            assert_eq!(reply.status, 503, "{}", reply.describe());
            assert!(took < LONGEST, "refused after {took:?}");
            // Warm and cold, in the crowd of those who wait.
            pulse.wait_for(0, 30);
            app.anonymous().get("/api/tweets/?user_id=1").expect(200);
            thread::sleep(lasting.saturating_sub(locked.elapsed()));
            link.batch_execute("ROLLBACK").expect("the end of it");
            let back = pulse.time_to_write(30);
            assert!(back < BACK_WITHIN, "back after {back:?}");
        }
    });
    println!("{}", report.summary());
    report.assert_only(Some(Kind::Feed), &[200]);
    report.assert_only(Some(Kind::Read), &[200]);
    report.assert_only(None, &[200, 201, 503]);
    let slowest = report.percentile(Kind::Write, 100);
    assert!(slowest < LONGEST, "a write took {slowest:?}");
    report.assert_kept(&app);
    load::assert_sound(&mut app, &people);
}
