//! The database: two engines behind one set of queries.
//!
//! - [`Db`] runs blocking work on a bounded number of threads ([`pool`]).
//! - [`Conn`] is a connection of either engine; a query is written once, inside [`on!`].
//! - One file of queries per aggregate. They take `&mut Conn`, never a pool, so that they
//!   compose inside one transaction.
//!
//! Architecture invariant: nothing outside this room names a table or writes SQL.

pub mod audit;
pub mod bulk;
pub mod cache_state;
pub mod clock;
pub mod comments;
mod conn;
pub mod copying;
pub mod counts;
pub mod deliveries;
mod error;
pub mod explain;
pub mod follow_spans;
pub mod friendships;
pub mod health;
pub mod housekeeping;
pub mod idempotency;
pub mod likes;
pub mod locks;
pub mod migrations;
pub mod newsfeeds;
pub mod nodes;
pub mod notifications;
pub mod outbox;
#[cfg(test)]
mod plans;
mod pool;
mod prepared;
pub mod profiles;
pub mod purge;
pub mod recount;
pub mod repair;
pub mod retention;
mod rows;
pub(crate) mod schema;
pub mod sessions;
pub mod sole;
pub mod tasks;
#[cfg(test)]
pub(crate) mod testing;
pub mod tweets;
pub mod users;

pub use conn::{Conn, Engine};
pub use error::StoreError;
pub use pool::{Db, DbConfig};

/// Rows of a multi-row statement: rows times columns stays below SQLite's 32,766 binds.
pub const ROWS_PER_STATEMENT: usize = 1_000;

/// Expands a query for the engine of a connection: `on!(conn, |c| query.load(c))`.
///
/// Diesel's own `MultiConnection` cannot express upserts, batch inserts or `returning`; this
/// type-checks each body once per engine, so what one of them lacks does not compile.
macro_rules! on {
    ($conn:expr, |$c:ident| $body:expr) => {
        match $conn {
            $crate::store::Conn::Pg($c) => {
                let $c = &mut **$c;
                $body
            }
            $crate::store::Conn::Sqlite($c) => {
                let $c = &mut **$c;
                $body
            }
        }
    };
}
pub(crate) use on;
