//! The database: two engines behind one set of queries.
//!
//! - [`Db`] runs blocking work on a bounded number of threads ([`pool`]).
//! - [`Conn`] is a connection of either engine; a query is written once, inside [`on!`].
//! - One file of queries per aggregate. They take `&mut Conn`, never a pool, so that they
//!   compose inside one transaction.
//!
//! Architecture invariant: nothing outside this room names a table or writes SQL.

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

mod conn;
mod error;
mod manager;
pub mod migrations;
mod pool;
pub(crate) mod schema;

pub use conn::{Conn, Engine};
pub use error::StoreError;
pub use pool::{Db, DbConfig};

/// Rows of a multi-row statement: rows times columns stays below SQLite's 32,766 binds.
pub const ROWS_PER_STATEMENT: usize = 1_000;
