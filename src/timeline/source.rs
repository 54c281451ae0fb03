//! Where a timeline's entries come from when memory does not have them.

use futures_util::future::BoxFuture;

use super::{Entry, Range, TimelineKey};
use crate::redis_tier::{FillOutcome, ListKey, RedisTier};
use crate::store::{Conn, Db, StoreError, cache_state, newsfeeds, tweets};

/// What a load has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Newest first, without a gap.
    pub entries: Vec<Entry>,
    /// Whether the timeline has no older entries.
    pub complete: bool,
    /// Which tier it came from.
    pub from: LoadedFrom,
}

/// A tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadedFrom {
    /// The actor's window.
    Memory,
    /// The Redis list.
    Redis,
    /// The database.
    Database,
}

impl LoadedFrom {
    /// The value of the metric label `source`.
    pub fn label(self) -> &'static str {
        match self {
            LoadedFrom::Memory => "memory",
            LoadedFrom::Redis => "redis",
            LoadedFrom::Database => "database",
        }
    }
}

/// What a timeline actor loads from.
pub trait TimelineSource: Send + Sync + 'static {
    /// The epoch of what is loaded from Redis now. What was loaded from there under an older one
    /// is void: a commit may be missing in it.
    fn epoch(&self) -> i64 {
        0
    }

    /// The newest `limit` entries.
    fn load(
        &self,
        key: TimelineKey,
        limit: usize,
    ) -> BoxFuture<'static, Result<Loaded, StoreError>>;

    /// At most `want` entries of `range`, from the database.
    fn page(
        &self,
        key: TimelineKey,
        range: Range,
        want: usize,
    ) -> BoxFuture<'static, Result<Vec<Entry>, StoreError>>;
}

/// What the tiers in front of the database ask it.
pub trait EntryReader: Clone + Send + Sync + 'static {
    /// The newest `want` entries and, read before them, the epoch under which lists in Redis
    /// are valid.
    fn head(
        &self,
        key: TimelineKey,
        want: usize,
    ) -> impl Future<Output = Result<Head, StoreError>> + Send;

    /// At most `want` entries of `range`, newest first: one index range, whatever the depth.
    fn range(
        &self,
        key: TimelineKey,
        range: Range,
        want: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;
}

/// The newest entries of a timeline in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The epoch under which lists in Redis are valid.
    pub epoch: i64,
    /// Newest first.
    pub entries: Vec<Entry>,
}

/// The database as a source of timelines.
#[derive(Clone)]
pub struct EntryStore {
    db: Db,
}

impl EntryStore {
    /// Reads from `db`.
    pub fn new(db: Db) -> Self {
        EntryStore { db }
    }
}

impl EntryReader for EntryStore {
    async fn range(
        &self,
        key: TimelineKey,
        range: Range,
        want: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.db.read("timeline.page", move |conn| Ok(entries(conn, key, range, want)?)).await
    }

    async fn head(&self, key: TimelineKey, want: usize) -> Result<Head, StoreError> {
        self.db
            .read("timeline.head", move |conn| {
                let epoch = cache_state::epoch(conn)?;
                Ok(Head { epoch, entries: entries(conn, key, Range::ALL, want)? })
            })
            .await
    }
}

fn entries(
    conn: &mut Conn<'_>,
    key: TimelineKey,
    range: Range,
    want: usize,
) -> diesel::QueryResult<Vec<Entry>> {
    match key {
        TimelineKey::Home(reader) => newsfeeds::page(conn, reader, range, want),
        TimelineKey::Author(author) => tweets::page(conn, author, range, want),
    }
}

/// The Redis list in front of the database.
#[derive(Clone)]
pub struct TieredSource<R = EntryStore> {
    store: R,
    redis: RedisTier,
}

impl<R: EntryReader> TieredSource<R> {
    /// Reads from `redis`, if it is there and up, and from `store`.
    pub fn new(store: R, redis: RedisTier) -> Self {
        TieredSource { store, redis }
    }

