//! Whose turn it is among open tasks.

use std::collections::HashSet;

use diesel::QueryResult;

use crate::store::Conn;
use crate::store::tasks::{self, Queue, Task, Turns};
use crate::time::Timestamp;

/// Tasks that share a round.
pub(super) const ROUND_TASKS: usize = 16;

/// Of these, tasks that were set back and whose time has come.
const ROUND_RETRIES: usize = 2;

/// Turns of fresh tasks for each turn of one that had its first.
const FRESH_TURNS: usize = 3;

/// Where the rounds have come to.
///
/// Two queues share each round. *Fresh* tasks have had no turn yet; most end with their first
/// one, so a small author does not wait for a lap of large ones. The others are taken in
/// *laps*. A lap ends at the id that was the last one when it began: however many tasks come
/// after it, it comes to its end, and the old ones have their next turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rotation {
    /// Tasks up to this id have had their first turn.
    fresh: i64,
    /// The last one that had its turn in this lap.
    at: i64,
    /// Where this lap ends.
    lap_end: i64,
}

impl Rotation {
    /// The tasks of the next round, in their order.
    pub(super) fn pick(
        self,
        conn: &mut Conn<'_>,
        now: Timestamp,
    ) -> QueryResult<Vec<(Queue, Task)>> {
        let Rotation { fresh, at, lap_end } = self;
        Ok(in_turns(tasks::turns(conn, Turns { now, fresh, at, lap_end })?))
    }

    /// Says that a picked task has had its turn.
    pub(super) fn had_turn(&mut self, queue: Queue, id: i64, lap_end: i64) {
        match queue {
            Queue::Retry => {}
            Queue::Fresh => self.fresh = id,
            Queue::Lap => self.at = id,
            Queue::NextLap => (self.at, self.lap_end) = (id, lap_end),
        }
    }

    /// Where a lap ends that begins in this round.
    pub(super) fn next_lap_end(self) -> i64 {
        self.fresh
    }
}

/// Takes from the queues in turns, so that whatever ends a round early ends it for all alike.
fn in_turns(open: Vec<(Queue, Task)>) -> Vec<(Queue, Task)> {
    let (retries, others): (Vec<_>, Vec<_>) =
        open.into_iter().partition(|(queue, _)| *queue == Queue::Retry);
    let (fresh, laps): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|(queue, _)| *queue == Queue::Fresh);
    let rest: HashSet<i64> =
        laps.iter().filter(|(queue, _)| *queue == Queue::Lap).map(|(_, task)| task.id).collect();
    // The next lap begins with tasks that may still have a turn in this one.
    let mut laps =
        laps.into_iter().filter(|(queue, task)| *queue == Queue::Lap || !rest.contains(&task.id));
    let mut fresh = fresh.into_iter();
    let mut picked: Vec<(Queue, Task)> = retries.into_iter().take(ROUND_RETRIES).collect();
    while picked.len() < ROUND_TASKS {
        let before = picked.len();
        picked.extend(fresh.by_ref().take(FRESH_TURNS));
        picked.extend(laps.next());
        if picked.len() == before {
            break;
        }
    }
    picked.truncate(ROUND_TASKS);
    picked
}
