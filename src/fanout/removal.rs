//! Steps that take something away: deleted tweets, authors unfollowed, what retention leaves out.

use diesel::QueryResult;

use super::commit::WriterConfig;
use super::effects::{Effects, Orphans, Removed};
use super::steps::{Budget, Progress};
use crate::store::deliveries::Retraction;
use crate::store::retention::{self, Trimmed};
use crate::store::tasks::{self, NewTask, Task, TaskKind};
use crate::store::{Conn, deliveries, friendships, newsfeeds, purge as belongings, tweets};
use crate::time::Timestamp;
use crate::timeline::{Amendment, TimelineKey};

/// How long the photo store has for the photos of one tweet, in microseconds. If the node dies
/// meanwhile, another one asks again after that.
const DISCARD_LEASE_US: i64 = 300_000_000;

/// How long a deletion waits when the photo store has enough to do, in microseconds.
const DISCARD_WAIT_US: i64 = 1_000_000;

pub(super) fn retract(
    conn: &mut Conn<'_>,
    task: &Task,
    at: Timestamp,
    share: usize,
    effects: &mut Effects,
) -> QueryResult<Progress> {
    let next = NewTask { tweet_id: task.tweet_id, ..NewTask::default() };
    let Some(tweet) = belongings::tombstone(conn, task.tweet_id)? else {
        return Ok(Progress::Done { rows: 0 });
    };
    let end = friendships::nth_holder(conn, task.author_id, task.progress, share)?
        .filter(|end| *end < task.until_key);
    let readers = deliveries::retract(
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
        tasks::add(conn, TaskKind::Purge, &[next], at)?;
        effects.tasks_added += 1;
    }
    let rows = readers.len();
    if rows > 0 {
        let keys = readers.into_iter().map(TimelineKey::Home).collect();
        effects.removals.push(Removed { tweet_id: task.tweet_id, keys });
    }
    Ok(Progress::to(end, rows))
}

pub(super) fn sweep(
    conn: &mut Conn<'_>,
    task: &Task,
    scan: usize,
    effects: &mut Effects,
) -> QueryResult<Progress> {
    let before = Timestamp(task.progress);
    let (gone, rest) = newsfeeds::sweep(conn, task.reader_id, task.author_id, before, scan)?;
    let rows = gone.len();
    effects.amend(task.reader_id, Amendment::Removed(gone));
    Ok(Progress::to(rest.map(Timestamp::micros), rows))
}

/// Photos first (`progress` 0): the rows that name them go only when the files are gone, so a
/// crash at any point leaves no file without a name.
pub(super) fn purge(
    conn: &mut Conn<'_>,
    task: &Task,
    at: Timestamp,
    budget: Budget<'_>,
    effects: &mut Effects,
) -> QueryResult<Progress> {
    if task.progress == 0 {
        let mut photos = tweets::photos(conn, &[task.tweet_id])?;
        let Some(urls) = photos.remove(&task.tweet_id) else {
            return Ok(Progress::Moved { next: 1, rows: 0 });
        };
        if budget.discards == 0 {
            return Ok(Progress::PutOff(Timestamp(at.micros() + DISCARD_WAIT_US)));
        }
        effects.orphans.push(Orphans { task: task.clone(), urls });
        return Ok(Progress::PutOff(Timestamp(at.micros() + DISCARD_LEASE_US)));
    }
    let rows = belongings::comments_and_likes(conn, task.tweet_id, budget.share)?;
    if rows > 0 {
        return Ok(Progress::Moved { next: task.progress + 1, rows });
    }
    tweets::erase(conn, task.tweet_id)?;
    Ok(Progress::Done { rows: 0 })
}

/// Nobody needs to be told: what goes is older than anything that is cached, since no feed is
/// trimmed below the number of entries that are cached of it.
pub(super) fn trim(
    conn: &mut Conn<'_>,
    config: WriterConfig,
    task: &Task,
    at: Timestamp,
    share: usize,
) -> QueryResult<Progress> {
    let Some(keep) = config.retention else { return Ok(Progress::Done { rows: 0 }) };
    let Trimmed { rows, next } =
        retention::trim(conn, task.progress, task.until_key, keep, share, at)?;
    Ok(Progress::to(next, rows))
}
