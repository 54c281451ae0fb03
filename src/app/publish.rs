//! Who hears of a commit of the ordered writer, and in what order.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::accounts::Accounts;
use crate::bus::{Bus, News, Turn};
use crate::fanout::{Announcement, Audience, Effects};
use crate::hydration::followings::Followings;
use crate::hydration::liked::LikedFlags;
use crate::hydration::tweets::Tweets;
use crate::hydration::users::Users;
use crate::media::Media;
use crate::redis_tier::{Hold, ListKey, RedisTier};
use crate::store::nodes::Standing;
use crate::store::{Conn, StoreError};
use crate::timeline::{Entry, TimelineKey, Timelines};

/// Everything of this node that caches what the writer changes.
pub(super) struct Publisher {
    pub(super) timelines: Timelines,
    pub(super) tweets: Arc<Tweets>,
    pub(super) followings: Arc<Followings>,
    pub(super) liked: Arc<LikedFlags>,
    pub(super) users: Arc<Users>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) bus: Bus,
    pub(super) redis: RedisTier,
    pub(super) media: Arc<Media>,
    pub(super) list_limit: usize,
}

impl Audience for Publisher {
    fn announce(&self, conn: &mut Conn<'_>, effects: &Effects) -> Result<Announcement, StoreError> {
        if !self.bus.is_wired() {
            return Ok(Announcement::default());
        }
        let news = News::of_effects(effects);
        let (standing, announcement) = self.bus.announce_in_order(conn, &news)?;
        expect_membership(&self.redis, standing)?;
        Ok(announcement)
    }

    fn hold_back(&self, effects: &Effects) -> Option<Hold> {
        Some(self.redis.hold(changed_lists(effects)))
    }

    fn tell(&self, effects: &Effects) {
        let pushed = effects.pushes.iter().map(|(_, entry)| entry.created_at);
        let delivered = effects.deliveries.iter().map(|delivered| delivered.entry.created_at);
        if let Some(newest) = pushed.chain(delivered).max() {
            self.redis.told(newest);
        }
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
            self.timelines.deliver(&delivered.readers, delivered.entry);
        }
        for removed in &effects.removals {
            for key in &removed.keys {
                self.timelines.remove(*key, removed.tweet_id);
            }
        }
        for (key, amendment) in &effects.amended {
            self.timelines.amend(*key, amendment.clone());
        }
        for key in &effects.changed {
            self.timelines.forget(*key);
        }
    }

    fn tell_in_turn<'a>(
        &'a self,
        effects: &'a Effects,
        announcement: &'a mut Announcement,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match self.bus.turn(announcement).await {
                Turn::Alone => self.tell(effects),
                Turn::Told => {}
                // Told now, an entry could overtake an earlier one of another node.
                Turn::Deaf => self.distrust_everything(),
            }
        })
    }

    fn tell_outside<'a>(&'a self, effects: &'a Effects, number: Option<u64>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if !self.redis.is_configured() {
                return;
            }
            let pushes = list_pushes(effects);
            if !pushes.is_empty() {
                self.redis.push(&pushes, self.redis.epoch(), self.list_limit).await;
            }
            let changed = changed_lists(effects);
            if !changed.is_empty() {
                self.redis.remove(&changed).await;
            }
            if let Some(number) = number {
                self.redis.follow(number).await;
            }
        })
    }

    fn discard<'a>(&'a self, urls: &'a [String]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            for url in urls {
                self.media.delete(url).await.map_err(|error| error.to_string())?;
            }
            Ok(())
        })
    }

    fn distrust_everything(&self) {
        self.timelines.forget_all();
        self.tweets.clear();
        self.followings.clear();
        self.liked.clear();
        self.users.clear();
        self.accounts.distrust();
    }
}

/// A node that was taken for dead is no longer marked as dirty: the transaction must begin
/// again, and mark it.
pub(super) fn expect_membership(redis: &RedisTier, standing: Standing) -> Result<(), StoreError> {
    if standing.is_member {
        return Ok(());
    }
    redis.unmark();
    Err(StoreError::Conflict("this node was taken for dead".into()))
}

/// Lists whose heads do not show what the effects have changed in them.
fn changed_lists(effects: &Effects) -> Vec<ListKey> {
    let removals = effects.removals.iter().flat_map(|removed| removed.keys.iter().copied());
    removals.chain(effects.rewritten()).map(ListKey::from).collect()
}

/// The lists that change with the effects.
pub(super) fn lists(effects: &Effects) -> impl Iterator<Item = ListKey> {
    let delivered = effects.deliveries.iter().flat_map(|delivered| &delivered.readers);
    let pushed = effects.pushes.iter().map(|(key, _)| *key);
    let removed = effects.removals.iter().flat_map(|removed| removed.keys.iter().copied());
    pushed
        .chain(delivered.map(|reader| TimelineKey::Home(*reader)))
        .chain(removed)
        .chain(effects.rewritten())
        .map(ListKey::from)
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
