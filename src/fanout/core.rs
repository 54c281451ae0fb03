//! What the writer does with a group of operations, without the actor around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::books;
use super::commit::{WriterConfig, commit};
use super::effects::{Audience, Effects, Orphans};
use super::ops::{Op, Outcome, WriteError};
use super::rotation::{ROUND_TASKS, Rotation};
use super::rounds::{Job, Pace, Round, round};
use super::throttle::Throttle;
use crate::redis_tier::{Hold, RedisTier, WritePermit};
use crate::store::{Db, Engine, StoreError, purge, tasks};
use crate::time::Clock;

/// Deleted tweets whose photos are being deleted at a time.
const DISCARDS: usize = 4;

/// The parts of the writer that outlive an actor.
pub(super) struct Core {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) config: WriterConfig,
    pub(super) pace: Pace,
    pub(super) redis: RedisTier,
    pub(super) audience: Arc<dyn Audience>,
    /// Writes that wait for the end of the transaction under way.
    pub(super) waiting: Arc<AtomicUsize>,
    /// Whether other nodes write to the same database, as of the last transaction.
    has_company: AtomicBool,
    /// Open tasks, for the gauge: exact once the backlog has been seen empty.
    open_tasks: AtomicI64,
    rotation: Mutex<Rotation>,
    throttle: Mutex<Throttle>,
    /// The last round failed: the next one gives each step a savepoint.
    careful: AtomicBool,
    /// Tasks that failed under an earlier process have been given another chance.
    revived: AtomicBool,
    discards: Arc<Semaphore>,
    /// Turns in a row that moved nothing.
    idle_turns: AtomicI64,
    /// What is outside follows the last transaction.
    outside: tokio::sync::Mutex<Option<JoinHandle<()>>>,
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
            db,
            clock,
            config,
            pace: Pace::default(),
            redis,
            audience,
            waiting: Arc::default(),
            has_company: AtomicBool::new(false),
            open_tasks: AtomicI64::new(0),
            rotation: Mutex::default(),
            throttle: Mutex::default(),
            careful: AtomicBool::new(false),
            revived: AtomicBool::new(false),
            discards: Arc::new(Semaphore::new(DISCARDS)),
            idle_turns: AtomicI64::new(0),
            outside: tokio::sync::Mutex::default(),
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

    /// Lets what is outside follow, in the order of the transactions and one at a time: the
    /// database may be one transaction ahead, so that neither waits for the other.
    async fn tell_outside(
        &self,
        effects: Arc<Effects>,
        number: Option<u64>,
        permit: WritePermit,
        hold: Option<Hold>,
    ) {
        self.has_company.store(number.is_some(), Ordering::Relaxed);
        let mut under_way = self.outside.lock().await;
        ended(under_way.take()).await;
        let audience = self.audience.clone();
        *under_way = Some(tokio::spawn(async move {
            audience.tell_outside(&effects, number).await;
            drop(hold);
            permit.done();
        }));
    }

    /// Waits until everybody has been told of everything.
    pub(super) async fn outside_done(&self) {
        ended(self.outside.lock().await.take()).await;
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
        // On SQLite likes and comments wait for the same lock.
        let company =
            self.has_company.load(Ordering::Relaxed) || self.db.engine() == Engine::Sqlite;
        let rows = throttle.rows(self.pace, company);
        let job = Job {
            config: self.config,
            pace: self.pace,
            rows,
            hurried_rows: throttle.hurried_rows(self.pace),
            waiting: self.waiting.clone(),
            now: self.clock.now(),
            careful: self.careful.load(Ordering::Relaxed),
            discards: self.discards.available_permits(),
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
        let discards = effects.orphans.iter().filter_map(|orphans| {
            let slot = self.discards.clone().try_acquire_owned().ok()?;
            Some(Discard { orphans: orphans.clone(), slot })
        });
        Ok(Worked { more, discards: discards.collect() })
    }

    /// A round of tasks that all wait for others. Once every open one has had such a turn, it is
    /// time to do nothing.
    async fn nothing_moved(&self, turns: usize) -> Result<Worked, StoreError> {
        let idle = self.idle_turns.fetch_add(turns as i64, Ordering::Relaxed) + turns as i64;
        let more = turns == ROUND_TASKS && idle <= self.open_tasks.load(Ordering::Relaxed);
        if !more {
            self.idle_turns.store(0, Ordering::Relaxed);
            self.look_at_backlog().await?;
        }
        Ok(Worked { more, ..Worked::default() })
    }

    /// Deletes the photos of a deleted tweet, and then the rows that name them. What fails is
    /// tried again like any other step of a task.
    pub(super) async fn discard(&self, job: Discard) {
        let Discard { orphans: Orphans { task, urls }, slot } = job;
        let gone = self.audience.discard(&urls).await;
        let now = self.clock.now();
        let failed = gone.as_ref().err().cloned();
        let recorded = self
            .db
            .write("writer.photos", move |conn| match &gone {
                Ok(()) => Ok(purge::photos_are_gone(conn, task.id, task.tweet_id)?),
                Err(error) => Ok(tasks::set_back(conn, task.id, task.attempts + 1, error, now)?),
            })
            .await;
        if let Some(error) = failed {
            tracing::warn!(task_id = task.id, error, "photos of a deleted tweet are left");
        }
        if let Err(error) = recorded {
            // The task is still there: it asks again when its time has come.
            tracing::warn!(task_id = task.id, %error, "deleted photos could not be noted");
        }
        drop(slot);
    }

    /// Learns the backlog from the database, for the gauges. Whether there is one.
    pub(super) async fn look_at_backlog(&self) -> Result<bool, StoreError> {
        self.revive_once().await?;
        // Once the gauge says that nothing is open, everybody has been told.
        self.outside_done().await;
        let backlog = self.refresh_ages().await?;
        self.open_tasks.store(backlog.open, Ordering::Relaxed);
        books::open_tasks(backlog.open);
        Ok(backlog.open > 0)
    }

    /// Gives tasks another chance that failed, or waited for something, under an earlier
    /// process.
    async fn revive_once(&self) -> Result<(), StoreError> {
        if !self.revived.load(Ordering::Relaxed) {
            let revived = self.db.write("writer.revive", |conn| Ok(tasks::revive(conn)?)).await?;
            self.revived.store(true, Ordering::Relaxed);
            if revived > 0 {
                tracing::info!(tasks = revived, "tasks that were set back are tried again");
            }
        }
        Ok(())
    }

    /// Brings the gauges up to date that tell how old and how healthy the backlog is.
    pub(super) async fn refresh_ages(&self) -> Result<tasks::Backlog, StoreError> {
        let backlog = self.db.read("writer.backlog", |conn| Ok(tasks::backlog(conn)?)).await?;
        books::backlog(&backlog, self.clock.now());
        Ok(backlog)
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

async fn ended(work: Option<JoinHandle<()>>) {
    if let Some(work) = work
        && let Err(error) = work.await
    {
        // Its permit was dropped, which counts as a loss: Redis is not believed before it has
        // begun anew.
        tracing::error!(%error, "telling what is outside has failed");
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

/// Photos to be deleted, and the right to do so.
pub(super) struct Discard {
    orphans: Orphans,
    slot: OwnedSemaphorePermit,
}
