//! The event stream of a home timeline: each entry once, in order, also after a gap.

mod client;

use std::time::{Duration, Instant};

pub use client::Stream;

use crate::costs::spent;
use crate::harness::{App, Client, Setup, Value, id, json, on_every_setup, raw, shape, text};

on_every_setup! {
    new_entries_arrive_as_they_become_visible,
    a_stream_resumes_after_the_last_event,
    a_stream_that_saw_nothing_resumes_too,
    a_long_absence_is_a_gap_that_can_be_paged,
    a_client_that_does_not_read_is_cut_off_and_resumes,
    a_tweet_to_many_streams_is_not_read_for_each,
    a_stream_is_private,
    a_logout_ends_the_streams_of_its_session_at_once,
    a_stream_ends_with_the_server,
}

const STREAM: &str = "/api/newsfeeds/stream/";
const SOON: Duration = Duration::from_secs(10);

fn new_entries_arrive_as_they_become_visible(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    bob.tweet("before the stream");
    app.quiesce();
    let stream = Stream::open(&ann, None);
    let posted = [id(&bob.tweet("one")), id(&ann.tweet("mine")), id(&bob.tweet("two"))];
    let mut seen: Vec<(String, Value)> = (0..3).map(|_| stream.next()).collect();
    app.quiesce();
    for (event_id, entry) in &seen {
        shape::feed_entry(entry);
        assert_eq!(*event_id, id(entry).to_string(), "the id of the event is the entry's");
    }
    // Bob's tweets are delivered, Ann's own is there at once: the order is that of the feed.
    seen.reverse();
    let seen: Vec<Value> = seen.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(seen, ann.feed()[..3], "the same items as in the list, in the same order");
    let mut tweets: Vec<i64> = seen.iter().map(|entry| id(&entry["tweet"])).collect();
    tweets.sort_unstable();
    assert_eq!(tweets, posted);
}

fn a_stream_resumes_after_the_last_event(mut app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let stream = Stream::open(&ann, None);
    bob.tweet("seen");
    let (last, _) = stream.next();
    drop(stream);
    // More than a page is missed, and the server restarts in between.
    let mut missed = bob.tweets(15);
    app.restart();
    missed.extend(bob.tweets(15));
    app.quiesce();
    let stream = Stream::open(&ann, Some(&last));
    missed.push(id(&bob.tweet("live again")));
    let seen: Vec<i64> = (0..31).map(|_| id(&stream.next().1["tweet"])).collect();
    assert_eq!(seen, missed, "oldest first, without loss or repeat");
    for bad in ["x", "-1", "99999999999999999999"] {
        let request = ann.request("GET", STREAM).header("Last-Event-ID", bad);
        let answer = request.open().expect("an answer");
        assert!(matches!(answer.status().as_u16(), 200 | 400), "{bad}: {}", answer.status());
    }
}

/// Between two events, or before the first, the client knows where it stands.
fn a_stream_that_saw_nothing_resumes_too(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let (stream, nowhere) = Stream::begin(&bob, None);
    drop(stream);
    let first = id(&bob.tweet("the first entry of this feed"));
    let (stream, again) = Stream::begin(&bob, Some(&nowhere));
    assert_eq!(again, nowhere);
    assert_eq!(id(&stream.next().1["tweet"]), first);

    ann.follow(&bob);
    app.quiesce();
    let (stream, after) = Stream::begin(&ann, None);
    assert_eq!(after, id(&ann.feed()[0]).to_string(), "the newest entry that is visible");
    drop(stream);
    let missed = id(&bob.tweet("between two streams"));
    app.quiesce();
    let stream = Stream::open(&ann, Some(&after));
    assert_eq!(id(&stream.next().1["tweet"]), missed);
}

fn a_long_absence_is_a_gap_that_can_be_paged(setup: Setup) {
    let mut app = App::on(setup).env("ROOST_LIST_LIMIT", "5").start();
    let ann = app.sign_up("ann");
    let tweets = ann.tweets(9);
    let entries = ann.walk("/api/newsfeeds/?");
    let entry_of = |tweet: usize| &entries[entries.len() - 1 - tweet];
    let seen = id(entry_of(0)).to_string();
    // From memory, and then from the tier below it.
    for _ in 0..2 {
        let (stream, after) = Stream::begin(&ann, Some(&seen));
        assert_eq!(after, seen);
        let gap = stream.event().unwrap();
        assert_eq!((&*gap.name, &*gap.id), ("gap", ""), "{gap:?}");
        let gap: Value = serde_json::from_str(&gap.data).unwrap();
        let cursors = ["created_at__gt", "created_at__lt"];
        shape::keys(&gap, &cursors);
        let [newer, older] = cursors.map(|name| format!("{name}={}", text(&gap[name])));
        let missed = ann.walk(&format!("/api/newsfeeds/?{newer}&{older}"));
        assert_eq!(missed, [entry_of(3), entry_of(2), entry_of(1)].map(Clone::clone));
        let sent: Vec<i64> = (0..5).map(|_| id(&stream.next().1["tweet"])).collect();
        assert_eq!(sent, tweets[4..], "no loss and no repeat");
        app.restart();
    }
    // One less is no gap.
    let (stream, _) = Stream::begin(&ann, Some(&id(entry_of(3)).to_string()));
    assert_eq!(id(&stream.next().1["tweet"]), tweets[4]);
}

