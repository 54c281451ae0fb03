//! Durable background work of the ordered writer. Its progress moves in the transaction of
//! each step, so a crash neither loses nor repeats one.

use diesel::prelude::*;

use super::schema::fanout_tasks;
use super::{Conn, ROWS_PER_STATEMENT, on};
use crate::time::Timestamp;

/// What a task does. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum TaskKind {
    /// Deliver a tweet to its author's followers. `progress`: id of the last follower done;
    /// `until_key`: the tweet's own time.
    Deliver = 1,
    /// Take a deleted tweet out of its followers' feeds. `progress`: id of the last follower
    /// done; `until_key`: id of the last follower to do.
    Retract = 2,
    /// Take an author's tweets out of the feed of a reader who has unfollowed them.
    /// `progress`: only entries older than this are left to look at.
    Sweep = 3,
    /// Count likes and comments of tweets that were never counted. `progress`: id of the last
    /// tweet done; `until_key`: id of the last one to do.
    CountTweets = 4,
    /// The same for the likes of comments.
    CountComments = 5,
    /// Put an author's latest tweets into a new follower's feed, after the sweep of an earlier
    /// unfollow is through. `until_key`: when the follow happened.
    Backfill = 6,
    /// Remove what belongs to a deleted tweet: comments, likes, photos, the row.
    Purge = 7,
}

impl TaskKind {
    /// The stored number.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The value of the metric label `kind`.
    pub fn label(self) -> &'static str {
        match self {
            TaskKind::Deliver => "deliver",
            TaskKind::Retract => "retract",
            TaskKind::Sweep => "sweep",
            TaskKind::CountTweets => "count_tweets",
            TaskKind::CountComments => "count_comments",
            TaskKind::Backfill => "backfill",
            TaskKind::Purge => "purge",
        }
    }

    /// The kind that a stored number stands for.
    pub fn from_code(code: i16) -> Option<TaskKind> {
        use TaskKind as K;
        [K::Deliver, K::Retract, K::Sweep, K::CountTweets, K::CountComments, K::Backfill, K::Purge]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

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
                    fanout_tasks::created_at.eq(at),
                )
            })
            .collect();
        on!(conn, |c| diesel::insert_into(fanout_tasks::table).values(&values).execute(c))?;
    }
    Ok(())
}

/// At most `limit` open tasks with an id above `after`, in id order.
pub fn open(conn: &mut Conn<'_>, after: i64, limit: usize) -> QueryResult<Vec<Task>> {
    type Row = (i64, i16, i64, i64, i64, i64, i64, i64, Timestamp);
    let rows: Vec<Row> = on!(conn, |c| fanout_tasks::table
        .filter(fanout_tasks::finished_at.is_null().and(fanout_tasks::id.gt(after)))
        .order(fanout_tasks::id)
        .limit(limit as i64)
        .select((
            fanout_tasks::id,
            fanout_tasks::kind,
            fanout_tasks::tweet_id,
            fanout_tasks::author_id,
            fanout_tasks::reader_id,
            fanout_tasks::progress,
            fanout_tasks::until_key,
            fanout_tasks::rows_done,
            fanout_tasks::created_at,
        ))
        .load(c))?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let (id, kind, tweet_id, author_id, reader_id, progress, until_key, done, at) = row;
            // A kind of a newer version is left to the nodes that know it.
            let kind = TaskKind::from_code(kind)?;
            Some(Task {
                id,
                kind,
                tweet_id,
                author_id,
                reader_id,
                progress,
                until_key,
                rows_done: done,
                created_at: at,
            })
        })
        .collect())
}

/// Moves a task on.
pub fn advance(conn: &mut Conn<'_>, id: i64, progress: i64, rows: usize) -> QueryResult<()> {
    on!(conn, |c| diesel::update(fanout_tasks::table.filter(fanout_tasks::id.eq(id)))
        .set((
            fanout_tasks::progress.eq(progress),
            fanout_tasks::rows_done.eq(fanout_tasks::rows_done + rows as i64),
        ))
        .execute(c))?;
    Ok(())
}

/// Ends a task.
pub fn finish(conn: &mut Conn<'_>, id: i64, rows: usize, at: Timestamp) -> QueryResult<()> {
    on!(conn, |c| diesel::update(fanout_tasks::table.filter(fanout_tasks::id.eq(id)))
        .set((
            fanout_tasks::finished_at.eq(at),
            fanout_tasks::rows_done.eq(fanout_tasks::rows_done + rows as i64),
        ))
        .execute(c))?;
    Ok(())
}

/// Ends the open delivery of a tweet. Whether there was one.
pub fn cancel_delivery(conn: &mut Conn<'_>, tweet_id: i64, at: Timestamp) -> QueryResult<bool> {
    let ended = on!(conn, |c| diesel::update(
        fanout_tasks::table
            .filter(fanout_tasks::tweet_id.eq(tweet_id))
            .filter(fanout_tasks::kind.eq(TaskKind::Deliver.code()))
            .filter(fanout_tasks::finished_at.is_null())
    )
    .set(fanout_tasks::finished_at.eq(at))
    .execute(c))?;
    Ok(ended > 0)
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

/// How many tasks are open, and when the oldest of them was added.
pub fn backlog(conn: &mut Conn<'_>) -> QueryResult<(i64, Option<Timestamp>)> {
    on!(conn, |c| fanout_tasks::table
        .filter(fanout_tasks::finished_at.is_null())
        .select((diesel::dsl::count_star(), diesel::dsl::min(fanout_tasks::created_at)))
        .first(c))
}
