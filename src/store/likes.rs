//! Rows of likes. Only the counter writes them, together with the counts they add up to.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, SmallInt};

use super::rows::{AroundRows, Column, WithRows, on_rows, pieces};
use super::schema::likes;
use super::{Conn, Engine, on};
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

/// Those of `keys` that are there, with their times, in no order.
pub fn existing(conn: &mut Conn<'_>, keys: &[LikeKey]) -> QueryResult<Vec<(LikeKey, Timestamp)>> {
    let mut found = Vec::with_capacity(keys.len());
    for keys in pieces(conn.engine(), keys) {
        let rows: Vec<(i64, i16, i64, Timestamp)> =
            on_rows!(conn, Existing, columns(keys), |query, c| query.load(c))?;
        found.extend(rows.into_iter().map(|(user_id, kind, object_id, created_at)| {
            (LikeKey { user_id, kind: LikeKind::from_code(kind), object_id }, created_at)
        }));
    }
    Ok(found)
}

const WITH_KEYS: &str = "WITH k(user_id, kind, object_id) AS (";

/// The likes of the keys, by the primary key. With three equations Postgres, while it knows
/// little of the table, may as well take the index of the object, and read all likes of a
/// popular tweet for each key; two ranges of one row leave it no choice.
const OF_KEYS_POSTGRES: &str = ") SELECT l.user_id, l.kind, l.object_id, l.created_at \
     FROM k JOIN likes l ON l.user_id = k.user_id \
     AND (l.kind, l.object_id) >= (k.kind, k.object_id) \
     AND (l.kind, l.object_id) <= (k.kind, k.object_id)";

/// CROSS JOIN: SQLite then takes the keys first. It would read the whole table for
/// `(user_id, kind, object_id) IN (VALUES ...)`.
const OF_KEYS_SQLITE: &str = ") SELECT l.user_id, l.kind, l.object_id, l.created_at \
     FROM k CROSS JOIN likes l \
     WHERE l.user_id = k.user_id AND l.kind = k.kind AND l.object_id = k.object_id";

const DELETE_KEYS_POSTGRES: &str = ") DELETE FROM likes l USING k WHERE l.user_id = k.user_id \
     AND (l.kind, l.object_id) >= (k.kind, k.object_id) \
     AND (l.kind, l.object_id) <= (k.kind, k.object_id)";

struct Existing;

impl AroundRows for Existing {
    type Row = (BigInt, SmallInt, BigInt, BigInt);
    type Columns = [Column; 3];
    const POSTGRES: [&'static str; 2] = [WITH_KEYS, OF_KEYS_POSTGRES];
    const SQLITE: [&'static str; 2] = [WITH_KEYS, OF_KEYS_SQLITE];
}

/// For Postgres alone.
struct Delete;

impl AroundRows for Delete {
    type Row = ();
    type Columns = [Column; 3];
    const POSTGRES: [&'static str; 2] = [WITH_KEYS, DELETE_KEYS_POSTGRES];
}

struct Insert;

impl AroundRows for Insert {
    type Row = ();
    type Columns = [Column; 4];
    const POSTGRES: [&'static str; 2] =
        ["INSERT INTO likes (user_id, kind, object_id, created_at) ", " ON CONFLICT DO NOTHING"];
    /// FAIL: what fails takes its transaction with it, so SQLite need not copy each page to undo
    /// this statement alone.
    const SQLITE: [&'static str; 2] = [
        "INSERT OR FAIL INTO likes (user_id, kind, object_id, created_at) ",
        " ON CONFLICT DO NOTHING",
    ];
}

/// Adds likes; those that are there stay as they are. Returns how many were added.
pub fn insert(conn: &mut Conn<'_>, rows: &[(LikeKey, Timestamp)]) -> QueryResult<usize> {
    let mut added = 0;
    for rows in pieces(conn.engine(), rows) {
        let keys: Vec<LikeKey> = rows.iter().map(|(key, _)| *key).collect();
        let [users, kinds, objects] = columns(&keys);
        let times = Column::big(rows, |(_, created_at)| created_at.0);
        let columns = [users, kinds, objects, times];
        added += on_rows!(conn, Insert, columns, |query, c| query.execute(c))?;
    }
    Ok(added)
}

/// Removes likes. Returns how many were there.
pub fn delete(conn: &mut Conn<'_>, keys: &[LikeKey]) -> QueryResult<usize> {
    let mut removed = 0;
    match conn {
        Conn::Pg(c) => {
            for keys in pieces(Engine::Postgres, keys) {
                let query = WithRows::<Delete, 0>::new(columns(keys));
                removed += query.execute(&mut **c)?;
            }
        }
        // One by one: for a list of keys SQLite reads the whole table.
        Conn::Sqlite(c) => {
            for key in keys {
                let row = likes::table.find((key.user_id, key.kind.code(), key.object_id));
                removed += diesel::delete(row).execute(&mut **c)?;
            }
        }
    }
    Ok(removed)
}

fn columns(keys: &[LikeKey]) -> [Column; 3] {
    [
        Column::big(keys, |key| key.user_id),
        Column::small(keys, |key| key.kind.code()),
        Column::big(keys, |key| key.object_id),
    ]
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

/// The `limit` highest ids among what `user_id` likes, highest first: a range of the primary key.
pub fn highest_liked(
    conn: &mut Conn<'_>,
    user_id: i64,
    kind: LikeKind,
    limit: i64,
) -> QueryResult<Vec<i64>> {
    on!(conn, |c| likes::table
        .filter(likes::user_id.eq(user_id))
        .filter(likes::kind.eq(kind.code()))
        .order(likes::object_id.desc())
        .limit(limit)
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
    match conn {
        Conn::Pg(c) => diesel::sql_query(
            "DELETE FROM likes WHERE ctid = ANY(ARRAY(SELECT ctid FROM likes \
             WHERE kind = $1 AND object_id = ANY($2) LIMIT $3))",
        )
        .bind::<SmallInt, _>(kind.code())
        .bind::<Array<BigInt>, _>(object_ids)
        .bind::<BigInt, _>(limit)
        .execute(&mut **c),
        Conn::Sqlite(c) => {
            let owned: Vec<(i64, i64)> = likes::table
                .filter(likes::kind.eq(kind.code()))
                .filter(likes::object_id.eq_any(object_ids))
                .limit(limit)
                .select((likes::user_id, likes::object_id))
                .load(&mut **c)?;
            let keys: Vec<LikeKey> = owned
                .into_iter()
                .map(|(user_id, object_id)| LikeKey { user_id, kind, object_id })
                .collect();
            delete(conn, &keys)
        }
    }
}

#[cfg(test)]
mod tests;
