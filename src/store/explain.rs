//! What is known of one tweet and one reader, for `roost why`.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::profiles::{self, Who};
use super::schema::{fanout_tasks, newsfeeds, tweets};
use super::tasks::TaskKind;
use super::{Conn, friendships, on, retention};
use crate::time::Timestamp;

/// Copies of a tweet in one feed, and tasks of one kind of question, that are looked at.
const MOST: i64 = 20;

/// A task, also one that is finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFacts {
    /// Its id.
    pub id: i64,
    /// What it does.
    pub kind: TaskKind,
    /// How far it has come; see [`TaskKind`].
    pub progress: i64,
    /// Rows written so far.
    pub rows_done: i64,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it ended, if it has.
    pub finished_at: Option<Timestamp>,
    /// Failures since its last step that went well.
    pub attempts: i64,
    /// When it is tried again, if it was set back.
    pub retry_at: Option<Timestamp>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// Microseconds spent in its steps so far.
    pub work_us: i64,
}

/// A tweet, deleted ones included as long as their row is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TweetFacts {
    /// Its author.
    pub author_id: i64,
    /// When it was posted.
    pub created_at: Timestamp,
    /// When its last follower received it, if that has happened.
    pub delivered_at: Option<Timestamp>,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

/// How far a delivery or its removal has come among the followers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Followers that the task has passed.
    pub passed: i64,
    /// Followers in all.
    pub followers: i64,
}

/// Everything that the database knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The reader.
    pub reader: i64,
    /// The tweet, if its row is there.
    pub tweet: Option<TweetFacts>,
    /// The greatest id that a tweet has now.
    pub last_tweet: i64,
    /// When the tweet became visible in the feed: once, or not at all, unless something is wrong.
    pub entries: Vec<Timestamp>,
    /// Since when the reader follows the author, if at all.
    pub follows_since: Option<Timestamp>,
    /// Tasks of the tweet, newest first.
    pub of_tweet: Vec<TaskFacts>,
    /// Tasks of the reader and the author, newest first.
    pub of_pair: Vec<TaskFacts>,
    /// How far the open task of the tweet has come.
    pub reach: Option<Reach>,
    /// Entries older than this may have been trimmed, and when that happened last.
    pub trimmed: Option<(Timestamp, Timestamp)>,
}

/// The user whom an argument names: `@name`, an id, or a name. A number that is no id may be a
/// name too.
pub fn user(conn: &mut Conn<'_>, text: &str) -> QueryResult<Option<(i64, String)>> {
    let lower = text.to_lowercase();
    let name = lower.strip_prefix('@').unwrap_or(&lower);
    let by_id = match lower.parse() {
        Ok(id) => profiles::profile(conn, Who::Id(id))?,
        Err(_) => None,
    };
    let found = match by_id {
        Some(found) => Some(found),
        None => profiles::profile(conn, Who::Name(name))?,
    };
    Ok(found.map(|found| (found.card.id, found.card.username)))
}

/// Collects the facts.
pub fn facts(conn: &mut Conn<'_>, reader: i64, tweet_id: i64) -> QueryResult<Facts> {
    type Row = (i64, Timestamp, Option<Timestamp>, Option<Timestamp>);
    let row: Option<Row> = on!(conn, |c| tweets::table
        .filter(tweets::id.eq(tweet_id))
        .select((tweets::user_id, tweets::created_at, tweets::delivered_at, tweets::deleted_at))
        .first(c)
        .optional())?;
    let tweet = row.map(|(author_id, created_at, delivered_at, deleted_at)| TweetFacts {
        author_id,
        created_at,
        delivered_at,
        deleted_at,
    });
    let last: Option<i64> =
        on!(conn, |c| tweets::table.select(diesel::dsl::max(tweets::id)).first(c))?;
    let of_tweet = tasks(conn, Of::Tweet(tweet_id))?;
    let (follows_since, of_pair, reach) = match &tweet {
        Some(tweet) => {
            let open = of_tweet.iter().find(|task| task.finished_at.is_none());
            let reach = open.map(|task| reach(conn, tweet.author_id, task.progress)).transpose()?;
            (
                friendships::since(conn, reader, tweet.author_id)?,
                tasks(conn, Of::Pair(reader, tweet.author_id))?,
                reach,
            )
        }
        None => (None, Vec::new(), None),
    };
    Ok(Facts {
        reader,
        entries: entries(conn, reader, tweet_id, tweet.as_ref())?,
        tweet,
        last_tweet: last.unwrap_or(0),
        follows_since,
        of_tweet,
        of_pair,
        reach,
        trimmed: retention::of_reader(conn, reader)?,
    })
}