/// A client with the smallest buffers that asks for a long backlog and does not read it, while
/// more is posted than may wait for it.
fn a_client_that_does_not_read_is_cut_off_and_resumes(app: App) {
    let ann = app.sign_up("ann");
    let (stream, start) = Stream::begin(&ann, None);
    drop(stream);
    // Too much for the socket's buffers and the response's: about 250 KB.
    let long = "🐔".repeat(250);
    let mut posted: Vec<i64> = (0..200).map(|_| id(&ann.tweet(&long))).collect();

    let last = format!("Last-Event-ID: {start}\r\n");
    let mut slow = ann.open_and_stop_reading(STREAM, &last);
    // It is registered now, since the head is sent after that; these have to wait for it.
    posted.extend(ann.tweets(70));

    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n0\r\n\r\n") {
        let mut more = [0; 4096];
        let length = raw::read_some(&mut slow, &mut more).expect("the end of the stream");
        assert!(length > 0, "cut off in the middle of a chunk");
        answer.extend_from_slice(&more[..length]);
    }
    let answer = String::from_utf8(answer).unwrap();
    let ids: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    let got = ids.len() - 1;
    assert_eq!(ids[0], start);
    assert!((200..270).contains(&got), "{got} of 270: it was not cut off");

    let (stream, _) = Stream::begin(&ann, Some(ids[got]));
    let rest: Vec<i64> = (got..270).map(|_| id(&stream.next().1["tweet"])).collect();
    assert_eq!(rest, posted[got..], "without loss or repeat");
}

/// Ten thousand listeners must not be ten thousand queries.
fn a_tweet_to_many_streams_is_not_read_for_each(app: App) {
    let bob = app.sign_up("bob");
    let fans: Vec<Client> = (0..20).map(|n| app.sign_up(&format!("fan{n}"))).collect();
    fans.iter().for_each(|fan| drop(fan.follow(&bob)));
    let streams: Vec<Stream> = fans.iter().map(|fan| Stream::begin(fan, None).0).collect();
    let tell_all = |content: &str| {
        let tweet = id(&bob.tweet(content));
        for stream in &streams {
            assert_eq!(id(&stream.next().1["tweet"]), tweet);
        }
        app.quiesce();
    };
    tell_all("the first");
    let (before, _) = spent(&app);
    tell_all("the second");
    let (after, _) = spent(&app);
    let calls = after - before;
    assert!(calls <= 10, "{calls} database calls for {} streams", fans.len());
}

fn a_stream_is_private(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let message = "Authentication credentials were not provided.";
    app.anonymous().get(STREAM).refused(403, message);
    ann.post(STREAM, json!({})).refused(405, "Method \"POST\" not allowed.");
    let stream = Stream::open(&ann, None);
    bob.tweet("not for ann");
    let own = id(&ann.tweet("for ann"));
    app.quiesce();
    assert_eq!(id(&stream.next().1["tweet"]), own);
}

fn a_logout_ends_the_streams_of_its_session_at_once(app: App) {
    let ann = app.sign_up("ann");
    let (phone, script) = (ann.with_bearer(), ann.with_basic());
    let (at_home, _) = Stream::begin(&ann, None);
    let (on_phone, _) = Stream::begin(&phone, None);
    let (by_script, _) = Stream::begin(&script, None);
    let asked = Instant::now();
    phone.delete("/api/accounts/token/").expect(200);
    assert_eq!(on_phone.rest(), [0_i64; 0]);
    ann.post("/api/accounts/logout/", json!({})).expect(200);
    assert_eq!(at_home.rest(), [0_i64; 0]);
    // Less than a heartbeat: nobody waited for one.
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    let tweet = id(&script.tweet("still here"));
    assert_eq!(id(&by_script.next().1["tweet"]), tweet);
    assert_eq!(ann.request("GET", STREAM).open().expect("an answer").status(), 403);
}

fn a_stream_ends_with_the_server(mut app: App) {
    let ann = app.sign_up("ann");
    let stream = Stream::open(&ann, None);
    ann.tweet("hello");
    stream.next();
    // An open stream must not hold the stop up, and ends in good order.
    let asked = Instant::now();
    assert_eq!(app.sigterm(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(stream.rest(), [0_i64; 0]);
}

#[test]
fn a_quiet_stream_gives_a_sign_of_life() {
    // Fifteen seconds of waiting, which is what is tested; the store has no part in it.
    let app = App::on(Setup::Sqlite).start();
    let ann = app.sign_up("ann");
    let stream = Stream::open(&ann, None);
    let mut comment = String::new();
    // There may be one at the start; the second is the sign of life.
    for _ in 0..2 {
        loop {
            comment = stream.lines.recv_timeout(Duration::from_secs(20)).expect("a comment");
            if comment.starts_with(':') {
                break;
            }
        }
    }
    assert!(comment.starts_with(':'), "{comment}");
}
