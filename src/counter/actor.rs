//! The actor: collects while a batch commits, publishes what was committed, one at a time.
//!
//! Work runs in tasks of their own; the actor only decides what is next. So it is never busy,
//! and whoever waits for an answer gets it even if the actor should die.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::prelude::*;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::committer::{Committer, Publication};
use super::operation::{Answer, CounterError, Operation};
use super::sink::{CachePermit, Changes, RemoteSink};
use crate::origin::Origin;

/// Changed values that may wait for publication. Beyond, they are dropped with their permits,
/// which tells the guard that what is cached outside is stale.
const MOST_UNPUBLISHED: usize = 100_000;

/// Where an answer goes.
pub(super) type Reply = oneshot::Sender<Result<Answer, CounterError>>;

/// An operation, who waits for it, and its place in the bounded queue.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Submit {
    pub(super) operation: Operation,
    pub(super) reply: Reply,
    pub(super) slot: OwnedSemaphorePermit,
    pub(super) origin: Origin,
}

/// Asks to be told when nothing waits any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Flush(pub(super) oneshot::Sender<()>);

/// See the module.
pub(super) struct CounterActor {
    committer: Arc<Committer>,
    remote: Arc<dyn RemoteSink>,
    batch_limit: usize,
    waiting: VecDeque<Submit>,
    committing: bool,
    unpublished: Changes,
    permits: Vec<Box<dyn CachePermit>>,
    publishing: bool,
    flushes: Vec<oneshot::Sender<()>>,
}

impl CounterActor {
    pub(super) fn new(
        committer: Arc<Committer>,
        remote: Arc<dyn RemoteSink>,
        batch_limit: usize,
    ) -> Self {
        CounterActor {
            committer,
            remote,
            batch_limit,
            waiting: VecDeque::new(),
            committing: false,
            unpublished: Changes::default(),
            permits: Vec::new(),
            publishing: false,
            flushes: Vec::new(),
        }
    }

    /// Begins whatever can be begun.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if !self.committing && !self.waiting.is_empty() {
            self.commit(ctx);
        }
        let publishable = !self.permits.is_empty() || !self.unpublished.is_empty();
        if !self.publishing && publishable {
            self.publish(ctx);
        }
        if !self.committing && !self.publishing {
            for done in self.flushes.drain(..) {
                let _ = done.send(());
            }
        }
    }

    fn commit(&mut self, ctx: &mut Context<Self>) {
        let size = self.waiting.len().min(self.batch_limit);
        // Whoever has gone away while waiting wants nothing any more; nothing was promised.
        let batch: Vec<Submit> =
            self.waiting.drain(..size).filter(|submit| !submit.reply.is_closed()).collect();
        metrics::gauge!("roost_counter_queue").set(self.waiting.len() as f64);
        self.committing = true;
        let origin = Origin::of_group(batch.iter().map(|submit| &submit.origin));
        let work = actix::spawn(origin.scope(carry_out(self.committer.clone(), batch)));
        ctx.spawn(work.into_actor(self).map(|published, actor, ctx| {
            actor.committing = false;
            match published {
                Ok(publications) => publications.into_iter().for_each(|done| actor.keep(done)),
                Err(error) => tracing::error!(%error, "a batch was lost"),
            }
            actor.go_on(ctx);
        }));
    }

    /// Puts what was committed to what is to be published.
    fn keep(&mut self, publication: Publication) {
        self.unpublished.extend(publication.changes);
        self.permits.extend(publication.permit);
        if self.unpublished.len() > MOST_UNPUBLISHED {
            self.unpublished.compact();
        }
        if self.unpublished.len() > MOST_UNPUBLISHED {
            tracing::error!("publication is too slow: what is cached outside is given up");
            self.unpublished = Changes::default();
            self.permits.clear();
        }
    }

    fn publish(&mut self, ctx: &mut Context<Self>) {
        let mut changes = std::mem::take(&mut self.unpublished);
        let permits = std::mem::take(&mut self.permits);
        changes.compact();
        self.publishing = true;
        let remote = self.remote.clone();
        let work = actix::spawn(async move {
            if !changes.is_empty() {
                remote.publish(changes).await;
            }
            permits.into_iter().for_each(CachePermit::done);
        });
        ctx.spawn(work.into_actor(self).map(|result, actor, ctx| {
            actor.publishing = false;
            if let Err(error) = result {
                tracing::error!(%error, "a publication was lost");
            }
            actor.go_on(ctx);
        }));
    }
}

/// Carries out one batch and answers its callers.
async fn carry_out(committer: Arc<Committer>, batch: Vec<Submit>) -> Vec<Publication> {
    if batch.is_empty() {
        return Vec::new();
    }
    let started = std::time::Instant::now();
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
    let publications = committer.commit(operations, Arc::new(answer)).await;
    metrics::histogram!("roost_counter_commit_seconds").record(started.elapsed().as_secs_f64());
    publications
}

impl Actor for CounterActor {
    type Context = Context<Self>;
}

impl Handler<Submit> for CounterActor {
    type Result = ();

    fn handle(&mut self, message: Submit, ctx: &mut Self::Context) {
        self.waiting.push_back(message);
        self.go_on(ctx);
    }
}

impl Handler<Flush> for CounterActor {
    type Result = ();

    fn handle(&mut self, message: Flush, ctx: &mut Self::Context) {
        self.flushes.push(message.0);
        self.go_on(ctx);
    }
}
