//! What `roost check` asks: each question is one statement over a range of ids, so that it sees
//! one state of the database and needs bounded memory, also while the service runs.
//!
//! What an open task is still to do is not wrong yet: its tweet, or its reader and author, are
//! left out.

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
        match self {
            Check::TweetLikes => {
                count("tweets", "likes_count", "likes WHERE kind = 1 AND object_id = tweets.id")
            }
            Check::TweetComments => {
                count("tweets", "comments_count", "comments WHERE tweet_id = tweets.id")
            }
            Check::CommentLikes => {
                count("comments", "likes_count", "likes WHERE kind = 2 AND object_id = comments.id")
            }
            Check::Followers => {
                profile("followers_count", "friendships WHERE to_user_id = users.id")
            }
            Check::Followings => {
                profile("followings_count", "friendships WHERE from_user_id = users.id")
            }
            Check::Tweets => {
                profile("tweets_count", "tweets WHERE user_id = users.id AND deleted_at IS NULL")
            }
            Check::FollowerSpans => spans(1, "to_user_id"),
            Check::FollowingSpans => spans(2, "from_user_id"),
            Check::FollowersOutsideSpans => outside_spans(1, "to_user_id"),
            Check::FollowingsOutsideSpans => outside_spans(2, "from_user_id"),
            Check::LostDeliveries => LOST_DELIVERIES.into(),
            Check::LostDeletions => LOST_DELETIONS.into(),
            Check::LostComments => LOST_COMMENTS.into(),
            Check::LostLikes => LOST_LIKES.into(),
            Check::Duplicates => DUPLICATES.into(),
            Check::Gaps => GAPS.into(),
            Check::Strangers => STRANGERS.into(),
            Check::Ghosts => GHOSTS.into(),
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

fn count(table: &str, column: &str, rows: &str) -> String {
    let live = if table == "tweets" { "AND deleted_at IS NULL" } else { "" };
    format!(
        "SELECT id AS subject, CAST(0 AS BIGINT) AS detail, expected, found FROM (\
             SELECT id, {column} AS found, (SELECT count(*) FROM {rows}) AS expected \
             FROM {table} WHERE id > $1 AND id <= $2 AND {column} IS NOT NULL {live}) AS counted \
         WHERE expected <> found"
    )
}

/// A user without a profile is a finding with nothing found.
fn profile(column: &str, rows: &str) -> String {
    format!(
        "SELECT id AS subject, CAST(0 AS BIGINT) AS detail, expected, found FROM (\
             SELECT users.id, {column} AS found, (SELECT count(*) FROM {rows}) AS expected \
             FROM users LEFT JOIN profiles ON profiles.user_id = users.id \
             WHERE users.id > $1 AND users.id <= $2) AS counted \
         WHERE expected IS DISTINCT FROM found"
    )
}

fn spans(side: i16, user: &str) -> String {
    format!(
        "SELECT user_id AS subject, start_at AS detail, expected, live AS found FROM (\
             SELECT user_id, start_at, live, (SELECT count(*) FROM friendships \
                 WHERE {user} = spans.user_id AND created_at >= spans.start_at \
                 AND created_at < COALESCE(spans.next_at, 9223372036854775807)) AS expected \
             FROM (SELECT user_id, start_at, live, lead(start_at) OVER (\
                     PARTITION BY user_id ORDER BY start_at) AS next_at \
                 FROM follow_spans WHERE user_id > $1 AND user_id <= $2 AND side = {side}) \
                 AS spans) AS counted \
         WHERE expected <> live"
    )
}

fn outside_spans(side: i16, user: &str) -> String {
    format!(
        "SELECT {user} AS subject, CAST(0 AS BIGINT) AS detail, \
         CAST(0 AS BIGINT) AS expected, count(*) AS found FROM friendships \
         WHERE {user} > $1 AND {user} <= $2 AND NOT EXISTS (SELECT 1 FROM follow_spans \
             WHERE follow_spans.user_id = friendships.{user} AND side = {side} \
             AND start_at <= friendships.created_at) \
         GROUP BY {user}"
    )
}

const LOST_DELIVERIES: &str = "\
    SELECT id AS subject, CAST(0 AS BIGINT) AS detail, CAST(NULL AS BIGINT) AS expected, \
    CAST(NULL AS BIGINT) AS found FROM tweets \
    WHERE id > $1 AND id <= $2 AND deleted_at IS NULL AND delivered_at IS NULL \
    AND NOT EXISTS (SELECT 1 FROM fanout_tasks \
        WHERE finished_at IS NULL AND fanout_tasks.tweet_id = tweets.id)";

const LOST_DELETIONS: &str = "\
    SELECT id AS subject, CAST(0 AS BIGINT) AS detail, CAST(NULL AS BIGINT) AS expected, \
    CAST(NULL AS BIGINT) AS found FROM tweets \
    WHERE id > $1 AND id <= $2 AND deleted_at IS NOT NULL \
    AND NOT EXISTS (SELECT 1 FROM fanout_tasks \
        WHERE finished_at IS NULL AND fanout_tasks.tweet_id = tweets.id)";

const LOST_COMMENTS: &str = "\
    SELECT id AS subject, tweet_id AS detail, CAST(NULL AS BIGINT) AS expected, \
    CAST(NULL AS BIGINT) AS found FROM comments \
    WHERE id > $1 AND id <= $2 \
    AND NOT EXISTS (SELECT 1 FROM tweets WHERE tweets.id = comments.tweet_id)";

/// `found` is the kind of the object. Kind 9: [`super::tasks::TaskKind::PurgeLikes`].
const LOST_LIKES: &str = "\
    SELECT user_id AS subject, object_id AS detail, CAST(NULL AS BIGINT) AS expected, \
    CAST(kind AS BIGINT) AS found FROM likes WHERE user_id > $1 AND user_id <= $2 AND (\
        (kind = 1 AND NOT EXISTS (SELECT 1 FROM tweets WHERE tweets.id = object_id)) \
        OR (kind = 2 AND NOT EXISTS (SELECT 1 FROM comments WHERE comments.id = object_id) \
            AND NOT EXISTS (SELECT 1 FROM fanout_tasks WHERE finished_at IS NULL \
                AND fanout_tasks.kind = 9 AND until_key = object_id)))";

const DUPLICATES: &str = "\
    SELECT user_id AS subject, tweet_id AS detail, CAST(1 AS BIGINT) AS expected, \
    count(*) AS found FROM newsfeeds WHERE user_id > $1 AND user_id <= $2 \
    GROUP BY user_id, tweet_id HAVING count(*) > 1";

/// What should be in the feeds less what is, and less what retention may have taken out of them:
/// an entry is no older than its tweet. CROSS JOIN: see [`super::bulk::deliver`].
const GAPS: &str = "\
    SELECT missing.reader AS subject, missing.tweet AS detail, \
    CAST(NULL AS BIGINT) AS expected, CAST(NULL AS BIGINT) AS found FROM (\
        SELECT user_id AS reader, id AS tweet FROM tweets \
        WHERE user_id > $1 AND user_id <= $2 AND deleted_at IS NULL \
        UNION ALL \
        SELECT f.from_user_id, t.id FROM friendships f CROSS JOIN tweets t \
        WHERE f.from_user_id > $1 AND f.from_user_id <= $2 AND t.user_id = f.to_user_id \
        AND t.created_at > f.created_at AND t.deleted_at IS NULL \
        AND t.delivered_at IS NOT NULL \
        EXCEPT \
        SELECT user_id, tweet_id FROM newsfeeds WHERE user_id > $1 AND user_id <= $2) AS missing \
    WHERE NOT EXISTS (SELECT 1 FROM fanout_tasks \
        WHERE finished_at IS NULL AND fanout_tasks.tweet_id = missing.tweet) \
    AND NOT EXISTS (SELECT 1 FROM fanout_tasks JOIN tweets \
        ON tweets.id = missing.tweet AND tweets.user_id = fanout_tasks.author_id \
        WHERE finished_at IS NULL AND reader_id = missing.reader) \
    AND NOT EXISTS (SELECT 1 FROM feed_trims JOIN tweets \
        ON tweets.id = missing.tweet AND tweets.created_at < feed_trims.below \
        WHERE feed_trims.user_id = missing.reader)";

/// The range is repeated for the friendships, so that Postgres reads them once per range and
/// does not walk the followers of each entry's author.
const STRANGERS: &str = "\
    SELECT n.user_id AS subject, n.tweet_id AS detail, CAST(NULL AS BIGINT) AS expected, \
    t.user_id AS found FROM newsfeeds n JOIN tweets t ON t.id = n.tweet_id \
    WHERE n.user_id > $1 AND n.user_id <= $2 AND t.user_id <> n.user_id \
    AND t.deleted_at IS NULL \
    AND NOT EXISTS (SELECT 1 FROM friendships f WHERE f.from_user_id > $1 \
        AND f.from_user_id <= $2 AND f.from_user_id = n.user_id AND f.to_user_id = t.user_id) \
    AND NOT EXISTS (SELECT 1 FROM fanout_tasks k WHERE k.finished_at IS NULL \
        AND k.reader_id = n.user_id AND k.author_id = t.user_id)";

const GHOSTS: &str = "\
    SELECT n.user_id AS subject, n.tweet_id AS detail, CAST(NULL AS BIGINT) AS expected, \
    CAST(NULL AS BIGINT) AS found FROM newsfeeds n \
    WHERE n.user_id > $1 AND n.user_id <= $2 \
    AND NOT EXISTS (SELECT 1 FROM tweets t WHERE t.id = n.tweet_id AND t.deleted_at IS NULL) \
    AND NOT EXISTS (SELECT 1 FROM fanout_tasks k \
        WHERE k.finished_at IS NULL AND k.tweet_id = n.tweet_id)";

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
