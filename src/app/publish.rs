//! Who hears of a commit of the ordered writer, and in what order.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::fanout::{Audience, Effects};
use crate::hydration::followings::Followings;
use crate::hydration::liked::LikedFlags;
use crate::hydration::tweets::Tweets;
use crate::media::Media;
use crate::redis_tier::{ListKey, RedisTier};
use crate::timeline::{Entry, TimelineKey, Timelines};

/// Everything of this node that caches what the writer changes.
pub(super) struct Publisher {
    pub(super) timelines: Timelines,
    pub(super) tweets: Arc<Tweets>,
    pub(super) followings: Arc<Followings>,
    pub(super) liked: Arc<LikedFlags>,
    pub(super) redis: RedisTier,
    pub(super) media: Arc<Media>,
    pub(super) list_limit: usize,
}

impl Audience for Publisher {
    fn tell(&self, effects: &Effects) {
        for tweet_id in &effects.dead_tweets {
            self.tweets.bury(*tweet_id);
        }
        for (reader, _) in &effects.friendships {
            self.followings.invalidate(*reader);
        }
        for (key, entry) in &effects.pushes {
            self.timelines.push(*key, *entry);
        }
        for delivered in &effects.deliveries {
            for reader in &delivered.readers {
                self.timelines.push(TimelineKey::Home(*reader), delivered.entry);
            }
        }
        self.tell_removals(effects);
    }

    fn tell_outside<'a>(&'a self, effects: &'a Effects) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let pushes = list_pushes(effects);
            if !pushes.is_empty() {
                self.redis.push(&pushes, self.redis.epoch(), self.list_limit).await;
            }
            let removals: Vec<ListKey> = effects
                .removals
                .iter()
                .flat_map(|removed| &removed.keys)
                .chain(&effects.changed)
                .map(|key| ListKey::from(*key))
                .collect();
            if !removals.is_empty() {
                self.redis.remove(&removals).await;
                // Once more: an actor that has started since then may have loaded the old list,
                // in whose head a removal does not show.
                self.tell_removals(effects);
            }
            self.media.discard(&effects.orphaned_media).await;
        })
    }

    fn distrust_everything(&self) {
        self.timelines.forget_all();
        self.tweets.clear();
        self.followings.clear();
        self.liked.clear();
    }
}

impl Publisher {
    fn tell_removals(&self, effects: &Effects) {
        for removed in &effects.removals {
            for key in &removed.keys {
                self.timelines.remove(*key, removed.tweet_id);
            }
        }
        for key in &effects.changed {
            self.timelines.forget(*key);
        }
    }
}

/// Pushes for Redis in the order of their moments.
fn list_pushes(effects: &Effects) -> Vec<(ListKey, Entry)> {
    let delivered = effects.deliveries.iter().flat_map(|delivered| {
        delivered
            .readers
            .iter()
            .map(|reader| (ListKey::from(TimelineKey::Home(*reader)), delivered.entry))
    });
    let single = effects.pushes.iter().map(|(key, entry)| (ListKey::from(*key), *entry));
    single.chain(delivered).collect()
}
