//! Likes over HTTP: the whole way, with sessions, Redis and notifications.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;

use super::{CLIENTS, SPREAD};
use crate::Bench;
use crate::data::{Data, Setup};
use crate::figures::{Figure, Section};
use crate::load::{self, Outcome, Planned, Request, Shape, Traffic};
use crate::parts::pairs;
use crate::process::Process;

/// People who like; each in turn likes, and in the next turn takes it back.
const USERS: usize = 2_000;

/// Likes and cancels of which each changes something.
struct Turns {
    like: Vec<Request>,
    cancel: Vec<Request>,
    next: AtomicUsize,
}

impl Traffic for Turns {
    fn next(&self, _: &mut StdRng) -> Planned<'_> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let (user, round) = (turn % self.like.len(), turn / self.like.len());
        let requests = if round % 2 == 0 { &self.like } else { &self.cancel };
        Planned { kind: 0, request: Cow::Borrowed(requests[user].bytes()) }
    }
}

impl Turns {
    /// Of the tweets 1 to `tweets`.
    fn new(cookies: &[String], tweets: usize) -> Turns {
        let request = |path: &str, (user, cookie): (usize, &String)| {
            let tweet = 1 + user % tweets;
            let body = format!(r#"{{"content_type":"tweet","object_id":{tweet}}}"#);
            Request::post(path, Some(cookie), &body)
        };
        let all = |path: &str| cookies.iter().enumerate().map(|of| request(path, of)).collect();
        Turns {
            like: all("/api/likes/"),
            cancel: all("/api/likes/cancel/"),
            next: AtomicUsize::new(0),
        }
    }
}

/// Adds the figures of HTTP.
///
/// # Errors
/// When the service fails.
pub(super) fn measure(bench: &Bench, section: &mut Section) -> anyhow::Result<()> {
    let users = USERS.to_string();
    let tweets = SPREAD.to_string();
    let flags = ["--users", &users, "--tweets", &tweets, "--likes", "0", "--comments", "0"];
    let data = Data::seeded(bench, Setup::PostgresRedis, &flags)?;
    let cookies = data.log_in(1..=USERS as i64)?;
    // The way up to the counter and back: session, body, rules. It ends with a 400.
    let refused: Vec<Request> = cookies
        .iter()
        .map(|cookie| {
            let body = r#"{"content_type":"nothing","object_id":1}"#;
            Request::post("/api/likes/", Some(cookie), body)
        })
        .collect();
    let process = Process::roost(bench, &data, &[])?;
    let (rounds, time) = bench.pick((1, 1.0), (3, 3.0));
    let shape = Shape { connections: CLIENTS, ..Shape::for_seconds(time) };
    for tweets in [1, SPREAD as usize] {
        let target = if tweets == 1 { "one tweet".to_owned() } else { format!("{tweets} tweets") };
        let turns = Turns::new(&cookies, tweets);
        let mut busy = Vec::new();
        let figure = format!("likes and cancels of {target} over HTTP, PostgreSQL and Redis");
        let rates = pairs(
            bench,
            &figure,
            rounds,
            || {
                let before = process.metric("roost_counter_batch_size_count", "")?;
                let liked = load::closed(process.address, shape, &turns)?.without_failures()?;
                let batches = process.metric("roost_counter_batch_size_count", "")? - before;
                busy.push(batches / liked.requests as f64);
                Ok(liked.rate())
            },
            || Ok(only_refused(load::closed(process.address, shape, &refused)?)?.rate()),
        )?;
        section.add(Figure::paired(figure, "requests/s", "refused before the counter", &rates));
        section.add(Figure::alone(
            format!("transactions per request of {target} over HTTP"),
            "",
            &busy,
        ));
    }
    process.stop()?;
    data.discard(bench)
}

/// Passes on a measurement in which nothing got through.
fn only_refused(outcome: Outcome) -> anyhow::Result<Outcome> {
    anyhow::ensure!(
        outcome.requests > 0 && outcome.failed == outcome.requests,
        "{} of {} were refused, one with {:?}",
        outcome.failed,
        outcome.requests,
        outcome.failed_with
    );
    anyhow::ensure!(outcome.failed_with == Some(400), "refused with {:?}", outcome.failed_with);
    Ok(outcome)
}
