//! An HTTP/1.1 client that costs little, since it shares the processors with what it measures:
//! requests are bytes made beforehand, replies are not parsed beyond status and length.

mod burst;
mod closed;
mod connection;
mod each;
mod open;
mod outcome;
mod request;
mod timer;

pub use burst::burst;
pub use closed::{Shape, closed};
pub use connection::{Connection, Head, Reply, call};
pub use each::each;
pub use open::{Arrivals, open};
pub use outcome::{Outcome, nanoseconds};
pub use request::Request;

use std::sync::atomic::{AtomicU64, Ordering};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// The draws of one run of a loop. Each run has its own: a like or a follow that is drawn again
/// finds its work done and costs little.
#[derive(Debug, Clone, Copy)]
struct Draws(u64);

impl Draws {
    /// Those of the next run of this process.
    fn next() -> Draws {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        Draws(RUNS.fetch_add(1, Ordering::Relaxed))
    }

    /// Those of one connection.
    fn of(self, thread: usize, place: usize) -> StdRng {
        StdRng::seed_from_u64(self.0 << 48 | (thread as u64) << 32 | place as u64)
    }
}

/// What to send next: a kind (a number below [`Traffic::kinds`]) and the request's bytes.
pub struct Planned<'a> {
    /// Latencies are kept by kind.
    pub kind: usize,
    /// Made beforehand, or on the spot.
    pub request: std::borrow::Cow<'a, [u8]>,
}

/// The requests of a measurement.
pub trait Traffic: Sync {
    /// How many kinds there are.
    fn kinds(&self) -> usize {
        1
    }

    /// The next request. `draw` is seeded, one per connection.
    fn next(&self, draw: &mut StdRng) -> Planned<'_>;
}

/// Any of them, each as likely as the others.
impl Traffic for [Request] {
    fn next(&self, draw: &mut StdRng) -> Planned<'_> {
        use rand::RngExt;
        let request = &self[draw.random_range(0..self.len())];
        Planned { kind: 0, request: request.bytes().into() }
    }
}

impl Traffic for Vec<Request> {
    fn next(&self, draw: &mut StdRng) -> Planned<'_> {
        self.as_slice().next(draw)
    }
}
