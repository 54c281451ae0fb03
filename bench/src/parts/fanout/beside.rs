//! What readers and small authors feel of a large delivery.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::caller::Caller;
use super::stage::{Author, READERS, SMALL_READER, Stage};
use super::{name, pairs};
use crate::Bench;
use crate::figures::{Figure, Goal, Section};
use crate::load::{self, Arrivals, Request, Shape, nanoseconds};
use crate::process::{Answer, Process};

/// A small author's tweet must be visible within, in milliseconds.
const VISIBLE_MS: f64 = 100.0;

/// The p99 of a page must be at most so many times what it is without the delivery.
const SLOWER: f64 = 2.0;

/// Pages of independent readers, per second.
const RATE: f64 = 100.0;

/// Between two looks at whether another tweet is needed, each of which costs the service about
/// as much as ten pages.
const WATCH_EVERY: Duration = Duration::from_millis(75);

/// Between two posts of the small author.
const POST_EVERY: Duration = Duration::from_millis(50);

pub(super) fn run(bench: &Bench, stage: &mut Stage, section: &mut Section) -> anyhow::Result<()> {
    let large = *stage.authors.last().context("an author")?;
    one_reader(bench, stage, large, section)?;
    many_readers(bench, stage, large, section)?;
    small_author(bench, stage, large, section)?;
    stage.wait_until_idle()
}

/// Runs `work` while tweets of `large` are always on their way, and tells how many rows per second
/// were delivered meanwhile.
fn beside<T>(
    stage: &Stage,
    large: Author,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, f64)> {
    let over = AtomicBool::new(false);
    let (address, cookie) = (stage.address(), stage.cookie(large.id)?);
    let mut watch = Caller::new(address, String::new())?;
    let mut counting = Caller::new(address, String::new())?;
    let (begun, before) = (Instant::now(), counting.deliveries()?);
    std::thread::scope(|scope| {
        let posting = scope.spawn(|| -> anyhow::Result<()> {
            let mut caller = Caller::new(address, cookie)?;
            while !over.load(Ordering::Relaxed) {
                // Two on their way: there is always work, and little is left in the end.
                if watch.open_tasks()? < 2.0 {
                    caller.post()?;
                }
                std::thread::sleep(WATCH_EVERY);
            }
            Ok(())
        });
        let result = work();
        let delivered = counting.deliveries().map(|after| after - before);
        let rate = delivered.map(|rows| rows / begun.elapsed().as_secs_f64());
        over.store(true, Ordering::Relaxed);
        posting.join().map_err(|_| anyhow::anyhow!("the posting thread panicked"))??;
        Ok((result?, rate?))
    })
}

/// Adds what `p99` finds beside the delivery and without it, in turn, and how many rows per second
/// were delivered meanwhile.
fn slowed(
    bench: &Bench,
    stage: &mut Stage,
    large: Author,
    section: &mut Section,
    what: &str,
    p99: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<()> {
    let what = format!("{what} beside a delivery, {}", name(stage.setup()));
    let mut rates = Vec::new();
    let taken = pairs(
        bench,
        &what,
        bench.pick(2, 5),
        || {
            let (p99, rate) = beside(stage, large, &p99)?;
            rates.push(rate);
            stage.wait_until_idle()?;
            Ok(p99)
        },
        &p99,
    )?;
    let figure = Figure::paired(format!("{what}: p99"), "ms", "without it", &taken);
    section.add(figure.goal(Goal::AtMost(SLOWER)));
    section.add(Figure::alone(format!("{what}: delivered meanwhile"), "rows/s", &rates));
    Ok(())
}

/// The p99 of the pages of one reader, who asks for the next when he has the last: what a page
/// takes, not how many pages would have waited behind it.
fn one_reader(
    bench: &Bench,
    stage: &mut Stage,
    large: Author,
    section: &mut Section,
) -> anyhow::Result<()> {
    let cookie = stage.cookie(*READERS.start())?;
    let pages = vec![Request::get("/api/newsfeeds/", Some(&cookie))];
    let shape = Shape {
        threads: 1,
        connections: 1,
        warm_up: Duration::from_millis(500),
        time: Duration::from_secs_f64(bench.pick(2.0, 6.0)),
    };
    let address = stage.address();
    let p99 = || load::closed(address, shape, &pages)?.without_failures()?.ms(0.99);
    slowed(bench, stage, large, section, "a reader", p99)
}

/// The p99 of pages that arrive evenly, whether or not the last ones are there; and what the
/// machine does to such pages.
fn many_readers(
    bench: &Bench,
    stage: &mut Stage,
    large: Author,
    section: &mut Section,
) -> anyhow::Result<()> {
    let requests: Vec<Request> = stage
        .cookies(READERS)?
        .iter()
        .map(|cookie| Request::get("/api/newsfeeds/", Some(cookie)))
        .collect();
    let arrivals = Arrivals {
        rate: RATE,
        connections: 16,
        threads: 1,
        warm_up: Duration::from_millis(500),
        time: Duration::from_secs_f64(bench.pick(2.0, 6.0)),
    };
    let address = stage.address();
    let p99_at = |address| load::open(address, arrivals, &requests)?.without_failures()?.ms(0.99);
    let reply = load::call(address, &requests[0])?;
    let what = format!("{RATE} pages/s");
    slowed(bench, stage, large, section, &what, || p99_at(address))?;

    // What the machine does to anybody: no service, and statements that nobody can end.
    let bare = Process::bare(bench, &reply, Answer::SameBytes)?;
    let p99 = || p99_at(bare.address);
    let what = format!("the bare handler beside raw INSERTs, {}", name(stage.setup()));
    let taken = pairs(bench, &what, bench.pick(1, 3), || stage.beside_raw(large, p99), p99)?;
    section.add(Figure::paired(format!("{what}: p99"), "ms", "without them", &taken));
    Ok(())
}

/// From sending the post of a small author until a follower sees it, beside the delivery.
fn small_author(
    bench: &Bench,
    stage: &mut Stage,
    large: Author,
    section: &mut Section,
) -> anyhow::Result<()> {
    let setup = stage.setup();
    let posts = bench.pick(30, 200);
    let address = stage.address();
    let mut author = Caller::new(address, stage.cookie(Author::SMALL.id)?)?;
    let mut reader = stage.stream(SMALL_READER)?;
    bench.progress.step("a small author beside a large one");
    let (histogram, _) = beside(stage, large, || {
        let mut histogram = nanoseconds();
        for _ in 0..posts {
            let sent = Instant::now();
            let (tweet, _) = author.post()?;
            let seen = reader.wait_for(tweet)?;
            histogram.saturating_record(seen.duration_since(sent).as_nanos().max(1) as u64);
            std::thread::sleep(POST_EVERY);
        }
        Ok(histogram)
    })?;
    let ms = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e6;
    let title = |which: &str| {
        let followers = large.followers;
        format!("small author's post to visible beside {followers}, {}: {which}", name(setup))
    };
    let goal = Goal::AtMost(VISIBLE_MS);
    section.add(Figure::alone(title("median"), "ms", &[ms(0.5)]).goal(goal));
    section.add(Figure::alone(title("p99"), "ms", &[ms(0.99)]).goal(goal));
    Ok(())
}
