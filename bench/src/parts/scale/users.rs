//! Reads of the same number of feeds while the database holds more and more users.

use anyhow::Context;

use super::{feeds, lengthen};
use crate::data::{Data, Setup};
use crate::figures::{Axis, Figure, Goal, Plot, Scale, Section};
use crate::load::{self, Shape};
use crate::process::Process;
use crate::{Bench, Spread};

/// Feeds that are read, whatever the size.
const READERS: i64 = 1_000;

/// Entries of each of them besides what was seeded.
const ENTRIES: i64 = 100;

/// Within ten percent.
const FLAT: f64 = 0.9;

/// Measures it; returns the largest database.
pub(super) fn run(bench: &Bench, section: &mut Section) -> anyhow::Result<Data> {
    let sizes: &[u32] = bench.pick(&[1_000, 20_000], &[1_000, 100_000, 1_000_000]);
    let mut databases = Vec::with_capacity(sizes.len());
    for users in sizes {
        databases.push(database(bench, *users)?);
    }
    let mut nodes = Vec::with_capacity(sizes.len());
    for data in &databases {
        let feeds = feeds(&data.log_in(1..=READERS)?);
        let process = Process::roost(bench, data, &[])?;
        load::each(process.address, &feeds, |_, _| {})?;
        nodes.push((process, feeds));
    }
    let shape = Shape::for_seconds(bench.pick(0.7, 3.0));
    let rounds = bench.pick(2, 4);
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); sizes.len()];
    for round in 0..rounds {
        bench.progress.round("reads by users in the database", round, rounds);
        for place in 0..sizes.len() {
            // Another one begins in every round.
            let place = (place + round) % sizes.len();
            let (process, feeds) = &nodes[place];
            rates[place]
                .push(load::closed(process.address, shape, feeds)?.without_failures()?.rate());
        }
    }
    for (process, _) in nodes {
        process.stop()?;
    }
    let mut plot = Plot::new(
        "Warm newsfeed pages by users in the database",
        Axis::new("users", Scale::Log),
        Axis::new("requests/s", Scale::Linear),
    );
    let medians = rates.iter().map(|rates| Spread::of(rates).median);
    plot.line("Roost", sizes.iter().map(|users| f64::from(*users)).zip(medians).collect());
    section.plots.push(plot);
    for (users, larger) in sizes.iter().zip(&rates).skip(1) {
        let pairs: Vec<(f64, f64)> = larger.iter().copied().zip(rates[0].iter().copied()).collect();
        let name = format!("newsfeed, {users} users in the database");
        section.add(
            Figure::paired(name, "requests/s", format!("{} users", sizes[0]), &pairs)
                .goal(Goal::AtLeast(FLAT)),
        );
    }
    section.remark(format!(
        "Users in the database: {READERS} readers each, PostgreSQL and Redis. The largest has \
         half as many tweets as users and a million feed entries."
    ));
    databases.pop().context("no database")
}

fn database(bench: &Bench, users: u32) -> anyhow::Result<Data> {
    let tweets = (users / 2).max(5_000);
    let entries = tweets + (users * 2).min(500_000);
    let number = |n: u32| n.to_string();
    let flags = [
        "--users",
        &number(users),
        "--follows",
        &number((users * 10).min(2_000_000)),
        "--tweets",
        &number(tweets),
        "--feed-entries",
        &number(entries),
        "--likes",
        "100000",
        "--comments",
        "50000",
    ];
    let data = Data::seeded(bench, Setup::PostgresRedis, &flags)?;
    lengthen(&data, READERS, ENTRIES)?;
    Ok(data)
}
