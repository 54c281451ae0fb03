//! What a committed transaction of the ordered writer means for everything that caches.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::redis_tier::Hold;
use crate::store::tasks::{Task, TaskKind, Work};
use crate::store::{Conn, StoreError};
use crate::time::Timestamp;
use crate::timeline::{Amendment, Entry, TimelineKey};

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
    /// Rows written and time spent over its life.
    pub work: Work,
    /// When it was added.
    pub added_at: Timestamp,
    /// Whether it was ended before its end: the tweet was deleted.
    pub cancelled: bool,
}

impl Finished {
    /// A task that has come to its end.
    pub(super) fn of(task: &Task, work: Work) -> Finished {
        Finished {
            task_id: task.id,
            kind: task.kind,
            tweet_id: task.tweet_id,
            work,
            added_at: task.created_at,
            cancelled: false,
        }
    }

    /// A task that was ended where it stood.
    pub(super) fn cancelled(task: &Task) -> Finished {
        let work = Work { rows: task.rows_done as usize, took_us: task.work_us };
        Finished { cancelled: true, ..Finished::of(task, work) }
    }
}

/// A task whose step has failed and that was set back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its id.
    pub task_id: i64,
    /// What it does.
    pub kind: TaskKind,
    /// Failures in a row, this one included.
    pub attempts: i64,
    /// What the database said.
    pub error: String,
}

/// One step of a task, for the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// What the task does.
    pub kind: TaskKind,
    /// Rows written.
    pub rows: usize,
    /// How long its statements took.
    pub took: Duration,
}

/// Photos of a deleted tweet: files to be deleted before the rows that name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphans {
    /// The task that waits for it.
    pub task: Task,
    /// The photos.
    pub urls: Vec<String>,
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
    /// Timelines changed in their past, and how.
    pub amended: Vec<(TimelineKey, Arc<Amendment>)>,
    /// Timelines changed in their past in a way that is not told: to be loaded again.
    pub changed: Vec<TimelineKey>,
    /// Tweets that no longer exist for anybody.
    pub dead_tweets: Vec<i64>,
    /// (reader, author) pairs whose friendship began or ended.
    pub friendships: Vec<(i64, i64)>,
    /// Photos that nobody sees any more.
    pub orphans: Vec<Orphans>,
    /// Tasks added.
    pub tasks_added: usize,
    /// Tasks finished.
    pub finished: Vec<Finished>,
    /// Tasks set back.
    pub failed: Vec<Failed>,
    /// Steps of tasks.
    pub chunks: Vec<Chunk>,
    /// Rows written by task steps.
    pub rows: usize,
}

impl Effects {
    /// Whether the transaction changed nothing that is cached.
    pub fn is_empty(&self) -> bool {
        *self == Effects::default()
    }

    /// Timelines changed in their past, in one way or the other.
    pub fn rewritten(&self) -> impl Iterator<Item = TimelineKey> {
        let amended = self.amended.iter().map(|(key, _)| *key);
        amended.chain(self.changed.iter().copied())
    }

    /// Notes that a feed was changed in its past, unless nothing was.
    pub(super) fn amend(&mut self, reader: i64, amendment: Amendment) {
        if !amendment.is_empty() {
            self.amended.push((TimelineKey::Home(reader), Arc::new(amendment)));
        }
    }

    /// Timelines that it concerns; one as often as it is named.
    pub fn timelines(&self) -> usize {
        let delivered: usize =
            self.deliveries.iter().map(|delivered| delivered.readers.len()).sum();
        let removed: usize = self.removals.iter().map(|removed| removed.keys.len()).sum();
        self.pushes.len() + delivered + removed + self.rewritten().count()
    }

    /// Adds what happened after it.
    pub(super) fn append(&mut self, later: Effects) {
        self.pushes.extend(later.pushes);
        self.deliveries.extend(later.deliveries);
        self.removals.extend(later.removals);
        self.amended.extend(later.amended);
        self.changed.extend(later.changed);
        self.dead_tweets.extend(later.dead_tweets);
        self.friendships.extend(later.friendships);
        self.orphans.extend(later.orphans);
        self.tasks_added += later.tasks_added;
        self.finished.extend(later.finished);
        self.failed.extend(later.failed);
        self.chunks.extend(later.chunks);
        self.rows += later.rows;
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

    /// Holds back what must not be read in Redis before it has been told, for as long as the
    /// answer lives. Called after the commit and before anybody is told.
    fn hold_back(&self, _effects: &Effects) -> Option<Hold> {
        None
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

    /// Tells what is outside this process: Redis. Must take bounded time and cope with failure
    /// by itself. `number`: the announcement's.
    fn tell_outside<'a>(&'a self, effects: &'a Effects, number: Option<u64>) -> BoxFuture<'a, ()>;

    /// Deletes photos. Those that are gone already count as deleted. Must take bounded time.
    ///
    /// # Errors
    /// Why some may be left; it is asked again.
    fn discard<'a>(&'a self, urls: &'a [String]) -> BoxFuture<'a, Result<(), String>>;

    /// A transaction's outcome is unknown: nothing that is cached can be trusted.
    fn distrust_everything(&self);
}
