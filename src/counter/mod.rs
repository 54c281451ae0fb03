//! The counter: likes and comments with exact counts, by group commit.
//!
//! A request puts its operation into a queue and waits. As soon as no transaction is running, one
//! worker starts one with everything that waits. So a lone like is committed at once, and under
//! load a thousand share one transaction and one fsync: the longer a commit takes, the more
//! operations share the next. There is no timer.
//!
//! Where things are decided:
//! - `batch`: what a batch of operations means, as a plain struct;
//! - `transaction`: the statements;
//! - `store`: the transaction's fate, also when it is in doubt;
//! - `committer`: poisoned operations, doubts, telling this process before answering;
//! - `queue`, `worker`: what comes next;
//! - `actor`: what is told outside this process, and when.
//!
//! Architecture invariant: nothing else writes rows of `likes` and `comments` or their counts,
//! but for the purge of deleted tweets and the recount of old rows.

mod actor;
pub mod batch;
mod committer;
mod footprint;
mod newness;
mod operation;
mod queue;
mod sink;
mod store;
#[cfg(test)]
mod tests;
mod transaction;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use actix::ArbiterHandle;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

pub use self::operation::{
    Answer, Commented, CounterError, Idempotent, Liked, NewComment, Operation, Refusal, Render,
};
pub use self::sink::{
    CacheGuard, CachePermit, Changes, CountSink, NoRemote, RemoteSink, TransactionHook, Uncertain,
};
pub use self::store::{
    AfterCommit, BatchStore, ChangeHerald, CommitError, Committed, DbStore, Doubt, Fate, Part,
};
pub use crate::store::likes::{LikeKey, LikeKind};

use self::actor::Outlet;
use self::committer::Committer;
use self::queue::{Queue, Submit};
use self::worker::Worker;
use crate::origin::Origin;

/// Bounds of the counter.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Operations that may wait; more are refused at once.
    pub queue: usize,
    /// Operations of one transaction.
    pub batch: usize,
    /// Longest wait for an answer: as long as a statement may take by default. An operation whose
    /// outcome is not known by then may be sent again, since it is idempotent.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { queue: 8_192, batch: 1_000, answer: Duration::from_secs(5) }
    }
}

/// What a counter works with.
pub struct Neighbours {
    /// The database.
    pub store: Arc<dyn BatchStore>,
    /// Caches of this process.
    pub sinks: Vec<Arc<dyn CountSink>>,
    /// Caches outside.
    pub remote: Arc<dyn RemoteSink>,
    /// Who watches over the time between commit and publication.
    pub guard: Arc<dyn CacheGuard>,
}

/// A handle on the counter; clones share it.
#[derive(Clone)]
pub struct Counter {
    inner: Arc<Inner>,
}

struct Inner {
    limits: Limits,
    slots: Arc<Semaphore>,
    queue: Arc<Queue>,
    worker: Arc<Worker>,
}

impl Counter {
    /// Starts the counter. What need not block runs on `arbiter`; within a runtime, whose blocking
    /// threads do the rest.
    pub fn start(neighbours: Neighbours, limits: Limits, arbiter: ArbiterHandle) -> Counter {
        let Neighbours { store, sinks, remote, guard } = neighbours;
        let worker = Worker {
            committer: Arc::new(Committer { store, sinks: sinks.into(), guard }),
            outlet: Outlet::open(remote, arbiter.clone()),
            batch_limit: limits.batch,
            arbiter,
            runtime: Handle::current(),
        };
        let slots = Arc::new(Semaphore::new(limits.queue));
        let (queue, worker) = (Arc::default(), Arc::new(worker));
        Counter { inner: Arc::new(Inner { limits, slots, queue, worker }) }
    }

    /// Likes an object.
    ///
    /// # Errors
    /// [`Refusal::Missing`] when there is no such object; otherwise as [`Counter::submit`].
    pub async fn like(&self, key: LikeKey) -> Result<Liked, CounterError> {
        match self.submit(Operation::Like(key)).await? {
            Answer::Liked(liked) => Ok(liked),
            _ => Err(CounterError::Failed),
        }
    }

    /// Takes a like back; says whether there was one.
    ///
    /// # Errors
    /// As [`Counter::like`].
    pub async fn unlike(&self, key: LikeKey) -> Result<bool, CounterError> {
        match self.submit(Operation::Unlike(key)).await? {
            Answer::Unliked(was_there) => Ok(was_there),
            _ => Err(CounterError::Failed),
        }
    }

    /// Writes a comment.
    ///
    /// # Errors
    /// [`Refusal::Missing`] when there is no such tweet; [`Refusal::KeyReused`]; otherwise as
    /// [`Counter::submit`].
    pub async fn add_comment(&self, new: NewComment) -> Result<Commented, CounterError> {
        match self.submit(Operation::AddComment(new)).await? {
            Answer::Commented(commented) => Ok(commented),
            _ => Err(CounterError::Failed),
        }
    }

    /// Removes a comment of the user's own, with its likes.
    ///
    /// # Errors
    /// [`Refusal::Missing`], [`Refusal::Forbidden`]; otherwise as [`Counter::submit`].
    pub async fn delete_comment(&self, user_id: i64, comment_id: i64) -> Result<(), CounterError> {
        let operation = Operation::DeleteComment { user_id, comment_id };
        self.submit(operation).await.map(|_| ())
    }

    /// Carries out an operation. On success it is durable, and every cache of this process
    /// shows it.
    ///
    /// # Errors
    /// [`CounterError::Overloaded`] at once when the queue is full;
    /// [`CounterError::Unavailable`] when the database is away or the answer takes too long.
    pub async fn submit(&self, operation: Operation) -> Result<Answer, CounterError> {
        let inner = &self.inner;
        let Ok(slot) = inner.slots.clone().try_acquire_owned() else {
            metrics::counter!("roost_counter_refused_total").increment(1);
            return Err(CounterError::Overloaded);
        };
        let (reply, answer) = oneshot::channel();
        let submit = Submit { operation, reply, slot, origin: Origin::current() };
        if let Some(turn) = inner.queue.put(submit) {
            inner.worker.begin(turn);
        }
        match tokio::time::timeout(inner.limits.answer, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(CounterError::Unavailable),
        }
    }

    /// Waits until everything that waited is committed and published. To be called at the end,
    /// when no requests come in any more: actix drops what is in a mailbox when it stops.
    pub async fn flush(&self) {
        let inner = &self.inner;
        let all = async {
            inner.queue.rested().await;
            // An actor that has died has nothing to publish.
            let _ = inner.worker.outlet.flush().await;
        };
        if tokio::time::timeout(inner.limits.answer, all).await.is_err() {
            tracing::warn!("what was committed last may not be published");
        }
    }
}