/// An entry is no older than its tweet, so only the newer part of the feed is looked at.
fn entries(
    conn: &mut Conn<'_>,
    reader: i64,
    tweet_id: i64,
    tweet: Option<&TweetFacts>,
) -> QueryResult<Vec<Timestamp>> {
    let oldest = tweet.map_or(Timestamp::MIN, |tweet| tweet.created_at);
    on!(conn, |c| newsfeeds::table
        .filter(newsfeeds::user_id.eq(reader).and(newsfeeds::created_at.ge(oldest)))
        .filter(newsfeeds::tweet_id.eq(tweet_id))
        .order(newsfeeds::created_at)
        .limit(MOST)
        .select(newsfeeds::created_at)
        .load(c))
}

/// Whose tasks.
enum Of {
    Tweet(i64),
    Pair(i64, i64),
}

fn tasks(conn: &mut Conn<'_>, of: Of) -> QueryResult<Vec<TaskFacts>> {
    type Row = (
        i64,
        i16,
        i64,
        i64,
        Timestamp,
        Option<Timestamp>,
        i64,
        Option<Timestamp>,
        Option<String>,
        i64,
    );
    let columns = (
        fanout_tasks::id,
        fanout_tasks::kind,
        fanout_tasks::progress,
        fanout_tasks::rows_done,
        fanout_tasks::created_at,
        fanout_tasks::finished_at,
        fanout_tasks::attempts,
        fanout_tasks::retry_at,
        fanout_tasks::last_error,
        fanout_tasks::work_us,
    );
    let newest = || fanout_tasks::table.order(fanout_tasks::id.desc()).limit(MOST).select(columns);
    let rows: Vec<Row> = match of {
        Of::Tweet(id) => on!(conn, |c| newest().filter(fanout_tasks::tweet_id.eq(id)).load(c))?,
        Of::Pair(reader, author) => on!(conn, |c| newest()
            .filter(fanout_tasks::reader_id.eq(reader).and(fanout_tasks::author_id.eq(author)))
            // Says what the index says.
            .filter(fanout_tasks::reader_id.ne(0))
            .load(c))?,
    };
    let known = rows.into_iter().filter_map(|row| {
        let (id, kind, progress, rows_done, created_at, finished_at, attempts, ..) = row;
        let (.., retry_at, last_error, work_us) = row;
        let kind = TaskKind::from_code(kind)?;
        Some(TaskFacts {
            id,
            kind,
            progress,
            rows_done,
            created_at,
            finished_at,
            attempts,
            retry_at,
            last_error,
            work_us,
        })
    });
    Ok(known.collect())
}

fn reach(conn: &mut Conn<'_>, author: i64, progress: i64) -> QueryResult<Reach> {
    #[derive(QueryableByName)]
    struct Counted {
        #[diesel(sql_type = BigInt)]
        passed: i64,
        #[diesel(sql_type = BigInt)]
        followers: i64,
    }
    let query = diesel::sql_query(
        "SELECT count(CASE WHEN from_user_id <= $1 THEN 1 END) AS passed, \
         count(*) AS followers FROM friendships WHERE to_user_id = $2",
    )
    .bind::<BigInt, _>(progress)
    .bind::<BigInt, _>(author);
    let Counted { passed, followers } = on!(conn, |c| query.get_result(c))?;
    Ok(Reach { passed, followers })
}
