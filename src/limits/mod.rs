//! Rate limits: what one address or one account may do in a span of time.
//!
//! - [`Bucket`]: the meter, a plain struct;
//! - [`Settings`]: the limits;
//! - [`Class`], [`Who`]: what is limited, for whom;
//! - [`table`]: the buckets of this process, bounded;
//! - [`RateLimits`]: both together, and shared between nodes through Redis.
//!
//! With a Redis tier a token is taken there too, before the request goes on. Only reads, which
//! must not wait for Redis, are counted here and told in small lots, so that each node may let
//! at most [`REPORTS`] of a limit pass unseen by the others. Redis away, slow or full: what this
//! process knows decides.

mod bucket;
mod class;
mod settings;
mod table;

use std::sync::Arc;
use std::time::Instant;

pub use bucket::{Bucket, Limit, Verdict};
pub use class::{Class, Who};
pub use settings::Settings;
use table::{Key, Table};

use crate::redis_tier::{RedisTier, TokenAsk};

/// Reads are told to the other nodes when so much of the limit was taken: a fiftieth.
pub const REPORTS: u32 = 50;

/// What a request is told: the bucket that refuses it, or the one with the least left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// What is limited.
    pub class: Class,
    /// How much.
    pub limit: Limit,
    /// What is left.
    pub verdict: Verdict,
}

/// The limits of this node; clones share them.
#[derive(Clone)]
pub struct RateLimits(Arc<Shared>);

struct Shared {
    settings: Settings,
    table: Table,
    redis: RedisTier,
    born: Instant,
}

impl RateLimits {
    /// Empty buckets under `settings`, shared through `redis` if that is there.
    pub fn new(settings: Settings, redis: RedisTier) -> Self {
        let (table, born) = (Table::default(), Instant::now());
        RateLimits(Arc::new(Shared { settings, table, redis, born }))
    }

    /// Takes a token of each of the buckets of one request, or of none. `who` must not be empty.
    pub async fn take(&self, class: Class, who: &[Who]) -> Told {
        let here = self.take_here(class, who);
        if !here.verdict.allowed || class.is_read() || !self.0.redis.is_up() {
            return here;
        }
        match self.take_there(class, who).await {
            Some(there) if !there.verdict.allowed => there,
            Some(there) => there.min(here),
            None => here,
        }
    }

    /// Gives the tokens back: the request did not count.
    pub async fn give_back(&self, class: Class, who: &[Who]) {
        for who in who {
            self.0.table.give_back((class, *who));
            if !class.is_read() {
                // A token that Redis does not take back is one too few for a while.
                let _ = self.0.redis.charge_tokens(&self.ask((class, *who)), -1).await;
            }
        }
    }

    fn take_here(&self, class: Class, who: &[Who]) -> Told {
        let mut told: Option<Told> = None;
        for (place, who_one) in who.iter().enumerate() {
            let (key, limit) = ((class, *who_one), self.0.settings.limit(class, *who_one));
            let (verdict, unreported) = self.0.table.take(key, limit, self.now_ms());
            let this = Told { class, limit, verdict };
            if !verdict.allowed {
                who[..place].iter().for_each(|who| self.0.table.give_back((class, *who)));
                return this;
            }
            if class.is_read() && unreported >= (limit.burst / REPORTS).max(1) {
                self.report(key);
            }
            told = Some(told.map_or(this, |other| other.min(this)));
        }
        let nobody = Limit { burst: u32::MAX, period_s: 1 };
        told.unwrap_or(Told { class, limit: nobody, verdict: nobody.verdict(true, 0) })
    }

    /// Takes the tokens in Redis; those that it refuses are given back here as well. `None` when
    /// Redis cannot say.
    async fn take_there(&self, class: Class, who: &[Who]) -> Option<Told> {
        let asks: Vec<TokenAsk> = who.iter().map(|who| self.ask((class, *who))).collect();
        let taken = self.0.redis.take_tokens(&asks).await.ok()?;
        if !taken.allowed {
            // Before the others' tokens are learnt of: what is given back is this process's own.
            who.iter().for_each(|who| self.0.table.give_back((class, *who)));
        }
        let mut told: Option<Told> = None;
        for (who, left_ms) in who.iter().zip(taken.left_ms) {
            let limit = self.0.settings.limit(class, *who);
            let lacks = left_ms + limit.refill_ms() > limit.capacity_ms();
            if !taken.allowed && !lacks {
                continue;
            }
            // So the next request need not ask Redis to be refused.
            self.0.table.learn((class, *who), self.now_ms(), left_ms);
            let this = Told { class, limit, verdict: limit.verdict(taken.allowed, left_ms) };
            told = Some(told.map_or(this, |other| other.min(this)));
        }
        told
    }

    /// Tells the other nodes what was taken here, and learns what they have taken. Nobody waits
    /// for it.
    fn report(&self, key: Key) {
        if !self.0.redis.is_up() {
            return;
        }
        let tokens = self.0.table.reported(key);
        let this = self.clone();
        tokio::spawn(async move {
            let ask = this.ask(key);
            if let Ok(left_ms) = this.0.redis.charge_tokens(&ask, i64::from(tokens)).await {
                this.0.table.learn(key, this.now_ms(), left_ms);
            }
        });
    }

    fn ask(&self, (class, who): Key) -> TokenAsk {
        let limit = self.0.settings.limit(class, who);
        TokenAsk {
            bucket: format!("{}:{}", class.label(), who.label()),
            refill_ms: limit.refill_ms(),
            capacity_ms: limit.capacity_ms(),
        }
    }

    fn now_ms(&self) -> u64 {
        self.0.born.elapsed().as_millis() as u64
    }
}

impl Told {
    /// The one that leaves less, of refusals the one that lasts longer.
    pub fn min(self, other: Told) -> Told {
        let order = |told: &Told| {
            let Verdict { allowed, remaining, wait_ms } = told.verdict;
            (allowed, remaining, std::cmp::Reverse(wait_ms))
        };
        if order(&other) < order(&self) { other } else { self }
    }
}

#[cfg(test)]
mod tests;
