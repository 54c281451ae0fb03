//! Starts, stops and crashes between a commit and its work in Redis.

use super::*;
use crate::redis_tier::testing::{state, until};
use crate::store::{StoreError, nodes};

/// Commits something with a permit, as a writer does.
async fn commit(room: &Room) -> crate::redis_tier::WritePermit {
    commit_with(&room.tier, &room.test).await
}

async fn commit_with(tier: &RedisTier, test: &TestDb) -> crate::redis_tier::WritePermit {
    let permit = tier.begin_write().await;
    let inside = permit.clone();
    let result = test.db.write("test", move |conn| Ok(inside.mark_dirty(conn)?)).await;
    permit.resolve(&result);
    result.unwrap();
    permit
}

#[tokio::test]
async fn a_clean_stop_keeps_the_lists() {
    let room = Room::open().await;
    commit(&room).await.done();
    room.fill(feed(1), &[10], true).await;
    let epoch = room.epoch();
    room.tier.shutdown().await;
    assert!(!state(&room.test).dirty);

    let again = testing::up(testing::config(&room.redis.url), &room.test.db).await;
    assert_eq!(again.epoch(), epoch);
    assert!(again.load(feed(1), epoch, LIMIT).await.is_some());
}

#[tokio::test]
async fn a_crash_after_a_commit_voids_the_lists() {
    let room = Room::open().await;
    room.fill(feed(1), &[10], true).await;
    let (before, permit) = (room.epoch(), commit(&room).await);
    // The crash: another process starts while this one's push has not happened.
    let again = testing::up(testing::config(&room.redis.url), &room.test.db).await;
    assert!(again.epoch() > before);
    assert_eq!(again.load(feed(1), again.epoch(), LIMIT).await, None);
    permit.done();
}

#[tokio::test]
async fn a_run_without_redis_voids_the_lists() {
    let room = Room::open().await;
    room.fill(feed(1), &[10], true).await;
    let before = room.epoch();
    room.tier.shutdown().await;
    assert!(!state(&room.test).dirty, "a clean stop");

    let without = RedisTier::disabled();
    commit_with(&without, &room.test).await.done();
    without.shutdown().await;
    assert!(state(&room.test).dirty, "never cleaned without Redis");

    let again = testing::up(testing::config(&room.redis.url), &room.test.db).await;
    assert!(again.epoch() > before);
}

#[tokio::test]
async fn the_flag_is_cleaned_when_it_is_quiet_and_not_before() {
    let room = Room::open().await;
    until("cleaned after the start", || !state(&room.test).dirty).await;
    let permit = commit(&room).await;
    assert!(state(&room.test).dirty);
    assert!(room.tier.shared.guard.try_alone().is_none(), "the permit keeps the cleaner out");
    permit.done();
    until("cleaned after the write", || !state(&room.test).dirty).await;
    let permit = commit(&room).await;
    assert!(state(&room.test).dirty, "marked again");
    permit.done();
}

#[tokio::test]
async fn a_rolled_back_mark_is_not_remembered() {
    let room = Room::open().await;
    until("cleaned after the start", || !state(&room.test).dirty).await;
    let permit = room.tier.begin_write().await;
    let inside = permit.clone();
    let result: Result<(), StoreError> = room
        .test
        .db
        .write("test", move |conn| {
            inside.mark_dirty(conn)?;
            Err(StoreError::Query(diesel::result::Error::NotFound))
        })
        .await;
    permit.resolve(&result);
    assert!(!state(&room.test).dirty, "rolled back");
    drop(permit);
    assert!(room.tier.is_up(), "nothing was lost");

    let permit = commit(&room).await;
    assert!(state(&room.test).dirty, "so the next writer marks");
    permit.done();
}

#[tokio::test]
async fn a_busy_period_marks_once() {
    let room = Room::open().await;
    let held = commit(&room).await;
    // Were there a second statement, it would set the flag again.
    room.test.db.write_blocking(|conn| Ok(nodes::clear_dirty(conn, nodes::NAMELESS)?)).unwrap();
    commit(&room).await.done();
    assert!(!state(&room.test).dirty);
    held.done();
}

#[tokio::test]
async fn a_write_abandoned_after_its_commit_voids_the_lists() {
    let room = Room::open().await;
    room.fill(feed(1), &[10], true).await;
    let before = room.epoch();
    drop(commit(&room).await);
    until("up with a new epoch", || room.tier.is_up() && room.epoch() > before).await;
    assert_eq!(room.read(feed(1)).await, None);
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_voids_the_lists_when_it_ends_too() {
    let room = Room::open().await;
    room.fill(feed(1), &[10], true).await;
    let before = room.epoch();
    let permit = room.tier.begin_write().await;
    let still_running = permit.clone();
    room.test
        .db
        .write("test", {
            let inside = permit.clone();
            move |conn| Ok(inside.mark_dirty(conn)?)
        })
        .await
        .unwrap();
    permit.resolve(&Err::<(), _>(StoreError::OutcomeUnknown("no answer in time".into())));
    drop(permit);
    until("up with a new epoch", || room.tier.is_up() && room.epoch() > before).await;
    let between = room.epoch();
    drop(still_running);
    until("and once more at its end", || room.tier.is_up() && room.epoch() > between).await;
}

#[tokio::test]
async fn a_push_of_an_old_epoch_deletes_and_one_to_a_void_list_too() {
    let room = Room::open().await;
    room.fill(feed(1), &[10], true).await;
    room.tier.push(&[(feed(1), entry(20))], room.epoch() - 1, LIMIT).await;
    assert_eq!(room.raw::<i64>(&["EXISTS", "user_newsfeeds:1"]), 0);
    room.fill(feed(1), &[10], true).await;
    room.tier.push(&[(feed(1), entry(20))], room.epoch() + 1, LIMIT).await;
    assert_eq!(room.raw::<i64>(&["EXISTS", "user_newsfeeds:1"]), 0);
}

#[tokio::test]
async fn an_inspector_leaves_epoch_and_flag_alone() {
    let room = Room::open().await;
    room.fill(feed(1), &[10], true).await;
    let permit = commit(&room).await;
    let before = state(&room.test);
    let inspector = RedisTier::inspector(testing::config(&room.redis.url)).unwrap();
    assert!(inspector.wait_until_up(testing::PATIENCE).await);
    assert!(inspector.load(feed(1), before.epoch, LIMIT).await.is_some());
    inspector.shutdown().await;
    assert_eq!(state(&room.test), before);
    permit.done();
}
