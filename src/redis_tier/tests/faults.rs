//! Servers that freeze, fill up, refuse to write, restart.

use std::time::{Duration, Instant};

use super::*;
use crate::redis_tier::testing::{PATIENCE, PrivateRedis, until};
use crate::redis_tier::{Owner, RedisConfig, TierError};

/// A tier on a server of its own, with a deadline that a frozen server exceeds soon.
async fn own_server() -> (PrivateRedis, TestDb, RedisTier) {
    let (redis, test) = (PrivateRedis::start(), sqlite());
    let config = RedisConfig {
        timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_millis(500),
        ..testing::config(&redis.url)
    };
    let tier = testing::up(config, &test.db).await;
    (redis, test, tier)
}

async fn fill(tier: &RedisTier, key: ListKey) {
    let lease = tier.generation(key).await.expect("a lease");
    let outcome = tier.fill(key, lease, tier.epoch(), &entries(&[20, 10]), true).await;
    assert_eq!(outcome, FillOutcome::Stored);
}

async fn recovered(tier: &RedisTier, older_than: i64) {
    until("up with a new epoch", || tier.is_up() && tier.epoch() > older_than).await;
}

#[tokio::test]
async fn a_frozen_server_costs_a_push_its_deadline_once() {
    let (redis, _test, tier) = own_server().await;
    fill(&tier, feed(1)).await;
    let before = tier.epoch();
    redis.freeze();
    let started = Instant::now();
    tier.push(&[(feed(1), entry(30))], before, LIMIT).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(!tier.is_up());

    // From here on calls return at once: a thousand of them take less than one deadline each.
    let started = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(tier.inspect(feed(1), before, LIMIT).await, Err(TierError::Down));
        tier.push(&[(feed(1), entry(40))], before, LIMIT).await;
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());

    redis.thaw();
    recovered(&tier, before).await;
    assert_eq!(tier.load(feed(1), tier.epoch(), LIMIT).await, None, "what it had is void");
    fill(&tier, feed(1)).await;
    assert!(tier.load(feed(1), tier.epoch(), LIMIT).await.is_some());
}

#[tokio::test]
async fn three_reads_of_a_frozen_server_open_the_breaker_without_a_new_epoch() {
    let (redis, _test, tier) = own_server().await;
    fill(&tier, feed(1)).await;
    let before = tier.epoch();
    redis.freeze();
    let started = Instant::now();
    until("the breaker opens", || !tier.is_up()).await;
    for _ in 0..3 {
        assert_eq!(tier.load(feed(1), before, LIMIT).await, None);
    }
    assert!(started.elapsed() < PATIENCE);
    redis.thaw();
    assert!(tier.wait_until_up(PATIENCE).await);
    assert_eq!(tier.epoch(), before, "reads lose nothing");
    assert!(tier.load(feed(1), before, LIMIT).await.is_some(), "so the lists are kept");
}

#[tokio::test]
async fn calls_in_flight_are_bounded() {
    let (redis, _test, tier) = own_server().await;
    redis.freeze();
    let calls = (0..200).map(|_| tier.inspect(feed(1), 1, LIMIT));
    let outcomes = futures_util::future::join_all(calls).await;
    let busy = outcomes.iter().filter(|outcome| **outcome == Err(TierError::Busy)).count();
    assert!(busy >= 200 - super::super::calls::IN_FLIGHT, "{busy} were turned away at once");
    redis.thaw();
}

#[tokio::test]
async fn a_write_skipped_while_down_voids_what_was_there() {
    let (redis, _test, tier) = own_server().await;
    fill(&tier, feed(1)).await;
    let before = tier.epoch();
    redis.freeze();
    until("the breaker opens", || !tier.is_up()).await;
    tier.push(&[(feed(1), entry(30))], before, LIMIT).await;
    redis.thaw();
    recovered(&tier, before).await;
    assert_eq!(tier.load(feed(1), tier.epoch(), LIMIT).await, None);
}

#[tokio::test]
async fn the_tier_comes_up_however_busy_the_writers_are() {
    let (redis, _test, tier) = own_server().await;
    let before = tier.epoch();
    redis.freeze();
    tier.push(&[(feed(1), entry(30))], before, LIMIT).await;
    let writer = tokio::spawn({
        let tier = tier.clone();
        async move {
            for at in 31.. {
                tier.push(&[(feed(1), entry(at))], tier.epoch(), LIMIT).await;
                tokio::task::yield_now().await;
            }
        }
    });
    redis.thaw();
    recovered(&tier, before).await;
    writer.abort();
}

#[tokio::test]
async fn a_full_server_is_down_until_it_has_room() {
    let (redis, _test, tier) = own_server().await;
    fill(&tier, feed(1)).await;
    let before = tier.epoch();
    let _: () = redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    until("the probe's write is refused", || !tier.is_up()).await;
    tier.push(&[(feed(1), entry(30))], before, LIMIT).await;
    assert_eq!(tier.load(feed(1), before, LIMIT).await, None);
    let _: () = redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
    recovered(&tier, before).await;
}

