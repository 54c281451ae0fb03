//! Many clients that ask for the same thing at the same moment.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Context;
use futures_util::future::try_join_all;

use super::{Connection, Outcome, Request};

/// Opens `clients` connections, and when all are open sends `request` on each. Latencies are
/// counted from that one moment.
///
/// # Errors
/// When a connection cannot be made or breaks.
pub fn burst(address: SocketAddr, clients: usize, request: &Request) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connections = Vec::with_capacity(clients);
        for _ in 0..clients {
            connections.push(Connection::open(address).await.context("cannot connect")?);
        }
        let started = Instant::now();
        let calls = connections.iter_mut().map(|connection| async move {
            let head = connection.call(request.bytes()).await?;
            anyhow::Ok((head, started.elapsed()))
        });
        let replies = try_join_all(calls).await?;
        let mut outcome = Outcome::new(1);
        outcome.took = started.elapsed();
        for (head, latency) in replies {
            outcome.record(0, latency, head);
        }
        Ok(outcome)
    })
}
