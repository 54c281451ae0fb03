//! One of those who make the load.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use super::Pulse;
use super::report::{Answer, Kind, Report};
use crate::harness::client::{Client, Request};
use crate::harness::{Value, json};

pub(super) struct Person<'a> {
    pub(super) client: &'a Client,
    pub(super) dice: StdRng,
    pub(super) pulse: &'a Pulse,
    pub(super) report: Report,
}

impl Person<'_> {
    pub(super) fn act(mut self) -> Report {
        while !self.pulse.over.load(Ordering::SeqCst) {
            match self.dice.random_range(0..12) {
                0..=4 => self.get(Kind::Feed, "/api/newsfeeds/"),
                5 => {
                    let path = format!("/api/tweets/?user_id={}", self.client.id);
                    self.get(Kind::Read, &path);
                }
                6..=8 => self.post_tweet(),
                9 => self.comment(),
                10 => self.like(true),
                _ => self.like(false),
            }
        }
        self.report
    }

    fn get(&mut self, kind: Kind, path: &str) {
        self.send(kind, self.client.request("GET", path));
    }

    fn post_tweet(&mut self) {
        if let Some(id) = self.write("/api/tweets/", json!({"content": "under load"})) {
            self.report.tweets.push(id);
            self.pulse.known.lock().unwrap().push(id);
        }
    }

    fn comment(&mut self) {
        let Some(tweet) = self.some_tweet() else { return };
        let body = json!({"tweet_id": tweet, "content": "so it is"});
        let created = self.write("/api/comments/", body);
        self.report.comments.extend(created);
    }

    fn like(&mut self, wanted: bool) {
        let Some(tweet) = self.some_tweet() else { return };
        let path = if wanted { "/api/likes/" } else { "/api/likes/cancel/" };
        let body = json!({"content_type": "tweet", "object_id": tweet});
        let request = self.client.request("POST", path).json(&body);
        let told = self.send(Kind::Write, request).is_some().then_some(wanted);
        self.report.likes.insert((self.client.id, tweet), told);
    }

    fn some_tweet(&mut self) -> Option<i64> {
        let known = self.pulse.known.lock().unwrap();
        let place = self.dice.random_range(0..known.len().max(1));
        known.get(place).copied()
    }

    /// The id of what was created, if that was acknowledged.
    fn write(&mut self, path: &str, body: Value) -> Option<i64> {
        let request = self.client.request("POST", path).json(&body);
        self.send(Kind::Write, request)?["id"].as_i64()
    }

    /// The body of a 2xx.
    fn send(&mut self, kind: Kind, request: Request<'_>) -> Option<Value> {
        let asked = Instant::now();
        let answer = request.open().and_then(|answer| {
            let (status, retry) =
                (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
            Ok((status, retry, answer.bytes()?))
        });
        let took = asked.elapsed();
        let Ok((status, retry_after, body)) = answer else {
            self.report.answers.push(Answer { kind, status: 0, took });
            // Nobody there: not a reason to ask as fast as the loopback can refuse.
            thread::sleep(Duration::from_millis(2));
            return None;
        };
        self.report.answers.push(Answer { kind, status, took });
        let text = String::from_utf8_lossy(&body);
        assert!(status != 503 || retry_after, "503 without Retry-After: {text}");
        if !(200..300).contains(&status) {
            return None;
        }
        let counter = if kind == Kind::Write { &self.pulse.writes } else { &self.pulse.reads };
        counter.fetch_add(1, Ordering::SeqCst);
        Some(serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error} in {text}")))
    }
}
