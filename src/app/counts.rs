//! Who hears of a commit of the Counter, and in what order.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::publish::expect_membership;
use crate::bus::{Bus, News};
use crate::counter::{
    CacheGuard, CachePermit, ChangeHerald, Changes, CountSink, RemoteSink, TransactionHook,
};
use crate::hydration::tweets::{TweetCounts, Tweets};
use crate::notifications::Notifications;
use crate::redis_tier::{CountKind, CountWrite, RedisTier, WritePermit};
use crate::store::StoreError;

/// Tells the tweets in memory, and wakes the mover of notifications.
#[derive(Clone)]
pub(super) struct CountTeller {
    pub(super) tweets: Arc<Tweets>,
    pub(super) notifications: Notifications,
}

impl CountSink for CountTeller {
    fn apply(&self, changes: &Changes) {
        self.show(changes);
        // Every change of a count may have left a row in the outbox.
        self.notifications.kick();
    }
}

impl CountTeller {
    /// Tells the tweets in memory.
    pub(super) fn show(&self, changes: &Changes) {
        for counts in &changes.tweets {
            self.tweets.apply_counts(
                counts.id,
                TweetCounts {
                    likes: counts.likes,
                    comments: counts.comments,
                    version: counts.version,
                },
            );
        }
        if changes.uncertain.any_tweet {
            self.tweets.clear();
        }
        for id in &changes.uncertain.tweets {
            self.tweets.invalidate(*id);
        }
    }
}

/// The counts in Redis.
#[derive(Clone)]
pub(super) struct RedisCounts(pub(super) RedisTier);

impl RemoteSink for RedisCounts {
    fn publish(&self, changes: Changes) -> BoxFuture<'static, ()> {
        let redis = self.0.clone();
        Box::pin(async move {
            redis.write_counts(&writes(&changes)).await;
            let uncertain = &changes.uncertain;
            let gone = [&changes.removed_comments[..], &uncertain.comments].concat();
            redis.remove_counts(CountKind::Comment, &gone).await;
            redis.remove_counts(CountKind::Tweet, &uncertain.tweets).await;
        })
    }

    fn is_there(&self) -> bool {
        self.0.is_configured()
    }
}

fn writes(changes: &Changes) -> Vec<CountWrite> {
    let tweets = changes.tweets.iter().map(|counts| CountWrite {
        kind: CountKind::Tweet,
        id: counts.id,
        version: counts.version,
        likes: counts.likes,
        comments: counts.comments,
    });
    let comments = changes.comments.iter().map(|counts| CountWrite {
        kind: CountKind::Comment,
        id: counts.id,
        version: counts.version,
        likes: counts.likes,
        comments: 0,
    });
    tweets.chain(comments).collect()
}

/// Tells other nodes of changes. In company a like is told as in doubt everywhere: two nodes that
/// put the flag of one viewer could do so in the wrong order.
pub(super) fn herald(bus: Bus, redis: RedisTier) -> ChangeHerald {
    Arc::new(move |conn, changes| {
        if !bus.is_wired() {
            return Ok(());
        }
        let standing = bus.announce(conn, &News::of_changes(changes))?;
        expect_membership(&redis, standing)?;
        if standing.has_company {
            let likes = changes.likes.drain(..).map(|(key, _)| key);
            changes.uncertain.likes.extend(likes);
        }
        Ok(())
    })
}

impl CacheGuard for RedisCounts {
    fn begin(&self) -> BoxFuture<'static, Box<dyn CachePermit>> {
        let redis = self.0.clone();
        Box::pin(async move { Box::new(Permit(redis.begin_write().await)) as Box<dyn CachePermit> })
    }
}

struct Permit(WritePermit);

impl CachePermit for Permit {
    fn hook(&self) -> TransactionHook {
        let permit = self.0.clone();
        Box::new(move |conn| Ok(permit.mark_dirty(conn)?))
    }

    fn committed(&self) {
        self.0.committed();
    }

    fn aborted(self: Box<Self>) {
        let undone: Result<(), StoreError> = Err(StoreError::Conflict("rolled back".into()));
        self.0.resolve(&undone);
    }

    fn done(self: Box<Self>) {
        self.0.done();
    }
}
