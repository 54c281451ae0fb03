//! How fast a tweet reaches its author's followers, and what others feel of it.
//!
//! The rival is one raw `INSERT ... SELECT` of the same rows into a table of the same form, by
//! the same server, with one commit at the end: nothing that leaves a trace of where it stands
//! after a crash, and nothing that lets others in between, can be faster.

mod beside;
mod caller;
mod list;
mod rival;
mod size;
mod stage;
mod stream;
mod wait;

use anyhow::ensure;

use self::caller::Caller;
use self::stage::{Author, LAST_READER, Stage};
use super::pairs;
use crate::Bench;
use crate::data::Setup;
use crate::figures::{Axis, Figure, Goal, Plot, Scale, Section};
use crate::load::nanoseconds;

/// Of the raw rate, from this many followers on.
const GOAL: f64 = 0.8;
const GOAL_FROM: i64 = 10_000;

/// A run by hand with an author of a million followers.
const MILLION: &str = "ROOST_BENCH_MILLION";

/// Measures it.
///
/// # Errors
/// When a server refuses, or a delivery does not come to its end.
pub fn run(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::default();
    let x = Axis::new("followers", Scale::Log);
    let mut plot = Plot::new("Delivery by number of followers", x, Axis::new("rows/s", Scale::Log));
    let setups = bench.pick(
        &[Setup::Postgres, Setup::Sqlite][..],
        &[Setup::Postgres, Setup::PostgresRedis, Setup::Sqlite][..],
    );
    for setup in setups {
        let mut sizes = bench.pick(vec![100, 10_000], vec![100, 10_000, 100_000]);
        if std::env::var_os(MILLION).is_some() && *setup != Setup::PostgresRedis {
            sizes.push(1_000_000);
        }
        let mut stage = Stage::set(bench, *setup, &sizes)?;
        rates(bench, &mut stage, &mut section, &mut plot)?;
        visible(bench, &mut stage, &mut section)?;
        beside::run(bench, &mut stage, &mut section)?;
        let data = stage.leave()?;
        if *setup != Setup::PostgresRedis {
            size::run(bench, &data, &mut section)?;
        }
        data.discard(bench)?;
    }
    section.plots.push(plot);
    section.remark(
        "Rows per second are counted from the 201 of the post until the last follower sees it, with \
         a Redis until the last follower's list has it; the rival from its start to its commit.",
    );
    section.remark(format!("{MILLION}=1 adds an author with 1,000,000 followers."));
    Ok(section)
}

pub(super) fn name(setup: Setup) -> &'static str {
    match setup {
        Setup::Sqlite => "SQLite",
        Setup::Postgres => "PostgreSQL",
        Setup::PostgresRedis => "PostgreSQL and Redis",
    }
}

/// Rows per second by number of followers, against the raw rate.
fn rates(
    bench: &Bench,
    stage: &mut Stage,
    section: &mut Section,
    plot: &mut Plot,
) -> anyhow::Result<()> {
    let setup = stage.setup();
    let (mut ours_by_size, mut raw_by_size) = (Vec::new(), Vec::new());
    for author in stage.authors.clone() {
        let rounds = match author.followers {
            0..100_000 => bench.pick(5, 21),
            _ => bench.pick(3, 9),
        };
        let what = format!("{} followers, {}", author.followers, name(setup));
        let stage = std::cell::RefCell::new(&mut *stage);
        let taken = pairs(
            bench,
            &what,
            rounds,
            || stage.borrow_mut().deliver(author),
            || stage.borrow_mut().raw(author),
        )?;
        let pairs: Vec<(f64, f64)> = taken
            .iter()
            .map(|(ours, raw)| {
                let rows = author.followers as f64;
                (rows / ours.as_secs_f64(), rows / raw.as_secs_f64())
            })
            .collect();
        let figure = Figure::paired(format!("delivery, {what}"), "rows/s", "raw INSERT", &pairs);
        let median = |figure: &Figure| figure.value.median;
        ours_by_size.push((author.followers as f64, median(&figure)));
        raw_by_size.push((
            author.followers as f64,
            figure.rival.as_ref().map_or(f64::NAN, |(_, spread)| spread.median),
        ));
        section.add(match author.followers >= GOAL_FROM {
            true => figure.goal(Goal::AtLeast(GOAL)),
            false => figure,
        });
    }
    if let (Some(ours), Some(raw)) = (growth(&ours_by_size), growth(&raw_by_size)) {
        let title =
            format!("rate with the most followers by that with {GOAL_FROM}, {}", name(setup));
        let figure = Figure::paired(title, "", "raw INSERT", &[(ours, raw)]);
        section.add(figure.goal(Goal::AtLeast(GOAL)));
    }
    plot.line(format!("Roost, {}", name(setup)), ours_by_size);
    plot.line(format!("raw, {}", name(setup)), raw_by_size);
    Ok(())
}

/// The rate with the most followers, of the rate with [`GOAL_FROM`]: 1 when the time is linear in
/// the followers. The raw statement has its own, by the size of the table and of what is flushed.
fn growth(rates: &[(f64, f64)]) -> Option<f64> {
    let base = rates.iter().find(|(followers, _)| *followers == GOAL_FROM as f64)?;
    let last = rates.last().filter(|(followers, _)| *followers > base.0)?;
    Some(last.1 / base.1)
}

/// From the 201 until the last of a thousand followers sees the tweet.
fn visible(bench: &Bench, stage: &mut Stage, section: &mut Section) -> anyhow::Result<()> {
    let posts = bench.pick(50, 300);
    let mut histogram = nanoseconds();
    let mut reader = stage.stream(LAST_READER)?;
    let (address, cookie) = (stage.address(), stage.cookie(Author::THOUSAND.id)?);
    let mut author = Caller::new(address, cookie)?;
    for post in 0..posts {
        if post % 25 == 0 {
            bench.progress.round("visible to the last of 1,000 followers", post, posts);
        }
        let (tweet, answered) = author.post()?;
        let seen = reader.wait_for(tweet)?;
        histogram.saturating_record(seen.duration_since(answered).as_nanos().max(1) as u64);
    }
    ensure!(histogram.len() == posts as u64, "every post was seen");
    let ms = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e6;
    let title = |which: &str| {
        format!("from 201 to visible, 1,000 followers, {}: {which}", name(stage.setup()))
    };
    section.add(Figure::alone(title("median"), "ms", &[ms(0.5)]));
    section.add(Figure::alone(title("p99"), "ms", &[ms(0.99)]));
    Ok(())
}
