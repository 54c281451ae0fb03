//! The Redis tier as commands use it: beside the service, without a say in its state.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::runtime::Runtime;

use crate::config::StorageConfig;
use crate::redis_tier::{RedisConfig, RedisTier};

/// A command has more patience than a request.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for the first answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A tier that is up, and the runtime that it lives on.
pub(super) struct Redis {
    pub(super) runtime: Runtime,
    pub(super) tier: RedisTier,
}

impl Redis {
    /// Connects, if a Redis is configured.
    pub(super) fn connect(storage: &StorageConfig) -> anyhow::Result<Option<Redis>> {
        let Some(url) = storage.redis() else { return Ok(None) };
        Self::open(RedisConfig { timeout: TIMEOUT, ..RedisConfig::new(url) }).map(Some)
    }

    pub(super) fn open(config: RedisConfig) -> anyhow::Result<Redis> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start a runtime")?;
        let tier = {
            let _inside = runtime.enter();
            RedisTier::inspector(config)?
        };
        ensure!(runtime.block_on(tier.wait_until_up(CONNECT_LIMIT)), "Redis does not answer");
        Ok(Redis { runtime, tier })
    }
}
