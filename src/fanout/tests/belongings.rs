//! What hangs on a tweet, and what of it is left when the tweet is gone.

use diesel::prelude::*;

use super::{Desk, read};
use crate::store::on;
use crate::store::schema::{comments, likes, newsfeeds, tweet_photos, tweets};

/// Photos, comments and likes of a tweet.
pub(super) fn belongings(desk: &Desk<'_>, tweet: i64) {
    desk.test
        .db
        .write_blocking(|conn| {
            for n in 1..=5_i64 {
                on!(conn, |c| diesel::insert_into(tweet_photos::table)
                    .values((
                        tweet_photos::tweet_id.eq(tweet),
                        tweet_photos::position.eq(n as i16),
                        tweet_photos::url.eq(format!("/media/{tweet}/{n}.jpg")),
                    ))
                    .execute(c))?;
                let comment: i64 = on!(conn, |c| diesel::insert_into(comments::table)
                    .values((
                        comments::tweet_id.eq(tweet),
                        comments::user_id.eq(n),
                        comments::content.eq("hm"),
                        comments::created_at.eq(n),
                    ))
                    .returning(comments::id)
                    .get_result(c))?;
                for (kind, object) in [(1_i16, tweet), (2, comment)] {
                    on!(conn, |c| diesel::insert_into(likes::table)
                        .values((
                            likes::user_id.eq(n),
                            likes::kind.eq(kind),
                            likes::object_id.eq(object),
                            likes::created_at.eq(n),
                        ))
                        .execute(c))?;
                }
            }
            Ok(())
        })
        .unwrap();
}

/// Rows left of a tweet: entries, tweet, photos, comments, likes (of anything: there are no
/// others in these tests).
pub(super) fn rows_of(desk: &Desk<'_>, tweet: i64) -> [i64; 5] {
    read(desk.test, |conn| {
        on!(conn, |c| Ok([
            newsfeeds::table.filter(newsfeeds::tweet_id.eq(tweet)).count().get_result(c)?,
            tweets::table.filter(tweets::id.eq(tweet)).count().get_result(c)?,
            tweet_photos::table.filter(tweet_photos::tweet_id.eq(tweet)).count().get_result(c)?,
            comments::table.filter(comments::tweet_id.eq(tweet)).count().get_result(c)?,
            likes::table.count().get_result(c)?,
        ]))
    })
}
