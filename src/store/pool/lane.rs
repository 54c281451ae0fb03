//! A lane: so many connections, so many who wait for one, and so long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::DbConfig;
use super::connections::{AnyPool, Pooled};
use crate::origin::Origin;
use crate::store::{Engine, StoreError};

/// Queries that take longer are logged with their name.
const SLOW_QUERY: Duration = Duration::from_millis(250);

/// How often a call is let through to a database that does not answer.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Least time to make a connection in, for a call that has waited long for its permit.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

pub(super) struct Lane {
    name: &'static str,
    pool: AnyPool,
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    silence: Silence,
    config: DbConfig,
}

impl Lane {
    pub(super) fn open(name: &'static str, engine: Engine, config: &DbConfig, size: u32) -> Lane {
        Lane {
            name,
            pool: AnyPool::open(engine, config, size),
            permits: Arc::new(Semaphore::new(size as usize)),
            waiting: Arc::default(),
            silence: Silence::default(),
            config: config.clone(),
        }
    }

    pub(super) fn in_use(&self) -> usize {
        let size = self.pool.size();
        size - self.permits.available_permits().min(size)
    }

    /// Calls that wait for a permit.
    pub(super) fn waiting(&self) -> Arc<AtomicUsize> {
        self.waiting.clone()
    }

    /// A connection for the calling thread, past the permits.
    pub(super) fn connection(&self) -> Result<Pooled, StoreError> {
        self.pool.get(self.config.acquire_timeout)
    }

    /// Waits for a permit, then runs `work` on a blocking thread with a connection. The permit
    /// stays with the thread: a caller that gives up does not free a connection still in use.
    pub(super) async fn run<T, F>(
        self: &Arc<Self>,
        name: &'static str,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Pooled) -> Result<T, StoreError> + Send + 'static,
    {
        let running = tokio::task::spawn_blocking(self.admitted(name, work).await?);
        let limit = self.config.statement_timeout;
        let joined = if limit.is_zero() {
            running.await
        } else {
            // Twice: the statement's own limit comes first unless the server is frozen.
            match tokio::time::timeout(limit * 2, running).await {
                Ok(joined) => joined,
                Err(_) => {
                    self.silence.begin(Instant::now());
                    return Err(StoreError::OutcomeUnknown(format!("{name}: no answer in time")));
                }
            }
        };
        joined.map_err(|panic| StoreError::Unavailable(format!("{name}: {panic}")))?
    }

    /// The same on the thread that polls it, which must be one that may block, and without a limit
    /// for the call as a whole.
    pub(super) async fn run_here<T>(
        self: &Arc<Self>,
        name: &'static str,
        work: impl FnOnce(&mut Pooled) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let run = self.admitted(name, work).await?;
        run()
    }

    /// Waits for a permit; what is to be run with it.
    async fn admitted<T, F>(
        self: &Arc<Self>,
        name: &'static str,
        work: F,
    ) -> Result<impl FnOnce() -> Result<T, StoreError> + use<T, F>, StoreError>
    where
        F: FnOnce(&mut Pooled) -> Result<T, StoreError>,
    {
        let asked = Instant::now();
        self.silence.admit(asked)?;
        let permit = self.permit().await?;
        let waited = asked.elapsed();
        metrics::histogram!("roost_db_wait_seconds", "lane" => self.name)
            .record(waited.as_secs_f64());
        let lane = self.clone();
        let origin = Origin::current();
        Ok(move || {
            let _permit = permit;
            let started = Instant::now();
            // Both waits together keep to the limit.
            let left = lane.config.acquire_timeout.saturating_sub(waited).max(SHORTEST_WAIT);
            let mut pooled = lane.pool.get(left)?;
            let result = origin.call(name, || work(&mut pooled));
            if !result.as_ref().is_err_and(StoreError::lost_connection) {
                lane.silence.end();
            }
            record(name, &origin, started.elapsed(), result.as_ref().err());
            result
        })
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = WaitingGuard::enter(&self.waiting);
        if waiting.others >= self.config.max_waiting {
            return Err(StoreError::Unavailable("too many calls wait for a connection".into()));
        }
        let acquire = self.permits.clone().acquire_owned();
        match tokio::time::timeout(self.config.acquire_timeout, acquire).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(closed)) => Err(StoreError::Unavailable(closed.to_string())),
            Err(_) => Err(StoreError::Unavailable("no connection in time".into())),
        }
    }
}

/// Whether the database has stopped to answer, as a frozen server or a dead route does. A call
/// notices that only when its time is up, and leaves a thread and a connection behind; those
/// that follow are refused at once, but for one now and then that tries.
#[derive(Default)]
struct Silence {
    /// When the next call may try; `None` while the database answers.
    next_try: Mutex<Option<Instant>>,
}

impl Silence {
    /// A call was given up.
    fn begin(&self, now: Instant) {
        *self.next_try.lock() = Some(now + PROBE_EVERY);
    }

    /// A call was answered, by whatever but an outage.
    fn end(&self) {
        *self.next_try.lock() = None;
    }

    fn admit(&self, now: Instant) -> Result<(), StoreError> {
        let mut next_try = self.next_try.lock();
        match *next_try {
            Some(at) if now < at => {
                Err(StoreError::Unavailable("the database does not answer".into()))
            }
            Some(_) => {
                *next_try = Some(now + PROBE_EVERY);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Counts a waiting call for as long as it waits, also when the caller goes away.
struct WaitingGuard<'a> {
    count: &'a AtomicUsize,
    others: usize,
}

impl<'a> WaitingGuard<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        WaitingGuard { count, others: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

fn record(name: &'static str, origin: &Origin, took: Duration, error: Option<&StoreError>) {
    metrics::histogram!("roost_db_query_seconds", "query" => name).record(took.as_secs_f64());
    let took_ms = took.as_millis() as u64;
    if let Some(error) = error {
        metrics::counter!("roost_db_errors_total", "query" => name).increment(1);
        tracing::warn!(query = name, request_id = %origin, took_ms, %error, "query failed");
    } else if took > SLOW_QUERY {
        tracing::warn!(query = name, request_id = %origin, took_ms, "slow query");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_database_is_tried_now_and_then_until_it_answers() {
        let silence = Silence::default();
        let start = Instant::now();
        assert!(silence.admit(start).is_ok());
        silence.begin(start);
        assert!(silence.admit(start).is_err_and(|error| error.is_outage()));
        assert!(silence.admit(start + PROBE_EVERY).is_ok(), "one may try");
        assert!(silence.admit(start + PROBE_EVERY).is_err(), "and no second one");
        silence.end();
        assert!(silence.admit(start + PROBE_EVERY).is_ok());
    }
}
