//! How a node reaches Redis, and whose tier it is.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::store::{Conn, StoreError, nodes};

/// Tells other nodes of a new epoch, in the transaction that advances it.
pub type EpochHerald =
    Arc<dyn Fn(&mut Conn<'_>, i64) -> Result<(), StoreError> + Send + Sync + 'static>;

/// The node that a tier belongs to.
#[derive(Clone)]
pub struct Owner {
    /// Its name.
    pub node: i64,
    /// How the others hear of a new epoch.
    pub herald: EpochHerald,
}

impl Owner {
    /// The one process on its database, which has nobody to tell.
    pub fn nameless() -> Owner {
        Owner { node: nodes::NAMELESS, herald: Arc::new(|_, _| Ok(())) }
    }
}

/// How to reach Redis, and the limits.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `redis://[user:password@]host:port/number`
    pub url: String,
    /// Longest wait for the answer to one call.
    pub timeout: Duration,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// How often a server that is down is tried, and one that is up is checked.
    pub probe_every: Duration,
    /// How often the dirty flag is cleared, if nothing was written for as long.
    pub clean_every: Duration,
    /// How long lists and counts live, give or take a tenth.
    pub ttl: Duration,
    /// Whether [`RedisTier::clear`](super::RedisTier::clear) is allowed.
    pub testing: bool,
}

impl RedisConfig {
    /// The settings of a node; `None` when it is to run without Redis.
    pub fn from_settings(config: &Config) -> Option<RedisConfig> {
        Some(RedisConfig {
            timeout: Duration::from_millis(config.storage.redis_timeout_ms),
            ttl: Duration::from_secs(config.list_ttl_s),
            testing: config.testing,
            ..RedisConfig::new(config.storage.redis()?)
        })
    }

    /// The defaults for a server.
    pub fn new(url: &str) -> RedisConfig {
        RedisConfig {
            url: url.to_owned(),
            timeout: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(1),
            probe_every: Duration::from_millis(500),
            clean_every: Duration::from_secs(1),
            ttl: Duration::from_secs(604_800),
            testing: false,
        }
    }
}
