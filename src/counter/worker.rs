//! Carries out what waits, batch after batch, for as long as anything does.
//!
//! Whoever puts an operation into an empty queue has a worker begin. Where a transaction blocks the
//! thread that runs it, the worker has a blocking thread to itself: a like that is alone wakes one
//! thread, and under load one batch follows the other without any.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use actix::ArbiterHandle;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::actor::Outlet;
use super::committer::{Committer, Publication};
use super::queue::{Reply, Submit, Turn};
use crate::origin::Origin;

/// See the module.
pub(super) struct Worker {
    pub(super) committer: Arc<Committer>,
    pub(super) outlet: Outlet,
    pub(super) batch_limit: usize,
    pub(super) arbiter: ArbiterHandle,
    pub(super) runtime: Handle,
}

impl Worker {
    /// Begins to work. If that cannot be, the turn is lost, and whoever waits is told.
    pub(super) fn begin(self: &Arc<Worker>, turn: Turn) {
        let worker = self.clone();
        if self.committer.store.blocks() {
            let runtime = self.runtime.clone();
            self.runtime.spawn_blocking(move || runtime.block_on(worker.work(turn)));
        } else {
            self.arbiter.spawn(async move { worker.work(turn).await });
        }
    }

    async fn work(&self, mut turn: Turn) {
        while let Some(batch) = turn.next(self.batch_limit) {
            // Whoever has gone away while waiting wants nothing any more; nothing was promised.
            let batch: Vec<Submit> =
                batch.into_iter().filter(|submit| !submit.reply.is_closed()).collect();
            if batch.is_empty() {
                continue;
            }
            let origin = Origin::of_group(batch.iter().map(|submit| &submit.origin));
            let carried_out = origin.scope(self.carry_out(batch));
            match AssertUnwindSafe(carried_out).catch_unwind().await {
                Ok(publications) => self.outlet.publish(publications),
                Err(_) => tracing::error!("a batch was lost"),
            }
        }
    }

    /// Carries out one batch and answers its callers.
    async fn carry_out(&self, batch: Vec<Submit>) -> Vec<Publication> {
        let started = Instant::now();
        metrics::histogram!("roost_counter_batch_size").record(batch.len() as f64);
        let mut operations = Vec::with_capacity(batch.len());
        let mut replies: Vec<Option<Reply>> = Vec::with_capacity(batch.len());
        for Submit { operation, reply, slot, .. } in batch {
            operations.push(operation);
            replies.push(Some(reply));
            drop(slot);
        }
        let replies = Mutex::new(replies);
        let answer = move |place: usize, answer| {
            let reply = replies.lock().get_mut(place).and_then(Option::take);
            // A caller that has gone away does not undo what was committed.
            let _ = reply.map(|reply| reply.send(answer));
        };
        let publications = self.committer.commit(operations, Arc::new(answer)).await;
        metrics::histogram!("roost_counter_commit_seconds").record(started.elapsed().as_secs_f64());
        publications
    }
}
