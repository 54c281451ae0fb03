//! What the writer does with a group of operations, without the actor around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::awaited::Awaited;
use super::books;
use super::commit::{WriterConfig, commit};
use super::discards::{Discard, Discards};
use super::effects::{Audience, Effects};
use super::ops::{Op, Outcome, WriteError};
use super::outside::Outside;
use super::rotation::Rotation;
use super::rounds::{Job, Pace, Round, round};
use super::throttle::Throttle;
use crate::redis_tier::{Hold, RedisTier, WritePermit};
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
    /// Who waits for the end of the transaction under way.
    pub(super) awaited: Awaited,
    /// Tasks that were added since the last round.
    added: AtomicUsize,
    /// Open tasks, for the gauge: exact once the backlog has been seen empty.
    pub(super) open_tasks: AtomicI64,
    rotation: Mutex<Rotation>,
    throttle: Mutex<Throttle>,
    /// The last round failed: the next one gives each step a savepoint.
    careful: AtomicBool,
    /// Tasks that failed under an earlier process have been given another chance.
    pub(super) revived: AtomicBool,
    pub(super) discards: Discards,
    /// Turns in a row that moved nothing.
    pub(super) idle_turns: AtomicI64,
    /// What is outside follows the transactions.
    outside: Outside,
    /// A commit's outcome was unknown: caches are distrusted as soon as the database answers.
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
            awaited: Awaited::new(&db),
            db,
            clock,
            config,
            pace: Pace::default(),
            redis,
            audience,
            added: AtomicUsize::new(0),
            open_tasks: AtomicI64::new(0),
            rotation: Mutex::default(),
            throttle: Mutex::default(),
            careful: AtomicBool::new(false),
            revived: AtomicBool::new(false),
            discards: Discards::default(),
            idle_turns: AtomicI64::new(0),
            outside: Outside::default(),
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
        self.count(&effects, 0);
        self.added.fetch_add(effects.tasks_added, Ordering::Relaxed);
        let hold = self.audience.hold_back(&effects);
        self.audience.tell_in_turn(&effects, &mut announcement).await;
        for (place, outcome) in outcomes.into_iter().enumerate() {
            answer(place, Ok(outcome));
        }
        metrics::histogram!("roost_writer_group_size").record(ops.len() as f64);
        metrics::histogram!("roost_writer_commit_seconds").record(started.elapsed().as_secs_f64());
        self.tell_outside(Arc::new(effects), announcement.number, permit, hold).await;
        Ok(())
    }

    /// Lets what is outside follow in the background: neither a reply nor the next transaction
    /// waits for it.
    async fn tell_outside(
        &self,
        effects: Arc<Effects>,
        number: Option<u64>,
        permit: WritePermit,
        hold: Option<Hold>,
    ) {
        let (audience, timelines) = (self.audience.clone(), effects.timelines());
        let work = async move {
            audience.tell_outside(&effects, number).await;
            drop(hold);
            permit.done();
        };
        self.outside.follow(timelines, work).await;
    }

    /// Waits until everybody has been told of everything.
    pub(super) async fn outside_done(&self) {
        self.outside.settled().await;
    }

    /// Waits until there is room for another round, outside and in the log of the database.
    /// `false`: a write waits, which comes first.
    pub(super) async fn has_room(&self) -> bool {
        let rows = self.throttle.lock().rows(self.pace);
        let room = async {
            self.outside.has_room_for(rows).await;
            self.db.caught_up().await;
        };
        tokio::select! {
            () = room => true,
            () = self.awaited.a_write() => false,
        }
    }

    /// Moves open tasks on by one round. One that the database has refused is repeated step by
    /// step, so that only the task to blame is set back.
    pub(super) async fn work_round(&self) -> Result<Worked, StoreError> {
        self.revive_once().await?;
        let mut result = self.one_round().await;
        if matches!(result, Err(StoreError::Query(_)))
            && !self.careful.swap(true, Ordering::Relaxed)
        {
            result = self.one_round().await;
        }
        let failed = matches!(result, Err(StoreError::Query(_) | StoreError::Unavailable(_)));
        self.careful.store(failed, Ordering::Relaxed);
        result
    }

    async fn one_round(&self) -> Result<Worked, StoreError> {
        let started = Instant::now();
        let permit = self.redis.begin_write().await;
        let rotation = *self.rotation.lock();
        let throttle = *self.throttle.lock();
        let hurried_rows = throttle.hurried_rows(self.pace);
        let rows = throttle.rows(self.pace);
        // Behind a write a round does not wait for room, but it is a short one then.
        let room = if self.db.is_behind() { 0 } else { self.outside.room() };
        let rows = rows.min(room.max(hurried_rows));
        let job = Job {
            config: self.config,
            pace: self.pace,
            rows,
            hurried_rows,
            awaited: self.awaited.clone(),
            in_nobodys_way: self.outside.is_behind(),
            owed: self.added.swap(0, Ordering::Relaxed),
            now: self.clock.now(),
            careful: self.careful.load(Ordering::Relaxed),
            discards: self.discards.free(),
        };
        let (inside, audience) = (permit.clone(), self.audience.clone());
        let result = self
            .db
            .write("writer.round", move |conn| {
                inside.mark_dirty(conn)?;
                let round = round(conn, &job, rotation)?;
                let announcement = audience.announce(conn, &round.effects)?;
                Ok((round, announcement))
            })
            .await;
        permit.resolve(&result);
        let (round, mut announcement) = self.settle(result)?;
        let Round { effects, rotation, turns, worked, all_done } = round;
        *self.rotation.lock() = rotation;
        let hold = self.audience.hold_back(&effects);
        self.audience.tell_in_turn(&effects, &mut announcement).await;
        let effects = Arc::new(effects);
        self.tell_outside(effects.clone(), announcement.number, permit, hold).await;
        if !worked {
            return self.nothing_moved(turns).await;
        }
        self.idle_turns.store(0, Ordering::Relaxed);
        self.throttle.lock().learn(rows, effects.rows, started.elapsed());
        self.count(&effects, 1);
        books::round(&effects, started.elapsed());
        // Cheaper than an empty round, which is a write.
        let more = !all_done || self.look_at_backlog().await.unwrap_or(true);
        let orphans = effects.orphans.iter();
        let discards = orphans.filter_map(|orphans| self.discards.take_on(orphans)).collect();
        Ok(Worked { more, discards })
    }

    /// Whether the outcome of a commit is still unknown. The next transaction, of whatever sort,
    /// settles that: the clock row orders it behind the one in doubt.
    pub(super) fn in_doubt(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }

    /// After an unknown outcome nothing cached is trusted, as soon as a later transaction has
    /// committed. Not before: as long as the database is away, the caches are all that readers
    /// have, and nobody was told that anything has changed.
    fn settle<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Err(StoreError::OutcomeUnknown(reason)) => {
                tracing::warn!(%reason, "the outcome of a commit is unknown");
                self.suspect.store(true, Ordering::Release);
            }
            Ok(_) if self.suspect.swap(false, Ordering::AcqRel) => {
                self.audience.distrust_everything();
            }
            _ => {}
        }
        result
    }

    /// Keeps the books. `least`: the gauge does not go below it before the database has been
    /// asked, since some of what was finished may have been added by others.
    fn count(&self, effects: &Effects, least: i64) {
        let before = self.open_tasks.load(Ordering::Relaxed) + effects.tasks_added as i64;
        let open = (before - effects.finished.len() as i64).max(0);
        self.open_tasks.store(open, Ordering::Relaxed);
        books::open_tasks(open.max(least));
        books::tasks(effects, self.clock.now());
    }
}

/// What a round leaves to be done.
#[derive(Default)]
pub(super) struct Worked {
    /// Whether there may be more for another round.
    pub(super) more: bool,
    /// Photos to be deleted, which nobody waits for.
    pub(super) discards: Vec<Discard>,
}
