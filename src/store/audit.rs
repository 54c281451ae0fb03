//! What `roost check` asks: each question is one statement over a range of ids, so that it sees
//! one state of the database and needs bounded memory, also while the service runs.
//!
//! What an open task is still to do is not wrong yet: its tweet, or its reader and author, are
//! left out.

mod statements;

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};

use super::repair::{IdRange, Table};
use super::schema::{comments, tweets};
use super::{Conn, ROWS_PER_STATEMENT, on};

/// One question. Its findings are rows that should not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// tweets.likes_count against the rows.
    TweetLikes,
    /// tweets.comments_count against the rows.
    TweetComments,
    /// comments.likes_count against the rows.
    CommentLikes,
    /// profiles.followers_count against the rows.
    Followers,
    /// profiles.followings_count against the rows.
    Followings,
    /// profiles.tweets_count against the rows.
    Tweets,
    /// Spans of followers against the rows in them.
    FollowerSpans,
    /// Spans of followings against the rows in them.
    FollowingSpans,
    /// Followers in no span.
    FollowersOutsideSpans,
    /// Followings in no span.
    FollowingsOutsideSpans,
    /// Tweets neither delivered nor with a task that will.
    LostDeliveries,
    /// Deleted tweets without a task that clears them away.
    LostDeletions,
    /// Comments on a tweet that is gone.
    LostComments,
    /// Likes of a tweet or comment that is gone, without a task that clears them away.
    LostLikes,
    /// Tweets that are twice in a feed.
    Duplicates,
    /// Tweets missing in the feed of their author or of a follower.
    Gaps,
    /// Feed entries by people whom the reader does not follow.
    Strangers,
    /// Feed entries whose tweet is gone.
    Ghosts,
}

/// One difference. What the numbers mean depends on the [`Check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct Finding {
    /// The tweet, comment, user or reader.
    #[diesel(sql_type = BigInt)]
    pub subject: i64,
    /// The tweet in a feed, the start of a span, or 0.
    #[diesel(sql_type = BigInt)]
    pub detail: i64,
    /// What the rows say, where there is something to count.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub expected: Option<i64>,
    /// What is stored.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub found: Option<i64>,
    /// How many findings the statement had in all.
    #[diesel(sql_type = BigInt)]
    total: i64,
}

impl Check {
    /// Every check, cheap ones first.
    pub const ALL: [Check; 18] = [
        Check::TweetLikes,
        Check::TweetComments,
        Check::CommentLikes,
        Check::Followers,
        Check::Followings,
        Check::Tweets,
        Check::FollowerSpans,
        Check::FollowingSpans,
        Check::FollowersOutsideSpans,
        Check::FollowingsOutsideSpans,
        Check::LostDeliveries,
        Check::LostDeletions,
        Check::LostComments,
        Check::LostLikes,
        Check::Duplicates,
        Check::Gaps,
        Check::Strangers,
        Check::Ghosts,
    ];

    /// Whose ids the ranges of this check are.
    pub fn table(self) -> Table {
        match self {
            Check::TweetLikes
            | Check::TweetComments
            | Check::LostDeliveries
            | Check::LostDeletions => Table::Tweets,
            Check::CommentLikes | Check::LostComments => Table::Comments,
            _ => Table::Users,
        }
    }

    /// Rows with the columns subject, detail, expected, found.
    fn sql(self) -> String {
        use statements as s;
        match self {
            Check::TweetLikes => {
                s::count("tweets", "likes_count", "likes WHERE kind = 1 AND object_id = tweets.id")
            }
            Check::TweetComments => {
                s::count("tweets", "comments_count", "comments WHERE tweet_id = tweets.id")
            }
            Check::CommentLikes => s::count(
                "comments",
                "likes_count",
                "likes WHERE kind = 2 AND object_id = comments.id",
            ),
            Check::Followers => {
                s::profile("followers_count", "friendships WHERE to_user_id = users.id")
            }
            Check::Followings => {
                s::profile("followings_count", "friendships WHERE from_user_id = users.id")
            }
            Check::Tweets => {
                s::profile("tweets_count", "tweets WHERE user_id = users.id AND deleted_at IS NULL")
            }
            Check::FollowerSpans => s::spans(1, "to_user_id"),
            Check::FollowingSpans => s::spans(2, "from_user_id"),
            Check::FollowersOutsideSpans => s::outside_spans(1, "to_user_id"),
            Check::FollowingsOutsideSpans => s::outside_spans(2, "from_user_id"),
            Check::LostDeliveries => s::LOST_DELIVERIES.into(),
            Check::LostDeletions => s::LOST_DELETIONS.into(),
            Check::LostComments => s::LOST_COMMENTS.into(),
            Check::LostLikes => s::LOST_LIKES.into(),
            Check::Duplicates => s::DUPLICATES.into(),
            Check::Gaps => s::GAPS.into(),
            Check::Strangers => s::STRANGERS.into(),
            Check::Ghosts => s::GHOSTS.into(),
        }
    }
}

