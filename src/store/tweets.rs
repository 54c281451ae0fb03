//! Tweets and their photos.

use std::collections::HashMap;

use diesel::prelude::*;

use super::prepared::Prepared;
use super::rows::{AroundRows, Column, on_rows, pieces};
use super::schema::{newsfeeds, profiles, tweet_photos, tweets};
use super::{Conn, ROWS_PER_STATEMENT, on};
use crate::time::Timestamp;
use crate::timeline::{Entry, Range};

/// A tweet as it is stored. Counts that are NULL have not been counted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TweetRow {
    /// Its id.
    pub id: i64,
    /// Its author.
    pub user_id: i64,
    /// Its text.
    pub content: String,
    /// When it was posted.
    pub created_at: Timestamp,
    /// Likes, if counted.
    pub likes_count: Option<i64>,
    /// Comments, if counted.
    pub comments_count: Option<i64>,
    /// Moves forward with every change of a count.
    pub counts_version: i64,
    /// Photo URLs in upload order.
    pub photo_urls: Vec<String>,
}

/// A tweet to be posted, with its moment.
#[derive(Debug, Clone)]
pub struct NewTweet {
    /// The author.
    pub user_id: i64,
    /// The text, already cleaned.
    pub content: String,
    /// When; unique among all tweets.
    pub created_at: Timestamp,
    /// Photo URLs in upload order.
    pub photo_urls: Vec<String>,
}

/// The live tweets among `ids`, with their photos: two statements whatever the number.
pub fn load(conn: &mut Conn<'_>, ids: &[i64]) -> QueryResult<Vec<TweetRow>> {
    type Row = (i64, i64, String, Timestamp, Option<i64>, Option<i64>, i64);
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(ROWS_PER_STATEMENT) {
        let rows: Vec<Row> = on!(conn, |c| tweets::table
            .filter(tweets::id.eq_any(chunk.iter().copied()))
            .filter(tweets::deleted_at.is_null())
            .select((
                tweets::id,
                tweets::user_id,
                tweets::content,
                tweets::created_at,
                tweets::likes_count,
                tweets::comments_count,
                tweets::counts_version,
            ))
            .load(c))?;
        let mut photos = photos(conn, chunk)?;
        found.extend(rows.into_iter().map(
            |(id, user_id, content, created_at, likes_count, comments_count, version)| TweetRow {
                id,
                user_id,
                content,
                created_at,
                likes_count,
                comments_count,
                counts_version: version,
                photo_urls: photos.remove(&id).unwrap_or_default(),
            },
        ));
    }
    Ok(found)
}

/// As [`load`], with counts for those that were never counted: one more statement, and only
/// while such rows exist.
pub fn load_counted(conn: &mut Conn<'_>, ids: &[i64]) -> QueryResult<Vec<TweetRow>> {
    let mut rows = load(conn, ids)?;
    let uncounted: Vec<i64> = rows
        .iter()
        .filter(|row| row.likes_count.is_none() || row.comments_count.is_none())
        .map(|row| row.id)
        .collect();
    if !uncounted.is_empty() {
        let counts = super::recount::of_tweets(conn, &uncounted)?;
        for row in &mut rows {
            if let Some((likes, comments)) = counts.get(&row.id) {
                row.likes_count = row.likes_count.or(Some(*likes));
                row.comments_count = row.comments_count.or(Some(*comments));
            }
        }
    }
    Ok(rows)
}

/// The photos of each of these tweets, in upload order.
pub fn photos(conn: &mut Conn<'_>, ids: &[i64]) -> QueryResult<HashMap<i64, Vec<String>>> {
    let rows: Vec<(i64, String)> = on!(conn, |c| tweet_photos::table
        .filter(tweet_photos::tweet_id.eq_any(ids.iter().copied()))
        .order((tweet_photos::tweet_id, tweet_photos::position))
        .select((tweet_photos::tweet_id, tweet_photos::url))
        .load(c))?;
    let mut photos: HashMap<i64, Vec<String>> = HashMap::new();
    for (id, url) in rows {
        photos.entry(id).or_default().push(url);
    }
    Ok(photos)
}

/// At most `want` entries of an author's list within `range`, newest first.
pub fn page(
    conn: &mut Conn<'_>,
    author: i64,
    range: Range,
    want: usize,
) -> QueryResult<Vec<Entry>> {
    let rows: Vec<(Timestamp, i64)> = on!(conn, |c| tweets::table
        .filter(tweets::user_id.eq(author))
        .filter(tweets::deleted_at.is_null())
        .filter(tweets::created_at.lt(range.older_than))
        .filter(tweets::created_at.gt(range.newer_than))
        .order(tweets::created_at.desc())
        .limit(want as i64)
        .select((tweets::created_at, tweets::id))
        .load(c))?;
    Ok(rows.into_iter().map(|(created_at, tweet_id)| Entry { created_at, tweet_id }).collect())
}

