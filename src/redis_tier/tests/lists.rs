//! Fill, load, push, trim.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_filled_list_reads_back_with_its_completeness_and_expires() {
    let room = Room::open().await;
    assert_eq!(room.read(feed(1)).await, None);
    room.fill(feed(1), &[30, 20, 10], true).await;
    assert_eq!(room.read(feed(1)).await, Some((vec![30, 20, 10], true)));
    room.fill(feed(2), &[30, 20], false).await;
    assert_eq!(room.read(feed(2)).await, Some((vec![30, 20], false)));

    let ttl: i64 = room.raw(&["PTTL", "user_newsfeeds:1"]);
    let week = 604_800_000;
    assert!((week * 9 / 10 - 60_000..=week * 11 / 10).contains(&ttl), "{ttl} ms");
}

#[tokio::test]
async fn times_to_live_are_spread() {
    let room = Room::open().await;
    let mut ttls = std::collections::BTreeSet::new();
    for user in 1..=20 {
        room.fill(feed(user), &[1], true).await;
        let ttl: i64 = room.raw(&["PTTL", &format!("user_newsfeeds:{user}")]);
        ttls.insert(ttl / 3_600_000);
    }
    assert!(ttls.len() > 5, "20 lists filled together expire in {} different hours", ttls.len());
}

#[tokio::test]
async fn an_empty_timeline_is_not_stored() {
    let room = Room::open().await;
    let lease = room.tier.generation(feed(1)).await.unwrap();
    let outcome = room.tier.fill(feed(1), lease, room.epoch(), &[], true).await;
    assert_eq!(outcome, FillOutcome::Skipped);
    assert_eq!(room.raw::<i64>(&["EXISTS", "user_newsfeeds:1"]), 0);
}

#[tokio::test]
async fn a_push_reaches_existing_lists_only() {
    let room = Room::open().await;
    room.fill(feed(1), &[20, 10], true).await;
    room.push(feed(1), 30).await;
    room.push(feed(2), 30).await;
    assert_eq!(room.read(feed(1)).await, Some((vec![30, 20, 10], true)));
    assert_eq!(room.raw::<i64>(&["EXISTS", "user_newsfeeds:2"]), 0, "never a list of one entry");
}

#[tokio::test]
async fn trimming_takes_the_completeness_with_it() {
    let room = Room::open().await;
    let newest_first: Vec<i64> = (1..=10).rev().collect();
    room.fill(feed(1), &newest_first, true).await;
    assert!(room.read(feed(1)).await.unwrap().1);
    room.push(feed(1), 11).await;
    let (moments, complete) = room.read(feed(1)).await.unwrap();
    assert_eq!(moments, (2..=11).rev().collect::<Vec<_>>());
    assert!(!complete, "the first entry is gone, and the proof with it");
}

#[tokio::test]
async fn repeated_and_late_pushes_are_harmless() {
    let room = Room::open().await;
    room.fill(feed(1), &[20, 10], true).await;
    room.push(feed(1), 30).await;
    room.push(feed(1), 30).await;
    assert_eq!(room.read(feed(1)).await, Some((vec![30, 20, 10], true)));
    room.push(feed(1), 25).await;
    assert_eq!(room.raw::<i64>(&["EXISTS", "user_newsfeeds:1"]), 0, "not even stored");
    assert_eq!(room.read(feed(1)).await, None, "out of order: the next reader loads");
}

#[tokio::test]
async fn a_push_of_the_same_moment_with_another_tweet_is_not_believed() {
    let room = Room::open().await;
    room.fill(feed(1), &[20, 10], true).await;
    let other = Entry { tweet_id: 7, ..entry(20) };
    room.tier.push(&[(feed(1), other)], room.epoch(), LIMIT).await;
    assert_eq!(room.read(feed(1)).await, None);
}

#[tokio::test]
async fn a_push_does_not_touch_the_time_to_live() {
    let room = Room::open().await;
    room.fill(feed(1), &[10], true).await;
    room.raw::<i64>(&["PEXPIRE", "user_newsfeeds:1", "50000"]);
    room.push(feed(1), 20).await;
    let ttl: i64 = room.raw(&["PTTL", "user_newsfeeds:1"]);
    assert!((1..=50_000).contains(&ttl), "{ttl} ms");
}

#[tokio::test]
async fn one_call_pushes_to_many_lists_and_twice_to_one() {
    let room = Room::open().await;
    let users: Vec<i64> = (1..=3_000).collect();
    for user in [1, 256, 257, 2_048, 2_049, 3_000] {
        room.fill(feed(user), &[10], true).await;
    }
    let mut pushes: Vec<_> = users.iter().map(|user| (feed(*user), entry(20))).collect();
    pushes.push((feed(1), entry(30)));
    room.tier.push(&pushes, room.epoch(), LIMIT).await;
    assert_eq!(room.read(feed(1)).await, Some((vec![30, 20, 10], true)));
    for user in [256, 257, 2_048, 2_049, 3_000] {
        assert_eq!(room.read(feed(user)).await, Some((vec![20, 10], true)), "user {user}");
    }
    let lists: i64 = room.raw(&["DBSIZE"]);
    assert_eq!(lists, 6 + 1, "the lists, and the server's name");
}

