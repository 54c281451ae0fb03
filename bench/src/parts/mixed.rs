//! What people do, at fixed rates of arrival: 1 post, 100 reads, 10 follows, 20 likes, 5 comments.

use std::time::Duration;

use hdrhistogram::Histogram;
use rand::RngExt;
use rand::rngs::StdRng;

use super::pairs;
use crate::Bench;
use crate::data::{Data, Setup};
use crate::figures::{Axis, Figure, Goal, Plot, Scale, Section};
use crate::load::{self, Arrivals, Outcome, Planned, Request, Shape, Traffic};
use crate::process::{Answer, Process};

/// Kinds of request and how many of each in 136.
const MIX: [(&str, u32); 5] =
    [("read", 100), ("post", 1), ("follow", 10), ("like", 20), ("comment", 5)];

/// Shares of the capacity at which latencies are measured, in percent.
const LOADS: [u32; 3] = [25, 50, 75];

/// At half of the capacity the p99 is at most so many times the bare handler's.
const TIMES_BARE: f64 = 5.0;

/// Requests of all kinds, by random users.
struct Mix {
    cookies: Vec<String>,
    reads: Vec<Request>,
    tweets: i64,
}

impl Traffic for Mix {
    fn kinds(&self) -> usize {
        MIX.len()
    }

    fn next(&self, draw: &mut StdRng) -> Planned<'_> {
        let user = draw.random_range(0..self.cookies.len());
        let total: u32 = MIX.iter().map(|(_, share)| share).sum();
        let mut place = draw.random_range(0..total);
        let kind = MIX.iter().position(|(_, share)| {
            let is_it = place < *share;
            place = place.saturating_sub(*share);
            is_it
        });
        let kind = kind.unwrap_or_default();
        if kind == 0 {
            return Planned { kind, request: self.reads[user].bytes().into() };
        }
        let request = self.write(kind, user, draw);
        Planned { kind, request: request.bytes().to_vec().into() }
    }
}

impl Mix {
    fn write(&self, kind: usize, user: usize, draw: &mut StdRng) -> Request {
        let cookie = Some(self.cookies[user].as_str());
        let tweet = draw.random_range(1..=self.tweets);
        match MIX[kind].0 {
            "post" => {
                let number: u64 = draw.random();
                let text =
                    format!("{{\"content\":\"What I think of number {number:x}, at length\"}}");
                Request::post("/api/tweets/", cookie, &text)
            }
            "follow" => {
                let step = draw.random_range(1..self.cookies.len());
                let other = (user + step) % self.cookies.len() + 1;
                Request::post(&format!("/api/friendships/{other}/follow/"), cookie, "{}")
            }
            "like" => {
                let like = format!("{{\"content_type\":\"tweet\",\"object_id\":{tweet}}}");
                Request::post("/api/likes/", cookie, &like)
            }
            _ => {
                let comment = format!("{{\"tweet_id\":{tweet},\"content\":\"Well said\"}}");
                Request::post("/api/comments/", cookie, &comment)
            }
        }
    }
}

/// Measures it.
///
/// # Errors
/// When something cannot be measured, or a request fails.
pub fn run(bench: &Bench) -> anyhow::Result<Section> {
    let users: u32 = bench.pick(2_000, 10_000);
    let data = Data::seeded(bench, Setup::PostgresRedis, &["--users", &users.to_string()])?;
    let cookies = data.log_in(1..=i64::from(users))?;
    let reads: Vec<Request> =
        cookies.iter().map(|cookie| Request::get("/api/newsfeeds/", Some(cookie))).collect();
    let process = Process::roost(bench, &data, &[])?;
    bench.progress.step("reading every page once");
    load::each(process.address, &reads, |_, _| {})?;
    let reply = load::call(process.address, &reads[users as usize / 2])?;
    let mix = Mix { cookies, reads, tweets: i64::from(users) * 5 };
    let bare = Process::bare(bench, &reply, Answer::SameBytes)?;
    let mut section = Section::default();
    let capacity = capacity(bench, &process, &mix, &mut section)?;
    at_loads(bench, &process, &bare, &mix, capacity, &mut section)?;
    process.stop()?;
    data.discard(bench)?;
    section.remark(format!(
        "PostgreSQL (fsync on) and Redis, {users} users. Per 136 requests: {}. Capacity is what \
         64 connections reach in a closed loop. The bare handler gets the same arrivals and \
         answers each with the bytes of a newsfeed page.",
        MIX.map(|(name, share)| format!("{share} x {name}")).join(", ")
    ));
    Ok(section)
}

