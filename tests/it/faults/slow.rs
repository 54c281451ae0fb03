//! Clients that take their time, with the head of a request, with its body, with the answer, and
//! those that go on sending what nobody wants: each is ended within a bound of time and bytes,
//! and the others do not notice.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::clients::{assert_others_are_served, assert_others_are_served_within};
use crate::harness::dribble::Dribble;
use crate::harness::{App, Setup, effort, json, load, on_every_setup, photo, raw, text};

on_every_setup! {
    heads_that_dribble_in,
    bodies_that_dribble_in,
    bodies_that_nobody_wants,
    readers_that_stop,
    requests_whose_answers_nobody_takes,
}

/// The head of a request must be there within.
const HEAD: Duration = Duration::from_secs(5);

/// Whoever is answered before its body is there is cut off after.
const LEFTOVER: Duration = Duration::from_secs(2);

/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(4);

/// What the service may take in the meantime, whoever is connected: the others are served, and the
/// allocator keeps what it has given out for a while. Seen: 10 MiB up and down.
const MEANWHILE_KIB: u64 = 16 * 1024;

/// What a reader that has stopped may hold: a piece of his answer.
const MOST_STOPPED_KIB: u64 = 256;

/// What a connection may take that asks and asks and takes no answer: as many requests as fit into
/// what is read at a time, taken apart, and the answer to one or a few of them.
const MOST_PENDING_KIB: u64 = 1024;

const TWEETS: &str = "/api/tweets/";

/// How many of a kind.
fn crowd() -> usize {
    effort::lasting(40, 500)
}

#[track_caller]
fn assert_between(took: Duration, least: Duration, most: Duration, what: &str) {
    assert!(took > least && took < most, "{what}: {took:?} is not in {least:?} to {most:?}");
}

/// So many connections have made the service grow by no more than `most_kib` each.
#[track_caller]
fn assert_modest(grown_kib: u64, connections: usize, most_kib: u64) {
    let most = MEANWHILE_KIB + connections as u64 * most_kib;
    assert!(grown_kib < most, "{grown_kib} KiB for {connections}, {most} are allowed");
}