#[tokio::test]
async fn a_push_refused_for_want_of_memory_takes_the_tier_down() {
    let redis = PrivateRedis::start();
    let test = sqlite();
    // No probe comes before the push.
    let config =
        RedisConfig { probe_every: Duration::from_secs(3_600), ..testing::config(&redis.url) };
    let tier = testing::up(config, &test.db).await;
    fill(&tier, feed(1)).await;
    let _: () = redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let lease = tier.generation(feed(2)).await;
    assert_eq!(lease, None, "a refused write is a miss");
    assert!(tier.is_up(), "one failure is not yet a verdict");
    tier.push(&[(feed(1), entry(30))], tier.epoch(), LIMIT).await;
    assert!(!tier.is_up());
    let length: i64 = redis.run(&["LLEN", "user_newsfeeds:1"]);
    assert_eq!(length, 2, "no half of the script has run");
}

#[tokio::test]
async fn a_fill_does_not_write_past_the_servers_memory() {
    let redis = PrivateRedis::start();
    let test = sqlite();
    let config =
        RedisConfig { probe_every: Duration::from_secs(3_600), ..testing::config(&redis.url) };
    let tier = testing::up(config, &test.db).await;
    let lease = tier.generation(feed(1)).await.unwrap();
    let _: () = redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let outcome = tier.fill(feed(1), lease, tier.epoch(), &entries(&[10]), true).await;
    assert_eq!(outcome, FillOutcome::Skipped);
    let exists: i64 = redis.run(&["EXISTS", "user_newsfeeds:1"]);
    assert_eq!(exists, 0);
}

#[tokio::test]
async fn a_replica_is_not_used() {
    let (redis, _test, tier) = own_server().await;
    fill(&tier, feed(1)).await;
    let before = tier.epoch();
    // Nobody listens there: the server stays a replica that answers reads.
    let _: () = redis.run(&["REPLICAOF", "127.0.0.1", "1"]);
    until("a replica is down", || !tier.is_up()).await;
    tier.push(&[(feed(1), entry(30))], before, LIMIT).await;
    assert_eq!(tier.load(feed(1), before, LIMIT).await, None);
    let _: () = redis.run(&["REPLICAOF", "NO", "ONE"]);
    recovered(&tier, before).await;
}

#[tokio::test]
async fn a_killed_connection_is_replaced_and_the_lists_are_kept() {
    let (redis, _test, tier) = own_server().await;
    fill(&tier, feed(1)).await;
    let before = tier.epoch();
    let mut down = tier.shared.up.subscribe();
    let _: i64 = redis.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    tokio::time::timeout(PATIENCE, down.wait_for(|up| !up)).await.unwrap().unwrap();
    assert!(tier.wait_until_up(PATIENCE).await);
    assert_eq!(tier.epoch(), before, "the same server, and nothing was lost");
    assert!(tier.load(feed(1), before, LIMIT).await.is_some());
}

#[tokio::test]
async fn a_server_that_restarts_from_an_old_snapshot_is_void() {
    let (mut redis, _test, tier) = own_server().await;
    fill(&tier, feed(1)).await;
    let _: () = redis.run(&["SAVE"]);
    // The push is confirmed, and not in the snapshot.
    tier.push(&[(feed(1), entry(30))], tier.epoch(), LIMIT).await;
    let before = tier.epoch();
    redis.crash_and_restart();
    recovered(&tier, before).await;
    let old: i64 = redis.run(&["LLEN", "user_newsfeeds:1"]);
    assert_eq!(old, 2, "the server does hold the older list");
    assert_eq!(tier.load(feed(1), tier.epoch(), LIMIT).await, None, "and nobody believes it");
}

#[tokio::test]
async fn a_server_that_restarted_while_roost_was_stopped_is_void() {
    let (mut redis, test, tier) = own_server().await;
    fill(&tier, feed(1)).await;
    let before = tier.epoch();
    let _: () = redis.run(&["SAVE"]);
    tier.shutdown().await;
    assert!(!testing::state(&test).dirty, "a clean stop");
    redis.crash_and_restart();
    let again = testing::up(testing::config(&redis.url), &test.db).await;
    assert!(again.epoch() > before);
}

#[tokio::test]
async fn a_start_does_not_wait_for_a_server_that_is_not_there() {
    let test = sqlite();
    let started = Instant::now();
    let config = testing::config("redis+unix:///nonexistent/redis.sock");
    let tier = RedisTier::start(config, test.db.clone(), Owner::nameless()).unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(tier.load(feed(1), 1, LIMIT).await, None);
    assert!(
        RedisTier::start(testing::config("nonsense"), test.db.clone(), Owner::nameless()).is_err()
    );
}
