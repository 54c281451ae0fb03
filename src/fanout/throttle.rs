//! How many rows a round may write: as many as fit into the time that it should take.

use std::time::Duration;

use super::rounds::Pace;

/// How long a round should take. A write that comes meanwhile ends it early, but for its commit:
/// on SQLite that writes all pages that the round has changed, which is half of the time. Other
/// nodes, who wait for the same lock, cannot end it. Redis follows one round while the next is
/// under way, so the shorter the rounds, the less is left to be told at the end.
const AT_LEISURE: Duration = Duration::from_millis(20);

/// The same when a tweet waits in it for its first followers, and larger deliveries too.
const IN_A_HURRY: Duration = Duration::from_millis(6);

/// Rows per second before anything has been measured.
const FIRST_GUESS: f64 = 100_000.0;

/// What the newest measurement weighs against all before.
const NEWEST: f64 = 0.3;

/// The pace of the rounds so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Throttle {
    rows_per_s: f64,
}

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle { rows_per_s: FIRST_GUESS }
    }
}

impl Throttle {
    /// Rows of a round.
    pub(super) fn rows(&self, pace: Pace) -> usize {
        self.rows_in(pace, AT_LEISURE)
    }

    /// Rows of a round that somebody waits for.
    pub(super) fn hurried_rows(&self, pace: Pace) -> usize {
        self.rows_in(pace, IN_A_HURRY)
    }

    fn rows_in(&self, pace: Pace, time: Duration) -> usize {
        let rows = (self.rows_per_s * time.as_secs_f64()) as usize;
        rows.clamp(pace.least_rows, pace.most_rows)
    }

    /// Learns from a round that wrote `rows` of the `allowed` ones, with everything that
    /// belongs to it. A round that ran out of work says little: its fixed costs weigh too much.
    pub(super) fn learn(&mut self, allowed: usize, rows: usize, took: Duration) {
        if rows * 2 < allowed || took.is_zero() {
            return;
        }
        let now = rows as f64 / took.as_secs_f64();
        self.rows_per_s += NEWEST * (now - self.rows_per_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_come_to_take_the_time_they_should() {
        for rows_per_s in [10_000.0, 80_000.0, 300_000.0] {
            let mut throttle = Throttle::default();
            // So few that they take no longer than a round should.
            let pace = Pace { least_rows: 50, ..Pace::default() };
            let time = |rows: usize| Duration::from_secs_f64(rows as f64 / rows_per_s + 0.002);
            for _ in 0..30 {
                let rows = throttle.rows(pace);
                throttle.learn(rows, rows, time(rows));
            }
            let took = time(throttle.rows(pace));
            assert!(took <= AT_LEISURE * 5 / 4, "{rows_per_s} rows per second: {took:?}");
            assert!(took >= AT_LEISURE / 2, "{rows_per_s} rows per second: {took:?}");
            assert!(throttle.hurried_rows(pace) < throttle.rows(pace));
        }
    }

    #[test]
    fn the_limits_hold_and_short_rounds_teach_nothing() {
        let pace = Pace { least_rows: 10, most_rows: 20, ..Pace::default() };
        let mut throttle = Throttle::default();
        assert_eq!(throttle.rows(pace), 20);
        throttle.learn(20, 1, Duration::from_secs(1));
        assert_eq!(throttle.rows(pace), 20);
        for _ in 0..50 {
            throttle.learn(20, 20, Duration::from_secs(10));
        }
        assert_eq!(throttle.rows(pace), 10);
    }
}