/// The first request of a connection, and a later one.
fn heads_that_dribble_in(setup: Setup) {
    let app = App::on(setup).start();
    let people = load::crowd(&app, 3);
    let nobody = app.anonymous();
    let connect = |n: usize| {
        let mut stream = nobody.connect();
        if n % 2 == 1 {
            stream.write_all(nobody.head_of("GET /healthz", &[]).as_bytes()).unwrap();
            let mut bytes = [0; 4096];
            let read = raw::read_some(&mut stream, &mut bytes).unwrap();
            assert!(bytes[..read].ends_with(b"\r\n\r\nok\n") || read > 100, "an answer");
        }
        Dribble::begin(stream, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    };
    let mut slow: Vec<Dribble> = (0..crowd()).map(connect).collect();
    assert_others_are_served(&people, || {
        let every = Duration::from_millis(200);
        Dribble::until_all_have_ended(&mut slow, b"a", every, HEAD + 2 * SLACK);
    });
    for one in &slow {
        let (answered, ended) = one.times();
        assert_between(answered, HEAD - Duration::from_secs(1), HEAD + SLACK, "the answer");
        assert_between(ended, HEAD - Duration::from_secs(1), HEAD + SLACK, "the end");
        let body = one.reply().checked().expect(408);
        assert_eq!(body["code"], "request_timeout");
    }
    // Somebody who never says a word is not answered either.
    let mut silent = nobody.connect();
    let begun = Instant::now();
    assert_eq!(raw::read_some(&mut silent, &mut [0; 100]).unwrap(), 0);
    assert_between(begun.elapsed(), HEAD - Duration::from_secs(1), HEAD + SLACK, "the end");
}

/// More of them than requests may be in flight: a body on its way is not one.
fn bodies_that_dribble_in(setup: Setup) {
    let limit = effort::lasting(Duration::from_millis(1_500), Duration::from_secs(30));
    let app = App::on(setup)
        .env("ROOST_BODY_MS", &limit.as_millis().to_string())
        .env("ROOST_MAX_IN_FLIGHT", "8")
        .start();
    let people = load::crowd(&app, 3);
    let begin = |n: usize| {
        let ann = &people[n % people.len()];
        let length = ["Content-Length: 60000", "Transfer-Encoding: chunked"][n % 2];
        let head = ann.head_of("POST /api/tweets/", &["Content-Type: application/json", length]);
        Dribble::begin(ann.connect(), head.as_bytes())
    };
    let mut slow: Vec<Dribble> = (0..crowd()).map(begin).collect();
    assert_others_are_served(&people, || {
        let every = Duration::from_millis(100);
        let patience = limit + LEFTOVER + 2 * SLACK;
        // A chunk of one blank; to the others any six bytes are as good.
        Dribble::until_all_have_ended(&mut slow, b"1\r\n \r\n", every, patience);
    });
    for one in &slow {
        let (answered, ended) = one.times();
        assert_between(answered, limit - Duration::from_millis(100), limit + SLACK, "the answer");
        assert!(ended < answered + LEFTOVER + SLACK, "{ended:?} after {answered:?}");
        let reply = one.reply().checked();
        assert_eq!(reply.header("connection"), Some("close"));
        assert_eq!(reply.expect(408)["code"], "request_timeout");
    }
    people[0].tweet("still here");
}

/// What a client was told, and how much it could send until it was cut off.
struct Sent {
    reply: Vec<u8>,
    bytes: usize,
    took: Duration,
}

/// Sends a head and then `piece` for ever, listening on the side.
fn send_for_ever(mut stream: TcpStream, head: &str, piece: &[u8]) -> Sent {
    let mut listening = stream.try_clone().unwrap();
    let listener = thread::spawn(move || {
        let mut said = Vec::new();
        let _ = listening.read_to_end(&mut said);
        said
    });
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let begun = Instant::now();
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = 0;
    let error = loop {
        match stream.write(piece) {
            Ok(written) => bytes += written,
            Err(error) => break error.kind(),
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{bytes} bytes are taken: {head}");
    };
    let ends = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted];
    assert!(ends.contains(&error), "{error} after {bytes} bytes: {head}");
    Sent { reply: listener.join().unwrap(), bytes, took: begun.elapsed() }
}

/// Refused or ignored, in one piece or in chunks: what follows is not read for ever.
fn bodies_that_nobody_wants(setup: Setup) {
    let app = App::on(setup).start();
    let people = load::crowd(&app, 3);
    let (ann, nobody) = (&people[0], app.anonymous());
    let chunked = "Transfer-Encoding: chunked";
    let json_type = "Content-Type: application/json";
    let form = "Content-Type: multipart/form-data; boundary=b";
    let endless = "Content-Length: 100000000000";
    let cases = [
        (413, ann.head_of("POST /api/tweets/", &[json_type, chunked])),
        (413, ann.head_of("POST /api/tweets/", &[json_type, endless])),
        (413, ann.head_of("POST /api/tweets/", &[form, endless])),
        (415, ann.head_of("POST /api/tweets/", &["Content-Type: text/plain", chunked])),
        (413, ann.head_of("POST /api/tweets/", &[form, chunked])),
        (403, nobody.head_of("POST /api/tweets/", &[json_type, chunked])),
        (404, nobody.head_of("POST /nothing/", &[chunked])),
        (405, nobody.head_of("DELETE /api/accounts/login/", &[chunked])),
        (200, nobody.head_of("GET /healthz", &[chunked])),
        (200, nobody.head_of("GET /healthz", &[endless])),
    ];
    let piece = [format!("{:x}\r\n", 32 * 1024).into_bytes(), vec![b'x'; 32 * 1024]].concat();
    let piece = [piece, b"\r\n".to_vec()].concat();
    let before = app.begin_peak();
    assert_others_are_served(&people, || {
        thread::scope(|scope| {
            let sending = cases.iter().map(|(status, head)| {
                let (stream, piece) = (nobody.connect(), &piece);
                (*status, head, scope.spawn(move || send_for_ever(stream, head, piece)))
            });
            let sending: Vec<_> = sending.collect();
            for (status, head, sent) in sending {
                let Sent { reply, bytes, took } = sent.join().unwrap();
                let reply = raw::parse(&reply).checked();
                assert_eq!(reply.status, status, "{head}: {}", reply.describe());
                assert_eq!(reply.header("connection"), Some("close"), "{head}");
                assert!(took < LEFTOVER + SLACK, "{head}: cut off after {took:?}");
                // 16 MiB are thrown away, and what the two sockets hold.
                assert!(bytes < 48 << 20, "{head}: {bytes} bytes");
            }
        });
    });
    let grown = app.peak_memory_kib().saturating_sub(before);
    println!("{} MiB more at the worst moment", grown >> 10);
    assert!(grown < 64 << 10, "{grown} KiB");
}

/// Answers that are larger than all buffers on the way.
fn readers_that_stop(setup: Setup) {
    let app = App::on(setup).start();
    let people = load::crowd(&app, 3);
    let file = photo::noise(2_000);
    let fields = [("content", "noise")];
    let files = [("files", "noise.jpg", &file[..])];
    let tweet = people[0].post_multipart(TWEETS, &fields, &files).expect(201);
    let url = text(&tweet["photo_urls"][0]);
    let size = people[0].get(&url).body.len();
    assert!(size > 2 << 20, "a photo of {size} bytes");
    // What the others take by themselves does not count.
    assert_others_are_served(&people, || {});
    let before = app.memory_kib();
    let number = crowd();
    let stopped: Vec<TcpStream> =
        (0..number).map(|_| people[0].open_and_stop_reading(&url, "")).collect();
    let begun = Instant::now();
    let lasting = effort::lasting(Duration::from_millis(500), Duration::from_secs(45));
    assert_others_are_served(&people, || thread::sleep(lasting));
    let grown = app.memory_kib().saturating_sub(before);
    println!("{number} stopped readers of {size} bytes: {grown} KiB");
    assert_modest(grown, number, MOST_STOPPED_KIB);
    if begun.elapsed() > Duration::from_secs(40) {
        // The kernel has given them up after 30 s; what had arrived is all they get.
        for mut stream in stopped {
            let mut rest = Vec::new();
            let cut_off = stream.read_to_end(&mut rest).is_err() || rest.len() < size;
            assert!(cut_off, "a reader that had stopped got all {size} bytes");
        }
    }
}

/// Requests that are sent on and on while nobody takes their answers. Those without a body are
/// the worst: nothing about them waits.
fn requests_whose_answers_nobody_takes(setup: Setup) {
    let origin = "https://app.example";
    let app = App::on(setup).env("ROOST_CORS_ORIGINS", origin).start();
    let people = load::crowd(&app, 3);
    let nobody = app.anonymous();
    let from = format!("Origin: {origin}");
    let asks = ["Access-Control-Request-Method: POST", &*from];
    let requests = [
        nobody.head_of("OPTIONS /api/tweets/", &asks),
        nobody.head_of("GET /api/tweets", &[]),
        people[0].head_of("GET /api/newsfeeds/?page_size=100", &[]),
        // The most in the fewest bytes.
        String::from("GET /x HTTP/1.1\r\nHost:a\r\n\r\n"),
        nobody.head_of("POST /x", &["Content-Length: 2"]) + "{}",
    ];
    // What the others take by themselves does not count.
    assert_others_are_served(&people, || {});
    let before = app.begin_peak();
    let lasting = effort::lasting(Duration::from_secs(2), Duration::from_secs(30));
    let each = 4;
    // It is twenty at once against a debug build; without turns it is nine seconds and more.
    assert_others_are_served_within(Duration::from_secs(4), &people, || {
        thread::scope(|scope| {
            for request in requests.iter().cycle().take(each * requests.len()) {
                let (stream, begun) = (nobody.connect(), Instant::now());
                scope.spawn(move || {
                    stream.set_nonblocking(true).unwrap();
                    let piece = request.repeat(64 * 1024 / request.len());
                    let mut sent = 0;
                    while begun.elapsed() < lasting {
                        match (&stream).write(&piece.as_bytes()[sent % piece.len()..]) {
                            Ok(written) => sent += written,
                            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                                thread::sleep(Duration::from_millis(1));
                            }
                            Err(_) => break,
                        }
                    }
                });
            }
        });
    });
    let grown = app.peak_memory_kib().saturating_sub(before);
    println!("{} MiB more at the worst moment", grown >> 10);
    assert_modest(grown, each * requests.len(), MOST_PENDING_KIB);
    people[0].post(TWEETS, json!({"content": "still here"})).expect(201);
}
