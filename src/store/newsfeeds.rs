//! Feed entries. A row's `created_at` is unique per reader and is the entry's id.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt};

use super::prepared::Prepared;
use super::schema::newsfeeds;
use super::{Conn, noting, on};
use crate::time::Timestamp;
use crate::timeline::{Entry, Range};

#[derive(QueryableByName)]
struct Reader {
    #[diesel(sql_type = BigInt)]
    user_id: i64,
}

#[derive(QueryableByName)]
struct Added {
    #[diesel(sql_type = BigInt)]
    created_at: Timestamp,
    #[diesel(sql_type = BigInt)]
    tweet_id: i64,
}

#[derive(QueryableByName)]
struct Gone {
    #[diesel(sql_type = BigInt)]
    created_at: Timestamp,
}

#[derive(QueryableByName)]
struct Readers {
    #[diesel(sql_type = Array<BigInt>)]
    readers: Vec<i64>,
}

/// At most `want` entries of the reader within `range`, newest first.
pub fn page(
    conn: &mut Conn<'_>,
    reader: i64,
    range: Range,
    want: usize,
) -> QueryResult<Vec<Entry>> {
    let rows: Vec<(Timestamp, i64)> = on!(conn, |c| newsfeeds::table
        .filter(newsfeeds::user_id.eq(reader))
        .filter(newsfeeds::created_at.lt(range.older_than))
        .filter(newsfeeds::created_at.gt(range.newer_than))
        .order(newsfeeds::created_at.desc())
        .limit(want as i64)
        .select((newsfeeds::created_at, newsfeeds::tweet_id))
        .load(c))?;
    Ok(rows.into_iter().map(|(created_at, tweet_id)| Entry { created_at, tweet_id }).collect())
}

