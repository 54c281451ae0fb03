//! What a client may do with its connection: how long it may be silent, how soon the head of a
//! request must be there, how much it may send that nobody reads.
//!
//! actix-http alone gives the first head of a connection a deadline and no other, reads on for
//! ever behind a chunked body that was refused, reads and takes apart further requests while
//! those before them wait for their answers, and refuses what is not HTTP without a word. So
//! [`Guarded`] stands between it and the socket. What the application does with a request it
//! hears through [`Conduct`], which both share: a [`Visit`] tells of its beginning and its end.
//!
//! The dispatcher gets bytes only when they have a use: of a body that somebody waits for, or of
//! the next request when every one before it is answered. A request that is taken apart takes
//! some kilobytes, a hundred times its length: 128 KiB of them, as much as the dispatcher would
//! read, are 15 MiB.

mod refusal;
mod stream;
mod visit;

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

pub use stream::Guarded;
pub(super) use visit::Visit;

/// The head of a request must arrive within: the first one from the start of the connection, a
/// later one from its first byte.
pub const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// An idle connection is kept for so long after the last byte of an answer.
pub const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long a client that is answered before it has sent its whole body has to take the answer,
/// until it is cut off.
pub const LEFTOVER_TIME: Duration = Duration::from_secs(2);

/// Bytes of such a body that are still taken, and thrown away, so that a client that sends all
/// before it listens gets to hear the answer: a photo that is too large, and then some.
pub const LEFTOVER_BYTES: usize = 16 * 1024 * 1024;

/// Bytes that the dispatcher gets at a time, and that are kept for it while it has no use for
/// them. It takes apart, and answers if it can, all that it has got before anybody else on the
/// thread has a turn.
const AHEAD: usize = 4096;

/// Requests of one connection that are begun in a row, until others have a turn.
const IN_A_ROW: u32 = 8;

/// Where a connection stands. One of each connection, on its worker's thread.
#[derive(Debug)]
pub struct Conduct {
    phase: Cell<Phase>,
    in_a_row: Cell<u32>,
    /// Bytes have been kept from the dispatcher, which will not ask again by itself.
    is_held_back: Cell<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The head of a request is on its way, or, at the start, awaited.
    Head { until: Instant, begun: bool },
    /// The application has a request; its own limits hold. When it is `hungry` it waits for more
    /// of the body.
    Working { hungry: bool },
    /// All requests are answered.
    Idle { until: Instant },
    /// A request is answered, and its body still comes.
    Leftover { until: Instant, bytes: usize },
}

impl Conduct {
    fn new() -> Conduct {
        let until = Instant::now() + HEAD_LIMIT;
        let phase = Cell::new(Phase::Head { until, begun: false });
        Conduct { phase, in_a_row: Cell::new(0), is_held_back: Cell::new(false) }
    }

    /// The dispatcher has its turn, and asks for bytes first.
    fn turn(&self) {
        self.in_a_row.set(0);
    }

    /// Whether others must have a turn before one more request.
    fn is_greedy(&self) -> bool {
        self.in_a_row.get() > IN_A_ROW
    }

    /// The application has got a request.
    fn begin(&self) {
        self.in_a_row.set(self.in_a_row.get() + 1);
        self.phase.set(Phase::Working { hungry: false });
    }

    /// The application has asked for more of the body, and got it or, `hungry`, not.
    fn asked(&self, hungry: bool) {
        if self.is_working() {
            self.phase.set(Phase::Working { hungry });
        }
    }

    /// Something is kept from the dispatcher for now.
    fn hold_back(&self) {
        self.is_held_back.set(true);
    }

    /// Whether the dispatcher must be woken for what was kept from it.
    fn has_waited(&self) -> bool {
        self.has_use_for_more() && self.is_held_back.take()
    }

    /// The answer is complete, and the body of the request was read to its end or not.
    fn end(&self, body_read: bool) {
        let now = Instant::now();
        self.phase.set(match body_read {
            true => Phase::Idle { until: now + KEEP_ALIVE },
            false => Phase::Leftover { until: now + LEFTOVER_TIME, bytes: LEFTOVER_BYTES },
        });
    }

    /// Bytes have come from the client.
    fn received(&self, number: usize) {
        self.phase.set(match self.phase.get() {
            Phase::Idle { .. } => Phase::Head { until: Instant::now() + HEAD_LIMIT, begun: true },
            Phase::Head { until, .. } => Phase::Head { until, begun: true },
            Phase::Leftover { until, bytes } => {
                Phase::Leftover { until, bytes: bytes.saturating_sub(number) }
            }
            working @ Phase::Working { .. } => working,
        });
    }

    /// The client has taken some bytes of an answer.
    fn sent(&self) {
        if let Phase::Idle { .. } = self.phase.get() {
            self.phase.set(Phase::Idle { until: Instant::now() + KEEP_ALIVE });
        }
    }

    /// When the client must have done what is expected of it.
    fn limit(&self) -> Option<Instant> {
        match self.phase.get() {
            Phase::Head { until, .. } | Phase::Idle { until } | Phase::Leftover { until, .. } => {
                Some(until)
            }
            Phase::Working { .. } => None,
        }
    }

    /// Whether bytes would go on their way at once. If not, the dispatcher would keep them, or,
    /// worse, what it makes of them.
    fn has_use_for_more(&self) -> bool {
        match self.phase.get() {
            Phase::Head { .. } | Phase::Idle { .. } => true,
            Phase::Working { hungry } => hungry,
            Phase::Leftover { bytes, .. } => bytes > 0,
        }
    }

    /// Whether the application has a request.
    fn is_working(&self) -> bool {
        matches!(self.phase.get(), Phase::Working { .. })
    }

    /// Whether what is written now cannot come from the application.
    fn awaits_a_head(&self) -> bool {
        matches!(self.phase.get(), Phase::Head { .. })
    }

    /// The client's fault when its time is over, as a label of the metric, and whether it is
    /// told so: who has not begun to ask is not answered.
    fn fault(&self) -> Option<(&'static str, bool)> {
        match self.phase.get() {
            Phase::Head { begun, .. } => Some(("slow_head", begun)),
            Phase::Leftover { .. } => Some(("unread_body", false)),
            Phase::Idle { .. } | Phase::Working { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
