//! The clock row: it orders what becomes visible in timelines, over restarts and nodes.
//!
//! Every transaction of the ordered writer begins by reserving its moments here. The row's lock
//! is held until the commit, so transactions commit in the order of their moments: what becomes
//! visible later always carries a later time, whatever the system clock does.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::prepared::Prepared;
use super::{Conn, on};
use crate::time::Timestamp;

#[derive(QueryableByName)]
struct LastAt {
    #[diesel(sql_type = BigInt)]
    last_at: Timestamp,
}

/// Moments reserved by one transaction, handed out in order.
#[derive(Debug, Clone, Copy)]
pub struct Moments {
    next: i64,
    last: i64,
}

impl Moments {
    /// The next moment. Asking for more than were reserved gives the last one again, which
    /// the unique keys would refuse: reserve enough.
    pub fn take(&mut self) -> Timestamp {
        let moment = self.next;
        debug_assert!(moment <= self.last, "more moments taken than reserved");
        self.next = (moment + 1).min(self.last);
        Timestamp(moment)
    }
}

/// Locks the clock and reserves `count` moments, each later than every earlier one and at or
/// after `now` as far as the order allows.
pub fn reserve(conn: &mut Conn<'_>, now: Timestamp, count: usize) -> QueryResult<Moments> {
    let count = count.max(1) as i64;
    let now = now.micros();
    let query = Prepared {
        sql: "UPDATE timeline_clock SET last_at = CASE WHEN last_at + ? > ? THEN last_at + ? \
              ELSE ? END WHERE shard = 0 RETURNING last_at",
        binds: &[count, now, count, now],
    };
    let row: LastAt = on!(conn, |c| query.get_result(c))?;
    let last = row.last_at.micros();
    Ok(Moments { next: last - count + 1, last })
}

/// The latest moment that a committed transaction has reserved.
pub fn last(conn: &mut Conn<'_>) -> QueryResult<Timestamp> {
    let query = diesel::sql_query("SELECT last_at FROM timeline_clock WHERE shard = 0");
    let row: LastAt = on!(conn, |c| query.get_result(c))?;
    Ok(row.last_at)
}

/// Locks the clock without taking a moment: until the commit no ordered writer begins, and
/// this waits for the one under way.
pub fn hold(conn: &mut Conn<'_>) -> QueryResult<()> {
    let query = diesel::sql_query("UPDATE timeline_clock SET last_at = last_at WHERE shard = 0");
    on!(conn, |c| query.execute(c)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[test]
    fn moments_move_forward_when_the_wall_clock_steps_back() {
        for test in testing::databases() {
            let at = |now, count| {
                test.db.write_blocking(|conn| Ok(reserve(conn, Timestamp(now), count)?)).unwrap()
            };
            let mut first = at(1_000, 3);
            assert_eq!(first.take(), Timestamp(998), "{}", test.name);
            assert_eq!(first.take(), Timestamp(999));
            assert_eq!(first.take(), Timestamp(1_000));
            let mut stepped_back = at(10, 2);
            assert_eq!(stepped_back.take(), Timestamp(1_001));
            assert_eq!(stepped_back.take(), Timestamp(1_002));
            assert_eq!(at(5_000, 1).take(), Timestamp(5_000));
            assert_eq!(test.db.read_blocking(|conn| Ok(last(conn)?)).unwrap(), Timestamp(5_000));
        }
    }

    /// Failure mode 6: a second writer cannot commit an earlier time after a later one. It
    /// waits for the first, which holds the clock's row (on SQLite: the only write connection).
    #[test]
    fn failure_mode_06_commits_are_in_the_order_of_their_moments() {
        use std::sync::mpsc;
        use std::thread;

        for test in testing::databases() {
            let (has_begun, begun) = mpsc::channel();
            let (committed, order) = mpsc::channel();
            let write = |who: &'static str, begun: &dyn Fn()| {
                let moment = test.db.write_blocking(|conn| {
                    let moment = reserve(conn, Timestamp(1_000), 1)?.take();
                    begun();
                    Ok(moment)
                });
                committed.send((who, moment.unwrap())).unwrap();
            };
            thread::scope(|scope| {
                let second = scope.spawn({
                    let write = &write;
                    move || {
                        begun.recv().unwrap();
                        write("second", &|| {});
                    }
                });
                write("first", &|| {
                    has_begun.send(()).unwrap();
                    wait_until_blocked(&test);
                });
                second.join().unwrap();
            });
            // By name: which thread comes to say so first tells nothing of the commits.
            let mut moments = [order.recv().unwrap(), order.recv().unwrap()];
            moments.sort_unstable_by_key(|(who, _)| *who);
            assert!(moments[0].1 < moments[1].1, "{}: {moments:?}", test.name);
        }
    }

    /// Waits, within bounds, until a transaction stands before the clock's row.
    fn wait_until_blocked(test: &testing::TestDb) {
        if test.name == "sqlite" {
            return;
        }
        let asked = std::time::Instant::now();
        let waiting = "SELECT count(*) AS last_at FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        loop {
            let row: LastAt = test
                .db
                .read_blocking(|conn| Ok(on!(conn, |c| diesel::sql_query(waiting).get_result(c))?))
                .unwrap();
            if row.last_at > Timestamp(0) {
                return;
            }
            assert!(asked.elapsed() < std::time::Duration::from_secs(10), "nobody waits");
            std::thread::yield_now();
        }
    }
}