/// Adds one entry per row: (reader, when it becomes visible, tweet).
pub fn insert(conn: &mut Conn<'_>, rows: &[(i64, Timestamp, i64)]) -> QueryResult<()> {
    for chunk in rows.chunks(super::ROWS_PER_STATEMENT) {
        let values: Vec<_> = chunk
            .iter()
            .map(|(reader, at, tweet)| {
                (
                    newsfeeds::user_id.eq(*reader),
                    newsfeeds::created_at.eq(*at),
                    newsfeeds::tweet_id.eq(*tweet),
                )
            })
            .collect();
        on!(conn, |c| diesel::insert_into(newsfeeds::table).values(&values).execute(c))?;
    }
    Ok(())
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

/// The followers that a step serves; the `?` are those of [`Delivery::binds`].
macro_rules! to_next_followers {
    ($insert:literal, $reader:literal) => {
        concat!(
            $insert,
            " INTO newsfeeds (user_id, created_at, tweet_id) SELECT ",
            $reader,
            ", CAST(? AS BIGINT), CAST(? AS BIGINT) FROM friendships \
             WHERE to_user_id = ? AND from_user_id > ? AND created_at < ? \
             ORDER BY from_user_id LIMIT ?"
        )
    };
}

/// One row with all readers: a row each would take the server and this process longer to pass
/// on than the array.
const DELIVER_POSTGRES: &str = concat!(
    "WITH served AS (",
    to_next_followers!("INSERT", "from_user_id"),
    " RETURNING user_id) SELECT coalesce(array_agg(user_id), '{}') AS readers FROM served"
);

/// A row that is there already fails the transaction, so SQLite need not keep what the statement
/// has changed to undo it alone: `OR FAIL`.
const DELIVER_SQLITE: &str = to_next_followers!("INSERT OR FAIL", "noted(from_user_id)");

impl Delivery {
    fn binds(&self) -> [i64; 6] {
        [
            self.at.micros(),
            self.tweet_id,
            self.author_id,
            self.after,
            self.followed_before.micros(),
            self.limit as i64,
        ]
    }
}

/// Delivers a tweet to the next followers, without the rows leaving the server, and returns
/// who received it in the order of their ids; fewer than `limit` only at the end.
///
/// # Errors
/// Those of the statement. The transaction must be given up then, or the savepoint.
pub fn deliver(conn: &mut Conn<'_>, step: Delivery) -> QueryResult<Vec<i64>> {
    let binds = &step.binds();
    match conn {
        Conn::Pg(c) => {
            let query = Prepared { sql: DELIVER_POSTGRES, binds };
            query.get_result(&mut **c).map(|Readers { readers }| readers)
        }
        Conn::Sqlite(c) => {
            let query = Prepared { sql: DELIVER_SQLITE, binds };
            let (rows, readers) = noting::taken_down(step.limit, || query.execute(&mut **c))?;
            debug_assert_eq!(rows, readers.len());
            Ok(readers)
        }
    }
}

/// Puts the author's latest tweets from before `followed_at` into the reader's feed, at the
/// tweets' own times, leaving out what is there already. Returns what was added, in no order.
pub fn backfill(
    conn: &mut Conn<'_>,
    reader: i64,
    author: i64,
    followed_at: Timestamp,
    limit: u32,
) -> QueryResult<Vec<Entry>> {
    // Entries that a kept-on-unfollow setting has left behind carry the time of their delivery:
    // no earlier than the tweet, no later than its last delivery. While that is still to come,
    // no later than the follow, since those who follow after a tweet do not receive it.
    let (followed_at, limit) = (followed_at.micros(), i64::from(limit));
    let query = Prepared {
        sql: "INSERT INTO newsfeeds (user_id, created_at, tweet_id) \
              SELECT CAST(? AS BIGINT), latest.created_at, latest.id FROM (\
                  SELECT id, created_at, delivered_at FROM tweets \
                  WHERE user_id = ? AND deleted_at IS NULL AND created_at < ? \
                  ORDER BY created_at DESC LIMIT ?) latest \
              WHERE NOT EXISTS (SELECT 1 FROM newsfeeds there \
                  WHERE there.user_id = ? AND there.created_at >= latest.created_at \
                  AND there.created_at <= COALESCE(latest.delivered_at, ?) \
                  AND there.tweet_id = latest.id) \
              RETURNING created_at, tweet_id",
        binds: &[reader, author, followed_at, limit, reader, followed_at],
    };
    let rows: Vec<Added> = on!(conn, |c| query.load(c))?;
    let entry = |Added { created_at, tweet_id }| Entry { created_at, tweet_id };
    Ok(rows.into_iter().map(entry).collect())
}

/// Removes the author's tweets, and those that no longer exist, from the newest `scan` of the
/// reader's entries older than `before`. Returns the times of what went, and where to continue if
/// older entries exist.
pub fn sweep(
    conn: &mut Conn<'_>,
    reader: i64,
    author: i64,
    before: Timestamp,
    scan: usize,
) -> QueryResult<(Vec<Timestamp>, Option<Timestamp>)> {
    let next: Option<Timestamp> = on!(conn, |c| newsfeeds::table
        .filter(newsfeeds::user_id.eq(reader).and(newsfeeds::created_at.lt(before)))
        .order(newsfeeds::created_at.desc())
        .select(newsfeeds::created_at)
        .offset(scan as i64)
        .first(c)
        .optional())?;
    let from = next.unwrap_or(Timestamp::MIN);
    let query = Prepared {
        sql: "DELETE FROM newsfeeds WHERE user_id = ? AND created_at < ? AND created_at > ? \
              AND NOT EXISTS (SELECT 1 FROM tweets WHERE tweets.id = newsfeeds.tweet_id \
                  AND tweets.user_id <> ?) \
              RETURNING created_at",
        binds: &[reader, before.micros(), from.micros(), author],
    };
    let rows: Vec<Gone> = on!(conn, |c| query.load(c))?;
    let removed = rows.into_iter().map(|row| row.created_at).collect();
    // The entry at `next` itself is still to be looked at.
    Ok((removed, next.map(|at| Timestamp(at.micros() + 1))))
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

/// Removes single entries of one reader, by their times.
pub fn remove(conn: &mut Conn<'_>, reader: i64, entries: &[Timestamp]) -> QueryResult<usize> {
    let mut removed = 0;
    for chunk in entries.chunks(super::ROWS_PER_STATEMENT) {
        removed += on!(conn, |c| diesel::delete(
            newsfeeds::table
                .filter(newsfeeds::user_id.eq(reader))
                .filter(newsfeeds::created_at.eq_any(chunk.iter().copied()))
        )
        .execute(c))?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;
    use crate::store::counts::tests::add_user;
    use crate::store::testing::databases;
    use crate::store::tweets::{self, NewTweet};

    const READER: i64 = 1;
    const AUTHOR: i64 = 2;

    fn post(conn: &mut Conn<'_>, at: i64) -> QueryResult<i64> {
        let new = NewTweet {
            user_id: AUTHOR,
            content: "hello".into(),
            created_at: Timestamp(at),
            photo_urls: Vec::new(),
        };
        Ok(tweets::insert(conn, &[new])?[0])
    }

    /// Failure mode 7: two entries of one feed cannot have one time.
    #[test]
    fn failure_mode_07_a_feed_has_no_equal_times() {
        for test in databases() {
            let insert = |rows: &[(i64, Timestamp, i64)]| {
                test.db.write_blocking(|conn| Ok(insert(conn, rows)?))
            };
            insert(&[(READER, Timestamp(5), 50), (AUTHOR, Timestamp(5), 50)]).unwrap();
            let again = insert(&[(READER, Timestamp(6), 60), (READER, Timestamp(5), 51)]);
            assert!(matches!(again, Err(StoreError::Query(_))), "{}: {again:?}", test.name);
            let page =
                test.db.read_blocking(|conn| Ok(page(conn, READER, Range::ALL, 10)?)).unwrap();
            let kept = Entry { created_at: Timestamp(5), tweet_id: 50 };
            assert_eq!(page, [kept], "{}: all or nothing", test.name);
        }
    }

    /// Entries that stayed after an unfollow are found wherever their delivery has put them,
    /// finished or not, and are not put in again.
    #[test]
    fn a_back_fill_leaves_out_what_is_there() {
        for test in databases() {
            let found = test
                .db
                .write_blocking(|conn| {
                    add_user(conn, READER)?;
                    add_user(conn, AUTHOR)?;
                    let delivered = post(conn, 100)?;
                    tweets::set_delivered(conn, &[delivered], Timestamp(150))?;
                    let under_way = post(conn, 200)?;
                    let missing = post(conn, 300)?;
                    tweets::set_delivered(conn, &[missing], Timestamp(350))?;
                    let kept =
                        [(READER, Timestamp(150), delivered), (READER, Timestamp(390), under_way)];
                    insert(conn, &kept)?;
                    let added = backfill(conn, READER, AUTHOR, Timestamp(400), 20)?;
                    let again = backfill(conn, READER, AUTHOR, Timestamp(500), 20)?;
                    assert_eq!((added.len(), again.len()), (1, 0), "{}", test.name);
                    Ok(page(conn, READER, Range::ALL, 10)?)
                })
                .unwrap();
            let times: Vec<i64> = found.iter().map(|entry| entry.created_at.micros()).collect();
            assert_eq!(times, [390, 300, 150], "{}", test.name);
        }
    }
}
