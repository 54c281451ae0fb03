//! Who follows whom, with the counts and spans that go with it.

use diesel::prelude::*;

use super::prepared::Prepared;
use super::schema::{former_followers, friendships};
use super::{Conn, follow_spans, on};
use crate::time::Timestamp;

/// Which list of a user: those who follow them or those whom they follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Followers of the user.
    Followers,
    /// Whom the user follows.
    Followings,
}

/// One row of a followers or followings list: the other user, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Friend {
    /// The other user.
    pub user_id: i64,
    /// When the follow happened.
    pub created_at: Timestamp,
}

/// Adds the friendship and everything that is counted of it. `false` if it was there.
pub fn follow(conn: &mut Conn<'_>, from: i64, to: i64, at: Timestamp) -> QueryResult<bool> {
    let added = on!(conn, |c| diesel::insert_into(friendships::table)
        .values((
            friendships::from_user_id.eq(from),
            friendships::to_user_id.eq(to),
            friendships::created_at.eq(at),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    if added == 0 {
        return Ok(false);
    }
    count(conn, from, to, 1)?;
    follow_spans::add(conn, to, Side::Followers, at)?;
    follow_spans::add(conn, from, Side::Followings, at)?;
    Ok(true)
}

/// Ends the friendship. `false` if there was none.
pub fn unfollow(conn: &mut Conn<'_>, from: i64, to: i64) -> QueryResult<bool> {
    let since: Option<Timestamp> = on!(conn, |c| diesel::delete(
        friendships::table
            .filter(friendships::from_user_id.eq(from).and(friendships::to_user_id.eq(to)))
    )
    .returning(friendships::created_at)
    .get_result(c)
    .optional())?;
    let Some(since) = since else { return Ok(false) };
    count(conn, from, to, -1)?;
    follow_spans::remove(conn, to, Side::Followers, since)?;
    follow_spans::remove(conn, from, Side::Followings, since)?;
    Ok(true)
}

/// Writes down that `reader` keeps the author's tweets without following any more.
pub fn remember_reader(conn: &mut Conn<'_>, author: i64, reader: i64) -> QueryResult<()> {
    on!(conn, |c| diesel::insert_into(former_followers::table)
        .values((former_followers::author_id.eq(author), former_followers::reader_id.eq(reader)))
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(())
}

fn count(conn: &mut Conn<'_>, from: i64, to: i64, change: i64) -> QueryResult<()> {
    let query = Prepared {
        sql: "UPDATE profiles SET \
              followers_count = followers_count + CASE WHEN user_id = ? THEN ? ELSE 0 END, \
              followings_count = followings_count + CASE WHEN user_id = ? THEN ? ELSE 0 END \
              WHERE user_id IN (?, ?)",
        binds: &[to, change, from, change, from, to],
    };
    on!(conn, |c| query.execute(c)).map(|_| ())
}

/// Since when `from` follows `to`, if at all.
pub fn since(conn: &mut Conn<'_>, from: i64, to: i64) -> QueryResult<Option<Timestamp>> {
    on!(conn, |c| friendships::table
        .filter(friendships::from_user_id.eq(from).and(friendships::to_user_id.eq(to)))
        .select(friendships::created_at)
        .first(c)
        .optional())
}

/// The id of the `step`-th follower after `after`, in id order. `None` when fewer are left.
fn nth_follower(
    conn: &mut Conn<'_>,
    author: i64,
    after: i64,
    step: usize,
) -> QueryResult<Option<i64>> {
    on!(conn, |c| friendships::table
        .filter(friendships::to_user_id.eq(author).and(friendships::from_user_id.gt(after)))
        .order(friendships::from_user_id)
        .select(friendships::from_user_id)
        .offset(step.saturating_sub(1) as i64)
        .first(c)
        .optional())
}

/// The end of a chunk of a retraction: no more than `step` followers and no more than `step`
/// former ones who have kept the author's tweets lie between `after` and it. `None` when fewer
/// are left of either.
pub fn nth_holder(
    conn: &mut Conn<'_>,
    author: i64,
    after: i64,
    step: usize,
) -> QueryResult<Option<i64>> {
    let follower = nth_follower(conn, author, after, step)?;
    let former: Option<i64> = on!(conn, |c| former_followers::table
        .filter(former_followers::author_id.eq(author))
        .filter(former_followers::reader_id.gt(after))
        .order(former_followers::reader_id)
        .select(former_followers::reader_id)
        .offset(step.saturating_sub(1) as i64)
        .first(c)
        .optional())?;
    Ok(follower.into_iter().chain(former).min())
}

/// At most `limit` ids of those whom `user` follows, in id order after `after`.
pub fn followings_of(
    conn: &mut Conn<'_>,
    user: i64,
    after: i64,
    limit: usize,
) -> QueryResult<Vec<i64>> {
    on!(conn, |c| friendships::table
        .filter(friendships::from_user_id.eq(user).and(friendships::to_user_id.gt(after)))
        .order(friendships::to_user_id)
        .select(friendships::to_user_id)
        .limit(limit as i64)
        .load(c))
}

/// Which of `targets` the user follows.
pub fn followed_among(conn: &mut Conn<'_>, user: i64, targets: &[i64]) -> QueryResult<Vec<i64>> {
    on!(conn, |c| friendships::table
        .filter(friendships::from_user_id.eq(user))
        .filter(friendships::to_user_id.eq_any(targets.iter().copied()))
        .select(friendships::to_user_id)
        .load(c))
}

/// A page of followers or followings, newest first, older than `older_than`.
pub fn page(
    conn: &mut Conn<'_>,
    user: i64,
    side: Side,
    older_than: Timestamp,
    skip: usize,
    want: usize,
) -> QueryResult<Vec<Friend>> {
    let rows: Vec<(i64, Timestamp)> = match side {
        Side::Followers => on!(conn, |c| friendships::table
            .filter(friendships::to_user_id.eq(user))
            .filter(friendships::created_at.lt(older_than))
            .order(friendships::created_at.desc())
            .select((friendships::from_user_id, friendships::created_at))
            .offset(skip as i64)
            .limit(want as i64)
            .load(c)),
        Side::Followings => on!(conn, |c| friendships::table
            .filter(friendships::from_user_id.eq(user))
            .filter(friendships::created_at.lt(older_than))
            .order(friendships::created_at.desc())
            .select((friendships::to_user_id, friendships::created_at))
            .offset(skip as i64)
            .limit(want as i64)
            .load(c)),
    }?;
    Ok(rows.into_iter().map(|(user_id, created_at)| Friend { user_id, created_at }).collect())
}
