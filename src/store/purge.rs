//! Removal of what belongs to a deleted tweet, in bounded steps.

use diesel::prelude::*;

use super::likes::{self, LikeKind};
use super::schema::tweets;
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

/// Removes at most about `limit` rows: first likes of the tweet's comments with the comments,
/// then the tweet's own likes. 0 when nothing is left.
pub fn comments_and_likes(conn: &mut Conn<'_>, tweet_id: i64, limit: usize) -> QueryResult<usize> {
    let limit = limit.min(super::ROWS_PER_STATEMENT) as i64;
    let next = comments::ids_of_tweet(conn, tweet_id, limit)?;
    if next.is_empty() {
        return likes::delete_of_objects(conn, LikeKind::Tweet, &[tweet_id], limit);
    }
    match likes::delete_of_objects(conn, LikeKind::Comment, &next, limit)? {
        0 => comments::delete(conn, &next),
        likes => Ok(likes),
    }
}