/// What a closed loop reaches, in requests per second.
fn capacity(
    bench: &Bench,
    process: &Process,
    mix: &Mix,
    section: &mut Section,
) -> anyhow::Result<f64> {
    let shape = Shape { connections: 64, ..Shape::for_seconds(bench.pick(2.0, 8.0)) };
    let rounds = bench.pick(1, 3);
    let mut rates = Vec::with_capacity(rounds);
    for round in 0..rounds {
        bench.progress.round("capacity", round, rounds);
        rates.push(load::closed(process.address, shape, mix)?.without_failures()?.rate());
    }
    let figure = Figure::alone("capacity, closed loop", "requests/s", &rates);
    let capacity = figure.value.median;
    section.add(figure);
    Ok(capacity)
}

fn at_loads(
    bench: &Bench,
    process: &Process,
    bare: &Process,
    mix: &Mix,
    capacity: f64,
    section: &mut Section,
) -> anyhow::Result<()> {
    let mut over_load = Plot::new(
        "Latency against load, newsfeed reads and all requests",
        Axis::new("load, % of capacity", Scale::Linear),
        Axis::new("latency, ms", Scale::Log),
    );
    /// Name, quantile, kind of request (`None`: all), points.
    type Line = (&'static str, f64, Option<usize>, Vec<(f64, f64)>);
    let mut lines: [Line; 4] = [
        ("all p50", 0.5, None, vec![]),
        ("all p99", 0.99, None, vec![]),
        ("reads p50", 0.5, Some(0), vec![]),
        ("reads p99", 0.99, Some(0), vec![]),
    ];
    for percent in LOADS {
        let arrivals = Arrivals {
            rate: capacity * f64::from(percent) / 100.0,
            connections: 256,
            threads: 1,
            warm_up: Duration::from_secs(1),
            time: Duration::from_secs(bench.pick(2, 8)),
        };
        let at = |process: &Process| load::open(process.address, arrivals, mix)?.without_failures();
        let what = format!("at {percent} % of capacity");
        let rounds = pairs(bench, &what, bench.pick(1, 3), || at(process), || at(bare))?;
        figures(&what, percent, &rounds, section)?;
        for (_, quantile, kind, points) in &mut lines {
            let mut values = Vec::new();
            for (ours, _) in &rounds {
                values.push(histogram(ours, *kind)?.value_at_quantile(*quantile) as f64 / 1e6);
            }
            let value = crate::Spread::of(&values).median;
            points.push((f64::from(percent), value));
        }
        if let Some((ours, theirs)) = rounds.last() {
            section.plots.push(by_kind(&what, ours, theirs)?);
        }
    }
    for (name, _, _, points) in lines {
        over_load.line(name, points);
    }
    section.plots.push(over_load);
    Ok(())
}

fn histogram(outcome: &Outcome, kind: Option<usize>) -> anyhow::Result<Histogram<u64>> {
    match kind {
        Some(kind) => Ok(outcome.latency[kind].clone()),
        None => outcome.all(),
    }
}

fn figures(
    what: &str,
    percent: u32,
    rounds: &[(Outcome, Outcome)],
    section: &mut Section,
) -> anyhow::Result<()> {
    for (of, kind) in [("all requests", None), ("reads", Some(0))] {
        for (quantile, name) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")] {
            let mut values = Vec::with_capacity(rounds.len());
            for (ours, theirs) in rounds {
                let ours = histogram(ours, kind)?.value_at_quantile(quantile) as f64 / 1e6;
                values.push((ours, theirs.ms(quantile)?));
            }
            let name = format!("{what}, {of}: {name}");
            let mut figure = Figure::paired(name, "ms", "bare handler", &values);
            if percent == 50 && quantile == 0.99 {
                figure = figure.goal(Goal::AtMost(TIMES_BARE));
            }
            section.add(figure);
        }
    }
    Ok(())
}

fn by_kind(what: &str, ours: &Outcome, theirs: &Outcome) -> anyhow::Result<Plot> {
    let mut plot = Plot::of_latency(format!("Mixed traffic {what}, open loop"));
    for ((name, _), histogram) in MIX.iter().zip(&ours.latency) {
        plot.latency(*name, histogram);
    }
    plot.latency("bare handler", &theirs.all()?);
    Ok(plot)
}
