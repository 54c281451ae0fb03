//! What must not be served, and is deleted.

use super::*;
use crate::redis_tier::{Found, Surprise};

const KEY: &str = "user_newsfeeds:1";

/// Prepares the key with `commands`; the reader must see nothing, and the key must be gone.
async fn is_refused(surprise: Surprise, commands: &[&[&str]]) {
    let room = Room::open().await;
    room.fill(feed(1), &[30, 20, 10], true).await;
    let epoch = room.epoch().to_string();
    for command in commands {
        let words: Vec<String> = command.iter().map(|w| w.replace("EPOCH", &epoch)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        room.raw::<redis::Value>(&words);
    }
    let seen = room.tier.inspect(feed(1), room.epoch(), LIMIT).await;
    assert_eq!(seen, Ok(Found::Surprise(surprise)));
    assert_eq!(room.read(feed(1)).await, None, "{surprise:?} is a miss");
    assert_eq!(room.raw::<i64>(&["EXISTS", KEY]), 0, "{surprise:?} is deleted");
    assert!(room.tier.is_up(), "{surprise:?} is no failure of the server");
    room.fill(feed(1), &[30, 20, 10], true).await;
    assert_eq!(room.read(feed(1)).await, Some((vec![30, 20, 10], true)), "and healed");
}

#[tokio::test]
async fn another_type() {
    is_refused(Surprise::WrongType, &[&["SET", KEY, "x", "PX", "9999"]]).await;
    is_refused(Surprise::WrongType, &[&["DEL", KEY], &["HSET", KEY, "a", "b"]]).await;
}

#[tokio::test]
async fn no_time_to_live() {
    is_refused(Surprise::NoExpiry, &[&["PERSIST", KEY]]).await;
}

#[tokio::test]
async fn a_broken_element() {
    is_refused(Surprise::Broken, &[&["LSET", KEY, "1", "{\"id\":20}"]]).await;
    is_refused(Surprise::Broken, &[&["LSET", KEY, "2", ""]]).await;
    is_refused(Surprise::Broken, &[&["LSET", KEY, "0", &"9".repeat(100_000)]]).await;
}

#[tokio::test]
async fn the_mark_of_the_first_entry_in_the_middle() {
    is_refused(Surprise::Broken, &[&["LSET", KEY, "1", "EPOCH.20.200$"]]).await;
}

#[tokio::test]
async fn another_epoch_in_one_element() {
    is_refused(Surprise::ForeignEpoch, &[&["LSET", KEY, "1", "1.20.200"]]).await;
}

#[tokio::test]
async fn entries_out_of_order_or_twice() {
    is_refused(Surprise::Unordered, &[&["LSET", KEY, "1", "EPOCH.31.310"]]).await;
    is_refused(Surprise::Unordered, &[&["LSET", KEY, "1", "EPOCH.30.300"]]).await;
}

#[tokio::test]
async fn more_entries_than_the_limit() {
    let older: Vec<String> = (1..=8).rev().map(|at| format!("EPOCH.{at}.{at}0")).collect();
    let mut command = vec!["RPUSH", KEY];
    command.extend(older.iter().map(String::as_str));
    is_refused(Surprise::TooLong, &[&["LSET", KEY, "2", "EPOCH.10.100"], &command]).await;
}

#[tokio::test]
async fn a_list_that_expires_is_a_miss() {
    let room = Room::open().await;
    room.fill(feed(1), &[30], true).await;
    room.raw::<i64>(&["PEXPIRE", KEY, "1"]);
    testing::until("the key expires", || room.raw::<i64>(&["EXISTS", KEY]) == 0).await;
    room.push(feed(1), 40).await;
    assert_eq!(room.raw::<i64>(&["EXISTS", KEY]), 0, "a push revives nothing");
    assert_eq!(room.read(feed(1)).await, None);
}

#[tokio::test]
async fn a_push_deletes_what_it_cannot_extend() {
    let strange: [&[&str]; 5] = [
        &["SET", KEY, "x", "PX", "9999"],
        &["PERSIST", KEY],
        &["LSET", KEY, "0", "rubbish"],
        &["LSET", KEY, "0", "1.30.300"],
        &["LSET", KEY, "0", ""],
    ];
    for command in strange {
        let room = Room::open().await;
        room.fill(feed(1), &[30, 20], true).await;
        room.raw::<redis::Value>(command);
        room.push(feed(1), 40).await;
        assert_eq!(room.raw::<i64>(&["EXISTS", KEY]), 0, "{command:?}");
        assert!(room.tier.is_up(), "{command:?}");
    }
}

#[tokio::test]
async fn a_strange_lease_is_replaced() {
    let strange: [&[&str]; 2] = [
        &["RPUSH", "{user_newsfeeds:1}:gen", "x"],
        &["SET", "{user_newsfeeds:1}:gen", "not a number"],
    ];
    for command in strange {
        let room = Room::open().await;
        room.raw::<redis::Value>(command);
        assert_eq!(room.tier.generation(feed(1)).await, None, "{command:?}");
        room.fill(feed(1), &[10], true).await;
        assert_eq!(room.read(feed(1)).await, Some((vec![10], true)));
    }
}
