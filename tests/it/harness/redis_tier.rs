//! A Redis database number per test, emptied before it starts.

use std::sync::atomic::{AtomicI64, Ordering};

use super::database::server_url;

/// As many databases as `scripts/servers` gives to Redis, without number 0, where a
/// client that forgets to choose one would land.
const DATABASES: i64 = 511;

/// One test's own Redis database.
pub struct RedisTier {
    number: i64,
}

impl RedisTier {
    /// The next database number, emptied.
    pub fn fresh() -> Self {
        static LAST: AtomicI64 = AtomicI64::new(0);
        let number = 1 + LAST.fetch_add(1, Ordering::Relaxed) % DATABASES;
        let tier = Self { number };
        redis::cmd("FLUSHDB").exec(&mut tier.connect()).expect("FLUSHDB");
        tier
    }

    /// The URL to give to the server.
    pub fn url(&self) -> String {
        format!("{}/{}", server_url("ROOST_TEST_REDIS"), self.number)
    }

    /// A connection of the test's own.
    pub fn connect(&self) -> redis::Connection {
        redis::Client::open(self.url())
            .and_then(|client| client.get_connection())
            .expect("connect to ROOST_TEST_REDIS")
    }
}
