//! Rows of likes. Only the counter writes them, together with the counts they add up to.

use diesel::backend::Backend;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, SmallInt};

use super::schema::likes;
use super::{Conn, ROWS_PER_STATEMENT, on};
use crate::time::Timestamp;

/// What a like is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LikeKind {
    /// A tweet.
    Tweet = 1,
    /// A comment.
    Comment = 2,
}

impl LikeKind {
    /// The number in the column `kind`.
    pub fn code(self) -> i16 {
        self as i16
    }

    fn from_code(code: i16) -> LikeKind {
        if code == LikeKind::Tweet.code() { LikeKind::Tweet } else { LikeKind::Comment }
    }

    fn sql(self) -> &'static str {
        match self {
            LikeKind::Tweet => "1",
            LikeKind::Comment => "2",
        }
    }
}

/// Whose like of what: a user likes an object once at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LikeKey {
    /// Who likes.
    pub user_id: i64,
    /// What kind of object.
    pub kind: LikeKind,
    /// Id of the tweet or comment.
    pub object_id: i64,
}

/// A like as lists show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct LikeRow {
    /// Who likes.
    pub user_id: i64,
    /// Since when.
    pub created_at: Timestamp,
}

#[derive(Insertable)]
#[diesel(table_name = likes, treat_none_as_default_value = false)]
struct NewLike {
    user_id: i64,
    kind: i16,
    object_id: i64,
    created_at: Timestamp,
}

/// Those of `keys` that are there, with their times, in no order.
pub fn existing(conn: &mut Conn<'_>, keys: &[LikeKey]) -> QueryResult<Vec<(LikeKey, Timestamp)>> {
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(ROWS_PER_STATEMENT) {
        let rows: Vec<(i64, i16, i64, Timestamp)> = on!(conn, |c| Existing { keys }.load(c))?;
        found.extend(rows.into_iter().map(|(user_id, kind, object_id, created_at)| {
            (LikeKey { user_id, kind: LikeKind::from_code(kind), object_id }, created_at)
        }));
    }
    Ok(found)
}

/// Adds likes; those that are there stay as they are. Returns how many were added.
pub fn insert(conn: &mut Conn<'_>, rows: &[(LikeKey, Timestamp)]) -> QueryResult<usize> {
    let rows: Vec<NewLike> = rows
        .iter()
        .map(|&(key, created_at)| NewLike {
            user_id: key.user_id,
            kind: key.kind.code(),
            object_id: key.object_id,
            created_at,
        })
        .collect();
    let mut added = 0;
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        added += on!(conn, |c| diesel::insert_into(likes::table)
            .values(rows)
            .on_conflict_do_nothing()
            .execute(c))?;
    }
    Ok(added)
}

/// Removes likes. Returns how many were there.
pub fn delete(conn: &mut Conn<'_>, keys: &[LikeKey]) -> QueryResult<usize> {
    let mut removed = 0;
    for keys in keys.chunks(ROWS_PER_STATEMENT) {
        removed += on!(conn, |c| Delete { keys }.execute(c))?;
    }
    Ok(removed)
}

/// Those of `object_ids` that `user_id` likes.
pub fn liked_among(
    conn: &mut Conn<'_>,
    user_id: i64,
    kind: LikeKind,
    object_ids: &[i64],
) -> QueryResult<Vec<i64>> {
    on!(conn, |c| likes::table
        .filter(likes::user_id.eq(user_id))
        .filter(likes::kind.eq(kind.code()))
        .filter(likes::object_id.eq_any(object_ids))
        .select(likes::object_id)
        .load(c))
}

/// The newest `limit` likes of an object, newest first.
pub fn newest_of(
    conn: &mut Conn<'_>,
    kind: LikeKind,
    object_id: i64,
    limit: i64,
) -> QueryResult<Vec<LikeRow>> {
    on!(conn, |c| likes::table
        .filter(likes::kind.eq(kind.code()))
        .filter(likes::object_id.eq(object_id))
        .order(likes::created_at.desc())
        .limit(limit)
        .select((likes::user_id, likes::created_at))
        .load(c))
}

/// Removes up to `limit` likes of the objects, for objects that are gone; returns how many.
/// Fewer than `limit` means that none are left.
pub fn delete_of_objects(
    conn: &mut Conn<'_>,
    kind: LikeKind,
    object_ids: &[i64],
    limit: i64,
) -> QueryResult<usize> {
    let owned: Vec<(i64, i64)> = on!(conn, |c| likes::table
        .filter(likes::kind.eq(kind.code()))
        .filter(likes::object_id.eq_any(object_ids))
        .limit(limit)
        .select((likes::user_id, likes::object_id))
        .load(c))?;
    let keys: Vec<LikeKey> = owned
        .into_iter()
        .map(|(user_id, object_id)| LikeKey { user_id, kind, object_id })
        .collect();
    delete(conn, &keys)
}

