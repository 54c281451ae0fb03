//! Removal of rows that have served their time, in bounded steps.

use diesel::prelude::*;

use super::schema::fanout_tasks;
use super::{Conn, ROWS_PER_STATEMENT, idempotency, on};
use crate::time::Timestamp;

/// Removes at most `limit` finished tasks older than `keep_tasks_s` seconds, and as many
/// answers older than a day. Whether there are more of either.
pub fn clean(
    conn: &mut Conn<'_>,
    now: Timestamp,
    keep_tasks_s: u64,
    limit: usize,
) -> QueryResult<bool> {
    let oldest_task = Timestamp(now.micros() - keep_tasks_s as i64 * 1_000_000);
    let tasks: Vec<i64> = on!(conn, |c| fanout_tasks::table
        .filter(fanout_tasks::finished_at.lt(oldest_task))
        .order(fanout_tasks::finished_at)
        .select(fanout_tasks::id)
        .limit(limit as i64)
        .load(c))?;
    for chunk in tasks.chunks(ROWS_PER_STATEMENT) {
        on!(conn, |c| diesel::delete(
            fanout_tasks::table.filter(fanout_tasks::id.eq_any(chunk.iter().copied()))
        )
        .execute(c))?;
    }
    let answers = idempotency::delete_older_than(conn, now, limit as i64)?;
    Ok(tasks.len() == limit || answers == limit)
}
