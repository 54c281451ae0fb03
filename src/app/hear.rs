//! Who hears of the commits of other nodes: the same as of this node's own, but for Redis, which
//! the sender has followed by itself.

use std::sync::Arc;

use super::counts::CountTeller;
use super::publish::{Publisher, lists};
use crate::bus::{Hearer, News};
use crate::counter::CountSink;
use crate::fanout::Audience;

/// Takes the news of the bus over into the caches of this process.
pub(super) struct Ear {
    pub(super) publisher: Arc<Publisher>,
    pub(super) counts: CountTeller,
}

impl Hearer for Ear {
    fn hear(&self, node: i64, number: u64, news: &News) {
        let caches = &self.publisher;
        if news.everything {
            return self.distrust();
        }
        // First: an actor that starts from here on does not load what Redis has not followed.
        caches.redis.expect(node, number, lists(&news.effects));
        if let Some(epoch) = news.epoch {
            caches.redis.learn_epoch(epoch);
        }
        Audience::tell(&**caches, &news.effects);
        self.counts.show(&news.changes);
        caches.liked.apply(&news.changes);
        news.users.iter().for_each(|user_id| caches.users.invalidate(*user_id));
        caches.accounts.heard(&news.sessions, &news.credentials);
    }

    fn distrust(&self) {
        self.publisher.distrust_everything();
    }
}

#[cfg(test)]
mod tests;
