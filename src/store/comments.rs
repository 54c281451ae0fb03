//! Rows of comments. Only the counter adds and removes them, together with the counts.
//!
//! A comment of a tombstoned tweet does not exist for readers, though its row may still wait to
//! be purged: every read joins the tweet.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};

use super::rows::{AroundRows, Column, WithIds, on_rows, pieces};
use super::schema::{comments, tweets};
use super::{Conn, on};
use crate::time::Timestamp;

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct CommentRow {
    /// Id.
    pub id: i64,
    /// The tweet it stands under.
    pub tweet_id: i64,
    /// Its author.
    pub user_id: i64,
    /// Its text.
    pub content: String,
    /// When it was written; unique and increasing per tweet.
    pub created_at: Timestamp,
    /// How many like it.
    pub likes_count: i64,
}

/// A comment to be inserted; it has no likes yet.
#[derive(Debug, Clone)]
pub struct NewCommentRow {
    /// The tweet it stands under.
    pub tweet_id: i64,
    /// Its author.
    pub user_id: i64,
    /// Its text.
    pub content: String,
    /// See [`CommentRow::created_at`].
    pub created_at: Timestamp,
    /// Zero: counted from the start.
    pub likes_count: i64,
}

macro_rules! columns {
    () => {
        (
            comments::id,
            comments::tweet_id,
            comments::user_id,
            comments::content,
            comments::created_at,
            // NULL is "not counted yet".
            sql::<BigInt>(
                "COALESCE(comments.likes_count, (SELECT count(*) FROM likes \
                 WHERE likes.kind = 2 AND likes.object_id = comments.id))",
            ),
        )
    };
}

/// Comments of a tweet younger than `after`, oldest first, at most `limit`.
pub fn page(
    conn: &mut Conn<'_>,
    tweet_id: i64,
    after: Option<Timestamp>,
    limit: i64,
) -> QueryResult<Vec<CommentRow>> {
    on!(conn, |c| comments::table
        .inner_join(tweets::table.on(tweets::id.eq(comments::tweet_id)))
        .filter(comments::tweet_id.eq(tweet_id))
        .filter(comments::created_at.gt(after.unwrap_or(Timestamp::MIN)))
        .filter(tweets::deleted_at.is_null())
        .order(comments::created_at.asc())
        .limit(limit)
        .select(columns!())
        .load(c))
}

/// One comment.
pub fn find(conn: &mut Conn<'_>, id: i64) -> QueryResult<Option<CommentRow>> {
    on!(conn, |c| comments::table
        .inner_join(tweets::table.on(tweets::id.eq(comments::tweet_id)))
        .filter(comments::id.eq(id))
        .filter(tweets::deleted_at.is_null())
        .select(columns!())
        .first(c)
        .optional())
}

/// Replaces the text of a comment. False: it is gone.
pub fn set_content(conn: &mut Conn<'_>, id: i64, content: &str) -> QueryResult<bool> {
    let changed = on!(conn, |c| diesel::update(comments::table.find(id))
        .set(comments::content.eq(content))
        .execute(c))?;
    Ok(changed > 0)
}

/// The tweets that comments stand under; comments that are gone are left out. A comment never
/// moves, so the answer needs no lock.
pub fn tweets_of(conn: &mut Conn<'_>, ids: &[i64]) -> QueryResult<Vec<(i64, i64)>> {
    on!(conn, |c| comments::table
        .filter(comments::id.eq_any(ids))
        .select((comments::id, comments::tweet_id))
        .load(c))
}

/// The time of the newest comment of each tweet that has one. One index probe per tweet.
pub fn newest(conn: &mut Conn<'_>, tweet_ids: &[i64]) -> QueryResult<Vec<(i64, Timestamp)>> {
    let mut newest = Vec::with_capacity(tweet_ids.len());
    for ids in pieces(conn.engine(), tweet_ids) {
        let query = WithIds::<(BigInt, Nullable<BigInt>)>::new(
            "SELECT t.id, (SELECT max(c.created_at) FROM comments c WHERE c.tweet_id = t.id) \
             FROM tweets t WHERE t.id",
            ids,
            "",
        );
        let rows: Vec<(i64, Option<Timestamp>)> = on!(conn, |c| query.load(c))?;
        newest.extend(rows.into_iter().filter_map(|(id, at)| Some((id, at?))));
    }
    Ok(newest)
}

struct Insert;

impl AroundRows for Insert {
    type Row = (BigInt, BigInt, BigInt);
    type Columns = [Column; 5];
    const POSTGRES: [&'static str; 2] = [
        "INSERT INTO comments (tweet_id, user_id, content, created_at, likes_count) ",
        " RETURNING tweet_id, created_at, id",
    ];
}

