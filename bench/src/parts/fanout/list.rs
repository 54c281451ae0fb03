//! The list of one reader in Redis, watched past the service.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::wait;

/// Least time between two looks.
const LOOK_EVERY: Duration = Duration::from_micros(250);

/// The list of one reader in Redis.
pub(super) struct List {
    connection: redis::Connection,
    key: String,
}

impl List {
    pub(super) fn of(reader: i64, url: &str) -> anyhow::Result<List> {
        let connection = redis::Client::open(url)?.get_connection()?;
        Ok(List { connection, key: format!("user_newsfeeds:{reader}") })
    }

    /// Waits until the tweet is the newest one of the list, and tells when that was.
    pub(super) fn wait_for(&mut self, tweet: i64) -> anyhow::Result<Instant> {
        let what = format!("tweet {tweet} is the first of {}", self.key);
        wait::until(what, LOOK_EVERY, || Ok(self.newest()? == Some(tweet)))
    }

    /// The newest tweet of the list, if there is a list. An element is the epoch, the moment and
    /// the tweet; a `$` ends the very last one.
    fn newest(&mut self) -> anyhow::Result<Option<i64>> {
        let mut look = redis::cmd("LINDEX");
        let head: Option<String> = look.arg(&self.key).arg(0).query(&mut self.connection)?;
        let Some(head) = head else { return Ok(None) };
        let tweet = head.trim_end_matches('$').rsplit('.').next().context("an element")?;
        Ok(Some(tweet.parse()?))
    }
}
