//! The counter over both engines.

use std::sync::Arc;

use actix::Arbiter;
use diesel::prelude::*;
use futures_util::future::join_all;

use super::fake::alone;
use crate::counter::{
    Commented, Counter, CounterError, DbStore, Idempotent, LikeKey, LikeKind, Limits, NewComment,
    Refusal,
};
use crate::store::counts::tests::{add_tweet, add_user};
use crate::store::idempotency::IdempotencyKey;
use crate::store::likes;
use crate::store::schema::{comments, likes as like_rows, notification_outbox, tweets};
use crate::store::testing::{TestDb, databases};
use crate::store::{Conn, StoreError, on};
use crate::time::{Clock, Timestamp};

fn start(test: &TestDb) -> Counter {
    start_by(test, Clock::system())
}

/// The same with times of its own.
fn start_by(test: &TestDb, clock: Clock) -> Counter {
    let store = Arc::new(DbStore::new(test.db.clone(), clock));
    Counter::start(alone(store), Limits::default(), Arbiter::current())
}

/// Users 1 to 40, and tweets 1 and 2 by users 1 and 2.
fn prepare(test: &TestDb) {
    let prepared = test.db.write_blocking(|conn| {
        for user in 1..=40 {
            add_user(conn, user)?;
        }
        add_tweet(conn, 1, 1)?;
        add_tweet(conn, 2, 2)?;
        Ok(())
    });
    prepared.unwrap();
}

fn on_tweet(user_id: i64, object_id: i64) -> LikeKey {
    LikeKey { user_id, kind: LikeKind::Tweet, object_id }
}

fn comment(user_id: i64, tweet_id: i64, content: &str) -> NewComment {
    NewComment { user_id, tweet_id, content: content.into(), idempotency: None }
}

