//! The Redis tier: lists and counts that outlive the process, never a truth.
//!
//! No Redis configured and Redis down are one code path: every read is a miss, every write is
//! skipped and counted, and the service goes on with the database. Nothing here blocks a start,
//! waits longer than its deadline, or returns an error that a reader would see.
//!
//! Three things keep what is read here true:
//!
//! - **Epoch.** Everything carries the epoch it was written under; what carries another than
//!   the database's current one (`cache_state.epoch`) is void. A commit whose work in Redis has
//!   failed, timed out or been skipped is a *loss*: the tier goes down at once, and before it
//!   is read again the epoch is advanced ([`breaker`], [`upkeep`]). The same when the server
//!   turns out to be another one, or the same one restarted ([`connection`]).
//! - **Dirty flag.** A crash between a commit and its work in Redis leaves the node's row in
//!   `nodes` dirty, and whoever finds that the node is dead advances the epoch ([`guard`],
//!   [`crate::bus`]). A clean stop keeps the lists.
//! - **Lease.** A loader takes a token before its SELECT and its list is written only if the
//!   token is still there. Every push and every removal deletes it, and so does the fill
//!   itself. So a list never lacks what was pushed, and never shows what was removed, between
//!   the SELECT and the fill, whoever dies in between. (Leases: "Scaling Memcache at Facebook",
//!   NSDI 2013.) A token that is gone for any other reason costs one fill.
//! - **Hold.** Between the commit of a removal or back-fill and the deletion of the lists it
//!   changes, this process does not read them ([`held`]).
//! - **Lag.** A commit of another node is known here before that node's work in Redis is done.
//!   Until it is, the lists that it concerns are not read ([`lag`]).
//!
//! Pushes reach only lists that exist and never touch a list's time to live.
//!
//! Architecture invariant: nothing outside this room names a Redis key or sends a command.

mod breaker;
mod calls;
pub mod codec;
mod connection;
mod counts;
mod guard;
mod held;
mod keys;
mod lag;
mod lists;
mod pushes;
mod scan;
mod scripts;
mod settings;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tokens;
mod upkeep;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Semaphore, watch};

pub use calls::TierError;
#[cfg(any(test, feature = "fuzzing"))]
pub use codec::probe;
pub use codec::{CachedCounts, CachedList, Surprise};
pub use counts::CountWrite;
pub use guard::WritePermit;
pub use held::Hold;
pub use keys::{CountKind, Family, ListKey, ListKind};
pub use lists::{FillOutcome, Found};
pub use scan::{ClearError, ScanPage};
pub use settings::{EpochHerald, Owner, RedisConfig};
pub use tokens::{Taken, TokenAsk};

use self::breaker::Breaker;
use self::calls::IN_FLIGHT;
use self::connection::Server;
use self::guard::{Dirt, Guard};
use self::held::Held;
use self::lag::Lag;
use self::scripts::Scripts;
use crate::store::Db;

/// A handle on the tier; clones share it.
#[derive(Clone)]
pub struct RedisTier {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    config: RedisConfig,
    /// The node whose tier this is.
    me: i64,
    herald: EpochHerald,
    /// `None`: not configured, so down for good.
    server: Option<Server>,
    /// `None`: a command beside the service, which leaves epoch and dirty flag alone.
    db: Option<Db>,
    scripts: Scripts,
    breaker: Mutex<Breaker<MultiplexedConnection>>,
    guard: Guard,
    held: Held,
    lag: Lag,
    reads: Semaphore,
    mutations: Semaphore,
    /// The newest epoch that this process knows of.
    epoch: AtomicI64,
    up: watch::Sender<bool>,
    closed: AtomicBool,
    random: RandomState,
    drawn: AtomicU64,
}

impl RedisTier {
    /// The tier of a node. Must be called inside a tokio runtime, on which the upkeep then
    /// runs until [`RedisTier::shutdown`] or the last handle is gone. Does not wait for Redis.
    ///
    /// # Errors
    /// When the URL is of no known form.
    pub fn start(config: RedisConfig, db: Db, owner: Owner) -> anyhow::Result<RedisTier> {
        Self::launch(config, Some(db), owner)
    }

    /// Whether the settings can be used at all, without connecting.
    ///
    /// # Errors
    /// When the URL is of no known form.
    pub fn check(config: &RedisConfig) -> anyhow::Result<()> {
        Self::server(config).map(|_| ())
    }

    fn server(config: &RedisConfig) -> anyhow::Result<Server> {
        Server::new(config).map_err(|error| anyhow::anyhow!("REDIS_URL cannot be used: {error}"))
    }

