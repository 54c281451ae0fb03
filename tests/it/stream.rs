//! The event stream of a home timeline: each entry once, in order, also after a gap.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::harness::{App, Client, Setup, Value, id, json, on_every_setup, shape};

on_every_setup! {
    new_entries_arrive_as_they_become_visible,
    a_stream_resumes_after_the_last_event,
    a_stream_is_private,
    a_stream_ends_with_the_server,
}

const STREAM: &str = "/api/newsfeeds/stream/";
const SOON: Duration = Duration::from_secs(10);

/// An open stream: its lines come through a channel, so that waiting for one has an end.
struct Stream {
    lines: Receiver<String>,
}

impl Stream {
    #[track_caller]
    fn open(client: &Client, last_event_id: Option<&str>) -> Self {
        let mut request = client.request("GET", STREAM).header("Accept", "text/event-stream");
        if let Some(last) = last_event_id {
            request = request.header("Last-Event-ID", last);
        }
        let answer = request.open().expect("open the stream");
        assert_eq!(answer.status(), 200);
        let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(content_type.starts_with("text/event-stream"), "{content_type}");
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(answer).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { lines }
    }

    /// The next event: its id and its data. Comments in between are passed over.
    #[track_caller]
    fn next(&self) -> (String, Value) {
        let (mut event_id, mut data) = (String::new(), String::new());
        loop {
            let line = self.lines.recv_timeout(SOON).expect("an event");
            match line.split_once(": ").unwrap_or((&line, "")) {
                ("id", value) => event_id = value.to_owned(),
                ("event", value) => assert_eq!(value, "newsfeed"),
                ("data", value) => data.push_str(value),
                ("", "") if !data.is_empty() => {
                    return (event_id, serde_json::from_str(&data).expect("JSON in data"));
                }
                _ => {}
            }
        }
    }
}

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

fn a_stream_ends_with_the_server(mut app: App) {
    let ann = app.sign_up("ann");
    let stream = Stream::open(&ann, None);
    ann.tweet("hello");
    stream.next();
    // An open stream must not hold the stop up.
    let asked = std::time::Instant::now();
    assert_eq!(app.sigterm(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
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
