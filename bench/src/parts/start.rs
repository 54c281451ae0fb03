//! How long it takes until the service is ready, and what a thousand first readers cost.

use anyhow::ensure;

use crate::Bench;
use crate::data::{Data, Setup};
use crate::figures::{Figure, Goal, Section};
use crate::load::{self, Request};
use crate::process::Process;

/// The feed entries of the full database.
const ENTRIES: &str = "1000000";

/// Longest time to ready on it.
const READY_MS: f64 = 300.0;

/// First readers at once.
const READERS: usize = 1_000;

/// Measures it.
///
/// # Errors
/// When a process cannot be started.
pub fn run(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::default();
    let flags: &[&str] = bench.pick(
        &["--users", "2000", "--feed-entries", "50000"],
        &[
            "--users",
            "100000",
            "--follows",
            "2000000",
            "--feed-entries",
            ENTRIES,
            "--likes",
            "100000",
            "--comments",
            "100000",
        ],
    );
    for setup in [Setup::PostgresRedis, Setup::Sqlite] {
        let name = match setup {
            Setup::Sqlite => "SQLite",
            Setup::Postgres | Setup::PostgresRedis => "PostgreSQL and Redis",
        };
        let empty = empty(bench, setup)?;
        section.add(Figure::alone(format!("ready, empty database, {name}"), "ms", &empty));
        let data = Data::seeded(bench, setup, flags)?;
        let full = ready(bench, &data)?;
        section.add(
            Figure::alone(format!("ready, existing database, {name}"), "ms", &full)
                .goal(Goal::AtMost(READY_MS)),
        );
        first_readers(bench, &data, name, &mut section)?;
        data.discard(bench)?;
    }
    section.remark(format!("Existing database: roost seed {}.", flags.join(" ")));
    Ok(section)
}

/// Times to ready when the schema must be made first.
fn empty(bench: &Bench, setup: Setup) -> anyhow::Result<Vec<f64>> {
    let rounds = bench.pick(1, 5);
    (0..rounds)
        .map(|round| {
            bench.progress.round("start on an empty database", round, rounds);
            let data = Data::empty(bench, setup)?;
            let process = Process::roost(bench, &data, &[])?;
            let ready = process.ready_after;
            process.stop()?;
            data.discard(bench)?;
            Ok(ready.as_secs_f64() * 1e3)
        })
        .collect()
}

/// Times to ready on what is there. The first start, which may have to repair the caches'
/// state after seeding, counts like the others.
fn ready(bench: &Bench, data: &Data) -> anyhow::Result<Vec<f64>> {
    let rounds = bench.pick(2, 9);
    (0..rounds)
        .map(|round| {
            bench.progress.round("start on an existing database", round, rounds);
            let process = Process::roost(bench, data, &[])?;
            let ready = process.ready_after;
            load::call(process.address, &Request::get("/readyz", None))?;
            process.stop()?;
            Ok(ready.as_secs_f64() * 1e3)
        })
        .collect()
}

/// A thousand connections ask for the same cold newsfeed at once.
fn first_readers(
    bench: &Bench,
    data: &Data,
    name: &str,
    section: &mut Section,
) -> anyhow::Result<()> {
    let rounds = bench.pick(2, 5);
    let cookies = data.log_in(1..=rounds as i64)?;
    let process = Process::roost(bench, data, &[])?;
    let loads = |process: &Process| process.metric("roost_timeline_loads_total", "");
    let (mut all_read, mut loaded) = (Vec::new(), Vec::new());
    for (round, cookie) in cookies.iter().enumerate() {
        bench.progress.round("a thousand first readers", round, rounds);
        // The reader's session is known, the timeline is not.
        load::call(process.address, &Request::get("/api/accounts/login_status/", Some(cookie)))?;
        let before = loads(&process)?;
        let request = Request::get("/api/newsfeeds/", Some(cookie));
        let outcome = load::burst(process.address, READERS, &request)?.without_failures()?;
        ensure!(outcome.requests == READERS as u64, "{} replies", outcome.requests);
        all_read.push(outcome.ms(1.0)?);
        loaded.push(loads(&process)? - before);
    }
    process.stop()?;
    let figure = format!("{READERS} first reads of one newsfeed, {name}");
    section.add(Figure::alone(format!("{figure}: loads"), "", &loaded).goal(Goal::AtMost(1.0)));
    section.add(Figure::alone(format!("{figure}: all answered"), "ms", &all_read));
    Ok(())
}
