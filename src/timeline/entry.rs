//! What a timeline is made of.

use crate::time::Timestamp;

/// One entry: 16 bytes, which is what a resident timeline costs per entry.
///
/// In a newsfeed `created_at` is when the entry became visible; in an author's list it is the
/// tweet's own time. Either way it is unique within the timeline and is its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// When the entry became visible; its id.
    pub created_at: Timestamp,
    /// What it shows.
    pub tweet_id: i64,
}

/// Names a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TimelineKey {
    /// The newsfeed of a reader.
    Home(i64),
    /// What a user has posted.
    Author(i64),
}

/// How a commit has changed a timeline elsewhere than at its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amendment {
    /// Entries that were put into its past, in no order.
    Added(Vec<Entry>),
    /// The times of entries that were taken out, in no order.
    Removed(Vec<Timestamp>),
}

impl Amendment {
    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        match self {
            Amendment::Added(entries) => entries.is_empty(),
            Amendment::Removed(times) => times.is_empty(),
        }
    }
}

/// A part of a timeline: strictly between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Entries strictly older than this.
    pub older_than: Timestamp,
    /// Entries strictly newer than this.
    pub newer_than: Timestamp,
}

impl Range {
    /// The whole timeline.
    pub const ALL: Range =
        Range { older_than: Timestamp(i64::MAX), newer_than: Timestamp(i64::MIN) };

    /// The part of this range that is older than `moment`.
    pub fn below(self, moment: Timestamp) -> Range {
        Range { older_than: self.older_than.min(moment), ..self }
    }

    /// Whether nothing can lie in the range.
    pub fn is_empty(self) -> bool {
        self.newer_than >= self.older_than
    }
}
