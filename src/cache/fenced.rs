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
//!
//! The same counts tell whoever has made something of cached values, such as a page, whether it
//! may still be shown: see [`Fenced::stamp`].

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use quick_cache::DefaultHashBuilder;
use quick_cache::sync::Cache;

/// Enough that two keys rarely share one; 256 KiB per cache.
const STRIPES: usize = 16_384;

/// Permission to fill one key, taken before the database is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// Keys of one stamp: the largest page of a timeline, and one more.
const MOST_STAMPED: usize = 101;

/// How often some keys had been written to at a moment. The keys' places stand in it and not
/// behind a pointer: what is kept is looked at so often that each wait for memory counts.
#[derive(Debug)]
pub struct Stamp {
    stripes: [u16; MOST_STAMPED],
    keys: u8,
    /// The sum: counts only grow, so it is the same only if each of them is.
    writes: u64,
}

/// The writes that the keys of a stripe have seen. The lock orders a fill against a write:
/// comparing and inserting must not be torn apart. The count is read without it.
#[derive(Default)]
struct Stripe {
    lock: Mutex<()>,
    writes: AtomicU64,
}

impl Stripe {
    fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }

    /// After the write itself, so that whoever has counted it finds what it has left.
    fn count(&self) {
        self.writes.fetch_add(1, Ordering::Release);
    }
}

/// The cache. Values are cheap to clone (an `Arc` or a small `Copy`).
pub struct Fenced<K, V> {
    entries: Cache<K, V>,
    stripes: Box<[Stripe]>,
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
            stripes: (0..STRIPES).map(|_| Stripe::default()).collect(),
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
        Ticket(self.stripe(key).writes())
    }

    /// To be taken before values of `keys` are looked up for something that is kept. `None` for
    /// too many keys, more than a page has.
    pub fn stamp(&self, keys: &[K]) -> Option<Stamp> {
        let mut stamp = Stamp { stripes: [0; MOST_STAMPED], keys: keys.len() as u8, writes: 0 };
        for (place, key) in stamp.stripes.get_mut(..keys.len())?.iter_mut().zip(keys) {
            *place = self.place(key) as u16;
        }
        stamp.writes = self.sum(&stamp);
        Some(stamp)
    }

    /// Whether none of the keys of `stamp` has been written to since it was taken. A key that
    /// shares a stripe with one that has counts as written to.
    pub fn is_current(&self, stamp: &Stamp) -> bool {
        self.sum(stamp) == stamp.writes
    }

    fn sum(&self, stamp: &Stamp) -> u64 {
        let places = stamp.stripes.iter().take(stamp.keys.into());
        let writes = places.map(|place| self.stripes[*place as usize % STRIPES].writes());
        writes.fold(0, u64::wrapping_add)
    }

    /// Stores what was read under `ticket`, unless the key has been written since.
    pub fn fill(&self, ticket: Ticket, key: K, value: V) {
        let stripe = self.stripe(&key);
        let _held = stripe.lock.lock();
        if stripe.writes() == ticket.0 {
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
        let stripe = self.stripe(&key);
        let _held = stripe.lock.lock();
        self.entries.insert(key, value);
        stripe.count();
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Changes the value if it is cached, and makes running fills void either way. `change`
    /// returns the new value, or `None` to forget the key.
    pub fn update(&self, key: &K, change: impl FnOnce(V) -> Option<V>) {
        let stripe = self.stripe(key);
        let _held = stripe.lock.lock();
        if let Some(old) = self.entries.peek(key) {
            match change(old) {
                Some(new) => self.entries.insert(key.clone(), new),
                None => {
                    self.entries.remove(key);
                }
            }
        }
        stripe.count();
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Forgets the key and makes running fills void.
    pub fn invalidate(&self, key: &K) {
        self.update(key, |_| None);
    }

    /// Forgets everything and makes all running fills void.
    pub fn clear(&self) {
        // Before, so that no running fill brings back what goes here; and after, as any write.
        self.count_everywhere();
        self.entries.clear();
        self.count_everywhere();
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

    fn count_everywhere(&self) {
        for stripe in &self.stripes {
            let _held = stripe.lock.lock();
            stripe.count();
        }
    }

    fn stripe(&self, key: &K) -> &Stripe {
        &self.stripes[self.place(key)]
    }

    fn place(&self, key: &K) -> usize {
        self.hasher.hash_one(key) as usize % STRIPES
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
    fn a_stamp_is_current_until_one_of_its_keys_is_written_to() {
        let cache = Fenced::new(100);
        let keys = [1, 2, 3];
        let writes: [fn(&Fenced<i64, i64>); 5] = [
            |cache| cache.put(3, 2),
            |cache| cache.update(&3, Some),
            |cache| cache.update(&2, |_| unreachable!("nothing is cached")),
            |cache| cache.invalidate(&1),
            |cache| cache.clear(),
        ];
        for write in writes {
            let stamp = cache.stamp(&keys).unwrap();
            let fill = cache.ticket(&1);
            cache.fill(fill, 1, 1);
            assert!(cache.is_current(&stamp), "a fill is no write");
            write(&cache);
            assert!(!cache.is_current(&stamp));
        }
        assert!(cache.is_current(&cache.stamp(&keys).unwrap()));
        assert!(cache.stamp(&[0; MOST_STAMPED]).is_some());
        assert!(cache.stamp(&[0; MOST_STAMPED + 1]).is_none());
        assert!(cache.stamp(&[0; 300]).is_none());
        // Writes to other keys than these, whose stripes are known to differ.
        let stamp = cache.stamp(&keys).unwrap();
        let others = (10..1_000).filter(|key| !stamp.stripes.contains(&(cache.place(key) as u16)));
        others.for_each(|key| cache.put(key, 0));
        assert!(cache.is_current(&stamp));
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
