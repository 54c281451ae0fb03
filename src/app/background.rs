//! Housekeeping: small bounded steps that nobody waits for.

use std::time::Duration;

use actix_web::rt::task::JoinHandle;

use super::Parts;
use crate::store::{StoreError, housekeeping, retention};

/// How often idle timelines are looked for and the memory budget is enforced.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// How often old rows are looked for.
const CLEAN_EVERY: Duration = Duration::from_secs(60);

/// Rows that one step of a cleaning removes of each kind at most.
const CLEAN_ROWS: usize = 2_000;

/// Steps of one cleaning; what is left then waits for the next one.
const CLEAN_STEPS: usize = 500;

/// Between two steps of a cleaning, so that others get at the database.
const STEP_PAUSE: Duration = Duration::from_millis(20);

/// How often it is looked whether the feeds are to be trimmed, at most.
const TRIM_LOOK_EVERY: Duration = Duration::from_secs(60);

/// Starts the loops; they end when the handle is dropped or aborted.
pub(super) fn start(parts: &Parts) -> Housekeeping {
    let sweeping = every(parts, SWEEP_EVERY, async |parts: &Parts| {
        sweep(parts);
        Ok(())
    });
    let cleaning = every(parts, CLEAN_EVERY, clean);
    let trimming = parts.config.retention().map(|_| {
        let look_every = Duration::from_secs(parts.config.trim_every_s).min(TRIM_LOOK_EVERY);
        every(parts, look_every, trim)
    });
    Housekeeping { loops: [sweeping, cleaning].into_iter().chain(trimming).collect() }
}

/// The loops of a node.
pub(super) struct Housekeeping {
    loops: Vec<JoinHandle<()>>,
}

impl Housekeeping {
    /// Ends them.
    pub(super) fn abort(&self) {
        self.loops.iter().for_each(JoinHandle::abort);
    }
}

fn every(
    parts: &Parts,
    period: Duration,
    work: impl AsyncFn(&Parts) -> Result<(), StoreError> + 'static,
) -> JoinHandle<()> {
    let parts = parts.clone();
    actix_web::rt::spawn(async move {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = work(&parts).await {
                tracing::warn!(%error, "housekeeping failed; it is tried again");
            }
        }
    })
}

fn sweep(parts: &Parts) {
    parts.timelines.sweep();
    let (timelines, entries) = parts.timelines.resident_count();
    metrics::gauge!("roost_timelines_resident").set(timelines as f64);
    metrics::gauge!("roost_timeline_entries_resident").set(entries as f64);
    metrics::gauge!("roost_timeline_waiting").set(parts.timelines.waiting() as f64);
    metrics::gauge!("roost_kept_pages_bytes").set(parts.hydrator.kept.bytes() as f64);
}

async fn clean(parts: &Parts) -> Result<(), StoreError> {
    let now = parts.clock.now();
    parts.accounts.sweep_expired(CLEAN_ROWS).await?;
    let keep_tasks = parts.config.keep_tasks_s;
    for _ in 0..CLEAN_STEPS {
        let more = parts
            .db
            .write("housekeeping", move |conn| {
                Ok(housekeeping::clean(conn, now, keep_tasks, CLEAN_ROWS)?)
            })
            .await?;
        if !more {
            break;
        }
        tokio::time::sleep(STEP_PAUSE).await;
    }
    Ok(())
}

/// Asks the ordered writer, by a task, to trim the feeds.
async fn trim(parts: &Parts) -> Result<(), StoreError> {
    let (now, every_s) = (parts.clock.now(), parts.config.trim_every_s);
    parts
        .db
        .write("housekeeping.trim", move |conn| Ok(retention::add_task(conn, now, every_s)?))
        .await
        .map(|_| ())
}
