//! The statements behind the questions. Each gives rows with the columns subject, detail, expected
//! and found, for the ids above `$1` up to `$2`.

pub(super) fn count(table: &str, column: &str, rows: &str) -> String {
    let live = if table == "tweets" { "AND deleted_at IS NULL" } else { "" };
    format!(
        "SELECT id AS subject, CAST(0 AS BIGINT) AS detail, expected, found FROM (\
             SELECT id, {column} AS found, (SELECT count(*) FROM {rows}) AS expected \
             FROM {table} WHERE id > $1 AND id <= $2 AND {column} IS NOT NULL {live}) AS counted \
         WHERE expected <> found"
    )
}

/// A user without a profile is a finding with nothing found.
pub(super) fn profile(column: &str, rows: &str) -> String {
    format!(
        "SELECT id AS subject, CAST(0 AS BIGINT) AS detail, expected, found FROM (\
             SELECT users.id, {column} AS found, (SELECT count(*) FROM {rows}) AS expected \
             FROM users LEFT JOIN profiles ON profiles.user_id = users.id \
             WHERE users.id > $1 AND users.id <= $2) AS counted \
         WHERE expected IS DISTINCT FROM found"
    )
}

pub(super) fn spans(side: i16, user: &str) -> String {
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

pub(super) fn outside_spans(side: i16, user: &str) -> String {
    format!(
        "SELECT {user} AS subject, CAST(0 AS BIGINT) AS detail, \
         CAST(0 AS BIGINT) AS expected, count(*) AS found FROM friendships \
         WHERE {user} > $1 AND {user} <= $2 AND NOT EXISTS (SELECT 1 FROM follow_spans \
             WHERE follow_spans.user_id = friendships.{user} AND side = {side} \
             AND start_at <= friendships.created_at) \
         GROUP BY {user}"
    )
}

pub(super) const LOST_DELIVERIES: &str = "\
    SELECT id AS subject, CAST(0 AS BIGINT) AS detail, CAST(NULL AS BIGINT) AS expected, \
    CAST(NULL AS BIGINT) AS found FROM tweets \
    WHERE id > $1 AND id <= $2 AND deleted_at IS NULL AND delivered_at IS NULL \
    AND NOT EXISTS (SELECT 1 FROM fanout_tasks \
        WHERE finished_at IS NULL AND fanout_tasks.tweet_id = tweets.id)";

pub(super) const LOST_DELETIONS: &str = "\
    SELECT id AS subject, CAST(0 AS BIGINT) AS detail, CAST(NULL AS BIGINT) AS expected, \
    CAST(NULL AS BIGINT) AS found FROM tweets \
    WHERE id > $1 AND id <= $2 AND deleted_at IS NOT NULL \
    AND NOT EXISTS (SELECT 1 FROM fanout_tasks \
        WHERE finished_at IS NULL AND fanout_tasks.tweet_id = tweets.id)";

pub(super) const LOST_COMMENTS: &str = "\
    SELECT id AS subject, tweet_id AS detail, CAST(NULL AS BIGINT) AS expected, \
    CAST(NULL AS BIGINT) AS found FROM comments \
    WHERE id > $1 AND id <= $2 \
    AND NOT EXISTS (SELECT 1 FROM tweets WHERE tweets.id = comments.tweet_id)";

/// `found` is the kind of the object. Kind 9: [`crate::store::tasks::TaskKind::PurgeLikes`].
pub(super) const LOST_LIKES: &str = "\
    SELECT user_id AS subject, object_id AS detail, CAST(NULL AS BIGINT) AS expected, \
    CAST(kind AS BIGINT) AS found FROM likes WHERE user_id > $1 AND user_id <= $2 AND (\
        (kind = 1 AND NOT EXISTS (SELECT 1 FROM tweets WHERE tweets.id = object_id)) \
        OR (kind = 2 AND NOT EXISTS (SELECT 1 FROM comments WHERE comments.id = object_id) \
            AND NOT EXISTS (SELECT 1 FROM fanout_tasks WHERE finished_at IS NULL \
                AND fanout_tasks.kind = 9 AND until_key = object_id)))";

pub(super) const DUPLICATES: &str = "\
    SELECT user_id AS subject, tweet_id AS detail, CAST(1 AS BIGINT) AS expected, \
    count(*) AS found FROM newsfeeds WHERE user_id > $1 AND user_id <= $2 \
    GROUP BY user_id, tweet_id HAVING count(*) > 1";

/// What should be in the feeds less what is, and less what retention may have taken out of them:
/// an entry is no older than its tweet. CROSS JOIN: see [`crate::store::bulk::deliver`].
pub(super) const GAPS: &str = "\
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
pub(super) const STRANGERS: &str = "\
    SELECT n.user_id AS subject, n.tweet_id AS detail, CAST(NULL AS BIGINT) AS expected, \
    t.user_id AS found FROM newsfeeds n JOIN tweets t ON t.id = n.tweet_id \
    WHERE n.user_id > $1 AND n.user_id <= $2 AND t.user_id <> n.user_id \
    AND t.deleted_at IS NULL \
    AND NOT EXISTS (SELECT 1 FROM friendships f WHERE f.from_user_id > $1 \
        AND f.from_user_id <= $2 AND f.from_user_id = n.user_id AND f.to_user_id = t.user_id) \
    AND NOT EXISTS (SELECT 1 FROM fanout_tasks k WHERE k.finished_at IS NULL \
        AND k.reader_id = n.user_id AND k.author_id = t.user_id)";

pub(super) const GHOSTS: &str = "\
    SELECT n.user_id AS subject, n.tweet_id AS detail, CAST(NULL AS BIGINT) AS expected, \
    CAST(NULL AS BIGINT) AS found FROM newsfeeds n \
    WHERE n.user_id > $1 AND n.user_id <= $2 \
    AND NOT EXISTS (SELECT 1 FROM tweets t WHERE t.id = n.tweet_id AND t.deleted_at IS NULL) \
    AND NOT EXISTS (SELECT 1 FROM fanout_tasks k \
        WHERE k.finished_at IS NULL AND k.tweet_id = n.tweet_id)";
