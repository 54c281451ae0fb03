//! Timelines: the cached newest part of every feed and author list, each owned by an actor.
//!
//! [`Timelines`] is the only door: it turns a key into an actor, asks it, and adds from the
//! database what lies below the cached window. Nothing outside this room knows actix messages.
//!
//! Architecture invariant: only a timeline's actor changes its window, one message at a time,
//! and while it loads every later message waits.

mod actor;
mod entry;
mod gauge;
mod peek;
mod registry;
mod source;
#[cfg(test)]
mod tests;
mod window;

pub use entry::{Amendment, Entry, Range, TimelineKey};
pub use gauge::Revision;
pub use peek::{Held, Peeked};
pub use registry::{Subscription, Timelines, TimelinesConfig};
pub use source::{EntryReader, EntryStore, Head, Loaded, LoadedFrom, TieredSource, TimelineSource};
pub use window::{Found, Window};

use crate::store::StoreError;

/// Why a timeline could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimelineError {
    /// More requests wait for this timeline than its mailbox holds.
    #[error("too many requests wait for this timeline")]
    Overloaded,
    /// The database could not be read.
    #[error("the timeline could not be loaded: {0}")]
    Unavailable(String),
}

impl From<StoreError> for TimelineError {
    fn from(error: StoreError) -> Self {
        TimelineError::Unavailable(error.to_string())
    }
}

/// Part of a timeline as a reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Newest first.
    pub entries: Vec<Entry>,
    /// Where the last of them came from.
    pub from: LoadedFrom,
    /// The state of a warm timeline whose first page was read in the same state before: it is
    /// likely to be asked for again.
    pub again: Option<Revision>,
}
