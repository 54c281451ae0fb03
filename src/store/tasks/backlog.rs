//! What is open, for the gauges.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};

use super::MOST_ATTEMPTS;
use crate::store::prepared::Prepared;
use crate::store::{Conn, on};
use crate::time::Timestamp;

/// What is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct Backlog {
    /// Tasks.
    #[diesel(sql_type = BigInt)]
    pub open: i64,
    /// When the oldest of them was added.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub oldest: Option<Timestamp>,
    /// When the oldest tweet was posted that some follower does not have yet.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub oldest_undelivered: Option<Timestamp>,
    /// Tasks whose last step failed.
    #[diesel(sql_type = BigInt)]
    pub failing: i64,
    /// Those of them that are not tried again before the next start of a node.
    #[diesel(sql_type = BigInt)]
    pub parked: i64,
}

/// Counts what is open.
pub fn backlog(conn: &mut Conn<'_>) -> QueryResult<Backlog> {
    let sql = "SELECT count(*) AS open, min(created_at) AS oldest, \
               min(CASE WHEN kind = 1 THEN created_at END) AS oldest_undelivered, \
               count(CASE WHEN attempts > 0 THEN 1 END) AS failing, \
               count(CASE WHEN attempts >= ? THEN 1 END) AS parked \
               FROM fanout_tasks WHERE finished_at IS NULL";
    let query = Prepared { sql, binds: &[MOST_ATTEMPTS] };
    on!(conn, |c| query.get_result(c))
}
