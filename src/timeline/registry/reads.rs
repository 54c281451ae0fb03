//! Reading a timeline: from its window where that can be looked into, otherwise from its actor,
//! and below the window from the database.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use metrics::counter;
use tokio::sync::{mpsc, oneshot};

use super::Timelines;
use crate::origin::Origin;
use crate::timeline::actor::Read;
use crate::timeline::gauge::Revision;
use crate::timeline::source::LoadedFrom;
use crate::timeline::window::Found;
use crate::timeline::{Entry, Range, Slice, TimelineError, TimelineKey};

impl Timelines {
    /// At most `want` entries of `range`, newest first; fewer only if there are no more.
    ///
    /// # Errors
    /// [`TimelineError::Overloaded`] at once when too many wait already;
    /// [`TimelineError::Unavailable`] when the database is needed and cannot be read.
    pub async fn page(
        &self,
        key: TimelineKey,
        range: Range,
        want: usize,
    ) -> Result<Slice, TimelineError> {
        let (found, mut from, mut again) = match self.look(key, range, want) {
            Some((found, again)) => (found, LoadedFrom::Memory, again),
            None => {
                // Boxed, as it is rare and large.
                let (found, from) = Box::pin(self.ask(key, range, want, None)).await?;
                (found, from, None)
            }
        };
        let mut entries = found.entries;
        if let Some(rest) = found.unknown {
            let older = self.inner.source.page(key, rest, want - entries.len()).await?;
            entries.extend(older);
            (from, again) = (LoadedFrom::Database, None);
        }
        self.inner.pages[from as usize].increment(1);
        Ok(Slice { entries, from, again })
    }

    /// Whether a timeline is warm and in the state `revision`: what was made of its entries then
    /// may be shown as a page from memory, and is counted as one.
    pub fn is_still_at(&self, key: TimelineKey, revision: Revision, now: Instant) -> bool {
        let Some(gauge) = self.gauge(key) else { return false };
        let is_still = gauge.revision(self.inner.source.epoch()) == Some(revision);
        if is_still {
            let now_ms = now.saturating_duration_since(self.inner.born).as_millis() as u64;
            gauge.last_used.store(now_ms, Ordering::Relaxed);
            self.inner.pages[LoadedFrom::Memory as usize].increment(1);
        }
        is_still
    }

    /// Looks into a warm timeline. A dead one has dropped what it held, so it is not looked at.
    /// The revision is told when the first page is read at it again.
    fn look(
        &self,
        key: TimelineKey,
        range: Range,
        want: usize,
    ) -> Option<(Found, Option<Revision>)> {
        let gauge = self.gauge(key)?;
        let (found, revision) = gauge.look(range, want, self.inner.source.epoch())?;
        gauge.last_used.store(self.now_ms(), Ordering::Relaxed);
        let is_again = range == Range::ALL && gauge.is_read_again(revision);
        Some((found, is_again.then_some(revision)))
    }

    /// Asks the actor; one that has died is replaced by a cold one, once.
    pub(super) async fn ask(
        &self,
        key: TimelineKey,
        range: Range,
        want: usize,
        follow: Option<mpsc::Sender<Entry>>,
    ) -> Result<(Found, LoadedFrom), TimelineError> {
        for _ in 0..2 {
            let resident = self.resident(key);
            let (reply, answer) = oneshot::channel();
            let (follow, origin) = (follow.clone(), Origin::current());
            let read = Read { range, want, reply, follow, origin };
            if let Err(refused) = resident.addr.try_send(read) {
                match refused {
                    actix::prelude::SendError::Full(_) => {
                        counter!("roost_timeline_refused_total").increment(1);
                        return Err(TimelineError::Overloaded);
                    }
                    actix::prelude::SendError::Closed(_) => {
                        self.forget_dead(key, &resident);
                        continue;
                    }
                }
            }
            let _waiting = Waiting::begin(&self.inner.waiting);
            match answer.await {
                Ok(result) => return result,
                Err(_) => self.forget_dead(key, &resident),
            }
        }
        Err(TimelineError::Unavailable("the timeline stopped twice".into()))
    }
}

/// Counts a reader for as long as it waits, also when it goes away.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
