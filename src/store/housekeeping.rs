//! Removal of rows that have served their time, in bounded steps.

use diesel::prelude::*;

use super::schema::{fanout_tasks, idempotency_keys};
use super::{Conn, ROWS_PER_STATEMENT, on};
use crate::time::Timestamp;

/// Answers to idempotent requests are kept for a day.
const KEEP_ANSWERS_US: i64 = 24 * 3_600 * 1_000_000;

/// Removes at most `limit` finished tasks older than `keep_tasks_s` seconds, and as many
/// answers older than a day.
pub fn clean(
    conn: &mut Conn<'_>,
    now: Timestamp,
    keep_tasks_s: u64,
    limit: usize,
) -> QueryResult<()> {
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
    let oldest_answer = Timestamp(now.micros() - KEEP_ANSWERS_US);
    let answers: Vec<(i64, String)> = on!(conn, |c| idempotency_keys::table
        .filter(idempotency_keys::created_at.lt(oldest_answer))
        .order(idempotency_keys::created_at)
        .select((idempotency_keys::user_id, idempotency_keys::idempotency_key))
        .limit(limit as i64)
        .load(c))?;
    for (user, key) in answers {
        on!(conn, |c| diesel::delete(
            idempotency_keys::table
                .filter(idempotency_keys::user_id.eq(user))
                .filter(idempotency_keys::idempotency_key.eq(&key))
        )
        .execute(c))?;
    }
    Ok(())
}
