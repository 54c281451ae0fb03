//! Connections, and the bounded threads that block on them.
//!
//! Two lanes: reads and writes. On SQLite the write lane is one connection, since the engine
//! has one writer: transactions queue here, fairly, and not on its file lock. On Postgres the
//! lanes keep a burst of reads from starving the ordered writer and the counter.
//!
//! No actix thread ever blocks: a permit is awaited (bounded), then the work runs on tokio's
//! blocking threads, of which there are never more than permits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diesel::r2d2::{Pool, PooledConnection};
use diesel::{PgConnection, SqliteConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::manager::Manager;
use super::{Conn, Engine, StoreError};

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
}

struct Lane {
    name: &'static str,
    pool: AnyPool,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    config: DbConfig,
}

enum AnyPool {
    Pg(Pool<Manager<PgConnection>>),
    Sqlite(Pool<Manager<SqliteConnection>>),
}

enum Pooled {
    Pg(PooledConnection<Manager<PgConnection>>),
    Sqlite(PooledConnection<Manager<SqliteConnection>>),
}

/// A transaction that lost against another one is run again this many times at most.
const CONFLICT_RETRIES: usize = 3;

/// Queries that take longer are logged with their name.
const SLOW_QUERY: Duration = Duration::from_millis(250);

impl DbConfig {
    /// The engine that the URL names.
    ///
    /// # Errors
    /// When it names none.
    pub fn engine(&self) -> anyhow::Result<Engine> {
        engine_of(&self.url)
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

    /// Runs queries that only read. `name` names the query in logs and metrics.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection is to be had in time or the call takes
    /// too long; whatever `body` returns otherwise.
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
    pub async fn write<T, F>(&self, name: &'static str, mut body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Conn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.write
            .run(name, move |pooled| {
                let mut conflicts = 0;
                loop {
                    match pooled.transaction(&mut body) {
                        Err(StoreError::Conflict(_)) if conflicts < CONFLICT_RETRIES => {
                            conflicts += 1;
                        }
                        other => return other,
                    }
                }
            })
            .await
    }

    /// The same on the calling thread, for commands outside the service.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn write_blocking<T>(
        &self,
        mut body: impl FnMut(&mut Conn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.write.pool.get()?.transaction(&mut body)
    }

    /// Reads on the calling thread, for commands outside the service.
    ///
    /// # Errors
    /// As [`Db::read`].
    pub fn read_blocking<T>(
        &self,
        mut body: impl FnMut(&mut Conn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.read.pool.get()?.with(&mut body)
    }
}

/// Runs `body` in the open transaction and ends it.
fn carry_out<T>(
    conn: &mut Conn<'_>,
    body: &mut impl FnMut(&mut Conn<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    match body(conn) {
        Ok(value) => match conn.commit() {
            Ok(()) => Ok(value),
            Err(error) => {
                // Diesel has rolled back what can be rolled back; the answer tells the rest.
                let _ = conn.rollback();
                Err(StoreError::at_commit(error))
            }
        },
        Err(error) => {
            // A failing rollback marks the connection broken; the first error says why.
            let _ = conn.rollback();
            Err(error)
        }
    }
}

impl Lane {
    fn open(name: &'static str, engine: Engine, config: &DbConfig, size: u32) -> Lane {
        Lane {
            name,
            pool: AnyPool::open(engine, config, size),
            permits: Arc::new(Semaphore::new(size as usize)),
            waiting: AtomicUsize::new(0),
            config: config.clone(),
        }
    }

    fn in_use(&self) -> usize {
        let size = match &self.pool {
            AnyPool::Pg(pool) => pool.max_size(),
            AnyPool::Sqlite(pool) => pool.max_size(),
        };
        size as usize - self.permits.available_permits().min(size as usize)
    }

    /// Waits for a permit, then runs `work` on a blocking thread with a connection. The permit
    /// stays with the thread: a caller that gives up does not free a connection still in use.
    async fn run<T, F>(self: &Arc<Self>, name: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Pooled) -> Result<T, StoreError> + Send + 'static,
    {
        let asked = Instant::now();
        let permit = self.permit().await?;
        let waited = asked.elapsed();
        metrics::histogram!("roost_db_wait_seconds", "lane" => self.name)
            .record(waited.as_secs_f64());
        let lane = self.clone();
        let running = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let started = Instant::now();
            let mut pooled = lane.pool.get()?;
            let result = work(&mut pooled);
            record(name, started.elapsed(), result.as_ref().err());
            result
        });
        let limit = self.config.statement_timeout;
        let joined = if limit.is_zero() {
            running.await
        } else {
            // Twice: the statement's own limit comes first unless the server is frozen.
            match tokio::time::timeout(limit * 2, running).await {
                Ok(joined) => joined,
                Err(_) => {
                    return Err(StoreError::OutcomeUnknown(format!("{name}: no answer in time")));
                }
            }
        };
        joined.map_err(|panic| StoreError::Unavailable(format!("{name}: {panic}")))?
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = WaitingGuard::enter(&self.waiting);
        if waiting.others >= self.config.max_waiting {
            return Err(StoreError::Unavailable("too many calls wait for a connection".into()));
        }
        let acquire = self.permits.clone().acquire_owned();
        match tokio::time::timeout(self.config.acquire_timeout, acquire).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(closed)) => Err(StoreError::Unavailable(closed.to_string())),
            Err(_) => Err(StoreError::Unavailable("no connection in time".into())),
        }
    }
}

