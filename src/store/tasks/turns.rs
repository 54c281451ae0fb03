//! Which tasks may have a turn now.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, SmallInt};

use super::{Task, TaskKind};
use crate::store::prepared::Prepared;
use crate::store::{Conn, on};
use crate::time::Timestamp;

/// Most tasks of one queue.
const MOST: i64 = 16;

/// Where the queues stand.
#[derive(Debug, Clone, Copy)]
pub struct Turns {
    /// Tasks that were set back are taken if their time is up to this.
    pub now: Timestamp,
    /// Tasks above this id have had no turn yet.
    pub fresh: i64,
    /// This lap goes on above this id ...
    pub at: i64,
    /// ... up to this one.
    pub lap_end: i64,
}

/// What a task may be taken from. A task may be in two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// It was set back, and its time has come.
    Retry,
    /// It has had no turn yet.
    Fresh,
    /// The rest of this lap.
    Lap,
    /// The next lap: everything that is not fresh, from the beginning.
    NextLap,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    queue: i64,
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = SmallInt)]
    kind: i16,
    #[diesel(sql_type = BigInt)]
    tweet_id: i64,
    #[diesel(sql_type = BigInt)]
    author_id: i64,
    #[diesel(sql_type = BigInt)]
    reader_id: i64,
    #[diesel(sql_type = BigInt)]
    progress: i64,
    #[diesel(sql_type = BigInt)]
    until_key: i64,
    #[diesel(sql_type = BigInt)]
    rows_done: i64,
    #[diesel(sql_type = BigInt)]
    created_at: Timestamp,
    #[diesel(sql_type = Nullable<BigInt>)]
    retry_at: Option<Timestamp>,
    #[diesel(sql_type = BigInt)]
    attempts: i64,
    #[diesel(sql_type = BigInt)]
    work_us: i64,
}

macro_rules! queue {
    ($number:literal, $condition:literal, $order:literal) => {
        concat!(
            "SELECT * FROM (SELECT CAST(",
            $number,
            " AS BIGINT) AS queue, id, kind, tweet_id, author_id, reader_id, progress, \
             until_key, rows_done, created_at, retry_at, attempts, work_us FROM fanout_tasks \
             WHERE finished_at IS NULL AND kind BETWEEN 1 AND 9 AND ",
            $condition,
            " ORDER BY ",
            $order,
            " LIMIT ?) AS q",
            $number
        )
    };
}

/// One statement for all queues: the writer's lock is held meanwhile.
const TURNS: &str = concat!(
    queue!("0", "retry_at <= ?", "retry_at"),
    " UNION ALL ",
    queue!("1", "retry_at IS NULL AND id > ?", "id"),
    " UNION ALL ",
    queue!("2", "retry_at IS NULL AND id > ? AND id <= ?", "id"),
    " UNION ALL ",
    queue!("3", "retry_at IS NULL AND id <= ?", "id"),
);

/// The first tasks of each queue, in the order of the queues and within them.
pub fn turns(conn: &mut Conn<'_>, at: Turns) -> QueryResult<Vec<(Queue, Task)>> {
    let now = at.now.micros();
    let query = Prepared {
        sql: TURNS,
        binds: &[now, MOST, at.fresh, MOST, at.at, at.lap_end, MOST, at.fresh, MOST],
    };
    let mut rows: Vec<Row> = on!(conn, |c| query.load(c))?;
    rows.sort_by_key(|row| match row.queue {
        0 => (0, row.retry_at.map_or(0, Timestamp::micros)),
        queue => (queue, row.id),
    });
    let known = rows.into_iter().filter_map(|row| {
        let queue = match row.queue {
            0 => Queue::Retry,
            1 => Queue::Fresh,
            2 => Queue::Lap,
            _ => Queue::NextLap,
        };
        Some((queue, row.task()?))
    });
    Ok(known.collect())
}

impl Row {
    fn task(self) -> Option<Task> {
        Some(Task {
            id: self.id,
            kind: TaskKind::from_code(self.kind)?,
            tweet_id: self.tweet_id,
            author_id: self.author_id,
            reader_id: self.reader_id,
            progress: self.progress,
            until_key: self.until_key,
            rows_done: self.rows_done,
            created_at: self.created_at,
            retry_at: self.retry_at,
            attempts: self.attempts,
            work_us: self.work_us,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_asks_for_the_known_kinds() {
        let codes: Vec<i16> = TaskKind::ALL.into_iter().map(TaskKind::code).collect();
        assert_eq!(codes, (1..=9).collect::<Vec<i16>>(), "kind BETWEEN 1 AND 9");
    }
}
