//! What is measured, one file per part.
//!
//! A part is a function of [`Bench`] that returns a [`Section`]. It makes its own databases and
//! starts its own processes, leaves nothing running, and keeps to its share of the time: about
//! 20 s of a quick run and 4 min of a full one.

mod counters;
mod fanout;
mod mixed;
mod read;
mod scale;
mod start;

use crate::Bench;
use crate::figures::Section;

/// A part.
#[derive(Clone, Copy)]
pub struct Part {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it measures, in one line.
    pub about: &'static str,
    /// Measures it.
    pub run: fn(&Bench) -> anyhow::Result<Section>,
}

/// All parts, in the order in which they run.
pub const PARTS: &[Part] = &[
    Part {
        name: "read",
        about: "Pages of timelines, warm and cold, against the bare handler",
        run: read::run,
    },
    Part {
        name: "mixed",
        about: "Posts, reads, follows, likes and comments at fixed rates",
        run: mixed::run,
    },
    Part {
        name: "scale",
        about: "Reads as users, resident timelines and depth grow; memory",
        run: scale::run,
    },
    Part {
        name: "start",
        about: "Time to ready, and a thousand first readers of one timeline",
        run: start::run,
    },
    Part {
        name: "counters",
        about: "Likes: group commit against one transaction per like",
        run: counters::run,
    },
    Part {
        name: "fanout",
        about: "Deliveries to followers, and what others feel of them",
        run: fanout::run,
    },
];

/// Takes `rounds` pairs of measurements, ours and the rival's one right after the other. Which
/// of the two comes first alternates, so that a machine that slows down favours neither.
///
/// # Errors
/// The first of a measurement.
pub fn pairs<T>(
    bench: &Bench,
    what: &str,
    rounds: usize,
    mut ours: impl FnMut() -> anyhow::Result<T>,
    mut rival: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<Vec<(T, T)>> {
    let mut pairs = Vec::with_capacity(rounds);
    for round in 0..rounds {
        bench.progress.round(what, round, rounds);
        pairs.push(if round % 2 == 0 {
            let ours = ours()?;
            (ours, rival()?)
        } else {
            let rival = rival()?;
            (ours()?, rival)
        });
    }
    Ok(pairs)
}
