//! Whether Redis may be used: the plain state, without IO.
//!
//! ```text
//!            connected                epoch settled
//!   Down ---------------> Rising ---------------------> Up
//!    ^                      |                            |
//!    +---- lost mutation ---+--- lost mutation, dead ----+
//!                                connection, or 3 failures
//! ```
//!
//! A *loss* is a commit whose work in Redis has failed, timed out or been skipped: from then on
//! some list or count there may be older than the database. Losses are settled by advancing the
//! epoch in the database. While Rising, mutations run already but nothing is read: losses have
//! come to an end before the epoch is advanced, however busy the writers are.

/// Failures in a row that take the tier down.
const FAILURES: u32 = 3;

#[derive(Debug)]
enum Phase<C> {
    Down,
    Rising(C),
    Up(C),
}

/// The state of the tier. `C` is a connection.
#[derive(Debug)]
pub(super) struct Breaker<C> {
    phase: Phase<C>,
    /// Numbers the connections: what fails late on an old one says nothing about the new one.
    session: u64,
    failures: u32,
    losses: u64,
    settled: u64,
}

impl<C: Clone> Breaker<C> {
    pub(super) fn new() -> Self {
        Breaker { phase: Phase::Down, session: 0, failures: 0, losses: 0, settled: 0 }
    }

    /// The connection for reading, and its session.
    pub(super) fn reader(&self) -> Option<(C, u64)> {
        match &self.phase {
            Phase::Up(conn) => Some((conn.clone(), self.session)),
            Phase::Down | Phase::Rising(_) => None,
        }
    }

    /// The connection for work that must follow a commit. `None` has been counted as a loss.
    pub(super) fn mutator(&mut self) -> Option<(C, u64)> {
        match &self.phase {
            Phase::Up(conn) | Phase::Rising(conn) => Some((conn.clone(), self.session)),
            Phase::Down => {
                self.losses += 1;
                None
            }
        }
    }

    pub(super) fn succeeded(&mut self, session: u64) {
        if session == self.session {
            self.failures = 0;
        }
    }

    /// A call that changes nothing has failed; `dead`: and so will every other on this
    /// connection. Says whether this took the tier down.
    pub(super) fn failed(&mut self, session: u64, dead: bool) -> bool {
        if session != self.session {
            return false;
        }
        self.failures += 1;
        (dead || self.failures >= FAILURES) && self.go_down()
    }

    /// Counts a loss. Says whether this took the tier down.
    pub(super) fn lost(&mut self) -> bool {
        self.losses += 1;
        self.go_down()
    }

    fn go_down(&mut self) -> bool {
        let was_down = self.is_down();
        self.phase = Phase::Down;
        !was_down
    }

    /// A new connection works: mutations may use it. Returns its session.
    pub(super) fn rise(&mut self, conn: C) -> u64 {
        self.session += 1;
        self.failures = 0;
        self.phase = Phase::Rising(conn);
        self.session
    }

    /// Losses that the epoch has not been advanced for, as a mark for [`Breaker::settle`].
    pub(super) fn unsettled(&self) -> Option<u64> {
        (self.losses > self.settled).then_some(self.losses)
    }

    /// The epoch has been advanced after `mark` was taken.
    pub(super) fn settle(&mut self, mark: u64) {
        self.settled = self.settled.max(mark);
    }

    /// Lets readers in, if nothing has been lost meanwhile. Says whether the tier is up.
    pub(super) fn open(&mut self, session: u64) -> bool {
        if session != self.session || self.unsettled().is_some() {
            return false;
        }
        if let Phase::Rising(conn) = &self.phase {
            self.phase = Phase::Up(conn.clone());
        }
        self.is_up()
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self.phase, Phase::Down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up() -> (Breaker<()>, u64) {
        let mut breaker = Breaker::new();
        let session = breaker.rise(());
        assert!(breaker.open(session));
        (breaker, session)
    }

    #[test]
    fn three_failures_in_a_row_take_it_down() {
        let (mut breaker, session) = up();
        assert!(!breaker.failed(session, false));
        assert!(!breaker.failed(session, false));
        breaker.succeeded(session);
        assert!(!breaker.failed(session, false));
        assert!(!breaker.failed(session, false));
        assert!(breaker.failed(session, false));
        assert!(breaker.is_down() && breaker.reader().is_none());
        assert_eq!(breaker.unsettled(), None, "reads lose nothing");
    }

    #[test]
    fn a_dead_connection_takes_it_down_but_a_late_failure_does_not() {
        let (mut breaker, old) = up();
        assert!(breaker.failed(old, true));
        let new = breaker.rise(());
        assert!(breaker.open(new));
        assert!(!breaker.failed(old, true));
        assert!(breaker.is_up());
    }

    #[test]
    fn nothing_is_read_until_every_loss_is_settled() {
        let (mut breaker, _) = up();
        assert!(breaker.lost());
        assert!(breaker.mutator().is_none(), "skipped, and counted");
        let session = breaker.rise(());
        assert!(breaker.mutator().is_some() && breaker.reader().is_none());
        assert!(!breaker.open(session), "not settled");
        let mark = breaker.unsettled().unwrap();
        assert_eq!(mark, 2);
        breaker.settle(mark);
        assert!(breaker.open(session));
        assert!(breaker.reader().is_some());
    }

    #[test]
    fn a_loss_while_rising_needs_another_round() {
        let (mut breaker, _) = up();
        breaker.lost();
        let session = breaker.rise(());
        let mark = breaker.unsettled().unwrap();
        assert!(breaker.lost(), "before the epoch was advanced");
        breaker.settle(mark);
        assert!(!breaker.open(session));
        assert!(breaker.is_down());
        assert!(breaker.unsettled().is_some());
    }
}
