//! The time between a commit and its work in Redis, made safe against a crash.
//!
//! A writer begins with a [`WritePermit`], marks its node dirty inside its transaction and
//! holds the permit until Redis has followed. When nobody holds one, the node is cleaned. Whoever
//! finds a dead node dirty knows that commits may have missed Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use diesel::QueryResult;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::Shared;
use crate::store::{Conn, StoreError, nodes};

/// What this process knows of the dirty flag in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Dirt {
    /// Nothing.
    Unknown = 0,
    /// It is not set.
    Clean = 1,
    /// It is set: writers need not set it again.
    Dirty = 2,
}

/// Writers against the cleaner.
pub(super) struct Guard {
    /// Writers share it; the cleaner takes it alone.
    lock: Arc<RwLock<()>>,
    dirt: AtomicU8,
    /// Writes begun, for the cleaner to see whether it is quiet.
    begun: AtomicU64,
}

impl Guard {
    pub(super) fn new() -> Self {
        Guard {
            lock: Arc::new(RwLock::new(())),
            dirt: AtomicU8::new(Dirt::Unknown as u8),
            begun: AtomicU64::new(0),
        }
    }

    pub(super) fn know(&self, dirt: Dirt) {
        self.dirt.store(dirt as u8, Ordering::SeqCst);
    }

    pub(super) fn knows(&self, dirt: Dirt) -> bool {
        self.dirt.load(Ordering::SeqCst) == dirt as u8
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// The lock alone, if no write is under way.
    pub(super) fn try_alone(&self) -> Option<OwnedRwLockWriteGuard<()>> {
        self.lock.clone().try_write_owned().ok()
    }

    /// The lock alone, after the writes under way. Later ones wait.
    pub(super) async fn alone(&self) -> OwnedRwLockWriteGuard<()> {
        self.lock.clone().write_owned().await
    }

    pub(super) async fn begin(shared: &Arc<Shared>) -> WritePermit {
        // Waits for the cleaner's one statement at most.
        let held = shared.guard.lock.clone().read_owned().await;
        shared.guard.begun.fetch_add(1, Ordering::SeqCst);
        WritePermit(Arc::new(Write {
            shared: shared.clone(),
            _held: held,
            stage: AtomicU8::new(Stage::Begun as u8),
        }))
    }
}

/// How far a write has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// Nothing is changed.
    Begun,
    /// The transaction runs, or its outcome is unknown.
    Marked,
    /// Committed: Redis must follow.
    Committed,
    /// Redis has followed, or the tier is down.
    Done,
}

/// Leave to write to the database what Redis caches. Clones share it, so that one can go into
/// the closure of a transaction. If the last one goes away between the transaction and
/// [`WritePermit::done`] (a caller that was cancelled, an outcome never learnt), that counts as
/// a loss and the tier goes down: nobody has to remember it.
#[derive(Clone)]
#[must_use = "hold it until Redis has followed the commit"]
pub struct WritePermit(Arc<Write>);

struct Write {
    shared: Arc<Shared>,
    _held: OwnedRwLockReadGuard<()>,
    stage: AtomicU8,
}

impl WritePermit {
    /// To be called inside the transaction, before any other statement: all writers then take
    /// this row's lock first and cannot deadlock on it. No statement in a busy period.
    ///
    /// # Errors
    /// Those of the statement.
    pub fn mark_dirty(&self, conn: &mut Conn<'_>) -> QueryResult<()> {
        self.0.enter(Stage::Marked);
        if self.0.shared.guard.knows(Dirt::Dirty) {
            return Ok(());
        }
        nodes::mark_dirty(conn, self.0.shared.me)
    }

    /// Tells how the transaction ended: the result of `Db::write`.
    pub fn resolve<T>(&self, result: &Result<T, StoreError>) {
        match result {
            Ok(_) => self.committed(),
            Err(StoreError::OutcomeUnknown(_)) => {
                // It may even commit later: the closure's clone of this permit counts the loss
                // once more when it ends.
                self.0.shared.lost("write", "the outcome of a commit is unknown");
            }
            Err(_) => self.0.enter(Stage::Begun),
        }
    }

    /// The transaction has committed.
    pub fn committed(&self) {
        if self.0.is(Stage::Marked) {
            self.0.enter(Stage::Committed);
            self.0.shared.guard.know(Dirt::Dirty);
        }
    }

    /// Redis has followed. A call that failed has taken the tier down already, so this is right
    /// whatever the calls returned.
    pub fn done(self) {
        if self.0.is(Stage::Committed) {
            self.0.enter(Stage::Done);
        }
    }
}

impl Write {
    fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::SeqCst);
    }

    fn is(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::SeqCst) == stage as u8
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if self.is(Stage::Marked) || self.is(Stage::Committed) {
            self.shared.lost("write", "a write was abandoned before Redis had followed it");
        }
    }
}