/// Inserts comments; returns (tweet id, created_at, new id) of each, in no order.
pub fn insert(
    conn: &mut Conn<'_>,
    rows: &[NewCommentRow],
) -> QueryResult<Vec<(i64, Timestamp, i64)>> {
    let mut added = Vec::with_capacity(rows.len());
    for rows in pieces(conn.engine(), rows) {
        let columns = [
            Column::big(rows, |row| row.tweet_id),
            Column::big(rows, |row| row.user_id),
            Column::text(rows, |row| &row.content),
            Column::big(rows, |row| row.created_at.0),
            Column::big(rows, |row| row.likes_count),
        ];
        let ids: Vec<(i64, Timestamp, i64)> =
            on_rows!(conn, Insert, columns, |query, c| query.load(c))?;
        added.extend(ids);
    }
    Ok(added)
}

/// Removes comments; returns how many there were. Their likes and their tweets' counts are the
/// caller's business.
pub fn delete(conn: &mut Conn<'_>, ids: &[i64]) -> QueryResult<usize> {
    on!(conn, |c| diesel::delete(comments::table.filter(comments::id.eq_any(ids))).execute(c))
}

/// Whether a comment is there that was made at that moment; also under a tombstone.
pub fn exists(conn: &mut Conn<'_>, id: i64, created_at: Timestamp) -> QueryResult<bool> {
    let made_then = comments::table.find(id).filter(comments::created_at.eq(created_at));
    on!(conn, |c| diesel::select(diesel::dsl::exists(made_then)).get_result(c))
}

/// The oldest `limit` comments of a tweet, also of a tombstoned one, locked until the end of the
/// transaction: nobody adds a like to them meanwhile.
pub fn lock_oldest_of_tweet(
    conn: &mut Conn<'_>,
    tweet_id: i64,
    limit: i64,
) -> QueryResult<Vec<i64>> {
    let oldest = comments::table
        .filter(comments::tweet_id.eq(tweet_id))
        .order(comments::created_at.asc())
        .limit(limit)
        .select(comments::id);
    match conn {
        Conn::Pg(c) => oldest.for_update().load(&mut **c),
        // The transaction has the file's write lock.
        Conn::Sqlite(c) => oldest.load(&mut **c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;
    use crate::store::counts::tests::{add_tweet, add_user};
    use crate::store::testing::databases;

    fn row(tweet_id: i64, created_at: i64) -> NewCommentRow {
        NewCommentRow {
            tweet_id,
            user_id: 1,
            content: format!("at {created_at}"),
            created_at: Timestamp(created_at),
            likes_count: 0,
        }
    }

    #[test]
    fn pages_are_oldest_first_and_end_with_the_tweet() {
        for test in databases() {
            let outcome = test.db.write_blocking(|conn| {
                add_user(conn, 1)?;
                add_tweet(conn, 1, 1)?;
                add_tweet(conn, 2, 1)?;
                assert!(newest(conn, &[1, 2])?.is_empty());
                let added = insert(conn, &[row(1, 30), row(1, 10), row(1, 20), row(2, 5)])?;
                assert_eq!(added.len(), 4);
                let times = |rows: Vec<CommentRow>| -> Vec<i64> {
                    rows.into_iter().map(|row| row.created_at.0).collect()
                };
                assert_eq!(times(page(conn, 1, None, 10)?), [10, 20, 30], "{}", test.name);
                assert_eq!(times(page(conn, 1, Some(Timestamp(10)), 1)?), [20]);
                let mut at = newest(conn, &[1, 2, 3])?;
                at.sort();
                assert_eq!(at, [(1, Timestamp(30)), (2, Timestamp(5))]);

                let id = lock_oldest_of_tweet(conn, 1, 1)?[0];
                assert_eq!(tweets_of(conn, &[id, 999])?, [(id, 1)]);
                assert!(set_content(conn, id, "changed")?);
                assert_eq!(find(conn, id)?.map(|row| row.content), Some("changed".into()));
                on!(conn, |c| diesel::update(tweets::table.find(1))
                    .set(tweets::deleted_at.eq(Some(Timestamp(1))))
                    .execute(c))?;
                assert_eq!(find(conn, id)?, None, "gone with its tweet");
                assert!(page(conn, 1, None, 10)?.is_empty());
                assert_eq!(
                    lock_oldest_of_tweet(conn, 1, 10)?.len(),
                    3,
                    "the purge still sees them"
                );
                Ok::<_, StoreError>(())
            });
            outcome.unwrap();
        }
    }
}
