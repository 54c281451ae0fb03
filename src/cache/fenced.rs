//! A bounded cache whose fills cannot overwrite what a writer has made known meanwhile.
//!
//! The race: a reader misses and runs its SELECT; a writer commits and updates the cache, where
//! there is nothing to update yet; the reader puts its older row in, and it stays for good.
//! The cure is the lease of "Scaling Memcache at Facebook" (NSDI 2013): a reader takes a
//! [`Ticket`] before its SELECT, every write to a key makes the tickets of that key void, and a
//! fill with a void ticket is not stored (the reader still uses its row, once).
//!
//! Tickets are kept per stripe of keys, not per key, so they need no memory of their own; a
//! collision costs one fill.
//!
//! A writer calls in after its commit and before it acknowledges. A reader whose ticket is
//! younger than that starts its SELECT after the commit, so what it stores is current.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use quick_cache::DefaultHashBuilder;
use quick_cache::sync::Cache;

/// Enough that two keys rarely share one; 64 KiB per cache.
const STRIPES: usize = 4096;

/// Permission to fill one key, taken before the database is read.
#[derive(Debug, Clone, Copy)]
pub struct Ticket(u64);

/// The cache. Values are cheap to clone (an `Arc` or a small `Copy`).
pub struct Fenced<K, V> {
    entries: Cache<K, V>,
    /// How many writes the keys of each stripe have seen. The lock orders a fill against a
    /// write: comparing and inserting must not be torn apart.
    writes: Box<[Mutex<u64>]>,
    /// All writes so far, for those who keep copies.
    changes: AtomicU64,
    hasher: DefaultHashBuilder,
}

impl<K, V> Fenced<K, V>
where
    K: Eq + Hash + Clone,
    V: Clone,
{
    /// A cache of about `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Fenced {
            entries: Cache::new(capacity.max(1)),
            writes: (0..STRIPES).map(|_| Mutex::new(0)).collect(),
            changes: AtomicU64::new(0),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// The cached value.
    pub fn get(&self, key: &K) -> Option<V> {
        self.entries.get(key)
    }

    /// To be taken before the database is read for `key`.
    pub fn ticket(&self, key: &K) -> Ticket {
        Ticket(*self.stripe(key).lock())
    }

    /// Stores what was read under `ticket`, unless the key has been written since.
    pub fn fill(&self, ticket: Ticket, key: K, value: V) {
        let writes = self.stripe(&key).lock();
        if *writes == ticket.0 {
            self.entries.insert(key, value);
        }
    }

    /// How many writes there have been, of any key. Whoever keeps a copy of a value reads this
    /// before [`Fenced::get`]; as long as it stays the same the copy is what the cache has.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Stores a value that is known to be current: read or written under a lock that orders it
    /// against every other write of this key.
    pub fn put(&self, key: K, value: V) {
        let mut writes = self.stripe(&key).lock();
        *writes += 1;
        self.entries.insert(key, value);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Changes the value if it is cached, and makes running fills void either way. `change`
    /// returns the new value, or `None` to forget the key.
    pub fn update(&self, key: &K, change: impl FnOnce(V) -> Option<V>) {
        let mut writes = self.stripe(key).lock();
        *writes += 1;
        if let Some(old) = self.entries.peek(key) {
            match change(old) {
                Some(new) => self.entries.insert(key.clone(), new),
                None => {
                    self.entries.remove(key);
                }
            }
        }
        // After the write: who has counted it finds what it has left.
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Forgets the key and makes running fills void.
    pub fn invalidate(&self, key: &K) {
        self.update(key, |_| None);
    }

    /// Forgets everything and makes all running fills void.
    pub fn clear(&self) {
        for stripe in &self.writes {
            *stripe.lock() += 1;
        }
        self.entries.clear();
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Entries held now.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn stripe(&self, key: &K) -> &Mutex<u64> {
        &self.writes[self.hasher.hash_one(key) as usize % STRIPES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_from_before_a_write_is_dropped() {
        let cache = Fenced::new(10);
        let ticket = cache.ticket(&1);
        cache.update(&1, |_: &str| unreachable!("nothing is cached yet"));
        cache.fill(ticket, 1, "old row");
        assert_eq!(cache.get(&1), None);

        let ticket = cache.ticket(&1);
        cache.fill(ticket, 1, "new row");
        assert_eq!(cache.get(&1), Some("new row"));
    }

    #[test]
    fn a_write_changes_or_forgets_what_is_cached() {
        let cache = Fenced::new(10);
        cache.put(1, 10);
        cache.update(&1, |old| Some(old + 1));
        assert_eq!(cache.get(&1), Some(11));
        cache.invalidate(&1);
        assert_eq!(cache.get(&1), None);
    }

    #[test]
    fn clearing_voids_running_fills() {
        let cache = Fenced::new(10);
        let ticket = cache.ticket(&7);
        cache.clear();
        cache.fill(ticket, 7, 1);
        assert!(cache.is_empty());
    }

    #[test]
    fn every_write_is_counted_and_no_fill() {
        let cache = Fenced::new(10);
        let mut seen = cache.changes();
        let ticket = cache.ticket(&1);
        cache.fill(ticket, 1, 1);
        assert_eq!(cache.changes(), seen);
        let writes: [fn(&Fenced<i64, i64>); 4] = [
            |cache| cache.put(1, 2),
            |cache| cache.update(&1, Some),
            |cache| cache.invalidate(&2),
            |cache| cache.clear(),
        ];
        for write in writes {
            write(&cache);
            assert_ne!(cache.changes(), seen);
            seen = cache.changes();
        }
    }
}
