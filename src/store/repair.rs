//! Counting again what is denormalised, in ranges of ids, while the service runs.
//!
//! A recount must not mix with a writer. On Postgres one statement is not enough: its count
//! comes from a snapshot taken before it waited for a row that a writer had locked. So the rows
//! are locked first and counted by a second statement, which sees all that committed before;
//! whoever commits later adds its change to the row as it is then. On SQLite the write
//! transaction shuts everybody else out.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::follow_spans::SPAN_ROWS;
use super::{Conn, clock, on};

/// Ids above `after` and up to `up_to`.
#[derive(Debug, Clone, Copy)]
pub struct IdRange {
    /// The id before the first.
    pub after: i64,
    /// The last id.
    pub up_to: i64,
}

impl IdRange {
    /// One id.
    pub fn one(id: i64) -> IdRange {
        IdRange { after: id - 1, up_to: id }
    }

    /// The ids from 1 to `last`, `step` at a time.
    pub fn steps(last: i64, step: i64) -> impl Iterator<Item = IdRange> {
        let step = step.max(1);
        (0..last.max(0))
            .step_by(step as usize)
            .map(move |after| IdRange { after, up_to: last.min(after.saturating_add(step)) })
    }

    /// Every id in it.
    pub fn all(self) -> impl Iterator<Item = i64> {
        self.after + 1..=self.up_to
    }

    /// How many ids it spans.
    pub fn ids(self) -> u64 {
        (self.up_to - self.after).max(0) as u64
    }
}

/// Counts likes and comments of these tweets again and returns how many were wrong or not
/// counted yet.
pub fn tweets(conn: &mut Conn<'_>, range: IdRange) -> QueryResult<usize> {
    lock(conn, "SELECT id FROM tweets WHERE id > $1 AND id <= $2 ORDER BY id FOR UPDATE", range)?;
    run(
        conn,
        "WITH counted AS (SELECT id, \
             (SELECT count(*) FROM likes WHERE kind = 1 AND object_id = tweets.id) AS likes, \
             (SELECT count(*) FROM comments WHERE tweet_id = tweets.id) AS comments \
             FROM tweets WHERE id > $1 AND id <= $2) \
         UPDATE tweets SET likes_count = counted.likes, comments_count = counted.comments, \
         counts_version = tweets.counts_version + 1 FROM counted \
         WHERE counted.id = tweets.id AND (tweets.likes_count IS DISTINCT FROM counted.likes \
             OR tweets.comments_count IS DISTINCT FROM counted.comments)",
        range,
    )
}

/// Counts the likes of these comments again and returns how many were wrong or not counted yet.
pub fn comments(conn: &mut Conn<'_>, range: IdRange) -> QueryResult<usize> {
    lock(conn, "SELECT id FROM comments WHERE id > $1 AND id <= $2 ORDER BY id FOR UPDATE", range)?;
    run(
        conn,
        "WITH counted AS (SELECT id, \
             (SELECT count(*) FROM likes WHERE kind = 2 AND object_id = comments.id) AS likes \
             FROM comments WHERE id > $1 AND id <= $2) \
         UPDATE comments SET likes_count = counted.likes, \
         counts_version = comments.counts_version + 1 FROM counted \
         WHERE counted.id = comments.id \
         AND comments.likes_count IS DISTINCT FROM counted.likes",
        range,
    )
}

/// Counts followers, followings and tweets of these users again and returns how many profiles
/// were wrong. Waits for the ordered writer, and the ordered writer for it.
pub fn profiles(conn: &mut Conn<'_>, range: IdRange) -> QueryResult<usize> {
    clock::hold(conn)?;
    run(
        conn,
        "WITH counted AS (SELECT user_id AS id, \
             (SELECT count(*) FROM friendships WHERE to_user_id = profiles.user_id) AS followers, \
             (SELECT count(*) FROM friendships WHERE from_user_id = profiles.user_id) \
                 AS followings, \
             (SELECT count(*) FROM tweets \
                 WHERE user_id = profiles.user_id AND deleted_at IS NULL) AS tweets \
             FROM profiles WHERE user_id > $1 AND user_id <= $2) \
         UPDATE profiles SET followers_count = counted.followers, \
         followings_count = counted.followings, tweets_count = counted.tweets FROM counted \
         WHERE counted.id = profiles.user_id AND (followers_count <> counted.followers \
             OR followings_count <> counted.followings OR tweets_count <> counted.tweets)",
        range,
    )
}

/// Cuts the follower and following lists of these users into spans again and returns the
/// number of spans. Waits for the ordered writer, and the ordered writer for it.
pub fn spans(conn: &mut Conn<'_>, range: IdRange) -> QueryResult<usize> {
    clock::hold(conn)?;
    run(conn, "DELETE FROM follow_spans WHERE user_id > $1 AND user_id <= $2", range)?;
    fill_spans(conn, range)
}

/// The same where there are none yet.
pub fn fill_spans(conn: &mut Conn<'_>, range: IdRange) -> QueryResult<usize> {
    let mut spans = 0;
    for (side, user) in [(1, "to_user_id"), (2, "from_user_id")] {
        let sql = format!(
            "INSERT INTO follow_spans (user_id, side, start_at, added, live) \
             SELECT user_id, {side}, min(created_at), count(*), count(*) FROM (\
                 SELECT {user} AS user_id, created_at, (row_number() OVER (\
                     PARTITION BY {user} ORDER BY created_at) - 1) / {SPAN_ROWS} AS span \
                 FROM friendships WHERE {user} > $1 AND {user} <= $2) AS numbered \
             GROUP BY user_id, span ORDER BY 1, 3"
        );
        spans += run(conn, &sql, range)?;
    }
    Ok(spans)
}

fn lock(conn: &mut Conn<'_>, sql: &str, range: IdRange) -> QueryResult<()> {
    match conn {
        Conn::Pg(_) => run(conn, sql, range).map(|_| ()),
        Conn::Sqlite(_) => Ok(()),
    }
}

fn run(conn: &mut Conn<'_>, sql: &str, range: IdRange) -> QueryResult<usize> {
    let query =
        diesel::sql_query(sql).bind::<BigInt, _>(range.after).bind::<BigInt, _>(range.up_to);
    on!(conn, |c| query.execute(c))
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// A table with ids to walk through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Users, and with them profiles, spans and feeds.
    Users,
    /// Tweets.
    Tweets,
    /// Comments.
    Comments,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Table::Users => "users",
            Table::Tweets => "tweets",
            Table::Comments => "comments",
        }
    }
}

/// The greatest id of a table, 0 when it is empty.
pub fn last_id(conn: &mut Conn<'_>, table: Table) -> QueryResult<i64> {
    let query =
        diesel::sql_query(format!("SELECT COALESCE(max(id), 0) AS id FROM {}", table.name()));
    let row: Id = on!(conn, |c| query.get_result(c))?;
    Ok(row.id)
}

/// At most `limit` ids after `after` of tweets by, or comments of, one user, in id order.
pub fn ids_of_user(
    conn: &mut Conn<'_>,
    table: Table,
    user: i64,
    after: i64,
    limit: usize,
) -> QueryResult<Vec<i64>> {
    let column = if table == Table::Users { "id" } else { "user_id" };
    let query = diesel::sql_query(format!(
        "SELECT id FROM {} WHERE {column} = $1 AND id > $2 ORDER BY id LIMIT $3",
        table.name()
    ))
    .bind::<BigInt, _>(user)
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(limit as i64);
    let rows: Vec<Id> = on!(conn, |c| query.load(c))?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
