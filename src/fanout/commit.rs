//! One transaction of the ordered writer: a group of posts, follows, unfollows and deletes.

use std::sync::Arc;

use diesel::QueryResult;

use super::effects::{Effects, Removed};
use super::ops::{Op, Outcome};
use super::posts::PostGroup;
use super::steps::Pace;
use crate::store::tasks::{self, NewTask, TaskKind};
use crate::store::{Conn, StoreError, clock, friendships, newsfeeds, tweets};
use crate::time::Timestamp;
use crate::timeline::TimelineKey;

/// The writer's settings.
#[derive(Debug, Clone, Copy)]
pub struct WriterConfig {
    /// Tweets back-filled on follow.
    pub backfill: u32,
    /// Whether an unfollow removes the author's tweets from the feed.
    pub remove_on_unfollow: bool,
}

/// Carries out `ops` as if one after another: each has its moment, in the order of `ops`.
///
/// The posts are written first, in bulk. That is the same as in order, since whatever asks
/// for "tweets before this follow" or "followers before this tweet" compares the moments; only
/// whether an author has followers is looked up after the follows of the group.
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
            Op::Delete { user_id, tweet_id } => {
                delete(conn, *user_id, *tweet_id, at, &mut effects)?
            }
            Op::Follow { from, to } => follow(conn, config, *from, *to, at, &mut effects)?,
            Op::Unfollow { from, to } => {
                let sweep_rows = config.remove_on_unfollow.then_some(pace.sweep_rows);
                unfollow(conn, sweep_rows, *from, *to, at, &mut effects)?
            }
            Op::Purge { reader, entries } => {
                newsfeeds::remove(conn, *reader, entries)?;
                effects.changed.push(TimelineKey::Home(*reader));
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
    if tasks::cancel_delivery(conn, tweet_id, at)? {
        effects.finished.push(super::effects::Finished {
            task_id: 0,
            kind: TaskKind::Deliver,
            tweet_id,
            rows: 0,
            added_at: tweet.created_at,
        });
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
    config: WriterConfig,
    from: i64,
    to: i64,
    at: Timestamp,
    effects: &mut Effects,
) -> QueryResult<Outcome> {
    if !friendships::follow(conn, from, to, at)? {
        return Ok(Outcome::Followed(false));
    }
    effects.friendships.push((from, to));
    if config.backfill > 0 {
        if tasks::sweep_pending(conn, from, to, i64::MAX)? {
            // An earlier unfollow is still being swept: what were put in now would go again.
            let task = NewTask {
                author_id: to,
                reader_id: from,
                until_key: at.micros(),
                ..NewTask::default()
            };
            tasks::add(conn, TaskKind::Backfill, &[task], at)?;
            effects.tasks_added += 1;
        } else if newsfeeds::backfill(conn, from, to, at, config.backfill)? > 0 {
            effects.changed.push(TimelineKey::Home(from));
        }
    }
    Ok(Outcome::Followed(true))
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
    if let Some(scan) = sweep_rows {
        let (removed, rest) = newsfeeds::sweep(conn, from, to, at, scan)?;
        if removed > 0 {
            effects.changed.push(TimelineKey::Home(from));
        }
        if let Some(rest) = rest {
            let task = NewTask {
                author_id: to,
                reader_id: from,
                progress: rest.micros(),
                ..NewTask::default()
            };
            tasks::add(conn, TaskKind::Sweep, &[task], at)?;
            effects.tasks_added += 1;
        }
    }
    Ok(Outcome::Unfollowed(true))
}