    /// The tier of a command that runs beside the service (`roost check`): connects, but
    /// neither advances the epoch nor cleans the dirty flag.
    ///
    /// # Errors
    /// As [`RedisTier::start`].
    pub fn inspector(config: RedisConfig) -> anyhow::Result<RedisTier> {
        Self::launch(config, None, Owner::nameless())
    }

    /// No Redis: the same as one that is always down.
    pub fn disabled() -> RedisTier {
        Self::disabled_on(Owner::nameless())
    }

    /// The same for a node with a name.
    pub fn disabled_on(owner: Owner) -> RedisTier {
        RedisTier { shared: Arc::new(Shared::new(RedisConfig::new(""), None, None, owner)) }
    }

    fn launch(config: RedisConfig, db: Option<Db>, owner: Owner) -> anyhow::Result<RedisTier> {
        let server = Self::server(&config)?;
        let shared = Arc::new(Shared::new(config, Some(server), db, owner));
        metrics::gauge!("roost_redis_up").set(0.0);
        tokio::spawn(upkeep::run(Arc::downgrade(&shared)));
        Ok(RedisTier { shared })
    }

    /// To be called before a transaction that changes what Redis caches; see [`WritePermit`].
    pub async fn begin_write(&self) -> WritePermit {
        Guard::begin(&self.shared).await
    }

    /// The newest epoch that this process knows of, for pushes: one that is too old is safe, it
    /// deletes lists instead of extending them.
    pub fn epoch(&self) -> i64 {
        self.shared.epoch.load(Ordering::Acquire)
    }

    /// Makes an epoch known that the database has given to another node: what was read under an
    /// older one is void.
    pub fn learn_epoch(&self, epoch: i64) {
        self.shared.learn_epoch(epoch);
    }

    /// Whether there is a Redis that is to follow the commits of this node.
    pub fn is_configured(&self) -> bool {
        self.shared.server.is_some()
    }

    /// Forgets that this node is marked as dirty: its row was removed by another node that took
    /// it for dead. The next writer marks again.
    pub fn unmark(&self) {
        self.shared.guard.know(Dirt::Unknown);
    }

    /// Waits for the writes under way now: Redis has followed them then, or the tier is down.
    pub async fn settled(&self) {
        drop(self.shared.guard.alone().await);
    }

    /// Whether reads go to Redis now.
    pub fn is_up(&self) -> bool {
        self.shared.breaker.lock().is_up()
    }

    /// Waits until reads go to Redis, at most `limit`, and says whether they do.
    pub async fn wait_until_up(&self, limit: Duration) -> bool {
        let mut up = self.shared.up.subscribe();
        let waited = tokio::time::timeout(limit, up.wait_for(|up| *up)).await;
        matches!(waited, Ok(Ok(_)))
    }

    /// Ends the upkeep. Call it after the last write: if Redis has followed them all, the next
    /// start keeps what is cached.
    pub async fn shutdown(&self) {
        self.shared.closed.store(true, Ordering::Release);
        if tokio::time::timeout(SHUTDOWN_LIMIT, self.shared.clean_at_last()).await.is_err() {
            tracing::warn!("writes were still under way: the next start begins with a cold Redis");
        }
    }
}

/// Longest wait for the writes under way at shutdown.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

impl Shared {
    fn new(config: RedisConfig, server: Option<Server>, db: Option<Db>, owner: Owner) -> Shared {
        let Owner { node: me, herald } = owner;
        Shared {
            config,
            me,
            herald,
            server,
            db,
            scripts: Scripts::new(),
            breaker: Mutex::new(Breaker::new()),
            guard: Guard::new(),
            held: Held::default(),
            lag: Lag::none(),
            reads: Semaphore::new(IN_FLIGHT),
            mutations: Semaphore::new(IN_FLIGHT),
            epoch: AtomicI64::new(0),
            up: watch::Sender::new(false),
            closed: AtomicBool::new(false),
            random: RandomState::new(),
            drawn: AtomicU64::new(0),
        }
    }

    /// An epoch that the database has given.
    fn learn_epoch(&self, epoch: i64) {
        self.epoch.fetch_max(epoch, Ordering::AcqRel);
    }

    /// A number that nobody else draws: SipHash under random keys.
    fn draw(&self) -> u64 {
        self.random.hash_one(self.drawn.fetch_add(1, Ordering::Relaxed))
    }

    /// A time to live in milliseconds, 10 % around the setting: what was filled together must
    /// not expire together.
    fn ttl_ms(&self) -> u64 {
        let ttl = self.config.ttl.as_millis() as u64;
        (ttl - ttl / 10 + self.draw() % (ttl / 5 + 1)).max(1)
    }
}
