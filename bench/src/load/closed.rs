//! A closed loop: each connection sends its next request when it has the reply to the last.
//! It finds the capacity; its latencies say little (see [`super::open`]).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use rand::rngs::StdRng;

use super::{Connection, Draws, Outcome, Traffic};

/// How hard to push.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Threads; two keep both processors busy.
    pub threads: usize,
    /// Connections over all threads.
    pub connections: usize,
    /// Before anything is counted.
    pub warm_up: Duration,
    /// What is counted.
    pub time: Duration,
}

impl Shape {
    /// Two threads and 32 connections for `seconds`, after a fifth of it to warm up.
    pub fn for_seconds(seconds: f64) -> Shape {
        Shape {
            threads: 2,
            connections: 32,
            warm_up: Duration::from_secs_f64(seconds / 5.0),
            time: Duration::from_secs_f64(seconds),
        }
    }
}

/// Runs the loop.
///
/// # Errors
/// When a connection cannot be made or breaks.
pub fn closed(address: SocketAddr, shape: Shape, traffic: &dyn Traffic) -> anyhow::Result<Outcome> {
    let draws = Draws::next();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..shape.threads)
            .map(|thread| {
                let share = share(shape.connections, shape.threads, thread);
                scope.spawn(move || on_thread(address, shape, share, (thread, draws), traffic))
            })
            .collect();
        let mut sum = Outcome::new(traffic.kinds());
        for thread in threads {
            let outcome =
                thread.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))??;
            sum.join(outcome)?;
        }
        Ok(sum)
    })
}

/// The part of `total` that falls to one of `of`.
pub(super) fn share(total: usize, of: usize, place: usize) -> usize {
    total / of + usize::from(place < total % of)
}

fn on_thread(
    address: SocketAddr,
    shape: Shape,
    connections: usize,
    (thread, draws): (usize, Draws),
    traffic: &dyn Traffic,
) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let begin = Instant::now() + shape.warm_up;
        let end = begin + shape.time;
        let loops = (0..connections)
            .map(|place| one(address, begin, end, draws.of(thread, place), traffic));
        let mut sum = Outcome::new(traffic.kinds());
        for outcome in try_join_all(loops).await? {
            sum.join(outcome)?;
        }
        sum.took = shape.time;
        Ok(sum)
    })
}

async fn one(
    address: SocketAddr,
    begin: Instant,
    end: Instant,
    mut draw: StdRng,
    traffic: &dyn Traffic,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::new(traffic.kinds());
    let mut connection = Connection::open(address).await.context("cannot connect")?;
    loop {
        let planned = traffic.next(&mut draw);
        let sent = Instant::now();
        let head = connection.call(&planned.request).await?;
        let now = Instant::now();
        if now >= end {
            return Ok(outcome);
        }
        if now >= begin {
            outcome.record(planned.kind, now - sent, head);
        }
    }
}
