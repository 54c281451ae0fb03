//! Lists that a commit of another node concerns, before and after Redis has followed it.

use super::*;
use crate::redis_tier::Owner;
use crate::redis_tier::testing::until;
use crate::store::nodes;

/// The tier of another node on the same Redis and database.
async fn other_node(room: &Room) -> RedisTier {
    // Who starts takes over what a nameless process owes.
    until("nothing is owed", || !testing::state(&room.test).dirty).await;
    let owner = Owner { node: 77, ..Owner::nameless() };
    let tier =
        RedisTier::start(testing::config(&room.redis.url), room.test.db.clone(), owner).unwrap();
    assert!(tier.wait_until_up(testing::PATIENCE).await);
    tier
}

#[tokio::test]
async fn a_list_is_not_read_before_redis_has_followed_what_is_known() {
    let room = Room::open().await;
    let other = other_node(&room).await;
    room.fill(feed(1), &[10], true).await;
    room.fill(feed(2), &[10], true).await;
    // The other node's commit 5 is heard of; its work in Redis hangs.
    room.tier.expect(77, 5, [feed(1)].into_iter());
    assert_eq!(room.read(feed(1)).await, None, "an entry may be missing");
    assert!(room.read(feed(2)).await.is_some(), "not concerned");
    other.follow(4).await;
    assert_eq!(room.read(feed(1)).await, None, "that was an earlier one");
    other.push(&[(feed(1), entry(20))], other.epoch(), LIMIT).await;
    other.follow(5).await;
    assert_eq!(room.read(feed(1)).await, Some((vec![20, 10], true)));
    until("nothing is waited for any more", || room.tier.waited_for().is_empty()).await;
}

#[tokio::test]
async fn a_list_ahead_of_what_this_node_was_told_is_not_read() {
    let room = Room::open().await;
    room.fill(feed(1), &[20, 10], true).await;
    room.tier.begin_to_be_told();
    assert_eq!(room.read(feed(1)).await, None);
    room.tier.told(Timestamp(19));
    assert_eq!(room.read(feed(1)).await, None, "there may be one between that is on its way");
    room.tier.told(Timestamp(20));
    room.tier.told(Timestamp(5));
    assert_eq!(room.read(feed(1)).await, Some((vec![20, 10], true)));
}

#[tokio::test]
async fn how_far_redis_has_come_is_said_again_after_a_flush() {
    let room = Room::open().await;
    let other = other_node(&room).await;
    other.follow(9).await;
    room.raw::<()>(&["FLUSHDB"]);
    room.tier.expect(77, 9, [feed(1)].into_iter());
    until("said again", || room.tier.waited_for().is_empty()).await;
    let ttl: i64 = room.raw(&["PTTL", "roost:followed:77"]);
    assert!(ttl > 0, "it does not stay for ever: {ttl}");
}

#[tokio::test]
async fn no_list_is_read_before_every_node_is_known() {
    let room = Room::open().await;
    room.fill(feed(1), &[10], true).await;
    room.tier.hold_for(5);
    room.tier.hold_for(6);
    assert_eq!(room.read(feed(1)).await, None);
    assert!(!room.tier.meet(5));
    assert_eq!(room.read(feed(1)).await, None);
    assert_eq!(room.tier.strangers(), [6]);
    assert!(room.tier.meet(6));
    assert_eq!(room.read(feed(1)).await, Some((vec![10], true)));
}

#[tokio::test]
async fn the_flag_of_one_node_says_nothing_of_another() {
    let room = Room::open().await;
    let other = other_node(&room).await;
    let permit = other.begin_write().await;
    let inside = permit.clone();
    let written = room.test.db.write("test", move |conn| Ok(inside.mark_dirty(conn)?)).await;
    permit.resolve(&written);
    written.unwrap();
    // This node writes, is followed, and cleans; the other has died meanwhile.
    let own = room.tier.begin_write().await;
    let inside = own.clone();
    let written = room.test.db.write("test", move |conn| Ok(inside.mark_dirty(conn)?)).await;
    own.resolve(&written);
    own.done();
    until("its own flag is cleaned", || !testing::state(&room.test).dirty).await;
    let dirty = room.test.db.read_blocking(|conn| Ok(nodes::is_dirty(conn, 77)?)).unwrap();
    assert!(dirty, "the other's debt is still there");
    permit.done();
}
