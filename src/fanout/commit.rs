//! One transaction of the ordered writer: a group of posts, follows, unfollows and deletes.

use std::sync::Arc;

use diesel::QueryResult;

use super::effects::{Effects, Finished, Removed};
use super::ops::{Op, Outcome};
use super::posts::PostGroup;
use super::rounds::Pace;
use crate::store::tasks::{self, NewTask, TaskKind};
use crate::store::{Conn, StoreError, clock, friendships, newsfeeds, tweets};
use crate::time::Timestamp;
use crate::timeline::{Amendment, Range, TimelineKey};

/// The writer's settings.
#[derive(Debug, Clone, Copy)]
pub struct WriterConfig {
    /// Tweets back-filled on follow.
    pub backfill: u32,
    /// Whether an unfollow removes the author's tweets from the feed.
    pub remove_on_unfollow: bool,
    /// Entries kept of each feed; `None`: all. No fewer than are cached of a timeline.
    pub retention: Option<u64>,
}

/// Carries out `ops` as if one after another: each has its moment, in the order of `ops`.
///
/// The posts are written first, in bulk. That is the same as in order, since whatever asks
/// for "tweets before this follow", "followers before this tweet" or "the tweet to delete" compares
/// the moments; only whether an author has followers, and whether a tweet is still to be delivered,
/// is looked up after the rest of the group.
pub(super) fn commit(
    conn: &mut Conn<'_>,
    config: WriterConfig,
    pace: Pace,
    now: Timestamp,
    ops: &[Arc<Op>],
) -> Result<(Vec<Outcome>, Effects), StoreError> {
    let mut moments = clock::reserve(conn, now, ops.len())?;
    let dated: Vec<(&Op, Timestamp)> = ops.iter().map(|op| (op.as_ref(), moments.take())).collect();
    let mut effects = Effects::default();
    let mut posts = PostGroup::write(conn, now, &dated, &mut effects)?;
    let mut outcomes = Vec::with_capacity(ops.len());
    for (op, at) in dated {
        outcomes.push(match op {
            Op::Post(_) => posts.next_outcome()?,
            // By somebody who guessed its id.
            Op::Delete { tweet_id, .. } if posts.is_to_come(*tweet_id, at) => Outcome::NotFound,
            Op::Delete { user_id, tweet_id } => {
                delete(conn, *user_id, *tweet_id, at, &mut effects)?
            }
            Op::Follow { from, to } => follow(conn, (config, pace), *from, *to, at, &mut effects)?,
            Op::Unfollow { from, to } => {
                let sweep_rows = config.remove_on_unfollow.then_some(pace.sweep_rows);
                unfollow(conn, sweep_rows, *from, *to, at, &mut effects)?
            }
            Op::Purge { reader, entries } => {
                newsfeeds::remove(conn, *reader, entries)?;
                effects.amend(*reader, Amendment::Removed(entries.clone()));
                Outcome::Purged
            }
        });
    }
    posts.add_deliveries(conn, &mut effects)?;
    Ok((outcomes, effects))
}

/// Makes a tweet a tombstone and stops its delivery; tasks take it out of feeds and remove
/// what belongs to it.
fn delete(
    conn: &mut Conn<'_>,
    user_id: i64,
    tweet_id: i64,
    at: Timestamp,
    effects: &mut Effects,
) -> QueryResult<Outcome> {
    let Some(tweet) = tweets::standing(conn, tweet_id)? else {
        return Ok(Outcome::NotFound);
    };
    if tweet.user_id != user_id {
        return Ok(Outcome::Forbidden);
    }
    tweets::bury(conn, tweet_id, tweet, at)?;
    if let Some(task) = tasks::cancel_delivery(conn, tweet_id, at)? {
        effects.finished.push(Finished::cancelled(&task));
    }
    // To the last follower, however far the delivery had come: who followed meanwhile has the
    // tweet from the back-fill.
    let retraction =
        NewTask { tweet_id, author_id: user_id, until_key: i64::MAX, ..NewTask::default() };
    tasks::add(conn, TaskKind::Retract, &[retraction], at)?;
    effects.tasks_added += 1;
    effects.dead_tweets.push(tweet_id);
    effects.removals.push(Removed {
        tweet_id,
        keys: vec![TimelineKey::Author(user_id), TimelineKey::Home(user_id)],
    });
    Ok(Outcome::Deleted)
}

fn follow(
    conn: &mut Conn<'_>,
    writer: (WriterConfig, Pace),
    from: i64,
    to: i64,
    at: Timestamp,
    effects: &mut Effects,
) -> QueryResult<Outcome> {
    if !friendships::follow(conn, from, to, at)? {
        return Ok(Outcome::Followed(false));
    }
    effects.friendships.push((from, to));
    let (WriterConfig { backfill, .. }, pace) = writer;
    if backfill == 0 {
        return Ok(Outcome::Followed(true));
    }
    // An earlier unfollow may still be swept: what were put in now would go again.
    let swept = tasks::sweep_pending(conn, from, to, i64::MAX)?;
    if !swept {
        let added = newsfeeds::backfill(conn, from, to, at, backfill.min(pace.backfill_rows))?;
        effects.amend(from, Amendment::Added(added));
    }
    if swept || backfill > pace.backfill_rows && has_more(conn, to, at, pace.backfill_rows)? {
        let task = NewTask {
            author_id: to,
            reader_id: from,
            until_key: at.micros(),
            ..NewTask::default()
        };
        tasks::add(conn, TaskKind::Backfill, &[task], at)?;
        effects.tasks_added += 1;
    }
    Ok(Outcome::Followed(true))
}

/// Whether the author has more than `count` tweets older than `before`.
fn has_more(conn: &mut Conn<'_>, author: i64, before: Timestamp, count: u32) -> QueryResult<bool> {
    let want = count as usize + 1;
    Ok(tweets::page(conn, author, Range::ALL.below(before), want)?.len() == want)
}

/// `sweep_rows`: entries that may be looked at right away, if the author's are to go.
fn unfollow(
    conn: &mut Conn<'_>,
    sweep_rows: Option<usize>,
    from: i64,
    to: i64,
    at: Timestamp,
    effects: &mut Effects,
) -> QueryResult<Outcome> {
    if !friendships::unfollow(conn, from, to)? {
        return Ok(Outcome::Unfollowed(false));
    }
    effects.friendships.push((from, to));
    let (removed, rest) = match sweep_rows {
        Some(scan) => newsfeeds::sweep(conn, from, to, at, scan)?,
        None => {
            friendships::remember_reader(conn, to, from)?;
            (Vec::new(), None)
        }
    };
    // Added also when nothing is left to do: it is the record of the unfollow for those who ask
    // why a tweet is not there.
    let task = NewTask {
        author_id: to,
        reader_id: from,
        progress: rest.map_or(0, Timestamp::micros),
        rows_done: removed.len() as i64,
        finished_at: rest.is_none().then_some(at),
        ..NewTask::default()
    };
    tasks::add(conn, TaskKind::Sweep, &[task], at)?;
    effects.amend(from, Amendment::Removed(removed));
    effects.tasks_added += usize::from(rest.is_some());
    Ok(Outcome::Unfollowed(true))
}
