//! Bodies and photos that are small to send and large to take in, many at once: memory stays
//! within what is written in `docs/reliability.md`, and the others are served.

use std::io::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use image::ImageFormat;

use super::clients::assert_others_are_served_within;
use crate::harness::{App, Client, Reply, Setup, effort, load, on_every_setup, photo};

on_every_setup! {
    bombs_and_giants,
    what_is_refused_costs_little,
}

const TWEETS: &str = "/api/tweets/";

/// All uploads together, in MiB.
const UPLOADS: u64 = 256;

/// One photo while it is worked on, in MiB: 256 for its decoder, the rest for what it becomes.
const PHOTO: u64 = 400;

/// Anything else: answers, buffers, what the allocator keeps.
const REST: u64 = 96;

/// What is refused at first sight, or has little in it, may take of memory, in MiB.
const LITTLE: u64 = 200;

/// And of time.
const QUICK: Duration = Duration::from_secs(1);

struct Bomb {
    name: &'static str,
    send: fn(&Client) -> Reply,
    /// Besides 503, for when all the memory for uploads is taken.
    expected: u16,
}

const BOMBS: [Bomb; 9] = [
    Bomb { name: "gzip", send: packed, expected: 415 },
    Bomb { name: "long text", send: long, expected: 413 },
    Bomb { name: "deep JSON", send: deep, expected: 400 },
    Bomb { name: "parameters", send: parameters, expected: 400 },
    Bomb { name: "nine full files", send: nine_full_files, expected: 201 },
    Bomb { name: "all the pixels", send: giant, expected: 201 },
    Bomb { name: "more pixels than there are", send: liar, expected: 400 },
    Bomb { name: "packed profile", send: profile, expected: 201 },
    Bomb { name: "frames", send: frames, expected: 201 },
];

/// Made once, and before anybody counts the time: that of the test is no matter.
static PACKED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&[b'['; 1 << 20]).unwrap();
    // One after the other they unpack to one body.
    packed.finish().unwrap().repeat(effort::lasting(2, 100))
});
static FULL_FILE: LazyLock<Vec<u8>> = LazyLock::new(|| photo::png_of_length(10 << 20));
static GIANT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let side = effort::lasting(1_000, 4_096);
    photo::deep_png(side, side)
});
static PROFILE: LazyLock<Vec<u8>> =
    LazyLock::new(|| photo::png_with_packed_profile(effort::lasting(16, 1_024)));
static FRAMES: LazyLock<Vec<u8>> = LazyLock::new(|| photo::gif_of_frames(10_000));

fn make_all() {
    let begun = Instant::now();
    let all = [&PACKED, &FULL_FILE, &GIANT, &PROFILE, &FRAMES];
    thread::scope(|scope| {
        for bomb in all {
            scope.spawn(move || LazyLock::force(bomb).len());
        }
    });
    println!("{:?} bytes, made in {:.1?}", all.map(|bomb| bomb.len()), begun.elapsed());
}

fn packed(who: &Client) -> Reply {
    let request = who.request("POST", TWEETS).header("Content-Encoding", "gzip");
    request.body("application/json", &PACKED[..]).send()
}

fn long(who: &Client) -> Reply {
    let text = format!("{{\"content\":\"{}\"}}", "x".repeat(10 << 20));
    who.request("POST", TWEETS).body("application/json", text).send()
}

fn deep(who: &Client) -> Reply {
    let text = "{\"a\":[".repeat(10_000);
    who.request("POST", TWEETS).body("application/json", text).send()
}

fn parameters(who: &Client) -> Reply {
    let text = "a=1&".repeat(16_000);
    who.request("POST", TWEETS).body("application/x-www-form-urlencoded", text).send()
}

