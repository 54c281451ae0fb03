//! What the writer does with a group of operations, without the actor around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use super::commit::{WriterConfig, commit};
use super::effects::{Audience, Effects};
use super::ops::{Op, Outcome, WriteError};
use super::steps::{Pace, Round, round};
use crate::redis_tier::RedisTier;
use crate::store::{Db, StoreError};
use crate::time::Clock;

/// The parts of the writer that outlive an actor.
pub(super) struct Core {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) config: WriterConfig,
    pub(super) pace: Pace,
    pub(super) redis: RedisTier,
    pub(super) audience: Arc<dyn Audience>,
    /// Open tasks, for the gauge: exact once the backlog has been seen empty.
    open_tasks: AtomicI64,
    rotation: AtomicI64,
    /// A commit's outcome was unknown: distrust caches once the database answers again.
    suspect: AtomicBool,
}

impl Core {
    pub(super) fn new(
        db: Db,
        clock: Clock,
        config: WriterConfig,
        redis: RedisTier,
        audience: Arc<dyn Audience>,
    ) -> Self {
        Core {
            db,
            clock,
            config,
            pace: Pace::default(),
            redis,
            audience,
            open_tasks: AtomicI64::new(0),
            rotation: AtomicI64::new(0),
            suspect: AtomicBool::new(false),
        }
    }

    /// Commits a group in one transaction. If the database refuses it, each operation gets a
    /// transaction of its own, so that only the one to blame fails.
    pub(super) async fn commit_group(
        &self,
        ops: Vec<Op>,
        answer: impl FnMut(usize, Result<Outcome, WriteError>),
    ) {
        let mut answer = answer;
        let ops: Vec<Arc<Op>> = ops.into_iter().map(Arc::new).collect();
        match self.transaction(&ops, &mut answer).await {
            Err(StoreError::Query(_)) if ops.len() > 1 => {
                for (place, op) in ops.iter().enumerate() {
                    let alone = std::slice::from_ref(op);
                    let mut answer_one = |_, result| answer(place, result);
                    if let Err(error) = self.transaction(alone, &mut answer_one).await {
                        answer(place, Err(WriteError::from(&error)));
                    }
                }
            }
            Err(error) => {
                for place in 0..ops.len() {
                    answer(place, Err(WriteError::from(&error)));
                }
            }
            Ok(()) => {}
        }
    }

    /// One transaction, and after its commit: this process, the answers, what is outside.
    async fn transaction(
        &self,
        ops: &[Arc<Op>],
        answer: &mut impl FnMut(usize, Result<Outcome, WriteError>),
    ) -> Result<(), StoreError> {
        let started = Instant::now();
        let permit = self.redis.begin_write().await;
        let (clock, config, pace) = (self.clock.clone(), self.config, self.pace);
        let group = ops.to_vec();
        let (inside, audience) = (permit.clone(), self.audience.clone());
        let result = self
            .db
            .write("writer.group", move |conn| {
                inside.mark_dirty(conn)?;
                let (outcomes, effects) = commit(conn, config, pace, clock.now(), &group)?;
                let announcement = audience.announce(conn, &effects)?;
                Ok((outcomes, effects, announcement))
            })
            .await;
        permit.resolve(&result);
        let (outcomes, effects, mut announcement) = self.settle(result)?;
        self.count(&effects);
        self.audience.tell_in_turn(&effects, &mut announcement).await;
        for (place, outcome) in outcomes.into_iter().enumerate() {
            answer(place, Ok(outcome));
        }
        metrics::histogram!("roost_writer_group_size").record(ops.len() as f64);
        metrics::histogram!("roost_writer_commit_seconds").record(started.elapsed().as_secs_f64());
        self.audience.tell_outside(&effects, announcement.number).await;
        permit.done();
        Ok(())
    }

    /// Moves open tasks on by one round. Returns whether there may be more to do.
    pub(super) async fn work_round(&self) -> Result<bool, StoreError> {
        let started = Instant::now();
        let permit = self.redis.begin_write().await;
        let (clock, config, pace) = (self.clock.clone(), self.config, self.pace);
        let rotation = self.rotation.load(Ordering::Relaxed);
        let (inside, audience) = (permit.clone(), self.audience.clone());
        let result = self
            .db
            .write("writer.round", move |conn| {
                inside.mark_dirty(conn)?;
                let round = round(conn, config, pace, clock.now(), rotation)?;
                let announcement = audience.announce(conn, &round.effects)?;
                Ok((round, announcement))
            })
            .await;
        permit.resolve(&result);
        let (round, mut announcement) = self.settle(result)?;
        let Round { effects, rotation, worked } = round;
        self.rotation.store(rotation, Ordering::Relaxed);
        if !worked {
            self.open_tasks.store(0, Ordering::Relaxed);
        }
        self.audience.tell_in_turn(&effects, &mut announcement).await;
        self.audience.tell_outside(&effects, announcement.number).await;
        permit.done();
        // Last: once the gauge says that nothing is open, everything has been told.
        self.count(&effects);
        if worked {
            metrics::histogram!("roost_fanout_round_seconds")
                .record(started.elapsed().as_secs_f64());
            metrics::counter!("roost_fanout_rows_total").increment(effects.rows as u64);
        }
        Ok(worked)
    }

    /// Learns the backlog from the database, for the gauges.
    pub(super) async fn look_at_backlog(&self) -> Result<bool, StoreError> {
        let (open, oldest) =
            self.db.read("writer.backlog", |conn| Ok(crate::store::tasks::backlog(conn)?)).await?;
        let age_us = oldest.map_or(0, |at| self.clock.now().micros() - at.micros());
        metrics::gauge!("roost_fanout_oldest_task_seconds").set(age_us.max(0) as f64 / 1e6);
        self.open_tasks.store(open, Ordering::Relaxed);
        metrics::gauge!("roost_fanout_tasks_open").set(open as f64);
        Ok(open > 0)
    }

    /// After an unknown outcome nothing cached is trusted, as soon as the database answers:
    /// its clock row orders this transaction behind the one in doubt.
    fn settle<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Err(StoreError::OutcomeUnknown(reason)) => {
                tracing::warn!(%reason, "the outcome of a commit is unknown");
                self.suspect.store(true, Ordering::Release);
                self.audience.distrust_everything();
            }
            Ok(_) if self.suspect.swap(false, Ordering::AcqRel) => {
                self.audience.distrust_everything();
            }
            _ => {}
        }
        result
    }

    fn count(&self, effects: &Effects) {
        let change = effects.tasks_added as i64 - effects.finished.len() as i64;
        let open = self.open_tasks.fetch_add(change, Ordering::Relaxed) + change;
        metrics::gauge!("roost_fanout_tasks_open").set(open.max(0) as f64);
        for task in &effects.finished {
            let took_us = self.clock.now().micros() - task.added_at.micros();
            metrics::histogram!("roost_fanout_task_seconds", "kind" => task.kind.label())
                .record(took_us.max(0) as f64 / 1e6);
            tracing::info!(
                task_id = task.task_id,
                kind = task.kind.label(),
                tweet_id = task.tweet_id,
                rows = task.rows,
                took_ms = took_us / 1_000,
                "task finished"
            );
        }
    }
}