fn read<T>(test: &TestDb, body: impl FnMut(&mut Conn<'_>) -> Result<T, StoreError>) -> T {
    test.db.read_blocking(body).unwrap()
}

/// (likes, comments, version) of a tweet as stored, after checking them against the rows.
fn counts(test: &TestDb, id: i64) -> (i64, i64, i64) {
    let (likes, commented, version): (Option<i64>, Option<i64>, i64) = read(test, |conn| {
        Ok(on!(conn, |c| tweets::table
            .find(id)
            .select((tweets::likes_count, tweets::comments_count, tweets::counts_version))
            .first(c))?)
    });
    let (liked, written): (i64, i64) = read(test, |conn| {
        let liked = on!(conn, |c| like_rows::table
            .filter(like_rows::kind.eq(1_i16).and(like_rows::object_id.eq(id)))
            .count()
            .get_result(c))?;
        let written =
            on!(conn, |c| comments::table.filter(comments::tweet_id.eq(id)).count().get_result(c))?;
        Ok((liked, written))
    });
    assert_eq!(likes.unwrap_or(liked), liked, "{}: likes of {id}", test.name);
    assert_eq!(commented.unwrap_or(written), written, "{}: comments of {id}", test.name);
    (liked, written, version)
}

fn outbox(test: &TestDb) -> Vec<(i64, i64, i16, i64)> {
    use notification_outbox as o;
    read(test, |conn| {
        Ok(on!(conn, |c| o::table
            .order(o::id)
            .select((o::recipient_id, o::actor_id, o::verb, o::target_id))
            .load(c))?)
    })
}

#[actix::test]
async fn clients_toggling_one_like_end_exact_and_never_below_zero() {
    for test in databases() {
        prepare(&test);
        // Two counters, as on two nodes; SQLite has one.
        let nodes = match test.name {
            "sqlite" => vec![start(&test)],
            _ => vec![start(&test), start(&test)],
        };
        let clients = (0..32_usize).map(|client| {
            let counter = nodes[client % nodes.len()].clone();
            async move {
                let key = on_tweet(client as i64 % 4 + 1, 1);
                for round in 0..25 {
                    if (client + round) % 2 == 0 {
                        counter.like(key).await.unwrap();
                    } else {
                        counter.unlike(key).await.unwrap();
                    }
                }
            }
        });
        join_all(clients).await;
        let (liked, _, _) = counts(&test, 1);
        assert!((0..=4).contains(&liked));
        // Parallel cancels: as many succeed as there were likes.
        let cancels = (0..32_usize).map(|client| {
            let counter = nodes[client % nodes.len()].clone();
            async move { counter.unlike(on_tweet(client as i64 % 4 + 1, 1)).await.unwrap() }
        });
        let deleted = join_all(cancels).await.into_iter().filter(|deleted| *deleted).count();
        assert_eq!(deleted as i64, liked, "{}", test.name);
        assert_eq!(counts(&test, 1).0, 0);
    }
}

#[actix::test]
async fn nodes_that_like_crosswise_neither_deadlock_nor_miscount() {
    let test = crate::store::testing::postgres();
    prepare(&test);
    let nodes = [start(&test), start(&test), start(&test)];
    let calls = (0..600_i64).map(|call| {
        let counter = nodes[call as usize % 3].clone();
        async move {
            let (user, tweet) = (call % 40 + 1, call % 2 + 1);
            match call % 5 {
                0 => counter.unlike(on_tweet(user, tweet)).await.map(|_| ()),
                1 => counter.add_comment(comment(user, tweet, "hello")).await.map(|_| ()),
                _ => counter.like(on_tweet(user, tweet)).await.map(|_| ()),
            }
        }
    });
    let failed: Vec<_> = join_all(calls).await.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let (one, two) = (counts(&test, 1), counts(&test, 2));
    assert_eq!(one.1 + two.1, 120);
}

#[actix::test]
async fn a_count_that_was_never_taken_is_repaired_on_touch() {
    for test in databases() {
        prepare(&test);
        let old: Vec<_> = (5..10).map(|user| (on_tweet(user, 1), Timestamp(user))).collect();
        test.db.write_blocking(|conn| Ok(likes::insert(conn, &old)?)).unwrap();
        let counter = start(&test);
        assert!(!counter.like(on_tweet(5, 1)).await.unwrap().created, "{}", test.name);
        assert!(counter.like(on_tweet(1, 1)).await.unwrap().created);
        let stored: Option<i64> = read(&test, |conn| {
            Ok(on!(conn, |c| tweets::table.find(1).select(tweets::likes_count).first(c))?)
        });
        assert_eq!(stored, Some(6));
        assert_eq!(counts(&test, 1), (6, 0, 1));
    }
}

#[actix::test]
async fn answers_notices_and_refusals() {
    for test in databases() {
        prepare(&test);
        let counter = start(&test);
        let first = counter.like(on_tweet(3, 1)).await.unwrap();
        let again = counter.like(on_tweet(3, 1)).await.unwrap();
        assert!(first.created && !again.created, "{}", test.name);
        assert_eq!(first.created_at, again.created_at);
        counter.like(on_tweet(1, 1)).await.unwrap();
        let missing = Err(CounterError::Refused(Refusal::Missing));
        assert_eq!(counter.unlike(on_tweet(1, 99)).await, missing);

        let written = counter.add_comment(comment(3, 1, "first")).await.unwrap();
        let Commented::Row(row) = written else { panic!("no key, so a row") };
        let on_comment = LikeKey { user_id: 1, kind: LikeKind::Comment, object_id: row.id };
        assert!(counter.like(on_comment).await.unwrap().created);
        assert_eq!(outbox(&test), [(1, 3, 1, 1), (1, 3, 3, 1), (3, 1, 2, row.id)]);
        assert_eq!(counts(&test, 1), (2, 1, 3));

        let forbidden = Err(CounterError::Refused(Refusal::Forbidden));
        assert_eq!(counter.delete_comment(2, row.id).await, forbidden);
        assert_eq!(counter.delete_comment(3, row.id).await, Ok(()));
        let gone = Err(CounterError::Refused(Refusal::Missing));
        assert_eq!(counter.delete_comment(3, row.id).await, gone);
        assert_eq!(counts(&test, 1), (2, 0, 4));
        let left =
            read(&test, |conn| Ok(likes::liked_among(conn, 1, LikeKind::Comment, &[row.id])?));
        assert!(left.is_empty(), "its likes are gone with it");
        test.db
            .write_blocking(|conn| {
                Ok(on!(conn, |c| diesel::update(tweets::table.find(1))
                    .set(tweets::deleted_at.eq(Some(5_i64)))
                    .execute(c))?)
            })
            .unwrap();
        assert!(counter.like(on_tweet(4, 1)).await.is_err(), "a tombstone does not exist");
        assert!(counter.add_comment(comment(4, 1, "late")).await.is_err());
    }
}

#[actix::test]
async fn comments_of_one_tweet_are_unique_and_increasing_in_time() {
    for test in databases() {
        prepare(&test);
        let nodes = if test.name == "sqlite" { 1 } else { 3 };
        // Clocks far apart, and all of them behind the newest comment.
        let counters: Vec<Counter> = (0..nodes)
            .map(|node| start_by(&test, Clock::from_source(move || 1_000 - node * 500)))
            .collect();
        let mut last = Timestamp(0);
        for round in 0..10 {
            for counter in &counters {
                let text = format!("{round}");
                let calls = [1, 2, 3].map(|user| counter.add_comment(comment(user, 1, &text)));
                for written in join_all(calls).await {
                    let Ok(Commented::Row(row)) = written else { panic!("{written:?}") };
                    assert!(row.created_at > last, "{}", test.name);
                    last = row.created_at;
                }
            }
        }
        assert_eq!(counts(&test, 1).1, 30 * nodes);
    }
}

#[actix::test]
async fn a_key_makes_one_comment_and_one_answer() {
    for test in databases() {
        prepare(&test);
        let counter = start(&test);
        let keyed = |text: &str, print: u8| NewComment {
            idempotency: Some(Idempotent {
                key: IdempotencyKey { key: "k".into(), fingerprint: [print; 32] },
                render: Box::new(|row| format!("{} by {}", row.content, row.user_id)),
            }),
            ..comment(3, 1, text)
        };
        let calls = (0..20).map(|_| counter.add_comment(keyed("once", 1)));
        for answer in join_all(calls).await {
            assert_eq!(answer, Ok(Commented::Body("once by 3".into())), "{}", test.name);
        }
        let reused = Err(CounterError::Refused(Refusal::KeyReused));
        assert_eq!(counter.add_comment(keyed("twice", 2)).await, reused);
        assert_eq!(counts(&test, 1).1, 1);
    }
}

#[actix::test]
async fn an_operation_that_breaks_a_constraint_fails_alone() {
    for test in databases() {
        prepare(&test);
        let counter = start(&test);
        // There is no user 77; nothing but the foreign key says so.
        let calls = (1..=40_i64).map(|user| {
            let counter = counter.clone();
            let user = if user == 20 { 77 } else { user };
            async move { counter.add_comment(comment(user, 1, "hi")).await.is_ok() }
        });
        let fine = join_all(calls).await.into_iter().filter(|fine| *fine).count();
        assert_eq!(fine, 39, "{}", test.name);
        assert_eq!(counts(&test, 1).1, 39);
    }
}

#[actix::test]
async fn a_render_that_panics_fails_alone() {
    for test in databases() {
        prepare(&test);
        let counter = start(&test);
        let broken = NewComment {
            idempotency: Some(Idempotent {
                key: IdempotencyKey { key: "k".into(), fingerprint: [0; 32] },
                render: Box::new(|_| panic!("as the test has asked")),
            }),
            ..comment(3, 1, "never")
        };
        let (broken, fine) =
            tokio::join!(counter.add_comment(broken), counter.like(on_tweet(5, 1)));
        assert_eq!(broken, Err(CounterError::Failed), "{}", test.name);
        assert!(fine.unwrap().created);
        assert_eq!(counts(&test, 1), (1, 0, 1));
    }
}
