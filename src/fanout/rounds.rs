//! One transaction for several tasks, each moved on by a bounded step.

use std::time::{Duration, Instant};

use super::awaited::Awaited;
use super::commit::WriterConfig;
use super::effects::{Chunk, Effects, Failed, Finished};
use super::rotation::{ROUND_TASKS, Rotation};
use super::steps::{Budget, Progress, step};
use crate::store::tasks::{self, Queue, Task, Work};
use crate::store::{Conn, StoreError, clock};
use crate::time::Timestamp;

/// After so long a round begins no further step, whatever it was thought to take.
const ROUND_LIMIT: Duration = Duration::from_millis(200);

/// How much work one transaction takes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Rows that one round may write even if that takes long.
    pub(super) least_rows: usize,
    /// Rows that one round writes at most; their readers are held in memory.
    pub(super) most_rows: usize,
    /// Fewest rows of a task's share, so that a step is worth its statements.
    pub(super) share_rows: usize,
    /// Entries that one step of a removal looks at.
    pub(super) sweep_rows: usize,
    /// Tweets that a follow puts into the feed on the spot; the rest is a task.
    pub(super) backfill_rows: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            least_rows: 250,
            most_rows: 100_000,
            share_rows: 250,
            sweep_rows: 2_000,
            backfill_rows: 100,
        }
    }
}

/// What a round is to do.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) config: WriterConfig,
    pub(super) pace: Pace,
    /// Rows to write, about, ...
    pub(super) rows: usize,
    /// ... and when a tweet waits for its first followers among other tasks.
    pub(super) hurried_rows: usize,
    /// Who waits for the end of this round.
    pub(super) awaited: Awaited,
    /// They wait for something slower as well, such as a Redis that is late. Ending the round for
    /// them would gain nothing, and leave one task done for each of their writes: ever more tasks
    /// would be open.
    pub(super) in_nobodys_way: bool,
    /// Tasks that have their turn whoever waits: as many as the groups since the last round have
    /// added. With fewer, ever more would be open for as long as writes never pause.
    pub(super) owed: usize,
    /// The process clock.
    pub(super) now: Timestamp,
    /// Whether each step gets a savepoint, so that one that fails is undone alone.
    pub(super) careful: bool,
    /// Tweets whose photos may be given to the photo store.
    pub(super) discards: usize,
}

/// What a round has done.
pub(super) struct Round {
    pub(super) effects: Effects,
    /// Where the next round goes on among the tasks.
    pub(super) rotation: Rotation,
    /// Tasks that had a turn.
    pub(super) turns: usize,
    /// Whether any of them was moved.
    pub(super) worked: bool,
    /// Whether every open task has come to its end, as far as could be seen.
    pub(super) all_done: bool,
}

/// Takes the next open tasks and moves each on by a share of rows.
///
/// # Errors
/// Whatever a step fails with, unless the steps have savepoints: then the task is set back and
/// the others go on. A lost connection or a lost conflict ends the round in either case.
pub(super) fn round(
    conn: &mut Conn<'_>,
    job: &Job,
    rotation: Rotation,
) -> Result<Round, StoreError> {
    // Moments first: this takes the lock that serialises the writers of all nodes.
    let mut moments = clock::reserve(conn, job.now, ROUND_TASKS + 1)?;
    let begun = Instant::now();
    let now = moments.take();
    let (mut rotation, lap_end) = (rotation, rotation.next_lap_end());
    let picked = rotation.pick(conn, now)?;
    let mut effects = Effects::default();
    let (mut turns, mut worked) = (0, false);
    // What one task is given, the others wait for: nobody is told before the commit.
    let hurry = picked.len() > 1 && picked.iter().any(|(queue, _)| *queue == Queue::Fresh);
    let mut left = if hurry { job.hurried_rows } else { job.rows };
    let mut discards = job.discards;
    for (place, (queue, task)) in picked.iter().enumerate() {
        let in_the_way = place >= job.owed && !job.in_nobodys_way && job.awaited.is_so();
        let is_over = left == 0 || begun.elapsed() > ROUND_LIMIT || in_the_way;
        if place > 0 && is_over {
            break;
        }
        let share = (left / (picked.len() - place)).max(job.pace.share_rows);
        let (sweep, awaited) = (job.pace.sweep_rows, &job.awaited);
        let budget = Budget { share, sweep, discards, awaited };
        let rows_before = effects.rows;
        worked |= take_turn(conn, job, task, moments.take(), budget, &mut effects)?;
        left = left.saturating_sub(effects.rows - rows_before);
        discards = job.discards.saturating_sub(effects.orphans.len());
        rotation.had_turn(*queue, task.id, lap_end);
        turns += 1;
    }
    let all_done = picked.len() < ROUND_TASKS && effects.finished.len() == picked.len();
    Ok(Round { effects, rotation, turns, worked, all_done })
}

/// Moves one task on, or sets it back. Whether anything has changed.
fn take_turn(
    conn: &mut Conn<'_>,
    job: &Job,
    task: &Task,
    at: Timestamp,
    budget: Budget<'_>,
    effects: &mut Effects,
) -> Result<bool, StoreError> {
    let mut own = Effects::default();
    let isolated = job.careful || task.attempts > 0;
    let result = if isolated {
        conn.savepoint(|conn| move_on(conn, job, task, at, budget, &mut own))
    } else {
        move_on(conn, job, task, at, budget, &mut own)
    };
    match result {
        Ok(moved) => {
            effects.append(own);
            Ok(moved)
        }
        // Another try of the whole round may well succeed.
        Err(StoreError::Conflict(reason)) => Err(StoreError::Conflict(reason)),
        Err(error) if isolated => {
            let attempts = task.attempts + 1;
            // Fails, and with it the round, if the connection is to blame and not the step.
            tasks::set_back(conn, task.id, attempts, &error.to_string(), at)?;
            let error = error.to_string();
            effects.failed.push(Failed { task_id: task.id, kind: task.kind, attempts, error });
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

fn move_on(
    conn: &mut Conn<'_>,
    job: &Job,
    task: &Task,
    at: Timestamp,
    budget: Budget<'_>,
    effects: &mut Effects,
) -> Result<bool, StoreError> {
    let begun = Instant::now();
    let progress = step(conn, job.config, task, at, budget, effects)?;
    let took = begun.elapsed();
    let work = |rows| Work { rows, took_us: took.as_micros() as i64 };
    let rows = match progress {
        Progress::Blocked => return Ok(false),
        Progress::PutOff(until) => {
            tasks::defer(conn, task.id, until)?;
            return Ok(true);
        }
        Progress::Moved { next, rows } => {
            tasks::advance(conn, task.id, next, work(rows))?;
            if task.retry_at.is_some() {
                tasks::recovered(conn, task.id)?;
            }
            rows
        }
        Progress::Done { rows } => {
            tasks::finish(conn, task.id, work(rows), at)?;
            let total = Work {
                rows: task.rows_done as usize + rows,
                took_us: task.work_us + took.as_micros() as i64,
            };
            effects.finished.push(Finished::of(task, total));
            rows
        }
    };
    effects.rows += rows;
    effects.chunks.push(Chunk { kind: task.kind, rows, took });
    Ok(true)
}
