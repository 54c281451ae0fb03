//! Who hears of what a batch has committed.

use futures_util::future::BoxFuture;

use super::operation::Operation;
use crate::store::counts::{CommentCounts, TweetCounts};
use crate::store::likes::{LikeKey, LikeKind};
use crate::store::{Conn, StoreError};

/// What one or several batches have changed: all values absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// New counts of tweets. Of several for one tweet, the one with the highest version counts.
    pub tweets: Vec<TweetCounts>,
    /// The same for comments.
    pub comments: Vec<CommentCounts>,
    /// Likes that came (true) or went, in this order.
    pub likes: Vec<(LikeKey, bool)>,
    /// Comments that are gone.
    pub removed_comments: Vec<i64>,
    /// What may or may not have changed, because the outcome of a commit is unknown: whatever
    /// is cached of it must be forgotten.
    pub uncertain: Uncertain,
}

/// See [`Changes::uncertain`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uncertain {
    /// Tweets whose counts are in doubt.
    pub tweets: Vec<i64>,
    /// Comments of which everything is in doubt.
    pub comments: Vec<i64>,
    /// Likes in doubt.
    pub likes: Vec<LikeKey>,
    /// The counts of tweets whose ids are not known are in doubt: those of deleted comments.
    pub any_tweet: bool,
}

impl Changes {
    /// What is in doubt after `operations` whose fate is unknown.
    pub fn in_doubt(operations: &[Operation]) -> Changes {
        let mut uncertain = Uncertain::default();
        for operation in operations {
            match operation {
                Operation::Like(key) | Operation::Unlike(key) => {
                    uncertain.likes.push(*key);
                    match key.kind {
                        LikeKind::Tweet => uncertain.tweets.push(key.object_id),
                        LikeKind::Comment => uncertain.comments.push(key.object_id),
                    }
                }
                Operation::AddComment(new) => uncertain.tweets.push(new.tweet_id),
                Operation::DeleteComment { comment_id, .. } => {
                    uncertain.comments.push(*comment_id);
                    uncertain.any_tweet = true;
                }
            }
        }
        Changes { uncertain, ..Changes::default() }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && !self.uncertain.any_tweet
    }

    /// How many values there are, for limits.
    pub fn len(&self) -> usize {
        let uncertain = &self.uncertain;
        self.tweets.len()
            + self.comments.len()
            + self.likes.len()
            + self.removed_comments.len()
            + uncertain.tweets.len()
            + uncertain.comments.len()
            + uncertain.likes.len()
    }

    /// Adds what a later batch has changed.
    pub fn extend(&mut self, later: Changes) {
        self.tweets.extend(later.tweets);
        self.comments.extend(later.comments);
        self.likes.extend(later.likes);
        self.removed_comments.extend(later.removed_comments);
        self.uncertain.tweets.extend(later.uncertain.tweets);
        self.uncertain.comments.extend(later.uncertain.comments);
        self.uncertain.likes.extend(later.uncertain.likes);
        self.uncertain.any_tweet |= later.uncertain.any_tweet;
    }

    /// Keeps of several counts of one object the newest only.
    pub fn compact(&mut self) {
        self.tweets.sort_unstable_by_key(|counts| (counts.id, std::cmp::Reverse(counts.version)));
        self.tweets.dedup_by_key(|counts| counts.id);
        self.comments.sort_unstable_by_key(|counts| (counts.id, std::cmp::Reverse(counts.version)));
        self.comments.dedup_by_key(|counts| counts.id);
    }
}

/// Caches of this process. They are told after the commit and before any reply, so that a
/// client reads its own writes.
pub trait CountSink: Send + Sync + 'static {
    /// Takes the changes over. Must not block.
    fn apply(&self, changes: &Changes);
}

/// Caches outside this process (Redis). They are told after the replies, one call at a time, in
/// the order of the commits.
pub trait RemoteSink: Send + Sync + 'static {
    /// Takes the changes over, in bounded time, and copes with failure by itself: when this
    /// returns, nothing older will be served from there.
    fn publish(&self, changes: Changes) -> BoxFuture<'static, ()>;

    /// Whether there is anything to tell, or ever will be.
    fn is_there(&self) -> bool {
        true
    }
}

/// Watches over the time between a commit and the end of its publication, in which a crash
/// leaves what is cached outside behind the database.
pub trait CacheGuard: Send + Sync + 'static {
    /// Called before each transaction. The permit is held until its changes are published.
    fn begin(&self) -> BoxFuture<'static, Box<dyn CachePermit>>;
}

/// A transaction's place in the books of a [`CacheGuard`]. Dropped without
/// [`CachePermit::done`] or [`CachePermit::aborted`], its outcome or its publication is unknown.
pub trait CachePermit: Send {
    /// The hook in the transaction: returns what is to be run before its other statements (to
    /// mark the cache state as dirty). It may run several times.
    fn hook(&self) -> TransactionHook;

    /// The transaction has committed.
    fn committed(&self);

    /// The transaction is known not to have happened.
    fn aborted(self: Box<Self>);

    /// Everything is published.
    fn done(self: Box<Self>);
}

/// See [`CachePermit::hook`].
pub type TransactionHook = Box<dyn FnMut(&mut Conn<'_>) -> Result<(), StoreError> + Send + 'static>;

/// No cache outside this process.
#[derive(Debug, Clone, Copy)]
pub struct NoRemote;

impl RemoteSink for NoRemote {
    fn publish(&self, _: Changes) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn is_there(&self) -> bool {
        false
    }
}

impl CacheGuard for NoRemote {
    fn begin(&self) -> BoxFuture<'static, Box<dyn CachePermit>> {
        Box::pin(async { Box::new(NoRemote) as Box<dyn CachePermit> })
    }
}

impl CachePermit for NoRemote {
    fn hook(&self) -> TransactionHook {
        Box::new(|_| Ok(()))
    }

    fn committed(&self) {}

    fn aborted(self: Box<Self>) {}

    fn done(self: Box<Self>) {}
}
