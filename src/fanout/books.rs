//! Metrics and log lines of the writer.

use std::time::Duration;

use super::effects::Effects;
use crate::store::tasks::{Backlog, TaskKind};
use crate::time::Timestamp;

/// Tasks that are open.
pub(super) fn open_tasks(open: i64) {
    metrics::gauge!("roost_fanout_tasks_open").set(open as f64);
}

/// How old and how healthy the backlog is.
pub(super) fn backlog(backlog: &Backlog, now: Timestamp) {
    let age = |since: Option<Timestamp>| {
        since.map_or(0.0, |since| (now.micros() - since.micros()).max(0) as f64 / 1e6)
    };
    metrics::gauge!("roost_fanout_oldest_task_seconds").set(age(backlog.oldest));
    metrics::gauge!("roost_fanout_oldest_undelivered_seconds").set(age(backlog.oldest_undelivered));
    metrics::gauge!("roost_fanout_tasks_failing").set(backlog.failing as f64);
    metrics::gauge!("roost_fanout_tasks_parked").set(backlog.parked as f64);
}

/// A round, from its start until everybody has been told.
pub(super) fn round(effects: &Effects, took: Duration) {
    metrics::histogram!("roost_fanout_round_seconds").record(took.as_secs_f64());
    metrics::counter!("roost_fanout_rows_total").increment(effects.rows as u64);
    let delivered: usize = effects
        .chunks
        .iter()
        .filter(|chunk| chunk.kind == TaskKind::Deliver)
        .map(|chunk| chunk.rows)
        .sum();
    metrics::counter!("roost_fanout_deliveries_total").increment(delivered as u64);
    for chunk in &effects.chunks {
        metrics::histogram!("roost_fanout_chunk_seconds", "kind" => chunk.kind.label())
            .record(chunk.took.as_secs_f64());
    }
}

/// Tasks that have ended or failed.
pub(super) fn tasks(effects: &Effects, now: Timestamp) {
    for task in &effects.finished {
        let kind = task.kind.label();
        let took_us = (now.micros() - task.added_at.micros()).max(0);
        metrics::histogram!("roost_fanout_task_seconds", "kind" => kind)
            .record(took_us as f64 / 1e6);
        tracing::info!(
            task_id = task.task_id,
            kind,
            tweet_id = task.tweet_id,
            rows = task.work.rows,
            took_ms = took_us / 1_000,
            work_ms = task.work.took_us / 1_000,
            cancelled = task.cancelled,
            "task finished"
        );
    }
    for task in &effects.failed {
        let kind = task.kind.label();
        metrics::counter!("roost_fanout_task_failures_total", "kind" => kind).increment(1);
        tracing::error!(
            task_id = task.task_id,
            kind,
            attempts = task.attempts,
            error = task.error,
            "a step of a task failed; it is set back"
        );
    }
}
