//! Tasks whose step has failed, and tasks that wait for something outside the database: they
//! leave the rotation for a while, so that they hold up nobody else.

use diesel::prelude::*;

use super::fanout_tasks;
use crate::store::{Conn, on};
use crate::time::Timestamp;

/// After so many failures in a row a task is parked until the next start of a node.
pub const MOST_ATTEMPTS: i64 = 20;

/// The first wait, in microseconds. It doubles with every failure ...
const FIRST_WAIT_US: i64 = 1_000_000;

/// ... up to this.
const LONGEST_WAIT_US: i64 = 3_600_000_000;

/// Characters kept of an error.
const ERROR_LENGTH: usize = 500;

/// Sets a task back after its step has failed for the `attempts`-th time in a row.
pub fn set_back(
    conn: &mut Conn<'_>,
    id: i64,
    attempts: i64,
    error: &str,
    now: Timestamp,
) -> QueryResult<()> {
    let error: String = error.chars().take(ERROR_LENGTH).collect();
    on!(conn, |c| diesel::update(fanout_tasks::table.filter(fanout_tasks::id.eq(id)))
        .set((
            fanout_tasks::attempts.eq(attempts),
            fanout_tasks::retry_at.eq(retry_at(attempts, now)),
            fanout_tasks::last_error.eq(error),
        ))
        .execute(c))?;
    Ok(())
}

fn retry_at(attempts: i64, now: Timestamp) -> Timestamp {
    if attempts >= MOST_ATTEMPTS {
        return Timestamp(i64::MAX);
    }
    let doublings = (attempts - 1).clamp(0, 20) as u32;
    let wait = FIRST_WAIT_US.saturating_mul(1 << doublings).min(LONGEST_WAIT_US);
    Timestamp(now.micros().saturating_add(wait))
}

/// Takes a task out of the rotation until `until`: it waits for something, and has not failed.
pub fn defer(conn: &mut Conn<'_>, id: i64, until: Timestamp) -> QueryResult<()> {
    on!(conn, |c| diesel::update(fanout_tasks::table.filter(fanout_tasks::id.eq(id)))
        .set(fanout_tasks::retry_at.eq(until))
        .execute(c))?;
    Ok(())
}

/// Puts a task back into the rotation after a step that went well.
pub fn recovered(conn: &mut Conn<'_>, id: i64) -> QueryResult<()> {
    on!(conn, |c| diesel::update(fanout_tasks::table.filter(fanout_tasks::id.eq(id)))
        .set((
            fanout_tasks::attempts.eq(0),
            fanout_tasks::retry_at.eq(None::<Timestamp>),
            fanout_tasks::last_error.eq(None::<String>),
        ))
        .execute(c))?;
    Ok(())
}

/// Puts every task that was set back or put off into the rotation, with a fresh set of attempts,
/// and returns how many there are: a node that starts may be the one with the remedy, and what a
/// task waited for may have ended with the node that had it in hand.
pub fn revive(conn: &mut Conn<'_>) -> QueryResult<usize> {
    on!(conn, |c| diesel::update(
        fanout_tasks::table
            .filter(fanout_tasks::finished_at.is_null().and(fanout_tasks::retry_at.is_not_null()))
    )
    .set((fanout_tasks::attempts.eq(0), fanout_tasks::retry_at.eq(None::<Timestamp>)))
    .execute(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_is_bounded_and_ends() {
        let wait = |attempts| retry_at(attempts, Timestamp(0)).micros();
        assert_eq!(wait(1), FIRST_WAIT_US);
        assert_eq!(wait(2), 2 * FIRST_WAIT_US);
        for attempts in 1..MOST_ATTEMPTS {
            assert!((FIRST_WAIT_US..=LONGEST_WAIT_US).contains(&wait(attempts)), "{attempts}");
        }
        assert_eq!(wait(MOST_ATTEMPTS), i64::MAX, "parked");
    }
}
