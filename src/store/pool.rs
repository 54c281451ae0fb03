//! Connections, and the bounded threads that block on them.
//!
//! Two lanes: reads and writes. On SQLite the write lane is one connection, since the engine
//! has one writer: transactions queue here, fairly, and not on its file lock. On Postgres the
//! lanes keep a burst of reads from starving the ordered writer and the counter.
//!
//! - [`lane`]: who may run, how long one waits, what happens when the database is silent.
//! - [`connections`]: what runs on a connection, and when that is made again.
//! - [`log`]: SQLite's log is copied into the database beside the writes.
//! - [`manager`]: how connections are made and judged. [`setup`]: what is said to a new one.
//!
//! No actix thread ever blocks: a permit is awaited (bounded), then the work runs on tokio's
//! blocking threads, of which there are never more than permits.

mod connections;
mod lane;
mod log;
mod manager;
pub(super) mod setup;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::{Conn, Engine, StoreError};
use connections::Pooled;
use lane::Lane;
use log::LogCopier;

/// How to reach the database, and the limits.
#[derive(Debug, Clone)]
pub struct DbConfig {
    /// `postgres://...` or `sqlite:PATH`.
    pub url: String,
    /// Connections of the read lane.
    pub read_connections: u32,
    /// Connections of the write lane (Postgres; SQLite always has one).
    pub write_connections: u32,
    /// Longest wait for a connection.
    pub acquire_timeout: Duration,
    /// Longest run of one statement (Postgres), and of a whole call as its caller sees it.
    /// Zero: none, for long commands.
    pub statement_timeout: Duration,
    /// Calls that may wait for a connection; more are refused at once.
    pub max_waiting: usize,
}

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Db {
    engine: Engine,
    read: Arc<Lane>,
    write: Arc<Lane>,
    log: Option<Arc<LogCopier>>,
}

/// A transaction that lost against another one is run again this many times at most.
const CONFLICT_RETRIES: usize = 3;

impl DbConfig {
    /// The engine that the URL names.
    ///
    /// # Errors
    /// When it names none.
    pub fn engine(&self) -> anyhow::Result<Engine> {
        setup::engine_of(&self.url)
    }
}

impl Db {
    /// Opens the lanes. Connections are made when first needed, so this does not fail while the
    /// server is down.
    ///
    /// # Errors
    /// When the URL is of no known form.
    pub fn open(config: &DbConfig) -> anyhow::Result<Db> {
        let engine = config.engine()?;
        let writers = match engine {
            Engine::Postgres => config.write_connections,
            Engine::Sqlite => 1,
        };
        Ok(Db {
            engine,
            read: Arc::new(Lane::open("read", engine, config, config.read_connections)),
            write: Arc::new(Lane::open("write", engine, config, writers)),
            log: LogCopier::of(engine, config),
        })
    }

    /// The engine behind this handle.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Connections in use of the read and the write lane, for metrics.
    pub fn in_use(&self) -> (usize, usize) {
        (self.read.in_use(), self.write.in_use())
    }

    /// Transactions that wait for a connection of the write lane: on SQLite, for the end of the
    /// one under way.
    pub fn waiting_writes(&self) -> Arc<AtomicUsize> {
        self.write.waiting()
    }

