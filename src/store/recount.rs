//! Counting what was never counted: rows from before the count columns existed (NULL).

use std::collections::HashMap;

use diesel::dsl::count_star;
use diesel::prelude::*;

use super::repair::{self, IdRange};
use super::schema::{comments, likes, tweets};
use super::{Conn, on};

/// Counts likes and comments of the next `limit` tweets after `after`.
/// Returns where to go on (`None` past `until`), and how many rows were counted.
pub fn count_tweets(
    conn: &mut Conn<'_>,
    after: i64,
    until: i64,
    limit: usize,
) -> QueryResult<(Option<i64>, usize)> {
    let end: Option<i64> = on!(conn, |c| tweets::table
        .filter(tweets::id.gt(after).and(tweets::id.le(until)))
        .order(tweets::id)
        .select(tweets::id)
        .offset(limit as i64)
        .first(c)
        .optional())?;
    // The rows are locked before they are counted: a count must not overwrite what the Counter
    // has committed since.
    let rows = repair::tweets(conn, IdRange { after, up_to: end.unwrap_or(until) })?;
    Ok((end, rows))
}

/// The same for the likes of comments.
pub fn count_comments(
    conn: &mut Conn<'_>,
    after: i64,
    until: i64,
    limit: usize,
) -> QueryResult<(Option<i64>, usize)> {
    let end: Option<i64> = on!(conn, |c| comments::table
        .filter(comments::id.gt(after).and(comments::id.le(until)))
        .order(comments::id)
        .select(comments::id)
        .offset(limit as i64)
        .first(c)
        .optional())?;
    let rows = repair::comments(conn, IdRange { after, up_to: end.unwrap_or(until) })?;
    Ok((end, rows))
}

/// Likes and comments of each of these tweets, counted now.
pub fn of_tweets(conn: &mut Conn<'_>, ids: &[i64]) -> QueryResult<HashMap<i64, (i64, i64)>> {
    let mut counts: HashMap<i64, (i64, i64)> = ids.iter().map(|id| (*id, (0, 0))).collect();
    let liked: Vec<(i64, i64)> = on!(conn, |c| likes::table
        .filter(likes::kind.eq(1_i16).and(likes::object_id.eq_any(ids.iter().copied())))
        .group_by(likes::object_id)
        .select((likes::object_id, count_star()))
        .load(c))?;
    let commented: Vec<(i64, i64)> = on!(conn, |c| comments::table
        .filter(comments::tweet_id.eq_any(ids.iter().copied()))
        .group_by(comments::tweet_id)
        .select((comments::tweet_id, count_star()))
        .load(c))?;
    for (id, likes) in liked {
        counts.entry(id).or_default().0 = likes;
    }
    for (id, comments) in commented {
        counts.entry(id).or_default().1 = comments;
    }
    Ok(counts)
}
