//! Pages over entries whose tweets are gone.

use std::time::Duration;

use diesel::prelude::*;

use super::*;
use crate::store::counts::tests::add_user;
use crate::store::likes::{self, LikeKey};
use crate::store::schema;
use crate::store::testing::{TestDb, databases};
use crate::store::tweets::{self, NewTweet};
use crate::store::{newsfeeds, on};
use crate::timeline::{EntryStore, TimelinesConfig};

const READER: i64 = 1;
const AUTHOR: i64 = 2;
const HOME: TimelineKey = TimelineKey::Home(READER);

fn hydrator(test: &TestDb, list_limit: usize) -> Hydrator {
    let config =
        TimelinesConfig { list_limit, resident_entries: 100_000, idle: Duration::from_secs(3600) };
    Hydrator {
        timelines: Timelines::new(config, Arc::new(EntryStore::new(test.db.clone()))),
        tweets: Arc::new(Tweets::new(test.db.clone(), 100)),
        users: Arc::new(Users::new(test.db.clone(), 100)),
        liked: Arc::new(LikedFlags::new(test.db.clone(), 100)),
    }
}

/// Five living tweets, and above them `gone` entries whose tweets do not exist.
fn write(test: &TestDb, gone: i64) {
    let write = |conn: &mut crate::store::Conn<'_>| {
        add_user(conn, READER)?;
        add_user(conn, AUTHOR)?;
        for at in 1..=5 {
            let new = NewTweet {
                user_id: AUTHOR,
                content: format!("number {at}"),
                created_at: Timestamp(at),
                photo_urls: Vec::new(),
            };
            let ids = tweets::insert(conn, &[new])?;
            newsfeeds::insert(conn, &[(READER, Timestamp(at), ids[0])])?;
        }
        let ghosts: Vec<_> =
            (0..gone).map(|n| (READER, Timestamp(100 + n), 1_000_000 + n)).collect();
        Ok(newsfeeds::insert(conn, &ghosts)?)
    };
    test.db.write_blocking(write).unwrap();
}

/// However many have gone, and however short the page: it is full, and `has_next_page` exact.
#[actix_rt::test]
async fn entries_without_tweets_never_shorten_a_page() {
    for test in databases() {
        write(&test, 1_500);
        for list_limit in [10, 1_000] {
            let hydrator = hydrator(&test, list_limit);
            for size in 1..=6 {
                let name = format!("{}, {list_limit} kept, a page of {size}", test.name);
                let page = hydrator
                    .page(HOME, Some(READER), Range::ALL, size, Shape::Entries)
                    .await
                    .unwrap();
                let body: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
                let shown: Vec<i64> = body["results"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item["id"].as_i64().unwrap())
                    .collect();
                let expected: Vec<i64> = (1..=5).rev().take(size).collect();
                assert_eq!(shown, expected, "{name}");
                assert_eq!(body["has_next_page"], size < 5, "{name}");
                assert_eq!(page.has_next, size < 5, "{name}");
                assert_eq!(page.orphans.len(), MOST_ORPHANS, "{name}");
            }
        }
    }
}

/// Only tweets that somebody likes are asked for; the answers stand with the right ones.
#[actix_rt::test]
async fn a_like_is_shown_at_the_tweet_that_it_is_for() {
    for test in databases() {
        write(&test, 0);
        let hydrator = hydrator(&test, 100);
        let page = || hydrator.page(HOME, Some(READER), Range::ALL, 10, Shape::Entries);
        let shown = |page: Page| -> Vec<(String, bool)> {
            let body: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
            let tweets = body["results"].as_array().unwrap().iter().map(|item| &item["tweet"]);
            let text = |tweet: &serde_json::Value| tweet["content"].as_str().unwrap().to_owned();
            tweets.map(|tweet| (text(tweet), tweet["has_liked"] == true)).collect()
        };
        let like = |conn: &mut crate::store::Conn<'_>| {
            let of = |content: &'static str| {
                schema::tweets::table
                    .filter(schema::tweets::content.eq(content))
                    .select(schema::tweets::id)
            };
            for (content, liker) in [("number 2", READER), ("number 4", AUTHOR)] {
                let id: i64 = on!(conn, |c| of(content).first(c))?;
                let key = LikeKey { user_id: liker, kind: LikeKind::Tweet, object_id: id };
                likes::insert(conn, &[(key, Timestamp(1))])?;
                let row = schema::tweets::table.filter(schema::tweets::id.eq(id));
                on!(conn, |c| diesel::update(row)
                    .set(schema::tweets::likes_count.eq(1_i64))
                    .execute(c))?;
            }
            Ok(())
        };
        test.db.write_blocking(like).unwrap();
        let expected: Vec<(String, bool)> =
            (1..=5).rev().map(|at| (format!("number {at}"), at == 2)).collect();
        assert_eq!(shown(page().await.unwrap()), expected, "{}", test.name);
    }
}
