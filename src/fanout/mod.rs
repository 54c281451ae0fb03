//! The ordered writer: everything that puts entries into timelines or takes them out.
//!
//! One actor commits posts, follows, unfollows and deletes in groups, and between groups one
//! round of durable tasks (fan-out, removals, back-fill). Each of its transactions holds the
//! clock row, so what becomes visible later carries a later time, on all nodes.
//!
//! Architecture invariant: nothing else writes `newsfeeds`, `friendships`, `tweets` rows or
//! `fanout_tasks`, but for the counts of `tweets`, which are the Counter's.

mod actor;
mod awaited;
mod backlog;
mod books;
mod commit;
mod core;
mod discards;
mod effects;
mod ops;
mod outside;
mod posts;
mod removal;
mod rotation;
mod rounds;
mod steps;
#[cfg(test)]
mod tests;
mod throttle;

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, ArbiterHandle};
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use self::commit::WriterConfig;
pub use self::effects::{
    Announcement, Audience, Chunk, Delivered, Effects, Failed, Finished, Orphans, Removed,
};
pub use self::ops::{Idempotent, Op, Outcome, Post, Posted, WriteError};

use self::actor::{Finish, QUEUE, Submit, WriterActor};
use self::core::Core;
use crate::actors;
use crate::origin::Origin;
use crate::redis_tier::RedisTier;
use crate::store::Db;
use crate::time::Clock;

/// Longest wait for the outcome of a write.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// A handle on the ordered writer; clones share it.
#[derive(Clone)]
pub struct Writer {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    arbiter: ArbiterHandle,
    addr: Mutex<Addr<WriterActor>>,
}

impl Writer {
    /// Starts the writer on `arbiter`. It takes up open tasks at once.
    pub fn start(
        db: Db,
        clock: Clock,
        config: WriterConfig,
        redis: RedisTier,
        audience: Arc<dyn Audience>,
        arbiter: ArbiterHandle,
    ) -> Writer {
        let core = Arc::new(Core::new(db, clock, config, redis, audience));
        let addr = Mutex::new(start(&core, &arbiter));
        Writer { inner: Arc::new(Inner { core, arbiter, addr }) }
    }

    /// Carries out a write: when this returns a success, it is durable and every timeline in
    /// this process shows it.
    ///
    /// # Errors
    /// [`WriteError::Overloaded`] at once when too many wait; [`WriteError::Unavailable`] when
    /// the database cannot be reached or its answer was lost.
    pub async fn submit(&self, op: Op) -> Result<Outcome, WriteError> {
        let (reply, outcome) = oneshot::channel();
        let addr = self.inner.live();
        if addr.try_send(Submit { op, reply, origin: Origin::current() }).is_err() {
            metrics::counter!("roost_writer_refused_total").increment(1);
            return Err(WriteError::Overloaded);
        }
        match tokio::time::timeout(ANSWER_LIMIT, outcome).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(WriteError::Unavailable("the writer stopped".into())),
            Err(_) => Err(WriteError::Unavailable("no outcome in time".into())),
        }
    }

    /// Commits what waits, ends the round in progress and stops.
    pub async fn finish(&self) {
        let (done, finished) = oneshot::channel();
        if self.inner.live().try_send(Finish { done }).is_ok() {
            let _ = tokio::time::timeout(ANSWER_LIMIT, finished).await;
        }
    }
}

impl Inner {
    /// The actor, or a new one in place of one that has died.
    fn live(&self) -> Addr<WriterActor> {
        let mut addr = self.addr.lock();
        if !addr.connected() {
            tracing::error!("the writer died and is replaced");
            *addr = start(&self.core, &self.arbiter);
        }
        addr.clone()
    }
}

fn start(core: &Arc<Core>, arbiter: &ArbiterHandle) -> Addr<WriterActor> {
    let core = core.clone();
    actors::start(arbiter, QUEUE, move || WriterActor::new(core))
}
