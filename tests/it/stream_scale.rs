//! Streams that take long to test: ten thousand at once, and clients that take nothing. Not part
//! of the everyday run:
//!
//! ```sh
//! ulimit -n 25000
//! cargo test --release --test it stream_scale -- --ignored --nocapture
//! ```
//!
//! The first prints the memory of the server before, with and after the streams, and how long one
//! tweet takes to reach all of them.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::harness::{App, Client, Setup, raw};

const STREAMS: usize = 10_000;
const READERS: usize = 4;

/// What an open stream may take, all included: socket, request, timeline, buffers.
const MOST_PER_STREAM_KIB: u64 = 32;

/// Users with a session each, without ten thousand password hashes.
fn add_users(app: &App) -> Vec<Client> {
    let token = |n: usize| format!("{n:043}");
    for users in (0..STREAMS).collect::<Vec<_>>().chunks(500) {
        let rows = |form: &dyn Fn(usize) -> String| {
            users.iter().map(|n| form(*n)).collect::<Vec<_>>().join(",")
        };
        let names = rows(&|n| format!("({}, 'u{n}', 'u{n}@example.com', 'x', false, 1)", n + 1000));
        let profiles = rows(&|n| format!("({}, 0, 0, 0)", n + 1000));
        let sessions = rows(&|n| {
            let hash: [u8; 32] = Sha256::digest(token(n)).into();
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("(X'{hash}', {}, 1, 1, {})", n + 1000, i64::MAX / 2)
        });
        for statement in [
            format!(
                "INSERT INTO users (id, username, email, password_hash, disabled, created_at) VALUES {names}"
            ),
            format!(
                "INSERT INTO profiles (user_id, followers_count, followings_count, tweets_count) VALUES {profiles}"
            ),
            format!(
                "INSERT INTO sessions (token_hash, user_id, kind, created_at, expires_at) VALUES {sessions}"
            ),
        ] {
            app.sql_list(&format!("{statement} RETURNING 1 AS n"));
        }
    }
    let client = |n| {
        let client = app.anonymous();
        client.set_cookie("sessionid", &token(n));
        client
    };
    (0..STREAMS).map(client).collect()
}

/// One request over a connection of its own; the open connection.
fn open(address: SocketAddr, client: &Client) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("connect");
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let cookies = client.cookie_header();
    let head =
        format!("GET /api/newsfeeds/stream/ HTTP/1.1\r\nHost: x\r\nCookie: {cookies}\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    read_until(&mut socket, "id: ");
    socket
}

fn read_until(socket: &mut TcpStream, awaited: &str) {
    let mut seen = String::new();
    let mut bytes = [0; 2048];
    while !seen.contains(awaited) {
        let length =
            raw::read_some(socket, &mut bytes).unwrap_or_else(|error| panic!("{error}: {seen}"));
        assert!(length > 0, "closed after {seen}");
        seen.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    }
}

/// Does it for all, on a few threads.
fn each<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let size = items.len().div_ceil(READERS);
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        parts.push(items.by_ref().take(size).collect());
    }
    thread::scope(|scope| {
        let work = &work;
        let started: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(move || part.into_iter().map(work).collect::<Vec<R>>()))
            .collect();
        started.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

#[test]
#[ignore = "ten thousand sockets: see the top of the file"]
fn ten_thousand_streams() {
    let app = App::on(Setup::Sqlite).start();
    let author = app.sign_up("author");
    let readers = add_users(&app);
    let path = format!("/api/friendships/{}/follow/", author.id);
    each(readers.iter().collect(), |reader: &Client| {
        reader.post(&path, crate::harness::json!({})).expect(201);
    });
    author.tweet("before");
    app.quiesce();
    // What every request leaves behind is not to be counted: sessions, timelines, connections.
    each(readers.iter().collect(), |reader: &Client| reader.get("/api/newsfeeds/"));

    let before = app.memory_kib();
    let address: SocketAddr = app.base_url().replace("http://", "").parse().unwrap();
    let asked = Instant::now();
    let mut sockets = each(readers.iter().collect(), |reader: &Client| open(address, reader));
    println!("{STREAMS} streams opened in {:?}", asked.elapsed());
    assert_eq!(app.metric("roost_streams_open"), Some(STREAMS as f64));
    let with = app.memory_kib();
    let per_stream = (with - before) as f64 / STREAMS as f64;
    println!("resident: {before} KiB before, {with} KiB with them: {per_stream:.1} KiB a stream");

    let posted = Instant::now();
    author.tweet("to all of them");
    println!("posted in {:?}", posted.elapsed());
    sockets = each(sockets, |mut socket| {
        read_until(&mut socket, "to all of them");
        socket
    });
    println!("reached all {STREAMS} in {:?}", posted.elapsed());
    println!("resident after one event each: {} KiB", app.memory_kib());

    let asked = Instant::now();
    let answer = author.get("/api/newsfeeds/").expect(200);
    assert_eq!(answer["results"][0]["tweet"]["content"], "to all of them");
    println!("a page beside them in {:?}", asked.elapsed());

    drop(sockets);
    let closed = Instant::now();
    while app.metric("roost_streams_open") != Some(0.0) {
        assert!(closed.elapsed() < Duration::from_secs(60), "streams of clients that are gone");
        thread::sleep(Duration::from_millis(200));
    }
    println!("all gone {:?} after their clients", closed.elapsed());
    assert!(per_stream < MOST_PER_STREAM_KIB as f64, "{per_stream} KiB a stream");
}

/// The kernel gives up on a client that takes nothing for half a minute.
#[test]
#[ignore = "takes half a minute"]
fn a_client_that_takes_nothing_is_cut_off() {
    let app = App::on(Setup::Sqlite).start();
    let ann = app.sign_up("ann");
    let long = "🐔".repeat(250);
    for _ in 0..200 {
        ann.tweet(&long);
    }
    let stuck = ann.open_and_stop_reading("/api/newsfeeds/stream/", "Last-Event-ID: 1\r\n");
    let asked = Instant::now();
    while app.metric("roost_streams_open") != Some(0.0) {
        assert!(asked.elapsed() < Duration::from_secs(60), "it is kept for ever");
        thread::sleep(Duration::from_millis(200));
    }
    assert!(asked.elapsed() > Duration::from_secs(20), "too soon: {:?}", asked.elapsed());
    drop(stuck);
}
