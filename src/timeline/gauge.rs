//! What a timeline's actor shows of itself, so that readers of a warm one need not ask it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::Range;
use super::window::{Found, Window};

/// What the registry sees of an actor without asking it.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// What the actor holds. Only the actor writes it; see [`Gauge::look`].
    pub(super) held: RwLock<Option<Current>>,
    /// Changes that have been told and not been carried out yet.
    pub(super) under_way: AtomicUsize,
    /// Entries held.
    pub(super) entries: AtomicUsize,
    /// When it was last read, in milliseconds of the registry's clock.
    pub(super) last_used: AtomicU64,
    /// The revision at which the first page was last read; 0: never.
    read_at: AtomicU64,
    /// Open streams, at most; those whose clients have gone are found out later.
    pub(super) followers: AtomicUsize,
    /// Set when a change could not be delivered: what is held must not be served any more.
    pub(super) stale: AtomicBool,
}

/// Names a state of one timeline: no two states in the life of a process have the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revision(u64);

impl Revision {
    pub(super) fn next() -> Revision {
        static MADE: AtomicU64 = AtomicU64::new(0);
        Revision(MADE.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// A window and where it came from.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) window: Window,
    /// Another one after every change.
    pub(super) revision: Revision,
    /// The epoch that it was loaded from Redis under; `None`: not from there.
    pub(super) epoch: Option<i64>,
}

impl Current {
    /// Whether it may still be served when the source is at `epoch`.
    pub(super) fn holds_at(&self, epoch: i64) -> bool {
        self.epoch.is_none_or(|loaded| loaded >= epoch)
    }
}

impl Gauge {
    /// The answer of a warm timeline without a message to its actor, which half of the time
    /// would wake another thread and wait for it.
    ///
    /// A change is counted before its writer is answered, until the actor has carried it out.
    /// So when none is under way the window has every change that any reader can know of; when
    /// one is, or a load is running, the reader has to queue up behind it.
    /// `epoch` is the source's.
    pub(super) fn look(&self, range: Range, want: usize, epoch: i64) -> Option<(Found, Revision)> {
        self.show(epoch, |held| (held.window.find(range, want), held.revision))
    }

    /// The revision that [`Gauge::look`] would find now.
    pub(super) fn revision(&self, epoch: i64) -> Option<Revision> {
        self.show(epoch, |held| held.revision)
    }

    /// Takes down that the first page was read at `revision`, and says whether the last time was
    /// at the same.
    pub(super) fn is_read_again(&self, revision: Revision) -> bool {
        self.read_at.swap(revision.0, Ordering::Relaxed) == revision.0
    }

    fn show<T>(&self, epoch: i64, show: impl FnOnce(&Current) -> T) -> Option<T> {
        if self.under_way.load(Ordering::Acquire) > 0 || self.stale.load(Ordering::Acquire) {
            return None;
        }
        let held = self.held.try_read()?;
        held.as_ref().filter(|held| held.holds_at(epoch)).map(show)
    }
}

/// Sum over all actors, for the memory budget.
pub(super) type Total = Arc<AtomicUsize>;
