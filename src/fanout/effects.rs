//! What a committed transaction of the ordered writer means for everything that caches.

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::store::tasks::TaskKind;
use crate::store::{Conn, StoreError};
use crate::time::Timestamp;
use crate::timeline::{Entry, TimelineKey};

/// An entry that a chunk of a fan-out has put into feeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The entry; the same time in every feed of the chunk.
    pub entry: Entry,
    /// Whose feeds.
    pub readers: Vec<i64>,
}

/// A tweet that has left timelines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The tweet.
    pub tweet_id: i64,
    /// The timelines.
    pub keys: Vec<TimelineKey>,
}

/// A task that was finished, for the log and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its id.
    pub task_id: i64,
    /// What it did.
    pub kind: TaskKind,
    /// The tweet, or 0.
    pub tweet_id: i64,
    /// Rows written over its life.
    pub rows: i64,
    /// When it was added.
    pub added_at: Timestamp,
}

/// Everything that follows from one transaction, in the order of its moments.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Effects {
    /// Entries new at the head of single timelines.
    pub pushes: Vec<(TimelineKey, Entry)>,
    /// Entries new at the head of many feeds.
    pub deliveries: Vec<Delivered>,
    /// Tweets gone from timelines.
    pub removals: Vec<Removed>,
    /// Timelines changed in their past: to be loaded again.
    pub changed: Vec<TimelineKey>,
    /// Tweets that no longer exist for anybody.
    pub dead_tweets: Vec<i64>,
    /// (reader, author) pairs whose friendship began or ended.
    pub friendships: Vec<(i64, i64)>,
    /// Photos that nothing refers to any more.
    pub orphaned_media: Vec<String>,
    /// Tasks added.
    pub tasks_added: usize,
    /// Tasks finished.
    pub finished: Vec<Finished>,
    /// Rows written by task steps.
    pub rows: usize,
}

impl Effects {
    /// Whether the transaction changed nothing that is cached.
    pub fn is_empty(&self) -> bool {
        *self == Effects::default()
    }
}

/// What other nodes are told of a transaction if it commits.
#[derive(Debug, Default)]
pub struct Announcement {
    /// Its number among those of this node; `None` when there is nobody to tell.
    pub number: Option<u64>,
    /// Comes when this node has been told of all earlier commits and of this one.
    pub echo: Option<oneshot::Receiver<()>>,
}

/// Those who must hear of committed transactions.
pub trait Audience: Send + Sync + 'static {
    /// Tells other nodes, should the transaction commit: its last statement.
    ///
    /// # Errors
    /// Those of the statement.
    fn announce(
        &self,
        _conn: &mut Conn<'_>,
        _effects: &Effects,
    ) -> Result<Announcement, StoreError> {
        Ok(Announcement::default())
    }

    /// Tells everything in this process.
    fn tell(&self, effects: &Effects);

    /// The same in the order of the commits of all nodes. Called after the commit and before any
    /// reply, so that a client reads its own writes.
    fn tell_in_turn<'a>(
        &'a self,
        effects: &'a Effects,
        _announcement: &'a mut Announcement,
    ) -> BoxFuture<'a, ()> {
        self.tell(effects);
        Box::pin(std::future::ready(()))
    }

    /// Tells what is outside this process: Redis and the photo store. Must take bounded time
    /// and cope with failure by itself. `number`: the announcement's.
    fn tell_outside<'a>(&'a self, effects: &'a Effects, number: Option<u64>) -> BoxFuture<'a, ()>;

    /// A transaction's outcome is unknown: nothing that is cached can be trusted.
    fn distrust_everything(&self);
}
