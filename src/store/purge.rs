//! Removal of what belongs to a deleted tweet, in bounded steps.

use diesel::prelude::*;

use super::likes::{self, LikeKind};
use super::schema::{fanout_tasks, tweet_photos, tweets};
use super::tweets::Standing;
use super::{Conn, comments, on};

/// A deleted tweet that still has a row.
pub fn tombstone(conn: &mut Conn<'_>, id: i64) -> QueryResult<Option<Standing>> {
    on!(conn, |c| tweets::table
        .filter(tweets::id.eq(id).and(tweets::deleted_at.is_not_null()))
        .select((tweets::user_id, tweets::created_at, tweets::delivered_at))
        .first(c)
        .optional())
}

/// Removes the rows that name a deleted tweet's photos, after the files are gone, and lets the
/// task that waited for it go on.
pub fn photos_are_gone(conn: &mut Conn<'_>, task_id: i64, tweet_id: i64) -> QueryResult<()> {
    on!(conn, |c| diesel::delete(tweet_photos::table.filter(tweet_photos::tweet_id.eq(tweet_id)))
        .execute(c))?;
    on!(conn, |c| diesel::update(fanout_tasks::table.filter(fanout_tasks::id.eq(task_id)))
        .filter(fanout_tasks::progress.eq(0))
        .set((
            fanout_tasks::progress.eq(1),
            fanout_tasks::attempts.eq(0),
            fanout_tasks::retry_at.eq(None::<i64>),
            fanout_tasks::last_error.eq(None::<String>),
        ))
        .execute(c))?;
    Ok(())
}

/// Removes at most `limit` rows: first likes of the tweet's comments, then these comments, then
/// the tweet's own likes. 0 when nothing is left.
pub fn comments_and_likes(conn: &mut Conn<'_>, tweet_id: i64, limit: usize) -> QueryResult<usize> {
    let limit = limit.min(super::ROWS_PER_STATEMENT) as i64;
    // A like that was under way when the tweet went has the lock of its comment: with the locks
    // held, what is read next is all there will ever be.
    let next = comments::lock_oldest_of_tweet(conn, tweet_id, limit)?;
    if next.is_empty() {
        return likes::delete_of_objects(conn, LikeKind::Tweet, &[tweet_id], limit);
    }
    match likes::delete_of_objects(conn, LikeKind::Comment, &next, limit)? {
        0 => comments::delete(conn, &next),
        likes => Ok(likes),
    }
}

/// Removes at most `limit` likes of a comment that is gone. 0 when nothing is left.
pub fn likes_of_comment(conn: &mut Conn<'_>, comment_id: i64, limit: usize) -> QueryResult<usize> {
    let limit = limit.min(super::ROWS_PER_STATEMENT) as i64;
    likes::delete_of_objects(conn, LikeKind::Comment, &[comment_id], limit)
}
