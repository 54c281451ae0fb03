//! Each request once, in order: to warm up, to look, and to measure what is cold only once.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, ensure};

use super::{Connection, Outcome, Request};

/// Sends every request once on one connection, and shows each body to `look`.
///
/// # Errors
/// When the connection breaks or a reply is not of the 200s.
pub fn each(
    address: SocketAddr,
    requests: &[Request],
    mut look: impl FnMut(usize, &[u8]),
) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Connection::open(address).await.context("cannot connect")?;
        let mut outcome = Outcome::new(1);
        let started = Instant::now();
        for (place, request) in requests.iter().enumerate() {
            let sent = Instant::now();
            let head = connection.call(request.bytes()).await?;
            outcome.record(0, sent.elapsed(), head);
            ensure!((200..300).contains(&head.status), "{}: {}", head.status, request.line());
            look(place, connection.body(head));
        }
        outcome.took = started.elapsed();
        Ok(outcome)
    })
}
