//! A Redis database number per test, emptied before it starts.

use std::sync::atomic::{AtomicI64, Ordering};

use super::database::server_url;
use super::servers::RedisServer;

/// As many databases as `scripts/servers` gives to Redis, without number 0, where a
/// client that forgets to choose one would land.
const DATABASES: i64 = 511;

/// One test's own Redis database.
pub struct RedisTier {
    url: String,
}

impl RedisTier {
    /// The next database number, emptied.
    pub fn fresh() -> Self {
        static LAST: AtomicI64 = AtomicI64::new(0);
        let number = 1 + LAST.fetch_add(1, Ordering::Relaxed) % DATABASES;
        let tier = Self { url: format!("{}/{number}", server_url("ROOST_TEST_REDIS")) };
        redis::cmd("FLUSHDB").exec(&mut tier.connect()).expect("FLUSHDB");
        tier
    }

    /// The one database of a server that is the test's own.
    pub fn of(server: &RedisServer) -> Self {
        Self { url: server.url() }
    }

    /// The URL to give to the server.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// A connection of the test's own.
    pub fn connect(&self) -> redis::Connection {
        redis::Client::open(self.url())
            .and_then(|client| client.get_connection())
            .expect("connect to the test's Redis")
    }
}
