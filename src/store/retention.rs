//! Taking the oldest entries out of feeds that are longer than the retention.
//!
//! A feed keeps its newest entries without a gap: the oldest go first, whoever reads meanwhile.
//! `feed_trims` keeps for each reader how far it went, so that what is missing below is known
//! to be missing on purpose.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};

use super::schema::{fanout_tasks, feed_trims, newsfeeds, users};
use super::tasks::{self, NewTask, TaskKind};
use super::{Conn, on};
use crate::time::Timestamp;

/// Entries that one step skips over in order to find those that are too many.
const SKIPPED_PER_STEP: u64 = 200_000;

/// Readers that one step looks at.
const READERS_PER_STEP: u64 = 200;

/// How far a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// Entries removed.
    pub rows: usize,
    /// The last reader who is done; `None` at the end.
    pub next: Option<i64>,
}

#[derive(QueryableByName)]
struct Reader {
    #[diesel(sql_type = BigInt)]
    id: i64,
    /// The newest entry beyond the retention.
    #[diesel(sql_type = Nullable<BigInt>)]
    newest_to_go: Option<Timestamp>,
}

/// Looks at the next readers after `after` and up to `until`, and removes at most `limit`
/// entries of those whose feeds have more than `keep`.
pub fn trim(
    conn: &mut Conn<'_>,
    after: i64,
    until: i64,
    keep: u64,
    limit: usize,
    at: Timestamp,
) -> QueryResult<Trimmed> {
    let readers = (SKIPPED_PER_STEP / keep.max(1)).clamp(1, READERS_PER_STEP) as usize;
    let found = find(conn, after, until, keep, readers)?;
    let mut trimmed = Trimmed { rows: 0, next: Some(after) };
    for reader in &found {
        if let Some(newest) = reader.newest_to_go {
            let room = limit.saturating_sub(trimmed.rows);
            let (rows, all) = trim_one(conn, reader.id, newest, room, at)?;
            trimmed.rows += rows;
            if !all {
                return Ok(trimmed);
            }
        }
        trimmed.next = Some(reader.id);
    }
    if found.len() < readers {
        trimmed.next = None;
    }
    Ok(trimmed)
}

fn find(
    conn: &mut Conn<'_>,
    after: i64,
    until: i64,
    keep: u64,
    limit: usize,
) -> QueryResult<Vec<Reader>> {
    let query = diesel::sql_query(
        "SELECT id, (SELECT created_at FROM newsfeeds WHERE user_id = users.id \
             ORDER BY created_at DESC LIMIT 1 OFFSET $1) AS newest_to_go \
         FROM users WHERE id > $2 AND id <= $3 ORDER BY id LIMIT $4",
    )
    .bind::<BigInt, _>(i64::try_from(keep).unwrap_or(i64::MAX))
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(until)
    .bind::<BigInt, _>(limit as i64);
    on!(conn, |c| query.load(c))
}

/// Removes at most `limit` of the reader's entries up to `newest`, oldest first. Whether that
/// was all of them.
fn trim_one(
    conn: &mut Conn<'_>,
    reader: i64,
    newest: Timestamp,
    limit: usize,
    at: Timestamp,
) -> QueryResult<(usize, bool)> {
    if limit == 0 {
        return Ok((0, false));
    }
    let beyond: Option<Timestamp> = on!(conn, |c| newsfeeds::table
        .filter(newsfeeds::user_id.eq(reader).and(newsfeeds::created_at.le(newest)))
        .order(newsfeeds::created_at)
        .select(newsfeeds::created_at)
        .offset(limit as i64)
        .first(c)
        .optional())?;
    // Everything older than this goes in this step.
    let below = beyond.unwrap_or(Timestamp(newest.micros() + 1));
    let rows = on!(conn, |c| diesel::delete(
        newsfeeds::table.filter(newsfeeds::user_id.eq(reader).and(newsfeeds::created_at.lt(below)))
    )
    .execute(c))?;
    let query = diesel::sql_query(
        "INSERT INTO feed_trims (user_id, below, trimmed_at) VALUES ($1, $2, $3) \
         ON CONFLICT (user_id) DO UPDATE SET trimmed_at = excluded.trimmed_at, \
         below = CASE WHEN excluded.below > feed_trims.below THEN excluded.below \
             ELSE feed_trims.below END",
    )
    .bind::<BigInt, _>(reader)
    .bind::<BigInt, _>(below)
    .bind::<BigInt, _>(at);
    on!(conn, |c| query.execute(c))?;
    Ok((rows, beyond.is_none()))
}

/// Below which moment the reader's feed may have been trimmed, and when that happened last.
pub fn of_reader(conn: &mut Conn<'_>, reader: i64) -> QueryResult<Option<(Timestamp, Timestamp)>> {
    on!(conn, |c| feed_trims::table
        .filter(feed_trims::user_id.eq(reader))
        .select((feed_trims::below, feed_trims::trimmed_at))
        .first(c)
        .optional())
}

/// Adds a task that goes through all feeds, unless one is open or one has ended less
/// than `every_s` seconds ago. Whether it was added.
pub fn add_task(conn: &mut Conn<'_>, now: Timestamp, every_s: u64) -> QueryResult<bool> {
    // The writer's lock: two nodes that look at once do not both add one, and ids of tasks
    // become visible in their order.
    super::clock::hold(conn)?;
    let since = now.micros().saturating_sub((every_s as i64).saturating_mul(1_000_000));
    // An index of tasks begins with the tweet, which is 0 here.
    let recent: Option<i64> = on!(conn, |c| fanout_tasks::table
        .filter(fanout_tasks::tweet_id.eq(0))
        .filter(fanout_tasks::kind.eq(TaskKind::Trim.code()))
        .filter(fanout_tasks::finished_at.is_null().or(fanout_tasks::finished_at.ge(since)))
        .select(fanout_tasks::id)
        .first(c)
        .optional())?;
    let last: Option<i64> =
        on!(conn, |c| users::table.select(diesel::dsl::max(users::id)).first(c))?;
    match (recent, last) {
        (None, Some(last)) => {
            let task = NewTask { until_key: last, ..NewTask::default() };
            tasks::add(conn, TaskKind::Trim, &[task], now)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
