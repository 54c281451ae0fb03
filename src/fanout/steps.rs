//! Steps of durable tasks: bounded work, one transaction for a round of several tasks.

use diesel::QueryResult;

use super::commit::WriterConfig;
use super::effects::{Delivered, Effects, Finished, Removed};
use crate::store::newsfeeds::{Delivery, Retraction};
use crate::store::tasks::{self, NewTask, Task, TaskKind};
use crate::store::{Conn, StoreError, clock, friendships, newsfeeds, purge, recount, tweets};
use crate::time::Timestamp;
use crate::timeline::{Entry, TimelineKey};

/// Tasks that share a round.
pub(super) const ROUND_TASKS: usize = 16;

/// How much work one transaction takes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Rows that one round writes at most: a post waits for one round at most.
    pub(super) round_rows: usize,
    /// Fewest rows of a task's share, so that a round is worth its commit.
    pub(super) share_rows: usize,
    /// Entries that one step of a removal looks at.
    pub(super) sweep_rows: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { round_rows: 4_000, share_rows: 250, sweep_rows: 2_000 }
    }
}

/// What a round has done.
pub(super) struct Round {
    pub(super) effects: Effects,
    /// Where the next round goes on among the tasks.
    pub(super) rotation: i64,
    /// Whether there was anything to do.
    pub(super) worked: bool,
}

/// Takes the next open tasks after `rotation`, round and round, and moves each on by a share.
/// So a small author's tweet waits for a share of each large one's, and not for all of it.
pub(super) fn round(
    conn: &mut Conn<'_>,
    config: WriterConfig,
    pace: Pace,
    now: Timestamp,
    rotation: i64,
) -> Result<Round, StoreError> {
    // Moments first: this takes the lock that serialises the writers of all nodes.
    let mut moments = clock::reserve(conn, now, ROUND_TASKS)?;
    let mut open = tasks::open(conn, rotation, ROUND_TASKS)?;
    if open.is_empty() && rotation > 0 {
        open = tasks::open(conn, 0, ROUND_TASKS)?;
    }
    let mut effects = Effects::default();
    let share = (pace.round_rows / open.len().max(1)).max(pace.share_rows);
    let budget = Budget { share, sweep: pace.sweep_rows };
    for task in &open {
        step(conn, config, task, moments.take(), budget, &mut effects)?;
    }
    let rotation = if open.len() == ROUND_TASKS { open.last().map_or(0, |t| t.id) } else { 0 };
    Ok(Round { effects, rotation, worked: !open.is_empty() })
}

/// Rows of one step.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// Rows that it writes at most.
    share: usize,
    /// Entries that it looks at, if it is a removal from one feed.
    sweep: usize,
}

/// Moves one task on by a share of rows.
fn step(
    conn: &mut Conn<'_>,
    config: WriterConfig,
    task: &Task,
    at: Timestamp,
    budget: Budget,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let share = budget.share;
    let progress = match task.kind {
        TaskKind::Deliver => deliver(conn, task, at, share, effects)?,
        TaskKind::Retract => retract(conn, task, at, share, effects)?,
        TaskKind::Sweep => sweep(conn, task, budget.sweep, effects)?,
        TaskKind::Backfill => backfill(conn, config, task, effects)?,
        TaskKind::CountTweets => {
            recount::count_tweets(conn, task.progress, task.until_key, share)?.into()
        }
        TaskKind::CountComments => {
            recount::count_comments(conn, task.progress, task.until_key, share)?.into()
        }
        TaskKind::Purge => purge_step(conn, task, share, effects)?,
    };
    effects.rows += progress.rows;
    match progress.next {
        Some(next) if next == task.progress && progress.rows == 0 => {}
        Some(next) => tasks::advance(conn, task.id, next, progress.rows)?,
        None => {
            tasks::finish(conn, task.id, progress.rows, at)?;
            effects.finished.push(Finished {
                task_id: task.id,
                kind: task.kind,
                tweet_id: task.tweet_id,
                rows: task.rows_done + progress.rows as i64,
                added_at: task.created_at,
            });
        }
    }
    Ok(())
}

/// How far a step has come: `next` is the task's new progress, `None` its end.
pub(super) struct Progress {
    next: Option<i64>,
    rows: usize,
}

impl From<(Option<i64>, usize)> for Progress {
    fn from((next, rows): (Option<i64>, usize)) -> Self {
        Progress { next, rows }
    }
}

