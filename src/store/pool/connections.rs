//! Connections of either engine in their pool, and what runs on them.

use std::time::Duration;

use diesel::r2d2::{Pool, PooledConnection};
use diesel::{PgConnection, SqliteConnection};

use super::DbConfig;
use super::manager::Manager;
use super::setup::{postgres_setup, postgres_url, sqlite_path, sqlite_setup};
use crate::store::{Conn, Engine, StoreError};

pub(super) enum AnyPool {
    Pg(Pool<Manager<PgConnection>>),
    Sqlite(Pool<Manager<SqliteConnection>>),
}

/// A connection out of its pool, to which it goes back when dropped.
pub(super) enum Pooled {
    Pg(PooledConnection<Manager<PgConnection>>),
    Sqlite(PooledConnection<Manager<SqliteConnection>>),
}

impl AnyPool {
    pub(super) fn open(engine: Engine, config: &DbConfig, size: u32) -> AnyPool {
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
                let setup = sqlite_setup(config.acquire_timeout);
                let manager = Manager::new(sqlite_path(&config.url), &setup);
                AnyPool::Sqlite(builder(config, size).build_unchecked(manager))
            }
        }
    }

    pub(super) fn size(&self) -> usize {
        let size = match self {
            AnyPool::Pg(pool) => pool.max_size(),
            AnyPool::Sqlite(pool) => pool.max_size(),
        };
        size as usize
    }

    /// A connection that works, as far as is known; waits for one to be made at most `limit`.
    pub(super) fn get(&self, limit: Duration) -> Result<Pooled, StoreError> {
        let unavailable =
            |error: diesel::r2d2::PoolError| StoreError::Unavailable(error.to_string());
        match self {
            AnyPool::Pg(pool) => pool.get_timeout(limit).map(Pooled::Pg).map_err(unavailable),
            AnyPool::Sqlite(pool) => {
                pool.get_timeout(limit).map(Pooled::Sqlite).map_err(unavailable)
            }
        }
    }
}

impl Pooled {
    /// Runs `body` and marks the connection when the error says that it is lost.
    pub(super) fn with<T>(
        &mut self,
        body: &mut impl FnMut(&mut Conn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let result = match self {
            Pooled::Pg(managed) => body(&mut Conn::Pg(&mut managed.conn)),
            Pooled::Sqlite(managed) => body(&mut Conn::Sqlite(&mut managed.conn)),
        };
        let failed = result.as_ref().is_err_and(StoreError::lost_connection);
        match self {
            Pooled::Pg(managed) => managed.used(failed),
            Pooled::Sqlite(managed) => managed.used(failed),
        }
        result
    }

    /// Runs `body` in one write transaction. A stale connection shows at its BEGIN, when nothing
    /// has happened yet, and is replaced once.
    pub(super) fn transaction<T>(
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
    pub(super) fn reconnect(&mut self) -> Result<(), StoreError> {
        match self {
            Pooled::Pg(managed) => managed.reconnect(),
            Pooled::Sqlite(_) => Err(StoreError::Unavailable("the database file is busy".into())),
        }
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
