//! The database behind the counter, as a trait so that the rest can be tested without one.
//!
//! A transaction whose outcome is unknown is not guessed at. [`Doubt::settle`] finds out:
//! Postgres is asked what became of the transaction by its number; on SQLite, which has one
//! writer, a row that the transaction wrote or removed tells. What had been prepared to be
//! answered is then answered after all, or the batch is run again. A server that has crashed
//! since may have given the number to another transaction: then only a row that the lost one
//! would have added proves that it is not lost, and without one the batch stays in doubt.
//!
//! Whoever knows first that a transaction has committed says so: mostly the thread that has
//! done it. A like that is alone has no other thread to wait for on its way back.

mod attempt;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use self::attempt::{Attempt, DbDoubt};
use super::newness::{Likes, Newness};
use super::operation::{Answer, Operation, Refusal};
use super::sink::{Changes, TransactionHook};
use super::transaction;
use crate::store::{Conn, Db, Engine, StoreError};
use crate::time::Clock;

/// Operations that share one transaction: a part of a batch.
#[derive(Debug, Clone)]
pub struct Part {
    operations: Arc<[Operation]>,
    range: Range<usize>,
}

impl Part {
    /// The whole batch.
    pub fn all(operations: Vec<Operation>) -> Part {
        Part { range: 0..operations.len(), operations: operations.into() }
    }

    /// The operations, in their order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations[self.range.clone()]
    }

    /// Where they stand in the batch.
    pub fn places(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The first and the second half.
    pub fn split(&self) -> (Part, Part) {
        let middle = self.range.start + self.range.len() / 2;
        let half = |range| Part { operations: self.operations.clone(), range };
        (half(self.range.start..middle), half(middle..self.range.end))
    }
}

/// What a transaction has done.
#[derive(Debug, Clone, Default)]
pub struct Committed {
    /// One answer per operation of the part.
    pub answers: Vec<Result<Answer, Refusal>>,
    /// What has changed.
    pub changes: Changes,
}

/// Why a transaction is not known to have committed.
pub enum CommitError {
    /// It has not.
    Not(StoreError),
    /// It may have.
    Unknown(Box<dyn Doubt>),
}

/// What became of a transaction in doubt.
#[derive(Debug)]
pub enum Fate {
    /// It has committed, and [`AfterCommit`] has been called.
    Committed(Committed),
    /// It has not, and never will.
    NotCommitted,
    /// That is not decided yet.
    Open,
    /// Nobody can tell, now or later.
    Unknowable,
}

/// A transaction whose outcome is unknown. Dropped unsettled it is given up: should it commit after
/// all, [`AfterCommit`] is not called, since later ones may have been told of by then.
pub trait Doubt: Send {
    /// Finds out. May be asked again after [`Fate::Open`] or an error.
    fn settle(&mut self) -> BoxFuture<'_, Result<Fate, StoreError>>;
}

/// Called once with what a transaction has committed, as soon as that is known, on any thread. It
/// may take the answers, and neither blocks nor panics.
pub type AfterCommit = Box<dyn FnOnce(&mut Committed) + Send + 'static>;

/// The database, as the counter sees it.
pub trait BatchStore: Send + Sync + 'static {
    /// Carries out the operations of a part in one transaction, after `hook`. Once it has
    /// committed, and in no other case, `after` is called, and then this returns or the doubt is
    /// settled.
    fn commit(
        &self,
        part: Part,
        hook: TransactionHook,
        after: AfterCommit,
    ) -> BoxFuture<'static, Result<Committed, CommitError>>;

    /// Whether [`BatchStore::commit`] blocks the thread that runs it.
    fn blocks(&self) -> bool;
}

/// Tells other nodes of changes, as the last statement of their transaction. It may change what
/// this process is told of them then.
pub type ChangeHerald =
    Arc<dyn Fn(&mut Conn<'_>, &mut Changes) -> Result<(), StoreError> + Send + Sync + 'static>;

/// The real one.
pub struct DbStore {
    db: Db,
    clock: Clock,
    herald: ChangeHerald,
    newness: Arc<Newness>,
}

impl DbStore {
    /// Writes to `db`; times come from `clock`.
    pub fn new(db: Db, clock: Clock) -> Self {
        DbStore { db, clock, herald: Arc::new(|_, _| Ok(())), newness: Arc::default() }
    }

    /// The same with other nodes to tell.
    pub fn announcing(self, herald: ChangeHerald) -> Self {
        DbStore { herald, ..self }
    }
}

impl BatchStore for DbStore {
    /// On a file: the thread that waits for the batch may as well write it.
    fn blocks(&self) -> bool {
        self.db.engine() == Engine::Sqlite
    }

    fn commit(
        &self,
        part: Part,
        mut hook: TransactionHook,
        after: AfterCommit,
    ) -> BoxFuture<'static, Result<Committed, CommitError>> {
        let (db, clock, herald) = (self.db.clone(), self.clock.clone(), self.herald.clone());
        let (newness, blocks) = (self.newness.clone(), self.blocks());
        Box::pin(async move {
            let mut likes = newness.next();
            let attempt = Arc::new(Attempt::new(after));
            let (running, done) = (attempt.clone(), attempt.clone());
            let body = move |conn: &mut Conn<'_>| {
                running.begin()?;
                hook(conn)?;
                let operations = part.operations();
                let body = AssertUnwindSafe(|| transaction::run(conn, operations, likes, &clock));
                // A panic is treated as a refused statement: what is wrong with an operation
                // must not be put down to the database.
                let written = catch_unwind(body).unwrap_or_else(|_| Err(panicked()));
                if likes == Likes::TakenForNew && matches!(written, Err(StoreError::Conflict(_))) {
                    newness.disproved();
                    likes = Likes::LookedFor;
                }
                let mut written = written?;
                herald(conn, &mut written.committed.changes)?;
                running.ready(written)
            };
            let then = move |_: &()| done.tell();
            let written = match blocks {
                true => db.write_here_then("counter.batch", body, then).await,
                false => db.write_then("counter.batch", body, then).await,
            };
            match written {
                Ok(()) => attempt.take().ok_or_else(|| CommitError::Not(panicked())),
                Err(StoreError::OutcomeUnknown(reason)) => {
                    tracing::warn!(%reason, "the outcome of a batch is unknown");
                    Err(CommitError::Unknown(Box::new(DbDoubt::of(attempt, db))))
                }
                Err(error) => Err(CommitError::Not(error)),
            }
        })
    }
}

fn panicked() -> StoreError {
    StoreError::Query(diesel::result::Error::QueryBuilderError("a batch panicked".into()))
}

#[cfg(test)]
mod tests;