/// Runs a check over a range. Returns at most `limit` findings, and how many there are in all.
pub fn run(
    conn: &mut Conn<'_>,
    check: Check,
    range: IdRange,
    limit: usize,
) -> QueryResult<(Vec<Finding>, u64)> {
    let query = diesel::sql_query(format!(
        "SELECT subject, detail, expected, found, count(*) OVER () AS total FROM ({}) AS wrong \
         ORDER BY subject, detail LIMIT $3",
        check.sql()
    ))
    .bind::<BigInt, _>(range.after)
    .bind::<BigInt, _>(range.up_to)
    // At least one row, since the rows carry the total.
    .bind::<BigInt, _>(limit.max(1) as i64);
    let mut rows: Vec<Finding> = on!(conn, |c| query.load(c))?;
    let total = rows.first().map_or(0, |row| row.total) as u64;
    rows.truncate(limit);
    Ok((rows, total))
}

/// What is not wrong, but good to know: work that is still to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unfinished {
    /// Tweets with a count that was never taken.
    pub uncounted_tweets: i64,
    /// Comments with a count that was never taken.
    pub uncounted_comments: i64,
    /// Open tasks: (kind, how many).
    pub open_tasks: Vec<(i64, i64)>,
    /// Notifications in the outbox.
    pub outbox: i64,
}

/// Counts what is still to be done.
pub fn unfinished(conn: &mut Conn<'_>) -> QueryResult<Unfinished> {
    let one = |conn: &mut Conn<'_>, from: &str| -> QueryResult<i64> {
        Ok(pairs(conn, &format!("SELECT 0 AS name, count(*) AS rows FROM {from}"))?
            .first()
            .map_or(0, |(_, rows)| *rows))
    };
    Ok(Unfinished {
        uncounted_tweets: one(
            conn,
            "tweets WHERE deleted_at IS NULL AND (likes_count IS NULL OR comments_count IS NULL)",
        )?,
        uncounted_comments: one(conn, "comments WHERE likes_count IS NULL")?,
        open_tasks: pairs(
            conn,
            "SELECT kind AS name, count(*) AS rows FROM fanout_tasks \
             WHERE finished_at IS NULL GROUP BY kind ORDER BY kind",
        )?,
        outbox: one(conn, "notification_outbox")?,
    })
}

fn pairs(conn: &mut Conn<'_>, sql: &str) -> QueryResult<Vec<(i64, i64)>> {
    #[derive(QueryableByName)]
    struct Pair {
        #[diesel(sql_type = BigInt)]
        name: i64,
        #[diesel(sql_type = BigInt)]
        rows: i64,
    }
    let query = diesel::sql_query(format!(
        "SELECT CAST(name AS BIGINT) AS name, rows FROM ({sql}) AS counted"
    ));
    let rows: Vec<Pair> = on!(conn, |c| query.load(c))?;
    Ok(rows.into_iter().map(|row| (row.name, row.rows)).collect())
}

/// The counts of a live row, if all of them were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Moves forward with every change.
    pub version: i64,
    /// Likes.
    pub likes: i64,
    /// Comments; 0 for a comment.
    pub comments: i64,
}

/// The counts of these tweets or comments; without those that are gone or not counted yet.
pub fn counts_of(
    conn: &mut Conn<'_>,
    table: Table,
    ids: &[i64],
) -> QueryResult<HashMap<i64, Counts>> {
    type Row = (i64, i64, Option<i64>, Option<i64>);
    let mut rows: Vec<Row> = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(ROWS_PER_STATEMENT) {
        let chunk = chunk.iter().copied();
        match table {
            Table::Tweets => rows.extend(on!(conn, |c| tweets::table
                .filter(tweets::id.eq_any(chunk))
                .filter(tweets::deleted_at.is_null())
                .select((
                    tweets::id,
                    tweets::counts_version,
                    tweets::likes_count,
                    tweets::comments_count,
                ))
                .load::<Row>(c))?),
            Table::Comments => rows.extend(on!(conn, |c| comments::table
                .filter(comments::id.eq_any(chunk))
                .select((
                    comments::id,
                    comments::counts_version,
                    comments::likes_count,
                    0_i64.into_sql::<BigInt>().nullable(),
                ))
                .load::<Row>(c))?),
            Table::Users => {}
        }
    }
    Ok(rows
        .into_iter()
        .filter_map(|(id, version, likes, comments)| {
            Some((id, Counts { version, likes: likes?, comments: comments? }))
        })
        .collect())
}