#[tokio::test]
async fn moments_beyond_the_precision_of_a_double_are_ordered() {
    let room = Room::open().await;
    // As doubles these two are equal.
    let (older, newer) = (1_i64 << 53, (1_i64 << 53) + 1);
    room.fill(feed(1), &[older], true).await;
    room.push(feed(1), newer).await;
    assert_eq!(room.read(feed(1)).await, Some((vec![newer, older], true)));
    room.push(feed(1), older).await;
    assert_eq!(room.raw::<i64>(&["EXISTS", "user_newsfeeds:1"]), 0, "older by one microsecond");
}

#[tokio::test]
async fn a_full_list_stays_below_30_kilobytes() {
    let room = Room::open().await;
    let newest = 1_795_000_000_000_000_i64;
    let full: Vec<Entry> = (0..1_000)
        .map(|n| Entry { created_at: Timestamp(newest - n * 61_000_003), tweet_id: 9_000_000 - n })
        .collect();
    let lease = room.tier.generation(feed(1)).await.unwrap();
    room.tier.fill(feed(1), lease, 12, &full, true).await;
    let bytes: i64 = room.raw(&["MEMORY", "USAGE", "user_newsfeeds:1", "SAMPLES", "0"]);
    assert!(bytes <= 30 * 1024, "{bytes} bytes");
}

#[tokio::test]
async fn a_list_longer_than_one_stack_of_lua_is_written_whole() {
    let room = Room::open().await;
    let moments: Vec<i64> = (1..=20_000).rev().collect();
    room.fill(feed(1), &moments, false).await;
    let list = room.tier.load(feed(1), room.epoch(), 20_000).await.unwrap();
    assert_eq!(list.entries, entries(&moments));
}

#[tokio::test]
async fn scripts_forgotten_by_the_server_are_loaded_again() {
    let room = Room::open().await;
    room.fill(feed(1), &[10], true).await;
    room.raw::<()>(&["SCRIPT", "FLUSH"]);
    room.push(feed(1), 20).await;
    assert_eq!(room.read(feed(1)).await, Some((vec![20, 10], true)));
    assert!(room.tier.is_up());
}

#[tokio::test]
async fn walking_finds_every_list_and_counts_the_strangers() {
    let room = Room::open().await;
    for user in 1..=1_200 {
        room.raw::<i64>(&["RPUSH", &format!("user_newsfeeds:{user}"), "x"]);
    }
    room.raw::<()>(&["SET", "user_newsfeeds:me", "x"]);
    room.raw::<()>(&["SET", "user_tweets:5", "x"]);
    let (mut found, mut strangers, mut cursor) = (std::collections::BTreeSet::new(), 0, Some(0));
    while let Some(at) = cursor {
        let page = room.tier.scan(crate::redis_tier::Family::Newsfeeds, at).await.unwrap();
        found.extend(page.ids);
        strangers += page.strangers;
        cursor = page.next;
    }
    assert_eq!(found, (1..=1_200).collect());
    assert_eq!(strangers, 1);
}

#[tokio::test]
async fn clear_redis_refused_outside_testing() {
    use crate::redis_tier::ClearError;
    let (redis, test) = (TestRedis::claim(), sqlite());
    let config = crate::redis_tier::RedisConfig { testing: false, ..testing::config(&redis.url) };
    let tier = testing::up(config, &test.db).await;
    let mut stranger = redis.connect();
    redis::cmd("SET").arg("precious").arg(1).exec(&mut stranger).unwrap();
    assert_eq!(tier.clear().await, Err(ClearError::ClearRefused));
    assert_eq!(RedisTier::disabled().clear().await, Err(ClearError::ClearRefused));
    let kept: i64 = redis::cmd("EXISTS").arg("precious").query(&mut stranger).unwrap();
    assert_eq!(kept, 1);

    let tier = testing::up(testing::config(&redis.url), &test.db).await;
    assert_eq!(tier.clear().await, Ok(()));
    let left: i64 = redis::cmd("EXISTS").arg("precious").query(&mut stranger).unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn without_redis_every_call_is_a_miss_and_nothing_waits() {
    let tier = RedisTier::disabled();
    assert_eq!(tier.load(feed(1), 1, LIMIT).await, None);
    assert_eq!(tier.generation(feed(1)).await, None);
    assert_eq!(tier.fill(feed(1), 1, 1, &entries(&[1]), true).await, FillOutcome::Skipped);
    tier.push(&[(feed(1), entry(1))], 1, LIMIT).await;
    tier.remove(&[feed(1)]).await;
    tier.shutdown().await;
    assert!(!tier.wait_until_up(Duration::from_millis(1)).await);
}