fn deliver(
    conn: &mut Conn<'_>,
    task: &Task,
    at: Timestamp,
    share: usize,
    effects: &mut Effects,
) -> QueryResult<Progress> {
    let end = friendships::nth_follower(conn, task.author_id, task.progress, share)?;
    let readers = newsfeeds::deliver(
        conn,
        Delivery {
            tweet_id: task.tweet_id,
            author_id: task.author_id,
            followed_before: Timestamp(task.until_key),
            at,
            after: task.progress,
            up_to: end.unwrap_or(i64::MAX),
        },
    )?;
    if end.is_none() {
        tweets::set_delivered(conn, &[task.tweet_id], at)?;
    }
    let rows = readers.len();
    if rows > 0 {
        let entry = Entry { created_at: at, tweet_id: task.tweet_id };
        effects.deliveries.push(Delivered { entry, readers });
    }
    Ok(Progress { next: end, rows })
}

fn retract(
    conn: &mut Conn<'_>,
    task: &Task,
    at: Timestamp,
    share: usize,
    effects: &mut Effects,
) -> QueryResult<Progress> {
    let purge = NewTask { tweet_id: task.tweet_id, ..NewTask::default() };
    let Some(tweet) = purge::tombstone(conn, task.tweet_id)? else {
        return Ok(Progress { next: None, rows: 0 });
    };
    let end = friendships::nth_follower(conn, task.author_id, task.progress, share)?
        .filter(|end| *end < task.until_key);
    let readers = newsfeeds::retract(
        conn,
        Retraction {
            tweet_id: task.tweet_id,
            author_id: task.author_id,
            from: tweet.created_at,
            until: tweet.delivered_at.unwrap_or(at),
            after: task.progress,
            up_to: end.unwrap_or(task.until_key),
        },
    )?;
    if end.is_none() {
        tasks::add(conn, TaskKind::Purge, &[purge], at)?;
        effects.tasks_added += 1;
    }
    let rows = readers.len();
    if rows > 0 {
        let keys = readers.into_iter().map(TimelineKey::Home).collect();
        effects.removals.push(Removed { tweet_id: task.tweet_id, keys });
    }
    Ok(Progress { next: end, rows })
}

fn sweep(
    conn: &mut Conn<'_>,
    task: &Task,
    scan: usize,
    effects: &mut Effects,
) -> QueryResult<Progress> {
    let before = Timestamp(task.progress);
    let (rows, rest) = newsfeeds::sweep(conn, task.reader_id, task.author_id, before, scan)?;
    if rows > 0 {
        effects.changed.push(TimelineKey::Home(task.reader_id));
    }
    Ok(Progress { next: rest.map(Timestamp::micros), rows })
}

fn backfill(
    conn: &mut Conn<'_>,
    config: WriterConfig,
    task: &Task,
    effects: &mut Effects,
) -> QueryResult<Progress> {
    let (reader, author) = (task.reader_id, task.author_id);
    if tasks::sweep_pending(conn, reader, author, task.id)? {
        return Ok(Progress { next: Some(task.progress), rows: 0 });
    }
    let followed_at = Timestamp(task.until_key);
    // Unfollowed meanwhile, or followed anew, which has a task of its own.
    if friendships::since(conn, reader, author)? != Some(followed_at) {
        return Ok(Progress { next: None, rows: 0 });
    }
    let rows = newsfeeds::backfill(conn, reader, author, followed_at, config.backfill)?;
    if rows > 0 {
        effects.changed.push(TimelineKey::Home(reader));
    }
    Ok(Progress { next: None, rows })
}

/// Photos first (`progress` 0): the rows that name them go only when the files are gone, so
/// that a crash between leaves no file without a name.
fn purge_step(
    conn: &mut Conn<'_>,
    task: &Task,
    share: usize,
    effects: &mut Effects,
) -> QueryResult<Progress> {
    if task.progress == 0 {
        let mut photos = tweets::photos(conn, &[task.tweet_id])?;
        effects.orphaned_media.extend(photos.remove(&task.tweet_id).unwrap_or_default());
        return Ok(Progress { next: Some(1), rows: 0 });
    }
    let rows = purge::comments_and_likes(conn, task.tweet_id, share)?;
    if rows > 0 {
        return Ok(Progress { next: Some(task.progress + 1), rows });
    }
    tweets::erase(conn, task.tweet_id)?;
    Ok(Progress { next: None, rows: 0 })
}
