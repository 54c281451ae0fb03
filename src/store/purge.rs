//! Removal of what belongs to a deleted tweet, in bounded steps.

use diesel::prelude::*;

use super::schema::{comments, likes, tweets};
use super::tweets::Standing;
use super::{Conn, on};

const LIKE_OF_TWEET: i16 = 1;
const LIKE_OF_COMMENT: i16 = 2;

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
    let next: Vec<i64> = on!(conn, |c| comments::table
        .filter(comments::tweet_id.eq(tweet_id))
        .order(comments::created_at)
        .select(comments::id)
        .limit(limit.min(super::ROWS_PER_STATEMENT) as i64)
        .load(c))?;
    if next.is_empty() {
        return likes_of(conn, LIKE_OF_TWEET, &[tweet_id], limit);
    }
    let likes = likes_of(conn, LIKE_OF_COMMENT, &next, limit)?;
    if likes > 0 {
        return Ok(likes);
    }
    on!(conn, |c| diesel::delete(comments::table.filter(comments::id.eq_any(next.iter().copied())))
        .execute(c))
}

/// Removes at most `limit` likes of these objects.
fn likes_of(conn: &mut Conn<'_>, kind: i16, objects: &[i64], limit: usize) -> QueryResult<usize> {
    let mut removed = 0;
    let keys: Vec<(i64, i64)> = on!(conn, |c| likes::table
        .filter(likes::kind.eq(kind))
        .filter(likes::object_id.eq_any(objects.iter().copied()))
        .select((likes::user_id, likes::object_id))
        .limit(limit as i64)
        .load(c))?;
    for object in objects {
        let users: Vec<i64> =
            keys.iter().filter(|(_, of)| of == object).map(|(user, _)| *user).collect();
        for chunk in users.chunks(super::ROWS_PER_STATEMENT) {
            removed += on!(conn, |c| diesel::delete(
                likes::table
                    .filter(likes::kind.eq(kind).and(likes::object_id.eq(*object)))
                    .filter(likes::user_id.eq_any(chunk.iter().copied()))
            )
            .execute(c))?;
        }
    }
    Ok(removed)
}
