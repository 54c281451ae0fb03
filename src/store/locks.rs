//! The row locks that keep counts exact, and the fate of the transactions that hold them.
//!
//! Whoever changes likes or comments locks the rows they belong to first, tweets before
//! comments, each in id order. So two nodes take turns per object, never deadlock, and what is
//! read after the lock stays true until the commit.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

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

/// A transaction of Postgres, for [`fate_of`]: its number, and the life of the server that has
/// given it (`roost.life` of the connection).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionName(String);

/// The [`TransactionName`] of the transaction under way, in SQL; [`fate_of`] takes it apart.
macro_rules! transaction_name {
    () => {
        "concat(pg_current_xact_id(), ' ', current_setting('roost.life', TRUE))"
    };
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionFate {
    /// It has committed.
    Committed,
    /// It has not, and never will.
    NotCommitted,
    /// It has not ended.
    Running,
    /// The server cannot tell.
    Unknown,
}

/// Locks those of the tweets that exist. The second value names the transaction (Postgres; none
/// if there is nothing to lock). `ids` are sorted and unique.
pub fn lock_tweets(
    conn: &mut Conn<'_>,
    ids: &[i64],
) -> QueryResult<(Vec<LockedTweet>, Option<TransactionName>)> {
    let mut transaction = None;
    let mut locked = Vec::with_capacity(ids.len());
    match conn {
        Conn::Pg(c) => {
            let query = WithIds::<(BigInt, BigInt, Text)>::new(
                concat!(
                    "SELECT id, user_id, ",
                    transaction_name!(),
                    " FROM tweets WHERE deleted_at IS NULL AND id"
                ),
                ids,
                " ORDER BY id FOR NO KEY UPDATE",
            );
            for (id, user_id, name) in query.load::<(i64, i64, String)>(&mut **c)? {
                transaction = Some(TransactionName(name));
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
) -> QueryResult<(Vec<LockedComment>, Option<TransactionName>)> {
    let mut transaction = None;
    let mut locked = Vec::with_capacity(ids.len());
    let row = |(id, tweet_id, user_id)| LockedComment { id, tweet_id, user_id };
    match conn {
        Conn::Pg(c) => {
            let query = WithIds::<(BigInt, BigInt, BigInt, Text)>::new(
                concat!(
                    "SELECT c.id, c.tweet_id, c.user_id, ",
                    transaction_name!(),
                    " FROM comments c JOIN tweets t ON t.id = c.tweet_id \
                     WHERE t.deleted_at IS NULL AND c.id"
                ),
                ids,
                " ORDER BY c.id FOR NO KEY UPDATE OF c",
            );
            for (id, tweet, user, name) in query.load::<(i64, i64, i64, String)>(&mut **c)? {
                transaction = Some(TransactionName(name));
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

/// What became of a transaction that this server, or one that it has taken over from, has begun.
///
/// What a crash takes with it was never written down, the number of the transaction included: the
/// server gives it to another one afterwards. In another life "committed" may be said of that other
/// one, and "in progress" always is; a number that is not given yet was lost.
pub fn fate_of(conn: &mut PgConnection, name: &TransactionName) -> QueryResult<TransactionFate> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        status: Option<String>,
        #[diesel(sql_type = Bool)]
        same_life: bool,
    }
    // Asked for a number that it has not given yet the server refuses to answer. All below this
    // limit have been given, all that have ended are below it.
    let Row { status, same_life } = diesel::sql_query(
        "SELECT CASE WHEN number < pg_snapshot_xmax(pg_current_snapshot()) \
         THEN pg_xact_status(number) ELSE 'in progress' END AS status, \
         coalesce(life = nullif(current_setting('roost.life', TRUE), ''), FALSE) AS same_life \
         FROM (SELECT split_part($1, ' ', 1)::xid8, split_part($1, ' ', 2)) AS n (number, life)",
    )
    .bind::<Text, _>(&name.0)
    .get_result::<Row>(conn)?;
    Ok(match (status.as_deref(), same_life) {
        (Some("committed"), true) => TransactionFate::Committed,
        (Some("aborted"), _) | (Some("in progress"), false) => TransactionFate::NotCommitted,
        (Some("in progress"), true) => TransactionFate::Running,
        // Committed by whom, or too old.
        _ => TransactionFate::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::comments::NewCommentRow;
    use crate::store::counts::tests::{add_tweet, add_user};
    use crate::store::schema::tweets;
    use crate::store::testing::{TestDb, databases};
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

    /// The name of a transaction that then ends as `end` says.
    fn named(test: &TestDb, end: impl Fn() -> Result<(), StoreError>) -> TransactionName {
        let mut name = None;
        let _ = test.db.write_blocking(|conn| {
            name = lock_tweets(conn, &[1])?.1;
            assert_eq!(fate(test, name.as_ref().unwrap()), TransactionFate::Running);
            end()
        });
        name.expect("a row is locked")
    }

    fn fate(test: &TestDb, name: &TransactionName) -> TransactionFate {
        let fate = test.db.read_blocking(|conn| match conn {
            Conn::Pg(c) => Ok(fate_of(c, name)?),
            Conn::Sqlite(_) => unreachable!("this is Postgres"),
        });
        fate.unwrap()
    }

    #[test]
    fn the_fate_of_a_transaction_is_known_afterwards() {
        use TransactionFate::{Committed, NotCommitted, Running, Unknown};

        let test = crate::store::testing::postgres();
        let prepared = test.db.write_blocking(|conn| {
            add_user(conn, 1)?;
            Ok(add_tweet(conn, 1, 1)?)
        });
        prepared.unwrap();
        let committed = named(&test, || Ok(()));
        let aborted = named(&test, || Err(StoreError::Unavailable("as the test asks".into())));
        let not_given = TransactionName(committed.0.replacen(' ', "0000 ", 1));
        // A server that has crashed since.
        let before = |name: &TransactionName| TransactionName(format!("{}0", name.0));
        let without =
            |name: &TransactionName| TransactionName(name.0.split_once(' ').unwrap().0.to_owned());
        assert_eq!(fate(&test, &committed), Committed);
        assert_eq!(fate(&test, &before(&committed)), Unknown, "it may be another's");
        assert_eq!(fate(&test, &without(&committed)), Unknown);
        assert_eq!(fate(&test, &aborted), NotCommitted);
        assert_eq!(fate(&test, &before(&aborted)), NotCommitted);
        assert_eq!(fate(&test, &not_given), Running);
        assert_eq!(fate(&test, &before(&not_given)), NotCommitted);
    }
}