    /// Whether the log of the database is long and is being copied (SQLite).
    pub fn is_behind(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.is_behind())
    }

    /// Waits while that is so. For writers that nobody waits for.
    pub async fn caught_up(&self) {
        if let Some(log) = &self.log {
            log.caught_up().await;
        }
    }

    /// Runs queries that only read. `name` names the query in logs and metrics.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection is to be had in time, when the call takes
    /// too long, and at once while the database is silent; whatever `body` returns otherwise.
    pub async fn read<T, F>(&self, name: &'static str, mut body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Conn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.read
            .run(name, move |pooled| {
                let first = pooled.with(&mut body);
                match first {
                    // A stale connection fails at its first statement; reading again is safe.
                    Err(StoreError::Unavailable(_)) if pooled.reconnect().is_ok() => {
                        pooled.with(&mut body)
                    }
                    other => other,
                }
            })
            .await
    }

    /// Runs `body` in one write transaction. It may be run again after a conflict, so it must
    /// not keep results of an earlier run.
    ///
    /// # Errors
    /// As [`Db::read`]; [`StoreError::OutcomeUnknown`] when the connection breaks during the
    /// commit, or when the call takes too long and is still running.
    pub async fn write<T, F>(&self, name: &'static str, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Conn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_then(name, body, |_| ()).await
    }

    /// The same; once the transaction has committed, the thread that has done it calls `then`
    /// before this returns, also when nobody waits for this any more. `then` must neither block
    /// nor panic: the connection is not free before its end.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub async fn write_then<T, F>(
        &self,
        name: &'static str,
        body: F,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Conn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let transaction = move |pooled: &mut Pooled| transaction(pooled, name, body, then);
        self.noted(self.write.run(name, transaction).await)
    }

    /// The same on the thread that polls it, which must be one that may block: a thread less to be
    /// woken. For an engine that is a file; how long the call takes as a whole is not limited.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub async fn write_here_then<T>(
        &self,
        name: &'static str,
        body: impl FnMut(&mut Conn<'_>) -> Result<T, StoreError>,
        then: impl FnOnce(&T),
    ) -> Result<T, StoreError> {
        let transaction = |pooled: &mut Pooled| transaction(pooled, name, body, then);
        self.noted(self.write.run_here(name, transaction).await)
    }

    /// Tells the copier of the log of a transaction that was committed.
    fn noted<T>(&self, written: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Ok(_), Some(log)) = (&written, &self.log) {
            log.written();
        }
        written
    }

    /// The same on the calling thread, for commands outside the service.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn write_blocking<T>(
        &self,
        mut body: impl FnMut(&mut Conn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.write.connection()?.transaction(&mut body)
    }

    /// Reads on the calling thread, for commands outside the service.
    ///
    /// # Errors
    /// As [`Db::read`].
    pub fn read_blocking<T>(
        &self,
        mut body: impl FnMut(&mut Conn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.read.connection()?.with(&mut body)
    }
}

/// One write transaction, run again after conflicts, and what comes after its commit.
fn transaction<T>(
    pooled: &mut Pooled,
    name: &'static str,
    mut body: impl FnMut(&mut Conn<'_>) -> Result<T, StoreError>,
    then: impl FnOnce(&T),
) -> Result<T, StoreError> {
    let mut conflicts = 0;
    loop {
        match pooled.transaction(&mut body) {
            Ok(value) => {
                then(&value);
                return Ok(value);
            }
            Err(StoreError::Conflict(reason)) if conflicts < CONFLICT_RETRIES => {
                tracing::debug!(query = name, reason, "run again after a conflict");
                metrics::counter!("roost_db_conflicts_total").increment(1);
                conflicts += 1;
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::store::testing::databases;

    /// Once and three times more; what the lost attempts wrote is not there.
    #[tokio::test]
    async fn a_conflict_is_tried_again_three_times() {
        for test in databases() {
            for lost in [1, CONFLICT_RETRIES, CONFLICT_RETRIES + 1] {
                let mut runs = 0;
                let counter = Arc::new(AtomicUsize::new(0));
                let counted = counter.clone();
                let result = test
                    .db
                    .write("conflicts", move |_| {
                        runs += 1;
                        counted.fetch_add(1, Ordering::SeqCst);
                        match runs <= lost {
                            true => Err(StoreError::Conflict("crossed".into())),
                            false => Ok(runs),
                        }
                    })
                    .await;
                let runs = counter.load(Ordering::SeqCst);
                if lost > CONFLICT_RETRIES {
                    assert!(matches!(result, Err(StoreError::Conflict(_))), "{}", test.name);
                    assert_eq!(runs, CONFLICT_RETRIES + 1, "{}", test.name);
                } else {
                    assert_eq!(result.unwrap(), lost + 1, "{}", test.name);
                }
            }
        }
    }
}
