//! Who waits for the end of a round.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::store::Db;

/// What a round looks at between two statements; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Awaited {
    inner: Arc<Inner>,
    /// Others that wait for the connection: on SQLite likes, comments and log-ins.
    others: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Writes that wait for the writer itself.
    writes: AtomicUsize,
    came: Notify,
}

impl Awaited {
    pub(super) fn new(db: &Db) -> Awaited {
        Awaited { inner: Arc::default(), others: db.waiting_writes() }
    }

    /// Says how many writes wait for the writer.
    pub(super) fn set_writes(&self, writes: usize) {
        self.inner.writes.store(writes, Ordering::Relaxed);
        if writes > 0 {
            self.inner.came.notify_waiters();
        }
    }

    /// Whether anybody waits.
    pub(super) fn is_so(&self) -> bool {
        self.has_writes() || self.others.load(Ordering::Relaxed) > 0
    }

    /// Returns as soon as a write waits for the writer.
    pub(super) async fn a_write(&self) {
        loop {
            // First: one that comes meanwhile is not missed.
            let came = self.inner.came.notified();
            if self.has_writes() {
                return;
            }
            came.await;
        }
    }

    fn has_writes(&self) -> bool {
        self.inner.writes.load(Ordering::Relaxed) > 0
    }
}
