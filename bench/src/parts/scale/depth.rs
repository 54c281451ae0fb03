//! Pages far below what is cached.

use super::LONG_AGO;
use crate::data::Data;
use crate::figures::{Axis, Figure, Goal, Plot, Scale, Section};
use crate::load::{self, Request};
use crate::process::Process;
use crate::{Bench, Spread};

/// The deepest page costs at most so many times what one just beyond the list limit costs.
const DEEP: f64 = 3.0;

/// The list limit of a node with the default settings, and a page.
const JUST_BEYOND: i64 = 1_020;

/// Whose feed is long: somebody whom no other measurement reads.
const READER: i64 = 5_000;

/// Measures it.
pub(super) fn run(bench: &Bench, data: &Data, section: &mut Section) -> anyhow::Result<()> {
    let deepest: i64 = bench.pick(20_000, 100_000);
    let entries = deepest + 5_000;
    bench.progress.step("a long feed");
    data.execute(&format!(
        "INSERT INTO newsfeeds (user_id, created_at, tweet_id) \
         SELECT {READER}, {LONG_AGO} + n, 1 + n % 1000 FROM generate_series(1, {entries}) n"
    ))?;
    data.execute("VACUUM ANALYZE newsfeeds")?;
    let cookies = data.log_in(READER..=READER)?;
    let process = Process::roost(bench, data, &[])?;
    let depths: Vec<i64> = [JUST_BEYOND, 3_000, 10_000, 30_000, 100_000]
        .into_iter()
        .filter(|depth| *depth <= deepest)
        .collect();
    let rounds = bench.pick(3, 9);
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); depths.len()];
    for round in 0..rounds {
        bench.progress.round("deep pages", round, rounds);
        for (place, depth) in depths.iter().enumerate() {
            let pages: Vec<Request> = (0..100)
                .map(|page| {
                    let cursor = LONG_AGO + entries - depth - page * 20;
                    let cursor = roost::time::Timestamp(cursor);
                    let path = format!("/api/newsfeeds/?created_at__lt={cursor}");
                    Request::get(&path, cookies.first().map(String::as_str))
                })
                .collect();
            let outcome = load::each(process.address, &pages, |_, _| {})?;
            times[place].push(outcome.ms(0.5)?);
        }
    }
    process.stop()?;
    let mut plot = Plot::new(
        "Pages below the list limit",
        Axis::new("depth, entries", Scale::Log),
        Axis::new("median, ms", Scale::Linear),
    );
    let medians = times.iter().map(|times| Spread::of(times).median);
    plot.line("Roost", depths.iter().map(|depth| *depth as f64).zip(medians).collect());
    section.plots.push(plot);
    if let (Some(first), Some(last)) = (times.first(), times.last()) {
        let pairs: Vec<(f64, f64)> = last.iter().copied().zip(first.iter().copied()).collect();
        let name = format!("a page at depth {deepest}, median");
        section.add(
            Figure::paired(name, "ms", format!("at depth {JUST_BEYOND}"), &pairs)
                .goal(Goal::AtMost(DEEP)),
        );
    }
    Ok(())
}
