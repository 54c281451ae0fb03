//! Likes per second: group commit by the counter against one transaction per like.
//!
//! Both sides write the same rows to the same database with the same number of clients in a
//! closed loop: the like, the tweet's count with its version, and the row from which a
//! notification is made. Every like is a new one, by a user of its own.

mod actor;
mod http;
mod straight;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use roost::store::likes::{LikeKey, LikeKind};

use self::straight::Way;
use super::pairs;
use crate::Bench;
use crate::data::{Data, Setup};
use crate::figures::{Axis, Figure, Goal, Plot, Scale, Section};
use crate::process::without_settings;

/// Clients of both sides; each waits for the answer to its last like.
const CLIENTS: usize = 256;

/// Tweets of the measurement whose likes are spread.
const SPREAD: i64 = 1_000;

/// How much faster the counter has to be than single transactions on one tweet.
const HOT_GOAL: f64 = 20.0;

/// The same on a thousand tweets.
const SPREAD_GOAL: f64 = 5.0;

/// How many single transactions the slowest lone likes may take.
const LONE_GOAL: f64 = 2.0;

/// Likes that nobody has made before.
struct Likes {
    user: AtomicI64,
    tweets: i64,
}

impl Likes {
    /// Of the tweets 1 to `tweets`, by users from `first` on: far above those that have rows,
    /// which nobody needs to like.
    fn of(tweets: i64, first: i64) -> Likes {
        Likes { user: AtomicI64::new(first), tweets }
    }

    fn next(&self) -> LikeKey {
        let user_id = self.user.fetch_add(1, Ordering::Relaxed);
        // A step that shares no factor with the number of tweets visits them all.
        let object_id = 1 + user_id % self.tweets * 7_919 % self.tweets;
        LikeKey { user_id, kind: LikeKind::Tweet, object_id }
    }
}

/// What one measurement has seen.
struct Seen {
    likes: u64,
    took: Duration,
    /// In nanoseconds.
    latency: Histogram<u64>,
    /// Operations of each transaction.
    batches: Histogram<u64>,
}

impl Seen {
    fn rate(&self) -> f64 {
        self.likes as f64 / self.took.as_secs_f64()
    }

    fn p99_ms(&self) -> f64 {
        self.latency.value_at_quantile(0.99) as f64 / 1e6
    }
}

/// Measures it.
///
/// # Errors
/// When a database or a process fails.
pub fn run(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::default();
    for setup in [Setup::Postgres, Setup::Sqlite] {
        let name = match setup {
            Setup::Sqlite => "SQLite",
            Setup::Postgres | Setup::PostgresRedis => "PostgreSQL",
        };
        let data = prepared(bench, setup)?;
        let mut sizes = Plot::new(
            format!("operations of a transaction, {CLIENTS} clients, {name}"),
            Axis::new("share of the transactions", Scale::Linear),
            Axis::new("operations", Scale::Linear),
        );
        for (tweets, goal) in [(1, HOT_GOAL), (SPREAD, SPREAD_GOAL)] {
            many(bench, &data, name, tweets, goal, &mut section, &mut sizes)?;
        }
        section.plots.push(sizes);
        lone(bench, &data, name, &mut section)?;
        data.discard(bench)?;
    }
    http::measure(bench, &mut section)?;
    section.remark(format!(
        "{CLIENTS} clients; PostgreSQL with fsync and synchronous_commit on, SQLite in WAL mode \
         with synchronous=FULL, both on this machine. Straight to the database every client has a \
         connection of its own and prepared statements. The other rivals are the hardest that we \
         know: one statement that does all, and on SQLite one connection behind a mutex, so that \
         nobody waits for the file's lock."
    ));
    Ok(section)
}

fn migrate(bench: &Bench, data: &Data) -> anyhow::Result<()> {
    let status = without_settings(&bench.roost).arg("migrate").envs(data.environment()).status()?;
    anyhow::ensure!(status.success(), "roost migrate: {status}");
    Ok(())
}

/// A database with tweets to like and nothing running on it.
fn prepared(bench: &Bench, setup: Setup) -> anyhow::Result<Data> {
    let data = Data::empty(bench, setup)?;
    migrate(bench, &data)?;
    data.execute(&format!(
        "INSERT INTO users (id, username, email, password_hash, disabled, created_at) \
         VALUES (1, 'author', 'author@example.com', '', FALSE, 0); \
         INSERT INTO profiles (user_id) VALUES (1); \
         INSERT INTO tweets (id, user_id, content, created_at, delivered_at, likes_count, \
         comments_count) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
         WHERE i < {SPREAD}) SELECT i, 1, 'a tweet', i, i, 0, 0 FROM n"
    ))?;
    Ok(data)
}

