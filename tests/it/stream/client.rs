//! A client of the event stream.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use super::{SOON, STREAM};
use crate::harness::{Client, Value, id};

/// An open stream: its lines come through a channel, so that waiting for one has an end.
pub struct Stream {
    pub lines: Receiver<String>,
}

/// One event, or the opening, which has an id and no data.
#[derive(Debug, Default, PartialEq)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: String,
}

impl Stream {
    /// Opens it.
    #[track_caller]
    pub fn open(client: &Client, last_event_id: Option<&str>) -> Self {
        let mut request = client.request("GET", STREAM).header("Accept", "text/event-stream");
        if let Some(last) = last_event_id {
            request = request.header("Last-Event-ID", last);
        }
        let answer = request.open().expect("open the stream");
        assert_eq!(answer.status(), 200);
        let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(content_type.starts_with("text/event-stream"), "{content_type}");
        assert_eq!(answer.headers().get("content-encoding"), None, "nothing is held back");
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

    /// Opens and reads the opening: the stream, and the id after which it begins.
    #[track_caller]
    pub fn begin(client: &Client, last_event_id: Option<&str>) -> (Self, String) {
        let stream = Self::open(client, last_event_id);
        let opening = stream.event().expect("an opening");
        assert_eq!((&*opening.name, &*opening.data), ("", ""), "{opening:?}");
        (stream, opening.id)
    }

    /// The next event of any kind; `None` when the stream has ended.
    #[track_caller]
    pub fn event(&self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let line = match self.lines.recv_timeout(SOON) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => panic!("nothing came after {event:?}"),
            };
            match line.split_once(": ").unwrap_or((&line, "")) {
                ("id", value) => event.id = value.to_owned(),
                ("event", value) => event.name = value.to_owned(),
                ("data", value) => event.data.push_str(value),
                ("", "") if event != Event::default() => return Some(event),
                _ => {}
            }
        }
    }

    /// The next feed entry: its id and its data.
    #[track_caller]
    pub fn next(&self) -> (String, Value) {
        loop {
            let event = self.event().expect("the stream goes on");
            if event.data.is_empty() {
                continue;
            }
            assert_eq!(event.name, "newsfeed");
            return (event.id, serde_json::from_str(&event.data).expect("JSON in data"));
        }
    }

    /// Reads to the end of the stream: the tweets on the way.
    #[track_caller]
    pub fn rest(&self) -> Vec<i64> {
        let mut tweets = Vec::new();
        while let Some(event) = self.event() {
            if !event.data.is_empty() {
                let data: Value = serde_json::from_str(&event.data).expect("JSON in data");
                tweets.push(id(&data["tweet"]));
            }
        }
        tweets
    }
}