/// In one piece: a client that streams a form may not hear an answer that comes before its end.
fn post(who: &Client, file: &[u8], times: usize) -> Reply {
    let part = |name: &str| format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n");
    let mut form = (part("content") + "boom\r\n").into_bytes();
    for _ in 0..times {
        form.extend_from_slice(part("files; filename=bomb").as_bytes());
        form.extend_from_slice(file);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--b--\r\n");
    who.request("POST", TWEETS).body("multipart/form-data; boundary=b", form).send()
}

fn nine_full_files(who: &Client) -> Reply {
    post(who, &FULL_FILE, 9)
}

fn giant(who: &Client) -> Reply {
    post(who, &GIANT, 1)
}

fn liar(who: &Client) -> Reply {
    post(who, &photo::png_claiming(50_000, 50_000), 9)
}

fn profile(who: &Client) -> Reply {
    post(who, &PROFILE, 1)
}

fn frames(who: &Client) -> Reply {
    post(who, &FRAMES, 1)
}

fn bombs_and_giants(setup: Setup) {
    make_all();
    let app = App::on(setup).start();
    let people = load::crowd(&app, 3);
    // Small ones first, so that what any photo costs once does not count.
    post(&people[0], &photo::picture(ImageFormat::Png), 1).expect(201);
    let before = app.memory_kib() >> 10;
    let rounds = effort::rounds(1);
    let (done, throwers) = (AtomicUsize::new(0), 3);
    assert_others_are_served_within(Duration::from_secs(3), &people, || {
        thread::scope(|scope| {
            for first in 0..throwers {
                let (who, done) = (&people[first % people.len()], &done);
                scope.spawn(move || {
                    for turn in 0..rounds * BOMBS.len() {
                        let bomb = &BOMBS[(first + turn) % BOMBS.len()];
                        let asked = Instant::now();
                        let reply = (bomb.send)(who);
                        println!("{}: {} in {:.1?}", bomb.name, reply.status, asked.elapsed());
                        let fits = reply.status == bomb.expected || reply.status == 503;
                        assert!(fits, "{}: {}", bomb.name, reply.describe());
                        done.fetch_add(usize::from(reply.status != 503), Ordering::SeqCst);
                    }
                });
            }
        });
    });
    let peak = app.peak_memory_kib() >> 10;
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    println!("{before} MiB before, {peak} MiB at the worst moment; {done:?} bombs were looked at");
    let most = UPLOADS + cores * PHOTO + REST;
    let more = peak.saturating_sub(before);
    assert!(more < most, "{more} MiB more, {most} are allowed");
    // The budget is free again: what one takes may be taken by another.
    nine_full_files(&people[0]).expect(201);
}

fn brackets(who: &Client) -> Reply {
    let text = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    who.request("POST", TWEETS).body("application/json", text).send()
}

fn query(who: &Client) -> Reply {
    who.get(&format!("/api/newsfeeds/?{}", "a=1&".repeat(10_000)))
}

/// What is sent in chunks for ever is in `slow`.
const LITTLE_ONES: [Bomb; 12] = [
    Bomb { name: "ten megabytes of JSON", send: long, expected: 413 },
    Bomb { name: "a hundred thousand brackets", send: brackets, expected: 413 },
    Bomb { name: "deep JSON", send: deep, expected: 400 },
    Bomb { name: "ten thousand parameters", send: query, expected: 400 },
    Bomb { name: "as many in a body", send: parameters, expected: 400 },
    Bomb { name: "a packed body", send: packed, expected: 415 },
    Bomb { name: "2.5 billion pixels, nine times", send: liar, expected: 400 },
    Bomb { name: "ten thousand frames", send: frames, expected: 201 },
    Bomb {
        name: "a page of 10^9",
        send: |who| who.get("/api/newsfeeds/?page_size=1000000000"),
        expected: 400,
    },
    Bomb {
        name: "a page of -1",
        send: |who| who.get("/api/newsfeeds/?page_size=-1"),
        expected: 400,
    },
    Bomb {
        name: "a page of none",
        send: |who| who.get("/api/newsfeeds/?page_size=0"),
        expected: 400,
    },
    Bomb {
        name: "a page of abc",
        send: |who| who.get("/api/newsfeeds/?page_size=abc"),
        expected: 400,
    },
];

/// One at a time: how much each takes, and how long.
fn what_is_refused_costs_little(setup: Setup) {
    make_all();
    let app = App::on(setup).start();
    let ann = app.sign_up("ann");
    post(&ann, &photo::picture(ImageFormat::Png), 1).expect(201);
    for Bomb { name, send, expected } in LITTLE_ONES {
        // The first one is also made here, which takes its time.
        send(&ann);
        let (before, asked) = (app.begin_peak() >> 10, Instant::now());
        let reply = send(&ann);
        let (took, peak) = (asked.elapsed(), app.peak_memory_kib() >> 10);
        // Memory that earlier ones took may be given back meanwhile.
        let more = peak.saturating_sub(before);
        println!("{name}: {} in {took:.1?}, {more} MiB", reply.status);
        assert_eq!(reply.status, expected, "{name}: {}", reply.describe());
        assert!(took < QUICK, "{name}: {took:?}");
        assert!(more < LITTLE, "{name}: {more} MiB");
    }
}
