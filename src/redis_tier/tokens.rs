//! Token buckets of the rate limits, shared by all nodes. Not a cache: what is lost here is
//! forgotten, and the limit begins anew.

use redis::{Cmd, Pipeline, Value};

use super::keys::token_bucket;
use super::scripts::Which;
use super::{RedisTier, TierError};

/// A bucket and its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenAsk {
    /// Names the bucket; letters, digits and `_.:-` only.
    pub bucket: String,
    /// Milliseconds until one more token is there.
    pub refill_ms: u64,
    /// Milliseconds in which an empty bucket fills up.
    pub capacity_ms: u64,
}

/// What became of a request for tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Whether each bucket had a token; if not, none was taken.
    pub allowed: bool,
    /// Milliseconds until each bucket is full, in the order in which they were asked.
    pub left_ms: Vec<u64>,
}

impl RedisTier {
    /// Takes a token of each bucket, or of none.
    ///
    /// # Errors
    /// When the tier cannot say; tokens may have been taken then.
    pub async fn take_tokens(&self, asks: &[TokenAsk]) -> Result<Taken, TierError> {
        let mut cmd = self.shared.scripts.call(Which::Tokens, asks.len());
        for ask in asks {
            cmd.arg(token_bucket(&ask.bucket));
        }
        cmd.arg("take");
        for ask in asks {
            cmd.arg(ask.refill_ms).arg(ask.capacity_ms);
        }
        self.run_tokens("token_take", cmd, asks.len()).await
    }

    /// Takes `tokens` out of a bucket whether or not they are there, or puts them back if
    /// negative. Answers with the milliseconds until the bucket is full.
    ///
    /// # Errors
    /// When the tier cannot say.
    pub async fn charge_tokens(&self, ask: &TokenAsk, tokens: i64) -> Result<u64, TierError> {
        let mut cmd = self.shared.scripts.call(Which::Tokens, 1);
        cmd.arg(token_bucket(&ask.bucket)).arg(tokens);
        cmd.arg(ask.refill_ms).arg(ask.capacity_ms);
        let taken = self.run_tokens("token_charge", cmd, 1).await?;
        Ok(taken.left_ms.first().copied().unwrap_or_default())
    }

    async fn run_tokens(
        &self,
        op: &'static str,
        cmd: Cmd,
        buckets: usize,
    ) -> Result<Taken, TierError> {
        let mut pipe = Pipeline::with_capacity(1);
        pipe.add_command(cmd);
        let answer = self.shared.read(op, &pipe).await?.pop().unwrap_or_default();
        parse(answer, buckets).ok_or_else(|| TierError::Failed("an odd answer about tokens".into()))
    }
}

fn parse(answer: Value, buckets: usize) -> Option<Taken> {
    let numbers: Vec<u64> = redis::from_redis_value(answer).ok()?;
    let (allowed, left_ms) = numbers.split_first()?;
    (left_ms.len() == buckets).then(|| Taken { allowed: *allowed == 1, left_ms: left_ms.to_vec() })
}
