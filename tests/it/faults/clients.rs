//! Clients that are many: they get a bounded share of memory and connections, and the others do
//! not notice.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::load::{self, Kind};
use crate::harness::{App, Client, Setup, effort, on_every_setup};

on_every_setup! {
    idle_connections,
    open_files_run_out,
}

/// Other people's requests go on as if nothing were.
#[track_caller]
pub(super) fn assert_others_are_served(people: &[Client], meanwhile: impl FnOnce()) {
    assert_others_are_served_within(Duration::from_secs(1), people, meanwhile);
}

/// The same, with the time that all but a hundredth of the feeds must come in.
#[track_caller]
pub(super) fn assert_others_are_served_within(
    limit: Duration,
    people: &[Client],
    meanwhile: impl FnOnce(),
) {
    let report = load::during(people, |pulse| {
        meanwhile();
        pulse.wait_for(20, 20);
    });
    println!("{}", report.summary());
    report.assert_only(None, &[200, 201]);
    for (kind, limit) in [(Kind::Feed, limit), (Kind::Write, 3 * limit)] {
        let slow = report.percentile(kind, 99);
        assert!(slow < limit, "{kind:?}: a hundredth takes {slow:?}");
    }
}

fn idle_connections(setup: Setup) {
    let app = App::on(setup).start();
    let people = load::crowd(&app, 3);
    let before = app.memory_kib();
    let number = effort::lasting(1_000_u64, 10_000);
    let nobody = app.anonymous();
    let ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let idle: Vec<TcpStream> = (0..number)
        .map(|_| {
            let mut stream = nobody.connect();
            stream.write_all(ask).unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).unwrap();
            assert_eq!(&start, b"HTTP/1.1 200");
            stream
        })
        .collect();
    assert_others_are_served(&people, || {});
    let grown = app.memory_kib().saturating_sub(before);
    println!("{number} idle connections: {} KiB each", grown / number);
    // A gigabyte for ten thousand of them, all told.
    assert!(grown / number < 64, "{} KiB for each idle connection", grown / number);
    drop(idle);
    people[0].tweet("still here");
}

/// The limit of open files, lowered for this server alone, leaves room for a few connections.
fn open_files_run_out(setup: Setup) {
    let app = App::on(setup).open_files(400).env("ROOST_DB_READERS", "2").start();
    let people = load::crowd(&app, 3);
    {
        let _crowd: Vec<TcpStream> = (0..600)
            .filter_map(|_| TcpStream::connect(app.base_url().replace("http://", "")).ok())
            .collect();
        // Those who are connected already are served; the files of the server itself are safe.
        for person in &people {
            person.tweet("in the crowd");
            person.get("/api/newsfeeds/").expect(200);
        }
    }
    let begun = Instant::now();
    let fresh = || {
        let mut stream = TcpStream::connect(app.base_url().replace("http://", "")).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
        let mut start = [0; 12];
        stream.read_exact(&mut start).ok()?;
        (&start == b"HTTP/1.1 200").then_some(())
    };
    while fresh().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(5), "new connections are still refused");
    }
    people[0].tweet("still here");
}
