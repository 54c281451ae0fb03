//! The database behind the counter, as a trait so that the rest can be tested without one.
//!
//! A transaction whose outcome is unknown is not guessed at. [`Doubt::settle`] finds out:
//! Postgres is asked what became of the transaction by its number; on SQLite, which has one
//! writer, a row that the transaction wrote or removed tells. What had been prepared to be
//! answered is then answered after all, or the batch is run again.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::newness::{Likes, Newness};
use super::operation::{Answer, Operation, Refusal};
use super::sink::{Changes, TransactionHook};
use super::transaction::{self, Witness, Written};
use crate::store::{Conn, Db, StoreError, locks};
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
    /// It has committed.
    Committed(Committed),
    /// It has not, and never will.
    NotCommitted,
    /// That is not decided yet.
    Open,
}

/// A transaction whose outcome is unknown.
pub trait Doubt: Send {
    /// Finds out. May be asked again after [`Fate::Open`] or an error.
    fn settle(&mut self) -> BoxFuture<'_, Result<Fate, StoreError>>;
}

/// The database, as the counter sees it.
pub trait BatchStore: Send + Sync + 'static {
    /// Carries out the operations of a part in one transaction, after `hook`.
    fn commit(
        &self,
        part: Part,
        hook: TransactionHook,
    ) -> BoxFuture<'static, Result<Committed, CommitError>>;
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
    fn commit(
        &self,
        part: Part,
        mut hook: TransactionHook,
    ) -> BoxFuture<'static, Result<Committed, CommitError>> {
        let (db, clock, herald) = (self.db.clone(), self.clock.clone(), self.herald.clone());
        let newness = self.newness.clone();
        Box::pin(async move {
            let mut likes = newness.next();
            let attempt = Arc::new(Attempt::default());
            let running = attempt.clone();
            let result = db
                .write("counter.batch", move |conn| {
                    running.begin()?;
                    hook(conn)?;
                    let operations = part.operations();
                    let body =
                        AssertUnwindSafe(|| transaction::run(conn, operations, likes, &clock));
                    // A panic is treated as a refused statement: what is wrong with an operation
                    // must not be put down to the database.
                    let written = catch_unwind(body).unwrap_or_else(|_| Err(panicked()));
                    if likes == Likes::TakenForNew
                        && matches!(written, Err(StoreError::Conflict(_)))
                    {
                        newness.disproved();
                        likes = Likes::LookedFor;
                    }
                    let mut written = written?;
                    herald(conn, &mut written.committed.changes)?;
                    running.ready(written)
                })
                .await;
            match result {
                Ok(()) => attempt.take().ok_or_else(|| CommitError::Not(panicked())),
                Err(StoreError::OutcomeUnknown(reason)) => {
                    tracing::warn!(%reason, "the outcome of a batch is unknown");
                    Err(CommitError::Unknown(Box::new(DbDoubt { db, attempt })))
                }
                Err(error) => Err(CommitError::Not(error)),
            }
        })
    }
}

fn panicked() -> StoreError {
    StoreError::Query(diesel::result::Error::QueryBuilderError("a batch panicked".into()))
}

/// What the thread of a transaction and those who wait for it know of it together.
#[derive(Default)]
struct Attempt(Mutex<Stage>);

#[derive(Default)]
enum Stage {
    /// The statements are being run, or not even that.
    #[default]
    Working,
    /// All that is left is the commit.
    Committing(Box<Written>),
    /// Given up: it must not commit any more.
    Abandoned,
}

impl Attempt {
    fn begin(&self) -> Result<(), StoreError> {
        self.enter(Stage::Working)
    }

    fn ready(&self, written: Written) -> Result<(), StoreError> {
        self.enter(Stage::Committing(Box::new(written)))
    }

    fn enter(&self, next: Stage) -> Result<(), StoreError> {
        let mut stage = self.0.lock();
        if matches!(*stage, Stage::Abandoned) {
            return Err(StoreError::Unavailable("the batch was given up".into()));
        }
        *stage = next;
        Ok(())
    }

    /// Keeps the transaction from committing, unless it may have done so.
    fn abandon(&self) -> Option<Option<Witness>> {
        let mut stage = self.0.lock();
        match &*stage {
            Stage::Committing(written) => Some(written.witness.clone()),
            Stage::Working | Stage::Abandoned => {
                *stage = Stage::Abandoned;
                None
            }
        }
    }

    fn take(&self) -> Option<Committed> {
        match std::mem::replace(&mut *self.0.lock(), Stage::Abandoned) {
            Stage::Committing(written) => Some(written.committed),
            Stage::Working | Stage::Abandoned => None,
        }
    }
}

struct DbDoubt {
    db: Db,
    attempt: Arc<Attempt>,
}

impl Doubt for DbDoubt {
    fn settle(&mut self) -> BoxFuture<'_, Result<Fate, StoreError>> {
        Box::pin(async move {
            let happened = match self.attempt.abandon() {
                None => Some(false),
                // It had nothing to write.
                Some(None) => Some(true),
                Some(Some(witness)) => self.ask(witness).await?,
            };
            Ok(match happened {
                None => Fate::Open,
                Some(false) => Fate::NotCommitted,
                Some(true) => self.attempt.take().map_or(Fate::NotCommitted, Fate::Committed),
            })
        })
    }
}

impl DbDoubt {
    async fn ask(&self, witness: Witness) -> Result<Option<bool>, StoreError> {
        match witness {
            Witness::Transaction(name) => {
                let status = self.db.read("counter.fate", move |conn| match conn {
                    Conn::Pg(c) => Ok(locks::transaction_status(c, &name)?),
                    Conn::Sqlite(_) => Ok(None),
                });
                Ok(match status.await?.as_deref() {
                    Some("committed") => Some(true),
                    Some("aborted") => Some(false),
                    _ => None,
                })
            }
            // The write lane has one connection: this waits for the one in doubt.
            Witness::Row(row) => {
                let seen = self.db.write("counter.fate", move |conn| Ok(row.is_there(conn)?));
                Ok(Some(seen.await?))
            }
        }
    }
}

#[cfg(test)]
mod tests;
