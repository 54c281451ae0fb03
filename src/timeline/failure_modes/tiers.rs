//! Memory, Redis and Postgres together.

use super::*;
use crate::redis_tier::testing::{TestRedis, config as redis_config, up};
use crate::redis_tier::{ListKey, RedisTier};
use crate::store::newsfeeds;
use crate::store::testing::{TestDb, postgres};
use crate::timeline::{EntryStore, TieredSource};

struct House {
    test: TestDb,
    redis: TestRedis,
    tier: RedisTier,
    timelines: Timelines,
}

impl House {
    async fn open(rows: i64) -> House {
        let (test, redis) = (postgres(), TestRedis::claim());
        let tier = up(redis_config(&redis.url), &test.db).await;
        let source = TieredSource::new(EntryStore::new(test.db.clone()), tier.clone());
        let timelines = Timelines::new(config(), Arc::new(source));
        let house = House { test, redis, tier, timelines };
        house.insert(1..=rows);
        house
    }

    fn insert(&self, moments: std::ops::RangeInclusive<i64>) {
        let rows: Vec<_> = moments.map(|at| (1, Timestamp(at), at * 10)).collect();
        self.test.db.write_blocking(|conn| Ok(newsfeeds::insert(conn, &rows)?)).unwrap();
    }

    /// A commit, and what follows from it.
    async fn post(&self, at: i64) {
        self.insert(at..=at);
        self.timelines.push(ME, entry(at));
        self.tier.push(&[(ListKey::from(ME), entry(at))], self.tier.epoch(), LIMIT).await;
    }

    fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        redis::cmd(command).arg("user_newsfeeds:1").query(&mut self.redis.connect()).unwrap()
    }

    fn length(&self) -> usize {
        redis::cmd("LLEN").arg("user_newsfeeds:1").query(&mut self.redis.connect()).unwrap()
    }
}

fn descending(newest: i64) -> Vec<Entry> {
    (1..=newest).rev().map(entry).collect()
}

/// Failure modes 4 and 5: a key that goes away before a push stays away, and has a time to live
/// whenever it is there.
#[actix_rt::test]
async fn failure_mode_05_a_list_never_lives_for_ever() {
    let house = House::open(5).await;
    for at in 6..=12 {
        all(&house.timelines).await;
        house.ask::<i64>("DEL");
        house.post(at).await;
        assert_eq!(house.length(), 0, "a push makes no list");
        house.timelines.passivate(ME);
        assert_eq!(all(&house.timelines).await, descending(at));
        assert!(house.ask::<i64>("PTTL") > 0);
    }
}
