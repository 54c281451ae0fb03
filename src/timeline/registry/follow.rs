//! Following a timeline as it goes on.

use tokio::sync::mpsc;

use super::Timelines;
use crate::time::Timestamp;
use crate::timeline::{Entry, Range, TimelineError, TimelineKey};

/// Entries that wait for a slow stream; with more it is cut off and may resume.
const BUFFER: usize = 64;

/// A timeline as it goes on.
#[derive(Debug)]
pub struct Subscription {
    /// Where the backlog begins: what the reader has seen, or else the newest entry that is
    /// visible; moment 1 in a timeline without entries. One who comes back with it misses
    /// nothing.
    pub after: Timestamp,
    /// What the reader has missed, oldest first.
    pub backlog: Vec<Entry>,
    /// Whether more was missed than the backlog holds.
    pub is_gap: bool,
    /// What becomes visible from now on. Ends when the stream does not keep up, the actor dies
    /// or may have missed an entry; the reader may come back with the last entry it has seen.
    pub entries: mpsc::Receiver<Entry>,
}

impl Timelines {
    /// What has become visible after `after` (the newest `list_limit` entries of it), and from
    /// then on every entry as it becomes visible: nothing between is lost or repeated. `None`
    /// begins with what becomes visible next.
    ///
    /// # Errors
    /// As [`Timelines::page`].
    pub async fn follow(
        &self,
        key: TimelineKey,
        after: Option<Timestamp>,
    ) -> Result<Subscription, TimelineError> {
        let (sender, entries) = mpsc::channel(BUFFER);
        let Some(after) = after else {
            let (found, _) = self.ask(key, Range::ALL, 1, Some(sender)).await?;
            let after = found.entries.first().map_or(Timestamp(1), |newest| newest.created_at);
            return Ok(Subscription { after, backlog: Vec::new(), is_gap: false, entries });
        };
        let range = Range { newer_than: after, ..Range::ALL };
        let limit = self.inner.config.list_limit;
        let (found, _) = self.ask(key, range, limit, Some(sender)).await?;
        let mut backlog = found.entries;
        let mut is_gap = backlog.len() == limit;
        if let Some(rest) = found.unknown {
            let room = limit - backlog.len();
            let mut older = self.inner.source.page(key, rest, room + 1).await?;
            is_gap = older.len() > room;
            older.truncate(room);
            backlog.extend(older);
        } else if is_gap {
            // Exactly as many as are kept: is there another one below?
            let rest = backlog.last().map_or(range, |oldest| range.below(oldest.created_at));
            is_gap = !self.inner.source.page(key, rest, 1).await?.is_empty();
        }
        backlog.reverse();
        Ok(Subscription { after, backlog, is_gap, entries })
    }
}
