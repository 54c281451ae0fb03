//! Bulk inserts of `roost seed`: COPY on Postgres, multi-row inserts on SQLite, and
//! INSERT ... SELECT where the data is in the database already.
//!
//! Everything here expects tables that were empty, in one transaction of the caller.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::repair::IdRange;
use super::schema::{comments, friendships, likes, profiles, tweets, users};
use super::{Conn, Engine, on};
use crate::time::Timestamp;

/// An account.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = users, treat_none_as_default_value = false)]
pub struct UserRow {
    /// Its id.
    pub id: i64,
    /// Lower-case and unique.
    pub username: String,
    /// Lower-case and unique.
    pub email: String,
    /// A PHC string.
    pub password_hash: String,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// A profile with its counts.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = profiles, treat_none_as_default_value = false)]
pub struct ProfileRow {
    /// The user.
    pub user_id: i64,
    /// The name shown.
    pub nickname: Option<String>,
    /// Rows of `friendships` to the user.
    pub followers_count: i64,
    /// Rows of `friendships` from the user.
    pub followings_count: i64,
    /// Live tweets.
    pub tweets_count: i64,
}

/// A friendship.
#[derive(Debug, Clone, Copy, Insertable)]
#[diesel(table_name = friendships, treat_none_as_default_value = false)]
pub struct FriendshipRow {
    /// Who follows.
    pub from_user_id: i64,
    /// Whom.
    pub to_user_id: i64,
    /// Since when; unique.
    pub created_at: Timestamp,
}

/// A tweet with its counts.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = tweets, treat_none_as_default_value = false)]
pub struct TweetRow {
    /// Its id.
    pub id: i64,
    /// The author.
    pub user_id: i64,
    /// The text.
    pub content: String,
    /// When; unique among all tweets.
    pub created_at: Timestamp,
    /// When it reached the last follower.
    pub delivered_at: Option<Timestamp>,
    /// Rows of `likes`.
    pub likes_count: Option<i64>,
    /// Rows of `comments`.
    pub comments_count: Option<i64>,
}

/// A comment with its count.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = comments, treat_none_as_default_value = false)]
pub struct CommentRow {
    /// Its id.
    pub id: i64,
    /// The tweet.
    pub tweet_id: i64,
    /// The author.
    pub user_id: i64,
    /// The text.
    pub content: String,
    /// When; unique among the tweet's comments.
    pub created_at: Timestamp,
    /// Rows of `likes`.
    pub likes_count: Option<i64>,
}

/// A like.
#[derive(Debug, Clone, Copy, Insertable)]
#[diesel(table_name = likes, treat_none_as_default_value = false)]
pub struct LikeRow {
    /// Who likes.
    pub user_id: i64,
    /// 1 a tweet, 2 a comment.
    pub kind: i16,
    /// The tweet or comment.
    pub object_id: i64,
    /// When.
    pub created_at: Timestamp,
}

/// Rows of one COPY: few round trips, and the progress still moves.
pub const ROWS_PER_COPY: usize = 20_000;

/// SQLite's binds per statement, less a margin (32,766 are allowed).
pub(super) const BINDS: usize = 30_000;

/// A function that inserts any number of rows: by COPY on Postgres, in as few statements as the
/// binds allow on SQLite.
macro_rules! insert_rows {
    ($(#[$doc:meta])* $vis:vis fn $name:ident, $row:ty, $table:ident, $columns:literal) => {
        $(#[$doc])*
        $vis fn $name(conn: &mut Conn<'_>, rows: &[$row]) -> QueryResult<()> {
            use $crate::store::bulk::{BINDS, ROWS_PER_COPY};
            match conn {
                Conn::Pg(c) => {
                    for chunk in rows.chunks(ROWS_PER_COPY) {
                        diesel::copy_from($table::table).from_insertable(chunk).execute(&mut **c)?;
                    }
                }
                Conn::Sqlite(c) => {
                    for chunk in rows.chunks(BINDS / $columns) {
                        diesel::insert_into($table::table).values(chunk).execute(&mut **c)?;
                    }
                }
            }
            Ok(())
        }
    };
}
pub(super) use insert_rows;

insert_rows!(
    /// Inserts accounts.
    pub fn insert_users, UserRow, users, 5
);
insert_rows!(
    /// Inserts profiles.
    pub fn insert_profiles, ProfileRow, profiles, 5
);
insert_rows!(
    /// Inserts friendships. Their counts and spans are the caller's business.
    pub fn insert_friendships, FriendshipRow, friendships, 3
);
insert_rows!(
    /// Inserts tweets. Feed entries come from [`deliver`].
    pub fn insert_tweets, TweetRow, tweets, 7
);
insert_rows!(
    /// Inserts comments.
    pub fn insert_comments, CommentRow, comments, 6
);
insert_rows!(
    /// Inserts likes.
    pub fn insert_likes, LikeRow, likes, 4
);

/// Whether nobody has signed up here yet.
pub fn is_empty(conn: &mut Conn<'_>) -> QueryResult<bool> {
    let first: Option<i64> = on!(conn, |c| users::table.select(users::id).first(c).optional())?;
    Ok(first.is_none())
}

/// Gives these readers their feed entries, in the order of the table's key: own tweets at their own time, those of followed authors one microsecond
/// after (so tweets must be at least two apart). Returns how many.
pub fn deliver(conn: &mut Conn<'_>, readers: IdRange) -> QueryResult<usize> {
    // CROSS JOIN keeps SQLite to this order: a reader's friendships, then each one's tweets.
    let query = diesel::sql_query(
        "INSERT INTO newsfeeds (user_id, created_at, tweet_id) \
         SELECT user_id, created_at, id FROM tweets \
         WHERE user_id > $1 AND user_id <= $2 AND deleted_at IS NULL \
         UNION ALL \
         SELECT f.from_user_id, t.created_at + 1, t.id FROM friendships f CROSS JOIN tweets t \
         WHERE f.from_user_id > $1 AND f.from_user_id <= $2 AND t.user_id = f.to_user_id \
         AND t.created_at > f.created_at AND t.deleted_at IS NULL \
         ORDER BY 1, 2",
    )
    .bind::<BigInt, _>(readers.after)
    .bind::<BigInt, _>(readers.up_to);
    on!(conn, |c| query.execute(c))
}

/// Writes the notifications of all likes and comments, oldest first. Returns how many.
pub fn notify(conn: &mut Conn<'_>) -> QueryResult<usize> {
    let query = diesel::sql_query(
        "INSERT INTO notifications (recipient_id, actor_id, verb, target_id, created_at) \
         SELECT t.user_id, l.user_id, 1, t.id, l.created_at FROM likes l \
         JOIN tweets t ON t.id = l.object_id WHERE l.kind = 1 AND l.user_id <> t.user_id \
         UNION ALL \
         SELECT c.user_id, l.user_id, 2, c.id, l.created_at FROM likes l \
         JOIN comments c ON c.id = l.object_id WHERE l.kind = 2 AND l.user_id <> c.user_id \
         UNION ALL \
         SELECT t.user_id, c.user_id, 3, t.id, c.created_at FROM comments c \
         JOIN tweets t ON t.id = c.tweet_id WHERE c.user_id <> t.user_id \
         ORDER BY 5, 1, 2, 3, 4",
    );
    on!(conn, |c| query.execute(c))
}

/// Gives SQLite the memory that large indexes want while they are filled in no order: 256 MiB
/// at most, until the connection closes. Postgres has its own settings for that.
pub fn prepare(conn: &mut Conn<'_>) -> QueryResult<()> {
    if let Conn::Sqlite(c) = conn {
        (**c).batch_execute("PRAGMA cache_size = -262144")?;
    }
    Ok(())
}

/// Tells Postgres how many rows stand where, so that the statements that follow are planned
/// well. SQLite's plans are written to need no statistics.
pub fn analyze(conn: &mut Conn<'_>) -> QueryResult<()> {
    if let Conn::Pg(c) = conn {
        (**c).batch_execute("ANALYZE users, friendships, tweets, comments, likes")?;
    }
    Ok(())
}

/// Closes a seed: new ids come after those given here, new moments after every one written, and
/// nothing that Redis may hold of an earlier life of this database counts any more.
pub fn finish(conn: &mut Conn<'_>) -> QueryResult<()> {
    for table in ["users", "tweets", "comments"] {
        follow_ids(conn, table)?;
    }
    let mut last = 0;
    for (column, table) in [
        ("created_at", "users"),
        ("created_at", "friendships"),
        ("delivered_at", "tweets"),
        ("created_at", "comments"),
        ("created_at", "likes"),
    ] {
        last = newest(conn, column, table)?.max(last);
    }
    let clock = diesel::sql_query("UPDATE timeline_clock SET last_at = $1 WHERE last_at < $1")
        .bind::<BigInt, _>(last);
    on!(conn, |c| clock.execute(c))?;
    super::cache_state::advance_epoch(conn)?;
    super::nodes::mark_dirty(conn, super::nodes::NAMELESS)
}

/// Makes new ids of a table come after those that were given. SQLite does so by itself.
pub(super) fn follow_ids(conn: &mut Conn<'_>, table: &'static str) -> QueryResult<()> {
    if conn.engine() == Engine::Postgres {
        let query = diesel::sql_query(format!(
            "SELECT setval(pg_get_serial_sequence('{table}', 'id'), \
             greatest(max(id), 1), max(id) IS NOT NULL) FROM {table}"
        ));
        on!(conn, |c| query.execute(c))?;
    }
    Ok(())
}

fn newest(conn: &mut Conn<'_>, column: &str, table: &str) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Newest {
        #[diesel(sql_type = BigInt)]
        newest: i64,
    }
    let query =
        diesel::sql_query(format!("SELECT COALESCE(max({column}), 0) AS newest FROM {table}"));
    let row: Newest = on!(conn, |c| query.get_result(c))?;
    Ok(row.newest)
}
