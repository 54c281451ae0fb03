//! The row locks that keep counts exact, and the fate of the transactions that hold them.
//!
//! Whoever changes likes or comments locks the rows they belong to first, tweets before
//! comments, each in id order. So two nodes take turns per object, never deadlock, and what is
//! read after the lock stays true until the commit.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Nullable, Text};

use super::Conn;
use super::schema::{comments, tweets};

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

/// Postgres' name of the running transaction. `pg_xact_status` tells later what became of it.
const TRANSACTION: &str = "pg_current_xact_id()::text";

/// Makes Postgres look up rows by their keys, for the rest of the transaction, with plans that it
/// keeps. Left to itself it reads the whole table for a thousand keys, up to some millions of
/// rows: 90 ms instead of 4 with 200,000 likes. It also keeps for long what was a good plan when
/// the table was empty. The planner cannot know that the pages are in memory; a JIT compiler
/// started on its inflated costs would take longer than the query.
pub fn prefer_indexes(conn: &mut Conn<'_>) -> QueryResult<()> {
    match conn {
        Conn::Pg(c) => c.batch_execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
             SET LOCAL enable_mergejoin = off; SET LOCAL jit = off; \
             SET LOCAL plan_cache_mode = force_generic_plan",
        ),
        Conn::Sqlite(_) => Ok(()),
    }
}

/// Locks those of the tweets that exist. The second value names the transaction (Postgres; none
/// if there is nothing to lock). `ids` are sorted and unique.
pub fn lock_tweets(
    conn: &mut Conn<'_>,
    ids: &[i64],
) -> QueryResult<(Vec<LockedTweet>, Option<String>)> {
    let live = tweets::table
        .filter(tweets::id.eq_any(ids))
        .filter(tweets::deleted_at.is_null())
        .order(tweets::id);
    let mut transaction = None;
    let rows: Vec<(i64, i64)> = match conn {
        Conn::Pg(c) => live
            .select((tweets::id, tweets::user_id, sql::<Text>(TRANSACTION)))
            .for_no_key_update()
            .load::<(i64, i64, String)>(&mut **c)?
            .into_iter()
            .map(|(id, user_id, name)| {
                transaction = Some(name);
                (id, user_id)
            })
            .collect(),
        // The transaction has the file's write lock.
        Conn::Sqlite(c) => live.select((tweets::id, tweets::user_id)).load(&mut **c)?,
    };
    let locked = rows.into_iter().map(|(id, user_id)| LockedTweet { id, user_id }).collect();
    Ok((locked, transaction))
}

/// Locks those of the comments that exist and whose tweet exists; otherwise as [`lock_tweets`].
pub fn lock_comments(
    conn: &mut Conn<'_>,
    ids: &[i64],
) -> QueryResult<(Vec<LockedComment>, Option<String>)> {
    let mut transaction = None;
    let rows: Vec<(i64, i64, i64)> = match conn {
        Conn::Pg(c) => LockComments { ids }
            .load::<(i64, i64, i64, String)>(&mut **c)?
            .into_iter()
            .map(|(id, tweet_id, user_id, name)| {
                transaction = Some(name);
                (id, tweet_id, user_id)
            })
            .collect(),
        Conn::Sqlite(c) => comments::table
            .inner_join(tweets::table.on(tweets::id.eq(comments::tweet_id)))
            .filter(comments::id.eq_any(ids))
            .filter(tweets::deleted_at.is_null())
            .select((comments::id, comments::tweet_id, comments::user_id))
            .load(&mut **c)?,
    };
    let locked = rows
        .into_iter()
        .map(|(id, tweet_id, user_id)| LockedComment { id, tweet_id, user_id })
        .collect();
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

/// A join that locks one side only (`FOR NO KEY UPDATE OF c`), which diesel cannot say.
struct LockComments<'a> {
    ids: &'a [i64],
}

impl QueryId for LockComments<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for LockComments<'_> {
    type SqlType = (BigInt, BigInt, BigInt, Text);
}

impl RunQueryDsl<PgConnection> for LockComments<'_> {}

impl QueryFragment<Pg> for LockComments<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT c.id, c.tweet_id, c.user_id, pg_current_xact_id()::text \
             FROM comments c JOIN tweets t ON t.id = c.tweet_id \
             WHERE t.deleted_at IS NULL AND c.id = ANY(",
        );
        out.push_bind_param::<Array<BigInt>, _>(&self.ids)?;
        out.push_sql(") ORDER BY c.id FOR NO KEY UPDATE OF c");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::comments::NewCommentRow;
    use crate::store::counts::tests::{add_tweet, add_user};
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
