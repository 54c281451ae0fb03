//! Steps of durable tasks: bounded work inside the transaction of a round.

use diesel::QueryResult;

use super::awaited::Awaited;
use super::commit::WriterConfig;
use super::effects::{Delivered, Effects};
use super::removal::{purge, retract, sweep, trim};
use crate::store::deliveries::Delivery;
use crate::store::tasks::{self, Task, TaskKind};
use crate::store::{self, Conn, StoreError, deliveries, friendships, newsfeeds, recount, tweets};
use crate::time::Timestamp;
use crate::timeline::{Amendment, Entry};

/// Rows of one statement of a delivery. Between two of them a step can be ended.
const STATEMENT_ROWS: usize = 4_000;

/// Limits of one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget<'a> {
    /// Rows that it writes at most.
    pub(super) share: usize,
    /// Entries that it looks at, if it is a removal from one feed.
    pub(super) sweep: usize,
    /// Tweets whose photos may be given to the photo store.
    pub(super) discards: usize,
    /// Who waits for the end of the round.
    pub(super) awaited: &'a Awaited,
}

/// How far a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The task goes on at `next`.
    Moved {
        /// Its new progress.
        next: i64,
        /// Rows written.
        rows: usize,
    },
    /// The task is finished.
    Done {
        /// Rows written.
        rows: usize,
    },
    /// Another task must come first.
    Blocked,
    /// The task waits for something outside the database, until then at most.
    PutOff(Timestamp),
}

impl Progress {
    /// `next` is `None` at the end of the task.
    pub(super) fn to(next: Option<i64>, rows: usize) -> Progress {
        match next {
            Some(next) => Progress::Moved { next, rows },
            None => Progress::Done { rows },
        }
    }
}

/// Moves one task on.
pub(super) fn step(
    conn: &mut Conn<'_>,
    config: WriterConfig,
    task: &Task,
    at: Timestamp,
    budget: Budget<'_>,
    effects: &mut Effects,
) -> Result<Progress, StoreError> {
    let share = budget.share;
    Ok(match task.kind {
        TaskKind::Deliver => deliver(conn, task, at, budget, effects)?,
        TaskKind::Retract => retract(conn, task, at, share, effects)?,
        TaskKind::Sweep => sweep(conn, task, budget.sweep, effects)?,
        TaskKind::Backfill => backfill(conn, config, task, effects)?,
        TaskKind::CountTweets => {
            let (next, rows) = recount::count_tweets(conn, task.progress, task.until_key, share)?;
            Progress::to(next, rows)
        }
        TaskKind::CountComments => {
            let (next, rows) = recount::count_comments(conn, task.progress, task.until_key, share)?;
            Progress::to(next, rows)
        }
        TaskKind::Purge => purge(conn, task, at, budget, effects)?,
        TaskKind::Trim => trim(conn, config, task, at, share)?,
        TaskKind::PurgeLikes => {
            let rows = store::purge::likes_of_comment(conn, task.until_key, share)?;
            Progress::to((rows > 0).then_some(task.progress + 1), rows)
        }
    })
}

/// Several statements, since one that has begun cannot be ended: a post waits for one of them,
/// and a commit is shared by many rows while nobody waits.
fn deliver(
    conn: &mut Conn<'_>,
    task: &Task,
    at: Timestamp,
    budget: Budget<'_>,
    effects: &mut Effects,
) -> QueryResult<Progress> {
    let mut readers: Vec<i64> = Vec::new();
    let mut after = task.progress;
    let is_done = loop {
        let limit = STATEMENT_ROWS.min(budget.share - readers.len());
        let served = deliveries::deliver(
            conn,
            Delivery {
                tweet_id: task.tweet_id,
                author_id: task.author_id,
                followed_before: Timestamp(task.until_key),
                at,
                after,
                limit,
            },
        )?;
        after = served.last().copied().unwrap_or(after);
        let is_last = served.len() < limit;
        readers.extend_from_slice(&served);
        if is_last {
            break true;
        }
        if readers.len() >= budget.share || budget.awaited.is_so() {
            break false;
        }
    };
    if is_done {
        tweets::set_delivered(conn, &[task.tweet_id], at)?;
    }
    let rows = readers.len();
    if rows > 0 {
        let entry = Entry { created_at: at, tweet_id: task.tweet_id };
        effects.deliveries.push(Delivered { entry, readers });
    }
    Ok(Progress::to((!is_done).then_some(after), rows))
}

fn backfill(
    conn: &mut Conn<'_>,
    config: WriterConfig,
    task: &Task,
    effects: &mut Effects,
) -> QueryResult<Progress> {
    let (reader, author) = (task.reader_id, task.author_id);
    if tasks::sweep_pending(conn, reader, author, task.id)? {
        return Ok(Progress::Blocked);
    }
    let followed_at = Timestamp(task.until_key);
    // Unfollowed meanwhile, or followed anew, which has a task of its own.
    if friendships::since(conn, reader, author)? != Some(followed_at) {
        return Ok(Progress::Done { rows: 0 });
    }
    let added = newsfeeds::backfill(conn, reader, author, followed_at, config.backfill)?;
    let rows = added.len();
    effects.amend(reader, Amendment::Added(added));
    Ok(Progress::Done { rows })
}