/// Stores tweets with their photos, and their authors' own feed entries. Ids come back in the
/// order of `new`.
pub fn insert(conn: &mut Conn<'_>, new: &[NewTweet]) -> QueryResult<Vec<i64>> {
    let mut ids: HashMap<Timestamp, i64> = HashMap::with_capacity(new.len());
    for chunk in new.chunks(ROWS_PER_STATEMENT) {
        let values: Vec<_> = chunk
            .iter()
            .map(|tweet| {
                (
                    tweets::user_id.eq(tweet.user_id),
                    tweets::content.eq(&tweet.content),
                    tweets::created_at.eq(tweet.created_at),
                    tweets::likes_count.eq(0_i64),
                    tweets::comments_count.eq(0_i64),
                )
            })
            .collect();
        let rows: Vec<(Timestamp, i64)> = on!(conn, |c| diesel::insert_into(tweets::table)
            .values(&values)
            .returning((tweets::created_at, tweets::id))
            .get_results(c))?;
        ids.extend(rows);
    }
    // The order of returned rows is nowhere promised; the unique moment tells which is which.
    let ids: Vec<i64> = new
        .iter()
        .map(|tweet| ids.get(&tweet.created_at).copied().ok_or(diesel::result::Error::NotFound))
        .collect::<QueryResult<_>>()?;
    insert_photos(conn, new, &ids)?;
    let own: Vec<_> =
        new.iter().zip(&ids).map(|(tweet, id)| (tweet.user_id, tweet.created_at, *id)).collect();
    super::newsfeeds::insert(conn, &own)?;
    Ok(ids)
}

fn insert_photos(conn: &mut Conn<'_>, new: &[NewTweet], ids: &[i64]) -> QueryResult<()> {
    let values: Vec<_> = new
        .iter()
        .zip(ids)
        .flat_map(|(tweet, id)| {
            tweet.photo_urls.iter().enumerate().map(|(position, url)| {
                (
                    tweet_photos::tweet_id.eq(*id),
                    tweet_photos::position.eq(position as i16),
                    tweet_photos::url.eq(url),
                )
            })
        })
        .collect();
    for chunk in values.chunks(ROWS_PER_STATEMENT) {
        on!(conn, |c| diesel::insert_into(tweet_photos::table).values(chunk).execute(c))?;
    }
    Ok(())
}

/// Adds to the tweets_count of each author: (author, change) pairs, one per author.
pub fn count_tweets(conn: &mut Conn<'_>, changes: &[(i64, i64)]) -> QueryResult<()> {
    for (author, change) in changes {
        let query = Prepared {
            sql: "UPDATE profiles SET tweets_count = tweets_count + ? WHERE user_id = ?",
            binds: &[*change, *author],
        };
        on!(conn, |c| query.execute(c))?;
    }
    Ok(())
}

/// Those of `authors` who have followers.
pub fn followed_authors(conn: &mut Conn<'_>, authors: &[i64]) -> QueryResult<Vec<i64>> {
    on!(conn, |c| profiles::table
        .filter(profiles::user_id.eq_any(authors.iter().copied()))
        .filter(profiles::followers_count.gt(0))
        .select(profiles::user_id)
        .load(c))
}

/// A live tweet's author, time and time of last delivery.
#[derive(Debug, Clone, Copy, Queryable)]
pub struct Standing {
    /// The author.
    pub user_id: i64,
    /// When it was posted.
    pub created_at: Timestamp,
    /// When its fan-out was finished, if it is.
    pub delivered_at: Option<Timestamp>,
}

/// Where a live tweet stands; `None` if there is none.
pub fn standing(conn: &mut Conn<'_>, id: i64) -> QueryResult<Option<Standing>> {
    on!(conn, |c| tweets::table
        .filter(tweets::id.eq(id).and(tweets::deleted_at.is_null()))
        .select((tweets::user_id, tweets::created_at, tweets::delivered_at))
        .first(c)
        .optional())
}

struct SetDelivered;

impl AroundRows for SetDelivered {
    type Row = ();
    type Columns = [Column; 2];
    const POSTGRES: [&'static str; 2] = [
        "WITH d(id, at) AS (",
        ") UPDATE tweets SET delivered_at = d.at FROM d WHERE tweets.id = d.id",
    ];
}

/// Says that the fan-out of these tweets was finished at `at`.
pub fn set_delivered(conn: &mut Conn<'_>, ids: &[i64], at: Timestamp) -> QueryResult<()> {
    for ids in pieces(conn.engine(), ids) {
        let columns = [Column::big(ids, |id| *id), Column::big(ids, |_| at.micros())];
        on_rows!(conn, SetDelivered, columns, |query, c| query.execute(c))?;
    }
    Ok(())
}

/// Turns a live tweet into a tombstone and takes it out of its author's own feed.
pub fn bury(conn: &mut Conn<'_>, id: i64, tweet: Standing, at: Timestamp) -> QueryResult<()> {
    on!(conn, |c| diesel::update(tweets::table.filter(tweets::id.eq(id)))
        .set(tweets::deleted_at.eq(at))
        .execute(c))?;
    on!(conn, |c| diesel::delete(
        newsfeeds::table
            .filter(newsfeeds::user_id.eq(tweet.user_id))
            .filter(newsfeeds::created_at.eq(tweet.created_at))
    )
    .execute(c))?;
    count_tweets(conn, &[(tweet.user_id, -1)])
}

/// Removes a tombstone and its photo rows for good.
pub fn erase(conn: &mut Conn<'_>, id: i64) -> QueryResult<()> {
    on!(conn, |c| diesel::delete(tweet_photos::table.filter(tweet_photos::tweet_id.eq(id)))
        .execute(c))?;
    on!(conn, |c| diesel::delete(
        tweets::table.filter(tweets::id.eq(id).and(tweets::deleted_at.is_not_null()))
    )
    .execute(c))?;
    Ok(())
}
