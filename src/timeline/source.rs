//! Where a timeline's entries come from when memory does not have them.

use futures_util::future::BoxFuture;

use super::{Entry, Range, TimelineKey};
use crate::store::{Db, StoreError, newsfeeds, tweets};

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

    /// At most `want` entries of `range`, newest first: one index range, whatever the depth.
    ///
    /// # Errors
    /// As [`Db::read`].
    pub async fn range(
        &self,
        key: TimelineKey,
        range: Range,
        want: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.db
            .read("timeline.page", move |conn| {
                Ok(match key {
                    TimelineKey::Home(reader) => newsfeeds::page(conn, reader, range, want)?,
                    TimelineKey::Author(author) => tweets::page(conn, author, range, want)?,
                })
            })
            .await
    }
}

impl TimelineSource for EntryStore {
    fn load(
        &self,
        key: TimelineKey,
        limit: usize,
    ) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        let store = self.clone();
        Box::pin(async move {
            // One more than is kept: its absence is the proof that the timeline is complete.
            let mut entries = store.range(key, Range::ALL, limit + 1).await?;
            let complete = entries.len() <= limit;
            entries.truncate(limit);
            Ok(Loaded { entries, complete, from: LoadedFrom::Database })
        })
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
