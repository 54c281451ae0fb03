//! The buckets of this process, a bounded number of them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;

use super::bucket::{Bucket, Limit, Verdict};
use super::class::{Class, Who};

const SHARDS: usize = 32;

/// Buckets of one shard; about 100 bytes each.
const SHARD_BUCKETS: usize = 8_192;

/// What a shard that was full is cut down to.
const KEPT: usize = SHARD_BUCKETS - SHARD_BUCKETS / 8;

/// Names a bucket.
pub type Key = (Class, Who);

/// A bucket, and what the other nodes have not been told of it.
#[derive(Clone, Copy)]
struct Entry {
    bucket: Bucket,
    limit: Limit,
    unreported: u32,
}

impl Entry {
    /// How much of the limit is used up, of a million. Makes classes comparable: one follow
    /// of 400 a day takes longer to refill than an exhausted login.
    fn used(&self, now_ms: u64) -> u64 {
        self.bucket.left_ms(now_ms).saturating_mul(1_000_000) / self.limit.capacity_ms()
    }
}

/// The table.
pub struct Table {
    shards: Box<[Mutex<HashMap<Key, Entry>>]>,
    hasher: RandomState,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Table {
    /// Takes a token, and says how many were taken since the last [`Table::reported`].
    pub fn take(&self, key: Key, limit: Limit, now_ms: u64) -> (Verdict, u32) {
        let mut shard = self.shard(key).lock();
        if shard.len() >= SHARD_BUCKETS && !shard.contains_key(&key) {
            make_room(&mut shard, now_ms);
        }
        let entry =
            shard.entry(key).or_insert(Entry { bucket: Bucket::default(), limit, unreported: 0 });
        let verdict = entry.bucket.take(limit, now_ms);
        entry.unreported += u32::from(verdict.allowed);
        (verdict, entry.unreported)
    }

    /// Gives a token back.
    pub fn give_back(&self, key: Key) {
        if let Some(entry) = self.shard(key).lock().get_mut(&key) {
            entry.bucket.give_back(entry.limit);
            entry.unreported = entry.unreported.saturating_sub(1);
        }
    }

    /// The tokens that the other nodes have not been told of; from now on they have.
    pub fn reported(&self, key: Key) -> u32 {
        let mut shard = self.shard(key).lock();
        shard.get_mut(&key).map_or(0, |entry| std::mem::take(&mut entry.unreported))
    }

    /// Learns what all nodes together have left; see [`Bucket::learn`].
    pub fn learn(&self, key: Key, now_ms: u64, left_ms: u64) {
        if let Some(entry) = self.shard(key).lock().get_mut(&key) {
            entry.bucket.learn(now_ms, left_ms);
        }
    }

    fn shard(&self, key: Key) -> &Mutex<HashMap<Key, Entry>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

/// A flood of addresses must neither cost memory without end nor wash away what is remembered
/// of those who have used up their limit: those go that have used the least of it. An eighth at
/// a time, so that the search costs little per bucket.
fn make_room(shard: &mut HashMap<Key, Entry>, now_ms: u64) {
    shard.retain(|_, entry| entry.bucket.left_ms(now_ms) > 0);
    let Some(excess) = shard.len().checked_sub(KEPT).filter(|excess| *excess > 0) else { return };
    let mut by_use: Vec<(u64, Key)> =
        shard.iter().map(|(key, entry)| (entry.used(now_ms), *key)).collect();
    by_use.select_nth_unstable_by_key(excess - 1, |(used, _)| *used);
    for (_, key) in &by_use[..excess] {
        shard.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const LOGIN: Limit = Limit { burst: 10, period_s: 300 };

    fn address(number: u32) -> Key {
        (Class::Login, Who::address(IpAddr::V4(number.into())))
    }

    fn held(table: &Table) -> usize {
        table.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    #[test]
    fn a_flood_of_addresses_stays_bounded_and_frees_nobody() {
        let table = Table::default();
        let guessers: Vec<Key> = (0..1_000).map(|n| address(0x0a00_0000 + n)).collect();
        for guesser in &guessers {
            while table.take(*guesser, LOGIN, 0).0.allowed {}
        }
        let reader = (Class::ReadAnonymous, Who::address("192.0.2.1".parse().unwrap()));
        let reads = Limit { burst: 1_500, period_s: 300 };
        for n in 0..400_000_u32 {
            table.take(address(0x5000_0000 + n), LOGIN, u64::from(n / 4_000));
            table.take(reader, reads, u64::from(n / 4_000));
        }
        assert!(held(&table) <= SHARDS * SHARD_BUCKETS, "{}", held(&table));
        for guesser in guessers.iter().chain([&reader]) {
            assert!(!table.take(*guesser, LOGIN, 100).0.allowed, "{guesser:?} is free again");
        }
    }

    #[test]
    fn what_is_full_again_goes_first() {
        let table = Table::default();
        let follower = (Class::Follow, Who::User(1));
        table.take(follower, Limit { burst: 400, period_s: 86_400 }, 0);
        for n in 0..400_000_u32 {
            table.take(address(n), LOGIN, u64::from(n));
        }
        // An hour later all logins are forgotten, and a new flood begins.
        for n in 0..8_000_u32 {
            table.take(address(n), LOGIN, 3_600_000);
        }
        assert!(held(&table) <= SHARDS * SHARD_BUCKETS, "{}", held(&table));
    }

    #[test]
    fn what_was_taken_is_reported_once() {
        let table = Table::default();
        let key = address(1);
        for expected in 1..=3 {
            assert_eq!(table.take(key, LOGIN, 0).1, expected);
        }
        table.give_back(key);
        assert_eq!((table.reported(key), table.reported(key)), (2, 0));
    }
}
