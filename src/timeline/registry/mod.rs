//! From a key to an actor: started on first use, passivated when idle or over budget, replaced
//! when it has died.
//!
//! Registration in the map happens before an actor's first load, and a writer looks a key up
//! after its commit. So a change either finds the actor, or the actor's load finds the change.

mod deliveries;
mod follow;
mod passivation;
mod reads;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::{Addr, Arbiter, ArbiterHandle};
use metrics::{Counter, counter};
use parking_lot::{Mutex, RwLock};
use quick_cache::DefaultHashBuilder;

pub use self::follow::Subscription;
use super::actor::{Change, MAILBOX, TimelineActor};
use super::gauge::{Gauge, Total};
use super::source::{LoadedFrom, TimelineSource};
use super::{Amendment, Entry, TimelineKey};
use crate::actors;

const SHARDS: usize = 64;

/// Not the standard hasher: nobody chooses the ids that they get.
type Residents = HashMap<TimelineKey, Resident, DefaultHashBuilder>;

/// What a resident timeline costs besides its entries (actor, mailbox, place in the map), in
/// entries of 16 bytes: an empty one is not free. `tests::memory` measures it.
pub(super) const OVERHEAD_ENTRIES: usize = 96;

/// Limits of the registry.
#[derive(Debug, Clone, Copy)]
pub struct TimelinesConfig {
    /// Entries kept per timeline.
    pub list_limit: usize,
    /// Entries kept over all timelines, each of which counts as 96 more for what it costs
    /// itself. What is loaded between two sweeps comes on top.
    pub resident_entries: usize,
    /// A timeline unread for so long leaves memory.
    pub idle: Duration,
}

/// The timelines of this node; clones share them.
#[derive(Clone)]
pub struct Timelines {
    inner: Arc<Inner>,
}

struct Inner {
    config: TimelinesConfig,
    source: Arc<dyn TimelineSource>,
    shards: Box<[Mutex<Residents>]>,
    /// Threads that actors are started on.
    arbiters: RwLock<Vec<ArbiterHandle>>,
    total: Total,
    born: Instant,
    /// Readers whose answer is still to come.
    waiting: AtomicUsize,
    /// Pages by where they came from, looked up once.
    pages: [Counter; 3],
}

#[derive(Clone)]
struct Resident {
    /// Shared, not cloned: actix lets every clone of an address put one message into a full
    /// mailbox, so with a clone per message the capacity would hold nothing back.
    addr: Arc<Addr<TimelineActor>>,
    gauge: Arc<Gauge>,
}

impl Resident {
    fn is_followed(&self) -> bool {
        self.gauge.followers.load(Ordering::Relaxed) > 0
    }

    /// Tells the actor of a change, and readers that one is under way. When it cannot be told,
    /// full or dead, what it holds must not be served again without this change.
    fn tell(&self, change: Change) {
        self.gauge.under_way.fetch_add(1, Ordering::AcqRel);
        if self.addr.try_send(change).is_err() {
            self.gauge.stale.store(true, Ordering::Release);
            self.gauge.under_way.fetch_sub(1, Ordering::Release);
        }
    }
}

impl Timelines {
    /// Timelines that load from `source`. Actors run on the thread of their first reader until
    /// [`Timelines::run_on`] has named threads for them.
    pub fn new(config: TimelinesConfig, source: Arc<dyn TimelineSource>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Timelines {
            inner: Arc::new(Inner {
                config,
                source,
                shards,
                arbiters: RwLock::new(Vec::new()),
                total: Total::default(),
                born: Instant::now(),
                waiting: AtomicUsize::new(0),
                pages: [LoadedFrom::Memory, LoadedFrom::Redis, LoadedFrom::Database]
                    .map(|from| counter!("roost_timeline_pages_total", "source" => from.label())),
            }),
        }
    }

    /// Adds a thread on which actors are started.
    pub fn run_on(&self, arbiter: ArbiterHandle) {
        self.inner.arbiters.write().push(arbiter);
    }

    fn gauge(&self, key: TimelineKey) -> Option<Arc<Gauge>> {
        self.shard(key).lock().get(&key).map(|resident| resident.gauge.clone())
    }

    /// Tells a resident timeline of a committed entry. A cold one stays cold.
    pub fn push(&self, key: TimelineKey, entry: Entry) {
        self.change(key, Change::Push(entry));
    }

    /// Tells a resident timeline that a tweet is gone.
    pub fn remove(&self, key: TimelineKey, tweet_id: i64) {
        self.change(key, Change::Remove(tweet_id));
    }