    async fn load_tiered(self, key: TimelineKey, limit: usize) -> Result<Loaded, StoreError> {
        if !self.redis.is_up() {
            return load(&self.store, key, limit).await;
        }
        if let Some(loaded) = self.load_list(key, limit).await? {
            return Ok(loaded);
        }
        self.load_and_fill(key, limit).await
    }

    /// The list, if the database agrees with its head. A list of the current epoch has had
    /// every push and removal, so its head tells for the rest.
    async fn load_list(
        &self,
        key: TimelineKey,
        limit: usize,
    ) -> Result<Option<Loaded>, StoreError> {
        let list_key = ListKey::from(key);
        let epoch = self.redis.epoch();
        let Some(list) = self.redis.load(list_key, epoch, limit).await else { return Ok(None) };
        let now = self.store.head(key, 1).await?;
        self.redis.learn_epoch(now.epoch);
        if now.epoch != epoch || now.entries.first() != list.entries.first() {
            self.redis.drop_list(list_key).await;
            return Ok(None);
        }
        let complete = list.complete;
        Ok(Some(Loaded { entries: list.entries, complete, from: LoadedFrom::Redis }))
    }

    /// The database, and a list for the next node or the next start.
    async fn load_and_fill(&self, key: TimelineKey, limit: usize) -> Result<Loaded, StoreError> {
        let list_key = ListKey::from(key);
        let lease = self.redis.generation(list_key).await;
        let mut head = self.store.head(key, limit + 1).await?;
        let complete = head.entries.len() <= limit;
        head.entries.truncate(limit);
        if let Some(lease) = lease {
            let filled =
                self.redis.fill(list_key, lease, head.epoch, &head.entries, complete).await;
            // The lease has kept out every push and removal since the SELECT that reached
            // Redis; this notices one that has been committed and has not. A list that cannot
            // be verified goes, and the reader gets what was read all the same.
            if filled == FillOutcome::Stored {
                let now = self.store.head(key, 1).await;
                if !now.is_ok_and(|now| now.entries.first() == head.entries.first()) {
                    self.redis.drop_list(list_key).await;
                }
            }
        }
        Ok(Loaded { entries: head.entries, complete, from: LoadedFrom::Database })
    }
}

impl<R: EntryReader> TimelineSource for TieredSource<R> {
    fn epoch(&self) -> i64 {
        self.redis.epoch()
    }

    fn load(
        &self,
        key: TimelineKey,
        limit: usize,
    ) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        Box::pin(self.clone().load_tiered(key, limit))
    }

    fn page(
        &self,
        key: TimelineKey,
        range: Range,
        want: usize,
    ) -> BoxFuture<'static, Result<Vec<Entry>, StoreError>> {
        let store = self.store.clone();
        Box::pin(async move { store.range(key, range, want).await })
    }
}

/// The newest `limit` entries, without a tier in front.
async fn load(
    store: &impl EntryReader,
    key: TimelineKey,
    limit: usize,
) -> Result<Loaded, StoreError> {
    // One more than is kept: its absence is the proof that the timeline is complete.
    let mut entries = store.range(key, Range::ALL, limit + 1).await?;
    let complete = entries.len() <= limit;
    entries.truncate(limit);
    Ok(Loaded { entries, complete, from: LoadedFrom::Database })
}

impl TimelineSource for EntryStore {
    fn load(
        &self,
        key: TimelineKey,
        limit: usize,
    ) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        let store = self.clone();
        Box::pin(async move { load(&store, key, limit).await })
    }

    fn page(
        &self,
        key: TimelineKey,
        range: Range,
        want: usize,
    ) -> BoxFuture<'static, Result<Vec<Entry>, StoreError>> {
        let store = self.clone();
        Box::pin(async move { store.range(key, range, want).await })
    }
}
