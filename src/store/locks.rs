//! The row locks that keep counts exact, and the fate of the transactions that hold them.
//!
//! Whoever changes likes or comments locks the rows they belong to first, tweets before
//! comments, each in id order. So two nodes take turns per object, never deadlock, and what is
//! read after the lock stays true until the commit.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::rows::{WithIds, pieces};
use super::{Conn, Engine};

/// A tweet that exists and is locked until the end of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockedTweet {
    /// Id.
    pub id: i64,
    /// Its author.
    pub user_id: i64,
}

/// A comment that exists and is locked until the end of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockedComment {
    /// Id.
    pub id: i64,
    /// The tweet it stands under.
    pub tweet_id: i64,
    /// Its author.
    pub user_id: i64,
}

/// Locks those of the tweets that exist. The second value names the transaction (Postgres; none
/// if there is nothing to lock), as `pg_xact_status` knows it. `ids` are sorted and unique.
pub fn lock_tweets(
    conn: &mut Conn<'_>,
    ids: &[i64],
) -> QueryResult<(Vec<LockedTweet>, Option<String>)> {
    let mut transaction = None;
    let mut locked = Vec::with_capacity(ids.len());
    match conn {
        Conn::Pg(c) => {
            let query = WithIds::<(BigInt, BigInt, Text)>::new(
                "SELECT id, user_id, pg_current_xact_id()::text FROM tweets \
                 WHERE deleted_at IS NULL AND id",
                ids,
                " ORDER BY id FOR NO KEY UPDATE",
            );
            for (id, user_id, name) in query.load::<(i64, i64, String)>(&mut **c)? {
                transaction = Some(name);
                locked.push(LockedTweet { id, user_id });
            }
        }
        // The transaction has the file's write lock.
        Conn::Sqlite(c) => {
            for ids in pieces(Engine::Sqlite, ids) {
                let query = WithIds::<(BigInt, BigInt)>::new(
                    "SELECT id, user_id FROM tweets WHERE deleted_at IS NULL AND id",
                    ids,
                    "",
                );
                let rows: Vec<(i64, i64)> = query.load(&mut **c)?;
                locked.extend(rows.into_iter().map(|(id, user_id)| LockedTweet { id, user_id }));
            }
        }
    }
    Ok((locked, transaction))
}

/// Locks those of the comments that exist and whose tweet exists; otherwise as [`lock_tweets`].
pub fn lock_comments(
    conn: &mut Conn<'_>,
    ids: &[i64],
) -> QueryResult<(Vec<LockedComment>, Option<String>)> {
    let mut transaction = None;
    let mut locked = Vec::with_capacity(ids.len());
    let row = |(id, tweet_id, user_id)| LockedComment { id, tweet_id, user_id };
    match conn {
        Conn::Pg(c) => {
            let query = WithIds::<(BigInt, BigInt, BigInt, Text)>::new(
                "SELECT c.id, c.tweet_id, c.user_id, pg_current_xact_id()::text \
                 FROM comments c JOIN tweets t ON t.id = c.tweet_id \
                 WHERE t.deleted_at IS NULL AND c.id",
                ids,
                " ORDER BY c.id FOR NO KEY UPDATE OF c",
            );
            for (id, tweet, user, name) in query.load::<(i64, i64, i64, String)>(&mut **c)? {
                transaction = Some(name);
                locked.push(row((id, tweet, user)));
            }
        }
        Conn::Sqlite(c) => {
            for ids in pieces(Engine::Sqlite, ids) {
                let query = WithIds::<(BigInt, BigInt, BigInt)>::new(
                    "SELECT c.id, c.tweet_id, c.user_id \
                     FROM comments c JOIN tweets t ON t.id = c.tweet_id \
                     WHERE t.deleted_at IS NULL AND c.id",
                    ids,
                    "",
                );
                locked.extend(query.load(&mut **c)?.into_iter().map(row));
            }
        }
    }
    Ok((locked, transaction))
}

/// What became of a Postgres transaction: `committed`, `aborted` or `in progress`; none when it
/// is too old to know.
pub fn transaction_status(conn: &mut PgConnection, name: &str) -> QueryResult<Option<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        status: Option<String>,
    }
    diesel::sql_query("SELECT pg_xact_status($1::xid8) AS status")
        .bind::<Text, _>(name)
        .get_result::<Row>(conn)
        .map(|row| row.status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::comments::NewCommentRow;
    use crate::store::counts::tests::{add_tweet, add_user};
    use crate::store::schema::tweets;
    use crate::store::testing::databases;
    use crate::store::{StoreError, on};
    use crate::time::Timestamp;

    #[test]
    fn a_tombstone_hides_a_tweet_and_its_comments_from_the_locks() {
        for test in databases() {
            let outcome = test.db.write_blocking(|conn| {
                add_user(conn, 1)?;
                add_tweet(conn, 1, 1)?;
                add_tweet(conn, 2, 1)?;
                let row = |tweet_id| NewCommentRow {
                    tweet_id,
                    user_id: 1,
                    content: "hi".into(),
                    created_at: Timestamp(1),
                    likes_count: 0,
                };
                let added = crate::store::comments::insert(conn, &[row(1), row(2)])?;
                on!(conn, |c| diesel::update(tweets::table.find(2))
                    .set(tweets::deleted_at.eq(Some(1_i64)))
                    .execute(c))?;
                let (locked, named) = lock_tweets(conn, &[1, 2, 3])?;
                assert_eq!(locked, [LockedTweet { id: 1, user_id: 1 }], "{}", test.name);
                assert_eq!(named.is_some(), matches!(conn, Conn::Pg(_)));
                let ids: Vec<i64> = added.iter().map(|added| added.2).collect();
                let (locked, _) = lock_comments(conn, &ids)?;
                assert_eq!(locked.len(), 1);
                assert_eq!(locked[0].tweet_id, 1);
                Ok::<_, StoreError>(())
            });
            outcome.unwrap();
        }
    }

    #[test]
    fn the_fate_of_a_transaction_is_known_afterwards() {
        let test = crate::store::testing::postgres();
        let name = test
            .db
            .write_blocking(|conn| {
                add_user(conn, 1)?;
                add_tweet(conn, 1, 1)?;
                Ok(lock_tweets(conn, &[1])?.1.expect("a row is locked"))
            })
            .unwrap();
        let status = test.db.read_blocking(|conn| match conn {
            Conn::Pg(c) => Ok(transaction_status(c, &name)?),
            Conn::Sqlite(_) => unreachable!("this is Postgres"),
        });
        assert_eq!(status.unwrap().as_deref(), Some("committed"));
    }
}