/// Removes every like of the objects in one statement, by their index range. For a comment:
/// its likes are few enough for one transaction.
pub fn delete_all_of_objects(
    conn: &mut Conn<'_>,
    kind: LikeKind,
    object_ids: &[i64],
) -> QueryResult<usize> {
    on!(conn, |c| diesel::delete(
        likes::table
            .filter(likes::kind.eq(kind.code()))
            .filter(likes::object_id.eq_any(object_ids))
    )
    .execute(c))
}

/// `SELECT ... WHERE (user_id, kind, object_id) IN (VALUES ...)`, which diesel cannot say.
struct Existing<'a> {
    keys: &'a [LikeKey],
}

impl QueryId for Existing<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Existing<'_> {
    type SqlType = (BigInt, SmallInt, BigInt, BigInt);
}

/// `DELETE ... WHERE (user_id, kind, object_id) IN (VALUES ...)`.
struct Delete<'a> {
    keys: &'a [LikeKey],
}

impl QueryId for Delete<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C> RunQueryDsl<C> for Existing<'_> {}
impl<C> RunQueryDsl<C> for Delete<'_> {}

impl<DB> QueryFragment<DB> for Existing<'_>
where
    DB: Backend + HasSqlType<BigInt>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("SELECT user_id, kind, object_id, created_at FROM likes WHERE ");
        among(self.keys, out)
    }
}

impl<DB> QueryFragment<DB> for Delete<'_>
where
    DB: Backend + HasSqlType<BigInt>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("DELETE FROM likes WHERE ");
        among(self.keys, out)
    }
}

fn among<'b, DB>(keys: &'b [LikeKey], mut out: AstPass<'_, 'b, DB>) -> QueryResult<()>
where
    DB: Backend + HasSqlType<BigInt>,
    i64: ToSql<BigInt, DB>,
{
    // The text depends on the number of keys: caching it would keep a thousand statements.
    out.unsafe_to_cache_prepared();
    out.push_sql("(user_id, kind, object_id) IN (VALUES ");
    for (at, key) in keys.iter().enumerate() {
        out.push_sql(if at == 0 { "(" } else { ", (" });
        out.push_bind_param::<BigInt, _>(&key.user_id)?;
        out.push_sql(", ");
        out.push_sql(key.kind.sql());
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&key.object_id)?;
        out.push_sql(")");
    }
    out.push_sql(")");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;
    use crate::store::testing::databases;

    fn key(user_id: i64, kind: LikeKind, object_id: i64) -> LikeKey {
        LikeKey { user_id, kind, object_id }
    }

    #[test]
    fn likes_are_found_added_and_removed_by_key() {
        for test in databases() {
            let outcome = test.db.write_blocking(|conn| {
                let rows = [
                    (key(1, LikeKind::Tweet, 7), Timestamp(10)),
                    (key(1, LikeKind::Comment, 7), Timestamp(20)),
                    (key(2, LikeKind::Tweet, 7), Timestamp(30)),
                ];
                assert_eq!(insert(conn, &rows)?, 3, "{}", test.name);
                assert_eq!(insert(conn, &rows[..1])?, 0, "a second like changes nothing");
                let asked = [
                    rows[0].0,
                    rows[1].0,
                    key(2, LikeKind::Comment, 7),
                    key(1, LikeKind::Tweet, 8),
                ];
                let mut found = existing(conn, &asked)?;
                found.sort();
                assert_eq!(found, rows[..2]);
                let newest = newest_of(conn, LikeKind::Tweet, 7, 1)?;
                assert_eq!(newest, [LikeRow { user_id: 2, created_at: Timestamp(30) }]);
                assert_eq!(liked_among(conn, 1, LikeKind::Comment, &[6, 7])?, [7]);
                assert_eq!(delete(conn, &asked)?, 2);
                assert_eq!(delete_of_objects(conn, LikeKind::Tweet, &[7], 10)?, 1);
                Ok::<_, StoreError>(())
            });
            outcome.unwrap();
        }
    }

    #[test]
    fn a_purge_takes_no_more_than_its_limit() {
        for test in databases() {
            let rows: Vec<_> = (0..2_500)
                .map(|user_id| (key(user_id, LikeKind::Tweet, 1), Timestamp(user_id)))
                .collect();
            let outcome = test.db.write_blocking(|conn| {
                insert(conn, &rows)?;
                assert_eq!(delete_of_objects(conn, LikeKind::Tweet, &[1], 2_000)?, 2_000);
                assert_eq!(delete_of_objects(conn, LikeKind::Tweet, &[1], 2_000)?, 500);
                Ok::<_, StoreError>(())
            });
            outcome.unwrap();
        }
    }
}
