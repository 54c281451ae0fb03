//! One try of a transaction: how far it has come, and how to find out what became of it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{AfterCommit, Committed, Doubt, Fate};
use crate::counter::transaction::{Witness, Written};
use crate::store::locks::{TransactionFate, fate_of};
use crate::store::{Conn, Db, StoreError};

/// What the thread of a transaction and those who wait for it know of it together.
pub(super) struct Attempt(Mutex<Progress>);

struct Progress {
    stage: Stage,
    /// `None` once it has been called, or given up.
    after: Option<AfterCommit>,
}

enum Stage {
    /// The statements are being run, or not even that.
    Working,
    /// All that is left is the commit.
    Committing(Box<Written>),
    /// It has committed and everybody has been told.
    Told(Committed),
    /// Given up: it must not commit any more.
    Abandoned,
}

/// What became of an attempt, as far as this process can tell.
enum Known {
    NotCommitted,
    Committed,
    /// The database knows.
    Ask(Witness),
}

impl Attempt {
    pub(super) fn new(after: AfterCommit) -> Attempt {
        Attempt(Mutex::new(Progress { stage: Stage::Working, after: Some(after) }))
    }

    pub(super) fn begin(&self) -> Result<(), StoreError> {
        self.enter(Stage::Working)
    }

    pub(super) fn ready(&self, written: Written) -> Result<(), StoreError> {
        self.enter(Stage::Committing(Box::new(written)))
    }

    fn enter(&self, next: Stage) -> Result<(), StoreError> {
        let stage = &mut self.0.lock().stage;
        if matches!(stage, Stage::Abandoned) {
            return Err(StoreError::Unavailable("the batch was given up".into()));
        }
        *stage = next;
        Ok(())
    }

    /// It has committed: says so, unless that has been done. Whoever asks meanwhile waits.
    pub(super) fn tell(&self) {
        let Progress { stage, after } = &mut *self.0.lock();
        match std::mem::replace(stage, Stage::Abandoned) {
            Stage::Committing(written) => {
                let mut committed = written.committed;
                if let Some(after) = after.take() {
                    after(&mut committed);
                }
                *stage = Stage::Told(committed);
            }
            other => *stage = other,
        }
    }

    fn tell_nobody(&self) {
        self.0.lock().after = None;
    }

    /// Keeps the transaction from committing, unless it may have done so.
    fn abandon(&self) -> Known {
        let stage = &mut self.0.lock().stage;
        match stage {
            Stage::Committing(written) => match written.witness.clone() {
                Some(witness) => Known::Ask(witness),
                // It had nothing to write.
                None => Known::Committed,
            },
            Stage::Told(_) => Known::Committed,
            Stage::Working | Stage::Abandoned => {
                *stage = Stage::Abandoned;
                Known::NotCommitted
            }
        }
    }

    /// What it has committed, once everybody has been told.
    pub(super) fn take(&self) -> Option<Committed> {
        match std::mem::replace(&mut self.0.lock().stage, Stage::Abandoned) {
            Stage::Told(committed) => Some(committed),
            Stage::Working | Stage::Committing(_) | Stage::Abandoned => None,
        }
    }
}

pub(super) struct DbDoubt {
    db: Db,
    attempt: Arc<Attempt>,
}

impl Drop for DbDoubt {
    fn drop(&mut self) {
        self.attempt.tell_nobody();
    }
}

impl Doubt for DbDoubt {
    fn settle(&mut self) -> BoxFuture<'_, Result<Fate, StoreError>> {
        Box::pin(async move {
            let fate = match self.attempt.abandon() {
                Known::NotCommitted => TransactionFate::NotCommitted,
                Known::Committed => TransactionFate::Committed,
                Known::Ask(witness) => self.ask(witness).await?,
            };
            Ok(match fate {
                TransactionFate::Running => Fate::Open,
                TransactionFate::Unknown => Fate::Unknowable,
                TransactionFate::NotCommitted => Fate::NotCommitted,
                TransactionFate::Committed => {
                    self.attempt.tell();
                    self.attempt.take().map_or(Fate::NotCommitted, Fate::Committed)
                }
            })
        })
    }
}

impl DbDoubt {
    pub(super) fn of(attempt: Arc<Attempt>, db: Db) -> DbDoubt {
        DbDoubt { db, attempt }
    }

    async fn ask(&self, witness: Witness) -> Result<TransactionFate, StoreError> {
        match witness {
            Witness::Transaction(name, added) => {
                let ask = move |conn: &mut Conn<'_>| {
                    let Conn::Pg(c) = conn else { return Ok(TransactionFate::Unknown) };
                    let fate = fate_of(c, &name)?;
                    let Some(row) = added.filter(|_| fate == TransactionFate::Unknown) else {
                        return Ok(fate);
                    };
                    Ok(if row.is_there(conn)? { TransactionFate::Committed } else { fate })
                };
                self.db.read("counter.fate", ask).await
            }
            // The write lane has one connection: this waits for the one in doubt.
            Witness::Row(row) => {
                let seen = self.db.write("counter.fate", move |conn| Ok(row.is_there(conn)?));
                Ok(match seen.await? {
                    true => TransactionFate::Committed,
                    false => TransactionFate::NotCommitted,
                })
            }
        }
    }
}
