//! Rows of likes. Only the counter writes them, together with the counts they add up to.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, SmallInt};

use super::rows::{Column, WithRows, pieces};
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
    let engine = conn.engine();
    for keys in pieces(engine, keys) {
        let query = existing_query(engine, keys);
        let rows: Vec<(i64, i16, i64, Timestamp)> = on!(conn, |c| query.load(c))?;
        found.extend(rows.into_iter().map(|(user_id, kind, object_id, created_at)| {
            (LikeKey { user_id, kind: LikeKind::from_code(kind), object_id }, created_at)
        }));
    }
    Ok(found)
}

type Stored = (BigInt, SmallInt, BigInt, BigInt);

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

fn existing_query(engine: Engine, keys: &[LikeKey]) -> WithRows<Stored, 3> {
    let after = match engine {
        Engine::Postgres => OF_KEYS_POSTGRES,
        Engine::Sqlite => OF_KEYS_SQLITE,
    };
    WithRows::new(WITH_KEYS, columns(keys), after)
}

/// Adds likes; those that are there stay as they are. Returns how many were added.
pub fn insert(conn: &mut Conn<'_>, rows: &[(LikeKey, Timestamp)]) -> QueryResult<usize> {
    let mut added = 0;
    for rows in pieces(conn.engine(), rows) {
        let keys: Vec<LikeKey> = rows.iter().map(|(key, _)| *key).collect();
        let [users, kinds, objects] = columns(&keys);
        let times = Column::Big(rows.iter().map(|(_, created_at)| created_at.0).collect());
        let query = WithRows::<(), 4>::new(
            "INSERT INTO likes (user_id, kind, object_id, created_at) ",
            [users, kinds, objects, times],
            " ON CONFLICT DO NOTHING",
        );
        added += on!(conn, |c| query.execute(c))?;
    }
    Ok(added)
}

/// Removes likes. Returns how many were there.
pub fn delete(conn: &mut Conn<'_>, keys: &[LikeKey]) -> QueryResult<usize> {
    let mut removed = 0;
    match conn {
        Conn::Pg(c) => {
            for keys in pieces(Engine::Postgres, keys) {
                let query = WithRows::<(), 3>::new(WITH_KEYS, columns(keys), DELETE_KEYS_POSTGRES);
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
        Column::Big(keys.iter().map(|key| key.user_id).collect()),
        Column::Small(keys.iter().map(|key| key.kind.code()).collect()),
        Column::Big(keys.iter().map(|key| key.object_id).collect()),
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
mod tests {
    use diesel::connection::SimpleConnection;

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

    #[derive(diesel::QueryableByName)]
    struct Step {
        #[diesel(sql_type = diesel::sql_types::Text)]
        detail: String,
    }

    #[test]
    fn sqlite_finds_likes_by_their_keys() {
        let test = crate::store::testing::sqlite();
        let keys = [key(1, LikeKind::Tweet, 7), key(2, LikeKind::Tweet, 7)];
        let steps: Vec<Step> = test
            .db
            .read_blocking(|conn| match conn {
                Conn::Sqlite(c) => {
                    let query = existing_query(Engine::Sqlite, &keys);
                    let text = diesel::debug_query::<diesel::sqlite::Sqlite, _>(&query);
                    Ok(diesel::sql_query(format!("EXPLAIN QUERY PLAN {text}")).load(&mut **c)?)
                }
                Conn::Pg(_) => unreachable!("this is SQLite"),
            })
            .unwrap();
        let plan: Vec<String> = steps.into_iter().map(|step| step.detail).collect();
        let reads_all = |step: &&String| step.contains("SCAN l");
        assert_eq!(plan.iter().find(reads_all), None, "{plan:?}");
        let by_key = |step: &String| step.contains("(user_id=? AND kind=? AND object_id=?)");
        assert!(plan.iter().any(by_key), "{plan:?}");
    }

    #[test]
    fn postgres_finds_likes_by_their_keys_when_it_knows_nothing_of_the_table() {
        let test = crate::store::testing::postgres();
        let statements = [(OF_KEYS_POSTGRES, "find"), (DELETE_KEYS_POSTGRES, "delete")];
        for (after, name) in statements {
            let plan = test.db.write_blocking(|conn| {
                crate::store::locks::prefer_indexes(conn)?;
                let Conn::Pg(c) = conn else { unreachable!("this is Postgres") };
                c.batch_execute(&format!(
                    "PREPARE {name}(bigint[], smallint[], bigint[]) AS \
                     {WITH_KEYS}SELECT * FROM unnest($1, $2, $3){after}"
                ))?;
                let explain = format!("EXPLAIN EXECUTE {name}('{{1}}', '{{1}}', '{{1}}')");
                let lines = diesel::dsl::sql::<diesel::sql_types::Text>(&explain);
                Ok(lines.load::<String>(&mut **c)?.join("\n"))
            });
            let plan = plan.unwrap();
            assert!(plan.contains("using likes_pkey"), "{plan}");
            assert!(plan.contains("ROW(kind, object_id) >="), "{plan}");
            assert!(!plan.contains("likes_object"), "{plan}");
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
