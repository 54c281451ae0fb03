//! What is known of the tasks that are open.

use std::sync::atomic::Ordering;

use super::books;
use super::core::{Core, Worked};
use super::rotation::ROUND_TASKS;
use crate::store::{StoreError, tasks};

impl Core {
    /// A round of tasks that all wait for others. Once every open one has had such a turn, it is
    /// time to do nothing.
    pub(super) async fn nothing_moved(&self, turns: usize) -> Result<Worked, StoreError> {
        let idle = self.idle_turns.fetch_add(turns as i64, Ordering::Relaxed) + turns as i64;
        let more = turns == ROUND_TASKS && idle <= self.open_tasks.load(Ordering::Relaxed);
        if !more {
            self.idle_turns.store(0, Ordering::Relaxed);
            self.look_at_backlog().await?;
        }
        Ok(Worked { more, ..Worked::default() })
    }

    /// Learns the backlog from the database, for the gauges. Whether there may be one.
    pub(super) async fn look_at_backlog(&self) -> Result<bool, StoreError> {
        self.revive_once().await?;
        // Once the gauge says that nothing is open, everybody has been told.
        tokio::select! {
            () = self.outside_done() => {}
            () = self.awaited.a_write() => return Ok(true),
        }
        let backlog = self.refresh_ages().await?;
        self.open_tasks.store(backlog.open, Ordering::Relaxed);
        books::open_tasks(backlog.open);
        Ok(backlog.open > 0)
    }

    /// Gives tasks another chance that failed, or waited for something, under an earlier
    /// process.
    pub(super) async fn revive_once(&self) -> Result<(), StoreError> {
        if !self.revived.load(Ordering::Relaxed) {
            let revived = self.db.write("writer.revive", |conn| Ok(tasks::revive(conn)?)).await?;
            self.revived.store(true, Ordering::Relaxed);
            if revived > 0 {
                tracing::info!(tasks = revived, "tasks that were set back are tried again");
            }
        }
        Ok(())
    }

    /// Brings the gauges up to date that tell how old and how healthy the backlog is.
    pub(super) async fn refresh_ages(&self) -> Result<tasks::Backlog, StoreError> {
        let backlog = self.db.read("writer.backlog", |conn| Ok(tasks::backlog(conn)?)).await?;
        books::backlog(&backlog, self.clock.now());
        Ok(backlog)
    }
}
