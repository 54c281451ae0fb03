//! Durable background work of the ordered writer. Its progress moves in the transaction of
//! each step, so a crash neither loses nor repeats one.

mod backlog;
mod kind;
mod setback;
mod turns;

use diesel::prelude::*;

use super::prepared::Prepared;
use super::schema::fanout_tasks;
use super::{Conn, ROWS_PER_STATEMENT, on};
use crate::time::Timestamp;

pub use self::backlog::{Backlog, backlog};
pub use self::kind::TaskKind;
pub use self::setback::{MOST_ATTEMPTS, defer, recovered, revive, set_back};
pub use self::turns::{Queue, Turns, turns};

/// An open task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id; tasks are taken in this order, round and round.
    pub id: i64,
    /// What it does.
    pub kind: TaskKind,
    /// The tweet it is about, or 0.
    pub tweet_id: i64,
    /// The author it is about, or 0.
    pub author_id: i64,
    /// The reader it is about, or 0.
    pub reader_id: i64,
    /// How far it has come; see [`TaskKind`].
    pub progress: i64,
    /// Where it ends; see [`TaskKind`].
    pub until_key: i64,
    /// Rows written so far.
    pub rows_done: i64,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it is tried again, if it was set back or put off.
    pub retry_at: Option<Timestamp>,
    /// Failures since its last step that went well.
    pub attempts: i64,
    /// Microseconds spent in its steps so far.
    pub work_us: i64,
}

/// A task to be added.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewTask {
    /// The tweet, or 0.
    pub tweet_id: i64,
    /// The author, or 0.
    pub author_id: i64,
    /// The reader, or 0.
    pub reader_id: i64,
    /// Where it begins.
    pub progress: i64,
    /// Where it ends.
    pub until_key: i64,
    /// Rows written before it was added.
    pub rows_done: i64,
    /// Set when it was done on the spot and is kept as a record only.
    pub finished_at: Option<Timestamp>,
}

/// What one step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Rows written.
    pub rows: usize,
    /// How long it took, in microseconds.
    pub took_us: i64,
}

/// Adds tasks of one kind.
pub fn add(conn: &mut Conn<'_>, kind: TaskKind, new: &[NewTask], at: Timestamp) -> QueryResult<()> {
    for chunk in new.chunks(ROWS_PER_STATEMENT) {
        let values: Vec<_> = chunk
            .iter()
            .map(|task| {
                (
                    fanout_tasks::kind.eq(kind.code()),
                    fanout_tasks::tweet_id.eq(task.tweet_id),
                    fanout_tasks::author_id.eq(task.author_id),
                    fanout_tasks::reader_id.eq(task.reader_id),
                    fanout_tasks::progress.eq(task.progress),
                    fanout_tasks::until_key.eq(task.until_key),
                    fanout_tasks::rows_done.eq(task.rows_done),
                    fanout_tasks::created_at.eq(at),
                    fanout_tasks::finished_at.eq(task.finished_at),
                )
            })
            .collect();
        on!(conn, |c| diesel::insert_into(fanout_tasks::table).values(&values).execute(c))?;
    }
    Ok(())
}

type Row = (i64, i16, i64, i64, i64, i64, i64, i64, Timestamp, Option<Timestamp>, i64, i64);

/// The columns of a [`Row`].
#[diesel::dsl::auto_type(no_type_alias)]
fn columns() -> _ {
    (
        fanout_tasks::id,
        fanout_tasks::kind,
        fanout_tasks::tweet_id,
        fanout_tasks::author_id,
        fanout_tasks::reader_id,
        fanout_tasks::progress,
        fanout_tasks::until_key,
        fanout_tasks::rows_done,
        fanout_tasks::created_at,
        fanout_tasks::retry_at,
        fanout_tasks::attempts,
        fanout_tasks::work_us,
    )
}

fn task(row: Row) -> Option<Task> {
    let (id, kind, tweet_id, author_id, reader_id, progress, until_key, rows_done, ..) = row;
    let (.., created_at, retry_at, attempts, work_us) = row;
    Some(Task {
        id,
        kind: TaskKind::from_code(kind)?,
        tweet_id,
        author_id,
        reader_id,
        progress,
        until_key,
        rows_done,
        created_at,
        retry_at,
        attempts,
        work_us,
    })
}

/// Moves a task on.
pub fn advance(conn: &mut Conn<'_>, id: i64, progress: i64, work: Work) -> QueryResult<()> {
    let query = Prepared {
        sql: "UPDATE fanout_tasks SET progress = ?, rows_done = rows_done + ?, \
              work_us = work_us + ? WHERE id = ?",
        binds: &[progress, work.rows as i64, work.took_us, id],
    };
    on!(conn, |c| query.execute(c)).map(|_| ())
}

/// Ends a task.
pub fn finish(conn: &mut Conn<'_>, id: i64, work: Work, at: Timestamp) -> QueryResult<()> {
    let query = Prepared {
        sql: "UPDATE fanout_tasks SET finished_at = ?, rows_done = rows_done + ?, \
              work_us = work_us + ? WHERE id = ?",
        binds: &[at.micros(), work.rows as i64, work.took_us, id],
    };
    on!(conn, |c| query.execute(c)).map(|_| ())
}

/// Ends the open delivery of a tweet and returns it as it was.
pub fn cancel_delivery(
    conn: &mut Conn<'_>,
    tweet_id: i64,
    at: Timestamp,
) -> QueryResult<Option<Task>> {
    let rows: Vec<Row> = on!(conn, |c| diesel::update(
        fanout_tasks::table
            .filter(fanout_tasks::tweet_id.eq(tweet_id))
            .filter(fanout_tasks::kind.eq(TaskKind::Deliver.code()))
            .filter(fanout_tasks::finished_at.is_null())
    )
    .set(fanout_tasks::finished_at.eq(at))
    .returning(columns())
    .get_results(c))?;
    Ok(rows.into_iter().find_map(task))
}

/// Whether an older task for this reader and author must be done first. `before`: only tasks
/// with a smaller id count.
pub fn sweep_pending(
    conn: &mut Conn<'_>,
    reader: i64,
    author: i64,
    before: i64,
) -> QueryResult<bool> {
    let kinds = [TaskKind::Sweep.code(), TaskKind::Backfill.code()];
    let found: Option<i64> = on!(conn, |c| fanout_tasks::table
        .filter(fanout_tasks::reader_id.eq(reader).and(fanout_tasks::author_id.eq(author)))
        .filter(fanout_tasks::kind.eq_any(kinds))
        .filter(fanout_tasks::finished_at.is_null().and(fanout_tasks::id.lt(before)))
        .select(fanout_tasks::id)
        .first(c)
        .optional())?;
    Ok(found.is_some())
}
