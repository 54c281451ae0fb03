//! Housekeeping: small bounded steps that nobody waits for.

use std::time::Duration;

use actix_web::rt::task::JoinHandle;

use super::Parts;
use crate::store::{StoreError, housekeeping};

/// How often idle timelines are looked for and the memory budget is enforced.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// How often old rows are looked for.
const CLEAN_EVERY: Duration = Duration::from_secs(60);

/// Rows that one cleaning removes of each kind at most.
const CLEAN_ROWS: usize = 5_000;

/// Starts the loops; they end when the handle is aborted.
pub(super) fn start(parts: &Parts) -> JoinHandle<()> {
    let parts = parts.clone();
    actix_web::rt::spawn(async move {
        let mut sweeps = tokio::time::interval(SWEEP_EVERY);
        let mut cleanings = tokio::time::interval(CLEAN_EVERY);
        loop {
            tokio::select! {
                _ = sweeps.tick() => sweep(&parts),
                _ = cleanings.tick() => {
                    if let Err(error) = clean(&parts).await {
                        tracing::warn!(%error, "housekeeping failed; it is tried again");
                    }
                }
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
}

async fn clean(parts: &Parts) -> Result<(), StoreError> {
    let now = parts.clock.now();
    parts.accounts.sweep_expired(CLEAN_ROWS).await?;
    let keep_tasks = parts.config.keep_tasks_s;
    parts
        .db
        .write("housekeeping", move |conn| {
            Ok(housekeeping::clean(conn, now, keep_tasks, CLEAN_ROWS)?)
        })
        .await
}
