//! Limits alone, and shared through a Redis server.

use super::*;
use crate::redis_tier::testing::{self, PATIENCE, PrivateRedis, TestRedis, until};
use crate::store::testing::{TestDb, sqlite};

fn settings() -> Settings {
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }
    Line::parse_from([
        "roost",
        "--limit-login=3/300",
        "--limit-login-account=5/3600",
        "--limit-post=2/600",
        "--limit-read=100/300",
        "--limit-address-accounts=2",
    ])
    .settings
}

fn alone() -> RateLimits {
    RateLimits::new(settings(), RedisTier::disabled())
}

fn address(text: &str) -> Who {
    Who::address(text.parse().unwrap())
}

#[tokio::test]
async fn an_address_may_do_what_so_many_accounts_may() {
    let limits = alone();
    let home = address("192.0.2.1");
    for user in 1..=2 {
        for _ in 0..2 {
            let told = limits.take(Class::Post, &[Who::User(user), home]).await;
            assert!(told.verdict.allowed, "{told:?}");
        }
        let told = limits.take(Class::Post, &[Who::User(user), home]).await;
        assert!(!told.verdict.allowed && told.limit.burst == 2, "{told:?}");
    }
    // The third account has posted nothing; its address has.
    let told = limits.take(Class::Post, &[Who::User(3), home]).await;
    assert!(!told.verdict.allowed && told.limit.burst == 4, "{told:?}");
    // And that has cost the account nothing.
    let elsewhere = limits.take(Class::Post, &[Who::User(3), address("192.0.2.2")]).await;
    assert_eq!((elsewhere.verdict.allowed, elsewhere.verdict.remaining), (true, 1));
}

#[tokio::test]
async fn an_account_is_guessed_at_from_everywhere_together() {
    let limits = alone();
    let ann = Who::name("ann");
    for n in 0..5 {
        let who = [address(&format!("192.0.2.{n}")), ann];
        assert!(limits.take(Class::Login, &who).await.verdict.allowed);
    }
    let who = [address("192.0.2.77"), ann];
    let told = limits.take(Class::Login, &who).await;
    assert!(!told.verdict.allowed && told.limit.burst == 5, "{told:?}");
    limits.give_back(Class::Login, &[ann]).await;
    assert!(limits.take(Class::Login, &who).await.verdict.allowed);
}

/// Nodes that share a Redis.
async fn nodes(url: &str, test: &TestDb) -> [RateLimits; 2] {
    let mut made = Vec::new();
    for _ in 0..2 {
        let tier = testing::up(testing::config(url), &test.db).await;
        made.push(RateLimits::new(settings(), tier));
    }
    made.try_into().ok().unwrap()
}