/// Counts a waiting call for as long as it waits, also when the caller goes away.
struct WaitingGuard<'a> {
    count: &'a AtomicUsize,
    others: usize,
}

impl<'a> WaitingGuard<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        WaitingGuard { count, others: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

fn record(name: &'static str, took: Duration, error: Option<&StoreError>) {
    metrics::histogram!("roost_db_query_seconds", "query" => name).record(took.as_secs_f64());
    if let Some(error) = error {
        metrics::counter!("roost_db_errors_total", "query" => name).increment(1);
        tracing::warn!(query = name, took_ms = took.as_millis() as u64, %error, "query failed");
    } else if took > SLOW_QUERY {
        tracing::warn!(query = name, took_ms = took.as_millis() as u64, "slow query");
    }
}

impl AnyPool {
    fn open(engine: Engine, config: &DbConfig, size: u32) -> AnyPool {
        fn builder<M: diesel::r2d2::ManageConnection>(
            config: &DbConfig,
            size: u32,
        ) -> diesel::r2d2::Builder<M> {
            Pool::builder()
                .max_size(size)
                .min_idle(Some(0))
                .connection_timeout(config.acquire_timeout)
                .test_on_check_out(true)
        }
        match engine {
            Engine::Postgres => {
                let setup = postgres_setup(config.statement_timeout);
                let manager = Manager::new(&postgres_url(&config.url), &setup);
                AnyPool::Pg(builder(config, size).build_unchecked(manager))
            }
            Engine::Sqlite => {
                let manager = Manager::new(sqlite_path(&config.url), SQLITE_SETUP);
                AnyPool::Sqlite(builder(config, size).build_unchecked(manager))
            }
        }
    }

    fn get(&self) -> Result<Pooled, StoreError> {
        let unavailable =
            |error: diesel::r2d2::PoolError| StoreError::Unavailable(error.to_string());
        match self {
            AnyPool::Pg(pool) => pool.get().map(Pooled::Pg).map_err(unavailable),
            AnyPool::Sqlite(pool) => pool.get().map(Pooled::Sqlite).map_err(unavailable),
        }
    }
}

impl Pooled {
    /// Runs `body` and marks the connection when the error says that it is lost.
    fn with<T>(
        &mut self,
        body: &mut impl FnMut(&mut Conn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let result = match self {
            Pooled::Pg(managed) => body(&mut Conn::Pg(&mut managed.conn)),
            Pooled::Sqlite(managed) => body(&mut Conn::Sqlite(&mut managed.conn)),
        };
        let failed = result.as_ref().is_err_and(StoreError::is_outage);
        match self {
            Pooled::Pg(managed) => managed.used(failed),
            Pooled::Sqlite(managed) => managed.used(failed),
        }
        result
    }

    /// Runs `body` in one write transaction. A stale connection shows at its BEGIN, when nothing
    /// has happened yet, and is replaced once.
    fn transaction<T>(
        &mut self,
        body: &mut impl FnMut(&mut Conn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let begin = &mut |conn: &mut Conn<'_>| Ok(conn.begin_write()?);
        match self.with(begin) {
            Err(StoreError::Unavailable(reason)) => {
                self.reconnect().map_err(|_| StoreError::Unavailable(reason))?;
                self.with(begin)?;
            }
            other => other?,
        }
        self.with(&mut |conn| carry_out(conn, body))
    }

    /// Replaces a lost Postgres connection in place.
    fn reconnect(&mut self) -> Result<(), StoreError> {
        match self {
            Pooled::Pg(managed) => managed.reconnect(),
            Pooled::Sqlite(_) => Err(StoreError::Unavailable("the database file is busy".into())),
        }
    }
}

/// The engine that a database URL names.
fn engine_of(url: &str) -> anyhow::Result<Engine> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        Ok(Engine::Postgres)
    } else if url.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty()) {
        Ok(Engine::Sqlite)
    } else {
        anyhow::bail!("DATABASE_URL must be postgres://... or sqlite:PATH")
    }
}

/// The file of a `sqlite:PATH` URL; `sqlite:///abs/path` is accepted too.
pub(super) fn sqlite_path(url: &str) -> &str {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    path.strip_prefix("//").unwrap_or(path)
}

/// Adds a connect timeout unless the operator has chosen one: libpq waits without end.
pub(super) fn postgres_url(url: &str) -> String {
    if url.contains("connect_timeout") {
        return url.to_owned();
    }
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}connect_timeout=2")
}

fn postgres_setup(statement_timeout: Duration) -> String {
    let limit = statement_timeout.as_millis();
    format!(
        "SET application_name = 'roost'; {ENGLISH} SET statement_timeout = {limit}; \
         SET idle_in_transaction_session_timeout = {};",
        limit * 2
    )
}

/// English messages: some conditions can be told apart by their words only. A role without the
/// privilege to choose keeps the server's language, which is English unless somebody has chosen.
pub(super) const ENGLISH: &str = "DO $$ BEGIN PERFORM set_config('lc_messages', 'C', FALSE); \
     EXCEPTION WHEN insufficient_privilege THEN NULL; END $$;";

/// FULL: a commit is on the disk before it is acknowledged. The limits keep the log file small.
pub(super) const SQLITE_SETUP: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; \
     PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 67108864; \
     PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;";
