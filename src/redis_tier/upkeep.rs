//! What happens in the background: bringing the tier up, checking that it still is, settling
//! losses and cleaning the dirty flag.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use redis::Value;
use redis::aio::{ConnectionLike, MultiplexedConnection};

use super::Shared;
use super::connection::{self, Greeting};
use super::guard::Dirt;
use crate::store::{cache_state, nodes};

/// What the background task remembers.
struct Upkeep {
    /// The server that the tier was last up with.
    identity: Option<String>,
    /// Whether the state left by the last run has been looked at.
    recovered: bool,
    /// Whether the failing first connection has been reported.
    reported: bool,
    looked_at: Instant,
    begun: u64,
}

/// Runs until the tier is shut down or dropped.
pub(super) async fn run(tier: Weak<Shared>) {
    let mut upkeep = Upkeep {
        identity: None,
        recovered: false,
        reported: false,
        looked_at: Instant::now(),
        begun: 0,
    };
    loop {
        let Some(shared) = tier.upgrade() else { return };
        if shared.closed.load(Ordering::Acquire) {
            return;
        }
        upkeep.tick(&shared).await;
        let pause = shared.config.probe_every;
        drop(shared);
        tokio::time::sleep(pause).await;
    }
}

impl Upkeep {
    async fn tick(&mut self, shared: &Arc<Shared>) {
        if shared.breaker.lock().is_up() {
            self.check(shared).await;
            shared.look_at_lag().await;
            self.clean_when_quiet(shared).await;
        } else if let Err(error) = self.climb(shared).await {
            if !self.reported {
                tracing::warn!(error = %format_args!("{error:#}"), "the Redis tier does not come up");
                self.reported = true;
            }
        } else {
            self.reported = true;
        }
    }

    /// Down to Up, or an error that says what is in the way.
    async fn climb(&mut self, shared: &Arc<Shared>) -> anyhow::Result<()> {
        if !self.recovered {
            shared.recover().await.context("reading the cache state")?;
            self.recovered = true;
        }
        // At once and not only before coming up: other nodes may be up and reading.
        shared.settle().await?;

        let (greeting, session_cell) = shared.connect().await?;
        let Greeting { mut conn, identity, left_with } = greeting;
        if shared.db.is_some() {
            let known = self.identity.take().or(left_with);
            if known.as_ref() != Some(&identity) {
                // Restarted or replaced: its data may be older than what it had confirmed. Void
                // before the server is given its name below: after a crash in between, whoever
                // finds the name would believe the data.
                shared.breaker.lock().lost();
                shared.settle().await?;
            }
            self.identity = Some(identity.clone());
            shared.ask_health(&mut conn, &identity).await?;
        }
        self.identity = Some(identity);
        let session = shared.breaker.lock().rise(conn);
        session_cell.store(session, Ordering::Release);
        shared.settle().await?;
        if !shared.breaker.lock().open(session) {
            bail!("a write was lost while coming up");
        }
        metrics::gauge!("roost_redis_up").set(1.0);
        tracing::info!(epoch = shared.epoch.load(Ordering::Acquire), "the Redis tier is up");
        shared.up.send_replace(true);
        Ok(())
    }

    /// Whether the server still is the one it was.
    async fn check(&self, shared: &Shared) {
        let Some(identity) = self.identity.as_deref().filter(|_| shared.db.is_some()) else {
            return;
        };
        let answers = shared.read("probe", &connection::health_check(identity)).await;
        if let Ok(answers) = answers
            && connection::identity_in(answers).as_deref() != Some(identity)
        {
            shared.lost("probe", "another server answers, or its data set was replaced");
        }
    }

    async fn clean_when_quiet(&mut self, shared: &Shared) {
        if self.looked_at.elapsed() < shared.config.clean_every {
            return;
        }
        self.looked_at = Instant::now();
        let begun = shared.guard.begun();
        let quiet = begun == self.begun;
        self.begun = begun;
        if quiet && let Some(_alone) = shared.guard.try_alone() {
            shared.clean().await;
        }
    }
}

impl Shared {
    /// Looks at what the last run has left behind.
    async fn recover(&self) -> anyhow::Result<()> {
        let Some(db) = &self.db else { return Ok(()) };
        let me = self.me;
        let recovered = db.write("cache.recover", move |conn| Ok(cache_state::recover(conn, me)?));
        let (epoch, was_dirty) = recovered.await?;
        self.learn_epoch(epoch);
        if was_dirty {
            self.guard.know(Dirt::Dirty);
            tracing::info!(epoch, "the last run ended in the middle: Redis is void");
        }
        Ok(())
    }

    /// Advances the epoch if something has been lost since it was last advanced.
    async fn settle(&self) -> anyhow::Result<()> {
        let Some(mark) = self.breaker.lock().unsettled() else { return Ok(()) };
        if let Some(db) = &self.db {
            let herald = self.herald.clone();
            let epoch = db
                .write("cache.advance_epoch", move |conn| {
                    let epoch = cache_state::advance_epoch(conn)?;
                    herald(conn, epoch)?;
                    Ok(epoch)
                })
                .await
                .context("advancing the cache epoch")?;
            self.learn_epoch(epoch);
        }
        self.breaker.lock().settle(mark);
        Ok(())
    }

    /// A new connection, and the place to put its session for the day it breaks.
    async fn connect(self: &Arc<Self>) -> anyhow::Result<(Greeting, Arc<AtomicU64>)> {
        let server = self.server.as_ref().ok_or_else(|| anyhow!("not configured"))?;
        let session = Arc::new(AtomicU64::new(0));
        let (tier, of_session) = (Arc::downgrade(self), session.clone());
        let lost = move || {
            if let Some(shared) = tier.upgrade() {
                shared.disconnected(of_session.load(Ordering::Acquire));
            }
        };
        Ok((server.connect(&self.scripts, lost).await?, session))
    }

    /// The health check on a connection that is not in use yet.
    async fn ask_health(
        &self,
        conn: &mut MultiplexedConnection,
        identity: &str,
    ) -> anyhow::Result<()> {
        let asked = connection::health_check(identity);
        let answers = conn.req_packed_commands(&asked, 0, asked.len());
        let answers = tokio::time::timeout(self.config.timeout, answers).await??;
        answers.into_iter().try_for_each(|answer| Value::extract_error(answer).map(|_| ()))?;
        Ok(())
    }

    /// Clears the dirty flag. The caller holds the guard alone: Redis has followed every
    /// commit, or the tier is down.
    async fn clean(&self) {
        let Some(db) = &self.db else { return };
        if self.guard.knows(Dirt::Clean) || !self.breaker.lock().is_up() {
            return;
        }
        // First: should the answer be lost, the next writer marks again.
        self.guard.know(Dirt::Unknown);
        let me = self.me;
        match db.write("cache.clean", move |conn| Ok(nodes::clear_dirty(conn, me)?)).await {
            Ok(()) => self.guard.know(Dirt::Clean),
            Err(error) => tracing::debug!(%error, "the cache state stays dirty for now"),
        }
    }

    /// Waits for the writes under way, then cleans.
    pub(super) async fn clean_at_last(&self) {
        let _alone = self.guard.alone().await;
        let limit = Duration::from_secs(1);
        if tokio::time::timeout(limit, self.clean()).await.is_err() {
            tracing::warn!("the cache state could not be cleaned: the next start is a cold one");
        }
    }
}
