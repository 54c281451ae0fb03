//! Feed entries. A row's `created_at` is unique per reader and is the entry's id.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::prepared::Prepared;
use super::schema::newsfeeds;
use super::{Conn, on};
use crate::time::Timestamp;
use crate::timeline::{Entry, Range};

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
