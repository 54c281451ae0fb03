//! A connection of either engine.

use diesel::connection::{AnsiTransactionManager, Connection, TransactionManager};
use diesel::{PgConnection, QueryResult, SqliteConnection};

use super::StoreError;

/// Which database is behind a [`Conn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL 15 or newer.
    Postgres,
    /// The bundled SQLite.
    Sqlite,
}

/// A borrowed connection. Queries match on it through [`on!`](crate::store::on).
pub enum Conn<'a> {
    /// PostgreSQL.
    Pg(&'a mut PgConnection),
    /// SQLite.
    Sqlite(&'a mut SqliteConnection),
}

impl Conn<'_> {
    /// The engine of this connection.
    pub fn engine(&self) -> Engine {
        match self {
            Conn::Pg(_) => Engine::Postgres,
            Conn::Sqlite(_) => Engine::Sqlite,
        }
    }

    /// Opens a transaction that will write. SQLite takes its write lock at once: a deferred
    /// transaction that turns from reading to writing fails without waiting.
    pub(super) fn begin_write(&mut self) -> QueryResult<()> {
        match self {
            Conn::Pg(c) => AnsiTransactionManager::begin_transaction(&mut **c),
            Conn::Sqlite(c) => {
                AnsiTransactionManager::begin_transaction_sql(&mut **c, "BEGIN IMMEDIATE")
            }
        }
    }

    pub(super) fn commit(&mut self) -> QueryResult<()> {
        super::on!(self, |c| AnsiTransactionManager::commit_transaction(c))
    }

    pub(super) fn rollback(&mut self) -> QueryResult<()> {
        super::on!(self, |c| AnsiTransactionManager::rollback_transaction(c))
    }

    /// Runs queries that all see one state of the database, whatever is committed meanwhile.
    ///
    /// # Errors
    /// Whatever `body` returns.
    pub fn snapshot<T>(
        &mut self,
        body: impl FnOnce(&mut Conn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self {
            Conn::Pg(c) => {
                c.build_transaction().repeatable_read().read_only().run(|c| body(&mut Conn::Pg(c)))
            }
            // A deferred transaction keeps the state that its first query has seen.
            Conn::Sqlite(c) => c.transaction(|c| body(&mut Conn::Sqlite(c))),
        }
    }

    /// Runs `body` under a savepoint inside an open transaction: if it fails, only what it did
    /// is undone and the transaction stays usable.
    pub fn savepoint<T, E>(
        &mut self,
        body: impl FnOnce(&mut Conn<'_>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<diesel::result::Error>,
    {
        match self {
            Conn::Pg(c) => c.transaction(|c| body(&mut Conn::Pg(c))),
            Conn::Sqlite(c) => c.transaction(|c| body(&mut Conn::Sqlite(c))),
        }
    }
}
