//! The tier against real servers.

mod counts;
mod epochs;
mod faults;
mod fences;
mod lag;
mod lists;
mod surprises;

use super::testing::{self, TestRedis};
use super::{FillOutcome, ListKey, ListKind, RedisTier};
use crate::store::testing::{TestDb, sqlite};
use crate::time::Timestamp;
use crate::timeline::Entry;

/// More than any list here needs, unless a test says otherwise.
const LIMIT: usize = 10;

fn feed(user_id: i64) -> ListKey {
    ListKey { kind: ListKind::Newsfeed, user_id }
}

fn entry(at: i64) -> Entry {
    Entry { created_at: Timestamp(at), tweet_id: at * 10 }
}

fn entries(moments: &[i64]) -> Vec<Entry> {
    moments.iter().copied().map(entry).collect()
}

/// A tier that is up, on a database number and a SQLite file of its own.
struct Room {
    tier: RedisTier,
    redis: TestRedis,
    test: TestDb,
}

impl Room {
    async fn open() -> Room {
        let (redis, test) = (TestRedis::claim(), sqlite());
        let tier = testing::up(testing::config(&redis.url), &test.db).await;
        Room { tier, redis, test }
    }

    fn epoch(&self) -> i64 {
        self.tier.epoch()
    }

    /// Takes a lease and fills.
    async fn fill(&self, key: ListKey, moments: &[i64], complete: bool) {
        let lease = self.tier.generation(key).await.expect("a lease");
        let outcome = self.tier.fill(key, lease, self.epoch(), &entries(moments), complete).await;
        assert_eq!(outcome, FillOutcome::Stored);
    }

    async fn push(&self, key: ListKey, at: i64) {
        self.tier.push(&[(key, entry(at))], self.epoch(), LIMIT).await;
    }

    /// What a reader gets: the moments and the completeness.
    async fn read(&self, key: ListKey) -> Option<(Vec<i64>, bool)> {
        let list = self.tier.load(key, self.epoch(), LIMIT).await?;
        let moments = list.entries.iter().map(|entry| entry.created_at.micros()).collect();
        Some((moments, list.complete))
    }

    /// Runs a command as a stranger would.
    fn raw<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut cmd = redis::Cmd::new();
        words.iter().for_each(|word| {
            cmd.arg(*word);
        });
        cmd.query(&mut self.redis.connect()).unwrap()
    }
}
