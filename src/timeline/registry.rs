//! From a key to an actor: started on first use, passivated when idle or over budget, replaced
//! when it has died.
//!
//! Registration in the map happens before an actor's first load, and a writer looks a key up
//! after its commit. So a change either finds the actor, or the actor's load finds the change.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::{Addr, Arbiter, ArbiterHandle};
use metrics::{Counter, counter};
use parking_lot::{Mutex, RwLock};
use quick_cache::DefaultHashBuilder;
use tokio::sync::{mpsc, oneshot};

use super::actor::{Change, Gauge, MAILBOX, Read, Revision, TimelineActor, Total};
use super::source::{LoadedFrom, TimelineSource};
use super::window::Found;
use super::{Entry, Range, Slice, TimelineError, TimelineKey};
use crate::actors;
use crate::origin::Origin;
use crate::time::Timestamp;

const SHARDS: usize = 64;

/// Not the standard hasher: nobody chooses the ids that they get.
type Residents = HashMap<TimelineKey, Resident, DefaultHashBuilder>;

/// Entries that wait for a slow stream; with more it is cut off and may resume.
const FOLLOWER_BUFFER: usize = 64;

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

    /// At most `want` entries of `range`, newest first; fewer only if there are no more.
    ///
    /// # Errors
    /// [`TimelineError::Overloaded`] at once when too many wait already;
    /// [`TimelineError::Unavailable`] when the database is needed and cannot be read.
    pub async fn page(
        &self,
        key: TimelineKey,
        range: Range,
        want: usize,
    ) -> Result<Slice, TimelineError> {
        let (found, mut from, mut again) = match self.look(key, range, want) {
            Some((found, again)) => (found, LoadedFrom::Memory, again),
            None => {
                // Boxed, as it is rare and large.
                let (found, from) = Box::pin(self.ask(key, range, want, None)).await?;
                (found, from, None)
            }
        };
        let mut entries = found.entries;
        if let Some(rest) = found.unknown {
            let older = self.inner.source.page(key, rest, want - entries.len()).await?;
            entries.extend(older);
            (from, again) = (LoadedFrom::Database, None);
        }
        self.inner.pages[from as usize].increment(1);
        Ok(Slice { entries, from, again })
    }

    /// Whether a timeline is warm and in the state `revision`: what was made of its entries then
    /// may be shown as a page from memory, and is counted as one.
    pub fn is_still_at(&self, key: TimelineKey, revision: Revision, now: Instant) -> bool {
        let Some(gauge) = self.gauge(key) else { return false };
        let is_still = gauge.revision(self.inner.source.epoch()) == Some(revision);
        if is_still {
            let now_ms = now.saturating_duration_since(self.inner.born).as_millis() as u64;
            gauge.last_used.store(now_ms, Ordering::Relaxed);
            self.inner.pages[LoadedFrom::Memory as usize].increment(1);
        }
        is_still
    }

    /// What has become visible after `after` (the newest `list_limit` entries of it), and from
    /// then on every entry as it becomes visible: nothing between is lost or repeated. `None`
    /// begins with what becomes visible next.
    ///
    /// # Errors
    /// As [`Timelines::page`].
    pub async fn follow(
        &self,
        key: TimelineKey,
        after: Option<Timestamp>,
    ) -> Result<Subscription, TimelineError> {
        let (sender, entries) = mpsc::channel(FOLLOWER_BUFFER);
        let Some(after) = after else {
            let (found, _) = self.ask(key, Range::ALL, 1, Some(sender)).await?;
            let after = found.entries.first().map_or(Timestamp(1), |newest| newest.created_at);
            return Ok(Subscription { after, backlog: Vec::new(), is_gap: false, entries });
        };
        let range = Range { newer_than: after, ..Range::ALL };
        let limit = self.inner.config.list_limit;
        let (found, _) = self.ask(key, range, limit, Some(sender)).await?;
        let mut backlog = found.entries;
        let mut is_gap = backlog.len() == limit;
        if let Some(rest) = found.unknown {
            let room = limit - backlog.len();
            let mut older = self.inner.source.page(key, rest, room + 1).await?;
            is_gap = older.len() > room;
            older.truncate(room);
            backlog.extend(older);
        } else if is_gap {
            // Exactly as many as are kept: is there another one below?
            let rest = backlog.last().map_or(range, |oldest| range.below(oldest.created_at));
            is_gap = !self.inner.source.page(key, rest, 1).await?.is_empty();
        }
        backlog.reverse();
        Ok(Subscription { after, backlog, is_gap, entries })
    }

    /// Looks into a warm timeline. A dead one has dropped what it held, so it is not looked at.
    /// The revision is told when the first page is read at it again.
    fn look(
        &self,
        key: TimelineKey,
        range: Range,
        want: usize,
    ) -> Option<(Found, Option<Revision>)> {
        let gauge = self.gauge(key)?;
        let (found, revision) = gauge.look(range, want, self.inner.source.epoch())?;
        gauge.last_used.store(self.now_ms(), Ordering::Relaxed);
        let is_again = range == Range::ALL && gauge.is_read_again(revision);
        Some((found, is_again.then_some(revision)))
    }

    fn gauge(&self, key: TimelineKey) -> Option<Arc<Gauge>> {
        self.shard(key).lock().get(&key).map(|resident| resident.gauge.clone())
    }

    /// Asks the actor; one that has died is replaced by a cold one, once.
    async fn ask(
        &self,
        key: TimelineKey,
        range: Range,
        want: usize,
        follow: Option<mpsc::Sender<Entry>>,
    ) -> Result<(Found, LoadedFrom), TimelineError> {
        for _ in 0..2 {
            let resident = self.resident(key);
            let (reply, answer) = oneshot::channel();
            let (follow, origin) = (follow.clone(), Origin::current());
            let read = Read { range, want, reply, follow, origin };
            if let Err(refused) = resident.addr.try_send(read) {
                match refused {
                    actix::prelude::SendError::Full(_) => {
                        metrics::counter!("roost_timeline_refused_total").increment(1);
                        return Err(TimelineError::Overloaded);
                    }
                    actix::prelude::SendError::Closed(_) => {
                        self.forget_dead(key, &resident);
                        continue;
                    }
                }
            }
            let _waiting = Waiting::begin(&self.inner.waiting);
            match answer.await {
                Ok(result) => return result,
                Err(_) => self.forget_dead(key, &resident),
            }
        }
        Err(TimelineError::Unavailable("the timeline stopped twice".into()))
    }

    /// Tells a resident timeline of a committed entry. A cold one stays cold.
    pub fn push(&self, key: TimelineKey, entry: Entry) {
        self.change(key, Change::Push(entry));
    }

    /// Tells a resident timeline that a tweet is gone.
    pub fn remove(&self, key: TimelineKey, tweet_id: i64) {
        self.change(key, Change::Remove(tweet_id));
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

    /// Passivates timelines that are idle, then the least recently used ones until the budget
    /// holds with a twentieth to spare. To be called every second or so.
    pub fn sweep(&self) {
        let config = &self.inner.config;
        let now = self.now_ms();
        let idle_before = now.saturating_sub(config.idle.as_millis() as u64);
        let mut residents = self.usage();
        let mut total: usize = residents.iter().map(|usage| usage.entries).sum();
        let over = total > config.resident_entries;
        let has_idle = residents.iter().any(|usage| usage.last_used < idle_before);
        if !has_idle && !over {
            return;
        }
        residents.sort_unstable_by_key(|usage| usage.last_used);
        let target = config.resident_entries - config.resident_entries / 20;
        for usage in residents {
            let is_idle = usage.last_used < idle_before;
            let is_excess = over && total > target;
            if !is_idle && !is_excess {
                break;
            }
            total = total.saturating_sub(usage.entries);
            self.passivate(usage.key);
            let reason = if is_idle { "idle" } else { "budget" };
            metrics::counter!("roost_timeline_passivations_total", "reason" => reason).increment(1);
        }
    }

    /// Drops the timeline from memory. Its actor ends when its last reader is answered. One
    /// that streams are open on gives its window away and stays. Their number is bounded
    /// elsewhere.
    pub fn passivate(&self, key: TimelineKey) {
        let mut shard = self.shard(key).lock();
        match shard.get(&key) {
            Some(resident) if resident.is_followed() => {
                // Not idle again for as long; by then closed streams have been counted out.
                resident.gauge.last_used.store(self.now_ms(), Ordering::Relaxed);
                resident.tell(Change::Forget);
            }
            _ => {
                shard.remove(&key);
            }
        }
    }

    fn usage(&self) -> Vec<Usage> {
        let mut residents = Vec::new();
        for shard in &self.inner.shards {
            residents.extend(shard.lock().iter().map(|(key, resident)| Usage {
                key: *key,
                last_used: resident.gauge.last_used.load(Ordering::Relaxed),
                entries: resident.gauge.entries.load(Ordering::Relaxed) + OVERHEAD_ENTRIES,
            }));
        }
        residents
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
            metrics::counter!("roost_timeline_restarts_total").increment(1);
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

/// A timeline as it goes on.
#[derive(Debug)]
pub struct Subscription {
    /// Where the backlog begins: what the reader has seen, or else the newest entry that is
    /// visible; moment 1 in a timeline without entries. One who comes back with it misses
    /// nothing.
    pub after: Timestamp,
    /// What the reader has missed, oldest first.
    pub backlog: Vec<Entry>,
    /// Whether more was missed than the backlog holds.
    pub is_gap: bool,
    /// What becomes visible from now on. Ends when the stream does not keep up, the actor dies
    /// or may have missed an entry; the reader may come back with the last entry it has seen.
    pub entries: mpsc::Receiver<Entry>,
}

/// Counts a reader for as long as it waits, also when it goes away.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Usage {
    key: TimelineKey,
    last_used: u64,
    /// With [`OVERHEAD_ENTRIES`].
    entries: usize,
}

/// Spreads consecutive ids (Fibonacci hashing, Knuth, TAOCP volume 3, 6.4).
fn spread(key: TimelineKey) -> u64 {
    let id = match key {
        TimelineKey::Home(user) => (user as u64) << 1,
        TimelineKey::Author(user) => (user as u64) << 1 | 1,
    };
    id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}