/// Many clients at once.
fn many(
    bench: &Bench,
    data: &Data,
    name: &str,
    tweets: i64,
    goal: f64,
    section: &mut Section,
    sizes: &mut Plot,
) -> anyhow::Result<()> {
    let (rounds, time) = bench.pick((1, 1.0), (4, 3.0));
    let time = Duration::from_secs_f64(time);
    let target = if tweets == 1 { "one tweet".to_owned() } else { format!("{tweets} tweets") };
    let likes = Likes::of(tweets, tweets * 10_000_000_000);
    let db = data.open()?;
    let measured = pairs(
        bench,
        &format!("likes of {target}, {name}"),
        rounds,
        || actor::run(&db, &likes, CLIENTS, time),
        || straight::run(data, &likes, CLIENTS, time, Way::Transaction),
    )?;
    let rates: Vec<(f64, f64)> =
        measured.iter().map(|(ours, theirs)| (ours.rate(), theirs.rate())).collect();
    section.add(
        Figure::paired(
            format!("likes of {target}, {name}"),
            "likes/s",
            "a transaction each",
            &rates,
        )
        .goal(Goal::AtLeast(goal)),
    );
    let (way, called) = match data.setup {
        Setup::Sqlite => (Way::OneConnection, "a transaction each, on one connection"),
        _ => (Way::Statement, "one statement each, no round trips between"),
    };
    let harder = pairs(
        bench,
        &format!("likes of {target} by {called}, {name}"),
        bench.pick(1, 2),
        || Ok(actor::run(&db, &likes, CLIENTS, time)?.rate()),
        || Ok(straight::run(data, &likes, CLIENTS, time, way)?.rate()),
    )?;
    section.add(Figure::paired(format!("likes of {target}, {name}"), "likes/s", called, &harder));
    let mut batches = Histogram::<u64>::new(3).context("a histogram")?;
    for (ours, _) in &measured {
        batches.add(&ours.batches)?;
    }
    let per_like: Vec<f64> =
        measured.iter().map(|(ours, _)| ours.batches.len() as f64 / ours.likes as f64).collect();
    section.add(Figure::alone(format!("transactions per like of {target}, {name}"), "", &per_like));
    for (quantile, called) in [(0.5, "median"), (0.99, "p99")] {
        let size = batches.value_at_quantile(quantile) as f64;
        let figure = format!("operations of a transaction, {called}, {target}, {name}");
        section.add(Figure::alone(figure, "operations", &[size]));
    }
    let shown = (0..=20).map(|step| f64::from(step) / 20.0);
    sizes.line(target, shown.map(|q| (q, batches.value_at_quantile(q) as f64)).collect());
    exact(data)
}

/// One client alone: nothing to share a transaction with.
fn lone(bench: &Bench, data: &Data, name: &str, section: &mut Section) -> anyhow::Result<()> {
    let (rounds, time) = bench.pick((1, 1.0), (10, 1.0));
    let time = Duration::from_secs_f64(time);
    let likes = Likes::of(SPREAD, 1_000_000_000);
    let db = data.open()?;
    let measured = pairs(
        bench,
        &format!("a lone like, {name}"),
        rounds,
        || actor::run(&db, &likes, 1, time),
        || straight::run(data, &likes, 1, time, Way::Transaction),
    )?;
    let mut plot = Plot::of_latency(format!("a lone like, {name}"));
    if let Some((ours, theirs)) = measured.last() {
        plot.latency("the counter", &ours.latency);
        plot.latency("a transaction", &theirs.latency);
    }
    section.plots.push(plot);
    let p99: Vec<(f64, f64)> =
        measured.iter().map(|(ours, theirs)| (ours.p99_ms(), theirs.p99_ms())).collect();
    let median = |seen: &Seen| seen.latency.value_at_quantile(0.5) as f64 / 1e6;
    let medians: Vec<(f64, f64)> =
        measured.iter().map(|(ours, theirs)| (median(ours), median(theirs))).collect();
    section.add(Figure::paired(
        format!("a lone like, median, {name}"),
        "ms",
        "a transaction",
        &medians,
    ));
    section.add(
        Figure::paired(format!("a lone like, p99, {name}"), "ms", "a transaction", &p99)
            .goal(Goal::AtMost(LONE_GOAL)),
    );
    exact(data)
}

/// What was measured must also be right.
fn exact(data: &Data) -> anyhow::Result<()> {
    let wrong = "SELECT count(*) FROM tweets WHERE likes_count <> \
                 (SELECT count(*) FROM likes WHERE kind = 1 AND object_id = tweets.id)";
    let wrong = straight::number(data, wrong)?;
    anyhow::ensure!(wrong == 0, "{wrong} tweets have a wrong count");
    Ok(())
}
