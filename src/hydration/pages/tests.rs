//! Pages over entries whose tweets are gone.

use std::time::Duration;

use diesel::prelude::*;

use super::*;
use crate::counter::{Changes, CountSink};
use crate::hydration::tweets::TweetCounts;
use crate::store::counts::tests::add_user;
use crate::store::likes::{self, LikeKey};
use crate::store::testing::{TestDb, databases};
use crate::store::tweets::{self, NewTweet};
use crate::store::{newsfeeds, on};
use crate::store::{profiles, schema};
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
        kept: KeptPages::new(1 << 20),
    }
}

/// Five living tweets, and above them `gone` entries whose tweets do not exist.
fn write(test: &TestDb, gone: i64) {
    let write = |conn: &mut crate::store::Conn<'_>| {
        add_user(conn, READER)?;
        add_user(conn, AUTHOR)?;
        let profile = schema::profiles::user_id.eq(AUTHOR);
        on!(conn, |c| diesel::insert_into(schema::profiles::table).values(profile).execute(c))?;
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
        let shown = |page: Arc<Page>| -> Vec<(String, bool)> {
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

/// A page that is asked for again and again is put together once, until something on it changes.
#[actix_rt::test]
async fn a_page_is_kept_until_something_on_it_changes() {
    for test in databases() {
        write(&test, 0);
        let hydrator = hydrator(&test, 100);
        let Hydrator { timelines, tweets, users, liked, .. } = &hydrator;
        let plain = Hydrator {
            timelines: timelines.clone(),
            tweets: tweets.clone(),
            users: users.clone(),
            liked: liked.clone(),
            kept: KeptPages::new(0),
        };
        let page = async |from: &Hydrator| {
            from.page(HOME, Some(READER), Range::ALL, 10, Shape::Entries).await.unwrap()
        };
        let ids = test.db.write_blocking(|conn| {
            use schema::tweets::dsl;
            Ok(on!(conn, |c| dsl::tweets.order(dsl::id).select(dsl::id).load::<i64>(c))?)
        });
        let (first, third, last) = match ids.unwrap()[..] {
            [first, _, third, _, last] => (first, third, last),
            ref other => panic!("{other:?}"),
        };
        let like = LikeKey { user_id: READER, kind: LikeKind::Tweet, object_id: third };
        let rename = || {
            let nickname = Some("Anne".to_owned());
            let change = profiles::Change { nickname, avatar_url: None };
            test.db.write_blocking(|conn| Ok(profiles::change(conn, AUTHOR, &change)?)).unwrap();
            users.invalidate(AUTHOR);
        };
        let counts = TweetCounts { likes: 7, comments: 1, version: 9 };
        let liking = Changes { likes: vec![(like, true)], ..Changes::default() };
        let new = Entry { created_at: Timestamp(50), tweet_id: first };
        let changes: [(&str, &dyn Fn()); 6] = [
            ("a new entry", &|| timelines.push(HOME, new)),
            ("one entry less", &|| timelines.remove(HOME, last)),
            ("other counts", &|| tweets.apply_counts(third, counts)),
            ("a like", &|| liked.apply(&liking)),
            ("a new name", &rename),
            // The last one: a page that passes over a tweet is not kept.
            ("a tweet less", &|| tweets.bury(first)),
        ];
        for (name, change) in changes {
            let name = format!("{name}, {}", test.name);
            for _ in 0..3 {
                page(&hydrator).await;
            }
            let before = page(&hydrator).await;
            assert!(Arc::ptr_eq(&before, &page(&hydrator).await), "kept before {name}");
            change();
            let after = page(&hydrator).await;
            assert_ne!(after.body, before.body, "{name}");
            assert_eq!(after.body, page(&plain).await.body, "{name}");
        }
    }
}

/// What makes everything load again also ends what was made of it.
#[actix_rt::test]
async fn no_page_outlives_what_forgets_everything() {
    for test in databases() {
        write(&test, 0);
        let hydrator = hydrator(&test, 100);
        let Hydrator { timelines, tweets, users, liked, .. } = &hydrator;
        let page = async || {
            let page = hydrator.page(HOME, Some(READER), Range::ALL, 10, Shape::Entries).await;
            page.unwrap()
        };
        let forgets: [(&str, &dyn Fn()); 5] = [
            ("timelines", &|| timelines.forget_all()),
            ("a timeline", &|| timelines.passivate(HOME)),
            ("tweets", &|| tweets.clear()),
            ("users", &|| users.clear()),
            ("likes", &|| liked.clear()),
        ];
        for (name, forget) in forgets {
            for _ in 0..3 {
                page().await;
            }
            let before = page().await;
            assert!(Arc::ptr_eq(&before, &page().await), "kept: {name}, {}", test.name);
            forget();
            let after = page().await;
            assert!(!Arc::ptr_eq(&before, &after), "{name}, {}", test.name);
            assert_eq!(after.body, before.body, "{name}, {}", test.name);
        }
    }
}