#[tokio::test]
async fn nodes_count_together() {
    let (redis, test) = (TestRedis::claim(), sqlite());
    let [one, two] = nodes(&redis.url, &test).await;
    let who = [address("192.0.2.1")];
    assert_eq!(one.take(Class::Login, &who).await.verdict.remaining, 2);
    assert_eq!(two.take(Class::Login, &who).await.verdict.remaining, 1);
    assert_eq!(one.take(Class::Login, &who).await.verdict.remaining, 0);
    let told = two.take(Class::Login, &who).await;
    assert!(!told.verdict.allowed, "{told:?}");
    assert!((1..=100_000).contains(&told.verdict.wait_ms), "{told:?}");
    // A login that succeeds does not count, whichever node says so.
    one.give_back(Class::Login, &who).await;
    let fresh = nodes(&redis.url, &test).await;
    assert!(fresh[0].take(Class::Login, &who).await.verdict.allowed, "given back");
    assert!(!fresh[1].take(Class::Login, &who).await.verdict.allowed, "and taken again");
    // Nothing stays for good.
    let keys: Vec<String> = redis::cmd("KEYS").arg("rate:*").query(&mut redis.connect()).unwrap();
    assert_eq!(keys, ["rate:login:address-192.0.2.1"]);
    let ttl: i64 = redis::cmd("PTTL").arg(&keys[0]).query(&mut redis.connect()).unwrap();
    assert!((1..=300_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn one_refusal_costs_the_other_bucket_nothing() {
    let (redis, test) = (TestRedis::claim(), sqlite());
    let [one, two] = nodes(&redis.url, &test).await;
    let home = address("192.0.2.1");
    for user in [1, 1, 2, 2] {
        assert!(one.take(Class::Post, &[Who::User(user), home]).await.verdict.allowed);
    }
    for _ in 0..3 {
        let told = two.take(Class::Post, &[Who::User(3), home]).await;
        assert!(!told.verdict.allowed && told.limit.burst == 4, "{told:?}");
    }
    let elsewhere = two.take(Class::Post, &[Who::User(3), address("192.0.2.2")]).await;
    assert_eq!((elsewhere.verdict.allowed, elsewhere.verdict.remaining), (true, 1));
}

#[tokio::test]
async fn reads_are_compared_without_waiting() {
    let (redis, test) = (TestRedis::claim(), sqlite());
    let [one, two] = nodes(&redis.url, &test).await;
    let who = [Who::User(1), address("192.0.2.1")];
    for _ in 0..60 {
        assert!(one.take(Class::Read, &who).await.verdict.allowed);
    }
    let key = "rate:read:user-1";
    let told = || redis::cmd("EXISTS").arg(key).query::<bool>(&mut redis.connect()).unwrap();
    until("the first node has told", told).await;
    // The other one learns of it with its own first lot: between them no more than the limit
    // and the lots that are under way.
    let mut passed = 60;
    for _ in 0..100 {
        if two.take(Class::Read, &who).await.verdict.allowed {
            passed += 1;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert!((95..=110).contains(&passed), "{passed}");
}

#[tokio::test]
async fn without_redis_each_node_counts_what_it_has_seen() {
    let (redis, test) = (PrivateRedis::start(), sqlite());
    let config = crate::redis_tier::RedisConfig {
        timeout: std::time::Duration::from_millis(200),
        ..testing::config(&redis.url)
    };
    let tier = testing::up(config, &test.db).await;
    let limits = RateLimits::new(settings(), tier.clone());
    let who = [address("192.0.2.1")];
    assert!(limits.take(Class::Login, &who).await.verdict.allowed);
    redis.freeze();
    let asked = Instant::now();
    assert!(limits.take(Class::Login, &who).await.verdict.allowed);
    assert!(limits.take(Class::Login, &who).await.verdict.allowed);
    assert!(!limits.take(Class::Login, &who).await.verdict.allowed, "three were seen here");
    assert!(asked.elapsed() < PATIENCE / 4, "each waits for the deadline at most");
    redis.thaw();
    assert!(tier.wait_until_up(PATIENCE).await);
    assert!(!limits.take(Class::Login, &who).await.verdict.allowed, "still exhausted");
}

#[tokio::test]
async fn nonsense_in_redis_is_a_full_bucket() {
    let (redis, test) = (TestRedis::claim(), sqlite());
    let [one, _] = nodes(&redis.url, &test).await;
    let mut link = redis.connect();
    let odd: [&[&str]; 4] = [
        &["SET", "rate:post:user-1", "nonsense"],
        &["SET", "rate:post:user-1", "99999999999999999999999"],
        &["SET", "rate:post:user-1", "-5"],
        &["RPUSH", "rate:post:user-1", "a", "list"],
    ];
    for (round, words) in (1_i64..).zip(odd) {
        redis::cmd("DEL").arg("rate:post:user-1").exec(&mut link).unwrap();
        let mut cmd = redis::Cmd::new();
        words.iter().for_each(|word| {
            cmd.arg(*word);
        });
        cmd.exec(&mut link).unwrap();
        // A number that is too large is an empty bucket of the limit's own size, no longer.
        let taken = one.0.redis.take_tokens(&[one.ask((Class::Post, Who::User(1)))]).await;
        let taken = taken.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(taken.left_ms[0] <= 600_000, "round {round}: {taken:?}");
        let ttl: i64 = redis::cmd("PTTL").arg("rate:post:user-1").query(&mut link).unwrap();
        assert!(ttl > 0, "round {round}: {ttl}");
    }
}
