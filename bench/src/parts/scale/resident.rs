//! Reads while more and more timelines are in memory.

use super::feeds;
use crate::data::Data;
use crate::figures::{Axis, Figure, Goal, Plot, Scale, Section};
use crate::load::{self, Request, Shape};
use crate::process::Process;
use crate::{Bench, Spread};

/// Within ten percent.
const FLAT: f64 = 0.9;

/// Timelines that are read when only the number of residents is to count.
const FEW: usize = 100;

/// Measures it on a node with the default settings.
pub(super) fn run(bench: &Bench, data: &Data, section: &mut Section) -> anyhow::Result<()> {
    let steps: &[usize] = bench.pick(&[100, 5_000], &[100, 1_000, 10_000, 100_000]);
    let most = steps.iter().copied().max().unwrap_or(FEW);
    // The readers with a page of a hundred entries come first; the others' feeds are shorter,
    // and an author's list of one tweet is a timeline like any other.
    let cookies = data.log_in(1..=most as i64)?;
    let process = Process::roost(bench, data, &[])?;
    let feeds = feeds(&cookies);
    let shape = Shape::for_seconds(bench.pick(0.7, 3.0));
    let rounds = bench.pick(2, 4);
    let few = feeds[..FEW].to_vec();
    let mut rates: Vec<Vec<f64>> = Vec::new();
    let mut resident = 0;
    for step in steps {
        bench.progress.step(&format!("{step} resident timelines"));
        warm(&process, &feeds[resident..*step])?;
        resident = *step;
        let mut of_step = Vec::new();
        for round in 0..rounds {
            bench.progress.round(&format!("{step} resident timelines"), round, rounds);
            of_step.push(load::closed(process.address, shape, &few)?.without_failures()?.rate());
        }
        rates.push(of_step);
    }
    let counted = process.metric("roost_timelines_resident", "")?;
    let all = among_all(bench, &process, &feeds, &few)?;
    process.stop()?;
    let mut plot = Plot::new(
        "Warm newsfeed pages by resident timelines",
        Axis::new("resident timelines", Scale::Log),
        Axis::new("requests/s", Scale::Linear),
    );
    let medians = rates.iter().map(|rates| Spread::of(rates).median);
    plot.line("100 of them read", steps.iter().map(|n| *n as f64).zip(medians).collect());
    section.plots.push(plot);
    for (step, more) in steps.iter().zip(&rates).skip(1) {
        let pairs: Vec<(f64, f64)> = more.iter().copied().zip(rates[0].iter().copied()).collect();
        let name = format!("newsfeed, {step} resident timelines, {FEW} of them read");
        section.add(
            Figure::paired(name, "requests/s", format!("{} resident", steps[0]), &pairs)
                .goal(Goal::AtLeast(FLAT)),
        );
    }
    let name = format!("newsfeed, {most} resident timelines, all of them read at random");
    section.add(Figure::paired(name, "requests/s", format!("{FEW} of them read"), &all));
    section.remark(format!("Resident timelines at the end, as the service counts: {counted}."));
    Ok(())
}

fn warm(process: &Process, feeds: &[Request]) -> anyhow::Result<()> {
    load::each(process.address, feeds, |_, _| {}).map(|_| ())
}

/// Reads of all at random against reads of few: what the processor's caches are worth.
fn among_all(
    bench: &Bench,
    process: &Process,
    feeds: &Vec<Request>,
    few: &Vec<Request>,
) -> anyhow::Result<Vec<(f64, f64)>> {
    let shape = Shape::for_seconds(bench.pick(0.7, 3.0));
    let rate = |requests: &Vec<Request>| {
        Ok(load::closed(process.address, shape, requests)?.without_failures()?.rate())
    };
    let rounds = bench.pick(1, 3);
    super::super::pairs(bench, "all residents at random", rounds, || rate(feeds), || rate(few))
}
