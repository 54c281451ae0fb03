//! The denormalised counts of tweets and comments.
//!
//! Whoever changes likes or comments has locked the rows they belong to ([`super::locks`]).

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::Conn;
use super::rows::{AroundRows, Column, on_rows, pieces};

/// The counts of a tweet as a commit has left them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct TweetCounts {
    /// Id.
    pub id: i64,
    /// Likes.
    pub likes: i64,
    /// Comments.
    pub comments: i64,
    /// Grows with every change: of two sets of counts the one with the higher version is newer.
    pub version: i64,
}

/// The counts of a comment as a commit has left them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct CommentCounts {
    /// Id.
    pub id: i64,
    /// Likes.
    pub likes: i64,
    /// See [`TweetCounts::version`].
    pub version: i64,
}

/// How the rows of likes and comments of one object have changed in number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delta {
    /// Id of the tweet or comment.
    pub id: i64,
    /// Likes added minus likes removed.
    pub likes: i64,
    /// Comments added minus comments removed; zero for a comment.
    pub comments: i64,
}

/// Applies changes to the counts of tweets; returns the new ones. Call it after the rows have
/// been changed: a count that is still NULL is then taken from the rows. `deltas` have sorted
/// and unique ids.
pub fn apply_to_tweets(conn: &mut Conn<'_>, deltas: &[Delta]) -> QueryResult<Vec<TweetCounts>> {
    let mut counts = Vec::with_capacity(deltas.len());
    for deltas in pieces(conn.engine(), deltas) {
        let columns = columns(deltas);
        counts.extend(on_rows!(conn, UpdateTweets, columns, |query, c| query.load::<TweetCounts>(c))?);
    }
    Ok(counts)
}

/// The same for comments.
pub fn apply_to_comments(conn: &mut Conn<'_>, deltas: &[Delta]) -> QueryResult<Vec<CommentCounts>> {
    let mut counts = Vec::with_capacity(deltas.len());
    for deltas in pieces(conn.engine(), deltas) {
        let columns = columns(deltas);
        counts.extend(
            on_rows!(conn, UpdateComments, columns, |query, c| query.load::<CommentCounts>(c))?
        );
    }
    Ok(counts)
}

const DELTAS: &str = "WITH d(id, likes, comments) AS (";

const UPDATE_TWEETS: &str = ") UPDATE tweets SET likes_count = CASE WHEN tweets.likes_count IS NULL \
     THEN (SELECT count(*) FROM likes WHERE kind = 1 AND object_id = tweets.id) \
     ELSE tweets.likes_count + d.likes END, \
     comments_count = CASE WHEN tweets.comments_count IS NULL \
     THEN (SELECT count(*) FROM comments WHERE tweet_id = tweets.id) \
     ELSE tweets.comments_count + d.comments END, \
     counts_version = tweets.counts_version + 1 \
     FROM d WHERE tweets.id = d.id \
     RETURNING tweets.id, tweets.likes_count, tweets.comments_count, tweets.counts_version";

const UPDATE_COMMENTS: &str = ") UPDATE comments SET likes_count = \
     CASE WHEN comments.likes_count IS NULL \
     THEN (SELECT count(*) FROM likes WHERE kind = 2 AND object_id = comments.id) \
     ELSE comments.likes_count + d.likes END, \
     counts_version = comments.counts_version + 1 \
     FROM d WHERE comments.id = d.id \
     RETURNING comments.id, comments.likes_count, comments.counts_version";

struct UpdateTweets;

impl AroundRows for UpdateTweets {
    type Row = (BigInt, BigInt, BigInt, BigInt);
    type Columns = [Column; 3];
    const POSTGRES: [&'static str; 2] = [DELTAS, UPDATE_TWEETS];
}

struct UpdateComments;

impl AroundRows for UpdateComments {
    type Row = (BigInt, BigInt, BigInt);
    type Columns = [Column; 3];
    const POSTGRES: [&'static str; 2] = [DELTAS, UPDATE_COMMENTS];
}

fn columns(deltas: &[Delta]) -> [Column; 3] {
    [
        Column::big(deltas, |delta| delta.id),
        Column::big(deltas, |delta| delta.likes),
        Column::big(deltas, |delta| delta.comments),
    ]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::store::likes::{self, LikeKey, LikeKind};
    use crate::store::schema::{tweets, users};
    use crate::store::testing::databases;
    use crate::store::{StoreError, on};
    use crate::time::Timestamp;

    /// A user without a profile.
    pub(crate) fn add_user(conn: &mut Conn<'_>, id: i64) -> QueryResult<usize> {
        on!(conn, |c| diesel::insert_into(users::table)
            .values((
                users::id.eq(id),
                users::username.eq(format!("user{id}")),
                users::email.eq(format!("user{id}@example.com")),
                users::password_hash.eq(""),
                users::disabled.eq(false),
                users::created_at.eq(0_i64),
            ))
            .execute(c))
    }

    /// A tweet as an older version has left it: not counted yet.
    pub(crate) fn add_tweet(conn: &mut Conn<'_>, id: i64, user_id: i64) -> QueryResult<usize> {
        on!(conn, |c| diesel::insert_into(tweets::table)
            .values((
                tweets::id.eq(id),
                tweets::user_id.eq(user_id),
                tweets::content.eq("a tweet"),
                tweets::created_at.eq(id),
            ))
            .execute(c))
    }

    fn bump(id: i64, likes: i64, comments: i64) -> Delta {
        Delta { id, likes, comments }
    }

    #[test]
    fn counts_start_from_the_rows_and_then_follow_the_deltas() {
        for test in databases() {
            let outcome = test.db.write_blocking(|conn| {
                add_user(conn, 1)?;
                add_tweet(conn, 1, 1)?;
                add_tweet(conn, 2, 1)?;
                let like = |user_id, kind, object_id| {
                    (LikeKey { user_id, kind, object_id }, Timestamp(user_id))
                };
                likes::insert(conn, &[like(1, LikeKind::Tweet, 1), like(2, LikeKind::Tweet, 1)])?;
                let mut counts = apply_to_tweets(conn, &[bump(1, 1, 0), bump(2, 0, 0)])?;
                counts.sort_by_key(|counts| counts.id);
                let is =
                    |id, likes, comments, version| TweetCounts { id, likes, comments, version };
                assert_eq!(counts, [is(1, 2, 0, 1), is(2, 0, 0, 1)], "{}", test.name);
                let counts = apply_to_tweets(conn, &[bump(1, -2, 3)])?;
                assert_eq!(counts, [is(1, 0, 3, 2)]);
                Ok::<_, StoreError>(())
            });
            outcome.unwrap();
        }
    }
}
