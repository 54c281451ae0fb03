//! Moves outbox rows to notifications, off every request's path.
//!
//! The worker wakes when a commit has kicked it, once at start (rows that a crash has left)
//! and every few seconds (rows of a node that died), and then rests for a moment. It moves bounded
//! chunks, each in one transaction; while the database is down it tries again, more and more
//! slowly.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::store::{Db, StoreError, notifications as store};

/// Rows of one transaction; short enough that a like never waits long for SQLite's writer.
const CHUNK: usize = 1_000;

/// The worker looks at the outbox at least this often.
const SAFETY_NET: Duration = Duration::from_secs(5);

/// Wait after the first failure; doubles up to [`SAFETY_NET`].
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// Between two rounds, so that likes which come one after another are moved together: a round is
/// a transaction, whether it moves one row or a hundred. The first of them is moved at once.
const PAUSE: Duration = Duration::from_millis(50);

/// The gauge counts waiting rows up to here.
const COUNTED_AT_MOST: i64 = 10_000;

/// The worker's handle; clones share the worker, which ends when the last one is dropped.
#[derive(Clone)]
pub struct Notifications {
    shared: Arc<Shared>,
}

struct Shared {
    db: Db,
    /// Wakes the worker; a wake that arrives while it works is kept.
    wake: Arc<Notify>,
    /// Held while a chunk moves, so that [`Notifications::drain`] waits for a running move.
    turn: tokio::sync::Mutex<()>,
    pending: Mutex<Pending>,
}

/// What the gauge says, ordered against kicks: a round that began before a kick must not say
/// that nothing waits.
#[derive(Default)]
struct Pending {
    kicks: u64,
    rows: i64,
}

/// How a round over the outbox ended.
enum Round {
    /// Nothing is left.
    Empty,
    /// Rows are left that another node is moving.
    Elsewhere,
}

impl Notifications {
    /// Starts the worker on the current tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(db: Db) -> Notifications {
        let wake = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            db,
            wake: wake.clone(),
            turn: tokio::sync::Mutex::new(()),
            pending: Mutex::default(),
        });
        let handle = Notifications { shared };
        handle.kick();
        tokio::spawn(work(Arc::downgrade(&handle.shared), wake));
        handle
    }

    /// Says that outbox rows have been committed. Never waits.
    pub fn kick(&self) {
        self.shared.pending.lock().kicked();
        self.shared.wake.notify_one();
    }

    /// Moves everything that has been committed before this call.
    ///
    /// # Errors
    /// The store's; what has not been moved stays in the outbox for the next start.
    pub async fn drain(&self) -> Result<(), StoreError> {
        self.shared.round().await.map(|_| ())
    }
}

impl Pending {
    fn kicked(&mut self) {
        self.kicks += 1;
        self.show(self.rows.max(1));
    }

    /// Takes what a round has counted that began when there had been `kicks` kicks.
    fn counted(&mut self, left: i64, kicks: u64) {
        self.show(left.max(i64::from(self.kicks != kicks)));
    }

    fn show(&mut self, rows: i64) {
        self.rows = rows;
        metrics::gauge!("roost_notifications_pending").set(rows as f64);
    }
}

impl Shared {
    /// Moves chunks until the outbox has no more for this node.
    async fn round(&self) -> Result<Round, StoreError> {
        let _turn = self.turn.lock().await;
        loop {
            let kicks = self.pending.lock().kicks;
            let (moved, left) = self
                .db
                .write("notifications_move", |conn| {
                    let moved = store::move_chunk(conn, CHUNK)?;
                    Ok((moved, store::waiting(conn, COUNTED_AT_MOST)?))
                })
                .await?;
            metrics::counter!("roost_notifications_delivered_total").increment(moved as u64);
            self.pending.lock().counted(left, kicks);
            if left == 0 {
                return Ok(Round::Empty);
            }
            if moved == 0 {
                return Ok(Round::Elsewhere);
            }
        }
    }
}

/// The worker: one round per wake. It holds no handle while it sleeps, so it ends with them.
async fn work(shared: Weak<Shared>, wake: Arc<Notify>) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        // Either outcome means the same: look at the outbox.
        let _ = timeout(SAFETY_NET, wake.notified()).await;
        let Some(shared) = shared.upgrade() else { return };
        let round = shared.round().await;
        drop(shared);
        match round {
            Ok(Round::Empty) => {
                backoff = FIRST_BACKOFF;
                sleep(PAUSE).await;
            }
            Ok(Round::Elsewhere) => {
                wake.notify_one();
                sleep(FIRST_BACKOFF).await;
            }
            Err(error) => {
                metrics::counter!("roost_notifications_failures_total").increment(1);
                let retry_ms = backoff.as_millis() as u64;
                tracing::warn!(%error, retry_ms, "notifications wait in the outbox");
                wake.notify_one();
                sleep(backoff).await;
                backoff = (backoff * 2).min(SAFETY_NET);
            }
        }
    }
}

#[cfg(test)]
mod tests;
