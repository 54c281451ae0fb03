//! How many rows a round may write: as many as fit into the time that a post may wait.

use std::time::Duration;

use super::rounds::Pace;

/// How long a round should take while nobody waits for the writer.
const AT_LEISURE: Duration = Duration::from_millis(40);

/// The same right after a post, a follow or a delete: more of them may come.
const IN_A_HURRY: Duration = Duration::from_millis(12);

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
    fn default() -> Self {
        Throttle { rows_per_s: FIRST_GUESS }
    }
}

impl Throttle {
    /// Rows of the next round. `hurry`: somebody has just been served.
    pub(super) fn rows(&self, pace: Pace, hurry: bool) -> usize {
        let time = if hurry { IN_A_HURRY } else { AT_LEISURE };
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
        for rows_per_s in [10_000.0, 80_000.0, 400_000.0] {
            let mut throttle = Throttle::default();
            let pace = Pace::default();
            let time = |rows: usize| Duration::from_secs_f64(rows as f64 / rows_per_s + 0.002);
            for _ in 0..30 {
                let rows = throttle.rows(pace, false);
                throttle.learn(rows, rows, time(rows));
            }
            let took = time(throttle.rows(pace, false));
            assert!(took <= AT_LEISURE * 5 / 4, "{rows_per_s} rows per second: {took:?}");
            assert!(took >= AT_LEISURE / 2, "{rows_per_s} rows per second: {took:?}");
            assert!(throttle.rows(pace, true) < throttle.rows(pace, false));
        }
    }

    #[test]
    fn the_limits_hold_and_short_rounds_teach_nothing() {
        let pace = Pace { least_rows: 10, most_rows: 20, ..Pace::default() };
        let mut throttle = Throttle::default();
        assert_eq!(throttle.rows(pace, false), 20);
        throttle.learn(20, 1, Duration::from_secs(1));
        assert_eq!(throttle.rows(pace, false), 20);
        for _ in 0..50 {
            throttle.learn(20, 20, Duration::from_secs(10));
        }
        assert_eq!(throttle.rows(pace, false), 10);
    }
}
