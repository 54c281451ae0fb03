//! Counts: absolute, forward only.

use super::*;
use crate::redis_tier::{CountKind, CountWrite};

fn tweet(id: i64, version: i64, likes: i64) -> CountWrite {
    CountWrite { kind: CountKind::Tweet, id, version, likes, comments: 2 }
}

async fn likes(room: &Room, id: i64) -> Option<i64> {
    let counts = room.tier.read_counts(CountKind::Tweet, &[id], room.epoch()).await.unwrap();
    counts[0].map(|counts| counts.likes)
}

#[tokio::test]
async fn a_version_only_moves_forward() {
    let room = Room::open().await;
    room.tier.write_counts(&[tweet(1, 9, 90)]).await;
    room.tier.write_counts(&[tweet(1, 10, 100)]).await;
    room.tier.write_counts(&[tweet(1, 9, 90)]).await;
    assert_eq!(likes(&room, 1).await, Some(100), "writers may arrive out of order");
    room.tier.write_counts(&[tweet(1, 11, 0)]).await;
    assert_eq!(likes(&room, 1).await, Some(0), "a count may fall, a version may not");
}

#[tokio::test]
async fn counts_of_another_epoch_are_void_and_replaced() {
    let room = Room::open().await;
    room.tier.write_counts(&[tweet(1, 10, 100)]).await;
    let other = room.epoch() + 1;
    let read = room.tier.read_counts(CountKind::Tweet, &[1], other).await.unwrap();
    assert_eq!(read, [None]);
    room.raw::<()>(&["SET", "tweet_counts:1", "1.99.5.5", "PX", "9999"]);
    room.tier.write_counts(&[tweet(1, 11, 7)]).await;
    assert_eq!(likes(&room, 1).await, Some(7));
}

#[tokio::test]
async fn strange_keys_are_void_and_replaced_and_every_key_expires() {
    let room = Room::open().await;
    let strange: [&[&str]; 3] = [
        &["RPUSH", "tweet_counts:1", "x"],
        &["SET", "tweet_counts:1", "42"],
        &["SET", "tweet_counts:1", "\u{e9}.1.1"],
    ];
    for command in strange {
        room.raw::<i64>(&["DEL", "tweet_counts:1"]);
        room.raw::<redis::Value>(command);
        assert_eq!(likes(&room, 1).await, None, "{command:?}");
        room.tier.write_counts(&[tweet(1, 3, 7)]).await;
        assert_eq!(likes(&room, 1).await, Some(7), "{command:?}");
        assert!(room.raw::<i64>(&["PTTL", "tweet_counts:1"]) > 0, "{command:?}");
    }
    assert!(room.tier.is_up());
}

#[tokio::test]
async fn many_counts_of_both_kinds_in_one_call() {
    let room = Room::open().await;
    let mut writes: Vec<_> = (1..=3_000).map(|id| tweet(id, 1, id)).collect();
    writes.push(CountWrite { kind: CountKind::Comment, id: 1, version: 1, likes: 5, comments: 0 });
    room.tier.write_counts(&writes).await;
    let ids: Vec<i64> = (1..=3_001).collect();
    let read = room.tier.read_counts(CountKind::Tweet, &ids, room.epoch()).await.unwrap();
    let found: Vec<i64> = read.iter().flatten().map(|counts| counts.likes).collect();
    assert_eq!(found, (1..=3_000).collect::<Vec<_>>());
    assert_eq!(read[3_000], None);

    room.tier.remove_counts(CountKind::Tweet, &ids).await;
    let comment = room.tier.read_counts(CountKind::Comment, &[1], room.epoch()).await.unwrap();
    assert_eq!(comment[0].map(|counts| counts.likes), Some(5));
    assert_eq!(likes(&room, 1).await, None);
}
