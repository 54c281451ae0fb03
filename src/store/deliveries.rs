//! A tweet put into the feeds of many readers, and taken out of them.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt};

use super::prepared::Prepared;
use super::schema::friendships;
use super::{Conn, on};
use crate::time::Timestamp;

#[derive(QueryableByName)]
struct Reader {
    #[diesel(sql_type = BigInt)]
    user_id: i64,
}

#[derive(QueryableByName)]
struct Readers {
    #[diesel(sql_type = Array<BigInt>)]
    readers: Vec<i64>,
}

/// What one step of a delivery needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// The tweet that is delivered.
    pub tweet_id: i64,
    /// Its author.
    pub author_id: i64,
    /// Only those who followed before this moment (the tweet's own) receive it; who followed
    /// later got it with the back-fill.
    pub followed_before: Timestamp,
    /// When the entries become visible.
    pub at: Timestamp,
    /// Followers with an id above this one ...
    pub after: i64,
    /// ... and so many of them at most.
    pub limit: usize,
}

/// The readers are gathered before they are written, and come back as one row. Rows of a
/// `RETURNING` clause are kept in a table of their own and gathered afterwards, which takes the
/// server a tenth of the statement; a row for each reader takes this process longer to read.
const DELIVER_POSTGRES: &str = "WITH next AS MATERIALIZED (SELECT ARRAY(\
         SELECT from_user_id FROM friendships \
         WHERE to_user_id = ? AND from_user_id > ? AND created_at < ? \
         ORDER BY from_user_id LIMIT ?) AS readers), \
     served AS (\
         INSERT INTO newsfeeds (user_id, created_at, tweet_id) \
         SELECT unnest(readers), CAST(? AS BIGINT), CAST(? AS BIGINT) FROM next) \
     SELECT readers FROM next";

/// SQLite has no arrays: the readers are read first, and these are the same ones, as many. To
/// count them takes it less than to compare each with the last one. A row that is there already
/// fails the transaction, so that what the statement has changed need not be kept to undo it alone:
/// `OR FAIL`. A function of ours in the statement would bring that back.
const DELIVER_SQLITE: &str = "INSERT OR FAIL INTO newsfeeds (user_id, created_at, tweet_id) \
     SELECT from_user_id, ?, ? FROM friendships \
     WHERE to_user_id = ? AND from_user_id > ? AND created_at < ? ORDER BY from_user_id LIMIT ?";

/// Delivers a tweet to the next followers, without the rows leaving the server, and returns
/// who received it, by their ids; fewer than `limit` only at the end.
///
/// # Errors
/// Those of the statement. The transaction must be given up then, or the savepoint.
pub fn deliver(conn: &mut Conn<'_>, step: Delivery) -> QueryResult<Vec<i64>> {
    let Delivery { tweet_id: tweet, author_id: author, after, .. } = step;
    let (before, at) = (step.followed_before.micros(), step.at.micros());
    match conn {
        Conn::Pg(c) => {
            let binds = &[author, after, before, step.limit as i64, at, tweet];
            let query = Prepared { sql: DELIVER_POSTGRES, binds };
            query.get_result(&mut **c).map(|Readers { readers }| readers)
        }
        Conn::Sqlite(c) => {
            let readers = next_followers(c, step)?;
            if readers.is_empty() {
                return Ok(readers);
            }
            let binds = &[at, tweet, author, after, before, readers.len() as i64];
            let rows = Prepared { sql: DELIVER_SQLITE, binds }.execute(&mut **c)?;
            debug_assert_eq!(rows, readers.len());
            Ok(readers)
        }
    }
}

fn next_followers(conn: &mut SqliteConnection, step: Delivery) -> QueryResult<Vec<i64>> {
    friendships::table
        .filter(friendships::to_user_id.eq(step.author_id))
        .filter(friendships::from_user_id.gt(step.after))
        .filter(friendships::created_at.lt(step.followed_before))
        .order(friendships::from_user_id)
        .limit(step.limit as i64)
        .select(friendships::from_user_id)
        .load(conn)
}

/// What one step of taking back a deleted tweet needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Retraction {
    /// The deleted tweet.
    pub tweet_id: i64,
    /// Its author.
    pub author_id: i64,
    /// Deliveries happened no earlier than this ...
    pub from: Timestamp,
    /// ... and no later than this, so each reader's range is short.
    pub until: Timestamp,
    /// Followers with an id above this one ...
    pub after: i64,
    /// ... up to this one.
    pub up_to: i64,
}

/// Removes a deleted tweet from the feeds of a range of followers, and of former followers who
/// have kept the author's tweets, and returns whose.
pub fn retract(conn: &mut Conn<'_>, step: Retraction) -> QueryResult<Vec<i64>> {
    let query = diesel::sql_query(
        "DELETE FROM newsfeeds WHERE user_id IN (\
             SELECT from_user_id FROM friendships \
             WHERE to_user_id = $1 AND from_user_id > $2 AND from_user_id <= $3 \
             UNION ALL SELECT reader_id FROM former_followers \
             WHERE author_id = $1 AND reader_id > $2 AND reader_id <= $3) \
         AND created_at >= $4 AND created_at <= $5 AND tweet_id = $6 RETURNING user_id",
    )
    .bind::<BigInt, _>(step.author_id)
    .bind::<BigInt, _>(step.after)
    .bind::<BigInt, _>(step.up_to)
    .bind::<BigInt, _>(step.from)
    .bind::<BigInt, _>(step.until)
    .bind::<BigInt, _>(step.tweet_id);
    let rows: Vec<Reader> = on!(conn, |c| query.load(c))?;
    Ok(rows.into_iter().map(|row| row.user_id).collect())
}
