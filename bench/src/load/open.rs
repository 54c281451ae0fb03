//! An open loop: requests arrive at a fixed rate, whether or not earlier ones are done, as those
//! of many independent users do.
//!
//! A latency is counted from the moment when the request was to be sent. A request that waits
//! because all connections are busy, or because the server stood still, counts its wait: the
//! figures are free of coordinated omission.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use rand::rngs::StdRng;
use tokio::sync::Notify;

use super::closed::share;
use super::timer::Timer;
use super::{Connection, Draws, Outcome, Traffic};

/// When requests arrive.
#[derive(Debug, Clone, Copy)]
pub struct Arrivals {
    /// Per second, evenly spaced.
    pub rate: f64,
    /// Requests in flight at once, at most; the next ones wait, and their wait counts.
    pub connections: usize,
    /// Threads over which rate and connections are divided.
    pub threads: usize,
    /// Before anything is counted.
    pub warm_up: Duration,
    /// What is counted.
    pub time: Duration,
}

/// Arrivals that wait for a connection, and whether more will come.
#[derive(Default)]
struct Queue {
    waiting: RefCell<VecDeque<Instant>>,
    over: RefCell<bool>,
    arrived: Notify,
}

/// Runs the loop. Returns when the last request has been answered.
///
/// # Errors
/// When a connection cannot be made or breaks.
pub fn open(
    address: SocketAddr,
    arrivals: Arrivals,
    traffic: &dyn Traffic,
) -> anyhow::Result<Outcome> {
    let draws = Draws::next();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arrivals.threads)
            .map(|thread| scope.spawn(move || on_thread(address, arrivals, thread, draws, traffic)))
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

fn on_thread(
    address: SocketAddr,
    arrivals: Arrivals,
    thread: usize,
    draws: Draws,
    traffic: &dyn Traffic,
) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let queue = Queue::default();
        let outcome = RefCell::new(Outcome::new(traffic.kinds()));
        let start = Instant::now() + Duration::from_millis(20);
        let begin = start + arrivals.warm_up;
        let connections = share(arrivals.connections, arrivals.threads, thread);
        let senders = (0..connections)
            .map(|place| one(address, &queue, begin, draws.of(thread, place), traffic, &outcome));
        let senders = try_join_all(senders);
        tokio::try_join!(arrive(&queue, arrivals, thread, start), senders)?;
        let mut outcome = outcome.into_inner();
        outcome.took = arrivals.time;
        Ok(outcome)
    })
}

/// Puts arrivals into the queue as their time comes. The threads take turns.
async fn arrive(
    queue: &Queue,
    arrivals: Arrivals,
    thread: usize,
    start: Instant,
) -> anyhow::Result<()> {
    let timer = Timer::new()?;
    let end = start + arrivals.warm_up + arrivals.time;
    for number in 0_u64.. {
        let place = number as f64 * arrivals.threads as f64 + thread as f64;
        let due = start + Duration::from_secs_f64(place / arrivals.rate);
        if due >= end {
            break;
        }
        timer.until(due).await?;
        queue.waiting.borrow_mut().push_back(due);
        queue.arrived.notify_one();
    }
    queue.over.replace(true);
    queue.arrived.notify_waiters();
    Ok(())
}

async fn one(
    address: SocketAddr,
    queue: &Queue,
    begin: Instant,
    mut draw: StdRng,
    traffic: &dyn Traffic,
    outcome: &RefCell<Outcome>,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await.context("cannot connect")?;
    loop {
        let next = queue.waiting.borrow_mut().pop_front();
        let Some(due) = next else {
            let arrived = queue.arrived.notified();
            if *queue.over.borrow() {
                return Ok(());
            }
            arrived.await;
            continue;
        };
        let planned = traffic.next(&mut draw);
        let head = connection.call(&planned.request).await?;
        if due >= begin {
            outcome.borrow_mut().record(planned.kind, due.elapsed(), head);
        }
    }
}