    /// Tells a resident timeline of a committed change of its past.
    pub fn amend(&self, key: TimelineKey, amendment: Arc<Amendment>) {
        self.change(key, Change::Amend(amendment));
    }

    /// Makes a resident timeline load again before it answers.
    pub fn forget(&self, key: TimelineKey) {
        self.change(key, Change::Forget);
    }

    /// Makes every resident timeline load again before it answers, and ends the open streams:
    /// an entry may be visible that nobody has told them.
    pub fn forget_all(&self) {
        for shard in &self.inner.shards {
            for resident in shard.lock().values() {
                resident.gauge.stale.store(true, Ordering::Release);
                if resident.is_followed() {
                    // The next message of any kind does it; when the mailbox is full there is
                    // one already.
                    resident.tell(Change::Forget);
                }
            }
        }
    }

    fn change(&self, key: TimelineKey, change: Change) {
        let resident = self.shard(key).lock().get(&key).cloned();
        if let Some(resident) = resident {
            resident.tell(change);
        }
    }

    /// Timelines and entries in memory.
    pub fn resident_count(&self) -> (usize, usize) {
        let timelines = self.inner.shards.iter().map(|shard| shard.lock().len()).sum();
        (timelines, self.inner.total.load(Ordering::Relaxed))
    }

    /// Readers whose answer is still to come, over all mailboxes.
    pub fn waiting(&self) -> usize {
        self.inner.waiting.load(Ordering::Relaxed)
    }

    /// Whether the timeline is in memory now.
    pub fn is_resident(&self, key: TimelineKey) -> bool {
        self.shard(key).lock().contains_key(&key)
    }

    /// The actor of a timeline that is in memory now.
    pub(super) fn address(&self, key: TimelineKey) -> Option<Arc<Addr<TimelineActor>>> {
        self.shard(key).lock().get(&key).map(|resident| resident.addr.clone())
    }

    fn resident(&self, key: TimelineKey) -> Resident {
        let mut shard = self.shard(key).lock();
        let resident = shard.entry(key).or_insert_with(|| self.start(key));
        resident.gauge.last_used.store(self.now_ms(), Ordering::Relaxed);
        resident.clone()
    }

    fn start(&self, key: TimelineKey) -> Resident {
        let gauge = Arc::new(Gauge::default());
        let actor = TimelineActor::new(
            key,
            self.inner.config.list_limit,
            self.inner.source.clone(),
            gauge.clone(),
            self.inner.total.clone(),
        );
        let arbiters = self.inner.arbiters.read();
        let addr = match arbiters.len() {
            0 => actors::start(&Arbiter::current(), MAILBOX, || actor),
            count => actors::start(&arbiters[spread(key) as usize % count], MAILBOX, || actor),
        };
        Resident { addr: Arc::new(addr), gauge }
    }

    /// Removes a dead actor, unless another has taken its place already.
    fn forget_dead(&self, key: TimelineKey, dead: &Resident) {
        let mut shard = self.shard(key).lock();
        if shard.get(&key).is_some_and(|held| held.addr == dead.addr) {
            shard.remove(&key);
            counter!("roost_timeline_restarts_total").increment(1);
            tracing::warn!(?key, "a timeline actor died and is replaced");
        }
    }

    fn shard(&self, key: TimelineKey) -> &Mutex<Residents> {
        &self.inner.shards[spread(key) as usize % SHARDS]
    }

    fn now_ms(&self) -> u64 {
        self.inner.born.elapsed().as_millis() as u64
    }

    /// Open streams as the actor knows them.
    #[cfg(test)]
    pub(crate) fn followers(&self, key: TimelineKey) -> usize {
        self.resident(key).gauge.followers.load(Ordering::Relaxed)
    }

    /// Makes the timeline's actor panic, as a bug would.
    #[cfg(test)]
    pub(crate) fn panic_actor(&self, key: TimelineKey) {
        let resident = self.resident(key);
        // It queues up like a change, and readers behind it.
        resident.gauge.under_way.fetch_add(1, Ordering::AcqRel);
        let _ = resident.addr.try_send(super::actor::Panic);
    }
}

/// Spreads consecutive ids (Fibonacci hashing, Knuth, TAOCP volume 3, 6.4).
fn spread(key: TimelineKey) -> u64 {
    let id = match key {
        TimelineKey::Home(user) => (user as u64) << 1,
        TimelineKey::Author(user) => (user as u64) << 1 | 1,
    };
    id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}
